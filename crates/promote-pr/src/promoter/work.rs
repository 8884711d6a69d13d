//! What one promotion does on its host.

use std::time::Duration;

use egress::Retry;
use tracing::{info, warn};
use uuid::Uuid;

use crate::content;
use crate::edit;
use crate::error::Error;
use crate::git::{Remote, SigningKey};
use crate::host::{Created, Host, Merge, Merged, NewPullRequest, PullRequest, PullRequestState};
use crate::names::BranchName;
use crate::request::{FileChange, MergePolicy, Promotion, Request, State};

/// The pauses, in milliseconds, before a host is asked again for a head branch that it did not know: a quarter of a
/// minute in all.
const HEAD_PAUSES: [u64; 7] = [250, 500, 1000, 2000, 3000, 4000, 4000];

/// One call's promotion: what is asked for, where, and under which names.
pub(super) struct Work<'a> {
    pub(super) request: &'a Request,
    pub(super) host: Box<dyn Host>,
    pub(super) remote: Remote,
    pub(super) signing: Option<SigningKey>,
    pub(super) head: BranchName,
    pub(super) prefix: String,
    pub(super) id: Uuid,
    pub(super) trace: bool,
}

impl Work<'_> {
    /// The pull request that is to be opened.
    pub(super) fn new_pull_request(&self, changes: &[FileChange]) -> Result<NewPullRequest, Error> {
        let limits = self.host.capabilities();
        Ok(NewPullRequest {
            head: self.head.clone(),
            base: self.request.base.clone(),
            title: content::title(self.request, limits.title)?,
            body: content::body(self.request, changes, limits, self.trace)?,
            draft: self.request.attributes.draft,
        })
    }

    /// Opens the pull request, or finds the one that an attempt whose answer was lost has opened.
    pub(super) async fn create(&self, new: &NewPullRequest) -> Result<PullRequest, Error> {
        let mut pauses = HEAD_PAUSES.into_iter().map(Duration::from_millis);
        loop {
            let failure = match self.host.create(new).await {
                Ok(Created::Done(pull)) => {
                    info!(promotion.id = %self.id, pull_request.url = %pull.url, "opened the pull request");
                    return Ok(pull);
                }
                Ok(Created::Exists) => None,
                Ok(Created::HeadUnknown) => {
                    let Some(pause) = pauses.next() else {
                        return Err(Error::HeadNotKnownYet {
                            branch: self.head.clone(),
                            repository: self.repository(),
                        });
                    };
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Err(error) => Some(error),
            };
            return match (self.host.find(&self.head, &self.request.base).await, failure) {
                (Ok(Some(pull)), _) => Ok(pull),
                (_, Some(failure)) => Err(failure),
                (Err(error), None) => Err(error),
                (Ok(None), None) => Err(Error::Contended { branch: self.head.clone(), repository: self.repository() }),
            };
        }
    }

    /// Gives an open pull request what it lacks beside its text, and merges it where the policy says so. Returns what the
    /// merge waits for.
    pub(super) async fn complete(&self, pull: &mut PullRequest, settled: bool) -> Result<Option<String>, Error> {
        if pull.state != PullRequestState::Open {
            return Ok(None);
        }
        self.host.dress(pull, &self.request.attributes).await?;
        let how = match self.request.merge {
            _ if settled => return Ok(None),
            MergePolicy::None => return Ok(None),
            MergePolicy::Auto | MergePolicy::Immediate if pull.attributes.draft => {
                return Ok(Some("the pull request is a draft".to_owned()));
            }
            MergePolicy::Auto => Merge::Auto,
            MergePolicy::Immediate => Merge::Immediate,
        };
        match self.host.merge(pull, how).await? {
            Merged::Scheduled => Ok(None),
            Merged::NotYet(reason) => Ok(Some(reason)),
            Merged::Done => {
                info!(promotion.id = %self.id, pull_request.url = %pull.url, "merged the pull request");
                match self.host.find(&self.head, &self.request.base).await? {
                    Some(found) if found.number == pull.number => *pull = found,
                    _ => pull.state = PullRequestState::Merged,
                }
                self.delete_merged().await?;
                Ok(None)
            }
        }
    }

    /// Deletes the branch of the merged pull request. A branch that the host does not let go is left to people.
    pub(super) async fn delete_merged(&self) -> Result<(), Error> {
        match self.host.delete_branch(&self.head).await {
            Err(error @ Error::Refused { .. }) if error.retry() == Retry::Never && !error.is_unauthorized() => {
                warn!(promotion.id = %self.id, branch = %self.head, error = %error, "the merged branch stays");
                Ok(())
            }
            deleted => deleted.map(drop),
        }
    }

    /// Closes the open pull requests of this pipeline and environment that are not `by`.
    pub(super) async fn supersede(&self, by: Option<&PullRequest>) -> Result<Vec<PullRequest>, Error> {
        let comment = match by {
            Some(by) => content::superseded_by(self.request, by),
            None => content::superseded_on_base(self.request),
        };
        let mut superseded = Vec::new();
        for pull in self.host.list_open(&self.prefix).await? {
            if by.is_some_and(|by| by.number == pull.number) {
                continue;
            }
            let shares_branch = by.is_some() && pull.head == self.head.as_str();
            self.retire(&pull, &comment, !shares_branch).await?;
            superseded.push(PullRequest { state: PullRequestState::Closed, ..pull });
        }
        Ok(superseded)
    }

    /// Closes a pull request and deletes its branch.
    ///
    /// *Idempotency*: the branch goes before the pull request is closed, so that a call that breaks off leaves either
    /// an open pull request, which is found again, or nothing; hosts close a pull request that loses its branch.
    pub(super) async fn retire(
        &self,
        pull: &PullRequest,
        comment: &str,
        delete: bool,
    ) -> Result<Option<BranchName>, Error> {
        self.host.comment(pull.number, comment).await?;
        let mut deleted = None;
        if delete && let Ok(branch) = pull.head.parse::<BranchName>() {
            deleted = self.host.delete_branch(&branch).await?.then_some(branch);
        }
        self.host.close(pull.number).await?;
        info!(promotion.id = %self.id, pull_request.url = %pull.url, "closed the pull request of another promotion");
        Ok(deleted)
    }

    pub(super) fn promotion(
        &self,
        state: State,
        pull_request: Option<PullRequest>,
        changes: Vec<FileChange>,
        superseded: Vec<PullRequest>,
    ) -> Promotion {
        Promotion { state, pull_request, head: self.head.clone(), changes, superseded, held_up: None }
    }

    /// What errors call the fields that are to be changed.
    pub(super) fn target(&self) -> String {
        let updates: Vec<_> = self.request.updates.iter().map(edit::Update::to_string).collect();
        updates.join(", ")
    }

    pub(super) fn repository(&self) -> String {
        self.request.repository.to_string()
    }
}
