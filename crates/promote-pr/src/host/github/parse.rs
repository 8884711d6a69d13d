//! What GitHub answers.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::wire::{Answer, Site};
use crate::host::{Created, Provider, PullRequest, PullRequestState};
use crate::request::Attributes;

#[derive(Deserialize, Serialize)]
pub(super) struct Pull {
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
pub(super) struct Branch {
    #[serde(rename = "ref")]
    name: String,
    sha: Option<String>,
    repo: Option<Repository>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Repository {
    full_name: String,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Label {
    name: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Login {
    login: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Team {
    slug: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Milestone {
    pub(super) number: Option<u64>,
    pub(super) title: String,
}

#[derive(Deserialize)]
pub(super) struct Comment {
    body: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Assigned {
    pub(super) assignees: Option<Vec<Login>>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Event {
    event: Option<String>,
    requested_reviewer: Option<Login>,
    requested_team: Option<Team>,
}

impl Event {
    /// Who was asked for a review.
    pub(super) fn asked(self) -> Attributes {
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

pub(super) fn logins(logins: Option<Vec<Login>>) -> Vec<String> {
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
            (None, "closed") => PullRequestState::Closed,
            (None, _) => PullRequestState::Open,
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

pub(super) fn list(answer: &Answer) -> Result<Vec<PullRequest>, Error> {
    let pulls = answer.json::<Vec<Pull>>()?;
    Ok(pulls.into_iter().filter(Pull::is_of_one_repository).map(PullRequest::from).collect())
}

pub(super) fn events(answer: &Answer) -> Result<Vec<Event>, Error> {
    answer.json()
}

pub(super) fn comments(answer: &Answer) -> Result<Vec<String>, Error> {
    Ok(answer.json::<Vec<Comment>>()?.into_iter().filter_map(|comment| comment.body).collect())
}

/// A refused pull request is [422 with a list of errors](https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed);
/// right after a push GitHub may know neither the head branch nor its commits.
pub(super) fn created(site: &Site, answer: Answer) -> Result<Created, Error> {
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
pub(super) fn deleted(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.message().contains("Reference does not exist") {
        return Ok(false);
    }
    answer.success().map(|_| true)
}
