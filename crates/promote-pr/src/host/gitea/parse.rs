//! What Gitea answers.

use egress::Retry;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::wire::Answer;
use crate::host::{Created, Merged, PullRequest, PullRequestState};
use crate::request::Attributes;

use super::DRAFT;

#[derive(Deserialize)]
pub(super) struct Pull {
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
pub(super) struct Branch {
    /// Unlike `ref`, it stays when the branch is deleted.
    #[serde(rename = "label")]
    name: String,
    sha: Option<String>,
    repo_id: i64,
}

#[derive(Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct User {
    login: String,
}

#[derive(Deserialize)]
pub(super) struct Team {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Milestone {
    pub(super) id: i64,
    pub(super) title: String,
}

#[derive(Deserialize)]
pub(super) struct Review {
    user: Option<User>,
    team: Option<Team>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Settings {
    pub(super) default_merge_style: String,
}

#[derive(Deserialize)]
pub(super) struct Comment {
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
            (_, "closed") => PullRequestState::Closed,
            (_, _) => PullRequestState::Open,
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

pub(super) fn unmarked(title: &str) -> &str {
    DRAFT.into_iter().find_map(|mark| title.strip_prefix(mark)).unwrap_or(title).trim_start()
}

/// Who was asked for a review, or gave one.
pub(super) fn asked(reviews: Vec<Review>) -> Attributes {
    let mut asked = Attributes::default();
    for review in reviews {
        asked.reviewers.extend(review.user.map(|user| user.login));
        asked.team_reviewers.extend(review.team.map(|team| team.name));
    }
    asked
}

/// None there is 404, as is a repository that the token does not open; reading its list tells the two apart.
pub(super) fn found(answer: Answer) -> Result<Option<PullRequest>, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let pull = answer.success()?.json::<Pull>()?;
    Ok(Some(pull).filter(Pull::is_of_one_repository).map(PullRequest::from))
}

pub(super) fn list(answer: &Answer) -> Result<Vec<PullRequest>, Error> {
    let pulls = answer.json::<Vec<Pull>>()?;
    Ok(pulls.into_iter().filter(Pull::is_of_one_repository).map(PullRequest::from).collect())
}

pub(super) fn comments(answer: &Answer) -> Result<Vec<String>, Error> {
    Ok(answer.json::<Vec<Comment>>()?.into_iter().filter_map(|comment| comment.body).collect())
}

/// Gitea takes note of a push asynchronously: for seconds afterwards its branch is 404.
pub(super) fn branch(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    answer.success().map(|_| true)
}

/// A second pull request is 409.
pub(super) fn created(answer: Answer) -> Result<Created, Error> {
    if answer.status == StatusCode::CONFLICT {
        return Ok(Created::Exists);
    }
    answer.success()?.json::<Pull>().map(|pull| Created::Done(pull.into()))
}

/// 200 is merged and 201 scheduled; 405 and 409 say why it is neither, the latter also that it is scheduled already.
pub(super) fn merged(answer: Answer) -> Result<Merged, Error> {
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

/// A pull request whose branch was deleted is closed by Gitea a moment later; whoever comes second is told so
/// [as a failure](https://github.com/go-gitea/gitea/blob/v1.24.0/models/issues/issue_update.go).
pub(super) fn closed(answer: Answer) -> Result<(), Error> {
    if answer.status == StatusCode::INTERNAL_SERVER_ERROR && answer.message() == "the issue is already changed" {
        return Ok(());
    }
    answer.success().map(drop)
}

/// A branch that is not there is 404.
pub(super) fn deleted(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    answer.success().map(|_| true)
}
