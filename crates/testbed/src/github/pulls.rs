//! The rules of pull requests: which a list shows, and what creates, changes and merges one.

use std::{cmp::Reverse, collections::HashMap};

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use url::form_urlencoded;

use super::{
    api::Problem,
    world::{Pull, PullState, Repo},
};
use crate::git_server::MergeTree;

/// The fields of a [new pull request](https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request).
#[derive(Deserialize)]
pub(super) struct Create {
    title: String,
    head: String,
    base: String,
    body: Option<String>,
    #[serde(default)]
    draft: bool,
}

/// The fields of an [update](https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request).
#[derive(Deserialize)]
pub(super) struct Update {
    title: Option<String>,
    body: Option<String>,
    state: Option<String>,
}

/// The fields of a [merge](https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request).
#[derive(Default, Deserialize)]
pub(crate) struct Merge {
    sha: Option<String>,
    merge_method: Option<String>,
    commit_title: Option<String>,
    commit_message: Option<String>,
}

/// The [filters and order](https://docs.github.com/en/rest/pulls/pulls#list-pull-requests) of a list.
pub(super) fn select<'a>(
    pulls: &'a [Pull],
    name: &str,
    query: &HashMap<String, String>,
) -> Result<Vec<&'a Pull>, Problem> {
    let owner = name.split('/').next().unwrap_or_default();
    let invalid = || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed");
    let (open, closed) = match query.get("state").map_or("open", String::as_str) {
        "open" => (true, false),
        "closed" => (false, true),
        "all" => (true, true),
        _ => return Err(invalid()),
    };
    // A head without an owner is not a filter.
    let head = query.get("head").and_then(|head| head.split_once(':'));
    let mut selected: Vec<&Pull> = pulls
        .iter()
        .filter(|pull| if pull.state == PullState::Open { open } else { closed })
        .filter(|pull| head.is_none_or(|(user, branch)| user == owner && branch == pull.head))
        .filter(|pull| query.get("base").is_none_or(|base| *base == pull.base))
        .collect();
    let sort = query.get("sort").map_or("created", String::as_str);
    match sort {
        "created" => selected.sort_by_key(|pull| pull.number),
        "updated" => selected.sort_by_key(|pull| (pull.updated, pull.number)),
        "popularity" => selected.sort_by_key(|pull| (pull.comments.len(), pull.number)),
        "long-running" => selected.sort_by_key(|pull| Reverse(pull.number)),
        _ => return Err(invalid()),
    }
    let descending = match query.get("direction").map(String::as_str) {
        Some(direction) => direction == "desc",
        None => sort == "created",
    };
    if descending {
        selected.reverse();
    }
    Ok(selected)
}

/// One page and its [`Link` header](https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api).
pub(super) fn paged<'a, T>(
    items: &'a [T],
    query: &HashMap<String, String>,
    url: &str,
) -> Result<(&'a [T], Option<String>), Problem> {
    let number = |key: &str, default: usize| match query.get(key).map(|value| value.parse::<usize>()) {
        None => Ok(default),
        Some(Ok(number)) => Ok(number.max(1)),
        Some(Err(_)) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{key} is not a number"))),
    };
    let size = number("per_page", 30)?.min(100);
    let page = number("page", 1)?;
    let last = items.len().div_ceil(size).max(1);
    let address = |page: usize| {
        let mut others: Vec<_> = query.iter().filter(|(key, _)| *key != "page").collect();
        others.sort();
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair("page", &page.to_string())
            .finish();
        format!("{url}?{query}")
    };
    let mut links = Vec::new();
    if page > 1 {
        links.push(format!("<{}>; rel=\"prev\"", address(page.min(last + 1) - 1)));
    }
    if page < last {
        links.push(format!("<{}>; rel=\"next\"", address(page + 1)));
        links.push(format!("<{}>; rel=\"last\"", address(last)));
    }
    if page > 1 {
        links.push(format!("<{}>; rel=\"first\"", address(1)));
    }
    let items = items.chunks(size).nth(page - 1).unwrap_or_default();
    Ok((items, (!links.is_empty()).then(|| links.join(", "))))
}

/// [Creates](https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request) a pull request, or tells why not.
pub(super) async fn create(repo: &mut Repo, create: Create, at: Timestamp) -> Result<u64, Problem> {
    let owner = repo.git.name.split('/').next().unwrap_or_default().to_owned();
    let head = match create.head.split_once(':') {
        Some((user, branch)) if user == owner => branch.to_owned(),
        Some(_) => return Err(Problem::field("head", "invalid")),
        None => create.head,
    };
    if create.title.trim().is_empty() {
        return Err(Problem::field("title", "missing_field"));
    }
    let title = limited("title", create.title)?;
    let body = create.body.map(|body| limited("body", body)).transpose()?;
    let branches = repo.branches(&head).await?;
    let base_sha = branches.get(&create.base).ok_or_else(|| Problem::field("base", "invalid"))?;
    let head_sha = branches.get(&head).ok_or_else(|| Problem::field("head", "invalid"))?;
    if repo.pulls.iter().any(|pull| pull.state == PullState::Open && pull.head == head && pull.base == create.base) {
        return Err(Problem::custom(format!("A pull request already exists for {owner}:{head}.")));
    }
    if repo.git.is_ancestor(head_sha, base_sha).await? {
        return Err(Problem::custom(format!("No commits between {} and {head}", create.base)));
    }
    let number = repo.pulls.iter().map(|pull| pull.number).max().unwrap_or_default() + 1;
    repo.pulls.push(Pull {
        number,
        title,
        body,
        state: PullState::Open,
        head_sha: head_sha.clone(),
        head,
        base_sha: base_sha.clone(),
        base: create.base,
        merge_commit: None,
        draft: create.draft,
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

/// [Updates](https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request) a pull request. A merged one, and one
/// whose head branch is gone, cannot be opened again.
pub(super) async fn update(repo: &mut Repo, number: u64, update: Update, at: Timestamp) -> Result<(), Problem> {
    let title = update.title.map(|title| limited("title", title)).transpose()?;
    let body = update.body.map(|body| limited("body", body)).transpose()?;
    let branches = repo.git.branches().await?;
    let pull = repo.pull_mut(number)?;
    match (update.state.as_deref(), pull.state) {
        (None, _) | (Some("open"), PullState::Open) | (Some("closed"), PullState::Closed | PullState::Merged) => {}
        (Some("closed"), PullState::Open) => pull.end(PullState::Closed, at),
        (Some("open"), PullState::Closed) if branches.contains_key(&pull.head) => {
            pull.state = PullState::Open;
            pull.closed = None;
        }
        (Some("open"), PullState::Closed) => {
            return Err(Problem::custom(format!(
                "state cannot be changed. The {} branch has been deleted.",
                pull.head
            )));
        }
        (Some("open"), PullState::Merged) => {
            return Err(Problem::custom("state cannot be changed. The pull request cannot be reopened."));
        }
        (Some(_), _) => return Err(Problem::field("state", "invalid")),
    }
    if let Some(title) = title {
        pull.title = title;
    }
    if let Some(body) = body {
        pull.body = Some(body);
    }
    pull.updated = at;
    Ok(())
}

/// [Merges](https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request) a pull request into the bare repository
/// and returns the commit's id: 405 when it is not mergeable, 409 when the head is not what the caller thinks.
pub(crate) async fn merge(repo: &mut Repo, number: u64, options: &Merge, at: Timestamp) -> Result<String, Problem> {
    let not_allowed = |message: &str| Problem::new(StatusCode::METHOD_NOT_ALLOWED, message);
    let owner = repo.git.name.split('/').next().unwrap_or_default().to_owned();
    let git = repo.git.clone();
    let blocked = repo.blocked;
    let pull = repo.pull_mut(number)?;
    if pull.state != PullState::Open || pull.draft || blocked {
        return Err(not_allowed("Pull Request is not mergeable"));
    }
    if options.sha.as_ref().is_some_and(|sha| *sha != pull.head_sha) {
        return Err(Problem::new(StatusCode::CONFLICT, "Head branch was modified. Review and try the merge again."));
    }
    let base = git.rev_parse(&format!("refs/heads/{}", pull.base)).await?;
    let MergeTree::Clean(tree) = git.merge_tree(&base, &pull.head_sha).await? else {
        return Err(not_allowed("Pull Request is not mergeable"));
    };
    let merge_title = format!("Merge pull request #{number} from {owner}/{}", pull.head);
    let (parents, title, message): (&[&str], _, _) = match options.merge_method.as_deref().unwrap_or("merge") {
        "merge" => (&[&base, &pull.head_sha], merge_title, pull.title.clone()),
        "squash" => (&[&base], format!("{} (#{number})", pull.title), String::new()),
        "rebase" => return Err(not_allowed("Rebase merges are not allowed on this repository.")),
        _ => return Err(Problem::field("merge_method", "invalid")),
    };
    let title = options.commit_title.clone().unwrap_or(title);
    let message = options.commit_message.clone().unwrap_or(message);
    let message = format!("{title}\n\n{message}");
    let mut args = vec!["commit-tree", &tree, "-m", message.trim_end()];
    args.extend(parents.iter().flat_map(|parent| ["-p", *parent]));
    let commit = git.git(&args).await?.trim_end().to_owned();
    let base_ref = format!("refs/heads/{}", pull.base);
    if git.git(&["update-ref", &base_ref, &commit, &base]).await.is_err() {
        return Err(not_allowed("Base branch was modified. Review and try the merge again."));
    }
    pull.merge_commit = Some(commit.clone());
    pull.end(PullState::Merged, at);
    Ok(commit)
}

pub(crate) fn close(repo: &mut Repo, number: u64, at: Timestamp) -> Result<(), Problem> {
    let pull = repo.pull_mut(number)?;
    if pull.state != PullState::Open {
        return Err(Problem::custom("The pull request is not open."));
    }
    pull.end(PullState::Closed, at);
    Ok(())
}

pub(super) fn limited(field: &str, text: String) -> Result<String, Problem> {
    let limit = if field == "title" { 256 } else { 65536 };
    if text.chars().count() > limit {
        return Err(Problem::custom(format!("{field} is too long (maximum is {limit} characters)")));
    }
    Ok(text)
}
