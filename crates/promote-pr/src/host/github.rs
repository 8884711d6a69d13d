//! [GitHub's REST API](https://docs.github.com/en/rest/pulls/pulls), on github.com and on Enterprise Server.

pub(crate) mod app;
mod merge;

use std::sync::Arc;

use async_trait::async_trait;
use egress::Retry;
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::service::middleware::extra_headers::ExtraHeadersLayer;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use crate::error::Error;
use crate::names::{BranchName, RepoUrl};
use crate::request::{Attributes, Credentials};

use super::line::LineError;
use super::wire::{self, Answer, Ask, MAX_PAGES, Site};
use super::{
    Capabilities, Created, Host, Line, Merge, Merged, NewPullRequest, Provider, PullRequest, PullRequestState,
    most_telling,
};

/// The most that GitHub puts on [a page](https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api).
const PAGE_SIZE: usize = 100;

/// What GitHub can do. Drafts, and auto-merge in private repositories, depend on the
/// [plan](https://docs.github.com/en/get-started/learning-about-github/githubs-plans).
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    title: 256,
    body: 65_536,
    draft: true,
    labels: true,
    reviewers: true,
    team_reviewers: true,
    assignees: true,
    milestone: true,
    auto_merge: true,
    immediate_merge: true,
};

/// A repository on GitHub.
pub(super) struct GitHub {
    crab: Octocrab,
    /// Where the REST API begins, behind the origin.
    rest: String,
    /// Where `/graphql` is, behind the origin.
    graphql: String,
    site: Site,
}

impl GitHub {
    pub(super) fn open(
        repository: &RepoUrl,
        api_url: Option<&Url>,
        credentials: &Credentials,
        line: Line,
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
        let origin = api
            .origin()
            .ascii_serialization()
            .parse::<Uri>()
            .map_err(|_error| Error::BadApiUrl { url: api.to_string(), reason: "it is no URL" })?;
        let rest = api.path().trim_end_matches('/').to_owned();
        let graphql = graphql_of(&rest).to_owned();
        let headers = vec![
            (ACCEPT, HeaderValue::from_static("application/vnd.github+json")),
            (HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28")),
        ];
        let built = OctocrabBuilder::new_empty()
            .with_service(line)
            .with_layer(&ExtraHeadersLayer::new(Arc::new(headers)))
            .with_layer(&BaseUriLayer::new(origin))
            .with_auth(AuthState::AccessToken { token })
            .build();
        match built {
            Ok(crab) => Ok(Self { crab, rest, graphql, site }),
            Err(never) => match never {},
        }
    }

    async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        self.send_below(&self.rest, ask).await
    }

    async fn send_below(&self, base: &str, ask: Ask) -> Result<Answer, Error> {
        let failed = |error: octocrab::Error| {
            let (source, retry): (Box<dyn std::error::Error + Send + Sync>, _) = match error {
                octocrab::Error::Service { source, .. } => {
                    let retry = source.downcast_ref::<LineError>().map_or(Retry::Later, LineError::retry);
                    (source, retry)
                }
                other => (Box::new(other), Retry::Later),
            };
            Error::Transport { call: self.site.call(ask.action), source, retry }
        };
        let request = ask.request(base).map_err(|error| Error::Transport {
            call: self.site.call(ask.action),
            source: Box::new(error),
            retry: Retry::Never,
        })?;
        let (head, body) = self.crab.execute(request).await.map_err(failed)?.into_parts();
        let body = body.collect().await.map_err(failed)?.to_bytes();
        Ok(self.site.answer(&ask, Response::from_parts(head, body)))
    }

    /// All pages of a list.
    async fn list<T>(
        &self,
        ask: impl Fn(usize) -> Ask + Send + Sync,
        parse: impl Fn(&Answer) -> Result<Vec<T>, Error> + Send + Sync,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let answer = self.send(ask(page)).await?.success()?;
            all.extend(parse(&answer)?);
            if !answer.has_next() {
                break;
            }
            if page == MAX_PAGES {
                return Err(answer.too_long(PAGE_SIZE));
            }
        }
        Ok(all)
    }

    /// Asks for the reviews that nobody was asked for yet. Who gave a review, or was taken off the list by a person, is not
    /// asked again.
    async fn ask_reviews(&self, pull: &PullRequest, mut missing: Attributes) -> Result<(), Error> {
        if missing.reviewers.is_empty() && missing.team_reviewers.is_empty() {
            return Ok(());
        }
        let events = self.list(|page| events(&self.site, pull.number, page), parse_events).await?;
        for event in events {
            missing = missing.missing_in(&event.asked());
        }
        if missing.reviewers.is_empty() && missing.team_reviewers.is_empty() {
            return Ok(());
        }
        let ask = ask_reviews(&self.site, pull.number, &missing.reviewers, &missing.team_reviewers);
        self.send(ask).await?.success().map(drop)
    }

    async fn assign(&self, pull: &PullRequest, assignees: &[String]) -> Result<(), Error> {
        if assignees.is_empty() {
            return Ok(());
        }
        let answer = self.send(assign(&self.site, pull.number, assignees)).await?.success()?;
        let wanted = Attributes { assignees: assignees.to_vec(), ..Attributes::default() };
        let seen = answer.json::<Assigned>()?;
        let seen = Attributes { assignees: logins(seen.assignees), ..Attributes::default() };
        match wanted.missing_in(&seen).assignees.first() {
            Some(name) => Err(answer.unknown("assignee", name)),
            None => Ok(()),
        }
    }

    async fn set_milestone(&self, pull: &PullRequest, title: &str) -> Result<(), Error> {
        let all = self.list(|page| milestones(&self.site, page), |answer| answer.json::<Vec<Milestone>>()).await?;
        let Some(number) = all.into_iter().find(|milestone| milestone.title == title).and_then(|found| found.number)
        else {
            let call = self.site.call("set the milestone of a pull request");
            return Err(Error::Unknown { call, what: "milestone", name: title.to_owned() });
        };
        self.send(set_milestone(&self.site, pull.number, number)).await?.success().map(drop)
    }
}

#[async_trait]
impl Host for GitHub {
    async fn find(&self, head: &BranchName, base: &BranchName) -> Result<Option<PullRequest>, Error> {
        let pulls = self.list(|page| find(&self.site, head, base, page), parse_list).await?;
        Ok(most_telling(pulls.into_iter().filter(|pull| pull.head == head.as_str() && pull.base == base.as_str())))
    }

    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error> {
        let mut pulls = self.list(|page| list_open(&self.site, page), parse_list).await?;
        pulls.retain(|pull| pull.state == PullRequestState::Open && pull.head.starts_with(head_prefix));
        Ok(pulls)
    }

    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error> {
        parse_created(&self.site, self.send(create(&self.site, new)).await?)
    }

    async fn update(&self, pull: &PullRequest, title: &str, body: &str) -> Result<(), Error> {
        self.send(update(&self.site, pull.number, title, body)).await?.success().map(drop)
    }

    async fn dress(&self, pull: &PullRequest, attributes: &Attributes) -> Result<(), Error> {
        let missing = attributes.missing_in(&pull.attributes);
        if !missing.labels.is_empty() {
            self.send(add_labels(&self.site, pull.number, &missing.labels)).await?.success()?;
        }
        self.assign(pull, &missing.assignees).await?;
        if let Some(title) = &missing.milestone {
            self.set_milestone(pull, title).await?;
        }
        self.ask_reviews(pull, missing).await
    }

    async fn merge(&self, pull: &PullRequest, how: Merge) -> Result<Merged, Error> {
        let view = merge::view(&self.site, pull);
        let view = merge::parse_view(self.send_below(&self.graphql, view).await?)?;
        match merge::decide(pull, how, &view) {
            merge::Step::Known(merged) => Ok(merged),
            merge::Step::Now => merge::parse_merged(self.send(merge::now(&self.site, pull, &view)).await?),
            merge::Step::Schedule => {
                let answer = self.send_below(&self.graphql, merge::schedule(pull, &view)).await?;
                match merge::parse_scheduled(answer)? {
                    merge::Scheduled::Done => Ok(Merged::Scheduled),
                    merge::Scheduled::MergeNow => {
                        merge::parse_merged(self.send(merge::now(&self.site, pull, &view)).await?)
                    }
                    merge::Scheduled::NotYet(reason) => Ok(Merged::NotYet(reason)),
                }
            }
        }
    }

    async fn close(&self, number: u64) -> Result<(), Error> {
        self.send(close(&self.site, number)).await?.success().map(drop)
    }

    async fn comment(&self, number: u64, body: &str) -> Result<(), Error> {
        let comments = self.list(|page| comments(&self.site, number, page), parse_comments).await?;
        if comments.iter().any(|comment| comment.trim() == body.trim()) {
            return Ok(());
        }
        self.send(comment(&self.site, number, body)).await?.success().map(drop)
    }

    async fn delete_branch(&self, branch: &BranchName) -> Result<bool, Error> {
        parse_deleted(self.send(delete_branch(&self.site, branch)).await?)
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}

/// <https://docs.github.com/en/enterprise-server@3.19/rest/using-the-rest-api/getting-started-with-the-rest-api>
fn api_of(repository: &RepoUrl) -> String {
    match repository.host() {
        "github.com" => "https://api.github.com".to_owned(),
        _ => format!("{}/api/v3", wire::origin(repository)),
    }
}

/// GraphQL is [beside REST](https://docs.github.com/en/enterprise-server@3.19/graphql/guides/forming-calls-with-graphql#the-graphql-endpoint):
/// `/api/graphql` where that is `/api/v3`.
fn graphql_of(rest: &str) -> &str {
    rest.strip_suffix("/v3").unwrap_or(rest)
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
    .kept_as::<Vec<Pull>>()
}

/// <https://docs.github.com/en/rest/pulls/pulls#list-pull-requests>
fn list_open(site: &Site, page: usize) -> Ask {
    let query = "state=open&sort=created&direction=asc";
    Ask::get("list the open pull requests", format!("{}/pulls?{query}&per_page={PAGE_SIZE}&page={page}", site.path()))
        .kept_as::<Vec<Pull>>()
}

/// <https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request>
fn create(site: &Site, new: &NewPullRequest) -> Ask {
    let mut body = json!({"head": new.head.as_str(), "base": new.base.as_str(), "title": new.title, "body": new.body});
    if new.draft {
        body["draft"] = true.into();
    }
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

/// GitHub makes the labels that the repository does not have.
/// <https://docs.github.com/en/rest/issues/labels#add-labels-to-an-issue>
fn add_labels(site: &Site, number: u64, labels: &[String]) -> Ask {
    Ask::post("label a pull request", format!("{}/issues/{number}/labels", site.path()), json!({"labels": labels}))
}

/// Who was ever asked for a review: the list of a pull request forgets those who gave it.
/// <https://docs.github.com/en/rest/issues/events#list-issue-events>
fn events(site: &Site, number: u64, page: usize) -> Ask {
    Ask::get(
        "see who was asked for a review",
        format!("{}/issues/{number}/events?per_page={PAGE_SIZE}&page={page}", site.path()),
    )
    .kept_as::<Vec<Event>>()
}

/// <https://docs.github.com/en/rest/pulls/review-requests#request-reviewers-for-a-pull-request>
fn ask_reviews(site: &Site, number: u64, reviewers: &[String], teams: &[String]) -> Ask {
    Ask::post(
        "ask for reviews of a pull request",
        format!("{}/pulls/{number}/requested_reviewers", site.path()),
        json!({"reviewers": reviewers, "team_reviewers": teams}),
    )
}

/// GitHub leaves out those who cannot be assigned.
/// <https://docs.github.com/en/rest/issues/assignees#add-assignees-to-an-issue>
fn assign(site: &Site, number: u64, assignees: &[String]) -> Ask {
    let body = json!({"assignees": assignees});
    Ask::post("assign a pull request", format!("{}/issues/{number}/assignees", site.path()), body)
}

/// <https://docs.github.com/en/rest/issues/milestones#list-milestones>
fn milestones(site: &Site, page: usize) -> Ask {
    let path = format!("{}/milestones?state=all&per_page={PAGE_SIZE}&page={page}", site.path());
    Ask::get("look for a milestone", path).kept_as::<Vec<Milestone>>()
}

/// <https://docs.github.com/en/rest/issues/issues#update-an-issue>
fn set_milestone(site: &Site, number: u64, milestone: u64) -> Ask {
    Ask::patch(
        "set the milestone of a pull request",
        format!("{}/issues/{number}", site.path()),
        json!({"milestone": milestone}),
    )
}

/// <https://docs.github.com/en/rest/issues/comments#list-issue-comments>
fn comments(site: &Site, number: u64, page: usize) -> Ask {
    Ask::get(
        "read the comments of a pull request",
        format!("{}/issues/{number}/comments?per_page={PAGE_SIZE}&page={page}", site.path()),
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

#[derive(Deserialize, Serialize)]
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
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    requested_reviewers: Option<Vec<Login>>,
    #[serde(default)]
    requested_teams: Option<Vec<Team>>,
    #[serde(default)]
    assignees: Option<Vec<Login>>,
    #[serde(default)]
    milestone: Option<Milestone>,
}

#[derive(Deserialize, Serialize)]
struct Branch {
    #[serde(rename = "ref")]
    name: String,
    sha: Option<String>,
    repo: Option<Repository>,
}

#[derive(Deserialize, Serialize)]
struct Repository {
    full_name: String,
}

#[derive(Deserialize, Serialize)]
struct Label {
    name: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Login {
    login: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Team {
    slug: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Milestone {
    number: Option<u64>,
    title: String,
}

#[derive(Deserialize)]
struct Comment {
    body: Option<String>,
}

#[derive(Deserialize)]
struct Assigned {
    assignees: Option<Vec<Login>>,
}

#[derive(Deserialize, Serialize)]
struct Event {
    event: Option<String>,
    requested_reviewer: Option<Login>,
    requested_team: Option<Team>,
}

impl Event {
    /// Who was asked for a review.
    fn asked(self) -> Attributes {
        if self.event.as_deref() != Some("review_requested") {
            return Attributes::default();
        }
        Attributes {
            reviewers: logins(self.requested_reviewer.map(|login| vec![login])),
            team_reviewers: self.requested_team.and_then(|team| team.slug).into_iter().collect(),
            ..Attributes::default()
        }
    }
}

fn logins(logins: Option<Vec<Login>>) -> Vec<String> {
    logins.into_iter().flatten().filter_map(|login| login.login).collect()
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
            attributes: Attributes {
                labels: pull.labels.into_iter().filter_map(|label| label.name).collect(),
                reviewers: logins(pull.requested_reviewers),
                team_reviewers: pull.requested_teams.into_iter().flatten().filter_map(|team| team.slug).collect(),
                assignees: logins(pull.assignees),
                milestone: pull.milestone.map(|milestone| milestone.title),
                draft: pull.draft.unwrap_or(false),
            },
        }
    }
}

fn parse_list(answer: &Answer) -> Result<Vec<PullRequest>, Error> {
    let pulls = answer.json::<Vec<Pull>>()?;
    Ok(pulls.into_iter().filter(Pull::is_of_one_repository).map(PullRequest::from).collect())
}

fn parse_events(answer: &Answer) -> Result<Vec<Event>, Error> {
    answer.json()
}

fn parse_comments(answer: &Answer) -> Result<Vec<String>, Error> {
    Ok(answer.json::<Vec<Comment>>()?.into_iter().filter_map(|comment| comment.body).collect())
}

/// A refused pull request is [422 with a list of errors](https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed);
/// right after a push GitHub may know neither the head branch nor its commits.
fn parse_created(site: &Site, answer: Answer) -> Result<Created, Error> {
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
        let message = answer.message();
        if message.contains("A pull request already exists") {
            return Ok(Created::Exists);
        }
        if message.contains("head is invalid") || message.contains("No commits between") {
            return Ok(Created::HeadUnknown);
        }
        if message.contains("Draft pull requests are not supported") {
            return Err(site.cannot(Provider::GitHub, "drafts"));
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
