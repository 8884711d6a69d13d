//! People in commits.

use std::str::FromStr;

use super::Error;

/// Who a commit says made it, as author or as committer.
///
/// ```
/// use promote_pr::git::Author;
///
/// let author: Author = "Release Bot <bot@example.com>".parse()?;
/// assert_eq!((author.name.as_str(), author.email.as_str()), ("Release Bot", "bot@example.com"));
/// # Ok::<(), promote_pr::git::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

impl Author {
    /// # Errors
    /// [`Error::Author`] if name or address would break the line that they stand in.
    pub(super) fn check(&self) -> Result<(), Error> {
        for value in [&self.name, &self.email] {
            if value.trim().is_empty() || value.contains(['<', '>', '\n', '\r', '\0']) {
                return Err(Error::Author { value: value.clone() });
            }
        }
        Ok(())
    }
}

impl FromStr for Author {
    type Err = Error;

    /// Reads `Name <address>`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = text.trim().strip_suffix('>').and_then(|text| text.split_once('<'));
        let (name, email) = parts.ok_or_else(|| Error::Author { value: text.to_owned() })?;
        let author = Self { name: name.trim().to_owned(), email: email.trim().to_owned() };
        author.check().map(|()| author)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        let parse = |text: &str| text.parse::<Author>().ok().map(|author| format!("{}|{}", author.name, author.email));
        assert_eq!(parse(" A B  < a@b > ").unwrap(), "A B|a@b");
        for text in ["", "a@b", "A <>", "<a@b>", "A <a@b", "A <a@b> x", "A <a<@b>", "A\nB <a@b>"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
