//! Answers of Bitbucket Cloud's API. Pure.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Error;
use crate::host::rest::Page;
use crate::host::wire::Answer;
use crate::host::{Merged, PullRequest, PullRequestState};
use crate::names::CommitId;
use crate::request::Attributes;

#[derive(Deserialize)]
pub(super) struct Paged<T> {
    pub(super) values: Vec<T>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) state: String,
    #[serde(default)]
    pub(super) draft: bool,
    pub(super) source: Side,
    pub(super) destination: Side,
    pub(super) merge_commit: Option<Commit>,
    #[serde(default)]
    pub(super) reviewers: Vec<Account>,
    pub(super) links: Links,
}

#[derive(Deserialize)]
pub(super) struct Side {
    pub(super) branch: Branch,
    pub(super) commit: Option<Commit>,
    pub(super) repository: Option<Repository>,
}

#[derive(Deserialize)]
pub(super) struct Branch {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Commit {
    pub(super) hash: String,
}

#[derive(Deserialize)]
pub(super) struct Repository {
    pub(super) full_name: String,
}

#[derive(Deserialize)]
pub(super) struct Account {
    pub(super) uuid: String,
    pub(super) account_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Links {
    pub(super) html: Link,
}

#[derive(Deserialize)]
pub(super) struct Link {
    pub(super) href: String,
}

#[derive(Deserialize)]
pub(super) struct Comment {
    pub(super) content: Option<Content>,
}

#[derive(Deserialize)]
pub(super) struct Content {
    pub(super) raw: Option<String>,
}

impl Pull {
    /// Whether head and base are in one repository: a fork's branch may have any name.
    pub(super) fn is_of_one_repository(&self) -> bool {
        let name = |side: &Side| side.repository.as_ref().map(|repository| repository.full_name.to_ascii_lowercase());
        name(&self.source).is_some_and(|source| name(&self.destination) == Some(source))
    }

    pub(super) fn reviewers(&self) -> Vec<Value> {
        self.reviewers.iter().map(|reviewer| json!({"uuid": reviewer.uuid})).collect()
    }
}

impl From<Pull> for PullRequest {
    fn from(pull: Pull) -> Self {
        let state = match pull.state.as_str() {
            "MERGED" => PullRequestState::Merged,
            "DECLINED" | "SUPERSEDED" => PullRequestState::Closed,
            _ => PullRequestState::Open,
        };
        let id = |commit: Option<Commit>| commit.and_then(|commit| commit.hash.parse().ok());
        Self {
            number: pull.id,
            url: pull.links.html.href,
            state,
            head: pull.source.branch.name,
            base: pull.destination.branch.name,
            title: pull.title,
            body: pull.description.unwrap_or_default(),
            head_commit: id(pull.source.commit),
            merged_commit: id(pull.merge_commit).filter(|_| state == PullRequestState::Merged),
            attributes: Attributes {
                // Each by both names, so that either is recognised.
                reviewers: pull
                    .reviewers
                    .into_iter()
                    .flat_map(|reviewer| [Some(reviewer.uuid), reviewer.account_id])
                    .flatten()
                    .collect(),
                draft: pull.draft,
                ..Attributes::default()
            },
        }
    }
}

pub(super) fn list(answer: &Answer, page: u64) -> Result<Page, Error> {
    let Paged { values, next } = answer.json::<Paged<Pull>>()?;
    let pulls = values.into_iter().filter(Pull::is_of_one_repository).map(PullRequest::from).collect();
    Ok(Page { pulls, next: next.map(|_| page + 1) })
}

pub(super) fn comments(answer: &Answer) -> Result<Vec<String>, Error> {
    let comments = answer.json::<Paged<Comment>>()?.values;
    Ok(comments.into_iter().filter_map(|comment| comment.content?.raw).collect())
}

/// A commit that is gone with its branch is 404.
pub(super) fn commit(answer: Answer) -> Result<Option<CommitId>, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    Ok(answer.success()?.json::<Commit>()?.hash.parse().ok())
}

pub(super) fn branch(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    answer.success().map(|_| true)
}

/// Bitbucket answers a second pull request with the first one, or refuses it.
pub(super) fn created(answer: Answer) -> Result<Option<Pull>, Error> {
    if answer.status == StatusCode::CONFLICT {
        return Ok(None);
    }
    answer.success()?.json::<Pull>().map(Some)
}

/// What cannot be merged yet is 400, when merge checks fail, or 409, when there are conflicts; a merge that takes its
/// time is 202.
pub(super) fn merged(answer: Answer) -> Result<Merged, Error> {
    match answer.status {
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Ok(Merged::NotYet(answer.message())),
        StatusCode::ACCEPTED => Ok(Merged::Scheduled),
        _ => answer.success().map(|_| Merged::Done),
    }
}

/// A branch that is not there is 404.
pub(super) fn deleted(answer: Answer) -> Result<bool, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    answer.success().map(|_| true)
}
