//! [Azure DevOps' pull requests API](https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/).

use std::iter;

use http::StatusCode;
use serde_json::{Value, json};

use super::service::{Asked, Endpoint, Problem, Reply, short};
use super::{Call, rules};
use crate::github::{Pull, PullState, world::Repo};

/// Who asks.
const ME: &str = "3b5f0a4c-2f0e-4d4e-9d59-1d3d1c4ec001";

/// Descriptions in lists are cut off here.
const SHORT_TEXT: usize = 400;

/// `/collection/{project}/_apis/git/repositories/{name}/…`
pub(super) fn endpoint(method: &str, path: &[&str]) -> Option<Endpoint> {
    let (owner, name, path) = match path {
        ["collection", "_apis", "connectionData"] => return Some(Endpoint::of(Call::User, None)),
        ["collection", owner, "_apis", "git", "repositories", name, path @ ..] => (owner, name, path),
        _ => return None,
    };
    let of = |call| Endpoint::of(call, Some(format!("{owner}/{name}")));
    match (method, path) {
        ("GET", ["refs"]) => Some(of(Call::Branch)),
        ("POST", ["refs"]) => Some(of(Call::DeleteBranch)),
        (method, [pulls, path @ ..]) if pulls.eq_ignore_ascii_case("pullrequests") => match (method, path) {
            ("GET", []) => Some(of(Call::List)),
            ("POST", []) => Some(of(Call::Create)),
            ("GET", [number]) => of(Call::Read).numbered(number),
            ("PATCH", [number]) => of(Call::Update).numbered(number),
            ("GET", [number, "threads"]) => of(Call::ListComments).numbered(number),
            ("POST", [number, "threads"]) => of(Call::Comment).numbered(number),
            ("POST", [number, "labels"]) => of(Call::Label).numbered(number),
            ("PUT", [number, "reviewers", id]) => of(Call::Reviewer).named(id).numbered(number),
            _ => None,
        },
        _ => None,
    }
}

/// An error with its `typeKey`.
pub(super) fn problem(problem: &Problem) -> Value {
    json!({"$id": "1", "message": problem.message, "typeKey": problem.kind, "errorCode": 0})
}

/// <https://learn.microsoft.com/en-us/javascript/api/azure-devops-extension-api/connectiondata>
pub(super) fn connection() -> Reply {
    Reply::ok(json!({"authenticatedUser": {"id": ME}, "instanceId": ME}))
}

pub(super) async fn answer(repo: &mut Repo, endpoint: &Endpoint, asked: &Asked) -> Result<Reply, Problem> {
    let number = endpoint.number;
    if asked.value("api-version").is_none() {
        let message = "No api-version was supplied for the request.";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "VssVersionNotSpecifiedException", message));
    }
    match endpoint.call {
        Call::List => Ok(list(repo, asked)),
        Call::Create => create(repo, asked).await,
        Call::Read => Ok(Reply::ok(show(rules::pull(repo, number)?, usize::MAX))),
        Call::Update => update(repo, number, asked).await,
        // https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-request-threads/list
        Call::ListComments => {
            let comments = &rules::pull(repo, number)?.comments;
            let thread = |comment: &crate::github::Comment| json!({"id": comment.id, "comments": [{"id": 1, "content": comment.body}]});
            Ok(many(comments.iter().map(thread)))
        }
        Call::Comment => {
            let text = asked.text("/comments/0/content").unwrap_or_default();
            let id = rules::comment(repo, number, text, asked.at)?;
            Ok(Reply::ok(json!({"id": id, "comments": [{"id": 1, "content": text}]})))
        }
        // https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-request-labels/create
        Call::Label => {
            let name = asked.text("/name").unwrap_or_default();
            rules::pull_mut(repo, number)?.labels.insert(name.to_owned());
            Ok(Reply::ok(json!({"id": ME, "name": name, "active": true})))
        }
        // https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-request-reviewers/create-pull-request-reviewer
        Call::Reviewer => {
            rules::pull_mut(repo, number)?.reviewers.insert(endpoint.name.clone());
            Ok(Reply::ok(json!({"id": endpoint.name, "vote": 0})))
        }
        // https://learn.microsoft.com/en-us/rest/api/azure/devops/git/refs/list
        Call::Branch => {
            let filter = asked.value("filter").unwrap_or_default();
            let name = filter.strip_prefix("heads/").unwrap_or(filter);
            let branches = repo.branches(name).await?;
            let found = branches.iter().filter(|(branch, _)| branch.starts_with(name));
            Ok(many(found.map(|(name, tip)| json!({"name": format!("refs/heads/{name}"), "objectId": tip}))))
        }
        Call::DeleteBranch => delete_branch(repo, asked).await,
        _ => Err(Problem::not_found("The controller for path was not found.")),
    }
}

fn many(values: impl Iterator<Item = Value>) -> Reply {
    let value: Vec<Value> = values.collect();
    Reply::ok(json!({"count": value.len(), "value": value}))
}

/// [A list](https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/get-pull-requests), the newest first.
fn list(repo: &Repo, asked: &Asked) -> Reply {
    let status = asked.value("searchCriteria.status").unwrap_or("active");
    let [head, base] =
        ["searchCriteria.sourceRefName", "searchCriteria.targetRefName"].map(|key| asked.value(key).map(short));
    let pulls = rules::sorted(repo, true, |pull| {
        (status == "all" || status_of(pull) == status)
            && head.is_none_or(|head| head == pull.head)
            && base.is_none_or(|base| base == pull.base)
    });
    let (top, skip) = (asked.number("$top", 101), asked.number("$skip", 0));
    many(pulls.into_iter().skip(skip).take(top).map(|pull| show(pull, SHORT_TEXT)))
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/create>: `TF401179` for a second one.
async fn create(repo: &mut Repo, asked: &Asked) -> Result<Reply, Problem> {
    let text = |pointer: &str| asked.text(pointer).unwrap_or_default();
    let (head, base) = (short(text("/sourceRefName")), short(text("/targetRefName")));
    if rules::open_one(repo, head, base).is_some() {
        let message = "TF401179: An active pull request for the source and target branch already exists.";
        return Err(Problem::new(StatusCode::CONFLICT, "GitPullRequestExistsException", message));
    }
    if text("/description").chars().count() > 4000 {
        let message = "A description for a pull request must not be longer than 4000 characters.";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "InvalidArgumentValueException", message));
    }
    let draft = asked.body.get("isDraft") == Some(&Value::Bool(true));
    let new = rules::New { title: text("/title"), body: text("/description"), head, base, draft };
    let number = rules::create(repo, &new, asked.at).await?;
    Ok(Reply::new(StatusCode::CREATED, show(rules::pull(repo, number)?, usize::MAX)))
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/update>; completing needs the head that is
/// there, and what [policies](https://learn.microsoft.com/en-us/azure/devops/repos/git/branch-policies) want.
async fn update(repo: &mut Repo, number: u64, asked: &Asked) -> Result<Reply, Problem> {
    let conflict =
        |message: &str| Problem::new(StatusCode::CONFLICT, "GitPullRequestUpdateRejectedByPolicyException", message);
    match asked.text("/status") {
        Some("abandoned") => rules::close(repo, number, asked.at)?,
        Some("completed") => {
            if asked.text("/lastMergeSourceCommit/commitId") != Some(rules::pull(repo, number)?.head_sha.as_str()) {
                return Err(conflict("TF401192: The source has been modified since the last merge attempt."));
            }
            if repo.blocked {
                return Err(conflict("TF402455: At least 1 reviewer must approve."));
            }
            rules::merge(repo, number, asked.at).await?;
        }
        _ => {}
    }
    if asked.text("/autoCompleteSetBy/id") == Some(ME) {
        rules::merge_later(repo, number, asked.at).await?;
    }
    let pull = rules::pull_mut(repo, number)?;
    if let Some(title) = asked.text("/title") {
        title.clone_into(&mut pull.title);
    }
    if let Some(text) = asked.text("/description") {
        pull.body = Some(text.to_owned());
    }
    Ok(Reply::ok(show(rules::pull(repo, number)?, usize::MAX)))
}

/// [Updates](https://learn.microsoft.com/en-us/rest/api/azure/devops/git/refs/update-refs) that fail are told in an answer
/// that succeeds.
async fn delete_branch(repo: &mut Repo, asked: &Asked) -> Result<Reply, Problem> {
    let name = short(asked.text("/0/name").unwrap_or_default());
    let expected = asked.text("/0/oldObjectId").unwrap_or_default();
    let full = format!("refs/heads/{name}");
    let deleted = repo.git.git(&["update-ref", "-d", &full, expected]).await.is_ok();
    let status = if deleted { "succeeded" } else { "staleOldObjectId" };
    Ok(many(iter::once(json!({"name": full, "success": deleted, "updateStatus": status}))))
}

fn status_of(pull: &Pull) -> &'static str {
    match pull.state {
        PullState::Open => "active",
        PullState::Closed => "abandoned",
        PullState::Merged => "completed",
    }
}

/// <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/pull-requests/get-pull-request>
fn show(pull: &Pull, text: usize) -> Value {
    let description = pull.body.as_ref().map(|body| body.chars().take(text).collect::<String>());
    json!({
        "pullRequestId": pull.number,
        "status": status_of(pull),
        "title": pull.title,
        "description": description,
        "sourceRefName": format!("refs/heads/{}", pull.head),
        "targetRefName": format!("refs/heads/{}", pull.base),
        "isDraft": pull.draft,
        "lastMergeSourceCommit": {"commitId": pull.head_sha},
        "lastMergeCommit": pull.merge_commit.as_ref().map(|id| json!({"commitId": id})),
        "labels": pull.labels.iter().map(|name| json!({"name": name, "active": true})).collect::<Value>(),
        "reviewers": pull.reviewers.iter().map(|id| json!({"id": id, "vote": 0})).collect::<Value>(),
        "autoCompleteSetBy": pull.auto_merge.then(|| json!({"id": ME})),
    })
}
