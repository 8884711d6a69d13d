//! [Bitbucket Cloud's pull requests API](https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/).

use http::StatusCode;
use serde_json::{Value, json};

use super::service::{Asked, Endpoint, Problem, Reply};
use super::{Call, rules};
use crate::github::{Pull, PullState, world::Repo};

/// The digits of a commit that pull requests show.
const SHORT: usize = 12;

/// `/2.0/repositories/{workspace}/{slug}/…`
pub(super) fn endpoint(method: &str, path: &[&str]) -> Option<Endpoint> {
    let ["2.0", "repositories", owner, name, path @ ..] = path else {
        return None;
    };
    let of = |call| Endpoint::of(call, Some(format!("{owner}/{name}")));
    match (method, path) {
        ("GET", ["pullrequests"]) => Some(of(Call::List)),
        ("POST", ["pullrequests"]) => Some(of(Call::Create)),
        ("GET", ["pullrequests", number]) => of(Call::Read).numbered(number),
        ("PUT", ["pullrequests", number]) => of(Call::Update).numbered(number),
        ("POST", ["pullrequests", number, "merge"]) => of(Call::Merge).numbered(number),
        ("POST", ["pullrequests", number, "decline"]) => of(Call::Decline).numbered(number),
        ("GET", ["pullrequests", number, "comments"]) => of(Call::ListComments).numbered(number),
        ("POST", ["pullrequests", number, "comments"]) => of(Call::Comment).numbered(number),
        ("GET", ["commit", hash]) => Some(of(Call::Commit).named(hash)),
        ("GET", ["refs", "branches", branch @ ..]) => Some(of(Call::Branch).named(&branch.join("/"))),
        ("DELETE", ["refs", "branches", branch @ ..]) => Some(of(Call::DeleteBranch).named(&branch.join("/"))),
        _ => None,
    }
}

/// [An `error`](https://developer.atlassian.com/cloud/bitbucket/rest/intro/#errors).
pub(super) fn problem(problem: &Problem) -> Value {
    json!({"type": "error", "error": {"message": problem.message}})
}

pub(super) async fn answer(repo: &mut Repo, endpoint: &Endpoint, asked: &Asked) -> Result<Reply, Problem> {
    let number = endpoint.number;
    match endpoint.call {
        Call::List => list(repo, asked),
        Call::Create => create(repo, asked).await,
        Call::Read => Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked))),
        Call::Update => {
            let pull = rules::pull_mut(repo, number)?;
            if pull.state != PullState::Open {
                return Err(Problem::new(StatusCode::BAD_REQUEST, "", "only open pull requests can be mutated"));
            }
            asked.text("/title").unwrap_or_default().clone_into(&mut pull.title);
            pull.body = asked.text("/description").map(ToOwned::to_owned);
            let reviewers = asked.body.get("reviewers").and_then(Value::as_array).into_iter().flatten();
            let id = |reviewer: &Value| {
                reviewer.get("uuid").or_else(|| reviewer.get("account_id"))?.as_str().map(ToOwned::to_owned)
            };
            pull.reviewers = reviewers.filter_map(id).collect();
            pull.updated = asked.at;
            Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked)))
        }
        Call::Decline => {
            rules::close(repo, number, asked.at)?;
            Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked)))
        }
        // https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-pull-request-id-merge-post
        Call::Merge => {
            if repo.blocked {
                let message = "You need at least 1 approval to merge this pull request";
                return Err(Problem::new(StatusCode::BAD_REQUEST, "", message));
            }
            rules::merge(repo, number, asked.at).await?;
            Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked)))
        }
        Call::ListComments => {
            let comments = rules::pull(repo, number)?.comments.iter().rev();
            let values: Value =
                comments.map(|comment| json!({"id": comment.id, "content": {"raw": comment.body}})).collect();
            Ok(Reply::ok(json!({"values": values})))
        }
        Call::Comment => {
            let text = asked.text("/content/raw").unwrap_or_default();
            let id = rules::comment(repo, number, text, asked.at)?;
            Ok(Reply::new(StatusCode::CREATED, json!({"id": id, "content": {"raw": text}})))
        }
        // https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commits/#api-repositories-workspace-repo-slug-commit-commit-get
        Call::Commit => match repo.git.rev_parse(&format!("{}^{{commit}}", endpoint.name)).await {
            Ok(hash) => Ok(Reply::ok(json!({"type": "commit", "hash": hash}))),
            Err(_) => Err(Problem::not_found("Commit not found")),
        },
        // https://developer.atlassian.com/cloud/bitbucket/rest/api-group-refs/#api-repositories-workspace-repo-slug-refs-branches-name-get
        Call::Branch => match repo.branches(&endpoint.name).await?.get(&endpoint.name) {
            Some(tip) => Ok(Reply::ok(json!({"name": endpoint.name, "target": {"hash": tip}}))),
            None => Err(Problem::not_found(format!("No such branch: {}", endpoint.name))),
        },
        // https://developer.atlassian.com/cloud/bitbucket/rest/api-group-refs/#api-repositories-workspace-repo-slug-refs-branches-name-delete
        Call::DeleteBranch => match repo.git.delete_branch(&endpoint.name).await {
            Ok(()) => Ok(Reply::new(StatusCode::NO_CONTENT, Value::Null)),
            Err(_) => Err(Problem::not_found(format!("No such branch: {}", endpoint.name))),
        },
        _ => Err(Problem::not_found("Resource not found")),
    }
}

/// [A list](https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-get),
/// [filtered](https://developer.atlassian.com/cloud/bitbucket/rest/intro/#filtering) by branches and
/// [paged](https://developer.atlassian.com/cloud/bitbucket/rest/intro/#pagination).
fn list(repo: &Repo, asked: &Asked) -> Result<Reply, Problem> {
    let states: Vec<&str> =
        asked.query.iter().filter(|(key, _)| key == "state").map(|(_, state)| state.as_str()).collect();
    let states = if states.is_empty() { vec!["OPEN"] } else { states };
    let mut branches = Vec::new();
    for condition in asked.value("q").into_iter().flat_map(|q| q.split(" AND ")) {
        let (field, value) = condition.split_once(" = ").unwrap_or_default();
        let value = serde_json::from_str::<String>(value);
        let bad = || Problem::new(StatusCode::BAD_REQUEST, "", format!("Invalid query: {condition}"));
        branches.push((field, value.map_err(|_error| bad())?));
        if !matches!(field, "source.branch.name" | "destination.branch.name") {
            return Err(bad());
        }
    }
    let pulls = rules::sorted(repo, asked.value("sort") == Some("-created_on"), |pull| {
        let is = |field: &str, value: &str| {
            if field == "source.branch.name" { pull.head == value } else { pull.base == value }
        };
        states.contains(&state_of(pull)) && branches.iter().all(|(field, value)| is(field, value))
    });
    let size = asked.number("pagelen", 10).clamp(1, 50);
    let page = asked.number("page", 1).max(1);
    let shown = pulls.chunks(size).nth(page - 1).unwrap_or_default();
    let next = (pulls.len() > page * size).then(|| format!("{}?page={}", asked.origin, page + 1));
    let values: Value = shown.iter().map(|pull| show(repo, pull, asked)).collect();
    Ok(Reply::ok(json!({"size": pulls.len(), "page": page, "pagelen": size, "next": next, "values": values})))
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-post>.
/// What a second one with the same branches comes to is not documented; here it is the first one with the new words.
async fn create(repo: &mut Repo, asked: &Asked) -> Result<Reply, Problem> {
    let text = |pointer: &str| asked.text(pointer).unwrap_or_default();
    let (head, base) = (text("/source/branch/name"), text("/destination/branch/name"));
    let number = match rules::open_one(repo, head, base) {
        Some(number) => {
            let pull = rules::pull_mut(repo, number)?;
            text("/title").clone_into(&mut pull.title);
            pull.body = Some(text("/description").to_owned());
            number
        }
        None => {
            let draft = asked.body.get("draft") == Some(&Value::Bool(true));
            let new = rules::New { title: text("/title"), body: text("/description"), head, base, draft };
            rules::create(repo, &new, asked.at).await?
        }
    };
    Ok(Reply::new(StatusCode::CREATED, show(repo, rules::pull(repo, number)?, asked)))
}

fn state_of(pull: &Pull) -> &'static str {
    match pull.state {
        PullState::Open => "OPEN",
        PullState::Closed => "DECLINED",
        PullState::Merged => "MERGED",
    }
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/#api-repositories-workspace-repo-slug-pullrequests-pull-request-id-get>
fn show(repo: &Repo, pull: &Pull, asked: &Asked) -> Value {
    let short = |id: &str| id.chars().take(SHORT).collect::<String>();
    let side = |branch: &str, tip: &str| json!({"branch": {"name": branch}, "commit": {"hash": short(tip)}, "repository": {"full_name": repo.git.name}});
    let reviewers = pull.reviewers.iter().map(|id| json!({"uuid": id, "account_id": id, "display_name": "Ann"}));
    json!({
        "type": "pullrequest",
        "id": pull.number,
        "title": pull.title,
        "description": pull.body,
        "state": state_of(pull),
        "draft": pull.draft,
        "source": side(&pull.head, &pull.head_sha),
        "destination": side(&pull.base, &pull.base_sha),
        "merge_commit": pull.merge_commit.as_ref().map(|id| json!({"hash": short(id)})),
        "reviewers": reviewers.collect::<Value>(),
        "links": {"html": {"href": format!("{}{}/pull-requests/{}", asked.origin, repo.git.name, pull.number)}},
    })
}
