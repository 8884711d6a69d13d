//! What all hosts agree on: which pull requests can be opened, closed and merged.

use http::StatusCode;
use jiff::Timestamp;

use super::service::Problem;
use crate::github::{
    Comment, Pull, PullState, pulls,
    world::{Repo, World},
};

/// A pull request to be opened.
pub(super) struct New<'a> {
    pub(super) title: &'a str,
    pub(super) body: &'a str,
    pub(super) head: &'a str,
    pub(super) base: &'a str,
    pub(super) draft: bool,
}

/// The open pull request with this head and base.
pub(super) fn open_one(repo: &Repo, head: &str, base: &str) -> Option<u64> {
    let open = repo.pulls.iter().filter(|pull| pull.state == PullState::Open);
    open.into_iter().find(|pull| pull.head == head && pull.base == base).map(|pull| pull.number)
}

/// Opens a pull request, and returns its number.
pub(super) async fn create(repo: &mut Repo, new: &New<'_>, at: Timestamp) -> Result<u64, Problem> {
    let branches = repo.git.branches().await?;
    let missing = |branch: &str| Problem::not_found(format!("branch {branch} does not exist"));
    let head_sha = branches.get(new.head).ok_or_else(|| missing(new.head))?;
    let base_sha = branches.get(new.base).ok_or_else(|| missing(new.base))?;
    if new.title.trim().is_empty() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "", "title can't be blank"));
    }
    let number = repo.pulls.iter().map(|pull| pull.number).max().unwrap_or_default() + 1;
    repo.pulls.push(Pull {
        number,
        title: new.title.to_owned(),
        body: Some(new.body.to_owned()),
        state: PullState::Open,
        head: new.head.to_owned(),
        head_sha: head_sha.clone(),
        base: new.base.to_owned(),
        base_sha: base_sha.clone(),
        merge_commit: None,
        draft: new.draft,
        labels: Default::default(),
        reviewers: Default::default(),
        teams: Default::default(),
        asked: Vec::new(),
        assignees: Default::default(),
        milestone: None,
        auto_merge: false,
        comments: Vec::new(),
        created: at,
        updated: at,
        closed: None,
    });
    Ok(number)
}

pub(super) fn pull(repo: &Repo, number: u64) -> Result<&Pull, Problem> {
    repo.pull(number).ok_or_else(|| Problem::not_found(format!("404 pull request {number} Not Found")))
}

pub(super) fn pull_mut(repo: &mut Repo, number: u64) -> Result<&mut Pull, Problem> {
    let pull = repo.pulls.iter_mut().find(|pull| pull.number == number);
    pull.ok_or_else(|| Problem::not_found(format!("404 pull request {number} Not Found")))
}

pub(super) fn comment(repo: &mut Repo, number: u64, text: &str, at: Timestamp) -> Result<u64, Problem> {
    let comment = Comment { id: World::next_id(), body: text.to_owned(), created: at };
    let id = comment.id;
    pull_mut(repo, number)?.comments.push(comment);
    Ok(id)
}

/// Merges into the bare repository; returns the commit's id.
pub(super) async fn merge(repo: &mut Repo, number: u64, at: Timestamp) -> Result<String, Problem> {
    let merged = pulls::merge(repo, number, &pulls::Merge::default(), at).await;
    merged.map_err(|problem| Problem::new(StatusCode::CONFLICT, "", problem.to_string()))
}

/// Merges now, or as soon as nothing is in the way; returns the commit's id if it was now.
pub(super) async fn merge_later(repo: &mut Repo, number: u64, at: Timestamp) -> Result<Option<String>, Problem> {
    if !repo.blocked {
        return merge(repo, number, at).await.map(Some);
    }
    let pull = pull_mut(repo, number)?;
    pull.auto_merge = true;
    pull.updated = at;
    Ok(None)
}

pub(super) fn close(repo: &mut Repo, number: u64, at: Timestamp) -> Result<(), Problem> {
    let pull = pull_mut(repo, number)?;
    if pull.state != PullState::Open {
        return Err(Problem::new(StatusCode::CONFLICT, "", "it is not open"));
    }
    pull.end(PullState::Closed, at);
    Ok(())
}

/// The pull requests in the order of their numbers, or in the opposite one.
pub(super) fn sorted(repo: &Repo, newest_first: bool, keep: impl Fn(&Pull) -> bool) -> Vec<&Pull> {
    let mut pulls: Vec<&Pull> = repo.pulls.iter().filter(|pull| keep(pull)).collect();
    if newest_first {
        pulls.reverse();
    }
    pulls
}
