use std::path::PathBuf;
use std::time::Duration;

use egress::{Egress, Identity, Policy};
use promote_pr::git::{Author, Change, Error, Git, Limits, Pushed, Remote, Snapshot};
use promote_pr::{BranchName, CommitId};
use secrecy::SecretString;
use tempfile::TempDir;
use testbed::git_server::{Step, TOKEN};
use testbed::recorded::RecordedRequest;
use testbed::{Ca, GitServer, RepoHandle};

pub(crate) const REPO: &str = "team/fleet";
pub(crate) const NEEDLE: &[u8] = b"$promotion";
pub(crate) const FILES: [(&str, &str); 4] = [
    ("README.md", "# $promotion\n"),
    ("apps/dev/app.yaml", "tag: 1.0.0\n"),
    ("apps/prod/app.yaml", "tag: 1.0.0 # {\"$promotion\": \"default:app:prod\"}\n"),
    ("apps/prod/other.yml", "tag: 7 # {\"$promotion\": \"default:other:prod\"}\n"),
];
pub(crate) const PROD: &str = FILES[2].0;

/// A git server with one repository, and our client for it.
pub(crate) struct Bed {
    folder: TempDir,
    pub(crate) server: GitServer,
    pub(crate) repo: RepoHandle,
    pub(crate) git: Git,
    pub(crate) remote: Remote,
}

impl Bed {
    pub(crate) async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::generate(&folder.path().join("ca")).unwrap();
        let server = GitServer::start(&ca).await.unwrap();
        let repo = server.create_repo(REPO, &FILES).await.unwrap();
        repo.commit("main", &[("apps/dev/app.yaml", "tag: 1.1.0\n")], "Second").await.unwrap();
        let remote = Remote {
            url: server.url(REPO).as_str().parse().unwrap(),
            identity: Identity { ca: Some(ca.pem().into()), ..Identity::default() },
            username: Some("x-access-token".to_owned()),
            password: Some(SecretString::from(TOKEN)),
            ssh: None,
        };
        let git = Git::new(Egress::new(Policy::default()).unwrap(), folder.path().join("cache"), limits);
        Self { folder, server, repo, git, remote }
    }

    /// A client as a new process would have it, with the same cache directory.
    pub(crate) fn restart(&mut self, limits: Limits) {
        let cache = self.folder.path().join("cache");
        self.git = Git::new(Egress::new(Policy::default()).unwrap(), self.folder.path().join("none"), limits.clone());
        self.git = Git::new(Egress::new(Policy::default()).unwrap(), cache, limits);
    }

    pub(crate) async fn fetch(&self) -> Result<Snapshot, Error> {
        self.git.fetch(&self.remote, &main()).await
    }

    /// Sets the tag of `app` in prod, on the branch `head`.
    pub(crate) async fn push(
        &self,
        snapshot: &Snapshot,
        tag: &str,
        head: &BranchName,
        expected: Option<CommitId>,
    ) -> Result<Pushed, Error> {
        let content = prod(tag);
        let change = Change {
            files: &[(PROD, content.as_bytes())],
            message: "Promote app\n\nPromotion-Id: 1\n",
            author: &author(),
            when: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        };
        self.git.commit_and_push(&self.remote, snapshot, change, head, expected).await
    }

    pub(crate) async fn tip(&self, branch: &str) -> CommitId {
        self.repo.rev_parse(&format!("refs/heads/{branch}")).await.unwrap().parse().unwrap()
    }

    /// The requests of one kind so far.
    pub(crate) fn requests(&self, step: Step) -> Vec<RecordedRequest<Step>> {
        self.server.requests().into_iter().filter(|request| request.step == Some(step)).collect()
    }

    /// The bare repositories in the cache directory.
    pub(crate) fn stores(&self) -> Vec<PathBuf> {
        let list = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path());
        let homes = list(self.folder.path().join("cache"));
        homes.flat_map(list).filter(|path| path.extension().is_some_and(|extension| extension == "git")).collect()
    }

    /// The packs of the only bare repository in the cache directory.
    pub(crate) fn packs(&self) -> Vec<PathBuf> {
        let stores = self.stores();
        assert_eq!(stores.len(), 1, "{stores:?}");
        let files = std::fs::read_dir(stores[0].join("objects/pack")).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "pack")).collect()
    }
}

pub(crate) fn main() -> BranchName {
    branch("main")
}

pub(crate) fn branch(name: &str) -> BranchName {
    name.parse().unwrap()
}

pub(crate) fn prod(tag: &str) -> String {
    FILES[2].1.replace("1.0.0", tag)
}

pub(crate) fn author() -> Author {
    Author { name: "Pipeline Controller".to_owned(), email: "bot@example.com".to_owned() }
}

pub(crate) fn within(deadline: Duration) -> Limits {
    Limits { deadline, ..Limits::default() }
}
