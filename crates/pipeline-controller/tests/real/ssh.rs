//! Promotion by pull request where git goes over SSH, on the real sshd and the GitHub fake.

use anyhow::Result;
use pipeline_api::Phase;
use pipeline_api::conditions::ConditionType;
use serde_json::{Value, json};
use testbed::ssh_server::{Key, Settings};
use testbed::{GitHub, GitServer, RepoHandle, SshServer};

use crate::world::{World, told};

const REPO: &str = "acme/fleet";
const PASSPHRASE: &str = "canary passphrase";

struct Hosts {
    git: GitServer,
    github: GitHub,
    ssh: SshServer,
    repo: RepoHandle,
}

impl Hosts {
    async fn start(world: &World) -> Result<Self> {
        let git = GitServer::start(&world.bed.ca).await?;
        let github = GitHub::start(&world.bed.ca, &git).await?;
        let ssh = SshServer::start(git.root(), &Settings::default()).await?;
        let files = world.manifests("6.0.0");
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
        let repo = git.create_repo(REPO, &files).await?;
        Ok(Self { git, github, ssh, repo })
    }

    fn promotion(&self) -> Result<Value> {
        Ok(json!({"pullRequest": {
            "url": self.ssh.url(REPO)?, "branch": "main", "provider": "github", "apiUrl": self.github.api_url(),
            "secretRef": "fleet",
        }}))
    }

    /// As `flux create secret git` makes it, and the token for the API.
    fn secret(&self, key: &Key, known_hosts: &str) -> Value {
        json!({
            "identity": key.private, "identity.pub": key.public, "known_hosts": known_hosts, "password": PASSPHRASE,
            "token": testbed::git_server::TOKEN,
        })
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_promotion_goes_over_ssh_from_beginning_to_end() -> Result<()> {
    let world = World::new().await?;
    let hosts = Hosts::start(&world).await?;
    let key = Key::generate(&["-t", "ed25519", "-N", PASSPHRASE]).await?;
    hosts.ssh.authorize(&key)?;
    world.helm_releases("6.0.0").await?;
    world.secret("fleet", hosts.secret(&key, &hosts.ssh.known_hosts())).await?;
    world.pipeline(hosts.promotion()?).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await?;

    let pulls = hosts.github.pulls(REPO).await?;
    assert_eq!(pulls.len(), 1);
    let diff = hosts.repo.git(&["diff", "--numstat", "main", &pulls[0].head]).await?;
    assert_eq!(diff.trim_end(), "1\t1\tapps/prod/podinfo.yaml");
    hosts.github.merge(REPO, pulls[0].number).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    hosts.repo.fsck().await?;
    assert_eq!(hosts.repo.branches().await?.into_keys().collect::<Vec<_>>(), ["main"]);
    assert!(hosts.git.requests().is_empty(), "git went over https");
    let shown = format!("{}{}", world.log(), serde_json::to_string(&world.status().await?)?);
    assert!(!shown.contains("canary") && !shown.contains("PRIVATE KEY"), "the credentials are shown");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_server_that_is_not_known_gets_nothing_until_the_secret_names_it() -> Result<()> {
    let world = World::new().await?;
    let hosts = Hosts::start(&world).await?;
    let other = Key::generate(&["-t", "ed25519"]).await?.public;
    let known_hosts = format!("[127.0.0.1]:{} {other}\n", hosts.ssh.port);
    world.helm_releases("6.0.0").await?;
    world.secret("fleet", hosts.secret(&hosts.ssh.client_key, &known_hosts)).await?;
    world.pipeline(hosts.promotion()?).await?;
    world.dev_is_at("6.1.0").await?;
    world.until_not_ready(&["prod", "the SSH server is not trusted", "known_hosts has others, in line 1"]).await?;
    assert_eq!(told(&world.status().await?, ConditionType::Stalled), "True PromotionFailed");
    assert_eq!(hosts.ssh.logins()?, 0);

    world.secret("fleet", hosts.secret(&hosts.ssh.client_key, &hosts.ssh.known_hosts())).await?;
    world.promotion("6.1.0", Phase::Open).await?;
    Ok(())
}
