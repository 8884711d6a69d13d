//! A promotion from its key to its pull request.

mod access;
mod files;
mod settled;
mod work;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use egress::Egress;
use tracing::info;

use crate::content::MessageTemplate;
use crate::error::Error;
use crate::git::{self, Author, Change, Deleted, Git, Pushed, Snapshot};
use crate::host::{self, Accounts, Apps, Providers, PullRequest, PullRequestState};
use crate::names::{BranchName, CommitId};
use crate::observer::{Observer, Quota};
use crate::request::{Credentials, FileChange, Promotion, Request, State, Withdrawn};
use crate::{content, edit};

use self::settled::Settled;
use self::work::Work;

/// How often an edit is made anew because the head branch moved meanwhile.
const PUSH_ATTEMPTS: usize = 3;

/// How a [`Promoter`] works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where repositories are cached.
    pub cache_dir: PathBuf,
    /// The author of the commits.
    pub author: Author,
    /// The committer, if it is not the author.
    pub committer: Option<Author>,
    /// The message of the commits, if it is to be another than the one that is built in.
    pub message: Option<MessageTemplate>,
    /// Bounds of one call to a host's API.
    pub api: egress::Limits,
    /// Bounds of git.
    pub git: git::Limits,
    /// Bounds of editing.
    pub edit: edit::Limits,
    /// Whether commits and pull requests name the [trace](crate::Key::traceparent) of their promotion.
    pub trace: bool,
    /// Who is told what promotions cost.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Options {
    /// The defaults, with repositories cached in `cache_dir`.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            author: Author {
                name: "pipeline-controller".to_owned(),
                email: "noreply@pipeline-controller.invalid".to_owned(),
            },
            committer: None,
            message: None,
            api: egress::Limits::default(),
            git: git::Limits::default(),
            edit: edit::Limits::default(),
            trace: false,
            observer: None,
        }
    }
}

/// Where a head branch that is as it should be comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    /// From this attempt.
    Pushed,
    /// From an earlier one.
    Found,
}

/// What becomes of a head branch that an earlier attempt pushed, and that is as it should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Kept,
    Replaced,
}

/// Promotes by pull request. Its futures must be awaited on a Tokio runtime with IO and time.
pub struct Promoter {
    egress: Egress,
    git: Git,
    providers: Providers,
    options: Options,
    accounts: Accounts,
    apps: Apps,
    settled: Settled,
}

impl Promoter {
    /// A promoter that reaches repositories and hosts through `egress`. Nothing is read or written yet.
    pub fn new(egress: Egress, options: Options) -> Self {
        let git = Git::new(egress.clone(), &options.cache_dir, options.git.clone()).observed(options.observer.clone());
        let accounts = Accounts::new(options.observer.clone());
        Self {
            egress,
            git,
            providers: Providers::default(),
            options,
            accounts,
            apps: Apps::default(),
            settled: Settled::default(),
        }
    }

    /// What hosts told last about the requests that each credential may still send, for metrics.
    pub fn quotas(&self) -> Vec<Quota> {
        self.accounts.quotas()
    }

    /// Brings the promotion to its pull request, or follows the pull request that is there.
    ///
    /// Pull requests of this pipeline and environment for other revisions give way to it: they are closed with a
    /// comment, and their branches deleted.
    ///
    /// *Idempotency*: the promotion's key decides its branch and id, so a call that is repeated, also after a crash or
    /// a lost answer, finds what earlier calls did and adds only what is missing. A pull request that somebody closed
    /// stays closed.
    ///
    /// # Errors
    ///
    /// See [`Error`]. Nothing is pushed unless every field that matches can be changed.
    pub async fn promote(&self, request: &Request, credentials: &Credentials) -> Result<Promotion, Error> {
        let credentials = &self.credentials(request, credentials).await?;
        let promoted = self.promote_as(request, credentials).await;
        match (&credentials.app, &credentials.token) {
            // A token may be revoked before its time, as when the App's rights change.
            (Some(app), Some(token)) if promoted.as_ref().is_err_and(Error::is_unauthorized) => {
                self.apps.forget(app, &request.repository, token).await;
                self.promote_as(request, &self.credentials(request, credentials).await?).await
            }
            _ => promoted,
        }
    }

    async fn promote_as(&self, request: &Request, credentials: &Credentials) -> Result<Promotion, Error> {
        let work = self.open(request, credentials).await?;
        match work.host.find(&work.head, &request.base).await? {
            Some(pull) => self.follow(&work, pull).await,
            None => self.start(&work).await,
        }
    }

    /// What [`promote`](Self::promote) would push. Writes nothing but the cache.
    ///
    /// # Errors
    ///
    /// Fails when the repository cannot be read; what cannot be edited is told by [`edit::Edited::notes`].
    pub async fn plan(&self, request: &Request, credentials: &Credentials) -> Result<edit::Edited, Error> {
        let credentials = &self.credentials(request, credentials).await?;
        let provider = self.provider(request, &self.client(credentials)?).await.ok();
        let remote = access::remote(request, provider, credentials);
        let snapshot = self.git.fetch(&remote, &request.base).await?;
        self.edit(request, &snapshot).await
    }

    /// Closes all open pull requests of the request's pipeline and environment with a comment that gives the `reason`,
    /// and deletes the branches of promotions to it.
    ///
    /// *Idempotency*: a second call finds nothing to do.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn withdraw(
        &self,
        request: &Request,
        credentials: &Credentials,
        reason: &str,
    ) -> Result<Withdrawn, Error> {
        let credentials = &self.credentials(request, credentials).await?;
        let work = self.open(request, credentials).await?;
        let pull_requests = work.host.list_open(&work.prefix).await?;
        let comment = content::withdrawn(reason);
        let mut branches = Vec::new();
        for pull in &pull_requests {
            branches.extend(work.retire(pull, &comment, true).await?);
        }
        let left = self.git.refs(&work.remote, &work.prefix).await?;
        branches.extend(self.sweep(&work, left, &[]).await?);
        Ok(Withdrawn { pull_requests, branches })
    }

    /// What there is to do for a promotion whose pull request is known.
    async fn follow(&self, work: &Work<'_>, mut pull: PullRequest) -> Result<Promotion, Error> {
        let settled = self.settled.is(work.request, &pull);
        match pull.state {
            PullRequestState::Open => self.restore_text(work, &mut pull).await?,
            PullRequestState::Merged if !settled => work.delete_merged().await?,
            PullRequestState::Merged | PullRequestState::Closed => {}
        }
        let superseded = match pull.state {
            PullRequestState::Open | PullRequestState::Merged if !settled => work.supersede(Some(&pull)).await?,
            _ => Vec::new(),
        };
        let held_up = work.complete(&mut pull, settled).await?;
        self.settled.note(work.request, &pull, held_up.is_none());
        let promotion = work.promotion(State::from(pull.state), Some(pull), Vec::new(), superseded);
        Ok(Promotion { held_up, ..promotion })
    }

    /// Makes title and body right: the title is the promotion's; the body may be anybody's as long as it names the
    /// promotion.
    async fn restore_text(&self, work: &Work<'_>, pull: &mut PullRequest) -> Result<(), Error> {
        let limits = work.host.capabilities();
        let title = content::title(work.request, limits.title)?;
        let named = content::is_of(&pull.body, work.id);
        if named && pull.title == title {
            return Ok(());
        }
        if !named {
            let snapshot = self.git.fetch(&work.remote, &work.request.base).await?;
            let changes = files::changes(&self.edit(work.request, &snapshot).await?);
            pull.body = content::body(work.request, &changes, limits, work.trace)?;
        }
        work.host.update(pull, &title, &pull.body).await?;
        pull.title = title;
        Ok(())
    }

    /// Edits, pushes and opens the pull request; again on what is there then if the head branch moves meanwhile.
    async fn start(&self, work: &Work<'_>) -> Result<Promotion, Error> {
        for _attempt in 0..PUSH_ATTEMPTS {
            if let Some(promotion) = self.attempt(work).await? {
                return Ok(promotion);
            }
        }
        Err(Error::Contended { branch: work.head.clone(), repository: work.repository() })
    }

    /// `None` if the head branch moved between the look at it and the push.
    async fn attempt(&self, work: &Work<'_>) -> Result<Option<Promotion>, Error> {
        let (snapshot, branches) = self.git.fetch_and_list(&work.remote, &work.request.base, &work.prefix).await?;
        let edited = self.edit(work.request, &snapshot).await?;
        let (refused, others): (Vec<_>, Vec<_>) =
            edited.notes.iter().cloned().partition(|note| note.code.effect() == edit::Effect::Refused);
        if edited.matched == 0 && refused.iter().all(|note| note.code == edit::Code::UnmatchedUpdate) {
            return Err(Error::NoMatch {
                target: work.target(),
                repository: work.repository(),
                base: work.request.base.clone(),
                notes: edited.notes,
            });
        }
        if !refused.is_empty() {
            let skipped = others.into_iter().filter(|note| note.code.effect() == edit::Effect::Skipped);
            return Err(Error::NotEditable {
                target: work.target(),
                repository: work.repository(),
                base: work.request.base.clone(),
                notes: refused.into_iter().chain(skipped).collect(),
            });
        }
        if edited.files.is_empty() {
            let superseded = work.supersede(None).await?;
            self.sweep(work, branches, &superseded).await?;
            return Ok(Some(work.promotion(State::AlreadyApplied, None, Vec::new(), superseded)));
        }
        let changes = files::changes(&edited);
        let new = work.new_pull_request(&changes)?;
        let taken = branches.iter().any(|(branch, _)| *branch == work.head);
        let push = async |found| self.push(work, &snapshot, taken, &edited, &changes, found).await;
        let Some(head) = push(Found::Kept).await? else {
            return Ok(None);
        };
        let mut pull = match (work.create(&new).await, head) {
            // A host that was interrupted while it took a push may learn of the branch only by another one.
            (Err(Error::HeadNotKnownYet { .. }), Head::Found) => {
                let Some(_pushed) = push(Found::Replaced).await? else {
                    return Ok(None);
                };
                work.create(&new).await?
            }
            (created, _) => created?,
        };
        let superseded = work.supersede(Some(&pull)).await?;
        let others = branches.into_iter().filter(|(branch, _)| *branch != work.head).collect();
        self.sweep(work, others, &superseded).await?;
        let held_up = work.complete(&mut pull, false).await?;
        self.settled.note(work.request, &pull, held_up.is_none());
        let promotion = work.promotion(State::from(pull.state), Some(pull), changes, superseded);
        Ok(Some(Promotion { held_up, ..promotion }))
    }

    /// Brings the head branch to a commit of this promotion on top of the base's tip; `None` if it moved meanwhile.
    async fn push(
        &self,
        work: &Work<'_>,
        snapshot: &Snapshot,
        taken: bool,
        edited: &edit::Edited,
        changes: &[FileChange],
        found: Found,
    ) -> Result<Option<Head>, Error> {
        let files: Vec<(&str, &[u8])> =
            edited.files.iter().map(|file| (file.path.as_str(), file.content.as_slice())).collect();
        let head = if taken { self.git.head_commit(&work.remote, &work.head).await? } else { None };
        let expected = match head {
            None => None,
            Some(old) if !content::is_of(&old.message, work.id) => {
                return Err(Error::BranchTaken { branch: work.head.clone(), repository: work.repository() });
            }
            Some(old)
                if found == Found::Kept
                    && old.parents == [snapshot.tip()]
                    && old.tree == snapshot.tree_with(&files).await? =>
            {
                return Ok(Some(Head::Found));
            }
            Some(old) => Some(old.id),
        };
        let message = content::commit_message(work.request, changes, self.options.message.as_ref(), work.trace)?;
        #[expect(clippy::disallowed_methods, reason = "a commit carries the time at which it is made")]
        let when = jiff::Timestamp::now();
        let change = Change {
            files: &files,
            message: &message,
            author: &self.options.author,
            committer: self.options.committer.as_ref(),
            signing: work.signing.as_ref(),
            when,
        };
        match self.git.commit_and_push(&work.remote, snapshot, change, &work.head, expected).await? {
            Pushed::Done(id) => {
                info!(promotion.id = %work.id, branch = %work.head, commit = %id, "pushed the promotion's branch");
                Ok(Some(Head::Pushed))
            }
            Pushed::Stale { .. } => Ok(None),
        }
    }

    /// Deletes those of the branches that hold promotions, which no open pull request needs. Those of the `retired` pull
    /// requests are gone already.
    async fn sweep(
        &self,
        work: &Work<'_>,
        branches: Vec<(BranchName, CommitId)>,
        retired: &[PullRequest],
    ) -> Result<Vec<BranchName>, Error> {
        let mut deleted = Vec::new();
        for (branch, tip) in branches {
            let is_gone = retired.iter().any(|pull| pull.head == branch.as_str());
            if is_gone || !self.is_ours(work, &branch, tip).await? {
                continue;
            }
            if self.git.delete_branch(&work.remote, &branch, tip).await? == Deleted::Done {
                info!(promotion.id = %work.id, branch = %branch, "deleted the branch of an older promotion");
                deleted.push(branch);
            }
        }
        Ok(deleted)
    }

    async fn is_ours(&self, work: &Work<'_>, branch: &BranchName, tip: CommitId) -> Result<bool, Error> {
        let commit = self.git.head_commit(&work.remote, branch).await?;
        Ok(commit.is_some_and(|commit| commit.id == tip && content::is_of_some_promotion(&commit.message)))
    }

    async fn edit(&self, request: &Request, snapshot: &Snapshot) -> Result<edit::Edited, Error> {
        let found = files::read(&request.updates, snapshot).await?;
        let (updates, limits) = (request.updates.clone(), self.options.edit);
        let edited = tokio::task::spawn_blocking(move || {
            let files = found.files.iter().map(|(path, content)| edit::File { path, content });
            let mut edited = edit::edit(files, &updates, &limits);
            edited.notes.extend(found.skipped.into_iter().map(files::not_read));
            edited
        });
        edited.await.map_err(|source| Error::BrokenOff { repository: request.repository.to_string(), source })
    }

    async fn open<'a>(&self, request: &'a Request, credentials: &Credentials) -> Result<Work<'a>, Error> {
        let client = self.client(credentials)?;
        let provider = self.provider(request, &client).await?;
        let api = access::for_api(request, credentials);
        let line = self.line(provider, client, request, &api);
        let host = host::open(provider, &request.repository, request.api_url.as_ref(), &api, line)?;
        if let Some(what) = host.capabilities().missing(&request.attributes, request.merge) {
            return Err(Error::NotSupported { provider, what, repository: request.repository.to_string() });
        }
        Ok(Work {
            request,
            host,
            remote: access::remote(request, Some(provider), credentials),
            signing: credentials.signing.clone(),
            head: request.key.branch(),
            prefix: request.key.branch_prefix(),
            id: request.key.id(),
            trace: self.options.trace,
        })
    }
}

impl fmt::Debug for Promoter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promoter").field("options", &self.options).finish_non_exhaustive()
    }
}
