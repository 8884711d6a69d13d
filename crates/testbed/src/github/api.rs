//! From a call to its answer.

use std::{collections::HashMap, fmt};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{
    LOGIN, MILESTONE, PERSON, TEAM,
    endpoint::{Call, Endpoint},
    graphql,
    json::Render,
    pulls::{Merge, create, limited, merge, paged, select, update},
    world::{Comment, PullState, World},
};
use crate::git_server::{MergeTree, RepoHandle};

/// An answer that tells of success.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Option<Value>,
    pub(super) link: Option<String>,
}

impl Reply {
    pub(super) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body: Some(body), link: None }
    }

    fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }
}

/// A [client error](https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api).
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    message: String,
    errors: Vec<Value>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: Vec::new() }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    /// [Validation failed](https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed).
    fn invalid(error: Value) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed");
        problem.errors.push(error);
        problem
    }

    pub(super) fn field(field: &str, code: &str) -> Self {
        Self::invalid(json!({"resource": "PullRequest", "field": field, "code": code}))
    }

    pub(super) fn custom(message: impl fmt::Display) -> Self {
        Self::invalid(json!({"resource": "PullRequest", "code": "custom", "message": message.to_string()}))
    }

    pub(super) fn into_reply(self) -> Reply {
        let mut body = json!({
            "message": self.message,
            "documentation_url": "https://docs.github.com/rest",
            "status": self.status.as_str(),
        });
        if !self.errors.is_empty()
            && let Some(body) = body.as_object_mut()
        {
            body.insert("errors".to_owned(), Value::Array(self.errors));
        }
        Reply::new(self.status, body)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {:?}", self.status, self.message, self.errors)
    }
}

impl std::error::Error for Problem {}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
    }
}

pub(super) async fn answer(world: &World, request: &Request<Bytes>, at: Timestamp) -> Result<Reply, Problem> {
    let access = world.access(request.headers())?;
    let endpoint = Endpoint::parse(request.method(), request.uri().path()).ok_or_else(Problem::not_found)?;
    let Some(access) = access else {
        return Err(if endpoint.writes() || endpoint.repo.is_none() {
            Problem::new(StatusCode::UNAUTHORIZED, "Requires authentication")
        } else {
            Problem::not_found()
        });
    };
    if endpoint.call == Call::GraphQl {
        return graphql::answer(world, request.body(), at).await;
    }
    let Some(name) = &endpoint.repo else {
        return Ok(Reply::ok(Render::of(world, "").user(LOGIN)));
    };
    // What a token may not see is "not found":
    // https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#404-not-found-for-an-existing-resource
    if access.is_some_and(|repos| !repos.contains(name)) {
        return Err(Problem::not_found());
    }
    let mut repo = match world.repo(name).await {
        Err(_) if RepoHandle::open(world.root(), name).is_err() => return Err(Problem::not_found()),
        repo => repo?,
    };
    let repo = &mut *repo;
    if repo.archived && endpoint.writes() {
        return Err(Problem::new(StatusCode::FORBIDDEN, "Repository was archived so is read-only."));
    }
    let render = Render::of(world, name);
    let body = request.body();
    let query: HashMap<String, String> =
        form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    match endpoint.call {
        Call::User | Call::GraphQl | Call::Installation | Call::AccessToken => Err(Problem::not_found()),
        Call::Repo => Ok(Reply::ok(render.repo())),
        Call::Branch => {
            let branches = repo.branches(&endpoint.branch).await?;
            let tip = branches.get(&endpoint.branch);
            let tip = tip.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "Branch not found"))?;
            Ok(Reply::ok(render.branch(&endpoint.branch, tip)))
        }
        Call::Ref => {
            let branches = repo.branches(&endpoint.branch).await?;
            Ok(Reply::ok(
                render.reference(&endpoint.branch, branches.get(&endpoint.branch).ok_or_else(Problem::not_found)?),
            ))
        }
        Call::DeleteRef => {
            if repo.git.delete_branch(&endpoint.branch).await.is_err() {
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Reference does not exist"));
            }
            Ok(Reply { status: StatusCode::NO_CONTENT, body: None, link: None })
        }
        Call::ListPulls => {
            let pulls = select(&repo.pulls, name, &query)?;
            let (page, link) = paged(&pulls, &query, &render.url("pulls"))?;
            Ok(Reply { link, ..Reply::ok(page.iter().map(|pull| render.pull(pull)).collect()) })
        }
        Call::CreatePull => {
            let number = create(repo, parsed(body)?, at).await?;
            let pull = repo.pull(number).ok_or_else(Problem::not_found)?;
            Ok(Reply::new(StatusCode::CREATED, render.full_pull(pull, None)))
        }
        Call::GetPull => {
            let pull = repo.pull(endpoint.number).ok_or_else(Problem::not_found)?;
            let mergeable = match pull.state {
                PullState::Open => Some(repo.git.merge_tree(&pull.base, &pull.head).await? != MergeTree::Conflict),
                PullState::Closed | PullState::Merged => None,
            };
            Ok(Reply::ok(render.full_pull(pull, mergeable)))
        }
        Call::UpdatePull => {
            update(repo, endpoint.number, parsed(body)?, at).await?;
            let pull = repo.pull(endpoint.number).ok_or_else(Problem::not_found)?;
            Ok(Reply::ok(render.full_pull(pull, None)))
        }
        Call::MergePull => {
            let options: Merge = if body.is_empty() { Merge::default() } else { parsed(body)? };
            let sha = merge(repo, endpoint.number, &options, at).await?;
            Ok(Reply::ok(json!({"sha": sha, "merged": true, "message": "Pull Request successfully merged"})))
        }
        Call::ListComments => {
            let pull = repo.pull(endpoint.number).ok_or_else(Problem::not_found)?;
            let comments: Vec<_> = pull.comments.iter().collect();
            let (page, link) = paged(&comments, &query, &render.url(&format!("issues/{}/comments", pull.number)))?;
            Ok(Reply { link, ..Reply::ok(page.iter().map(|comment| render.comment(pull.number, comment)).collect()) })
        }
        Call::CreateComment => {
            let Text { body } = parsed(body)?;
            if body.trim().is_empty() {
                let error = json!({"resource": "IssueComment", "code": "missing_field", "field": "body"});
                return Err(Problem::invalid(error));
            }
            let pull = repo.pull_mut(endpoint.number)?;
            let comment = Comment { id: World::next_id(), body: limited("body", body)?, created: at };
            pull.comments.push(comment.clone());
            pull.updated = at;
            Ok(Reply::new(StatusCode::CREATED, render.comment(pull.number, &comment)))
        }
        Call::AddLabels => {
            let Labels { labels } = parsed(body)?;
            let pull = repo.pull_mut(endpoint.number)?;
            pull.labels.extend(labels);
            pull.updated = at;
            Ok(Reply::ok(pull.labels.iter().map(|label| render.label(label)).collect()))
        }
        Call::UpdateIssue => {
            let Milestoned { milestone } = parsed(body)?;
            if milestone != 1 {
                return Err(Problem::field("milestone", "invalid"));
            }
            let pull = repo.pull_mut(endpoint.number)?;
            pull.milestone = Some(MILESTONE.to_owned());
            pull.updated = at;
            Ok(Reply::ok(json!({"number": pull.number, "milestone": render.milestone(MILESTONE)})))
        }
        Call::AddAssignees => {
            let Assigned { assignees } = parsed(body)?;
            let pull = repo.pull_mut(endpoint.number)?;
            // Who cannot be assigned is left out.
            pull.assignees.extend(assignees.into_iter().filter(|name| name == PERSON));
            pull.updated = at;
            let assignees = pull.assignees.iter().map(|name| render.user(name)).collect::<Value>();
            Ok(Reply::new(StatusCode::CREATED, json!({"number": pull.number, "assignees": assignees})))
        }
        Call::ListEvents => {
            let pull = repo.pull(endpoint.number).ok_or_else(Problem::not_found)?;
            let people = pull.asked.iter().map(|name| match name.strip_prefix("team:") {
                Some(team) => json!({"event": "review_requested", "requested_team": render.team(team)}),
                None => json!({"event": "review_requested", "requested_reviewer": render.user(name)}),
            });
            let events: Vec<Value> = people.collect();
            let (page, link) = paged(&events, &query, &render.url(&format!("issues/{}/events", pull.number)))?;
            Ok(Reply { link, ..Reply::ok(page.iter().cloned().collect()) })
        }
        Call::ListMilestones => Ok(Reply::ok(json!([render.milestone(MILESTONE)]))),
        Call::RequestReviewers => {
            let Asked { reviewers, team_reviewers } = parsed(body)?;
            if reviewers.iter().any(|name| name != PERSON) || team_reviewers.iter().any(|name| name != TEAM) {
                let message = "Reviews may only be requested from collaborators.";
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, message));
            }
            let pull = repo.pull_mut(endpoint.number)?;
            pull.asked.extend(reviewers.iter().cloned());
            pull.asked.extend(team_reviewers.iter().map(|team| format!("team:{team}")));
            pull.reviewers.extend(reviewers);
            pull.teams.extend(team_reviewers);
            pull.updated = at;
            Ok(Reply::new(StatusCode::CREATED, render.full_pull(pull, None)))
        }
    }
}

#[derive(Deserialize)]
struct Text {
    body: String,
}

#[derive(Deserialize)]
struct Milestoned {
    milestone: u64,
}

#[derive(Deserialize)]
struct Assigned {
    assignees: Vec<String>,
}

#[derive(Deserialize)]
struct Asked {
    reviewers: Vec<String>,
    team_reviewers: Vec<String>,
}

#[derive(Deserialize)]
struct Labels {
    labels: Vec<String>,
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("Invalid request.\n\n{error}"))
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "Problems parsing JSON"),
    })
}
