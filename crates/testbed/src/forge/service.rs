//! From a request to its answer: what all dialects share.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::{Call, Kind, azure_devops, bitbucket_cloud, bitbucket_server, gitlab};
use crate::{
    git_server::{Backend, RepoHandle},
    github::world::{Repo, World},
    https::{Body, Service, full},
    recorded::{Route, now},
};

pub(super) struct Fake {
    pub(super) kind: Kind,
    pub(super) world: World,
    pub(super) git: Arc<Backend>,
}

/// Which endpoint a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) call: Call,
    /// `owner/name`, where it is for one repository.
    pub(super) repo: Option<String>,
    /// The pull request's number.
    pub(super) number: u64,
    /// The branch, commit or reviewer.
    pub(super) name: String,
}

/// What a request says beside its path.
pub(super) struct Asked {
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Value,
    /// `https://127.0.0.1:<port>/`
    pub(super) origin: Url,
    pub(super) at: Timestamp,
}

/// An answer that tells of success.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// The rest of the list, where the dialect tells it in a header.
    pub(super) link: Option<String>,
}

/// An answer that tells of a failure, in words that each dialect wraps in its own way.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// The vendor's own name for it, where it has one.
    pub(super) kind: &'static str,
}

impl Endpoint {
    pub(super) fn of(call: Call, repo: Option<String>) -> Self {
        Self { call, repo, number: 0, name: String::new() }
    }

    pub(super) fn numbered(self, number: &str) -> Option<Self> {
        Some(Self { number: number.parse().ok()?, ..self })
    }

    pub(super) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }
}

impl Asked {
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, key: &str, default: usize) -> usize {
        self.value(key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer).and_then(Value::as_str)
    }
}

impl Reply {
    pub(super) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, link: None }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
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
    pub(super) fn endpoint(&self, head: &Parts) -> Option<Endpoint> {
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

    pub(super) async fn answer(&self, head: &Parts, body: &Bytes) -> Result<Reply, Problem> {
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

    pub(super) fn problem(&self, problem: &Problem) -> Value {
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

pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?.to_owned())
}

pub(super) fn password(headers: &HeaderMap) -> Option<String> {
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// A branch without `refs/heads/`.
pub(super) fn short(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or(name)
}
