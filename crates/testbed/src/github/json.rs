//! The JSON of GitHub's resources, with every field that its
//! [OpenAPI description](https://github.com/github/rest-api-description) requires and that clients are known to need.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    LOGIN,
    world::{Comment, Pull, PullState, World},
};
use crate::git_server::repo_url;

pub(super) const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// Renders the resources of one repository.
pub(super) struct Render<'a> {
    world: &'a World,
    /// `owner/name`
    repo: &'a str,
}

impl<'a> Render<'a> {
    pub(super) fn of(world: &'a World, repo: &'a str) -> Self {
        Self { world, repo }
    }

    /// An address under the repository.
    pub(super) fn url(&self, path: &str) -> String {
        let base = format!("{}repos/{}", self.world.api, self.repo);
        if path.is_empty() { base } else { format!("{base}/{path}") }
    }

    fn html_url(&self, path: &str) -> String {
        format!("{}{}{path}", self.world.git_origin, self.repo)
    }

    fn owner(&self) -> &str {
        self.repo.split('/').next().unwrap_or_default()
    }

    /// A [simple user](https://docs.github.com/en/rest/users/users#get-a-user).
    pub(super) fn user(&self, login: &str) -> Value {
        let url = format!("{}users/{login}", self.world.api);
        let html_url = format!("{}{login}", self.world.git_origin);
        let mut user = json!({
            "login": login,
            "id": 1,
            "node_id": "U_1",
            "avatar_url": format!("{html_url}.png"),
            "gravatar_id": "",
            "url": url,
            "html_url": html_url,
            "type": "User",
            "site_admin": false,
        });
        add(
            &mut user,
            [
                "followers",
                "following",
                "gists",
                "starred",
                "subscriptions",
                "organizations",
                "repos",
                "events",
                "received_events",
            ]
            .map(|name| {
                let path = if name == "organizations" { "orgs" } else { name };
                (format!("{name}_url"), json!(format!("{url}/{path}")))
            }),
        );
        user
    }

    /// A [repository](https://docs.github.com/en/rest/repos/repos#get-a-repository).
    pub(super) fn repo(&self) -> Value {
        let name = self.repo.split('/').next_back().unwrap_or_default();
        json!({
            "id": 1,
            "node_id": "R_1",
            "name": name,
            "full_name": self.repo,
            "private": true,
            "owner": self.user(self.owner()),
            "html_url": self.html_url(""),
            "description": null,
            "fork": false,
            "url": self.url(""),
            "clone_url": repo_url(&self.world.git_origin, self.repo),
            "default_branch": "main",
            "archived": false,
            "disabled": false,
            "visibility": "private",
            "allow_merge_commit": true,
            "allow_squash_merge": true,
            "allow_rebase_merge": false,
            "delete_branch_on_merge": false,
            "permissions": {"admin": false, "maintain": false, "push": true, "triage": true, "pull": true},
        })
    }

    /// A [branch](https://docs.github.com/en/rest/branches/branches#get-a-branch).
    pub(super) fn branch(&self, name: &str, tip: &str) -> Value {
        json!({
            "name": name,
            "commit": {"sha": tip, "url": self.url(&format!("commits/{tip}"))},
            "protected": false,
        })
    }

    /// A [reference](https://docs.github.com/en/rest/git/refs#get-a-reference).
    pub(super) fn reference(&self, branch: &str, tip: &str) -> Value {
        json!({
            "ref": format!("refs/heads/{branch}"),
            "node_id": "REF_1",
            "url": self.url(&format!("git/refs/heads/{branch}")),
            "object": {"type": "commit", "sha": tip, "url": self.url(&format!("git/commits/{tip}"))},
        })
    }

    /// A pull request as [a list](https://docs.github.com/en/rest/pulls/pulls#list-pull-requests) shows it.
    pub(super) fn pull(&self, pull: &Pull) -> Value {
        let number = pull.number;
        let (url, html_url) = (self.url(&format!("pulls/{number}")), self.html_url(&format!("/pull/{number}")));
        let issue_url = self.url(&format!("issues/{number}"));
        let merged_at = pull.closed.filter(|_| pull.state == PullState::Merged).map(time);
        let side = |branch: &str, sha: &str| {
            json!({
                "label": format!("{}:{branch}", self.owner()),
                "ref": branch,
                "sha": sha,
                "user": self.user(self.owner()),
                "repo": self.repo(),
            })
        };
        let links = json!({
                "self": {"href": url},
                "html": {"href": html_url},
                "issue": {"href": issue_url},
                "comments": {"href": format!("{issue_url}/comments")},
                "review_comments": {"href": format!("{url}/comments")},
                "review_comment": {"href": format!("{}{{/number}}", self.url("pulls/comments"))},
                "commits": {"href": format!("{url}/commits")},
                "statuses": {"href": self.url(&format!("statuses/{}", pull.head_sha))},
        });
        json!({
            "id": number,
            "node_id": format!("PR_{number}"),
            "number": number,
            "url": url,
            "html_url": html_url,
            "diff_url": format!("{html_url}.diff"),
            "patch_url": format!("{html_url}.patch"),
            "issue_url": issue_url,
            "commits_url": format!("{url}/commits"),
            "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{}{{/number}}", self.url("pulls/comments")),
            "comments_url": format!("{issue_url}/comments"),
            "statuses_url": self.url(&format!("statuses/{}", pull.head_sha)),
            "state": if pull.state == PullState::Open { "open" } else { "closed" },
            "locked": false,
            "title": pull.title,
            "user": self.user(LOGIN),
            "body": pull.body,
            "labels": pull.labels.iter().map(|label| self.label(label)).collect::<Value>(),
            "milestone": pull.milestone.as_ref().map(|title| self.milestone(title)),
            "active_lock_reason": null,
            "created_at": time(pull.created),
            "updated_at": time(pull.updated),
            "closed_at": pull.closed.map(time),
            "merged_at": merged_at,
            "merge_commit_sha": pull.merge_commit,
            "assignee": null,
            "assignees": pull.assignees.iter().map(|name| self.user(name)).collect::<Value>(),
            "requested_reviewers": pull.reviewers.iter().map(|name| self.user(name)).collect::<Value>(),
            "requested_teams": pull.teams.iter().map(|name| self.team(name)).collect::<Value>(),
            "head": side(&pull.head, &pull.head_sha),
            "base": side(&pull.base, &pull.base_sha),
            "author_association": "COLLABORATOR",
            "auto_merge": null,
            "draft": pull.draft,
            "_links": links,
        })
    }

    /// [One pull request](https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request), with the fields that a list
    /// leaves out. `mergeable` is none while GitHub has not computed it.
    pub(super) fn full_pull(&self, pull: &Pull, mergeable: Option<bool>) -> Value {
        let merged = pull.state == PullState::Merged;
        let mut body = self.pull(pull);
        add(
            &mut body,
            [
                ("merged", json!(merged)),
                ("mergeable", json!(mergeable)),
                ("rebaseable", json!(mergeable)),
                (
                    "mergeable_state",
                    json!(match mergeable {
                        Some(true) => "clean",
                        Some(false) => "dirty",
                        None => "unknown",
                    }),
                ),
                ("merged_by", if merged { self.user(LOGIN) } else { Value::Null }),
                ("comments", json!(pull.comments.len())),
                ("review_comments", json!(0)),
                ("maintainer_can_modify", json!(false)),
                ("commits", json!(1)),
                ("additions", json!(1)),
                ("deletions", json!(1)),
                ("changed_files", json!(1)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        body
    }

    /// An [issue comment](https://docs.github.com/en/rest/issues/comments#get-an-issue-comment).
    pub(super) fn comment(&self, number: u64, comment: &Comment) -> Value {
        let id = comment.id;
        json!({
            "id": id,
            "node_id": format!("IC_{id}"),
            "url": self.url(&format!("issues/comments/{id}")),
            "html_url": self.html_url(&format!("/pull/{number}#issuecomment-{id}")),
            "issue_url": self.url(&format!("issues/{number}")),
            "body": comment.body,
            "user": self.user(LOGIN),
            "created_at": time(comment.created),
            "updated_at": time(comment.created),
            "author_association": "COLLABORATOR",
        })
    }

    /// A [milestone](https://docs.github.com/en/rest/issues/milestones#get-a-milestone).
    pub(super) fn milestone(&self, title: &str) -> Value {
        json!({"id": 1, "node_id": "MI_1", "number": 1, "url": self.url("milestones/1"), "title": title, "state": "open"})
    }

    /// A [team](https://docs.github.com/en/rest/teams/teams#get-a-team-by-name).
    pub(super) fn team(&self, slug: &str) -> Value {
        json!({"id": 1, "node_id": "T_1", "name": slug, "slug": slug, "permission": "push"})
    }

    /// A [label](https://docs.github.com/en/rest/issues/labels#get-a-label).
    pub(super) fn label(&self, name: &str) -> Value {
        json!({
            "id": 1,
            "node_id": "LA_1",
            "url": self.url(&format!("labels/{name}")),
            "name": name,
            "description": null,
            "color": "ededed",
            "default": false,
        })
    }
}

fn add(object: &mut Value, fields: impl IntoIterator<Item = (String, Value)>) {
    if let Some(object) = object.as_object_mut() {
        let object: &mut Map<_, _> = object;
        object.extend(fields);
    }
}

/// [As GitHub writes it](https://docs.github.com/en/rest/using-the-rest-api/timezones-and-the-rest-api): UTC, whole
/// seconds.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
