use std::process::Stdio;

use super::*;
use crate::{
    Ca, GitServer, TcpProxy,
    tcp_proxy::{Cut, Then},
};

struct Bed {
    folder: TempDir,
    git: GitServer,
    ssh: SshServer,
}

impl Bed {
    async fn start(settings: &Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let git = GitServer::start(&Ca::generate(folder.path()).unwrap()).await.unwrap();
        git.create_repo("team/fleet", &[("a.yaml", "version: 1\n")]).await.unwrap();
        let ssh = SshServer::start(git.root(), settings).await.unwrap();
        ssh.client_key.install(folder.path(), "client").unwrap();
        Self { folder, git, ssh }
    }

    /// The real git, with the real ssh.
    async fn git(&self, port: u16, args: &[&str]) -> (bool, String) {
        let known_hosts = self.folder.path().join("known_hosts");
        fs::write(&known_hosts, self.ssh.known_hosts_at(port)).unwrap();
        let ssh = format!(
            "ssh -F none -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile={} -i {}",
            known_hosts.display(),
            self.folder.path().join("client").display()
        );
        let mut command = tokio::process::Command::new("git");
        command.args(args).current_dir(self.folder.path()).env("GIT_SSH_COMMAND", ssh).stdin(Stdio::null());
        let output = tokio::time::timeout(Duration::from_secs(30), command.output()).await.unwrap().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn git_clones_and_pushes_over_ssh() {
    let bed = Bed::start(&Settings::default()).await;
    let url = bed.ssh.url("team/fleet").unwrap();
    let (ok, said) = bed.git(bed.ssh.port, &["clone", "-q", url.as_str(), "clone"]).await;
    assert!(ok, "{said}");
    assert_eq!(fs::read_to_string(bed.folder.path().join("clone/a.yaml")).unwrap(), "version: 1\n");
    let (ok, said) = bed.git(bed.ssh.port, &["-C", "clone", "push", "-q", "origin", "main:other"]).await;
    assert!(ok, "{said}");
    assert!(bed.git.repo("team/fleet").unwrap().branches().await.unwrap().contains_key("other"));
    assert_eq!((bed.ssh.logins().unwrap(), bed.ssh.connections().unwrap()), (2, 2));

    let absent = bed.ssh.url("team/absent").unwrap();
    let (ok, said) = bed.git(bed.ssh.port, &["ls-remote", absent.as_str()]).await;
    assert!(!ok && said.contains("does not appear to be a git repository"), "{said}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn it_breaks_as_it_is_told() {
    let bed = Bed::start(&Settings { serve: Serve::EndAfter(20), ..Settings::default() }).await;
    let url = bed.ssh.url("team/fleet").unwrap();
    let (ok, said) = bed.git(bed.ssh.port, &["ls-remote", url.as_str()]).await;
    assert!(!ok && said.contains("the server is going away"), "{said}");

    let bed = Bed::start(&Settings { serve: Serve::NoiseBefore(2000), ..Settings::default() }).await;
    let url = bed.ssh.url("team/fleet").unwrap();
    let (ok, said) = bed.git(bed.ssh.port, &["ls-remote", url.as_str()]).await;
    assert!(ok && said.contains("noise on standard error"), "{said}");

    let cut = Cut { down: 500, up: usize::MAX, then: Then::Close };
    let proxy = TcpProxy::start(bed.ssh.port, cut).await.unwrap();
    let (ok, said) =
        bed.git(proxy.port, &["ls-remote", bed.ssh.url_at(proxy.port, "team/fleet").unwrap().as_str()]).await;
    assert!(!ok, "{said}");
}
