//! [Gitea's API](https://docs.gitea.com/api/next/), which Forgejo speaks as well.

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use egress::Retry;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
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

/// The most that Gitea puts on a page unless [its settings](https://docs.gitea.com/administration/config-cheat-sheet#api-api)
/// say otherwise.
const PAGE_SIZE: usize = 50;

/// What makes a title that of a draft, unless [the settings](https://docs.gitea.com/administration/config-cheat-sheet#repository---pull-request-repositorypull-request)
/// say otherwise.
const DRAFT: [&str; 2] = [DRAFT_MARK, "[WIP]"];
const DRAFT_MARK: &str = "WIP:";

/// What Gitea can do. The title leaves room for the mark of a draft.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    title: 250,
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

/// A repository on Gitea.
pub(super) struct Gitea {
    line: Line,
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
        line: Line,
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
        Ok(Self { line, api: api.to_string(), authorization, site })
    }

    async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        let failed = |error: LineError| Error::Transport {
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
        let response = self.line.send(request).await.map_err(failed)?;
        Ok(self.site.answer(&ask, response))
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

    async fn add_labels(&self, pull: &PullRequest, labels: &[String]) -> Result<(), Error> {
        if labels.is_empty() {
            return Ok(());
        }
        let answer = self.send(add_labels(&self.site, pull.number, labels)).await?.success()?;
        let names = answer.json::<Vec<Label>>()?.into_iter().map(|label| label.name).collect();
        let wanted = Attributes { labels: labels.to_vec(), ..Attributes::default() };
        match wanted.missing_in(&Attributes { labels: names, ..Attributes::default() }).labels.first() {
            Some(name) => Err(answer.unknown("label", name)),
            None => Ok(()),
        }
    }

    /// Sets what the pull request itself holds. Its list of assignees is replaced as a whole.
    async fn assign(&self, pull: &PullRequest, missing: &Attributes) -> Result<(), Error> {
        if missing.assignees.is_empty() && missing.milestone.is_none() {
            return Ok(());
        }
        let mut body = json!({});
        if !missing.assignees.is_empty() {
            body["assignees"] = pull.attributes.assignees.iter().chain(&missing.assignees).cloned().collect();
        }
        if let Some(title) = &missing.milestone {
            let all =
                self.list(|page| milestones(&self.site, title, page), |answer| answer.json::<Vec<Milestone>>()).await?;
            let Some(found) = all.into_iter().find(|milestone| milestone.title == *title) else {
                let call = self.site.call("set the milestone of a pull request");
                return Err(Error::Unknown { call, what: "milestone", name: title.clone() });
            };
            body["milestone"] = found.id.into();
        }
        self.send(edit(&self.site, "assign a pull request", pull.number, body)).await?.success().map(drop)
    }

    /// Asks for the reviews that nobody was asked for yet. Who gave a review is not asked again.
    async fn ask_reviews(&self, pull: &PullRequest, missing: Attributes) -> Result<(), Error> {
        if missing.reviewers.is_empty() && missing.team_reviewers.is_empty() {
            return Ok(());
        }
        let parse = |answer: &Answer| answer.json::<Vec<Review>>();
        let reviews = self.list(|page| reviews(&self.site, pull.number, page), parse).await?;
        let missing = missing.missing_in(&asked(reviews));
        if missing.reviewers.is_empty() && missing.team_reviewers.is_empty() {
            return Ok(());
        }
        let ask = ask_reviews(&self.site, pull.number, &missing.reviewers, &missing.team_reviewers);
        let answer = self.send(ask).await?.success()?;
        let left = missing.missing_in(&asked(parse(&answer)?));
        match (left.reviewers.first(), left.team_reviewers.first()) {
            (Some(name), _) => Err(answer.unknown("reviewer", name)),
            (None, Some(name)) => Err(answer.unknown("team reviewer", name)),
            (None, None) => Ok(()),
        }
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
        let pulls = self.list(|page| list_all(&self.site, base, page), parse_list).await?;
        Ok(most_telling(pulls.into_iter().chain([any]).filter(|pull| pull.head == head.as_str())))
    }

    async fn list_open(&self, head_prefix: &str) -> Result<Vec<PullRequest>, Error> {
        let mut pulls = self.list(|page| list_open(&self.site, page), parse_list).await?;
        pulls.retain(|pull| pull.state == PullRequestState::Open && pull.head.starts_with(head_prefix));
        Ok(pulls)
    }

    async fn create(&self, new: &NewPullRequest) -> Result<Created, Error> {
        if !parse_branch(self.send(branch(&self.site, &new.head)).await?)? {
            return Ok(Created::HeadUnknown);
        }
        parse_created(self.send(create(&self.site, new)).await?)
    }

    async fn update(&self, pull: &PullRequest, title: &str, body: &str) -> Result<(), Error> {
        let body = json!({"title": marked(title, pull.attributes.draft), "body": body});
        self.send(edit(&self.site, "update a pull request", pull.number, body)).await?.success().map(drop)
    }

    async fn dress(&self, pull: &PullRequest, attributes: &Attributes) -> Result<(), Error> {
        let missing = attributes.missing_in(&pull.attributes);
        self.add_labels(pull, &missing.labels).await?;
        self.assign(pull, &missing).await?;
        self.ask_reviews(pull, missing).await
    }

    async fn merge(&self, pull: &PullRequest, how: Merge) -> Result<Merged, Error> {
        let style = self.send(settings(&self.site)).await?.success()?.json::<Settings>()?.default_merge_style;
        parse_merged(self.send(merge(&self.site, pull, how, &style)).await?)
    }

    async fn close(&self, number: u64) -> Result<(), Error> {
        let body = json!({"state": "closed"});
        self.send(edit(&self.site, "close a pull request", number, body)).await?.success().map(drop)
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
        CAPABILITIES
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
    let title = marked(&new.title, new.draft);
    let body = json!({"head": new.head.as_str(), "base": new.base.as_str(), "title": title, "body": new.body});
    Ask::post("create a pull request", format!("{}/pulls", site.path()), body)
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoEditPullRequest>
fn edit(site: &Site, action: &'static str, number: u64, body: serde_json::Value) -> Ask {
    Ask::patch(action, format!("{}/pulls/{number}", site.path()), body)
}

/// Labels that neither the repository nor its organization has are left out.
/// <https://docs.gitea.com/api/next/#tag/issue/operation/issueAddLabel>
fn add_labels(site: &Site, number: u64, labels: &[String]) -> Ask {
    Ask::post("label a pull request", format!("{}/issues/{number}/labels", site.path()), json!({"labels": labels}))
}

/// <https://docs.gitea.com/api/next/#tag/issue/operation/issueGetMilestonesList>
fn milestones(site: &Site, title: &str, page: usize) -> Ask {
    let query = format!("state=all&name={}", wire::escape_segment(title));
    Ask::get("look for a milestone", format!("{}/milestones?{query}&limit={PAGE_SIZE}&page={page}", site.path()))
}

/// Reviews, and those that are asked for.
/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoListPullReviews>
fn reviews(site: &Site, number: u64, page: usize) -> Ask {
    let path = format!("{}/pulls/{number}/reviews?limit={PAGE_SIZE}&page={page}", site.path());
    Ask::get("see who was asked for a review", path)
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoCreatePullReviewRequests>
fn ask_reviews(site: &Site, number: u64, reviewers: &[String], teams: &[String]) -> Ask {
    Ask::post(
        "ask for reviews of a pull request",
        format!("{}/pulls/{number}/requested_reviewers", site.path()),
        json!({"reviewers": reviewers, "team_reviewers": teams}),
    )
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoGet>
fn settings(site: &Site) -> Ask {
    Ask::get("see how pull requests are merged", site.path()).kept_as::<Settings>()
}

/// A merge that is scheduled is not tied to the head commit.
/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoMergePullRequest>
fn merge(site: &Site, pull: &PullRequest, how: Merge, style: &str) -> Ask {
    let mut body = json!({"Do": style, "merge_when_checks_succeed": how == Merge::Auto});
    if let Some(head) = pull.head_commit {
        body["head_commit_id"] = head.to_string().into();
    }
    Ask::post("merge a pull request", format!("{}/pulls/{}/merge", site.path(), pull.number), body)
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
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    labels: Option<Vec<Label>>,
    #[serde(default)]
    requested_reviewers: Option<Vec<User>>,
    #[serde(default)]
    requested_reviewers_teams: Option<Vec<Team>>,
    #[serde(default)]
    assignees: Option<Vec<User>>,
    #[serde(default)]
    milestone: Option<Milestone>,
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
struct Label {
    name: String,
}

#[derive(Deserialize)]
struct User {
    login: String,
}

#[derive(Deserialize)]
struct Team {
    name: String,
}

#[derive(Deserialize)]
struct Milestone {
    id: i64,
    title: String,
}

#[derive(Deserialize)]
struct Review {
    user: Option<User>,
    team: Option<Team>,
}

#[derive(Deserialize, Serialize)]
struct Settings {
    default_merge_style: String,
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
            title: if pull.draft { unmarked(&pull.title).to_owned() } else { pull.title },
            body: pull.body.unwrap_or_default(),
            head_commit: pull.head.sha.and_then(|sha| sha.parse().ok()),
            merged_commit: merged.and_then(|sha| sha.parse().ok()),
            attributes: Attributes {
                labels: pull.labels.into_iter().flatten().map(|label| label.name).collect(),
                reviewers: pull.requested_reviewers.into_iter().flatten().map(|user| user.login).collect(),
                team_reviewers: pull.requested_reviewers_teams.into_iter().flatten().map(|team| team.name).collect(),
                assignees: pull.assignees.into_iter().flatten().map(|user| user.login).collect(),
                milestone: pull.milestone.map(|milestone| milestone.title),
                draft: pull.draft,
            },
        }
    }
}

/// The title, with the mark of a draft if it is one.
fn marked(title: &str, draft: bool) -> String {
    if draft { format!("{} {title}", DRAFT_MARK) } else { title.to_owned() }
}

fn unmarked(title: &str) -> &str {
    DRAFT.into_iter().find_map(|mark| title.strip_prefix(mark)).unwrap_or(title).trim_start()
}

/// Who was asked for a review, or gave one.
fn asked(reviews: Vec<Review>) -> Attributes {
    let mut asked = Attributes::default();
    for review in reviews {
        asked.reviewers.extend(review.user.map(|user| user.login));
        asked.team_reviewers.extend(review.team.map(|team| team.name));
    }
    asked
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

/// 200 is merged and 201 scheduled; 405 and 409 say why it is neither, the latter also that it is scheduled already.
fn parse_merged(answer: Answer) -> Result<Merged, Error> {
    let message = answer.message();
    match answer.status {
        StatusCode::CREATED => Ok(Merged::Scheduled),
        StatusCode::CONFLICT if message.contains("already scheduled") => Ok(Merged::Scheduled),
        StatusCode::METHOD_NOT_ALLOWED if message.contains("already merged") => Ok(Merged::Done),
        StatusCode::METHOD_NOT_ALLOWED if message.contains("not allowed") => Err(answer.refused(Retry::Never)),
        StatusCode::METHOD_NOT_ALLOWED if message == "Please try again later" => Ok(Merged::NotYet(
            "Gitea is still checking the pull request, or it conflicts with its base branch".to_owned(),
        )),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::CONFLICT => Ok(Merged::NotYet(message)),
        _ => answer.success().map(|_| Merged::Done),
    }
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
