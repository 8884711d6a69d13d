//! [Bitbucket Data Center's pull requests API](https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/).

use http::StatusCode;
use serde_json::{Value, json};

use super::service::{Asked, Endpoint, Problem, Reply, short};
use super::{Call, rules};
use crate::github::{Pull, PullState, world::Repo};

/// `/api/…` and `/branch-utils/…`, each `1.0` or `latest`, then `/projects/{key}/repos/{slug}`.
pub(super) fn endpoint(method: &str, path: &[&str]) -> Option<Endpoint> {
    let ["rest", api, "1.0" | "latest", path @ ..] = path else {
        return None;
    };
    let (owner, name, path) = match path {
        ["application-properties"] => return Some(Endpoint::of(Call::Version, None)),
        ["projects", owner, "repos", name, path @ ..] => (owner, name, path),
        _ => return None,
    };
    let of = |call| Endpoint::of(call, Some(format!("{owner}/{name}")));
    match (*api, method, path) {
        ("api", "GET", ["pull-requests"]) => Some(of(Call::List)),
        ("api", "POST", ["pull-requests"]) => Some(of(Call::Create)),
        ("api", "GET", ["pull-requests", number]) => of(Call::Read).numbered(number),
        ("api", "PUT", ["pull-requests", number]) => of(Call::Update).numbered(number),
        ("api", "POST", ["pull-requests", number, "merge"]) => of(Call::Merge).numbered(number),
        ("api", "POST", ["pull-requests", number, "decline"]) => of(Call::Decline).numbered(number),
        ("api", "GET", ["pull-requests", number, "activities"]) => of(Call::ListComments).numbered(number),
        ("api", "POST", ["pull-requests", number, "comments"]) => of(Call::Comment).numbered(number),
        ("api", "GET", ["branches"]) => Some(of(Call::Branch)),
        ("branch-utils", "DELETE", ["branches"]) => Some(of(Call::DeleteBranch)),
        _ => None,
    }
}

/// [A list of `errors`](https://developer.atlassian.com/server/bitbucket/rest/v906/intro/#errors--validation).
pub(super) fn problem(problem: &Problem) -> Value {
    let name = format!("com.atlassian.bitbucket.pull.{}", problem.kind);
    json!({"errors": [{"context": null, "message": problem.message, "exceptionName": name}]})
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-system-maintenance/#api-api-latest-application-properties-get>
pub(super) fn version() -> Reply {
    Reply::ok(json!({"version": "8.19.1", "buildNumber": "8019001", "displayName": "Bitbucket"}))
}

pub(super) async fn answer(repo: &mut Repo, endpoint: &Endpoint, asked: &Asked) -> Result<Reply, Problem> {
    let number = endpoint.number;
    match endpoint.call {
        Call::List => {
            let state = asked.value("state").unwrap_or("OPEN");
            let at = asked.value("at");
            let newest_first = asked.value("order").unwrap_or("NEWEST") == "NEWEST";
            let pulls = rules::sorted(repo, newest_first, |pull| {
                (state == "ALL" || state_of(pull) == state) && at.is_none_or(|at| short(at) == pull.head)
            });
            Ok(paged(&pulls, asked, |pull| show(repo, pull, asked)))
        }
        Call::Create => create(repo, asked).await,
        Call::Read => Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked))),
        Call::Update => {
            current(repo, number, asked.body.get("version").and_then(Value::as_i64))?;
            let pull = rules::pull_mut(repo, number)?;
            asked.text("/title").unwrap_or_default().clone_into(&mut pull.title);
            pull.body = asked.text("/description").map(ToOwned::to_owned);
            let reviewers = asked.body.get("reviewers").and_then(Value::as_array).into_iter().flatten();
            let names = reviewers.filter_map(|reviewer| reviewer.pointer("/user/name")?.as_str());
            pull.reviewers = names.map(ToOwned::to_owned).collect();
            pull.updated = asked.at;
            Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked)))
        }
        Call::Decline => {
            current(repo, number, asked.value("version").and_then(|version| version.parse().ok()))?;
            rules::close(repo, number, asked.at)?;
            Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked)))
        }
        Call::Merge => merge(repo, number, asked).await,
        Call::ListComments => {
            let comments: Vec<_> = rules::pull(repo, number)?.comments.iter().rev().collect();
            let activity = |comment: &&crate::github::Comment| json!({"id": comment.id, "action": "COMMENTED", "comment": {"id": comment.id, "text": comment.body}});
            Ok(paged(&comments, asked, activity))
        }
        Call::Comment => {
            let text = asked.text("/text").unwrap_or_default();
            let id = rules::comment(repo, number, text, asked.at)?;
            Ok(Reply::new(StatusCode::CREATED, json!({"id": id, "text": text})))
        }
        // https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-repository/#api-api-latest-projects-projectkey-repos-repositoryslug-branches-get
        Call::Branch => {
            let text = asked.value("filterText").unwrap_or_default();
            let branches = repo.branches(text).await?;
            let found: Vec<_> = branches.iter().filter(|(name, _)| name.contains(text)).collect();
            Ok(paged(
                &found,
                asked,
                |(name, tip)| json!({"id": format!("refs/heads/{name}"), "displayId": name, "type": "BRANCH", "latestCommit": tip}),
            ))
        }
        // https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-repository/#api-branch-utils-latest-projects-projectkey-repos-repositoryslug-branches-delete
        Call::DeleteBranch => {
            let name = short(asked.text("/name").unwrap_or_default());
            match repo.git.delete_branch(name).await {
                Ok(()) => Ok(Reply::new(StatusCode::NO_CONTENT, Value::Null)),
                Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, "NoSuchBranchException", error.to_string())),
            }
        }
        _ => Err(Problem::not_found("404 Not Found")),
    }
}

/// [A page](https://developer.atlassian.com/server/bitbucket/rest/v906/intro/#paged-apis).
fn paged<T>(items: &[T], asked: &Asked, show: impl Fn(&T) -> Value) -> Reply {
    let (start, limit) = (asked.number("start", 0), asked.number("limit", 25).clamp(1, 1000));
    let values: Vec<Value> = items.iter().skip(start).take(limit).map(show).collect();
    let next = start + values.len();
    let is_last = next >= items.len();
    Reply::ok(json!({
        "size": values.len(),
        "limit": limit,
        "start": start,
        "isLastPage": is_last,
        "nextPageStart": (!is_last).then_some(next),
        "values": values,
    }))
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-post>:
/// 409 for a second open one.
async fn create(repo: &mut Repo, asked: &Asked) -> Result<Reply, Problem> {
    let [head, base] = ["/fromRef/id", "/toRef/id"].map(|name| short(asked.text(name).unwrap_or_default()));
    if rules::open_one(repo, head, base).is_some() {
        let message = "Only one pull request may be open for a given source and target branch";
        return Err(Problem::new(StatusCode::CONFLICT, "DuplicatePullRequestException", message));
    }
    let new = rules::New {
        title: asked.text("/title").unwrap_or_default(),
        body: asked.text("/description").unwrap_or_default(),
        head,
        base,
        draft: asked.body.get("draft") == Some(&Value::Bool(true)),
    };
    let number = rules::create(repo, &new, asked.at).await?;
    Ok(Reply::new(StatusCode::CREATED, show(repo, rules::pull(repo, number)?, asked)))
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-pullrequestid-merge-post>:
/// 409 when a check vetoes it.
async fn merge(repo: &mut Repo, number: u64, asked: &Asked) -> Result<Reply, Problem> {
    current(repo, number, asked.value("version").and_then(|version| version.parse().ok()))?;
    if asked.body.get("autoMerge") == Some(&Value::Bool(true)) {
        rules::merge_later(repo, number, asked.at).await?;
    } else if repo.blocked {
        let message = "Not all required reviewers have approved yet";
        return Err(Problem::new(StatusCode::CONFLICT, "PullRequestMergeVetoedException", message));
    } else {
        rules::merge(repo, number, asked.at).await?;
    }
    Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked)))
}

/// Changes name the version that they are made to.
fn current(repo: &Repo, number: u64, version: Option<i64>) -> Result<(), Problem> {
    if version == Some(version_of(rules::pull(repo, number)?)) {
        return Ok(());
    }
    let message = "You are attempting to modify a pull request based on out-of-date information.";
    Err(Problem::new(StatusCode::CONFLICT, "PullRequestOutOfDateException", message))
}

/// A number that every change raises.
fn version_of(pull: &Pull) -> i64 {
    pull.updated.as_microsecond()
}

fn state_of(pull: &Pull) -> &'static str {
    match pull.state {
        PullState::Open => "OPEN",
        PullState::Closed => "DECLINED",
        PullState::Merged => "MERGED",
    }
}

/// <https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-pull-requests/#api-api-latest-projects-projectkey-repos-repositoryslug-pull-requests-pullrequestid-get>
fn show(repo: &Repo, pull: &Pull, asked: &Asked) -> Value {
    let (owner, name) = repo.git.name.split_once('/').unwrap_or_default();
    let side = |branch: &str, tip: &str| {
        json!({
            "id": format!("refs/heads/{branch}"),
            "displayId": branch,
            "latestCommit": tip,
            "repository": {"id": 1, "slug": name, "project": {"key": owner}},
        })
    };
    let reviewers = pull.reviewers.iter().map(|name| json!({"user": {"name": name, "slug": name}, "approved": false}));
    let page = format!("{}projects/{owner}/repos/{name}/pull-requests/{}", asked.origin, pull.number);
    json!({
        "id": pull.number,
        "version": version_of(pull),
        "title": pull.title,
        "description": pull.body,
        "state": state_of(pull),
        "open": pull.state == PullState::Open,
        "closed": pull.state != PullState::Open,
        "draft": pull.draft,
        "fromRef": side(&pull.head, &pull.head_sha),
        "toRef": side(&pull.base, &pull.base_sha),
        "reviewers": reviewers.collect::<Value>(),
        "properties": pull.merge_commit.as_ref().map(|id| json!({"mergeCommit": {"id": id}})),
        "links": {"self": [{"href": page}]},
    })
}
