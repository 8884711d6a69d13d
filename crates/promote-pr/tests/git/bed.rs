use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use egress::{Egress, Guard, Identity, Policy};
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
        let git = Git::new(Egress::new(loopback()).unwrap(), folder.path().join("cache"), limits);
        Self { folder, server, repo, git, remote }
    }

    /// A client as a new process would have it, with the same cache directory.
    pub(crate) fn restart(&mut self, limits: Limits) {
        let cache = self.folder.path().join("cache");
        self.git = Git::new(Egress::new(loopback()).unwrap(), self.folder.path().join("none"), limits.clone());
        self.git = Git::new(Egress::new(loopback()).unwrap(), cache, limits);
    }

    /// A client as another process would have it beside this one.
    pub(crate) fn restart_beside(&mut self, limits: Limits) {
        self.git = Git::new(Egress::new(loopback()).unwrap(), self.folder.path().join("cache"), limits);
    }

    /// Tells another process what to fetch and where to cache it.
    pub(crate) fn write_config(&self, file: &Path) {
        let ca = String::from_utf8(self.remote.identity.ca.clone().unwrap()).unwrap();
        let cache = self.folder.path().join("cache");
        fs::write(file, format!("{}\n{}\n{ca}", self.remote.url, cache.display())).unwrap();
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
            committer: None,
            signing: None,
            when: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        };
        let pushed = self.git.commit_and_push(&self.remote, snapshot, change, head, expected).await;
        if let Ok(Pushed::Done(id)) = pushed {
            let numbers = self.repo.git(&["diff", "--numstat", &format!("{id}~"), &id.to_string()]).await.unwrap();
            assert_eq!(numbers, format!("1\t1\t{PROD}\n"), "the commit holds more than the edit");
        }
        pushed
    }

    /// The size of the cache directory.
    pub(crate) fn cached_bytes(&self) -> u64 {
        fn size(folder: PathBuf) -> u64 {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
            let sizes = entries.map(|entry| match entry.metadata().unwrap() {
                metadata if metadata.is_dir() => size(entry.path()),
                metadata => metadata.len(),
            });
            sizes.sum()
        }
        size(self.folder.path().join("cache"))
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
        let list = |path: PathBuf| fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path());
        let homes = list(self.folder.path().join("cache"));
        homes.flat_map(list).filter(|path| path.extension().is_some_and(|extension| extension == "git")).collect()
    }

    /// The packs of the only bare repository in the cache directory.
    pub(crate) fn packs(&self) -> Vec<PathBuf> {
        let stores = self.stores();
        assert_eq!(stores.len(), 1, "{stores:?}");
        let files = fs::read_dir(stores[0].join("objects/pack")).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "pack")).collect()
    }
}

impl Drop for Bed {
    /// The server's repository is sound, whatever a test did to it.
    fn drop(&mut self) {
        let check = ["fsck", "--strict", "--full", "--no-progress"];
        let output = Command::new("git").args(check).current_dir(&self.repo.path).output().unwrap();
        if !std::thread::panicking() {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// A client in another process than the server's.
pub(crate) struct Attached {
    git: Git,
    remote: Remote,
}

impl Attached {
    /// Reads what [`Bed::write_config`] wrote.
    pub(crate) fn read(file: &Path) -> Self {
        let config = fs::read_to_string(file).unwrap();
        let mut parts = config.splitn(3, '\n');
        let [url, cache, ca] = [(); 3].map(|()| parts.next().unwrap());
        Self {
            git: Git::new(Egress::new(loopback()).unwrap(), cache, Limits::default()),
            remote: Remote {
                url: url.parse().unwrap(),
                identity: Identity { ca: Some(ca.into()), ..Identity::default() },
                username: Some("x-access-token".to_owned()),
                password: Some(SecretString::from(TOKEN)),
                ssh: None,
            },
        }
    }

    pub(crate) async fn fetch(&self) -> Result<Snapshot, Error> {
        self.git.fetch(&self.remote, &main()).await
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

/// The servers of the tests are on loopback, which nobody reaches without being allowed to.
fn loopback() -> Policy {
    let guard = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], ..Guard::default() };
    Policy { guard, ..Policy::default() }
}
