//! Answers of GitLab's API. Pure.

use http::StatusCode;
use serde::Deserialize;

use crate::error::Error;
use crate::host::rest::Page;
use crate::host::wire::Answer;
use crate::host::{Created, Merged, PullRequest, PullRequestState};
use crate::request::Attributes;

use super::DRAFT;

#[derive(Deserialize)]
pub(super) struct Pull {
    pub(super) iid: u64,
    pub(super) web_url: String,
    pub(super) state: String,
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) source_branch: String,
    pub(super) target_branch: String,
    pub(super) source_project_id: Option<u64>,
    pub(super) target_project_id: u64,
    pub(super) sha: Option<String>,
    pub(super) merge_commit_sha: Option<String>,
    pub(super) squash_commit_sha: Option<String>,
    #[serde(default)]
    pub(super) draft: bool,
    #[serde(default)]
    pub(super) labels: Vec<String>,
    #[serde(default)]
    pub(super) reviewers: Vec<User>,
    #[serde(default)]
    pub(super) assignees: Vec<User>,
    pub(super) milestone: Option<Milestone>,
    pub(super) merge_when_pipeline_succeeds: Option<bool>,
    pub(super) detailed_merge_status: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) username: String,
}

#[derive(Deserialize)]
pub(super) struct Milestone {
    pub(super) id: u64,
    pub(super) title: String,
}

#[derive(Deserialize)]
pub(super) struct Comment {
    pub(super) body: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Settings {
    pub(super) merge_trains_enabled: Option<bool>,
}

impl Pull {
    /// Whether head and base are in one project: a fork's branch may have any name.
    pub(super) fn is_of_one_repository(&self) -> bool {
        self.source_project_id == Some(self.target_project_id)
    }
}

impl From<Pull> for PullRequest {
    fn from(pull: Pull) -> Self {
        let state = match pull.state.as_str() {
            "merged" => PullRequestState::Merged,
            "closed" => PullRequestState::Closed,
            // GitLab locks a merge request for the moment in which it merges it.
            _ => PullRequestState::Open,
        };
        // Without a merge commit, the base was moved to the head.
        let merged = pull.merge_commit_sha.or(pull.squash_commit_sha).or_else(|| pull.sha.clone());
        let title = pull.title.strip_prefix(DRAFT).filter(|_| pull.draft).unwrap_or(&pull.title).to_owned();
        Self {
            number: pull.iid,
            url: pull.web_url,
            state,
            head: pull.source_branch,
            base: pull.target_branch,
            title,
            body: pull.description.unwrap_or_default(),
            head_commit: pull.sha.and_then(|sha| sha.parse().ok()),
            merged_commit: merged.filter(|_| state == PullRequestState::Merged).and_then(|sha| sha.parse().ok()),
            attributes: Attributes {
                labels: pull.labels,
                reviewers: pull.reviewers.into_iter().map(|user| user.username).collect(),
                team_reviewers: Vec::new(),
                assignees: pull.assignees.into_iter().map(|user| user.username).collect(),
                milestone: pull.milestone.map(|milestone| milestone.title),
                draft: pull.draft,
            },
        }
    }
}

pub(super) fn list(answer: &Answer, page: u64) -> Result<Page, Error> {
    let pulls = answer.json::<Vec<Pull>>()?;
    let pulls = pulls.into_iter().filter(Pull::is_of_one_repository).map(PullRequest::from).collect();
    Ok(Page { pulls, next: answer.has_next().then_some(page + 1) })
}

pub(super) fn comments(answer: &Answer) -> Result<Vec<String>, Error> {
    Ok(answer.json::<Vec<Comment>>()?.into_iter().filter_map(|comment| comment.body).collect())
}

pub(super) fn branch(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    answer.success().map(|_| true)
}

/// A second merge request is 409.
pub(super) fn created(answer: Answer) -> Result<Created, Error> {
    if answer.status == StatusCode::CONFLICT {
        return Ok(Created::Exists);
    }
    answer.success()?.json::<Pull>().map(|pull| Created::Done(pull.into()))
}

pub(super) fn user(answer: Answer, what: &'static str, name: &str) -> Result<u64, Error> {
    let answer = answer.success()?;
    let users = answer.json::<Vec<User>>()?;
    let user = users.iter().find(|user| user.username.eq_ignore_ascii_case(name)).map(|user| user.id);
    user.ok_or_else(|| answer.unknown(what, name))
}

pub(super) fn milestone(answer: Answer, title: &str) -> Result<u64, Error> {
    let answer = answer.success()?;
    let milestones = answer.json::<Vec<Milestone>>()?;
    let milestone = milestones.iter().find(|milestone| milestone.title == title).map(|milestone| milestone.id);
    milestone.ok_or_else(|| answer.unknown("milestone", title))
}

pub(super) fn on_train(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    answer.success().map(|_| true)
}

pub(super) fn boarded(answer: Answer, status: &str) -> Result<Merged, Error> {
    match answer.status {
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Ok(Merged::NotYet(reason(&answer, status))),
        _ => answer.success().map(|_| Merged::Scheduled),
    }
}

/// What cannot be merged yet is [405, 409 or 422](https://docs.gitlab.com/api/merge_requests/#merge-a-merge-request),
/// and was 406 before.
pub(super) fn merged(answer: Answer, status: &str) -> Result<Merged, Error> {
    match answer.status {
        StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::CONFLICT
        | StatusCode::UNPROCESSABLE_ENTITY => return Ok(Merged::NotYet(reason(&answer, status))),
        _ => {}
    }
    match answer.success()?.json::<Pull>()?.state.as_str() {
        "merged" => Ok(Merged::Done),
        _ => Ok(Merged::Scheduled),
    }
}

/// [Why it cannot be merged](https://docs.gitlab.com/api/merge_requests/#merge-status), which the answer does not say.
pub(super) fn reason(answer: &Answer, status: &str) -> String {
    let known = status.chars().all(|c| c.is_ascii_lowercase() || c == '_') && status.len() < 64;
    match status {
        "" | "mergeable" => answer.message(),
        status if known => status.replace('_', " "),
        _ => answer.message(),
    }
}

/// A branch that is not there is 404.
pub(super) fn deleted(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    answer.success().map(|_| true)
}
