//! A stateful imitation of [GitHub's REST API](https://docs.github.com/en/rest) on top of the real repositories of a
//! [`GitServer`], laid out as on
//! [GitHub Enterprise Server](https://docs.github.com/en/enterprise-server@latest/rest/using-the-rest-api/getting-started-with-the-rest-api):
//! its base address ends in `/api/v3`.
//!
//! Branches are those of the bare repository, so a push over git is seen here, and a merge or a deleted branch is seen
//! there. Requests are answered one at a time.

mod api;
mod endpoint;
mod json;
pub(crate) mod pulls;

pub(crate) mod world;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use url::Url;

use self::{
    api::{Problem, Reply},
    endpoint::Endpoint,
    world::World,
};
pub use self::{
    endpoint::Call,
    world::{Comment, Pull, PullState},
};
use crate::{
    ca::Ca,
    faults::{Answer, Fault, Rule, When},
    git_server::{Backend, GitServer},
    https::{self, Body, Server, Service, full},
    recorded::{RecordedRequest, Route, now},
};

/// The account that tokens belong to.
pub const LOGIN: &str = "promoter";

/// A running imitation of GitHub; it stops when it is dropped.
pub struct GitHub {
    server: Server<Fake>,
}

impl GitHub {
    /// Starts an imitation of GitHub for the repositories of `git`. [`git_server::TOKEN`](crate::git_server::TOKEN)
    /// may see all of them and write to them.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(ca: &Ca, git: &GitServer) -> Result<Self> {
        let (listener, url) = https::listen().await?;
        let world = World::new(git.root(), git.origin(), url.join("api/v3/")?);
        let server = Server::start(ca, listener, url, Fake { world, git: git.backend() })?;
        Ok(Self { server })
    }

    /// The base of the API: `https://127.0.0.1:<port>/api/v3`
    pub fn api_url(&self) -> Url {
        let mut url = self.server.url.clone();
        url.set_path("/api/v3");
        url
    }

    /// The clone address of the repository `owner/name` under the API's own origin, as GitHub Enterprise Server has it.
    /// Faults and record of the git server do not see what goes this way.
    pub fn url(&self, repo: &str) -> Url {
        let mut url = self.server.url.clone();
        url.set_path(&format!("{repo}.git"));
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

    /// Merges a pull request as a person would on its page; returns the merge commit's id.
    ///
    /// # Errors
    /// It is not open, or it conflicts with its base.
    pub async fn merge(&self, repo: &str, number: u64) -> Result<String> {
        let mut repo = self.world().repo(repo).await?;
        Ok(pulls::merge(&mut repo, number, &pulls::Merge::default(), now()).await?)
    }

    /// Closes a pull request as a person would on its page.
    ///
    /// # Errors
    /// It is not open.
    pub async fn close(&self, repo: &str, number: u64) -> Result<()> {
        let mut repo = self.world().repo(repo).await?;
        Ok(pulls::close(&mut repo, number, now())?)
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

/// GitHub's answer above a
/// [secondary rate limit](https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit).
pub fn secondary_rate_limit(retry_after: Duration) -> Fault {
    let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    let answer = problem(StatusCode::FORBIDDEN, message).with(header::RETRY_AFTER, retry_after.as_secs());
    Fault::Answer(When::Before, answer)
}

/// GitHub's answer above the
/// [primary rate limit](https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit),
/// which ends at `reset`.
pub fn primary_rate_limit(reset: Timestamp) -> Fault {
    let answer = problem(StatusCode::FORBIDDEN, "API rate limit exceeded for user ID 1.")
        .with(HeaderName::from_static("x-ratelimit-limit"), 5000)
        .with(HeaderName::from_static("x-ratelimit-remaining"), 0)
        .with(HeaderName::from_static("x-ratelimit-reset"), reset.as_second());
    Fault::Answer(When::Before, answer)
}

/// An error of GitHub's own, such as 500 or 502, before or after the effect.
pub fn server_error(status: StatusCode, when: When) -> Fault {
    Fault::Answer(when, problem(status, "Server Error"))
}

fn problem(status: StatusCode, message: &str) -> Answer {
    let body = serde_json::json!({"message": message, "documentation_url": "https://docs.github.com/rest"}).to_string();
    let mut answer = Answer { status, body: body.into(), ..Answer::default() };
    answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(json::CONTENT_TYPE));
    answer
}

struct Fake {
    world: World,
    git: Arc<Backend>,
}

impl Service for Fake {
    type Step = Call;
    const RECORD_BODIES: bool = true;

    fn route(&self, head: &Parts) -> Route<Call> {
        let endpoint = Endpoint::parse(&head.method, head.uri.path());
        Route {
            repo: endpoint.as_ref().and_then(|endpoint| endpoint.repo.clone()),
            step: endpoint.map(|endpoint| endpoint.call),
            authorized: self.world.access(&head.headers).is_ok_and(|access| access.is_some()),
        }
    }

    async fn respond(&self, head: Parts, body: Body) -> Response<Body> {
        if !head.uri.path().starts_with("/api/") {
            return self.git.respond(head, body).await;
        }
        let reply = match Limited::new(body, 1024 * 1024).collect().await {
            Ok(body) => api::answer(&self.world, &Request::from_parts(head, body.to_bytes()), now()).await,
            Err(_) => Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large")),
        };
        let Reply { status, body, link } = reply.unwrap_or_else(Problem::into_reply);
        let mut response = Response::new(full(body.map(|body| body.to_string()).unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(json::CONTENT_TYPE));
        if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
            headers.insert(header::LINK, link);
        }
        // Which tells this software from others:
        // https://docs.github.com/en/enterprise-server@latest/rest/meta/meta#get-github-enterprise-server-meta-information
        headers.insert(HeaderName::from_static("x-github-enterprise-version"), HeaderValue::from_static("3.19.0"));
        self.world.count(headers);
        response
    }
}
