//! Requests to GitLab's API. Pure.

use gitlab::api::Endpoint;
use gitlab::api::common::{SortOrder, path_escaped};
use gitlab::api::projects::Project;
use gitlab::api::projects::merge_requests::notes::{CreateMergeRequestNote, MergeRequestNotes};
use gitlab::api::projects::merge_requests::{
    CreateMergeRequest, EditMergeRequest, MergeMergeRequest, MergeRequest, MergeRequestOrderBy, MergeRequestState,
    MergeRequestStateEvent, MergeRequests,
};
use gitlab::api::projects::repository::branches::{Branch, DeleteBranch};
use gitlab::api::users::Users;
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use crate::error::Error;
use crate::host::wire::{self, Ask, Site};
use crate::host::{NewPullRequest, PullRequest};
use crate::names::BranchName;
use crate::request::Attributes;

use super::{DRAFT, PAGE_SIZE};

/// <https://docs.gitlab.com/api/merge_requests/#list-project-merge-requests>
pub(super) fn find(site: &Site, head: &BranchName, base: &BranchName) -> Result<Ask, Error> {
    let endpoint = MergeRequests::builder()
        .project(site.full_name())
        .source_branch(head.as_str())
        .target_branch(base.as_str())
        .order_by(MergeRequestOrderBy::CreatedAt)
        .sort(SortOrder::Descending)
        .build();
    ask(site, "look for the promotion's pull request", endpoint)
}

/// <https://docs.gitlab.com/api/merge_requests/#list-project-merge-requests>
pub(super) fn list_open(site: &Site) -> Result<Ask, Error> {
    let endpoint = MergeRequests::builder()
        .project(site.full_name())
        .state(MergeRequestState::Opened)
        .order_by(MergeRequestOrderBy::CreatedAt)
        .sort(SortOrder::Ascending)
        .build();
    ask(site, "list the open pull requests", endpoint)
}

/// <https://docs.gitlab.com/api/merge_requests/#get-single-mr>
pub(super) fn read(site: &Site, number: u64) -> Result<Ask, Error> {
    let endpoint = MergeRequest::builder().project(site.full_name()).merge_request(number).build();
    ask(site, "read a pull request", endpoint)
}

/// <https://docs.gitlab.com/api/branches/#get-single-repository-branch>
pub(super) fn branch(site: &Site, branch: &BranchName) -> Result<Ask, Error> {
    let endpoint = Branch::builder().project(site.full_name()).branch(branch.as_str()).build();
    ask(site, "look for the pushed branch", endpoint)
}

/// <https://docs.gitlab.com/api/merge_requests/#create-mr>
pub(super) fn create(site: &Site, new: &NewPullRequest) -> Result<Ask, Error> {
    let endpoint = CreateMergeRequest::builder()
        .project(site.full_name())
        .source_branch(new.head.as_str())
        .target_branch(new.base.as_str())
        .title(titled(&new.title, new.draft))
        .description(new.body.as_str())
        .build();
    ask(site, "create a pull request", endpoint)
}

/// <https://docs.gitlab.com/api/merge_requests/#update-mr>
pub(super) fn update(site: &Site, pull: &PullRequest, title: &str, body: &str) -> Result<Ask, Error> {
    let endpoint = EditMergeRequest::builder()
        .project(site.full_name())
        .merge_request(pull.number)
        .title(titled(title, pull.attributes.draft))
        .description(body)
        .build();
    ask(site, "update a pull request", endpoint)
}

/// <https://docs.gitlab.com/api/users/#list-users>
pub(super) fn user(site: &Site, name: &str) -> Result<Ask, Error> {
    ask(site, "look for a user", Users::builder().username(name).build())
}

/// <https://docs.gitlab.com/api/milestones/#list-project-milestones>
pub(super) fn milestone(site: &Site, title: &str) -> Ask {
    let title = wire::escape_segment(title);
    Ask::get("look for a milestone", format!("{}/milestones?title={title}&include_ancestors=true", site.path()))
}

/// What GitLab calls those that it is told to set.
#[derive(Default)]
pub(super) struct Ids {
    pub(super) reviewers: Vec<u64>,
    pub(super) assignees: Vec<u64>,
    pub(super) milestone: Option<u64>,
}

/// <https://docs.gitlab.com/api/merge_requests/#update-mr>: labels are added to those that are there, reviewers and
/// assignees replace them.
pub(super) fn dress(site: &Site, number: u64, missing: &Attributes, ids: &Ids) -> Result<Ask, Error> {
    let mut endpoint = EditMergeRequest::builder();
    endpoint.project(site.full_name()).merge_request(number);
    for label in &missing.labels {
        endpoint.add_label(label.clone());
    }
    if !missing.reviewers.is_empty() {
        endpoint.reviewers(ids.reviewers.iter().copied());
    }
    if !missing.assignees.is_empty() {
        endpoint.assignees(ids.assignees.iter().copied());
    }
    if let Some(milestone) = ids.milestone {
        endpoint.milestone_id(milestone);
    }
    ask(site, "set labels, reviewers, assignees or milestone of a pull request", endpoint.build())
}

/// <https://docs.gitlab.com/api/projects/#get-a-single-project>
pub(super) fn project(site: &Site) -> Result<Ask, Error> {
    ask(site, "read how the project merges", Project::builder().project(site.full_name()).build())
}

/// <https://docs.gitlab.com/api/merge_requests/#merge-a-merge-request>: GitLab gives up waiting when the head moves.
pub(super) fn merge(site: &Site, pull: &PullRequest, wait: bool) -> Result<Ask, Error> {
    let mut endpoint = MergeMergeRequest::builder();
    endpoint.project(site.full_name()).merge_request(pull.number);
    if let Some(head) = pull.head_commit {
        endpoint.sha(head.to_string());
    }
    if wait {
        endpoint.merge_when_pipeline_succeeds(true);
    }
    ask(site, "merge a pull request", endpoint.build())
}

/// <https://docs.gitlab.com/api/merge_trains/#get-the-status-of-a-merge-request-on-a-merge-train>
pub(super) fn on_train(site: &Site, number: u64) -> Ask {
    Ask::get(
        "look for a pull request on its merge train",
        format!("{}/merge_trains/merge_requests/{number}", site.path()),
    )
}

/// <https://docs.gitlab.com/api/merge_trains/#add-a-merge-request-to-a-merge-train>; `when_pipeline_succeeds` is what
/// GitLab before 17.11 calls `auto_merge`.
pub(super) fn board_train(site: &Site, pull: &PullRequest) -> Ask {
    let head = pull.head_commit.map(|id| id.to_string());
    let body = json!({"sha": head, "auto_merge": true, "when_pipeline_succeeds": true});
    Ask::post("merge a pull request", format!("{}/merge_trains/merge_requests/{}", site.path(), pull.number), body)
}

/// <https://docs.gitlab.com/api/merge_requests/#update-mr>
pub(super) fn close(site: &Site, number: u64) -> Result<Ask, Error> {
    let endpoint = EditMergeRequest::builder()
        .project(site.full_name())
        .merge_request(number)
        .state_event(MergeRequestStateEvent::Close)
        .build();
    ask(site, "close a pull request", endpoint)
}

/// <https://docs.gitlab.com/api/notes/#list-all-merge-request-notes>, the newest first.
pub(super) fn comments(site: &Site, number: u64) -> Result<Ask, Error> {
    let endpoint = MergeRequestNotes::builder().project(site.full_name()).merge_request(number).build();
    Ok(on_page(&ask(site, "read the comments of a pull request", endpoint)?, 1))
}

/// <https://docs.gitlab.com/api/notes/#create-new-merge-request-note>
pub(super) fn comment(site: &Site, number: u64, body: &str) -> Result<Ask, Error> {
    let endpoint = CreateMergeRequestNote::builder().project(site.full_name()).merge_request(number).body(body).build();
    ask(site, "comment on a pull request", endpoint)
}

/// <https://docs.gitlab.com/api/branches/#delete-repository-branch>
pub(super) fn delete_branch(site: &Site, branch: &BranchName) -> Result<Ask, Error> {
    // The endpoint takes a branch that is escaped already.
    let branch = path_escaped(branch.as_str()).to_string();
    ask(site, "delete a branch", DeleteBranch::builder().project(site.full_name()).branch(branch).build())
}

/// What an endpoint of the [gitlab] crate asks.
pub(super) fn ask<E: Endpoint, B>(site: &Site, action: &'static str, endpoint: Result<E, B>) -> Result<Ask, Error>
where
    B: std::error::Error + Send + Sync + 'static,
{
    let endpoint = endpoint.map_err(|error| site.not_sent(action, error))?;
    let mut url = Url::parse("https://gitlab.com").map_err(|error| site.not_sent(action, error))?;
    endpoint.parameters().add_to_url(&mut url);
    let query = url.query().filter(|query| !query.is_empty()).map(|query| format!("?{query}")).unwrap_or_default();
    let form = endpoint.body().map_err(|error| site.not_sent(action, error))?;
    let body =
        form.map(|(_, form)| json_of(&form)).filter(|body| body.as_object().is_some_and(|body| !body.is_empty()));
    Ok(Ask { action, method: endpoint.method(), path: format!("/{}{query}", endpoint.endpoint()), body, keep: None })
}

/// A form as JSON: fields whose names end in `[]` are lists.
pub(super) fn json_of(form: &[u8]) -> Value {
    let mut json = Map::new();
    for (name, value) in form_urlencoded::parse(form) {
        match name.strip_suffix("[]") {
            Some(name) => {
                let list = json.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                if let Some(list) = list.as_array_mut() {
                    list.push(value.into());
                }
            }
            None => {
                json.insert(name.into_owned(), value.into());
            }
        }
    }
    Value::Object(json)
}

pub(super) fn on_page(ask: &Ask, page: u64) -> Ask {
    let separator = if ask.path.contains('?') { '&' } else { '?' };
    Ask { path: format!("{}{separator}per_page={PAGE_SIZE}&page={page}", ask.path), ..ask.clone() }
}

/// The title with the mark of a draft, or without it.
pub(super) fn titled(title: &str, draft: bool) -> String {
    if draft { format!("{DRAFT}{title}") } else { title.to_owned() }
}
