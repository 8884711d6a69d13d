//! A stateful imitation of [GitHub's REST API](https://docs.github.com/en/rest) on top of the real repositories of a
//! [`GitServer`], laid out as on
//! [GitHub Enterprise Server](https://docs.github.com/en/enterprise-server@latest/rest/using-the-rest-api/getting-started-with-the-rest-api):
//! its base address ends in `/api/v3`.
//!
//! Branches are those of the bare repository, so a push over git is seen here, and a merge or a deleted branch is seen
//! there. Requests are answered one at a time.

mod api;
mod apps;
mod endpoint;
mod graphql;
mod json;
pub(crate) mod pulls;

pub(crate) mod world;

#[cfg(test)]
mod tests;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use url::Url;

use self::{
    api::{Problem, Reply},
    apps::Apps,
    endpoint::Endpoint,
    world::World,
};
pub use self::{
    apps::{App, Installed},
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

/// Who can be asked for a review, and be assigned.
pub const PERSON: &str = "ann";

/// The team that can be asked for a review.
pub const TEAM: &str = "platform";

/// The milestone of each repository.
pub const MILESTONE: &str = "2026-11";

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
        let server = Server::start(ca, listener, url, Fake { world, git: git.backend(), apps: Apps::default() })?;
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

    /// Registers a GitHub App, and installs it on the account of `owner` for all repositories. What its tokens open over git
    /// is what [`git_server::TOKEN`](crate::git_server::TOKEN) opened until then.
    ///
    /// # Errors
    /// No key can be made.
    pub fn add_app(&self, owner: &str) -> Result<App> {
        self.server.service().apps.register(owner)
    }

    /// Removes or suspends the installation of the App, or brings it back. Tokens that are out stay as they are.
    pub fn set_installed(&self, installed: Installed) {
        self.server.service().apps.set(installed);
    }

    /// Lets the host's clock differ from the real one by `seconds`.
    pub fn set_clock(&self, seconds: i64) {
        self.server.service().apps.skew.store(seconds, Ordering::Relaxed);
    }

    /// How long the tokens of Apps live, in seconds.
    pub fn set_token_lifetime(&self, seconds: u64) {
        self.server.service().apps.lifetime.store(seconds, Ordering::Relaxed);
    }

    /// The tokens that were given to Apps, oldest first.
    pub fn app_tokens(&self) -> Vec<String> {
        self.server.service().apps.tokens()
    }

    /// Lets no pull request be merged, as without a required review; or lets it, and merges what waits for that.
    ///
    /// # Errors
    /// There is no such repository.
    pub async fn block(&self, repo: &str, blocked: bool) -> Result<()> {
        let mut repo = self.world().repo(repo).await?;
        repo.blocked = blocked;
        if !blocked {
            graphql::merge_scheduled(&mut repo, now()).await?;
        }
        Ok(())
    }

    /// Gives the base branches a merge queue.
    ///
    /// # Errors
    /// There is no such repository.
    pub async fn set_queue(&self, repo: &str) -> Result<()> {
        self.world().repo(repo).await?.queue = true;
        Ok(())
    }

    /// Archives a repository: [nothing in it changes any more](https://docs.github.com/en/repositories/archiving-a-github-repository/archiving-repositories).
    ///
    /// # Errors
    /// There is no such repository.
    pub async fn archive(&self, repo: &str) -> Result<()> {
        self.world().repo(repo).await?.archived = true;
        Ok(())
    }

    /// A review by [`PERSON`] for herself and her team, after which both are off the list of those who are asked.
    ///
    /// # Errors
    /// There is none of that number.
    pub async fn review(&self, repo: &str, number: u64) -> Result<()> {
        let mut repo = self.world().repo(repo).await?;
        let pull = repo.pull_mut(number)?;
        pull.reviewers.clear();
        pull.teams.clear();
        Ok(())
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
    apps: Apps,
}

impl Service for Fake {
    type Step = Call;
    const RECORD_BODIES: bool = true;

    fn route(&self, head: &Parts) -> Route<Call> {
        let endpoint = Endpoint::parse(&head.method, head.uri.path());
        let is_of_app = endpoint.as_ref().is_some_and(Endpoint::is_of_app);
        Route {
            repo: endpoint.as_ref().and_then(|endpoint| endpoint.repo.clone()),
            step: endpoint.map(|endpoint| endpoint.call),
            authorized: is_of_app || self.world.access(&head.headers).is_ok_and(|access| access.is_some()),
        }
    }

    async fn respond(&self, head: Parts, body: Body) -> Response<Body> {
        if !head.uri.path().starts_with("/api/") {
            return self.git.respond(head, body).await;
        }
        let asked_for = head.headers.get(header::IF_NONE_MATCH).cloned();
        let reads = head.method == http::Method::GET;
        let reply = match Limited::new(body, 1024 * 1024).collect().await {
            Ok(body) => self.answer(&Request::from_parts(head, body.to_bytes())).await,
            Err(_) => Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large")),
        };
        let Reply { status, body, link } = reply.unwrap_or_else(Problem::into_reply);
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        (&body, &link).hash(&mut hasher);
        let etag = format!("W/\"{:x}\"", hasher.finish());
        let mut response = Response::new(full(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(json::CONTENT_TYPE));
        if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
            headers.insert(header::LINK, link);
        }
        // Which tells this software from others:
        // https://docs.github.com/en/enterprise-server@latest/rest/meta/meta#get-github-enterprise-server-meta-information
        headers.insert(HeaderName::from_static("x-github-enterprise-version"), HeaderValue::from_static("3.19.0"));
        if self.apps.skew.load(Ordering::Relaxed) != 0 {
            let date = self.apps.now(now()).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            headers.extend(HeaderValue::try_from(date).ok().map(|date| (header::DATE, date)));
        }
        if reads && status == StatusCode::OK {
            headers.extend(HeaderValue::try_from(&etag).ok().map(|etag| (header::ETAG, etag)));
            // An answer that did not change is free of charge.
            if asked_for.is_some_and(|tag| tag.as_bytes() == etag.as_bytes()) {
                self.world.show_count(headers);
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.body_mut() = full(String::new());
                return response;
            }
        }
        self.world.count(headers);
        response
    }
}

impl Fake {
    async fn answer(&self, request: &Request<bytes::Bytes>) -> Result<Reply, Problem> {
        let endpoint = Endpoint::parse(request.method(), request.uri().path());
        match endpoint {
            Some(Endpoint { call: Call::Installation, branch: owner, .. }) => {
                self.apps.find(request.headers(), &owner, now())
            }
            Some(Endpoint { call: Call::AccessToken, number, .. }) => {
                let (reply, token) = self.apps.mint(&self.world, request.headers(), number, now())?;
                self.git.set_token(&token);
                Ok(reply)
            }
            _ => api::answer(&self.world, request, now()).await,
        }
    }
}
