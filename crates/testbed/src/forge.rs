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

#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::{
    ca::Ca,
    faults::Rule,
    git_server::{Backend, GitServer, RepoHandle},
    github::{
        Comment, Pull, PullState,
        world::{Repo, World},
    },
    https::{self, Body, Server, Service, full},
    recorded::{RecordedRequest, Route, now},
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
        // GitLab closes what loses its branch, as GitHub does:
        // https://docs.gitlab.com/user/project/repository/branches/#delete-a-branch
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

struct Fake {
    kind: Kind,
    world: World,
    git: Arc<Backend>,
}

/// Which endpoint a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    call: Call,
    /// `owner/name`, where it is for one repository.
    repo: Option<String>,
    /// The pull request's number.
    number: u64,
    /// The branch, commit or reviewer.
    name: String,
}

/// What a request says beside its path.
struct Asked {
    query: Vec<(String, String)>,
    body: Value,
    /// `https://127.0.0.1:<port>/`
    origin: Url,
    at: Timestamp,
}

/// An answer that tells of success.
struct Reply {
    status: StatusCode,
    body: Value,
    /// The rest of the list, where the dialect tells it in a header.
    link: Option<String>,
}

/// An answer that tells of a failure, in words that each dialect wraps in its own way.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    message: String,
    /// The vendor's own name for it, where it has one.
    kind: &'static str,
}

impl Endpoint {
    fn of(call: Call, repo: Option<String>) -> Self {
        Self { call, repo, number: 0, name: String::new() }
    }

    fn numbered(self, number: &str) -> Option<Self> {
        Some(Self { number: number.parse().ok()?, ..self })
    }

    fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }
}

impl Asked {
    fn value(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn number(&self, key: &str, default: usize) -> usize {
        self.value(key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer).and_then(Value::as_str)
    }
}

impl Reply {
    fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, link: None }
    }

    fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind }
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "", message)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} {}", self.status, self.kind, self.message)
    }
}

impl std::error::Error for Problem {}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", format!("{error:#}"))
    }
}

impl Fake {
    fn endpoint(&self, head: &Parts) -> Option<Endpoint> {
        let decoded: Vec<String> = head
            .uri
            .path()
            .trim_start_matches('/')
            .split('/')
            .map(|part| percent_decode_str(part).decode_utf8().map(String::from).ok())
            .collect::<Option<_>>()?;
        let path: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let method = head.method.as_str();
        match self.kind {
            Kind::GitLab => gitlab::endpoint(method, &path),
            Kind::BitbucketServer => bitbucket_server::endpoint(method, &path),
            Kind::BitbucketCloud => bitbucket_cloud::endpoint(method, &path),
            Kind::AzureDevOps => azure_devops::endpoint(method, &path),
        }
    }

    fn token(&self, headers: &HeaderMap) -> Option<String> {
        match self.kind {
            Kind::GitLab => gitlab::token(headers),
            Kind::BitbucketServer | Kind::BitbucketCloud => bearer(headers).or_else(|| password(headers)),
            Kind::AzureDevOps => password(headers),
        }
    }

    async fn answer(&self, head: &Parts, body: &Bytes) -> Result<Reply, Problem> {
        if self.kind == Kind::BitbucketServer && head.uri.path().ends_with("/application-properties") {
            return Ok(bitbucket_server::version());
        }
        let access = self.token(&head.headers).and_then(|token| self.world.access_of(&token));
        let access = access.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "", "401 Unauthorized"))?;
        let endpoint = self.endpoint(head).ok_or_else(|| Problem::not_found("404 Not Found"))?;
        let query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let body = match body.as_ref() {
            [] => Value::Null,
            body => serde_json::from_slice(body)
                .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "", error.to_string()))?,
        };
        let origin = self.world.api.clone();
        let asked = Asked { query, body, origin, at: now() };
        let Some(name) = &endpoint.repo else {
            return Ok(match self.kind {
                Kind::GitLab => gitlab::users(&asked),
                Kind::BitbucketServer | Kind::BitbucketCloud | Kind::AzureDevOps => azure_devops::connection(),
            });
        };
        let missing = || Problem::not_found(format!("404 {name} Not Found"));
        if access.is_some_and(|repos| !repos.contains(name)) || RepoHandle::open(self.world.root(), name).is_err() {
            return Err(missing());
        }
        let mut repo = self.world.repo(name).await?;
        let repo: &mut Repo = &mut repo;
        match self.kind {
            Kind::GitLab => gitlab::answer(repo, &endpoint, &asked).await,
            Kind::BitbucketServer => bitbucket_server::answer(repo, &endpoint, &asked).await,
            Kind::BitbucketCloud => bitbucket_cloud::answer(repo, &endpoint, &asked).await,
            Kind::AzureDevOps => azure_devops::answer(repo, &endpoint, &asked).await,
        }
    }

    fn problem(&self, problem: &Problem) -> Value {
        match self.kind {
            Kind::GitLab => gitlab::problem(problem),
            Kind::BitbucketServer => bitbucket_server::problem(problem),
            Kind::BitbucketCloud => bitbucket_cloud::problem(problem),
            Kind::AzureDevOps => azure_devops::problem(problem),
        }
    }
}

impl Service for Fake {
    type Step = Call;
    const RECORD_BODIES: bool = true;

    fn route(&self, head: &Parts) -> Route<Call> {
        let endpoint = self.endpoint(head);
        Route {
            repo: endpoint.as_ref().and_then(|endpoint| endpoint.repo.clone()),
            step: endpoint.map(|endpoint| endpoint.call),
            authorized: self.token(&head.headers).is_some_and(|token| self.world.access_of(&token).is_some()),
        }
    }

    async fn respond(&self, head: Parts, body: Body) -> Response<Body> {
        if ["/info/refs", "/git-upload-pack", "/git-receive-pack"].iter().any(|git| head.uri.path().ends_with(git)) {
            return self.git.respond(head, body).await;
        }
        let reply = match Limited::new(body, 1024 * 1024).collect().await {
            Ok(body) => self.answer(&head, &body.to_bytes()).await,
            Err(_) => Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "", "The request is too large")),
        };
        let Reply { status, body, link } =
            reply.unwrap_or_else(|problem| Reply::new(problem.status, self.problem(&problem)));
        let body = if status == StatusCode::NO_CONTENT { String::new() } else { body.to_string() };
        let mut response = Response::new(full(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
            headers.insert(header::LINK, link);
        }
        if self.kind == Kind::AzureDevOps {
            headers.insert(HeaderName::from_static("x-tfs-processid"), HeaderValue::from_static("fake"));
        }
        response
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?.to_owned())
}

fn password(headers: &HeaderMap) -> Option<String> {
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// A branch without `refs/heads/`.
fn short(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or(name)
}
