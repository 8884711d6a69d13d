//! Answers of Azure DevOps' API. Pure.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::host::rest::Page;
use crate::host::wire::Answer;
use crate::host::{Merged, PullRequest, PullRequestState};
use crate::names::BranchName;
use crate::request::Attributes;

use super::PAGE_SIZE;

#[derive(Deserialize)]
pub(super) struct Many<T> {
    pub(super) value: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pull {
    pub(super) pull_request_id: u64,
    pub(super) status: String,
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) source_ref_name: String,
    pub(super) target_ref_name: String,
    #[serde(default)]
    pub(super) is_draft: bool,
    pub(super) last_merge_source_commit: Option<Commit>,
    pub(super) last_merge_commit: Option<Commit>,
    pub(super) fork_source: Option<Value>,
    #[serde(default)]
    pub(super) labels: Vec<Named>,
    #[serde(default)]
    pub(super) reviewers: Vec<Identity>,
    pub(super) auto_complete_set_by: Option<Identity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Commit {
    pub(super) commit_id: String,
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Identity {
    pub(super) id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Connection {
    pub(super) authenticated_user: Identity,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ref {
    pub(super) name: String,
    pub(super) object_id: String,
}

#[derive(Deserialize)]
pub(super) struct Thread {
    #[serde(default)]
    pub(super) comments: Vec<Comment>,
}

#[derive(Deserialize)]
pub(super) struct Comment {
    pub(super) content: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Updated {
    pub(super) success: bool,
    #[serde(default)]
    pub(super) update_status: String,
    pub(super) custom_message: Option<String>,
}

impl Pull {
    /// Whether head and base are in one repository: a fork's branch may have any name.
    pub(super) fn is_of_one_repository(&self) -> bool {
        self.fork_source.as_ref().is_none_or(Value::is_null)
    }

    pub(super) fn head(&self) -> Option<&str> {
        self.last_merge_source_commit.as_ref().map(|commit| commit.commit_id.as_str())
    }

    pub(super) fn shown(self, url: String) -> PullRequest {
        let state = match self.status.as_str() {
            "completed" => PullRequestState::Merged,
            "abandoned" => PullRequestState::Closed,
            _ => PullRequestState::Open,
        };
        let branch = |name: &str| name.strip_prefix("refs/heads/").unwrap_or(name).to_owned();
        let merged = self.last_merge_commit.as_ref().filter(|_| state == PullRequestState::Merged);
        let reviewers: Vec<String> = self.reviewers.iter().map(|reviewer| reviewer.id.clone()).collect();
        PullRequest {
            number: self.pull_request_id,
            url,
            state,
            head: branch(&self.source_ref_name),
            base: branch(&self.target_ref_name),
            head_commit: self.head().and_then(|sha| sha.parse().ok()),
            merged_commit: merged.and_then(|commit| commit.commit_id.parse().ok()),
            title: self.title,
            body: self.description.unwrap_or_default(),
            attributes: Attributes {
                labels: self.labels.into_iter().map(|label| label.name).collect(),
                // People and teams are not told apart.
                team_reviewers: reviewers.clone(),
                reviewers,
                draft: self.is_draft,
                ..Attributes::default()
            },
        }
    }
}

pub(super) fn list(answer: &Answer, skip: u64, shown: impl Fn(Pull) -> PullRequest) -> Result<Page, Error> {
    let pulls = answer.json::<Many<Pull>>()?.value;
    let next = (pulls.len() >= PAGE_SIZE).then(|| skip.saturating_add(u64::try_from(pulls.len()).unwrap_or(u64::MAX)));
    Ok(Page { pulls: pulls.into_iter().filter(Pull::is_of_one_repository).map(shown).collect(), next })
}

pub(super) fn comments(answer: &Answer) -> Result<Vec<String>, Error> {
    let threads = answer.json::<Many<Thread>>()?.value;
    Ok(threads.into_iter().flat_map(|thread| thread.comments).filter_map(|comment| comment.content).collect())
}

pub(super) fn branch(answer: Answer, branch: &BranchName) -> Result<Option<String>, Error> {
    let refs = answer.success()?.json::<Many<Ref>>()?.value;
    Ok(refs.into_iter().find(|found| found.name == branch.full_name()).map(|found| found.object_id))
}

/// A second pull request is 409 with `TF401179`.
pub(super) fn created(answer: Answer) -> Result<Option<Pull>, Error> {
    if answer.status == StatusCode::CONFLICT && answer.message().contains("TF401179") {
        return Ok(None);
    }
    answer.success()?.json::<Pull>().map(Some)
}

/// What policies or conflicts do not let through is 409, or 403 with the policy's name; completing takes a moment.
pub(super) fn merged(answer: Answer) -> Result<Merged, Error> {
    let by_policy = answer.status == StatusCode::FORBIDDEN && answer.message().contains("TF402455");
    if answer.status == StatusCode::CONFLICT || by_policy {
        return Ok(Merged::NotYet(answer.message()));
    }
    match answer.success()?.json::<Pull>()?.status.as_str() {
        "completed" => Ok(Merged::Done),
        _ => Ok(Merged::Scheduled),
    }
}

/// What is refused is told in an answer that succeeds.
pub(super) fn deleted(answer: Answer) -> Result<bool, Error> {
    let answer = answer.success()?;
    let updated = answer.json::<Many<Updated>>()?.value;
    match updated.into_iter().find(|updated| !updated.success) {
        None => Ok(true),
        Some(Updated { update_status, custom_message, .. }) => {
            Err(answer.denied(format!("{update_status} {}", custom_message.unwrap_or_default()).trim()))
        }
    }
}
