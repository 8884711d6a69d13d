//! Requests to Bitbucket Cloud's API. Pure.

use serde_json::{Value, json};

use crate::host::NewPullRequest;
use crate::host::wire::{self, Ask, Site};
use crate::names::BranchName;
use crate::request::Attributes;

use super::PAGE_SIZE;
use super::parse::Pull;

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-get>,
/// [filtered and sorted](https://developer.atlassian.com/cloud/bitbucket/rest/intro/#filtering).
pub(super) fn find(site: &Site, head: &BranchName, base: &BranchName, page: u64) -> Ask {
    let q = format!(
        "source.branch.name = {} AND destination.branch.name = {}",
        quoted(head.as_str()),
        quoted(base.as_str())
    );
    let query = format!("state=OPEN&state=MERGED&state=DECLINED&state=SUPERSEDED&q={}", wire::escape_segment(&q));
    Ask::get(
        "look for the promotion's pull request",
        format!("{}/pullrequests?{query}&sort=-created_on&pagelen={PAGE_SIZE}&page={page}", site.path()),
    )
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-get>
pub(super) fn list_open(site: &Site, page: u64) -> Ask {
    Ask::get(
        "list the open pull requests",
        format!("{}/pullrequests?state=OPEN&sort=created_on&pagelen={PAGE_SIZE}&page={page}", site.path()),
    )
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-pull-request-id-get>
pub(super) fn read(site: &Site, number: u64) -> Ask {
    Ask::get("read a pull request", format!("{}/pullrequests/{number}", site.path()))
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commits/#api-repositories-workspace-repo-slug-commit-commit-get>
pub(super) fn read_commit(site: &Site, hash: &str) -> Ask {
    Ask::get("read a commit", format!("{}/commit/{}", site.path(), wire::escape_segment(hash)))
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-refs/#api-repositories-workspace-repo-slug-refs-branches-name-get>
pub(super) fn branch(site: &Site, branch: &BranchName) -> Ask {
    let branch = wire::escape_path(branch.as_str());
    Ask::get("look for the pushed branch", format!("{}/refs/branches/{branch}", site.path()))
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-post>
pub(super) fn create(site: &Site, new: &NewPullRequest) -> Ask {
    let body = json!({
        "title": new.title,
        "description": new.body,
        "source": {"branch": {"name": new.head.as_str()}},
        "destination": {"branch": {"name": new.base.as_str()}},
        "draft": new.draft,
    });
    Ask::post("create a pull request", format!("{}/pullrequests", site.path()), body)
}

/// What is left out is taken away, the reviewers as well.
/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-pull-request-id-put>
pub(super) fn put(
    site: &Site,
    action: &'static str,
    seen: &Pull,
    (title, body): (&str, &str),
    reviewers: &[Value],
) -> Ask {
    let body = json!({"title": title, "description": body, "reviewers": reviewers});
    Ask::put(action, format!("{}/pullrequests/{}", site.path(), seen.id), body)
}

pub(super) fn update(site: &Site, seen: &Pull, title: &str, body: &str) -> Ask {
    put(site, "update a pull request", seen, (title, body), &seen.reviewers())
}

/// Reviewers are named by their `{uuid}` or their account id:
/// [user names are gone](https://developer.atlassian.com/cloud/bitbucket/bitbucket-api-changes-gdpr/).
pub(super) fn dress(site: &Site, seen: &Pull, missing: &Attributes) -> Ask {
    let mut reviewers = seen.reviewers();
    reviewers.extend(missing.reviewers.iter().map(|name| {
        let key = if name.starts_with('{') { "uuid" } else { "account_id" };
        json!({key: name})
    }));
    let text = (seen.title.as_str(), seen.description.as_deref().unwrap_or_default());
    put(site, "ask for reviews of a pull request", seen, text, &reviewers)
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-pull-request-id-merge-post>
pub(super) fn merge(site: &Site, number: u64) -> Ask {
    Ask::post(
        "merge a pull request",
        format!("{}/pullrequests/{number}/merge", site.path()),
        json!({"type": "pullrequest"}),
    )
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-pull-request-id-decline-post>
pub(super) fn close(site: &Site, number: u64) -> Ask {
    Ask::post("close a pull request", format!("{}/pullrequests/{number}/decline", site.path()), json!({}))
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-pull-request-id-comments-get>
pub(super) fn comments(site: &Site, number: u64) -> Ask {
    Ask::get(
        "read the comments of a pull request",
        format!("{}/pullrequests/{number}/comments?sort=-created_on&pagelen=100", site.path()),
    )
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-pull-request-id-comments-post>
pub(super) fn comment(site: &Site, number: u64, body: &str) -> Ask {
    let body = json!({"content": {"raw": body}});
    Ask::post("comment on a pull request", format!("{}/pullrequests/{number}/comments", site.path()), body)
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-refs/#api-repositories-workspace-repo-slug-refs-branches-name-delete>
pub(super) fn delete_branch(site: &Site, branch: &BranchName) -> Ask {
    let branch = wire::escape_path(branch.as_str());
    Ask::delete("delete a branch", format!("{}/refs/branches/{branch}", site.path()))
}

/// A text in a filter.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
