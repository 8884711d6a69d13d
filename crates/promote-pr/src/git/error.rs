use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use egress::Retry;

use super::sign::InvalidKey;
use crate::names::{BranchName, CommitId, RepoUrl};

/// Work on a repository that failed. [`Error::retry`] says whether trying again can help.
///
/// Text of servers is shown trimmed, without control characters and without the credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Git over SSH is left out: the feature `ssh` is off.
    #[error("{url}: this program is built without git over ssh; use the https URL")]
    NoSsh {
        /// The repository.
        url: RepoUrl,
    },
    /// The private key, its passphrase or the known hosts cannot be used.
    #[error("{url}: the SSH credentials cannot be used: {problem}")]
    SshIdentity {
        /// The repository.
        url: RepoUrl,
        /// What is wrong with them.
        problem: String,
    },
    /// The known hosts do not allow to trust the server; nothing was sent that could be of use to it.
    #[error("{url}: the SSH server is not trusted: {problem}")]
    HostKey {
        /// The repository.
        url: RepoUrl,
        /// Why it is not trusted.
        problem: String,
    },
    /// The SSH server does not let the key in.
    #[error("{url}: the server does not accept the SSH key for user `{user}`{}", Said(text))]
    KeyRefused {
        /// The repository.
        url: RepoUrl,
        /// The user that the URL names, else `git`.
        user: String,
        /// What it would accept.
        text: String,
    },
    /// No SSH connection, or it broke.
    #[error("{url}: {action} failed: there is no SSH connection")]
    Connection {
        /// The repository.
        url: RepoUrl,
        /// What was to be done.
        action: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The server's git ended without doing its work; often there is no such repository for this key.
    #[error("{url}: {action} failed: the server ended git{}", Said(text))]
    Command {
        /// The repository.
        url: RepoUrl,
        /// What was to be done.
        action: &'static str,
        /// How it ended and what it said.
        text: String,
    },
    /// The credentials would cross the network in clear text.
    #[error("{url}: credentials are not sent over plain http; use https")]
    ClearText {
        /// The repository.
        url: RepoUrl,
    },
    /// User name and password do not fit HTTP basic authentication.
    #[error("{url}: the user name or password cannot be sent: {reason}")]
    Credentials {
        /// The repository.
        url: RepoUrl,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// No answer: the client cannot be made, or the connection failed, was too slow or brought too much.
    #[error("{url}: {action} failed")]
    Network {
        /// The repository.
        url: RepoUrl,
        /// What was to be done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: egress::Error,
    },
    /// The whole operation took longer than [`Limits::deadline`](super::Limits::deadline).
    #[error("{url}: not done within {deadline:?}")]
    Deadline {
        /// The repository.
        url: RepoUrl,
        /// The deadline that passed.
        deadline: Duration,
    },
    /// HTTP 401.
    #[error("{url}: the server does not accept the credentials (401)")]
    Unauthorized {
        /// The repository.
        url: RepoUrl,
    },
    /// HTTP 403.
    #[error("{url}: the credentials do not allow {action} (403){}", Said(text))]
    Forbidden {
        /// The repository.
        url: RepoUrl,
        /// What was to be done.
        action: &'static str,
        /// What the server said.
        text: String,
    },
    /// HTTP 404 or 410, which some hosts also answer when the credentials do not suffice.
    #[error("{url}: no such repository, or the credentials do not give access to it (404)")]
    RepositoryNotFound {
        /// The repository.
        url: RepoUrl,
    },
    /// HTTP 429.
    #[error("{url}: the server asks for fewer requests (429)")]
    RateLimited {
        /// The repository.
        url: RepoUrl,
        /// How long to wait, if the server said so.
        after: Option<Duration>,
    },
    /// Any other status that is not success.
    #[error("{url}: the server answered {status}{}", Said(text))]
    Status {
        /// The repository.
        url: RepoUrl,
        /// The HTTP status.
        status: u16,
        /// What the server said.
        text: String,
        /// How long to wait, if the server said so.
        after: Option<Duration>,
    },
    /// A redirect that is not followed; nothing was sent to where it leads.
    #[error("{url}: the redirect from {from} to {to} is not followed: {reason}")]
    Redirect {
        /// The repository.
        url: RepoUrl,
        /// The origin (scheme, host and port) that redirects.
        from: String,
        /// The origin that it leads to.
        to: String,
        /// Why it is not followed.
        reason: &'static str,
    },
    /// Success, but not an answer of a git server; often the page of a login or a proxy.
    #[error("{url}: the answer is {content_type} and not git's smart HTTP protocol; check the URL")]
    NotGit {
        /// The repository.
        url: RepoUrl,
        /// The media type of the answer.
        content_type: String,
    },
    /// The answer breaks the git protocol, or reports a failure in it.
    #[error("{url}: {action} failed: the server's answer is not understood or reports a failure")]
    Protocol {
        /// The repository.
        url: RepoUrl,
        /// What was to be done.
        action: &'static str,
        /// What is wrong.
        #[source]
        source: Cause,
    },
    /// The repository hashes its objects with another function than SHA-1.
    #[error("{url}: the object format {format} is not supported, only sha1")]
    ObjectFormat {
        /// The repository.
        url: RepoUrl,
        /// The object format.
        format: String,
    },
    /// The repository has commits, but no such branch.
    #[error("{url}: there is no branch `{branch}`")]
    BranchNotFound {
        /// The repository.
        url: RepoUrl,
        /// The branch that was asked for.
        branch: BranchName,
    },
    /// The repository has no branch at all.
    #[error("{url}: the repository is empty; push a first commit to `{branch}`")]
    EmptyRepository {
        /// The repository.
        url: RepoUrl,
        /// The branch that was asked for.
        branch: BranchName,
    },
    /// Received objects cannot be stored or read.
    #[error("{url}: received objects cannot be stored or read")]
    Objects {
        /// The repository.
        url: RepoUrl,
        /// What is wrong.
        #[source]
        source: Cause,
    },
    /// The cache directory cannot be used.
    #[error("the git cache at {} cannot be used", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// The repository is larger than one of the [`Limits`](super::Limits).
    #[error("{url}: {what} exceeds the limit `{name}` of {limit}{}", At(path))]
    Limit {
        /// The repository.
        url: RepoUrl,
        /// What there is too much of.
        what: &'static str,
        /// The field of [`Limits`](super::Limits).
        name: &'static str,
        /// The limit.
        limit: u64,
        /// Where in the repository, if at a certain place.
        path: String,
    },
    /// A file to be changed is not a regular file of the commit.
    #[error("{url}: `{path}` is not a regular file of commit {commit}")]
    NotAFile {
        /// The repository.
        url: RepoUrl,
        /// The path.
        path: String,
        /// The commit.
        commit: CommitId,
    },
    /// The commit would have the content of its parent.
    #[error("{url}: nothing to commit: every file has its new content already")]
    NothingToCommit {
        /// The repository.
        url: RepoUrl,
    },
    /// The name or address of author or committer cannot stand in a commit.
    #[error(
        "`{value}` is nobody's name and address as in `Name <address>`: empty, or with <, > or a line break inside"
    )]
    Author {
        /// The name or address.
        value: String,
    },
    /// The commit cannot be signed.
    #[error("the commit cannot be signed")]
    Signing {
        /// Why.
        #[source]
        source: InvalidKey,
    },
    /// The server refused the new commit, by a hook or a rule.
    #[error("{url}: the server refused branch `{branch}`{}", Said(text))]
    Refused {
        /// The repository.
        url: RepoUrl,
        /// The branch that was to be written.
        branch: BranchName,
        /// The server's reason and the text of its hook.
        text: String,
    },
    /// The server could not write the branch, though it did not move.
    #[error("{url}: the server could not write branch `{branch}`{}", Said(text))]
    NotWritten {
        /// The repository.
        url: RepoUrl,
        /// The branch that was to be written.
        branch: BranchName,
        /// The server's reason.
        text: String,
    },
    /// The work ended in the middle: the process stops, or a defect was hit.
    #[error("{url}: the work on the repository was broken off")]
    BrokenOff {
        /// The repository.
        url: RepoUrl,
        /// How it ended.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl Error {
    /// Whether the reason may be that the server can do other things than it said some time ago.
    pub(super) fn may_be_of_a_changed_server(&self) -> bool {
        match self {
            Self::Protocol { .. }
            | Self::NotGit { .. }
            | Self::RepositoryNotFound { .. }
            | Self::Redirect { .. }
            | Self::ObjectFormat { .. } => true,
            Self::Status { status, .. } => (300..500).contains(status) && self.retry() == Retry::Never,
            _ => false,
        }
    }

    /// What to do about the error; [`Retry::Never`] means that a person must change something first.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NoSsh { .. }
            | Self::SshIdentity { .. }
            | Self::HostKey { .. }
            | Self::KeyRefused { .. }
            | Self::ClearText { .. }
            | Self::Credentials { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::RepositoryNotFound { .. }
            | Self::Redirect { .. }
            | Self::ObjectFormat { .. }
            | Self::BranchNotFound { .. }
            | Self::EmptyRepository { .. }
            | Self::Limit { .. }
            | Self::NotAFile { .. }
            | Self::NothingToCommit { .. }
            | Self::Author { .. }
            | Self::Signing { .. }
            | Self::Refused { .. } => Retry::Never,
            Self::Network { source, .. } => source.retry(),
            Self::RateLimited { after, .. } => after.map_or(Retry::Later, Retry::After),
            Self::Status { status, after, .. } => match (status, after) {
                (408 | 425 | 500.., Some(after)) => Retry::After(*after),
                (408 | 425 | 500.., None) => Retry::Later,
                _ => Retry::Never,
            },
            Self::Connection { .. }
            | Self::Command { .. }
            | Self::Deadline { .. }
            | Self::NotGit { .. }
            | Self::Protocol { .. }
            | Self::Objects { .. }
            | Self::Cache { .. }
            | Self::NotWritten { .. }
            | Self::BrokenOff { .. } => Retry::Later,
        }
    }
}

/// What went wrong inside git's protocol or object store, in one line.
pub struct Cause(pub(super) String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Cause {}

/// `: text`, or nothing.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// ` at path`, or nothing.
struct At<'a>(&'a str);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " at `{}`", self.0) }
    }
}
