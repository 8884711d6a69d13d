//! Names that a promotion works with, parsed once at the edge: whoever holds one knows that it is well formed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

/// Why a text is not a repository URL, a branch name or an object id.
///
/// It never repeats the text, which may hold a password; the caller names the field that the text came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {reason}")]
pub struct InvalidName {
    /// What the text was to be, such as `repository URL`.
    pub kind: &'static str,
    /// What is wrong with it, and what to write instead where that is not plain.
    pub reason: String,
}

/// The URL of a git repository: `https`, `ssh`, or `http` where the egress policy allows it.
///
/// It holds no credentials, query or fragment, and is normalised: scheme and host in lower case, no default port, no
/// `..` and no trailing slash. Only an `ssh` URL may name a user (`ssh://git@host/…`), never a password.
///
/// ```
/// # use promote_pr::names::RepoUrl;
/// let url: RepoUrl = "https://GitHub.com:443/org/fleet.git/".parse()?;
/// assert_eq!(url.to_string(), "https://github.com/org/fleet.git");
/// assert_eq!(url.host(), "github.com");
/// assert_eq!(url.owner_and_name(), Some(("org", "fleet")));
/// # Ok::<(), promote_pr::names::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoUrl(Arc<Url>);

impl RepoUrl {
    const KIND: &str = "repository URL";
    const MAX_LEN: usize = 2048;

    /// The URL as such.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The URL as a text, as [`Display`](fmt::Display) shows it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host: a name in lower case, or an address (IPv6 in brackets).
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The host, and the port unless it is the scheme's own.
    pub fn host_and_port(&self) -> String {
        self.0.port().map_or_else(|| self.host().to_owned(), |port| format!("{}:{port}", self.host()))
    }

    /// The path before the last segment, and the last segment without `.git`, both still percent-encoded.
    ///
    /// The owner has several segments on a host with nested groups, or on one that lives under a sub-path. `None` when
    /// the path has a single segment.
    pub fn owner_and_name(&self) -> Option<(&str, &str)> {
        let (owner, name) = self.0.path().strip_prefix('/')?.rsplit_once('/')?;
        let name = name.strip_suffix(".git").unwrap_or(name);
        (!owner.is_empty() && !name.is_empty()).then_some((owner, name))
    }
}

impl FromStr for RepoUrl {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = |reason: &str| InvalidName { kind: Self::KIND, reason: reason.to_owned() };
        if text.len() > Self::MAX_LEN {
            return Err(invalid("it is longer than 2048 bytes"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(invalid("it contains a blank, a control character or a backslash"));
        }
        if !text.contains("://") {
            return Err(invalid(
                "write it with its scheme, as in https://host/owner/name.git or ssh://git@host/owner/name.git",
            ));
        }
        let mut url =
            Url::parse(text).map_err(|source| InvalidName { kind: Self::KIND, reason: source.to_string() })?;
        let ssh = match url.scheme() {
            "https" | "http" => false,
            "ssh" => true,
            _ => return Err(invalid("the scheme must be https or ssh")),
        };
        if url.password().is_some() || (!ssh && !url.username().is_empty()) {
            return Err(invalid("it contains credentials; they belong in the Secret"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it has a query or a fragment"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("it names no host"));
        }
        if ssh {
            let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
            url.set_host(Some(&host)).map_err(|source| InvalidName { kind: Self::KIND, reason: source.to_string() })?;
            if url.port() == Some(22) && url.set_port(None).is_err() {
                return Err(invalid("its port cannot be read"));
            }
        }
        let path = url.path().trim_end_matches('/').to_owned();
        if path.is_empty() || path.contains("//") || path == "/.git" {
            return Err(invalid("its path names no repository"));
        }
        url.set_path(&path);
        Ok(Self(Arc::new(url)))
    }
}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The short name of a branch, `main` for `refs/heads/main`, that git accepts.
///
/// The rules are those of [git-check-ref-format](https://git-scm.com/docs/git-check-ref-format) for `--branch`, with at
/// most 1024 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BranchName(String);

impl BranchName {
    const KIND: &str = "branch name";
    const MAX_LEN: usize = 1024;

    /// A name that is known to be valid.
    pub(crate) fn new_unchecked(name: String) -> Self {
        debug_assert!(name.parse::<Self>().is_ok(), "{name}");
        Self(name)
    }

    /// The short name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full name, `refs/heads/…`.
    pub fn full_name(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

impl FromStr for BranchName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let reason = if text.is_empty() {
            "it is empty"
        } else if text.len() > Self::MAX_LEN {
            "it is longer than 1024 bytes"
        } else if text.starts_with("refs/") {
            "write the short name, without refs/heads/"
        } else if text == "@" || text == "HEAD" {
            "@ and HEAD name no branch"
        } else if text.starts_with('-') {
            "it starts with -"
        } else if text.bytes().any(|b| b <= b' ' || b == 0x7f || b"~^:?*[\\".contains(&b)) {
            "it contains a blank, a control character or one of ~ ^ : ? * [ \\"
        } else if text.contains("..") || text.contains("@{") {
            "it contains .. or @{"
        } else if text.ends_with('.') {
            "it ends with a dot"
        } else if text.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock")) {
            "a part between slashes is empty, starts with a dot or ends with .lock"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(InvalidName { kind: Self::KIND, reason: reason.to_owned() })
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 20]);

        impl $name {
            pub(crate) const fn from_bytes(bytes: [u8; 20]) -> Self {
                Self(bytes)
            }

            pub(crate) const fn as_bytes(&self) -> &[u8; 20] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                parse_hex(text).map(Self).ok_or_else(|| InvalidName {
                    kind: $kind,
                    reason: "it must be 40 hexadecimal digits (SHA-1)".to_owned(),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

object_id! {
    /// The id of a commit: SHA-1, shown as 40 hexadecimal digits.
    CommitId, "commit id"
}

object_id! {
    /// The id of a tree, which stands for the whole content of a commit: SHA-1, shown as 40 hexadecimal digits.
    TreeId, "tree id"
}

fn parse_hex(text: &str) -> Option<[u8; 20]> {
    let mut id = [0; 20];
    if text.len() != 40 {
        return None;
    }
    for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        for digit in digits {
            let value = char::from(*digit).to_digit(16)?;
            *byte = (*byte << 4) | u8::try_from(value).ok()?;
        }
    }
    Some(id)
}

#[cfg(test)]
mod tests;
