//! Merging on GitHub: [auto-merge](https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/automatically-merging-a-pull-request)
//! and [merge queues](https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/configuring-pull-request-merges/managing-a-merge-queue)
//! are in the GraphQL API only.

use std::time::Duration;

use egress::Retry;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::error::Error;
use crate::host::wire::{Answer, Ask, Site};
use crate::host::{Merge, Merged, PullRequest};

/// <https://docs.github.com/en/graphql/reference/objects#pullrequest>
pub(super) const VIEW: &str = "query($owner: String!, $name: String!, $number: Int!, $base: String!) {
  repository(owner: $owner, name: $name) {
    autoMergeAllowed
    viewerDefaultMergeMethod
    mergeQueue(branch: $base) { id }
    pullRequest(number: $number) {
      id
      state
      headRefOid
      mergeStateStatus
      reviewDecision
      isInMergeQueue
      autoMergeRequest { enabledAt }
    }
  }
}";

/// <https://docs.github.com/en/graphql/reference/mutations#enablepullrequestautomerge>
pub(super) const ENABLE: &str = "mutation($id: ID!, $head: GitObjectID!, $method: PullRequestMergeMethod!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $id, expectedHeadOid: $head, mergeMethod: $method}) {
    pullRequest { autoMergeRequest { enabledAt } }
  }
}";

/// <https://docs.github.com/en/graphql/reference/mutations#enqueuepullrequest>
pub(super) const ENQUEUE: &str = "mutation($id: ID!, $head: GitObjectID!) {
  enqueuePullRequest(input: {pullRequestId: $id, expectedHeadOid: $head}) {
    mergeQueueEntry { id }
  }
}";

/// What GitHub says about a pull request that is to be merged.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    auto_merge_allowed: Option<bool>,
    viewer_default_merge_method: Option<String>,
    merge_queue: Option<Node>,
    pull_request: Pull,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pull {
    id: String,
    state: String,
    head_ref_oid: String,
    merge_state_status: String,
    review_decision: Option<String>,
    is_in_merge_queue: Option<bool>,
    auto_merge_request: Option<Enabled>,
}

#[derive(Debug, Deserialize)]
struct Node {}

#[derive(Debug, Deserialize)]
struct Enabled {}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Known(Merged),
    Now,
    Schedule,
}

/// What came of asking for auto-merge.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scheduled {
    Done,
    /// The rules are met already, and GitHub does not schedule what it can do.
    MergeNow,
    NotYet(String),
}

pub(super) fn view(site: &Site, pull: &PullRequest) -> Ask {
    let variables = json!({"owner": site.owner(), "name": site.name(), "number": pull.number, "base": pull.base});
    Ask::post(
        "see whether a pull request can be merged",
        "/graphql".to_owned(),
        json!({"query": VIEW, "variables": variables}),
    )
}

/// Into the merge queue where there is one and the rules are met; else as soon as they are.
pub(super) fn schedule(pull: &PullRequest, view: &View) -> Ask {
    let id = &view.pull_request.id;
    let head = pull.head_commit.map(|id| id.to_string());
    let (query, variables) = if view.merge_queue.is_some() && view.rules_are_met() {
        (ENQUEUE, json!({"id": id, "head": head}))
    } else {
        (ENABLE, json!({"id": id, "head": head, "method": view.method()}))
    };
    let body = json!({"query": query, "variables": variables});
    Ask::post("let GitHub merge a pull request", "/graphql".to_owned(), body)
}

/// <https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request>
pub(super) fn now(site: &Site, pull: &PullRequest, view: &View) -> Ask {
    let method = view.method().to_ascii_lowercase();
    let body = json!({"sha": pull.head_commit.map(|id| id.to_string()), "merge_method": method});
    Ask::put("merge a pull request", format!("{}/pulls/{}/merge", site.path(), pull.number), body)
}

/// [`mergeStateStatus`](https://docs.github.com/en/graphql/reference/enums#mergestatestatus) decides what can be done.
pub(super) fn decide(pull: &PullRequest, how: Merge, view: &View) -> Step {
    let seen = &view.pull_request;
    let not_yet = |reason: &str| Step::Known(Merged::NotYet(reason.to_owned()));
    match seen.state.as_str() {
        "MERGED" => return Step::Known(Merged::Done),
        "OPEN" => {}
        _ => return not_yet("the pull request is closed"),
    }
    if pull.head_commit.map(|id| id.to_string()).as_ref() != Some(&seen.head_ref_oid) {
        return not_yet("the head branch has just moved");
    }
    let scheduled = seen.auto_merge_request.is_some() || seen.is_in_merge_queue == Some(true);
    match (how, seen.merge_state_status.as_str()) {
        (_, "DIRTY") => not_yet("the pull request conflicts with its base branch"),
        (Merge::Auto, _) if scheduled => Step::Known(Merged::Scheduled),
        (_, "DRAFT") => not_yet("the pull request is a draft"),
        (Merge::Auto, _) if view.merge_queue.is_some() => Step::Schedule,
        (Merge::Immediate, _) if view.merge_queue.is_some() => {
            not_yet("the base branch takes changes through its merge queue only: use the merge policy `auto`")
        }
        (_, _) if view.rules_are_met() => Step::Now,
        (Merge::Auto, _) if view.auto_merge_allowed != Some(false) => Step::Schedule,
        (_, status) => {
            let mut reason = match (status, seen.review_decision.as_deref()) {
                ("BEHIND", _) => "the head branch is behind its base branch, which has to be up to date".to_owned(),
                ("UNKNOWN", _) => "GitHub has not worked out yet whether it can be merged".to_owned(),
                (_, Some("REVIEW_REQUIRED")) => "the base branch's rules ask for a review".to_owned(),
                (_, Some("CHANGES_REQUESTED")) => "a reviewer asked for changes".to_owned(),
                _ => "the base branch's rules are not met".to_owned(),
            };
            if how == Merge::Auto {
                reason.push_str("; the repository's settings do not allow auto-merge");
            }
            Step::Known(Merged::NotYet(reason))
        }
    }
}

impl View {
    fn rules_are_met(&self) -> bool {
        matches!(self.pull_request.merge_state_status.as_str(), "CLEAN" | "HAS_HOOKS" | "UNSTABLE")
    }

    fn method(&self) -> &str {
        self.viewer_default_merge_method.as_deref().unwrap_or("MERGE")
    }
}

#[derive(Deserialize)]
struct Reply<T> {
    data: Option<T>,
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    repository: Option<View>,
}

/// Errors of GraphQL come [with status 200](https://docs.github.com/en/graphql/guides/using-graphql-clients).
pub(super) fn parse_view(answer: Answer) -> Result<View, Error> {
    let answer = answer.success()?;
    let reply = answer.json::<Reply<Data>>()?;
    match reply.data.and_then(|data| data.repository) {
        Some(view) => Ok(view),
        None => Err(answer.refused(retry(&reply.errors))),
    }
}

fn retry(errors: &[Problem]) -> Retry {
    match errors.first().and_then(|error| error.kind.as_deref()) {
        Some("RATE_LIMITED") => Retry::After(Duration::from_secs(60)),
        Some("NOT_FOUND" | "FORBIDDEN" | "INSUFFICIENT_SCOPES" | "UNPROCESSABLE") => Retry::Never,
        _ => Retry::Later,
    }
}

pub(super) fn parse_scheduled(answer: Answer) -> Result<Scheduled, Error> {
    let answer = answer.success()?;
    let reply = answer.json::<Reply<serde_json::Value>>()?;
    if reply.errors.is_empty() {
        return Ok(Scheduled::Done);
    }
    let message = answer.message();
    let said = message.to_ascii_lowercase();
    if ["clean status", "unstable status", "rules not configured"].iter().any(|known| said.contains(known)) {
        return Ok(Scheduled::MergeNow);
    }
    if said.contains("already") {
        return Ok(Scheduled::Done);
    }
    if said.contains("head sha") || said.contains("head oid") || said.contains("auto merge is not allowed") {
        return Ok(Scheduled::NotYet(message));
    }
    Err(answer.refused(retry(&reply.errors)))
}

/// [405 and 409](https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request--status-codes) say that it cannot be
/// merged as it is.
pub(super) fn parse_merged(answer: Answer) -> Result<Merged, Error> {
    if matches!(answer.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::CONFLICT) {
        return Ok(Merged::NotYet(answer.message()));
    }
    answer.success().map(|_| Merged::Done)
}

#[cfg(test)]
mod tests;
