//! What Gitea is asked.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, json};

use crate::host::wire::{self, Ask, Site};
use crate::host::{Merge, NewPullRequest, PullRequest};
use crate::names::{BranchName, RepoUrl};
use crate::request::Credentials;

use super::parse::Settings;
use super::{DRAFT_MARK, PAGE_SIZE};

/// The API lives beside the pages, under a [sub-path](https://docs.gitea.com/administration/reverse-proxies#general-configuration) too.
pub(super) fn api_of(repository: &RepoUrl, sub_path: &str) -> String {
    let separator = if sub_path.is_empty() { "" } else { "/" };
    format!("{}{separator}{sub_path}/api/v1", wire::origin(repository))
}

/// A token, or a [user name with a password](https://docs.gitea.com/development/api-usage#authentication).
pub(super) fn authorization(credentials: &Credentials, token: &SecretString) -> Option<HeaderValue> {
    let value = match (&credentials.token, &credentials.username) {
        (None, Some(username)) => {
            let pair = format!("{}:{}", username.trim(), token.expose_secret());
            format!("Basic {}", BASE64_STANDARD.encode(pair))
        }
        _ => format!("token {}", token.expose_secret()),
    };
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// One of the pull requests with this head and base, whichever state it has.
/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoGetPullRequestByBaseHead>
pub(super) fn find(site: &Site, head: &BranchName, base: &BranchName) -> Ask {
    let head = wire::escape_path(head.as_str());
    let base = wire::escape_segment(base.as_str());
    Ask::get("look for the promotion's pull request", format!("{}/pulls/{base}/{head}", site.path()))
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoListPullRequests>
pub(super) fn list_all(site: &Site, base: &BranchName, page: usize) -> Ask {
    let query = format!("state=all&base_branch={}&sort=recentupdate", wire::escape_segment(base.as_str()));
    Ask::get(
        "look for the promotion's pull request",
        format!("{}/pulls?{query}&limit={PAGE_SIZE}&page={page}", site.path()),
    )
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoListPullRequests>
pub(super) fn list_open(site: &Site, page: usize) -> Ask {
    let query = "state=open&sort=oldest";
    Ask::get("list the open pull requests", format!("{}/pulls?{query}&limit={PAGE_SIZE}&page={page}", site.path()))
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoGetBranch>
pub(super) fn branch(site: &Site, branch: &BranchName) -> Ask {
    let branch = wire::escape_path(branch.as_str());
    Ask::get("look for the pushed branch", format!("{}/branches/{branch}", site.path()))
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoCreatePullRequest>
pub(super) fn create(site: &Site, new: &NewPullRequest) -> Ask {
    let title = marked(&new.title, new.draft);
    let body = json!({"head": new.head.as_str(), "base": new.base.as_str(), "title": title, "body": new.body});
    Ask::post("create a pull request", format!("{}/pulls", site.path()), body)
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoEditPullRequest>
pub(super) fn edit(site: &Site, action: &'static str, number: u64, body: serde_json::Value) -> Ask {
    Ask::patch(action, format!("{}/pulls/{number}", site.path()), body)
}

/// Labels that neither the repository nor its organization has are left out.
/// <https://docs.gitea.com/api/next/#tag/issue/operation/issueAddLabel>
pub(super) fn add_labels(site: &Site, number: u64, labels: &[String]) -> Ask {
    Ask::post("label a pull request", format!("{}/issues/{number}/labels", site.path()), json!({"labels": labels}))
}

/// <https://docs.gitea.com/api/next/#tag/issue/operation/issueGetMilestonesList>
pub(super) fn milestones(site: &Site, title: &str, page: usize) -> Ask {
    let query = format!("state=all&name={}", wire::escape_segment(title));
    Ask::get("look for a milestone", format!("{}/milestones?{query}&limit={PAGE_SIZE}&page={page}", site.path()))
}

/// Reviews, and those that are asked for.
/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoListPullReviews>
pub(super) fn reviews(site: &Site, number: u64, page: usize) -> Ask {
    let path = format!("{}/pulls/{number}/reviews?limit={PAGE_SIZE}&page={page}", site.path());
    Ask::get("see who was asked for a review", path)
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoCreatePullReviewRequests>
pub(super) fn ask_reviews(site: &Site, number: u64, reviewers: &[String], teams: &[String]) -> Ask {
    Ask::post(
        "ask for reviews of a pull request",
        format!("{}/pulls/{number}/requested_reviewers", site.path()),
        json!({"reviewers": reviewers, "team_reviewers": teams}),
    )
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoGet>
pub(super) fn settings(site: &Site) -> Ask {
    Ask::get("see how pull requests are merged", site.path()).kept_as::<Settings>()
}

/// A merge that is scheduled is not tied to the head commit.
/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoMergePullRequest>
pub(super) fn merge(site: &Site, pull: &PullRequest, how: Merge, style: &str) -> Ask {
    let mut body = Map::new();
    body.insert("Do".to_owned(), style.into());
    body.insert("merge_when_checks_succeed".to_owned(), (how == Merge::Auto).into());
    if let Some(head) = pull.head_commit {
        body.insert("head_commit_id".to_owned(), head.to_string().into());
    }
    Ask::post("merge a pull request", format!("{}/pulls/{}/merge", site.path(), pull.number), body.into())
}

/// <https://docs.gitea.com/api/next/#tag/issue/operation/issueGetComments>
pub(super) fn comments(site: &Site, number: u64) -> Ask {
    Ask::get("read the comments of a pull request", format!("{}/issues/{number}/comments", site.path()))
}

/// <https://docs.gitea.com/api/next/#tag/issue/operation/issueCreateComment>
pub(super) fn comment(site: &Site, number: u64, body: &str) -> Ask {
    Ask::post("comment on a pull request", format!("{}/issues/{number}/comments", site.path()), json!({"body": body}))
}

/// <https://docs.gitea.com/api/next/#tag/repository/operation/repoDeleteBranch>
pub(super) fn delete_branch(site: &Site, branch: &BranchName) -> Ask {
    let branch = wire::escape_path(branch.as_str());
    Ask::delete("delete a branch", format!("{}/branches/{branch}", site.path()))
}

/// The title, with the mark of a draft if it is one.
pub(super) fn marked(title: &str, draft: bool) -> String {
    if draft { format!("{} {title}", DRAFT_MARK) } else { title.to_owned() }
}
