//! [GitHub's REST API](https://docs.github.com/en/rest/pulls/pulls), on github.com and on Enterprise Server.

use std::sync::Arc;

use async_trait::async_trait;
use egress::{Client, Retry};
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::service::middleware::extra_headers::ExtraHeadersLayer;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::error::Error;
use crate::names::{BranchName, RepoUrl};
use crate::request::Credentials;

use super::wire::{self, Answer, Ask, MAX_PAGES, Site};
use super::{Capabilities, Created, Host, NewPullRequest, Provider, PullRequest, PullRequestState, most_telling};

/// The most that GitHub puts on [a page](https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api).
const PAGE_SIZE: usize = 100;

/// A repository on GitHub.
pub(super) struct GitHub {
    crab: Octocrab,
    site: Site,
}

impl GitHub {
    pub(super) fn open(
        repository: &RepoUrl,
        api_url: Option<&Url>,
        credentials: &Credentials,
        client: Client,
    ) -> Result<Self, Error> {
        let not_a_repository =
            || Error::NotARepository { repository: repository.to_string(), provider: Provider::GitHub };
        let owner_and_name = repository.owner_and_name().ok_or_else(not_a_repository)?;
        let api = wire::base(api_url, &api_of(repository))?;
        let no_token = || Error::NoToken { host: repository.host().to_owned() };
        let token = wire::token(credentials).ok_or_else(no_token)?;
        let bad_token = || Error::BadToken { host: repository.host().to_owned() };
        HeaderValue::from_str(token.expose_secret()).map_err(|_error| bad_token())?;
        let site = Site::new(Provider::GitHub, repository, owner_and_name, &api, token.clone())?;
        let base = api
            .as_str()
            .parse::<Uri>()
            .map_err(|_error| Error::BadApiUrl { url: api.to_string(), reason: "it is no URL" })?;
        let headers = vec![
            (ACCEPT, HeaderValue::from_static("application/vnd.github+json")),
            (HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28")),
        ];
        let built = OctocrabBuilder::new_empty()
            .with_service(client)
            .with_layer(&ExtraHeadersLayer::new(Arc::new(headers)))
            .with_layer(&BaseUriLayer::new(base))
            .with_auth(AuthState::AccessToken { token })
            .build();
        match built {
            Ok(crab) => Ok(Self { crab, site }),
            Err(never) => match never {},
        }
    }

    async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        let failed = |error: octocrab::Error| {
            let (source, retry): (Box<dyn std::error::Error + Send + Sync>, _) = match error {
                octocrab::Error::Service { source, .. } => {
                    let retry = source.downcast_ref::<egress::Error>().map_or(Retry::Later, egress::Error::retry);
                    (source, retry)
                }
                other => (Box::new(other), Retry::Later),
            };
            Error::Transport { call: self.site.call(ask.action), source, retry }
        };
        let request = ask.request("").map_err(|error| Error::Transport {
            call: self.site.call(ask.action),
            source: Box::new(error),
            retry: Retry::Never,
        })?;
        let (head, body) = self.crab.execute(request).await.map_err(failed)?.into_parts();
        let body = body.collect().await.map_err(failed)?.to_bytes();
        Ok(self.site.answer(&ask, Response::from_parts(head, body)))
    }

    async fn list(&self, ask: impl Fn(usize) -> Ask + Send + Sync) -> Result<Vec<PullRequest>, Error> {
        let mut pulls = Vec::new();
        for page in 1..=MAX_PAGES {
            let answer = self.send(ask(page)).await?.success()?;
            pulls.extend(parse_list(&answer)?);
            if !answer.has_next() {
                break;
            }
            if page == MAX_PAGES {
                return Err(answer.too_long(PAGE_SIZE));
            }
        }
        Ok(pulls)
    }
}

#[async_trait]
impl Host for GitHub {
    async fn find(&self, head: &BranchName, base: &BranchName) -> Result<Option<PullRequest>, Error> {
        let pulls = self.list(|page| find(&self.site, head, base, page)).await?;
        Ok(most_telling(pulls.into_iter().filter(|pull| pull.head == head.as_str() && pull.base == base.as_str())))
    }

    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error> {
        let mut pulls = self.list(|page| list_open(&self.site, page)).await?;
        pulls.retain(|pull| pull.state == PullRequestState::Open && pull.head.starts_with(head_prefix));
        Ok(pulls)
    }

    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error> {
        parse_created(self.send(create(&self.site, new)).await?)
    }

    async fn update(&self, number: u64, title: &str, body: &str) -> Result<(), Error> {
        self.send(update(&self.site, number, title, body)).await?.success().map(drop)
    }

    async fn close(&self, number: u64) -> Result<(), Error> {
        self.send(close(&self.site, number)).await?.success().map(drop)
    }

    async fn comment(&self, number: u64, body: &str) -> Result<(), Error> {
        let comments = self.send(comments(&self.site, number)).await?.success()?;
        if parse_comments(&comments)?.iter().any(|comment| comment.trim() == body.trim()) {
            return Ok(());
        }
        self.send(comment(&self.site, number, body)).await?.success().map(drop)
    }

    async fn delete_branch(&self, branch: &BranchName) -> Result<bool, Error> {
        parse_deleted(self.send(delete_branch(&self.site, branch)).await?)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { title: 256, body: 65_536 }
    }
}

/// <https://docs.github.com/en/enterprise-server@3.19/rest/using-the-rest-api/getting-started-with-the-rest-api>
fn api_of(repository: &RepoUrl) -> String {
    match repository.host() {
        "github.com" => "https://api.github.com".to_owned(),
        _ => format!("{}/api/v3", wire::origin(repository)),
    }
}

/// <https://docs.github.com/en/rest/pulls/pulls#list-pull-requests>
fn find(site: &Site, head: &BranchName, base: &BranchName, page: usize) -> Ask {
    let head = wire::escape_segment(&format!("{}:{head}", site.owner()));
    let base = wire::escape_segment(base.as_str());
    let query = format!("state=all&head={head}&base={base}&sort=created&direction=desc");
    Ask::get(
        "look for the promotion's pull request",
        format!("{}/pulls?{query}&per_page={PAGE_SIZE}&page={page}", site.path()),
    )
}

/// <https://docs.github.com/en/rest/pulls/pulls#list-pull-requests>
fn list_open(site: &Site, page: usize) -> Ask {
    let query = "state=open&sort=created&direction=asc";
    Ask::get("list the open pull requests", format!("{}/pulls?{query}&per_page={PAGE_SIZE}&page={page}", site.path()))
}

/// <https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request>
fn create(site: &Site, new: &NewPullRequest) -> Ask {
    let body = json!({"head": new.head.as_str(), "base": new.base.as_str(), "title": new.title, "body": new.body});
    Ask::post("create a pull request", format!("{}/pulls", site.path()), body)
}

/// <https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request>
fn update(site: &Site, number: u64, title: &str, body: &str) -> Ask {
    let body = json!({"title": title, "body": body});
    Ask::patch("update a pull request", format!("{}/pulls/{number}", site.path()), body)
}

/// <https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request>
fn close(site: &Site, number: u64) -> Ask {
    Ask::patch("close a pull request", format!("{}/pulls/{number}", site.path()), json!({"state": "closed"}))
}

/// <https://docs.github.com/en/rest/issues/comments#list-issue-comments>
fn comments(site: &Site, number: u64) -> Ask {
    Ask::get(
        "read the comments of a pull request",
        format!("{}/issues/{number}/comments?per_page={PAGE_SIZE}", site.path()),
    )
}

/// <https://docs.github.com/en/rest/issues/comments#create-an-issue-comment>
fn comment(site: &Site, number: u64, body: &str) -> Ask {
    Ask::post("comment on a pull request", format!("{}/issues/{number}/comments", site.path()), json!({"body": body}))
}

/// <https://docs.github.com/en/rest/git/refs#delete-a-reference>
fn delete_branch(site: &Site, branch: &BranchName) -> Ask {
    let branch = wire::escape_path(branch.as_str());
    Ask::delete("delete a branch", format!("{}/git/refs/heads/{branch}", site.path()))
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    html_url: String,
    state: String,
    title: String,
    body: Option<String>,
    merged_at: Option<String>,
    merge_commit_sha: Option<String>,
    head: Branch,
    base: Branch,
}

#[derive(Deserialize)]
struct Branch {
    #[serde(rename = "ref")]
    name: String,
    sha: Option<String>,
    repo: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Deserialize)]
struct Comment {
    body: Option<String>,
}

impl Pull {
    /// Whether head and base are in one repository: a fork's branch may have any name.
    fn is_of_one_repository(&self) -> bool {
        let name = |branch: &Branch| branch.repo.as_ref().map(|repo| repo.full_name.to_ascii_lowercase());
        name(&self.head).is_some_and(|head| name(&self.base) == Some(head))
    }
}

impl From<Pull> for PullRequest {
    fn from(pull: Pull) -> Self {
        let state = match (&pull.merged_at, pull.state.as_str()) {
            (Some(_), _) => PullRequestState::Merged,
            (None, "open") => PullRequestState::Open,
            (None, _) => PullRequestState::Closed,
        };
        let merged = pull.merge_commit_sha.filter(|_| state == PullRequestState::Merged);
        Self {
            number: pull.number,
            url: pull.html_url,
            state,
            head: pull.head.name,
            base: pull.base.name,
            title: pull.title,
            body: pull.body.unwrap_or_default(),
            head_commit: pull.head.sha.and_then(|sha| sha.parse().ok()),
            merged_commit: merged.and_then(|sha| sha.parse().ok()),
        }
    }
}

fn parse_list(answer: &Answer) -> Result<Vec<PullRequest>, Error> {
    let pulls = answer.json::<Vec<Pull>>()?;
    Ok(pulls.into_iter().filter(Pull::is_of_one_repository).map(PullRequest::from).collect())
}

fn parse_comments(answer: &Answer) -> Result<Vec<String>, Error> {
    Ok(answer.json::<Vec<Comment>>()?.into_iter().filter_map(|comment| comment.body).collect())
}

/// A refused pull request is [422 with a list of errors](https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed);
/// right after a push GitHub may know neither the head branch nor its commits.
fn parse_created(answer: Answer) -> Result<Created, Error> {
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
        let message = answer.message();
        if message.contains("A pull request already exists") {
            return Ok(Created::Exists);
        }
        if message.contains("head is invalid") || message.contains("No commits between") {
            return Ok(Created::HeadUnknown);
        }
    }
    answer.success()?.json::<Pull>().map(|pull| Created::Done(pull.into()))
}

/// A branch that is not there is 422 "Reference does not exist".
fn parse_deleted(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.message().contains("Reference does not exist") {
        return Ok(false);
    }
    answer.success().map(|_| true)
}

#[cfg(test)]
mod tests;
