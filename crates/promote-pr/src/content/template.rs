//! Templates of commit messages. Pure.

use std::str::FromStr;

use super::TRAILER;

/// The message of a commit with places for what is promoted: `{{ title }}`, `{{ changes }}`, `{{ namespace }}`,
/// `{{ pipeline }}`, `{{ environment }}` and `{{ revision }}`.
///
/// The trailer that names the promotion is added to the [trailers](https://git-scm.com/docs/git-interpret-trailers) that
/// the template ends with, or behind its text.
///
/// ```
/// use promote_pr::MessageTemplate;
///
/// let template: MessageTemplate = "chore({{ environment }}): {{ revision }}\n\nSigned-off-by: Bot <bot@example.com>".parse()?;
/// # Ok::<(), promote_pr::InvalidTemplate>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(Name),
}

/// What a template can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Title,
    Changes,
    Namespace,
    Pipeline,
    Environment,
    Revision,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// There is nothing of this name.
    #[error("`{0}` is none of title, changes, namespace, pipeline, environment and revision")]
    Unknown(String),
    /// A place is not closed.
    #[error("a `{{{{` has no `}}}}` behind it")]
    Open,
    /// There is no subject.
    #[error("the first line is empty")]
    NoSubject,
    /// The trailer that names the promotion is added, and must not stand there twice.
    #[error("the trailer `{TRAILER}` is added by itself")]
    Trailer,
}

impl FromStr for MessageTemplate {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        if text.lines().next().is_none_or(|subject| subject.trim().is_empty()) {
            return Err(InvalidTemplate::NoSubject);
        }
        if text.lines().any(|line| line.trim_start().starts_with(TRAILER)) {
            return Err(InvalidTemplate::Trailer);
        }
        let mut pieces = Vec::new();
        let mut rest = text.trim_end();
        while let Some((before, behind)) = rest.split_once("{{") {
            let (name, behind) = behind.split_once("}}").ok_or(InvalidTemplate::Open)?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Name(match name.trim() {
                "title" => Name::Title,
                "changes" => Name::Changes,
                "namespace" => Name::Namespace,
                "pipeline" => Name::Pipeline,
                "environment" => Name::Environment,
                "revision" => Name::Revision,
                other => return Err(InvalidTemplate::Unknown(other.to_owned())),
            }));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }
}

impl MessageTemplate {
    pub(super) fn render(&self, value: impl Fn(Name) -> String) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Name(name) => value(*name),
        });
        pieces.collect()
    }
}

/// The message with one more trailer.
pub(super) fn with_trailer(message: &str, trailer: &str) -> String {
    let message = message.trim_end();
    let last = message.rsplit_once("\n\n").map(|(_, last)| last);
    let separator = if last.is_some_and(|last| last.lines().all(is_trailer)) { "\n" } else { "\n\n" };
    format!("{message}{separator}{trailer}\n")
}

fn is_trailer(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(key, value)| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !value.trim().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expect: &str) {
        let template: MessageTemplate = template.parse().unwrap();
        let message = template.render(|name| format!("{name:?}").to_lowercase());
        assert_eq!(with_trailer(&message, "Promotion-Id: 1"), expect);
    }

    #[test]
    fn messages() {
        check("{{ title }}", "title\n\nPromotion-Id: 1\n");
        check("a {{revision}} {b} c\n\n{{ changes }}\n", "a revision {b} c\n\nchanges\n\nPromotion-Id: 1\n");
        check(
            "s\n\nSigned-off-by: A <a@b>\nX: {{pipeline}}",
            "s\n\nSigned-off-by: A <a@b>\nX: pipeline\nPromotion-Id: 1\n",
        );
        check("fix: {{ environment }}", "fix: environment\n\nPromotion-Id: 1\n");
        check("s\n\ntext: and\nmore", "s\n\ntext: and\nmore\n\nPromotion-Id: 1\n");
    }

    #[test]
    fn texts_that_are_no_template() {
        let error = |text: &str| text.parse::<MessageTemplate>().unwrap_err();
        assert_eq!(
            error("{{ revison }}").to_string(),
            "`revison` is none of title, changes, namespace, pipeline, environment and revision"
        );
        assert_eq!(error("{{ revision").to_string(), "a `{{` has no `}}` behind it");
        assert_eq!(error("\nbody"), InvalidTemplate::NoSubject);
        assert_eq!(error(""), InvalidTemplate::NoSubject);
        assert_eq!(error("s\n\nPromotion-Id: 2"), InvalidTemplate::Trailer);
    }
}
