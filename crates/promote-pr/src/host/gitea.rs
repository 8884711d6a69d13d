//! [Gitea's API](https://docs.gitea.com/api/next/), which Forgejo speaks as well.

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use egress::{Client, Retry};
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::error::Error;
use crate::names::{BranchName, RepoUrl};
use crate::request::Credentials;

use super::wire::{self, Answer, Ask, MAX_PAGES, Site};
use super::{Capabilities, Created, Host, NewPullRequest, Provider, PullRequest, PullRequestState, most_telling};

/// The most that Gitea puts on a page unless [its settings](https://docs.gitea.com/administration/config-cheat-sheet#api-api)
/// say otherwise.
const PAGE_SIZE: usize = 50;

/// A repository on Gitea.
pub(super) struct Gitea {
    client: Client,
    api: String,
    authorization: HeaderValue,
    site: Site,
}

impl Gitea {
    pub(super) fn open(
        provider: Provider,
        repository: &RepoUrl,
        api_url: Option<&Url>,
        credentials: &Credentials,
        client: Client,
    ) -> Result<Self, Error> {
        let not_a_repository = || Error::NotARepository { repository: repository.to_string(), provider };
        let (parents, name) = repository.owner_and_name().ok_or_else(not_a_repository)?;
        let (sub_path, owner) = parents.rsplit_once('/').unwrap_or(("", parents));
        let api = wire::base(api_url, &api_of(repository, sub_path))?;
        let no_token = || Error::NoToken { host: repository.host().to_owned() };
        let token = wire::token(credentials).ok_or_else(no_token)?;
        let bad_token = || Error::BadToken { host: repository.host().to_owned() };
        let authorization = authorization(credentials, &token).ok_or_else(bad_token)?;
        let site = Site::new(provider, repository, (owner, name), &api, token)?;
        Ok(Self { client, api: api.to_string(), authorization, site })
    }

    async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        let failed = |error: egress::Error| Error::Transport {
            call: self.site.call(ask.action),
            retry: error.retry(),
            source: Box::new(error),
        };
        let mut request = ask.request(&self.api).map_err(|error| Error::Transport {
            call: self.site.call(ask.action),
            source: Box::new(error),
            retry: Retry::Never,
        })?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        let response = self.client.send(request).await.map_err(failed)?;
        Ok(self.site.answer(&ask, response))
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
impl Host for Gitea {
    async fn find(&self, head: &BranchName, base: &BranchName) -> Result<Option<PullRequest>, Error> {
        let Some(any) = parse_found(self.send(find(&self.site, head, base)).await?)? else {
            return Ok(None);
        };
        if any.state == PullRequestState::Open {
            return Ok(Some(any));
        }
        let pulls = self.list(|page| list_all(&self.site, base, page)).await?;
        Ok(most_telling(pulls.into_iter().chain([any]).filter(|pull| pull.head == head.as_str())))
    }

    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error> {
        let mut pulls = self.list(|page| list_open(&self.site, page)).await?;
        pulls.retain(|pull| pull.state == PullRequestState::Open && pull.head.starts_with(head_prefix));
        Ok(pulls)
    }

    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error> {
        if !parse_branch(self.send(branch(&self.site, &new.head)).await?)? {
            return Ok(Created::HeadUnknown);
        }
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
        Capabilities { title: 255, body: 65_536 }
    }
}

/// The API lives beside the pages, under a [sub-path](https://docs.gitea.com/administration/reverse-proxies#general-configuration) too.
fn api_of(repository: &RepoUrl, sub_path: &str) -> String {
    let separator = if sub_path.is_empty() { "" } else { "/" };
    format!("{}{separator}{sub_path}/api/v1", wire::origin(repository))
}

/// A token, or a [user name with a password](https://docs.gitea.com/development/api-usage#authentication).
fn authorization(credentials: &Credentials, token: &SecretString) -> Option<HeaderValue> {
    let value = match (&credentials.token, &credentials.username) {
        (None, Some(username)) => {
            let pair = format!("{}:{}", username.trim(), token.expose_secret());
            format!("Basic {}", BASE64_STANDARD.encode(pair))
        }
        _ => format!("token {}", token.expose_secret()),
    };
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// One of the pull requests with this head and base, whichever state it has.
/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoGetPullRequestByBaseHead>
fn find(site: &Site, head: &BranchName, base: &BranchName) -> Ask {
    let head = wire::escape_path(head.as_str());
    let base = wire::escape_segment(base.as_str());
    Ask::get("look for the promotion's pull request", format!("{}/pulls/{base}/{head}", site.path()))
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoListPullRequests>
fn list_all(site: &Site, base: &BranchName, page: usize) -> Ask {
    let query = format!("state=all&base_branch={}&sort=recentupdate", wire::escape_segment(base.as_str()));
    Ask::get(
        "look for the promotion's pull request",
        format!("{}/pulls?{query}&limit={PAGE_SIZE}&page={page}", site.path()),
    )
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoListPullRequests>
fn list_open(site: &Site, page: usize) -> Ask {
    let query = "state=open&sort=oldest";
    Ask::get("list the open pull requests", format!("{}/pulls?{query}&limit={PAGE_SIZE}&page={page}", site.path()))
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoGetBranch>
fn branch(site: &Site, branch: &BranchName) -> Ask {
    let branch = wire::escape_path(branch.as_str());
    Ask::get("look for the pushed branch", format!("{}/branches/{branch}", site.path()))
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoCreatePullRequest>
fn create(site: &Site, new: &NewPullRequest) -> Ask {
    let body = json!({"head": new.head.as_str(), "base": new.base.as_str(), "title": new.title, "body": new.body});
    Ask::post("create a pull request", format!("{}/pulls", site.path()), body)
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoEditPullRequest>
fn update(site: &Site, number: u64, title: &str, body: &str) -> Ask {
    let body = json!({"title": title, "body": body});
    Ask::patch("update a pull request", format!("{}/pulls/{number}", site.path()), body)
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoEditPullRequest>
fn close(site: &Site, number: u64) -> Ask {
    Ask::patch("close a pull request", format!("{}/pulls/{number}", site.path()), json!({"state": "closed"}))
}

/// <https://docs.gitea.com/api/next/#tag/issue/operation/issueGetComments>
fn comments(site: &Site, number: u64) -> Ask {
    Ask::get("read the comments of a pull request", format!("{}/issues/{number}/comments", site.path()))
}

/// <https://docs.gitea.com/api/next/#tag/issue/operation/issueCreateComment>
fn comment(site: &Site, number: u64, body: &str) -> Ask {
    Ask::post("comment on a pull request", format!("{}/issues/{number}/comments", site.path()), json!({"body": body}))
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoDeleteBranch>
fn delete_branch(site: &Site, branch: &BranchName) -> Ask {
    let branch = wire::escape_path(branch.as_str());
    Ask::delete("delete a branch", format!("{}/branches/{branch}", site.path()))
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    html_url: String,
    state: String,
    title: String,
    body: Option<String>,
    merged: Option<bool>,
    merge_commit_sha: Option<String>,
    head: Branch,
    base: Branch,
}

#[derive(Deserialize)]
struct Branch {
    /// Unlike `ref`, it stays when the branch is deleted.
    #[serde(rename = "label")]
    name: String,
    sha: Option<String>,
    repo_id: i64,
}

#[derive(Deserialize)]
struct Comment {
    body: Option<String>,
}

impl Pull {
    /// Whether head and base are in one repository: a fork's branch may have any name.
    fn is_of_one_repository(&self) -> bool {
        self.head.repo_id == self.base.repo_id
    }
}

impl From<Pull> for PullRequest {
    fn from(pull: Pull) -> Self {
        let state = match (pull.merged, pull.state.as_str()) {
            (Some(true), _) => PullRequestState::Merged,
            (_, "open") => PullRequestState::Open,
            (_, _) => PullRequestState::Closed,
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

/// None there is 404, as is a repository that the token does not open; reading its list tells the two apart.
fn parse_found(answer: Answer) -> Result<Option<PullRequest>, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let pull = answer.success()?.json::<Pull>()?;
    Ok(Some(pull).filter(Pull::is_of_one_repository).map(PullRequest::from))
}

fn parse_list(answer: &Answer) -> Result<Vec<PullRequest>, Error> {
    let pulls = answer.json::<Vec<Pull>>()?;
    Ok(pulls.into_iter().filter(Pull::is_of_one_repository).map(PullRequest::from).collect())
}

fn parse_comments(answer: &Answer) -> Result<Vec<String>, Error> {
    Ok(answer.json::<Vec<Comment>>()?.into_iter().filter_map(|comment| comment.body).collect())
}

/// Gitea takes note of a push asynchronously: for seconds afterwards its branch is 404.
fn parse_branch(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    answer.success().map(|_| true)
}

/// A second pull request is 409.
fn parse_created(answer: Answer) -> Result<Created, Error> {
    if answer.status == StatusCode::CONFLICT {
        return Ok(Created::Exists);
    }
    answer.success()?.json::<Pull>().map(|pull| Created::Done(pull.into()))
}

/// A branch that is not there is 404.
fn parse_deleted(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    answer.success().map(|_| true)
}

#[cfg(test)]
mod tests;
