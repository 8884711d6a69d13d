//! Requests to Azure DevOps' API. Pure.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::Error;
use crate::host::wire::{self, Ask, Site};
use crate::host::{NewPullRequest, PullRequest};
use crate::names::BranchName;

use super::{PAGE_SIZE, VERSION};

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/get-pull-requests>
pub(super) fn find(site: &Site, head: &BranchName, base: &BranchName, skip: u64) -> Ask {
    let [head, base] = [head, base].map(|branch| wire::escape_segment(&branch.full_name()));
    let query =
        format!("searchCriteria.sourceRefName={head}&searchCriteria.targetRefName={base}&searchCriteria.status=all");
    Ask::get(
        "look for the promotion's pull request",
        format!("{}/pullrequests?{query}&$top={PAGE_SIZE}&$skip={skip}&{VERSION}", site.path()),
    )
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/get-pull-requests>
pub(super) fn list_open(site: &Site, skip: u64) -> Ask {
    let query = "searchCriteria.status=active";
    Ask::get(
        "list the open pull requests",
        format!("{}/pullrequests?{query}&$top={PAGE_SIZE}&$skip={skip}&{VERSION}", site.path()),
    )
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/get-pull-request>
pub(super) fn read(site: &Site, number: u64) -> Ask {
    Ask::get("read a pull request", format!("{}/pullrequests/{number}?{VERSION}", site.path()))
}

/// Branches whose names begin with this one.
/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/refs/list>
pub(super) fn branch(site: &Site, branch: &BranchName) -> Ask {
    let filter = wire::escape_segment(&format!("heads/{branch}"));
    Ask::get("look for the pushed branch", format!("{}/refs?filter={filter}&{VERSION}", site.path()))
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/create>
pub(super) fn create(site: &Site, new: &NewPullRequest) -> Ask {
    let body = json!({
        "sourceRefName": new.head.full_name(),
        "targetRefName": new.base.full_name(),
        "title": new.title,
        "description": new.body,
        "isDraft": new.draft,
    });
    Ask::post("create a pull request", format!("{}/pullrequests?{VERSION}", site.path()), body)
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/update>
pub(super) fn change(site: &Site, action: &'static str, number: u64, body: Value) -> Ask {
    Ask::patch(action, format!("{}/pullrequests/{number}?{VERSION}", site.path()), body)
}

pub(super) fn update(site: &Site, number: u64, title: &str, body: &str) -> Ask {
    change(site, "update a pull request", number, json!({"title": title, "description": body}))
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-request-labels/create>
pub(super) fn add_label(site: &Site, number: u64, label: &str) -> Ask {
    Ask::post(
        "label a pull request",
        format!("{}/pullRequests/{number}/labels?{VERSION}", site.path()),
        json!({"name": label}),
    )
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-request-reviewers/create-pull-request-reviewer>
pub(super) fn add_reviewer(site: &Site, number: u64, id: &str) -> Result<Ask, Error> {
    const ACTION: &str = "ask for a review of a pull request";
    let id = id.parse::<Uuid>().map_err(|_error| site.not_sent(ACTION, NotAnId { name: id.to_owned() }))?;
    let path = format!("{}/pullRequests/{number}/reviewers/{id}?{VERSION}", site.path());
    Ok(Ask::put(ACTION, path, json!({"vote": 0})))
}

/// A reviewer by name.
#[derive(Debug, thiserror::Error)]
#[error("reviewer `{name}` is no id: Azure DevOps knows people and groups by UUIDs")]
pub(super) struct NotAnId {
    pub(super) name: String,
}

/// Who asks. <https://learn.microsoft.com/en-us/javascript/api/azure-devops-extension-api/connectiondata>
pub(super) fn connection() -> Ask {
    Ask::get("ask who owns the token", "/_apis/connectionData?api-version=7.0-preview".to_owned())
}

/// <https://learn.microsoft.com/en-us/azure/devops/repos/git/complete-pull-requests#complete-automatically>
pub(super) fn complete_later(site: &Site, number: u64, me: &str) -> Ask {
    change(site, "merge a pull request", number, json!({"autoCompleteSetBy": {"id": me}}))
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/update>, which needs the head that is to be
/// merged.
pub(super) fn complete(site: &Site, pull: &PullRequest) -> Ask {
    let head = pull.head_commit.map(|id| id.to_string());
    let body = json!({"status": "completed", "lastMergeSourceCommit": {"commitId": head}});
    change(site, "merge a pull request", pull.number, body)
}

pub(super) fn close(site: &Site, number: u64) -> Ask {
    change(site, "close a pull request", number, json!({"status": "abandoned"}))
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-request-threads/list>
pub(super) fn comments(site: &Site, number: u64) -> Ask {
    Ask::get("read the comments of a pull request", format!("{}/pullRequests/{number}/threads?{VERSION}", site.path()))
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-request-threads/create>; the thread is closed, so
/// that a policy that wants comments resolved does not wait for it.
pub(super) fn comment(site: &Site, number: u64, body: &str) -> Ask {
    let comment = json!({"parentCommentId": 0, "content": body, "commentType": "text"});
    Ask::post(
        "comment on a pull request",
        format!("{}/pullRequests/{number}/threads?{VERSION}", site.path()),
        json!({"comments": [comment], "status": "closed"}),
    )
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/refs/update-refs>: to zero is to delete.
pub(super) fn delete_branch(site: &Site, branch: &BranchName, tip: &str) -> Ask {
    const ZERO: &str = "0000000000000000000000000000000000000000";
    let update = json!({"name": branch.full_name(), "oldObjectId": tip, "newObjectId": ZERO});
    Ask::post("delete a branch", format!("{}/refs?{VERSION}", site.path()), json!([update]))
}
