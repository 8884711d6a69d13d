//! Requests to Bitbucket Server's API. Pure.

use serde_json::{Value, json};

use crate::host::wire::{self, Ask, Site};
use crate::host::{Merge, NewPullRequest};
use crate::names::BranchName;
use crate::request::Attributes;

use super::PAGE_SIZE;
use super::parse::Pull;

/// The API that knows pull requests.
pub(super) fn path(site: &Site) -> String {
    format!("/api/1.0{}", site.path())
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-get>:
/// `at` is the branch that they come from, when they go `OUTGOING`.
pub(super) fn find(site: &Site, head: &BranchName, start: u64) -> Ask {
    let at = wire::escape_segment(&head.full_name());
    let query = format!("state=ALL&direction=OUTGOING&at={at}&order=NEWEST");
    Ask::get(
        "look for the promotion's pull request",
        format!("{}/pull-requests?{query}&limit={PAGE_SIZE}&start={start}", path(site)),
    )
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-get>
pub(super) fn list_open(site: &Site, start: u64) -> Ask {
    let query = "state=OPEN&direction=OUTGOING&order=OLDEST";
    Ask::get(
        "list the open pull requests",
        format!("{}/pull-requests?{query}&limit={PAGE_SIZE}&start={start}", path(site)),
    )
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-pullrequestid-get>
pub(super) fn read(site: &Site, number: u64) -> Ask {
    Ask::get("read a pull request", format!("{}/pull-requests/{number}", path(site)))
}

/// Its `version`.
/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-system-maintenance/#api-api-latest-application-properties-get>
pub(super) fn properties() -> Ask {
    Ask::get("read the host's version", "/api/1.0/application-properties".to_owned())
}

/// Branches whose names hold this one.
/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-repository/#api-api-latest-projects-projectkey-repos-repositoryslug-branches-get>
pub(super) fn branch(site: &Site, branch: &BranchName) -> Ask {
    let name = wire::escape_segment(branch.as_str());
    let query = format!("filterText={name}&boostMatches=true&limit={PAGE_SIZE}");
    Ask::get("look for the pushed branch", format!("{}/branches?{query}", path(site)))
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-post>
pub(super) fn create(site: &Site, new: &NewPullRequest) -> Ask {
    let repository = json!({"slug": site.name(), "project": {"key": site.owner()}});
    let mut body = json!({
        "title": new.title,
        "description": new.body,
        "fromRef": {"id": new.head.full_name(), "repository": repository},
        "toRef": {"id": new.base.full_name(), "repository": repository},
    });
    if let Some(body) = body.as_object_mut().filter(|_| new.draft) {
        body.insert("draft".to_owned(), true.into());
    }
    Ask::post("create a pull request", format!("{}/pull-requests", path(site)), body)
}

/// What is left out is taken away, the reviewers as well.
/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-pullrequestid-put>
pub(super) fn put(
    site: &Site,
    action: &'static str,
    seen: &Pull,
    (title, body): (&str, &str),
    reviewers: &[&str],
) -> Ask {
    let reviewers: Vec<Value> = reviewers.iter().map(|name| json!({"user": {"name": name}})).collect();
    let body = json!({"version": seen.version, "title": title, "description": body, "reviewers": reviewers});
    Ask::put(action, format!("{}/pull-requests/{}", path(site), seen.id), body)
}

pub(super) fn update(site: &Site, seen: &Pull, title: &str, body: &str) -> Ask {
    put(site, "update a pull request", seen, (title, body), &seen.reviewers())
}

pub(super) fn dress(site: &Site, seen: &Pull, missing: &Attributes) -> Ask {
    let mut reviewers = seen.reviewers();
    for name in &missing.reviewers {
        if !reviewers.iter().any(|there| there.eq_ignore_ascii_case(name)) {
            reviewers.push(name);
        }
    }
    let text = (seen.title.as_str(), seen.description.as_deref().unwrap_or_default());
    put(site, "ask for reviews of a pull request", seen, text, &reviewers)
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-pullrequestid-merge-post>
pub(super) fn merge(site: &Site, seen: &Pull, how: Merge) -> Ask {
    let body = match how {
        Merge::Auto => json!({"autoMerge": true}),
        Merge::Immediate => json!({}),
    };
    let path = format!("{}/pull-requests/{}/merge?version={}", path(site), seen.id, seen.version);
    Ask::post("merge a pull request", path, body)
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-pullrequestid-decline-post>
pub(super) fn close(site: &Site, seen: &Pull) -> Ask {
    let path = format!("{}/pull-requests/{}/decline?version={}", path(site), seen.id, seen.version);
    Ask::post("close a pull request", path, json!({}))
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-pullrequestid-activities-get>
pub(super) fn comments(site: &Site, number: u64) -> Ask {
    Ask::get(
        "read the comments of a pull request",
        format!("{}/pull-requests/{number}/activities?limit={PAGE_SIZE}", path(site)),
    )
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-pullrequestid-comments-post>
pub(super) fn comment(site: &Site, number: u64, body: &str) -> Ask {
    Ask::post(
        "comment on a pull request",
        format!("{}/pull-requests/{number}/comments", path(site)),
        json!({"text": body}),
    )
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-repository/#api-branch-utils-latest-projects-projectkey-repos-repositoryslug-branches-delete>
pub(super) fn delete_branch(site: &Site, branch: &BranchName) -> Ask {
    let body = json!({"name": branch.full_name(), "dryRun": false});
    Ask { body: Some(body), ..Ask::delete("delete a branch", format!("/branch-utils/1.0{}/branches", site.path())) }
}
