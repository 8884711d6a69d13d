//! What can go wrong, and what to do about it.

use std::fmt;

use egress::Retry;

use crate::content::TemplateError;
use crate::host::Provider;
use crate::names::BranchName;
use crate::{edit, git};

/// A promotion that could not be done. [`Error::retry`] says whether asking again can help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The provider is neither given nor known from the host's name, and the host did not tell it.
    #[error("cannot tell which software serves {host}: set `provider` to one of {}", Provider::names())]
    ProviderUnknown {
        /// The repository's host.
        host: String,
    },
    /// The request asks for what the host cannot do. Nothing was pushed.
    #[error("`{provider}` has no {what} for the pull requests of {repository}: do not ask for them")]
    NotSupported {
        /// The provider.
        provider: Provider,
        /// What it cannot do, as in `drafts`.
        what: &'static str,
        /// The repository's URL, or `owner/name`.
        repository: String,
    },
    /// The repository's URL does not name a repository of its provider.
    #[error("{repository} is no repository of `{provider}`: expected a URL that ends in OWNER/NAME")]
    NotARepository {
        /// The repository's URL.
        repository: String,
        /// The provider.
        provider: Provider,
    },
    /// The credentials hold nothing that the host's API takes.
    #[error("the credentials for {host} hold no token: pull requests need one")]
    NoToken {
        /// The repository's host.
        host: String,
    },
    /// The GitHub App opens nothing.
    #[error("GitHub App {app} cannot be used on {host}: {problem}")]
    App {
        /// The App's id.
        app: String,
        /// The host of the API.
        host: String,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// The token cannot be sent in a header.
    #[error("the token for {host} holds characters that no token has")]
    BadToken {
        /// The repository's host.
        host: String,
    },
    /// `apiUrl` is not fit to be the base of an API.
    #[error("`{url}` cannot be the base of an API: {reason}")]
    BadApiUrl {
        /// The URL without user info.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A template does not fit the promotion. Nothing was pushed.
    #[error("the template of the {what} cannot be used")]
    Template {
        /// What the template is for: `title`, `body` or `commit message`.
        what: &'static str,
        /// Why.
        #[source]
        source: TemplateError,
    },
    /// Nothing in the base branch is to be changed. Nothing was pushed.
    #[error("no file on branch `{base}` of {repository} holds {target}{}", Others(notes))]
    NoMatch {
        /// What was looked for.
        target: String,
        /// The repository's URL.
        repository: String,
        /// The base branch.
        base: BranchName,
        /// What was seen instead, such as files that could not be parsed.
        notes: Vec<edit::Note>,
    },
    /// A field was found, but cannot be changed safely. Nothing was pushed.
    #[error("cannot change {target} on branch `{base}` of {repository}: {}", Notes(notes))]
    NotEditable {
        /// What was looked for.
        target: String,
        /// The repository's URL.
        repository: String,
        /// The base branch.
        base: BranchName,
        /// Each refusal with its file, line and reason; then the files that were not looked at.
        notes: Vec<edit::Note>,
    },
    /// A branch with the promotion's name holds somebody else's commits.
    #[error("branch `{branch}` of {repository} holds commits that this promotion did not make: delete or rename it")]
    BranchTaken {
        /// The branch.
        branch: BranchName,
        /// The repository's URL.
        repository: String,
    },
    /// The branch changed each time that it was about to be written.
    #[error("branch `{branch}` of {repository} keeps changing under this promotion")]
    Contended {
        /// The branch.
        branch: BranchName,
        /// The repository's URL.
        repository: String,
    },
    /// The host does not know the branch that was just pushed.
    #[error("{repository} has branch `{branch}`, but its host does not list it yet")]
    HeadNotKnownYet {
        /// The branch.
        branch: BranchName,
        /// The repository's URL.
        repository: String,
    },
    /// The host answered with a failure.
    #[error("cannot {call}: the host answered {status}{}{}", Said(message), advice(*status, message, *retry))]
    Refused {
        /// What was asked.
        call: Call,
        /// The HTTP status code.
        status: u16,
        /// The host's own message, trimmed.
        message: String,
        /// What a caller does about it.
        retry: Retry,
    },
    /// The host does not know, or does not take, a name that the request has for it.
    #[error("cannot {call}: the host takes no {what} `{name}` there: create it, or ask for another")]
    Unknown {
        /// What was asked.
        call: Call,
        /// What it is the name of, as in `label`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The host answered with a redirect: the repository was renamed or moved.
    #[error("cannot {call}: the host answered {status}, so the repository was renamed or moved: update its URL")]
    Moved {
        /// What was asked.
        call: Call,
        /// The HTTP status code.
        status: u16,
    },
    /// The host's answer is not what its API documents.
    #[error("cannot {call}: the host's answer cannot be understood")]
    Answer {
        /// What was asked.
        call: Call,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The host gave more pages of pull requests than are read.
    #[error("cannot {call}: there are more than {limit} pull requests to look through")]
    TooMany {
        /// What was asked.
        call: Call,
        /// How many are read.
        limit: usize,
    },
    /// A request could not be built, sent or answered.
    #[error("cannot {call}")]
    Transport {
        /// What was asked.
        call: Call,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What a caller does about it.
        retry: Retry,
    },
    /// Editing was broken off: the process stops, or a defect was hit.
    #[error("editing the files of {repository} was broken off")]
    BrokenOff {
        /// The repository's URL.
        repository: String,
        /// How it ended.
        #[source]
        source: tokio::task::JoinError,
    },
    /// The client for the host could not be made.
    #[error(transparent)]
    Egress(#[from] egress::Error),
    /// Reading or writing the repository failed.
    #[error(transparent)]
    Git(#[from] git::Error),
}

impl Error {
    /// Whether the host does not accept the credential, or not any more.
    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. } | Self::Git(git::Error::Unauthorized { .. }))
    }

    /// What a caller does with this error; [`Retry::Never`] means that a person must change something first.
    pub fn retry(&self) -> Retry {
        match self {
            Self::ProviderUnknown { .. }
            | Self::NotSupported { .. }
            | Self::NotARepository { .. }
            | Self::NoToken { .. }
            | Self::App { .. }
            | Self::BadToken { .. }
            | Self::BadApiUrl { .. }
            | Self::Template { .. }
            | Self::NoMatch { .. }
            | Self::NotEditable { .. }
            | Self::BranchTaken { .. }
            | Self::Moved { .. }
            | Self::Unknown { .. }
            | Self::TooMany { .. } => Retry::Never,
            Self::Contended { .. } | Self::HeadNotKnownYet { .. } | Self::Answer { .. } | Self::BrokenOff { .. } => {
                Retry::Later
            }
            Self::Refused { retry, .. } | Self::Transport { retry, .. } => *retry,
            Self::Egress(error) => error.retry(),
            Self::Git(error) => error.retry(),
        }
    }
}

/// A request to a host's API, as errors name it: `create a pull request in owner/name on git.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was to be done, as in `create a pull request`.
    pub action: &'static str,
    /// The repository, as `owner/name`.
    pub repository: String,
    /// The host of the API.
    pub host: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} on {}", self.action, self.repository, self.host)
    }
}

/// `: message`, or nothing.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// What a person does about a refusal that says too little: `; …`, or nothing.
fn advice(status: u16, message: &str, retry: Retry) -> &'static str {
    let message = message.to_ascii_lowercase();
    let says_nothing = message.is_empty() || message.contains("not found") || message.contains("couldn't be found");
    match status {
        _ if retry != Retry::Never => "",
        _ if message.contains("archived") => "; unarchive the repository, or promote to another one",
        401 => "; renew the credential",
        403 if message.contains("protected") => "; let the credential pass the branch's protection",
        403 => "; give the credential the right to do that",
        404 | 410 if says_nothing => "; the repository was deleted or renamed, or the credential does not see it",
        423 => "; unlock or unarchive the repository",
        _ => "",
    }
}

/// `; instead, …`, or nothing.
struct Others<'a>(&'a [edit::Note]);

impl fmt::Display for Others<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "; left alone: {}", Notes(self.0)) }
    }
}

/// The first notes, each with file and line.
struct Notes<'a>(&'a [edit::Note]);

impl fmt::Display for Notes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (index, note) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            match note.path.as_str() {
                "" => write!(f, "{separator}{}", note.text)?,
                path => write!(f, "{separator}{path}:{}:{}: {}", note.line, note.column, note.text)?,
            }
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
