use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Provider, Update};
use crate::rules;

/// A promotion by pull request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::drafts_stay())]
pub struct PullRequestSpec {
    /// The configuration repository: `https://…`, `ssh://…` or `git@host:path`, without credentials.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::repository_scheme(), validation = rules::repository_user())]
    pub url: String,
    /// The branch that the pull request is to be merged into.
    #[serde(default = "main_branch")]
    #[schemars(length(min = 1, max = 250))]
    #[x_kube(validation = rules::branch("branch"))]
    pub branch: String,
    /// Name of the Secret that holds the credentials of repository and API: `token`, or `username` and `password`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("secretRef"))]
    pub secret_ref: String,
    /// The kind of host. Default: known from well-known host names, such as github.com.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Base URL of the host's API, where it cannot be derived from `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::https("apiUrl"), validation = rules::no_user("apiUrl"))]
    pub api_url: Option<String>,
    /// The fields to change in manifests that carry no `$promotion` markers, in addition to those that carry one. Each
    /// must lead to a field.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::schema::null_is_default")]
    #[schemars(length(max = 32))]
    pub updates: Vec<Update>,
    /// Template of the pull request's title. Default: `Promote {{ namespace }}/{{ pipeline }} to {{ revision }} in
    /// {{ environment }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub title: Option<String>,
    /// Template of the pull request's text, in Markdown. Default: what moves from where to where, links, and a table of the
    /// changed fields. The line that names the promotion is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub body: Option<String>,
    /// Template of the commit's message; its last paragraph may be trailers. Default: the controller's
    /// `--git-commit-message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub commit_message: Option<String>,
    /// Pages that the pull request's text links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
    /// Names of the pull request's labels. What people add stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::schema::null_is_default")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 255)))]
    #[x_kube(validation = rules::names("labels"))]
    pub labels: Vec<String>,
    /// Login names of the people whose review is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::schema::null_is_default")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 255)))]
    #[x_kube(validation = rules::names("reviewers"))]
    pub reviewers: Vec<String>,
    /// Names of the teams whose review is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::schema::null_is_default")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 255)))]
    #[x_kube(validation = rules::names("teamReviewers"))]
    pub team_reviewers: Vec<String>,
    /// Login names of the people that the pull request is assigned to.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::schema::null_is_default")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 255)))]
    #[x_kube(validation = rules::names("assignees"))]
    pub assignees: Vec<String>,
    /// Title of the pull request's milestone; one that people set stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub milestone: Option<String>,
    /// Whether the pull request opens as a draft. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<bool>,
    /// Who merges the pull request. Default: `None`. An environment's `merge` goes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergePolicy>,
}

/// Pages that a pull request's text links, as templates of `https` URLs, for example
/// `https://github.com/org/app/releases/tag/{{ tag }}`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// Where the revision comes from, such as its commit or release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::link("source"))]
    pub source: Option<String>,
    /// A page about the pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::link("pipeline"))]
    pub pipeline: Option<String>,
}

/// Who merges a pull request.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergePolicy {
    /// People.
    #[default]
    None,
    /// The host, as soon as its rules are met: checks, approvals, a merge queue.
    Auto,
    /// The controller, as soon as the host lets it.
    Immediate,
}

fn main_branch() -> String {
    "main".to_owned()
}
