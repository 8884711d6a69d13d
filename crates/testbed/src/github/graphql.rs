//! The few questions of the [GraphQL API](https://docs.github.com/en/graphql) that are about merging.

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    api::{Problem, Reply},
    pulls,
    world::{PullState, Repo, World},
};
use crate::git_server::MergeTree;

#[derive(Deserialize)]
struct Question {
    query: String,
    variables: Variables,
}

#[derive(Deserialize)]
struct Variables {
    owner: Option<String>,
    name: Option<String>,
    number: Option<u64>,
    id: Option<String>,
    head: Option<String>,
}

/// The answer, whose errors come with status 200.
pub(super) async fn answer(world: &World, body: &[u8], at: Timestamp) -> Result<Reply, Problem> {
    let question: Question = serde_json::from_slice(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("Problems parsing JSON: {error}")))?;
    let variables = question.variables;
    let data = match (&variables.owner, &variables.name, variables.number, &variables.id) {
        (Some(owner), Some(name), Some(number), _) => match world.repo(&format!("{owner}/{name}")).await {
            Ok(mut repo) => view(&mut repo, number).await?,
            Err(_) => Err(
                json!({"type": "NOT_FOUND", "message": format!("Could not resolve to a Repository with the name '{owner}/{name}'.")}),
            ),
        },
        (_, _, _, Some(id)) => {
            let (name, number) =
                id.strip_prefix("PR_").and_then(|id| id.rsplit_once('#')).ok_or_else(Problem::not_found)?;
            let number = number.parse().map_err(|_error| Problem::not_found())?;
            let enqueue = question.query.contains("enqueuePullRequest");
            schedule(&mut *world.repo(name).await?, number, variables.head.as_deref(), enqueue, at)
        }
        _ => Err(json!({"message": "Variables are missing"})),
    };
    let body = match data {
        Ok(data) => json!({"data": data}),
        Err(error) => json!({"data": null, "errors": [error]}),
    };
    Ok(Reply::new(StatusCode::OK, body))
}

async fn view(repo: &mut Repo, number: u64) -> Result<Result<Value, Value>, Problem> {
    let Some(pull) = repo.pull(number).cloned() else {
        return Ok(Err(
            json!({"type": "NOT_FOUND", "message": format!("Could not resolve to a PullRequest with the number of {number}.")}),
        ));
    };
    let conflicts =
        pull.state == PullState::Open && repo.git.merge_tree(&pull.base, &pull.head).await? == MergeTree::Conflict;
    let status = match (pull.state, conflicts, pull.draft, repo.blocked) {
        (PullState::Closed | PullState::Merged, ..) => "UNKNOWN",
        (_, true, ..) => "DIRTY",
        (_, _, true, _) => "DRAFT",
        (.., true) => "BLOCKED",
        _ => "CLEAN",
    };
    let state = match pull.state {
        PullState::Open => "OPEN",
        PullState::Closed => "CLOSED",
        PullState::Merged => "MERGED",
    };
    Ok(Ok(json!({"repository": {
        "autoMergeAllowed": true,
        "viewerDefaultMergeMethod": "MERGE",
        "mergeQueue": repo.queue.then(|| json!({"id": "MQ_1"})),
        "pullRequest": {
            "id": format!("PR_{}#{number}", repo.git.name),
            "state": state,
            "headRefOid": pull.head_sha,
            "mergeStateStatus": status,
            "reviewDecision": repo.blocked.then_some("REVIEW_REQUIRED"),
            "isInMergeQueue": repo.queue && pull.auto_merge && !repo.blocked,
            "autoMergeRequest": (pull.auto_merge && (repo.blocked || !repo.queue)).then(|| json!({"enabledAt": "2026-11-23T08:00:00Z"})),
        },
    }})))
}

fn schedule(repo: &mut Repo, number: u64, head: Option<&str>, enqueue: bool, at: Timestamp) -> Result<Value, Value> {
    let problem = |message: &str| json!({"type": "UNPROCESSABLE", "message": message});
    let (blocked, queue) = (repo.blocked, repo.queue);
    let Ok(pull) = repo.pull_mut(number) else {
        return Err(problem("Could not resolve to a node"));
    };
    if pull.state != PullState::Open {
        return Err(problem("Pull request is closed"));
    }
    if head.is_some_and(|head| head != pull.head_sha) {
        return Err(problem("Head sha didn't match expected head OID"));
    }
    if enqueue {
        if !queue || blocked {
            return Err(problem("Pull request is not in a mergeable state"));
        }
        pull.auto_merge = true;
        pull.updated = at;
        return Ok(json!({"enqueuePullRequest": {"mergeQueueEntry": {"id": "MQE_1"}}}));
    }
    if !blocked && !queue {
        return Err(problem("Pull request Pull request is in clean status"));
    }
    pull.auto_merge = true;
    pull.updated = at;
    Ok(
        json!({"enablePullRequestAutoMerge": {"pullRequest": {"autoMergeRequest": {"enabledAt": "2026-11-23T08:00:00Z"}}}}),
    )
}

/// Merges what was only waiting for the rules to be met.
pub(super) async fn merge_scheduled(repo: &mut Repo, at: Timestamp) -> Result<(), Problem> {
    let waiting = repo.pulls.iter().filter(|pull| pull.auto_merge && pull.state == PullState::Open);
    for number in waiting.map(|pull| pull.number).collect::<Vec<_>>() {
        pulls::merge(repo, number, &pulls::Merge::default(), at).await?;
    }
    Ok(())
}
