//! Fetches a branch, changes files of it and pushes the change as a commit, without a `git` binary or a work tree.
//!
//! Only the tip of a branch is fetched, never its history, and what was fetched is kept in a cache, so that next time
//! only what changed comes over the network. Commits are made in memory. A branch is written only if it still is where
//! the caller knows it to be. No configuration of the user or the system is read.
//!
//! The futures must be awaited on a Tokio runtime with IO and time. Dropping one ends its work soon after.

mod author;
mod cache;
mod commit;
mod error;
mod fetch;
mod http;
mod identity;
mod limits;
mod link;
mod operation;
mod push;
mod queue;
mod search;
mod session;
mod sign;
mod snapshot;
#[cfg_attr(not(feature = "ssh"), path = "git/no_ssh.rs")]
mod ssh;
mod text;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use egress::Egress;
use jiff::Timestamp;
use secrecy::SecretString;
use tracing::Instrument as _;

use self::cache::{Cache, Store};
use self::link::Link;
use self::push::{Outcome, Update};
use self::queue::Answer;
use self::session::Session;
use self::snapshot::object_id;
use self::ssh::Connections;
use crate::names::{BranchName, CommitId, RepoUrl, TreeId};
use crate::observer::{GitAction, GitOperation, Observer};

pub use self::author::Author;
pub use self::error::{Cause, Error};
pub use self::identity::SshIdentity;
pub use self::limits::{CacheLimits, Limits};
pub use self::sign::{InvalidKey, SigningKey};
pub use self::snapshot::{Found, SkipReason, Skipped, Snapshot};

/// A git client with a cache. Clones share the cache.
///
/// The cache directory may be shared with other processes, and be deleted while none uses it. It is private to the
/// user that runs the process, and what is in it is read back only for the same URL, credentials and identity.
#[derive(Clone)]
pub struct Git {
    egress: Egress,
    cache: Arc<Cache>,
    connections: Arc<Connections>,
    limits: Limits,
    observer: Option<Arc<dyn Observer>>,
}

/// A repository and who reads and writes it.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The repository.
    pub url: RepoUrl,
    /// Trust, client certificate and proxy of the connection.
    pub identity: egress::Identity,
    /// The user name for HTTP basic authentication; with a token often an arbitrary one. SSH does not use it.
    pub username: Option<String>,
    /// The password or token for HTTP. It is sent to the origin of `url` alone.
    pub password: Option<SecretString>,
    /// Who we are over SSH, where the user is the one that `url` names, else `git`.
    pub ssh: Option<SshIdentity>,
}

/// A commit to be made: new content for files that are in the snapshot already.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Path and new content of each file. Its mode stays as it is.
    pub files: &'a [(&'a str, &'a [u8])],
    /// The message, with its trailers.
    pub message: &'a str,
    /// Who wrote the change.
    pub author: &'a Author,
    /// Who made the commit of it; the author, if `None`.
    pub committer: Option<&'a Author>,
    /// What the commit is signed with.
    pub signing: Option<&'a SigningKey>,
    /// When the commit is made; it is written in UTC with whole seconds, and not before 1970.
    pub when: Timestamp,
}

/// How a push ended, if nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The branch is at this commit.
    Done(CommitId),
    /// The branch was not where it was expected, and nothing was changed.
    Stale {
        /// Where it is; `None` if it does not exist.
        actual: Option<CommitId>,
    },
}

/// How the deletion of a branch ended, if nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The branch does not exist any more.
    Done,
    /// The branch was not where it was expected, and nothing was changed.
    Stale {
        /// Where it is.
        actual: CommitId,
    },
}

/// What a commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// The commit.
    pub id: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// Its parents; none for a first commit.
    pub parents: Vec<CommitId>,
    /// Its message as it is written, trailers included.
    pub message: String,
}

impl Git {
    /// A client whose cache is in `cache_dir`, which is made when first needed.
    pub fn new(egress: Egress, cache_dir: impl Into<PathBuf>, limits: Limits) -> Self {
        let cache = Arc::new(Cache::new(cache_dir.into(), limits.cache.clone()));
        let connections = Arc::new(Connections::new(egress.clone()));
        Self { egress, cache, connections, limits, observer: None }
    }

    /// The same client, whose operations `observer` is told of.
    pub fn observed(self, observer: Option<Arc<dyn Observer>>) -> Self {
        Self { observer, ..self }
    }

    /// Fetches the tip of `branch`, and only what the cache lacks of it.
    ///
    /// Callers who want the same at the same moment share one look at the repository, which begins after each of them has
    /// asked.
    ///
    /// # Errors
    /// [`Error::BranchNotFound`] and [`Error::EmptyRepository`] besides all that can go wrong on the way. An object store
    /// that cannot be read is made new, once, before [`Error::Objects`] is given back.
    pub async fn fetch(&self, remote: &Remote, branch: &BranchName) -> Result<Snapshot, Error> {
        self.fetch_listing(remote, branch, None).await.map(|(snapshot, _)| snapshot)
    }

    /// As [`Git::fetch`], and lists the branches whose names begin with `prefix` as [`Git::refs`] does, at the cost of no
    /// further request.
    ///
    /// # Errors
    /// As [`Git::fetch`].
    pub async fn fetch_and_list(
        &self,
        remote: &Remote,
        branch: &BranchName,
        prefix: &str,
    ) -> Result<(Snapshot, Vec<(BranchName, CommitId)>), Error> {
        self.fetch_listing(remote, branch, Some(prefix.to_owned())).await
    }

    async fn fetch_listing(
        &self,
        remote: &Remote,
        branch: &BranchName,
        list: Option<String>,
    ) -> Result<(Snapshot, Vec<(BranchName, CommitId)>), Error> {
        let link = self.link(remote)?;
        let fetched = self.fetch_tip(&link, branch, list, |link, answer| {
            let snapshot = answer.tip.map(|(tip, store)| Snapshot::new(link, store, tip)).transpose()?;
            Ok(snapshot.map(|snapshot| (snapshot, answer.branches)))
        });
        if let Some(fetched) = fetched.await? {
            return Ok(fetched);
        }
        let (url, branch) = (link.url.clone(), branch.clone());
        Err(match self.refs(remote, "").await?.as_slice() {
            [] => Error::EmptyRepository { url, branch },
            _ => Error::BranchNotFound { url, branch },
        })
    }

    /// What the commit at the head of `branch` says; `None` if there is no such branch.
    ///
    /// # Errors
    /// As [`Git::fetch`], but for the missing branch.
    pub async fn head_commit(&self, remote: &Remote, branch: &BranchName) -> Result<Option<CommitInfo>, Error> {
        let link = self.link(remote)?;
        let info = |(tip, store): (_, Arc<Store>), link: &Link| {
            commit::info(&store, tip).map_err(|error| store.failure(link, &error))
        };
        self.fetch_tip(&link, branch, None, move |link, answer| answer.tip.map(|tip| info(tip, link)).transpose()).await
    }

    /// Commits `change` on top of `snapshot` and makes `head` point to that commit, provided that it points to
    /// `expected_old` now, or does not exist if that is `None`.
    ///
    /// # Idempotency
    /// The same change at the same time is the same commit, and pushing it again is [`Pushed::Done`]. When the
    /// connection breaks before the server's answer is there, the branch is read to see what happened.
    ///
    /// # Errors
    /// [`Error::Refused`] with the text of the server's hook; [`Error::NotAFile`] and [`Error::NothingToCommit`] before
    /// anything is sent. After any other error the branch is as it was, or its state is unknown; looking at it again
    /// tells.
    pub async fn commit_and_push(
        &self,
        remote: &Remote,
        snapshot: &Snapshot,
        change: Change<'_>,
        head: &BranchName,
        expected_old: Option<CommitId>,
    ) -> Result<Pushed, Error> {
        let link = self.link(remote)?;
        let snapshot = snapshot.clone();
        let files = commit::owned(change.files);
        let description = commit::Description::of(&change);
        let (branch, old) = (head.clone(), expected_old.map(|id| object_id(id.as_bytes())));
        self.run(&Arc::clone(&link), GitAction::Push, std::future::ready(()), move |operation, ()| {
            let turn = operation.wait(operation::turn());
            let commit = commit::Edit::new(&snapshot, &files)?.commit(&description)?;
            drop(turn);
            let update = Update { branch, old, new: Some((commit.id, commit.pack)) };
            Ok(match push::push(&link, operation, &update)? {
                Outcome::Done => Pushed::Done(commit::commit_id(commit.id)),
                Outcome::Stale(actual) => Pushed::Stale { actual: actual.map(commit::commit_id) },
            })
        })
        .await
    }

    /// The branches whose names begin with `prefix`, and their commits. `prefix` may end within a name.
    ///
    /// # Errors
    /// As [`Git::fetch`]; no branch at all is no error.
    pub async fn refs(&self, remote: &Remote, prefix: &str) -> Result<Vec<(BranchName, CommitId)>, Error> {
        let link = self.link(remote)?;
        let prefix = prefix.to_owned();
        self.run(&Arc::clone(&link), GitAction::List, std::future::ready(()), move |operation, ()| {
            let (_session, refs) = Session::list(&link, operation, &[&format!("refs/heads/{prefix}")])?;
            Ok(fetch::branches(&refs, &prefix))
        })
        .await
    }

    /// Deletes `branch`, provided that it points to `expected_old`.
    ///
    /// # Idempotency
    /// A branch that does not exist is deleted.
    ///
    /// # Errors
    /// As [`Git::commit_and_push`].
    pub async fn delete_branch(
        &self,
        remote: &Remote,
        branch: &BranchName,
        expected_old: CommitId,
    ) -> Result<Deleted, Error> {
        let link = self.link(remote)?;
        let update = Update { branch: branch.clone(), old: Some(object_id(expected_old.as_bytes())), new: None };
        self.run(&Arc::clone(&link), GitAction::Push, std::future::ready(()), move |operation, ()| {
            Ok(match push::push(&link, operation, &update)? {
                Outcome::Done | Outcome::Stale(None) => Deleted::Done,
                Outcome::Stale(Some(actual)) => Deleted::Stale { actual: commit::commit_id(actual) },
            })
        })
        .await
    }

    fn link(&self, remote: &Remote) -> Result<Arc<Link>, Error> {
        let mut link = Link::new(&self.egress, &self.connections, remote, &self.limits)?;
        link.advertised = Arc::clone(&self.cache.repository(&link.cache_key).advertised);
        Ok(Arc::new(link))
    }

    async fn fetch_tip<T: Send + 'static>(
        &self,
        link: &Arc<Link>,
        branch: &BranchName,
        list: Option<String>,
        read: impl FnOnce(&Arc<Link>, Answer) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (cache, repository) = (Arc::clone(&self.cache), self.cache.repository(&link.cache_key));
        let ask = repository.queue.join(branch.clone(), list);
        let (waited, link) = (Arc::clone(&repository), Arc::clone(link));
        let turn = async move { waited.lock().await };
        self.run(&Arc::clone(&link), GitAction::Fetch, turn, move |operation, mut entry| {
            let answer = fetch::fetch(&mut entry, &repository.queue, &ask, &link, operation);
            cache.evict(&mut entry);
            drop(entry);
            read(&link, answer?)
        })
        .await
    }

    async fn run<P: Send + 'static, T: Send + 'static>(
        &self,
        link: &Link,
        action: GitAction,
        prepare: impl Future<Output = P>,
        work: impl FnOnce(&Arc<operation::Operation>, P) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (url, observer, began) = (link.url.clone(), self.observer.clone(), Instant::now());
        let span = tracing::debug_span!("git", action = action.as_str(), server.address = url.host());
        let waiting = span.clone();
        let all = operation::run(&link.url, self.limits.deadline, prepare, move |operation, prepared| {
            let result = span.in_scope(|| work(operation, prepared));
            if let Some(observer) = observer {
                let traffic = operation.traffic();
                observer.git(&GitOperation {
                    host: &url.host_and_port(),
                    ssh: url.as_url().scheme() == "ssh",
                    action,
                    done: result.is_ok(),
                    elapsed: began.elapsed(),
                    sent: traffic.sent(),
                    received: traffic.received(),
                    cache: traffic.cache(),
                });
            }
            result
        });
        all.instrument(waiting).await
    }
}

impl std::fmt::Debug for Git {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Git").field("limits", &self.limits).finish_non_exhaustive()
    }
}
