use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::normalized::PullRequest;
use crate::{ClusterRef, Provider, names::names, schema};

/// How many ended promotions an environment remembers.
pub const HISTORY_MAX: usize = 10;

/// The longest text, in characters, that the controller writes into a field of the status; [`text`] cuts to it.
pub const TEXT_MAX: usize = 4096;

/// What the controller found and did.
///
/// A Pipeline without a status shows `observedGeneration: -1`, so that tools which know
/// [kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md) see it as in progress.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::null_is_absent_and_no_rules, extend("default" = {"observedGeneration": -1}))]
pub struct PipelineStatus {
    /// The generation of the spec that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, PromotionPending and Conflicting.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "schema::null_is_default")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// What is known of each environment, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "environments")]
    #[schemars(extend("maxProperties" = 32))]
    pub environments: BTreeMap<String, EnvironmentStatus>,
    /// The value of the annotation `reconcile.fluxcd.io/requestedAt` that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub last_handled_reconcile_at: Option<String>,
    /// The value of the annotation `pipelines.weave.works/approve` that was last acted on: each approval in it is used once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub last_handled_approval: Option<String>,
}

/// What is known of an environment.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// The revision that waits for an approval to enter this environment.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "waiting_approval")]
    pub waiting_approval: Option<WaitingApproval>,
    /// What was found in each target, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "schema::null_is_default")]
    #[schemars(length(max = 100))]
    pub targets: Vec<TargetStatus>,
    /// The revision that was delivered to this environment and is not ready in all of it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arriving: Option<Arriving>,
    /// The promotion to this environment that is under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<PromotionStatus>,
    /// What the receiver of a webhook reported last of a promotion. Written by the endpoint that takes reports alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportStatus>,
    /// What signed events reported last of the targets with `observe: Event`, by `namespace`, `cluster/namespace` or
    /// `clusterNamespace/cluster/namespace` of the target. Written by the endpoint that takes events alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "schema::null_is_default")]
    #[schemars(extend("maxProperties" = 100))]
    pub events: BTreeMap<String, EventStatus>,
    /// Earlier promotions to this environment, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "schema::null_is_default")]
    #[schemars(length(max = 10))]
    pub history: Vec<PromotionStatus>,
}

/// What the receiver of a webhook reports of a promotion.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReportStatus {
    /// The promotion, as `promotionId` of its event.
    #[schemars(length(max = 36))]
    pub promotion_id: String,
    /// How far it is.
    pub state: ReportState,
    /// Where to watch it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
    /// Why it is so, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// When the receiver said so, by its own clock.
    pub time: Time,
}

/// How far a promotion is, in the words of the receiver of its webhook.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportState {
    /// It has begun.
    Running,
    /// It has ended well.
    Succeeded,
    /// It has ended badly.
    Failed,
}

/// What a signed event reported of a target.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EventStatus {
    /// The revision that runs there.
    #[schemars(length(max = 253))]
    pub revision: String,
    /// Whether it is healthy.
    pub ready: bool,
    /// Why the event was sent, as its `reason` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
    /// Who reported it, as its `reportingController` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub reported_by: Option<String>,
    /// When it was so, by the clock of whoever reported it.
    pub time: Time,
}

/// A revision that waits for an approval.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WaitingApproval {
    /// The revision; the first pipeline-controller wrote an empty one for "nothing waits", which reads as none here.
    #[schemars(length(max = 253))]
    pub revision: String,
}

/// A revision on its way into an environment.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Arriving {
    /// The revision.
    #[schemars(length(max = 253))]
    pub revision: String,
    /// Since when it is expected: the deadline counts from here.
    pub since: Time,
}

/// What was found in a target.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The application object that was looked for.
    pub cluster_app_ref: ClusterAppRef,
    /// The namespace that was looked in. The first pipeline-controller did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// Whether the application is there and healthy at its revision.
    pub ready: bool,
    /// The revision that the application reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub revision: Option<String>,
    /// Why the application is not ready or could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub error: Option<String>,
}

/// An application object and the cluster that holds it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAppRef {
    /// API version of the application object.
    #[schemars(length(max = 317))]
    pub api_version: String,
    /// Kind of the application object.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Name of the application object.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The remote cluster; none: the one that holds the Pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_ref: Option<ClusterRef>,
}

/// One promotion of one revision to one environment.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PromotionStatus {
    /// Identity of the promotion, a UUID: the `Promotion-Id` of commits and pull requests, `promotionId` of events.
    #[schemars(length(max = 36))]
    pub id: String,
    /// The revision that is promoted.
    #[schemars(length(max = 253))]
    pub revision: String,
    /// Which promotion of this revision to this environment it is, from 1; it grows when the revision is promoted anew.
    #[schemars(range(min = 1))]
    pub sequence: i32,
    /// How far the promotion is.
    pub phase: Phase,
    /// The pull request, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
    /// Attempts made, failed ones included.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub attempts: i32,
    /// When the last attempt was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt_time: Option<Time>,
    /// When the next attempt is due, after a failure that may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
    /// When the promotion was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_time: Option<Time>,
    /// When the promotion reached a phase that it does not leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_time: Option<Time>,
    /// Who approved it, as the approval said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub approved_by: Option<String>,
    /// When the approval was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_time: Option<Time>,
    /// What happened last, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// The generation of the spec that the last attempt used: a terminal failure is tried again under another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The resourceVersion of the Secret that the last attempt used: a terminal failure is tried again with another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_version: Option<String>,
    /// Where the pull request is, so that it can be closed when the spec has come to name another place or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
}

/// A configuration repository, and what opens it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// URL of the repository.
    #[schemars(length(max = 2048))]
    pub url: String,
    /// The branch that the pull request is to be merged into.
    #[schemars(length(max = 250))]
    pub branch: String,
    /// Name of the Secret that holds the credentials.
    #[schemars(length(max = 253))]
    pub secret_ref: String,
    /// The kind of host, if the spec named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Base URL of the host's API, if the spec named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub api_url: Option<String>,
}

impl Repository {
    /// Where a promotion by pull request goes.
    #[must_use]
    pub fn of(pull_request: &PullRequest) -> Self {
        Self {
            url: pull_request.url.to_string(),
            branch: pull_request.branch.clone(),
            secret_ref: pull_request.secret.clone(),
            provider: pull_request.provider,
            api_url: pull_request.api_url.as_ref().map(ToString::to_string),
        }
    }
}

names! {
    /// How far a promotion is.
    #[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Phase {
        /// Waits for a person's approval; nothing was done yet.
        AwaitingApproval,
        /// Decided and not done yet: the first attempt is due, or a later one after a failure that may pass.
        Pending,
        /// The pull request is open.
        Open,
        /// The change is in: the pull request was merged, or the receiver accepted the event. The environment does not
        /// report the revision yet.
        Delivered,
        /// The environment reports the revision and is ready.
        Succeeded,
        /// The repository already held the revision, so there was nothing to change. The environment does not report it yet.
        AlreadyApplied,
        /// A person closed the pull request without merging it; it is not opened again for this promotion.
        Closed,
        /// Another revision took its place before it was done.
        Superseded,
        /// An attempt failed in a way that a person must mend first.
        Failed,
    }
}

/// Cuts a text for people to [`TEXT_MAX`] characters, with `…` for what is left out.
#[must_use]
pub fn text(whole: impl Into<String>) -> String {
    let mut whole = whole.into();
    if let Some((end, _)) = whole.char_indices().nth(TEXT_MAX - 1)
        && whole.chars().nth(TEXT_MAX).is_some()
    {
        whole.truncate(end);
        whole.push('…');
    }
    whole
}

fn waiting_approval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WaitingApproval>, D::Error> {
    let stored = Option::<WaitingApproval>::deserialize(deserializer)?;
    Ok(stored.filter(|waiting| !waiting.revision.is_empty()))
}

/// Go stores pointers here, so both the map and its values may be `null`.
fn environments<'de, D>(deserializer: D) -> Result<BTreeMap<String, EnvironmentStatus>, D::Error>
where
    D: Deserializer<'de>,
{
    let stored = Option::<BTreeMap<String, Option<EnvironmentStatus>>>::deserialize(deserializer)?;
    Ok(stored.unwrap_or_default().into_iter().map(|(name, status)| (name, status.unwrap_or_default())).collect())
}
