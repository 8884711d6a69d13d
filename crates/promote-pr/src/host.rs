//! Pull requests on the servers that host repositories: one trait, one implementation for each kind of server.
//!
//! The implementations are written to be read side by side. Each builds a request (pure), sends it, and parses the
//! answer (pure); each answers the same questions by its own API's means.

mod azure_devops;
mod bitbucket_cloud;
mod bitbucket_server;
mod gitea;
mod github;
mod gitlab;
pub mod hook;
mod probe;
mod provider;
mod rest;

mod budget;
mod line;
mod wire;

use std::cmp::Reverse;

use async_trait::async_trait;
use url::Url;

use crate::error::Error;
use crate::names::{BranchName, CommitId, RepoUrl};
use crate::request::{Attributes, Credentials, MergePolicy};

pub(crate) use github::app::Apps;
pub(crate) use line::{Accounts, Line};
pub(crate) use probe::Providers;
pub use provider::{Provider, UnknownProvider};

/// The pull requests of one repository.
///
/// Every method is one action on the host, over the line it was opened with: within the deadline and the byte cap of its
/// client, and within the budget of its credential.
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

    /// Sets title and body; a draft stays one. Doing it again changes nothing.
    async fn update(&self, pull: &PullRequest, title: &str, body: &str) -> Result<(), Error>;

    /// Sets the labels, reviewers, assignees and the milestone that are missing, and takes nothing away that people
    /// added; a milestone of theirs stays. Doing it again changes nothing, and asks nothing of the host when `pull` shows
    /// it all.
    ///
    /// *Errors*: [`Error::NotSupported`] names what the host cannot do; a label, reviewer, assignee or milestone that the
    /// host does not know is [`Error::Refused`], which names it.
    async fn dress(&self, pull: &PullRequest, attributes: &Attributes) -> Result<(), Error>;

    /// Merges the pull request, or lets the host do it as soon as its rules are met; only at `pull.head_commit`. Doing it
    /// again changes nothing.
    ///
    /// *Errors*: [`Error::NotSupported`] when the host cannot, whatever happens to the pull request.
    async fn merge(&self, pull: &PullRequest, how: Merge) -> Result<Merged, Error>;

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
    /// What else the host shows of it. Reviewers are those whose review is asked for, and, where the host tells them
    /// along, those who gave it.
    pub attributes: Attributes,
}

/// The state of a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullRequestState {
    /// It waits to be merged. One whose state is new to us is open too: nothing says that it has ended.
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
    /// Whether it is not to be merged yet.
    pub(crate) draft: bool,
}

/// What came of opening a pull request.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub(crate) enum Created {
    /// It is open.
    Done(PullRequest),
    /// There is an open one with this head and base already.
    Exists,
    /// The host does not know the head branch; hosts need a moment after a push.
    HeadUnknown,
}

/// Who merges, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The host, as soon as its rules are met.
    Auto,
    /// We, now.
    Immediate,
}

/// What came of merging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    /// It is merged.
    Done,
    /// The host merges it as soon as its rules are met.
    Scheduled,
    /// The host does not merge it yet, for this reason: checks, approvals, conflicts.
    NotYet(String),
}

/// What a host can do and how much it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The longest title, in characters.
    pub title: usize,
    /// The longest body, in characters.
    pub body: usize,
    /// Drafts.
    pub draft: bool,
    /// Labels.
    pub labels: bool,
    /// Reviews asked of people.
    pub reviewers: bool,
    /// Reviews asked of teams.
    pub team_reviewers: bool,
    /// Assignees.
    pub assignees: bool,
    /// Milestones.
    pub milestone: bool,
    /// Merging by the host as soon as its rules are met.
    pub auto_merge: bool,
    /// Merging at once.
    pub immediate_merge: bool,
}

impl Capabilities {
    /// What of `attributes` and `merge` is asked for and missing here.
    pub(crate) fn missing(&self, attributes: &Attributes, merge: MergePolicy) -> Option<&'static str> {
        let asked = [
            (attributes.draft, self.draft, "drafts"),
            (!attributes.labels.is_empty(), self.labels, "labels"),
            (!attributes.reviewers.is_empty(), self.reviewers, "reviewers"),
            (!attributes.team_reviewers.is_empty(), self.team_reviewers, "team reviewers"),
            (!attributes.assignees.is_empty(), self.assignees, "assignees"),
            (attributes.milestone.is_some(), self.milestone, "milestones"),
            (merge == MergePolicy::Auto, self.auto_merge, "merging by the host as soon as its rules are met"),
            (merge == MergePolicy::Immediate, self.immediate_merge, "merging"),
        ];
        asked.into_iter().find(|(wanted, able, _)| *wanted && !able).map(|(_, _, what)| what)
    }
}

impl Provider {
    /// What the provider's hosts can do.
    pub fn capabilities(self) -> Capabilities {
        match self {
            Self::GitHub => github::CAPABILITIES,
            Self::Gitea | Self::Forgejo => gitea::CAPABILITIES,
            Self::GitLab => gitlab::CAPABILITIES,
            Self::BitbucketServer => bitbucket_server::CAPABILITIES,
            Self::BitbucketCloud => bitbucket_cloud::CAPABILITIES,
            Self::AzureDevOps => azure_devops::CAPABILITIES,
        }
    }
}

/// The host of a repository.
///
/// # Errors
///
/// An error for a URL, API URL or token that the provider cannot take. Nothing is sent.
///
/// # Panics
///
/// Outside of a Tokio runtime: octocrab spawns a task.
pub(crate) fn open(
    provider: Provider,
    repository: &RepoUrl,
    api_url: Option<&Url>,
    credentials: &Credentials,
    line: Line,
) -> Result<Box<dyn Host>, Error> {
    match provider {
        Provider::GitHub => Ok(Box::new(github::GitHub::open(repository, api_url, credentials, line)?)),
        Provider::Gitea | Provider::Forgejo => {
            Ok(Box::new(gitea::Gitea::open(provider, repository, api_url, credentials, line)?))
        }
        Provider::GitLab => Ok(Box::new(gitlab::GitLab::open(repository, api_url, credentials, line)?)),
        Provider::BitbucketServer => {
            Ok(Box::new(bitbucket_server::BitbucketServer::open(repository, api_url, credentials, line)?))
        }
        Provider::BitbucketCloud => {
            Ok(Box::new(bitbucket_cloud::BitbucketCloud::open(repository, api_url, credentials, line)?))
        }
        Provider::AzureDevOps => Ok(Box::new(azure_devops::AzureDevOps::open(repository, api_url, credentials, line)?)),
    }
}

/// Of several pull requests with one head: the open one, else the newest.
fn most_telling(found: impl IntoIterator<Item = PullRequest>) -> Option<PullRequest> {
    found.into_iter().min_by_key(|pull| (pull.state != PullRequestState::Open, Reverse(pull.number)))
}

#[cfg(test)]
mod tests;
