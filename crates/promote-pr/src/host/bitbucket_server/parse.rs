//! Answers of Bitbucket Server's API. Pure.

use http::StatusCode;
use serde::Deserialize;

use crate::error::Error;
use crate::host::rest::Page;
use crate::host::wire::Answer;
use crate::host::{Created, Merged, PullRequest, PullRequestState};
use crate::names::BranchName;
use crate::request::Attributes;

#[derive(Deserialize)]
pub(super) struct Paged<T> {
    pub(super) values: Vec<T>,
    #[serde(rename = "isLastPage", default)]
    pub(super) is_last: bool,
    #[serde(rename = "nextPageStart")]
    pub(super) next: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) version: u64,
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) state: String,
    #[serde(default)]
    pub(super) draft: bool,
    pub(super) from_ref: Ref,
    pub(super) to_ref: Ref,
    #[serde(default)]
    pub(super) reviewers: Vec<Reviewer>,
    pub(super) links: Links,
    pub(super) properties: Option<Properties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ref {
    pub(super) id: String,
    pub(super) latest_commit: Option<String>,
    pub(super) repository: Repository,
}

#[derive(Deserialize)]
pub(super) struct Repository {
    pub(super) id: u64,
}

#[derive(Deserialize)]
pub(super) struct Reviewer {
    pub(super) user: User,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Links {
    #[serde(rename = "self")]
    pub(super) this: Vec<Link>,
}

#[derive(Deserialize)]
pub(super) struct Link {
    pub(super) href: String,
}

/// Of a pull request, or of the installation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Properties {
    pub(super) merge_commit: Option<Commit>,
    pub(super) version: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Commit {
    pub(super) id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Branch {
    pub(super) id: String,
}

#[derive(Deserialize)]
pub(super) struct Activity {
    pub(super) comment: Option<Comment>,
}

#[derive(Deserialize)]
pub(super) struct Comment {
    pub(super) text: Option<String>,
}

impl Pull {
    /// Whether head and base are in one repository: a fork's branch may have any name.
    pub(super) fn is_of_one_repository(&self) -> bool {
        self.from_ref.repository.id == self.to_ref.repository.id
    }

    pub(super) fn reviewers(&self) -> Vec<&str> {
        self.reviewers.iter().map(|reviewer| reviewer.user.name.as_str()).collect()
    }
}

impl From<Pull> for PullRequest {
    fn from(pull: Pull) -> Self {
        let state = match pull.state.as_str() {
            "MERGED" => PullRequestState::Merged,
            "DECLINED" => PullRequestState::Closed,
            _ => PullRequestState::Open,
        };
        let merged = pull.properties.and_then(|properties| properties.merge_commit).map(|commit| commit.id);
        let branch = |id: &str| id.strip_prefix("refs/heads/").unwrap_or(id).to_owned();
        Self {
            number: pull.id,
            url: pull.links.this.into_iter().next().map(|link| link.href).unwrap_or_default(),
            state,
            head: branch(&pull.from_ref.id),
            base: branch(&pull.to_ref.id),
            title: pull.title,
            body: pull.description.unwrap_or_default(),
            head_commit: pull.from_ref.latest_commit.and_then(|sha| sha.parse().ok()),
            merged_commit: merged.filter(|_| state == PullRequestState::Merged).and_then(|sha| sha.parse().ok()),
            attributes: Attributes {
                reviewers: pull.reviewers.into_iter().map(|reviewer| reviewer.user.name).collect(),
                draft: pull.draft,
                ..Attributes::default()
            },
        }
    }
}

pub(super) fn list(answer: &Answer, _start: u64) -> Result<Page, Error> {
    let Paged { values, is_last, next } = answer.json::<Paged<Pull>>()?;
    let pulls = values.into_iter().filter(Pull::is_of_one_repository).map(PullRequest::from).collect();
    Ok(Page { pulls, next: next.filter(|_| !is_last) })
}

pub(super) fn comments(answer: &Answer) -> Result<Vec<String>, Error> {
    let activities = answer.json::<Paged<Activity>>()?.values;
    Ok(activities.into_iter().filter_map(|activity| activity.comment?.text).collect())
}

pub(super) fn branch(answer: Answer, branch: &BranchName) -> Result<bool, Error> {
    let branches = answer.success()?.json::<Paged<Branch>>()?.values;
    Ok(branches.iter().any(|found| found.id == branch.full_name()))
}

/// A second pull request is 409, as is one that would change nothing.
pub(super) fn created(answer: Answer) -> Result<Created, Error> {
    if answer.status == StatusCode::CONFLICT && is_of(&answer, "DuplicatePullRequestException") {
        return Ok(Created::Exists);
    }
    answer.success()?.json::<Pull>().map(|pull| Created::Done(pull.into()))
}

/// What cannot be merged yet is 409: conflicts, and vetoes of merge checks.
pub(super) fn merged(answer: Answer) -> Result<Merged, Error> {
    if answer.status == StatusCode::CONFLICT {
        return Ok(Merged::NotYet(reason(&answer)));
    }
    match answer.success()?.json::<Pull>()?.state.as_str() {
        "MERGED" => Ok(Merged::Done),
        _ => Ok(Merged::Scheduled),
    }
}

pub(super) fn reason(answer: &Answer) -> String {
    let vetoes = errors(answer).into_iter().flat_map(|error| error.vetoes).filter_map(|veto| veto.summary_message);
    match vetoes.collect::<Vec<_>>().join("; ") {
        vetoes if vetoes.is_empty() => answer.message(),
        vetoes => vetoes,
    }
}

/// Whether somebody else changed the pull request since its version was read.
pub(super) fn is_out_of_date(answer: &Answer) -> bool {
    answer.status == StatusCode::CONFLICT && is_of(answer, "PullRequestOutOfDateException")
}

/// Whether an answer's [errors](https://developer.atlassian.com/server/bitbucket/rest/v906/intro/#errors--validation)
/// are of a kind.
pub(super) fn is_of(answer: &Answer, kind: &str) -> bool {
    errors(answer).iter().any(|error| error.exception.as_ref().is_some_and(|name| name.ends_with(kind)))
}

#[derive(Deserialize)]
pub(super) struct Errors {
    pub(super) errors: Vec<Problem>,
}

#[derive(Deserialize)]
pub(super) struct Problem {
    #[serde(rename = "exceptionName")]
    pub(super) exception: Option<String>,
    #[serde(default)]
    pub(super) vetoes: Vec<Veto>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Veto {
    pub(super) summary_message: Option<String>,
}

pub(super) fn errors(answer: &Answer) -> Vec<Problem> {
    answer.json::<Errors>().map(|errors| errors.errors).unwrap_or_default()
}

/// Major and minor of `8.19.1`.
pub(super) fn version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    Some((parts.next()??, parts.next()??))
}
