//! What GitHub is asked.

use serde_json::json;

use crate::host::NewPullRequest;
use crate::host::wire::{self, Ask, Site};
use crate::names::{BranchName, RepoUrl};

use super::PAGE_SIZE;
use super::parse::{Event, Milestone, Pull};

/// <https://docs.github.com/en/enterprise-server@3.19/rest/using-the-rest-api/getting-started-with-the-rest-api>
pub(super) fn api_of(repository: &RepoUrl) -> String {
    match repository.host() {
        "github.com" => "https://api.github.com".to_owned(),
        _ => format!("{}/api/v3", wire::origin(repository)),
    }
}

/// GraphQL is [beside REST](https://docs.github.com/en/enterprise-server@3.19/graphql/guides/forming-calls-with-graphql#the-graphql-endpoint):
/// `/api/graphql` where that is `/api/v3`.
pub(super) fn graphql_of(rest: &str) -> &str {
    rest.strip_suffix("/v3").unwrap_or(rest)
}

/// <https://docs.github.com/en/rest/pulls/pulls#list-pull-requests>
pub(super) fn find(site: &Site, head: &BranchName, base: &BranchName, page: usize) -> Ask {
    let head = wire::escape_segment(&format!("{}:{head}", site.owner()));
    let base = wire::escape_segment(base.as_str());
    let query = format!("state=all&head={head}&base={base}&sort=created&direction=desc");
    Ask::get(
        "look for the promotion's pull request",
        format!("{}/pulls?{query}&per_page={PAGE_SIZE}&page={page}", site.path()),
    )
    .kept_as::<Vec<Pull>>()
}

/// <https://docs.github.com/en/rest/pulls/pulls#list-pull-requests>
pub(super) fn list_open(site: &Site, page: usize) -> Ask {
    let query = "state=open&sort=created&direction=asc";
    Ask::get("list the open pull requests", format!("{}/pulls?{query}&per_page={PAGE_SIZE}&page={page}", site.path()))
        .kept_as::<Vec<Pull>>()
}

/// <https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request>
pub(super) fn create(site: &Site, new: &NewPullRequest) -> Ask {
    let body = json!({
        "head": new.head.as_str(), "base": new.base.as_str(), "title": new.title, "body": new.body, "draft": new.draft
    });
    Ask::post("create a pull request", format!("{}/pulls", site.path()), body)
}

/// <https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request>
pub(super) fn update(site: &Site, number: u64, title: &str, body: &str) -> Ask {
    let body = json!({"title": title, "body": body});
    Ask::patch("update a pull request", format!("{}/pulls/{number}", site.path()), body)
}

/// <https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request>
pub(super) fn close(site: &Site, number: u64) -> Ask {
    Ask::patch("close a pull request", format!("{}/pulls/{number}", site.path()), json!({"state": "closed"}))
}

/// GitHub makes the labels that the repository does not have.
/// <https://docs.github.com/en/rest/issues/labels#add-labels-to-an-issue>
pub(super) fn add_labels(site: &Site, number: u64, labels: &[String]) -> Ask {
    Ask::post("label a pull request", format!("{}/issues/{number}/labels", site.path()), json!({"labels": labels}))
}

/// Who was ever asked for a review: the list of a pull request forgets those who gave it.
/// <https://docs.github.com/en/rest/issues/events#list-issue-events>
pub(super) fn events(site: &Site, number: u64, page: usize) -> Ask {
    Ask::get(
        "see who was asked for a review",
        format!("{}/issues/{number}/events?per_page={PAGE_SIZE}&page={page}", site.path()),
    )
    .kept_as::<Vec<Event>>()
}

/// <https://docs.github.com/en/rest/pulls/review-requests#request-reviewers-for-a-pull-request>
pub(super) fn ask_reviews(site: &Site, number: u64, reviewers: &[String], teams: &[String]) -> Ask {
    Ask::post(
        "ask for reviews of a pull request",
        format!("{}/pulls/{number}/requested_reviewers", site.path()),
        json!({"reviewers": reviewers, "team_reviewers": teams}),
    )
}

/// GitHub leaves out those who cannot be assigned.
/// <https://docs.github.com/en/rest/issues/assignees#add-assignees-to-an-issue>
pub(super) fn assign(site: &Site, number: u64, assignees: &[String]) -> Ask {
    let body = json!({"assignees": assignees});
    Ask::post("assign a pull request", format!("{}/issues/{number}/assignees", site.path()), body)
}

/// <https://docs.github.com/en/rest/issues/milestones#list-milestones>
pub(super) fn milestones(site: &Site, page: usize) -> Ask {
    let path = format!("{}/milestones?state=all&per_page={PAGE_SIZE}&page={page}", site.path());
    Ask::get("look for a milestone", path).kept_as::<Vec<Milestone>>()
}

/// <https://docs.github.com/en/rest/issues/issues#update-an-issue>
pub(super) fn set_milestone(site: &Site, number: u64, milestone: u64) -> Ask {
    Ask::patch(
        "set the milestone of a pull request",
        format!("{}/issues/{number}", site.path()),
        json!({"milestone": milestone}),
    )
}

/// <https://docs.github.com/en/rest/issues/comments#list-issue-comments>
pub(super) fn comments(site: &Site, number: u64, page: usize) -> Ask {
    Ask::get(
        "read the comments of a pull request",
        format!("{}/issues/{number}/comments?per_page={PAGE_SIZE}&page={page}", site.path()),
    )
}

/// <https://docs.github.com/en/rest/issues/comments#create-an-issue-comment>
pub(super) fn comment(site: &Site, number: u64, body: &str) -> Ask {
    Ask::post("comment on a pull request", format!("{}/issues/{number}/comments", site.path()), json!({"body": body}))
}

/// <https://docs.github.com/en/rest/git/refs#delete-a-reference>
pub(super) fn delete_branch(site: &Site, branch: &BranchName) -> Ask {
    let branch = wire::escape_path(branch.as_str());
    Ask::delete("delete a branch", format!("{}/git/refs/heads/{branch}", site.path()))
}
