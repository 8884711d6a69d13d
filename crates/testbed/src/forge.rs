//! Stateful imitations of the other hosts' APIs, on top of the real repositories of a [`GitServer`]: GitLab, Bitbucket
//! Data Center, Bitbucket Cloud and Azure DevOps.
//!
//! All share the world of the imitated [`GitHub`](crate::GitHub): branches are those of the bare repository, so a push
//! over git is seen here, and a merge or a deleted branch is seen there. Each dialect imitates what its vendor documents;
//! the rustdoc of its functions links the documentation.

mod azure_devops;
mod bitbucket_cloud;
mod bitbucket_server;
mod gitlab;
mod rules;
mod service;

use anyhow::{Context as _, Result};
use url::Url;

use self::service::Fake;
use crate::{
    ca::Ca,
    faults::Rule,
    git_server::GitServer,
    github::{Comment, Pull, PullState, world::World},
    https::{self, Server},
    recorded::{RecordedRequest, now},
};

/// Whose API is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [GitLab](https://docs.gitlab.com/api/rest/), under `/api/v4`.
    GitLab,
    /// [Bitbucket Data Center](https://developer.atlassian.com/server/bitbucket/rest/), under `/rest`.
    BitbucketServer,
    /// [Bitbucket Cloud](https://developer.atlassian.com/cloud/bitbucket/rest/intro/), under `/2.0`.
    BitbucketCloud,
    /// [Azure DevOps](https://learn.microsoft.com/en-us/rest/api/azure/devops/git/), with one collection.
    AzureDevOps,
}

/// What a request is for; not every kind has each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Lists pull requests.
    List,
    /// Shows one.
    Read,
    /// Opens one.
    Create,
    /// Changes one: its text, those who review it, and on GitLab and Azure DevOps its state.
    Update,
    /// Closes one, on Bitbucket.
    Decline,
    /// Merges one; on Azure DevOps an [`Update`](Self::Update).
    Merge,
    /// Lists comments.
    ListComments,
    /// Adds one.
    Comment,
    /// Labels one, on Azure DevOps.
    Label,
    /// Asks for a review, on Azure DevOps.
    Reviewer,
    /// Looks for a branch.
    Branch,
    /// Deletes one.
    DeleteBranch,
    /// Shows a commit, on Bitbucket Cloud.
    Commit,
    /// Shows the project, on GitLab.
    Project,
    /// Looks for a milestone, on GitLab.
    Milestone,
    /// Looks for a pull request on its merge train, on GitLab.
    Train,
    /// Looks for a user, on GitLab; tells who asks, on Azure DevOps.
    User,
    /// Tells the version, on Bitbucket Data Center.
    Version,
}

/// A person whom the imitated hosts know.
pub const PERSON: &str = "ann";

/// The milestone that each imitated repository has.
pub const MILESTONE: &str = "2026-11";

/// A running imitation of a host; it stops when it is dropped.
pub struct Forge {
    kind: Kind,
    server: Server<Fake>,
}

impl Forge {
    /// Starts an imitation for the repositories of `git`. [`git_server::TOKEN`](crate::git_server::TOKEN) may see all of
    /// them and write to them.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(kind: Kind, ca: &Ca, git: &GitServer) -> Result<Self> {
        let (listener, url) = https::listen().await?;
        // What becomes of a pull request whose branch is deleted differs from host to host: both ways are imitated.
        let world = World::new(git.root(), git.origin(), url.clone()).keeping_headless(kind != Kind::GitLab);
        let server = Server::start(ca, listener, url, Fake { kind, world, git: git.backend() })?;
        Ok(Self { kind, server })
    }

    /// What a Pipeline has as `apiUrl`.
    pub fn api_url(&self) -> Url {
        let mut url = self.server.url.clone();
        url.set_path(match self.kind {
            Kind::GitLab => "/api/v4",
            Kind::BitbucketServer => "/rest/api/1.0",
            Kind::BitbucketCloud => "/2.0",
            Kind::AzureDevOps => "/collection",
        });
        url
    }

    /// The clone address of the repository `owner/name` under the API's own origin. Faults and record of the git server
    /// do not see what goes this way.
    pub fn url(&self, repo: &str) -> Url {
        self.url_on(&self.server.url, repo)
    }

    /// The clone address of the repository `owner/name` on `git`, in the shape that it has on such a host.
    pub fn url_on(&self, origin: &Url, repo: &str) -> Url {
        let mut url = origin.clone();
        let (owner, name) = repo.rsplit_once('/').unwrap_or(("", repo));
        url.set_path(&match self.kind {
            Kind::GitLab | Kind::BitbucketCloud => format!("{repo}.git"),
            Kind::BitbucketServer => format!("scm/{repo}.git"),
            Kind::AzureDevOps => format!("collection/{owner}/_git/{name}"),
        });
        url
    }

    /// Accepts one more token, which sees only these repositories, `owner/name`.
    pub fn add_token(&self, token: &str, repos: &[&str]) {
        self.world().add_token(token, Some(repos));
    }

    /// Accepts this token no more.
    pub fn revoke_token(&self, token: &str) {
        self.world().revoke_token(token);
    }

    /// All pull requests of a repository by number, as they stand.
    ///
    /// # Errors
    /// There is no such repository.
    pub async fn pulls(&self, repo: &str) -> Result<Vec<Pull>> {
        Ok(self.world().repo(repo).await?.pulls.clone())
    }

    /// One pull request as it stands.
    ///
    /// # Errors
    /// There is none of that number.
    pub async fn pull(&self, repo: &str, number: u64) -> Result<Pull> {
        self.world().repo(repo).await?.pull(number).cloned().with_context(|| format!("no pull request {repo}#{number}"))
    }

    /// The comments on a pull request, oldest first.
    ///
    /// # Errors
    /// There is none of that number.
    pub async fn comments(&self, repo: &str, number: u64) -> Result<Vec<Comment>> {
        Ok(self.pull(repo, number).await?.comments)
    }

    /// Opens a pull request as a person would on the host's page.
    ///
    /// # Errors
    /// The host would refuse it.
    pub async fn open(&self, repo: &str, head: &str, base: &str, title: &str, body: &str) -> Result<u64> {
        let mut repo = self.world().repo(repo).await?;
        let new = rules::New { title, body, head, base, draft: false };
        Ok(rules::create(&mut repo, &new, now()).await?)
    }

    /// Changes title and body as a person would on the host's page.
    ///
    /// # Errors
    /// There is none of that number.
    pub async fn rewrite(&self, repo: &str, number: u64, title: &str, body: &str) -> Result<()> {
        let mut repo = self.world().repo(repo).await?;
        let pull = rules::pull_mut(&mut repo, number)?;
        pull.title = title.to_owned();
        pull.body = Some(body.to_owned());
        pull.updated = now();
        Ok(())
    }

    /// Merges a pull request as a person would on its page; returns the merge commit's id.
    ///
    /// # Errors
    /// It is not open, or it conflicts with its base.
    pub async fn merge(&self, repo: &str, number: u64) -> Result<String> {
        let mut repo = self.world().repo(repo).await?;
        Ok(rules::merge(&mut repo, number, now()).await?)
    }

    /// Closes a pull request as a person would on its page.
    ///
    /// # Errors
    /// It is not open.
    pub async fn close(&self, repo: &str, number: u64) -> Result<()> {
        let mut repo = self.world().repo(repo).await?;
        Ok(rules::close(&mut repo, number, now())?)
    }

    /// Lets nothing be merged, as where an approval is required and missing; or lets it be again, and merges what waits
    /// for that.
    ///
    /// # Errors
    /// There is no such repository.
    pub async fn block(&self, repo: &str, blocked: bool) -> Result<()> {
        let mut repo = self.world().repo(repo).await?;
        repo.blocked = blocked;
        if !blocked {
            let waiting = repo.pulls.iter().filter(|pull| pull.auto_merge && pull.state == PullState::Open);
            for number in waiting.map(|pull| pull.number).collect::<Vec<_>>() {
                rules::merge(&mut repo, number, now()).await?;
            }
        }
        Ok(())
    }

    /// For every branch tip pushed from now on, answers the first `n` requests that name the branch as if it were not
    /// there: hosts learn of a push a little later than git does. 0 lifts that.
    ///
    /// # Errors
    /// There is no such repository.
    pub async fn delay_heads(&self, repo: &str, n: usize) -> Result<()> {
        self.world().repo(repo).await?.delay_heads(n).await
    }

    /// Adds a fault after those that are there.
    pub fn inject(&self, rule: Rule<Call>) {
        self.server.inject(rule);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.server.clear_faults();
    }

    /// All requests so far, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest<Call>> {
        self.server.requests()
    }

    fn world(&self) -> &World {
        &self.server.service().world
    }
}
