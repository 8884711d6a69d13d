//! A git server over HTTPS: the real `git http-backend` on bare repositories in a temporary folder.
//!
//! It speaks [git's smart HTTP protocol](https://git-scm.com/docs/http-protocol) as git itself implements it, streams
//! in both directions, and asks for basic authentication. [`Rule`]s make it fail.

mod backend;
mod repo;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use anyhow::Result;
use tempfile::TempDir;
use url::Url;

pub use self::repo::{Change, Commit, Hook, RepoHandle};
pub(crate) use self::{backend::Backend, repo::MergeTree};
use crate::{
    ca::Ca,
    faults::Rule,
    https::{self, Server},
    recorded::RecordedRequest,
};

/// The requests of a fetch and of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `GET info/refs?service=git-upload-pack`
    FetchRefs,
    /// `POST git-upload-pack`
    Fetch,
    /// `GET info/refs?service=git-receive-pack`
    PushRefs,
    /// `POST git-receive-pack`
    Push,
}

/// The user name that the server accepts together with [`PASSWORD`].
pub const USERNAME: &str = "promoter";
/// The password for [`USERNAME`].
pub const PASSWORD: &str = "correct-horse-battery";
/// The token that the server accepts as the password of any user, as GitHub and GitLab do; see
/// [`GitServer::set_token`].
pub const TOKEN: &str = "ghp_testbed0123456789";

/// A running git server; it stops when it is dropped, and its repositories are gone.
pub struct GitServer {
    server: Server<Arc<Backend>>,
    folder: TempDir,
}

impl GitServer {
    /// Starts a server without repositories on a free loopback port.
    ///
    /// # Errors
    /// There is no `git` with `http-backend` on this machine, or no port is free.
    pub async fn start(ca: &Ca) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("testbed-git-").tempdir()?;
        let (listener, url) = https::listen().await?;
        let backend = Backend::new(folder.path()).await?;
        Ok(Self { server: Server::start(ca, listener, url, Arc::new(backend))?, folder })
    }

    /// What answers git's requests, for a host that serves git and an API under one address.
    pub(crate) fn backend(&self) -> Arc<Backend> {
        Arc::clone(self.server.service())
    }

    /// `https://127.0.0.1:<port>/`
    pub fn origin(&self) -> &Url {
        &self.server.url
    }

    /// The clone address of the repository `owner/name`.
    pub fn url(&self, repo: &str) -> Url {
        repo_url(&self.server.url, repo)
    }

    /// Creates the bare repository `owner/name` with these files in one commit on `main`; without files, an empty one.
    ///
    /// # Errors
    /// There is one of that name already, or git refuses a file's path.
    pub async fn create_repo<C: AsRef<[u8]>>(&self, name: &str, files: &[(&str, C)]) -> Result<RepoHandle> {
        let repo = RepoHandle::create(self.root(), name).await?;
        if !files.is_empty() {
            repo.commit("main", files, "Start the repository").await?;
        }
        Ok(repo)
    }

    /// The repository `owner/name` that is there already.
    ///
    /// # Errors
    /// There is none.
    pub fn repo(&self, name: &str) -> Result<RepoHandle> {
        RepoHandle::open(self.root(), name)
    }

    /// The folder that holds the repositories as `owner/name.git`.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Accepts this token from now on, the previous one no more.
    pub fn set_token(&self, token: &str) {
        self.server.service().set_token(token);
    }

    /// Lets the repository `owner/name` be spoken to in protocol version 0 only, as behind a proxy that drops the
    /// [`Git-Protocol`](https://git-scm.com/docs/protocol-v2#_http_transport) header, or lifts that again.
    pub fn set_protocol_v0_only(&self, repo: &str, only: bool) {
        self.server.service().set_protocol_v0_only(repo, only);
    }

    /// Adds a fault after those that are there.
    pub fn inject(&self, rule: Rule<Step>) {
        self.server.inject(rule);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.server.clear_faults();
    }

    /// All requests so far, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest<Step>> {
        self.server.requests()
    }
}

pub(crate) fn repo_url(origin: &Url, repo: &str) -> Url {
    let mut url = origin.clone();
    url.set_path(&format!("{repo}.git"));
    url
}
