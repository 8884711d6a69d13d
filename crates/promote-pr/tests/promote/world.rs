//! One repository on a real or imitated host, as the tests see it: the same questions for each of them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use egress::{Egress, Guard, Identity, Policy};
use http::Method;
use promote_pr::edit::{Target, Update};
use promote_pr::host::Provider;
use promote_pr::{Attributes, Credentials, Key, Links, MergePolicy, Options, Promoter, Request, Templates};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::git_server::{self, GitServer, RepoHandle};
use testbed::gitea::{Gitea, Repo};
use testbed::{Ca, Fault, Forge, GitHub, Rule, forge, github};
use url::Url;

/// A manifest with a marker for prod, comments and mixed quoting, at `version`.
pub(crate) fn manifest(version: &str) -> String {
    format!(
        "# Release of podinfo\nspec:\n  chart:\n    spec:\n      version: '{version}'   # {{\"$promotion\": \
         \"default:podinfo:prod\"}}\n  values: {{replicas: 2}}\n"
    )
}

/// The path of [`manifest`] in every repository.
pub(crate) const PATH: &str = "apps/prod/podinfo.yaml";

const REPO: &str = "fleet/config";

/// A pull request as the host itself shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    pub(crate) open: bool,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) head: String,
}

pub(crate) struct World {
    pub(crate) promoter: Promoter,
    pub(crate) credentials: Credentials,
    pub(crate) place: Place,
    template: Request,
    _cache: TempDir,
}

/// Where the repository lives.
pub(crate) enum Place {
    Gitea { gitea: &'static Gitea, repo: Repo },
    GitHub(Box<GitHubPlace>),
    Forge(Box<ForgePlace>),
}

/// An imitated host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fake {
    GitHub,
    Forge(forge::Kind),
}

/// What is asked of a host, whatever its API calls it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    List,
    Create,
    Close,
    ReadComments,
    Comment,
    DeleteBranch,
}

pub(crate) struct ForgePlace {
    pub(crate) git: GitServer,
    pub(crate) forge: Forge,
    pub(crate) repo: RepoHandle,
    pub(crate) kind: forge::Kind,
    _ca: TempDir,
}

pub(crate) struct GitHubPlace {
    pub(crate) git: GitServer,
    pub(crate) github: GitHub,
    pub(crate) repo: RepoHandle,
    _ca: TempDir,
}

impl World {
    pub(crate) async fn gitea() -> Result<Self> {
        let bed = testbed::shared().await?;
        let repo = bed.gitea.create_repo("config", &[(PATH, &manifest("6.2.0"))]).await?;
        let token = bed.gitea.token.clone();
        let place = Place::Gitea { gitea: &bed.gitea, repo: repo.clone() };
        Self::new(place, bed.ca.pem(), Provider::Gitea, repo.clone_url.as_str(), None, &token)
    }

    pub(crate) async fn github() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ca = Ca::generate(folder.path())?;
        let git = GitServer::start(&ca).await?;
        let github = GitHub::start(&ca, &git).await?;
        let repo = git.create_repo(REPO, &[(PATH, manifest("6.2.0"))]).await?;
        let (url, api) = (git.url(REPO), github.api_url());
        let place = Place::GitHub(Box::new(GitHubPlace { git, github, repo, _ca: folder }));
        Self::new(place, ca.pem(), Provider::GitHub, url.as_str(), Some(api.as_str()), git_server::TOKEN)
    }

    pub(crate) async fn forge(kind: forge::Kind) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ca = Ca::generate(folder.path())?;
        let git = GitServer::start(&ca).await?;
        let forge = Forge::start(kind, &ca, &git).await?;
        let repo = git.create_repo(REPO, &[(PATH, manifest("6.2.0"))]).await?;
        let (url, api) = (forge.url_on(git.origin(), REPO), forge.api_url());
        let provider = match kind {
            forge::Kind::GitLab => Provider::GitLab,
            forge::Kind::BitbucketServer => Provider::BitbucketServer,
            forge::Kind::BitbucketCloud => Provider::BitbucketCloud,
            forge::Kind::AzureDevOps => Provider::AzureDevOps,
        };
        let place = Place::Forge(Box::new(ForgePlace { git, forge, repo, kind, _ca: folder }));
        Self::new(place, ca.pem(), provider, url.as_str(), Some(api.as_str()), git_server::TOKEN)
    }

    pub(crate) async fn fake(fake: Fake) -> Result<Self> {
        match fake {
            Fake::GitHub => Self::github().await,
            Fake::Forge(kind) => Self::forge(kind).await,
        }
    }

    fn new(place: Place, ca: &str, provider: Provider, url: &str, api_url: Option<&str>, token: &str) -> Result<Self> {
        let cache = tempfile::tempdir()?;
        let credentials = Credentials {
            token: Some(SecretString::from(token)),
            identity: Identity { ca: Some(ca.as_bytes().to_vec()), ..Identity::default() },
            ..Credentials::default()
        };
        let template = Request {
            key: Key {
                namespace: "default".to_owned(),
                pipeline: "podinfo".to_owned(),
                environment: "prod".to_owned(),
                revision: String::new(),
                sequence: 1,
            },
            repository: url.parse()?,
            base: "main".parse()?,
            provider: Some(provider),
            api_url: api_url.map(str::parse).transpose()?,
            updates: vec![Update::new(Target::Marker("default:podinfo:prod".to_owned()), "")],
            source_environment: Some("dev".to_owned()),
            previous_revision: None,
            links: Links::default(),
            templates: Templates::default(),
            attributes: Attributes::default(),
            merge: MergePolicy::None,
        };
        let promoter = Promoter::new(Egress::new(loopback())?, Options::new(cache.path()));
        Ok(Self { promoter, credentials, place, template, _cache: cache })
    }

    /// A promoter that remembers nothing, as after a restart on another machine.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let cache = tempfile::tempdir()?;
        self.promoter = Promoter::new(Egress::new(loopback())?, Options::new(cache.path()));
        self._cache = cache;
        Ok(())
    }

    /// A promoter that waits no longer than this for an answer of a host's API.
    pub(crate) fn wait_at_most(&mut self, deadline: Duration) -> Result<()> {
        let mut options = Options::new(self._cache.path());
        options.api.deadline = deadline;
        self.promoter = Promoter::new(Egress::new(loopback())?, options);
        Ok(())
    }

    /// The promotion of podinfo to prod at `revision`.
    pub(crate) fn request(&self, revision: &str) -> Request {
        let mut request = self.template.clone();
        request.key.revision = revision.to_owned();
        for update in &mut request.updates {
            update.value = revision.to_owned();
        }
        request
    }

    pub(crate) fn github_place(&self) -> &GitHubPlace {
        match &self.place {
            Place::GitHub(place) => place,
            _ => panic!("this test is for the imitated GitHub"),
        }
    }

    /// The repository of an imitated host.
    pub(crate) fn repo(&self) -> &RepoHandle {
        match &self.place {
            Place::GitHub(place) => &place.repo,
            Place::Forge(place) => &place.repo,
            Place::Gitea { .. } => panic!("this test is for imitated hosts"),
        }
    }

    /// The git server of an imitated host.
    pub(crate) fn git_server(&self) -> &GitServer {
        match &self.place {
            Place::GitHub(place) => &place.git,
            Place::Forge(place) => &place.git,
            Place::Gitea { .. } => panic!("this test is for imitated hosts"),
        }
    }

    /// Lets the next `times` deeds of an imitated host go wrong.
    pub(crate) fn inject(&self, times: usize, fault: Fault, deed: Deed) {
        match &self.place {
            Place::GitHub(place) => place.github.inject(Rule::times(times, fault).on(match deed {
                Deed::List => github::Call::ListPulls,
                Deed::Create => github::Call::CreatePull,
                Deed::Close => github::Call::UpdatePull,
                Deed::ReadComments => github::Call::ListComments,
                Deed::Comment => github::Call::CreateComment,
                Deed::DeleteBranch => github::Call::DeleteRef,
            })),
            Place::Forge(place) => place.forge.inject(Rule::times(times, fault).on(match deed {
                Deed::List => forge::Call::List,
                Deed::Create => forge::Call::Create,
                Deed::Close => match place.kind {
                    forge::Kind::GitLab | forge::Kind::AzureDevOps => forge::Call::Update,
                    forge::Kind::BitbucketServer | forge::Kind::BitbucketCloud => forge::Call::Decline,
                },
                Deed::ReadComments => forge::Call::ListComments,
                Deed::Comment => forge::Call::Comment,
                Deed::DeleteBranch => forge::Call::DeleteBranch,
            })),
            Place::Gitea { .. } => panic!("this test is for imitated hosts"),
        }
    }

    /// Where the API of an imitated host is.
    pub(crate) fn api_origin(&self) -> Url {
        match &self.place {
            Place::GitHub(place) => place.github.api_url(),
            Place::Forge(place) => place.forge.api_url(),
            Place::Gitea { .. } => panic!("this test is for imitated hosts"),
        }
    }

    /// How often the API of an imitated host was asked for something.
    pub(crate) fn asked(&self) -> usize {
        match &self.place {
            Place::GitHub(place) => place.github.requests().len(),
            Place::Forge(place) => place.forge.requests().len(),
            Place::Gitea { .. } => panic!("this test is for imitated hosts"),
        }
    }

    /// Lets an imitated host know pushed branches late.
    pub(crate) async fn delay_heads(&self, requests: usize) -> Result<()> {
        match &self.place {
            Place::GitHub(place) => place.github.delay_heads(REPO, requests).await,
            Place::Forge(place) => place.forge.delay_heads(REPO, requests).await,
            Place::Gitea { .. } => panic!("this test is for imitated hosts"),
        }
    }

    /// All pull requests, the oldest first.
    pub(crate) async fn pulls(&self) -> Result<Vec<Seen>> {
        let mut pulls: Vec<Seen> = match &self.place {
            Place::Gitea { gitea, repo } => gitea
                .pulls(repo)
                .await?
                .into_iter()
                .map(|pull| Seen {
                    number: pull.number,
                    open: pull.state == "open",
                    title: pull.title,
                    body: pull.body,
                    head: pull.head.name,
                })
                .collect(),
            Place::GitHub(place) => place.github.pulls(REPO).await?.into_iter().map(seen).collect(),
            Place::Forge(place) => place.forge.pulls(REPO).await?.into_iter().map(seen).collect(),
        };
        pulls.sort_by_key(|pull| pull.number);
        Ok(pulls)
    }

    pub(crate) async fn open_pulls(&self) -> Result<Vec<Seen>> {
        Ok(self.pulls().await?.into_iter().filter(|pull| pull.open).collect())
    }

    pub(crate) async fn comments(&self, number: u64) -> Result<Vec<String>> {
        match &self.place {
            Place::Gitea { gitea, repo } => gitea.comments(repo, number).await,
            Place::GitHub(place) => {
                Ok(place.github.comments(REPO, number).await?.into_iter().map(|comment| comment.body).collect())
            }
            Place::Forge(place) => {
                Ok(place.forge.comments(REPO, number).await?.into_iter().map(|comment| comment.body).collect())
            }
        }
    }

    pub(crate) async fn merge(&self, number: u64) -> Result<()> {
        match &self.place {
            Place::Gitea { gitea, repo } => gitea.merge(repo, number).await,
            Place::GitHub(place) => place.github.merge(REPO, number).await.map(drop),
            Place::Forge(place) => place.forge.merge(REPO, number).await.map(drop),
        }
    }

    pub(crate) async fn close(&self, number: u64) -> Result<()> {
        match &self.place {
            Place::Gitea { gitea, repo } => gitea.close(repo, number).await,
            Place::GitHub(place) => place.github.close(REPO, number).await,
            Place::Forge(place) => place.forge.close(REPO, number).await,
        }
    }

    /// Somebody else's edit of title and body.
    pub(crate) async fn rewrite(&self, number: u64, title: &str, body: &str) -> Result<()> {
        if let Place::Forge(place) = &self.place {
            return place.forge.rewrite(REPO, number, title, body).await;
        }
        self.call(Method::PATCH, &format!("pulls/{number}"), &json!({"title": title, "body": body})).await
    }

    /// Somebody else's pull request from a branch that is there.
    pub(crate) async fn open_by_hand(&self, head: &str) -> Result<()> {
        if let Place::Forge(place) = &self.place {
            return place.forge.open(REPO, head, "main", "By hand", "Again, please").await.map(drop);
        }
        let pull = json!({"head": head, "base": "main", "title": "By hand", "body": "Again, please"});
        self.call(Method::POST, "pulls", &pull).await
    }

    /// The `Link` header of an answer of the host's API.
    pub(crate) async fn link(&self, path: &str) -> Result<String> {
        let answer = self.send(Method::GET, path, Bytes::new()).await?;
        let link = answer.headers().get(http::header::LINK);
        Ok(link.map_or(Ok(""), |link| link.to_str())?.to_owned())
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<()> {
        let status = self.send(method, path, Bytes::from(body.to_string())).await?.status();
        anyhow::ensure!(status.is_success(), "{path}: {status}");
        Ok(())
    }

    /// The host's API, below the repository, where both have the same paths.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<http::Response<Bytes>> {
        let (repository, token) = match &self.place {
            Place::Gitea { gitea, repo } => {
                (format!("{}api/v1/repos/{}/{}", gitea.url, repo.owner, repo.name), gitea.token.as_str())
            }
            Place::GitHub(place) => (format!("{}/repos/{REPO}", place.github.api_url()), git_server::TOKEN),
            Place::Forge(_) => panic!("this host has paths of its own"),
        };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{repository}/{path}"))
            .header(http::header::AUTHORIZATION, format!("Bearer {token}"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)?;
        let client = Egress::new(loopback())?.client(&self.credentials.identity)?;
        Ok(client.send(request).await?)
    }

    /// Somebody else's commit.
    pub(crate) async fn commit(&self, branch: &str, path: &str, content: &str) -> Result<()> {
        match &self.place {
            Place::Gitea { gitea, repo } => gitea.commit(repo, branch, &[(path, content)], "Somebody's commit").await,
            Place::GitHub(_) | Place::Forge(_) => {
                self.repo().commit(branch, &[(path, content)], "Somebody's commit").await.map(drop)
            }
        }
    }

    /// Makes a branch that is where `from` is.
    pub(crate) async fn branch(&self, name: &str, from: &str) -> Result<()> {
        match &self.place {
            Place::Gitea { .. } => {
                let branch = json!({"new_branch_name": name, "old_branch_name": from});
                self.call(Method::POST, "branches", &branch).await
            }
            Place::GitHub(_) | Place::Forge(_) => self.repo().set_branch(name, from).await,
        }
    }

    /// The branches in the repository itself, by the real git.
    pub(crate) async fn branches(&self) -> Result<Vec<String>> {
        let branches = self.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]).await?;
        Ok(branches.lines().map(str::to_owned).collect())
    }

    /// The real git on the bare repository.
    pub(crate) async fn git(&self, arguments: &[&str]) -> Result<String> {
        match &self.place {
            Place::Gitea { repo, .. } => {
                String::from_utf8(repo.git(arguments).await?).context("git's answer is not UTF-8")
            }
            Place::GitHub(_) | Place::Forge(_) => self.repo().git(arguments).await,
        }
    }
}

/// The servers of the tests are on loopback, which nobody reaches without being allowed to.
pub(crate) fn loopback() -> Policy {
    let guard = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], ..Guard::default() };
    Policy { guard, ..Policy::default() }
}

fn seen(pull: github::Pull) -> Seen {
    Seen {
        number: pull.number,
        open: pull.state == github::PullState::Open,
        title: pull.title,
        body: pull.body.unwrap_or_default(),
        head: pull.head,
    }
}
