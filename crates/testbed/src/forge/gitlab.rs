//! [GitLab's merge requests API](https://docs.gitlab.com/api/merge_requests/).

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::service::{Asked, Endpoint, Problem, Reply};
use super::{Call, MILESTONE, PERSON, rules};
use crate::github::{Pull, PullState, world::Repo};

const PERSON_ID: u64 = 11;
const MILESTONE_ID: u64 = 5;

/// [Ways to send a token](https://docs.gitlab.com/api/rest/authentication/).
pub(super) fn token(headers: &HeaderMap) -> Option<String> {
    let own = ["private-token", "job-token"].iter().find_map(|name| headers.get(*name)?.to_str().ok());
    own.map(ToOwned::to_owned).or_else(|| super::service::bearer(headers))
}

/// A project is its [escaped path](https://docs.gitlab.com/api/rest/#namespaced-paths): one segment.
pub(super) fn endpoint(method: &str, path: &[&str]) -> Option<Endpoint> {
    let path = path.strip_prefix(&["api", "v4"])?;
    let (project, path) = match path {
        ["users"] if method == "GET" => return Some(Endpoint::of(Call::User, None)),
        ["projects", project, path @ ..] => (project, path),
        _ => return None,
    };
    let of = |call| Endpoint::of(call, Some((*project).to_owned()));
    match (method, path) {
        ("GET", []) => Some(of(Call::Project)),
        ("GET", ["merge_requests"]) => Some(of(Call::List)),
        ("POST", ["merge_requests"]) => Some(of(Call::Create)),
        ("GET", ["merge_requests", number]) => of(Call::Read).numbered(number),
        ("PUT", ["merge_requests", number]) => of(Call::Update).numbered(number),
        ("PUT", ["merge_requests", number, "merge"]) => of(Call::Merge).numbered(number),
        ("GET", ["merge_requests", number, "notes"]) => of(Call::ListComments).numbered(number),
        ("POST", ["merge_requests", number, "notes"]) => of(Call::Comment).numbered(number),
        ("GET", ["repository", "branches", branch]) => Some(of(Call::Branch).named(branch)),
        ("DELETE", ["repository", "branches", branch]) => Some(of(Call::DeleteBranch).named(branch)),
        ("GET", ["milestones"]) => Some(of(Call::Milestone)),
        ("GET" | "POST", ["merge_trains", "merge_requests", number]) => of(Call::Train).numbered(number),
        _ => None,
    }
}

/// [A `message`](https://docs.gitlab.com/api/rest/troubleshooting/).
pub(super) fn problem(problem: &Problem) -> Value {
    match problem.status {
        // https://docs.gitlab.com/api/merge_requests/#create-mr answers a second merge request with a list.
        StatusCode::CONFLICT if problem.kind == "exists" => json!({"message": [problem.message]}),
        _ => json!({"message": problem.message}),
    }
}

/// <https://docs.gitlab.com/api/users/#list-users>
pub(super) fn users(asked: &Asked) -> Reply {
    let known = asked.value("username").is_some_and(|name| name.eq_ignore_ascii_case(PERSON));
    Reply::ok(if known { json!([user(PERSON)]) } else { json!([]) })
}

pub(super) async fn answer(repo: &mut Repo, endpoint: &Endpoint, asked: &Asked) -> Result<Reply, Problem> {
    let number = endpoint.number;
    match endpoint.call {
        // https://docs.gitlab.com/api/projects/#get-a-single-project
        Call::Project => {
            Ok(Reply::ok(json!({"id": 1, "path_with_namespace": repo.git.name, "merge_trains_enabled": false})))
        }
        Call::List => Ok(list(repo, asked)),
        Call::Create => create(repo, asked).await,
        Call::Read => Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked))),
        Call::Update => update(repo, number, asked),
        Call::Merge => merge(repo, number, asked).await,
        // https://docs.gitlab.com/api/notes/#list-all-merge-request-notes, the newest first.
        Call::ListComments => {
            let comments = rules::pull(repo, number)?.comments.iter().rev();
            Ok(Reply::ok(comments.map(|comment| json!({"id": comment.id, "body": comment.body})).collect()))
        }
        Call::Comment => {
            let text = asked.text("/body").unwrap_or_default();
            let id = rules::comment(repo, number, text, asked.at)?;
            Ok(Reply::new(StatusCode::CREATED, json!({"id": id, "body": text})))
        }
        // https://docs.gitlab.com/api/branches/#get-single-repository-branch
        Call::Branch => match repo.branches(&endpoint.name).await?.get(&endpoint.name) {
            Some(tip) => Ok(Reply::ok(json!({"name": endpoint.name, "commit": {"id": tip}}))),
            None => Err(Problem::not_found("404 Branch Not Found")),
        },
        // https://docs.gitlab.com/api/branches/#delete-repository-branch
        Call::DeleteBranch => match repo.git.delete_branch(&endpoint.name).await {
            Ok(()) => Ok(Reply::new(StatusCode::NO_CONTENT, Value::Null)),
            Err(_) => Err(Problem::not_found("404 Branch Not Found")),
        },
        // https://docs.gitlab.com/api/milestones/#list-project-milestones
        Call::Milestone => {
            let known = asked.value("title") == Some(MILESTONE);
            Ok(Reply::ok(if known { json!([{"id": MILESTONE_ID, "title": MILESTONE}]) } else { json!([]) }))
        }
        _ => Err(Problem::not_found("404 Not Found")),
    }
}

/// [A list](https://docs.gitlab.com/api/merge_requests/#list-project-merge-requests), in pages that are
/// [linked](https://docs.gitlab.com/api/rest/#offset-based-pagination).
fn list(repo: &Repo, asked: &Asked) -> Reply {
    let state = asked.value("state").unwrap_or("all");
    let newest_first = asked.value("sort").unwrap_or("desc") == "desc";
    let pulls = rules::sorted(repo, newest_first, |pull| {
        (state == "all" || state_of(pull) == state)
            && asked.value("source_branch").is_none_or(|branch| branch == pull.head)
            && asked.value("target_branch").is_none_or(|branch| branch == pull.base)
    });
    let size = asked.number("per_page", 20).clamp(1, 100);
    let page = asked.number("page", 1).max(1);
    let shown = pulls.chunks(size).nth(page - 1).unwrap_or_default();
    let link = (pulls.len() > page * size).then(|| format!("<{}?page={}>; rel=\"next\"", asked.origin, page + 1));
    Reply { link, ..Reply::ok(shown.iter().map(|pull| show(repo, pull, asked)).collect()) }
}

/// <https://docs.gitlab.com/api/merge_requests/#create-mr>; a second open one is a conflict.
async fn create(repo: &mut Repo, asked: &Asked) -> Result<Reply, Problem> {
    let text = |name: &str| asked.text(name).unwrap_or_default();
    let (head, base, title) = (text("/source_branch"), text("/target_branch"), text("/title"));
    if let Some(number) = rules::open_one(repo, head, base) {
        let message = format!("Another open merge request already exists for this source branch: !{number}");
        return Err(Problem::new(StatusCode::CONFLICT, "exists", message));
    }
    if title.chars().count() > 255 {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "", "title is too long (maximum is 255 characters)"));
    }
    // https://docs.gitlab.com/user/project/merge_requests/drafts/
    let (title, draft) = match title.strip_prefix("Draft: ") {
        Some(title) => (title, true),
        None => (title, false),
    };
    let new = rules::New { title, body: text("/description"), head, base, draft };
    let number = rules::create(repo, &new, asked.at).await?;
    Ok(Reply::new(StatusCode::CREATED, show(repo, rules::pull(repo, number)?, asked)))
}

/// <https://docs.gitlab.com/api/merge_requests/#update-mr>
fn update(repo: &mut Repo, number: u64, asked: &Asked) -> Result<Reply, Problem> {
    let ids = |name: &str| asked.body.get(name).and_then(Value::as_array).map(|ids| ids.iter().any(|id| id == "11"));
    let pull = rules::pull_mut(repo, number)?;
    if let Some(title) = asked.text("/title") {
        pull.draft = title.starts_with("Draft: ");
        pull.title = title.strip_prefix("Draft: ").unwrap_or(title).to_owned();
    }
    if let Some(text) = asked.text("/description") {
        pull.body = Some(text.to_owned());
    }
    if let Some(labels) = asked.text("/add_labels") {
        pull.labels.extend(labels.split(',').map(ToOwned::to_owned));
    }
    if let Some(person) = ids("reviewer_ids") {
        pull.reviewers = person.then(|| PERSON.to_owned()).into_iter().collect();
    }
    if let Some(person) = ids("assignee_ids").or_else(|| asked.text("/assignee_id").map(|id| id == "11")) {
        pull.assignees = person.then(|| PERSON.to_owned()).into_iter().collect();
    }
    if asked.text("/milestone_id") == Some("5") {
        pull.milestone = Some(MILESTONE.to_owned());
    }
    pull.updated = asked.at;
    if asked.text("/state_event") == Some("close") && pull.state == PullState::Open {
        rules::close(repo, number, asked.at)?;
    }
    Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked)))
}

/// [Merges](https://docs.gitlab.com/api/merge_requests/#merge-a-merge-request): 409 when the head is not `sha`, 405 when
/// it cannot be merged, or when it is to wait for what is there.
async fn merge(repo: &mut Repo, number: u64, asked: &Asked) -> Result<Reply, Problem> {
    let pull = rules::pull(repo, number)?;
    if asked.text("/sha").is_some_and(|sha| sha != pull.head_sha) {
        return Err(Problem::new(StatusCode::CONFLICT, "", "SHA does not match HEAD of source branch"));
    }
    let wait = asked.text("/merge_when_pipeline_succeeds") == Some("true");
    let not_allowed = || Problem::new(StatusCode::METHOD_NOT_ALLOWED, "", "405 Method Not Allowed");
    if wait != repo.blocked {
        return Err(not_allowed());
    }
    if wait {
        rules::merge_later(repo, number, asked.at).await?;
    } else {
        rules::merge(repo, number, asked.at).await.map_err(|_problem| not_allowed())?;
    }
    Ok(Reply::ok(show(repo, rules::pull(repo, number)?, asked)))
}

fn state_of(pull: &Pull) -> &'static str {
    match pull.state {
        PullState::Open => "opened",
        PullState::Closed => "closed",
        PullState::Merged => "merged",
    }
}

fn user(name: &str) -> Value {
    json!({"id": PERSON_ID, "username": name, "name": name})
}

/// <https://docs.gitlab.com/api/merge_requests/#get-single-mr>
fn show(repo: &Repo, pull: &Pull, asked: &Asked) -> Value {
    let people = |names: &std::collections::BTreeSet<String>| names.iter().map(|name| user(name)).collect::<Value>();
    let status = match (pull.draft, repo.blocked) {
        (true, _) => "draft_status",
        (false, true) => "not_approved",
        (false, false) => "mergeable",
    };
    json!({
        "id": 1000 + pull.number,
        "iid": pull.number,
        "web_url": format!("{}{}/-/merge_requests/{}", asked.origin, repo.git.name, pull.number),
        "state": state_of(pull),
        "title": if pull.draft { format!("Draft: {}", pull.title) } else { pull.title.clone() },
        "description": pull.body,
        "source_branch": pull.head,
        "target_branch": pull.base,
        "source_project_id": 1,
        "target_project_id": 1,
        "sha": pull.head_sha,
        "merge_commit_sha": pull.merge_commit,
        "squash_commit_sha": null,
        "draft": pull.draft,
        "labels": pull.labels,
        "reviewers": people(&pull.reviewers),
        "assignees": people(&pull.assignees),
        "milestone": pull.milestone.as_ref().map(|title| json!({"id": MILESTONE_ID, "title": title})),
        "merge_when_pipeline_succeeds": pull.auto_merge,
        "detailed_merge_status": status,
    })
}
