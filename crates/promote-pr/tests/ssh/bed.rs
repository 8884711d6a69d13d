use std::fs;
use std::path::Path;
use std::time::Duration;

use egress::{Egress, Guard, Identity, Policy};
use promote_pr::git::{Author, Change, Error, Git, Limits, Pushed, Remote, Snapshot};
use promote_pr::{BranchName, CommitId, SshIdentity};
use secrecy::SecretString;
use tempfile::TempDir;
use testbed::ssh_server::{Key, Settings};
use testbed::{Ca, GitServer, RepoHandle, SshServer};

pub(crate) const REPO: &str = "team/fleet";
pub(crate) const NEEDLE: &[u8] = b"$promotion";
pub(crate) const FILES: [(&str, &str); 2] =
    [("README.md", "# $promotion\n"), ("apps/prod/app.yaml", "tag: 1.0.0 # {\"$promotion\": \"default:app:prod\"}\n")];
pub(crate) const PROD: &str = FILES[1].0;

/// An SSH server with one repository, and our client for it.
pub(crate) struct Bed {
    folder: TempDir,
    /// Where the repositories are; nothing is asked over HTTP.
    pub(crate) server: GitServer,
    pub(crate) ssh: SshServer,
    pub(crate) repo: RepoHandle,
    pub(crate) git: Git,
    pub(crate) remote: Remote,
}

impl Bed {
    pub(crate) async fn start() -> Self {
        Self::with(&Settings::default(), Limits::default()).await
    }

    pub(crate) async fn with(settings: &Settings, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::generate(&folder.path().join("ca")).unwrap();
        let server = GitServer::start(&ca).await.unwrap();
        let repo = server.create_repo(REPO, &FILES).await.unwrap();
        repo.commit("main", &[("apps/dev/app.yaml", "tag: 1.1.0\n")], "Second").await.unwrap();
        let ssh = SshServer::start(server.root(), settings).await.unwrap();
        let remote = Remote {
            url: ssh.url(REPO).unwrap().as_str().parse().unwrap(),
            identity: Identity::default(),
            username: None,
            password: None,
            ssh: Some(identity(&ssh.client_key, &ssh.known_hosts())),
        };
        let git = client(&folder, limits);
        Self { folder, server, ssh, repo, git, remote }
    }

    /// A client with these limits; what was fetched before can still be used.
    pub(crate) fn limit(&mut self, limits: Limits) {
        self.git = client(&self.folder, limits);
    }

    /// A client that knows nothing yet, with an empty cache.
    pub(crate) fn forget(&mut self, limits: Limits) {
        self.folder = tempfile::tempdir().unwrap();
        self.git = client(&self.folder, limits);
    }

    pub(crate) async fn fetch(&self) -> Result<Snapshot, Error> {
        self.git.fetch(&self.remote, &main()).await
    }

    /// The same server and repository, through another port.
    pub(crate) fn through(&self, port: u16) -> Remote {
        Remote {
            url: self.ssh.url_at(port, REPO).unwrap().as_str().parse().unwrap(),
            ssh: Some(identity(&self.ssh.client_key, &self.ssh.known_hosts_at(port))),
            ..self.remote.clone()
        }
    }

    /// The same repository, with these known hosts.
    pub(crate) fn knowing(&self, known_hosts: &str) -> Remote {
        Remote { ssh: Some(identity(&self.ssh.client_key, known_hosts)), ..self.remote.clone() }
    }

    /// Sets the tag of `app` in prod, on the branch `head`.
    pub(crate) async fn push(&self, snapshot: &Snapshot, tag: &str, head: &str) -> Result<Pushed, Error> {
        self.push_to(&self.remote, snapshot, &prod(tag), head, None).await
    }

    pub(crate) async fn push_to(
        &self,
        remote: &Remote,
        snapshot: &Snapshot,
        content: &str,
        head: &str,
        expected: Option<CommitId>,
    ) -> Result<Pushed, Error> {
        let author = Author { name: "Bot".to_owned(), email: "bot@example.com".to_owned() };
        let change = Change {
            files: &[(PROD, content.as_bytes())],
            message: "Promote app\n\nPromotion-Id: 1\n",
            author: &author,
            committer: None,
            signing: None,
            when: "2026-01-02T03:04:05Z".parse().unwrap(),
        };
        self.git.commit_and_push(remote, snapshot, change, &branch(head), expected).await
    }

    /// The commits at which history ends in the cache.
    pub(crate) fn shallow(&self) -> String {
        let folders = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        let stores = folders(&self.folder.path().join("cache")).into_iter().flat_map(|home| folders(&home));
        let store = stores.into_iter().find(|path| path.is_dir()).unwrap();
        fs::read_to_string(store.join("shallow")).unwrap()
    }

    pub(crate) async fn tip(&self, branch: &str) -> CommitId {
        self.repo.rev_parse(&format!("refs/heads/{branch}")).await.unwrap().parse().unwrap()
    }

    pub(crate) async fn branches(&self) -> Vec<String> {
        self.repo.branches().await.unwrap().into_keys().collect()
    }
}

fn client(folder: &TempDir, limits: Limits) -> Git {
    Git::new(Egress::new(loopback()).unwrap(), folder.path().join("cache"), limits)
}

pub(crate) fn identity(key: &Key, known_hosts: &str) -> SshIdentity {
    SshIdentity {
        private_key: SecretString::from(key.private.as_str()),
        passphrase: None,
        known_hosts: known_hosts.to_owned(),
    }
}

pub(crate) fn main() -> BranchName {
    branch("main")
}

pub(crate) fn branch(name: &str) -> BranchName {
    name.parse().unwrap()
}

pub(crate) fn prod(tag: &str) -> String {
    FILES[1].1.replace("1.0.0", tag)
}

pub(crate) fn within(deadline: Duration) -> Limits {
    Limits { deadline, ..Limits::default() }
}

/// A text of this length that does not compress, the same each time.
pub(crate) fn noise(length: usize) -> String {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        text.push_str(&format!("{x:016x}"));
    }
    text
}

/// An error with all of its causes.
pub(crate) fn told(error: Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// The connections to this port on 127.0.0.1, as [Linux](https://docs.kernel.org/networking/proc_net_tcp.html) lists them.
pub(crate) fn connections(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    let remote = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields[2] == remote && fields[3] == ESTABLISHED).count()
}

/// The servers of the tests are on loopback, which nobody reaches without being allowed to.
pub(crate) fn loopback() -> Policy {
    let guard = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], ..Guard::default() };
    Policy { guard, ..Policy::default() }
}
