//! Pull requests on the servers that host repositories: one trait, one implementation for each kind of server.
//!
//! The implementations are written to be read side by side. Each builds a request (pure), sends it, and parses the
//! answer (pure); each answers the same questions by its own API's means.

mod gitea;
mod github;
mod provider;
mod wire;

use std::cmp::Reverse;

use async_trait::async_trait;
use egress::Client;
use url::Url;

use crate::error::Error;
use crate::names::{BranchName, CommitId, RepoUrl};
use crate::request::Credentials;

pub use provider::{Provider, UnknownProvider};

/// The pull requests of one repository.
///
/// Every method is one action on the host, within the deadline and the byte cap of the client it was opened with.
/// Methods fail with [`Error::Refused`], [`Error::Moved`], [`Error::Answer`] or [`Error::Transport`], which name host,
/// repository and action.
#[async_trait]
pub(crate) trait Host: Send + Sync {
    /// The pull request from `head` into `base`, both of this very repository, in any state: the open one if there is
    /// one, else the newest. Pull requests from forks are not seen.
    async fn find(&self, head: &BranchName, base: &BranchName) -> Result<Option<PullRequest>, Error>;

    /// All open pull requests whose head is a branch of this very repository that begins with `head_prefix`.
    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error>;

    /// Opens a pull request.
    ///
    /// *Idempotency*: none; [`Created::Exists`] says that the host refuses a second one.
    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error>;

    /// Sets title and body. Doing it again changes nothing.
    async fn update(&self, number: u64, title: &str, body: &str) -> Result<(), Error>;

    /// Closes without merging. Closing a closed one changes nothing.
    async fn close(&self, number: u64) -> Result<(), Error>;

    /// Adds a comment, each time that it is called.
    async fn comment(&self, number: u64, body: &str) -> Result<(), Error>;

    /// Deletes a branch; `false` when there was none.
    async fn delete_branch(&self, branch: &BranchName) -> Result<bool, Error>;

    /// What the host can do and how much it takes.
    fn capabilities(&self) -> Capabilities;
}

/// A pull request as the host shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// The page for people.
    pub url: String,
    /// Open, merged or closed.
    pub state: PullRequestState,
    /// The branch it comes from, also when that is deleted by now.
    pub head: String,
    /// The branch it goes into.
    pub base: String,
    /// Its title.
    pub title: String,
    /// Its text; empty when there is none.
    pub body: String,
    /// The newest commit on the head branch.
    pub head_commit: Option<CommitId>,
    /// The commit that holds the change on the base branch, once it is merged.
    pub merged_commit: Option<CommitId>,
}

/// The state of a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullRequestState {
    /// It waits to be merged.
    Open,
    /// It is merged.
    Merged,
    /// It was closed without being merged.
    Closed,
}

/// A pull request to be opened.
#[derive(Clone, Debug)]
pub(crate) struct NewPullRequest {
    /// The branch it comes from.
    pub(crate) head: BranchName,
    /// The branch it goes into.
    pub(crate) base: BranchName,
    /// Its title.
    pub(crate) title: String,
    /// Its text, in Markdown.
    pub(crate) body: String,
}

/// What came of opening a pull request.
#[derive(Clone, Debug)]
pub(crate) enum Created {
    /// It is open.
    Done(PullRequest),
    /// There is an open one with this head and base already.
    Exists,
    /// The host does not know the head branch; hosts need a moment after a push.
    HeadUnknown,
}

/// What a host can do and how much it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// The longest title, in characters.
    pub(crate) title: usize,
    /// The longest body, in characters.
    pub(crate) body: usize,
}

/// The host of a repository.
///
/// # Errors
///
/// [`Error::ProviderUnknown`] when `provider` is absent and the URL's host is not a well-known one,
/// [`Error::ProviderNotSupported`] for a provider without an implementation, and an error for a URL, API URL or token
/// that the provider cannot take. Nothing is sent.
///
/// # Panics
///
/// Outside of a Tokio runtime: octocrab spawns a task.
pub(crate) fn open(
    provider: Option<Provider>,
    repository: &RepoUrl,
    api_url: Option<&Url>,
    credentials: &Credentials,
    client: Client,
) -> Result<Box<dyn Host>, Error> {
    let provider = Provider::of(provider, repository)?;
    match provider {
        Provider::GitHub => Ok(Box::new(github::GitHub::open(repository, api_url, credentials, client)?)),
        Provider::Gitea | Provider::Forgejo => {
            Ok(Box::new(gitea::Gitea::open(provider, repository, api_url, credentials, client)?))
        }
        Provider::GitLab | Provider::BitbucketServer | Provider::BitbucketCloud | Provider::AzureDevOps => {
            Err(Error::ProviderNotSupported(provider))
        }
    }
}

/// Of several pull requests with one head: the open one, else the newest.
fn most_telling(found: impl IntoIterator<Item = PullRequest>) -> Option<PullRequest> {
    found.into_iter().min_by_key(|pull| (pull.state != PullRequestState::Open, Reverse(pull.number)))
}
