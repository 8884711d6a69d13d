use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{MergePolicy, Promotion, rules, schema, status::PipelineStatus};

/// What a `Pipeline` asks for.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "pipelines.weave.works",
    version = "v1alpha1",
    kind = "Pipeline",
    plural = "pipelines",
    shortname = "pl",
    category = "gitops",
    namespaced,
    status = "PipelineStatus",
    derive = "PartialEq",
    doc = "Moves an application through ordered environments: when a revision is ready in one, it is promoted to the next.",
    printcolumn(name = "App Kind", type_ = "string", json_path = ".spec.appRef.kind"),
    printcolumn(name = "App Name", type_ = "string", json_path = ".spec.appRef.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[cfg_attr(feature = "cel", kube(cel))]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::null_is_absent)]
#[x_kube(validation = rules::merge_of_pull_request())]
pub struct PipelineSpec {
    /// The application that moves; each target holds one object of this kind and name.
    pub app_ref: AppRef,
    /// The environments in the order of promotion: the first is where new revisions appear, each later one is promoted to.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = rules::unique_environment_names()
    )]
    pub environments: Vec<Environment>,
    /// How to promote to an environment that has no `promotion` of its own. Without any, nothing is promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// Stop promoting and following promotions until this is taken away; what is open stays open.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Promote a revision that is older than the one an environment runs, as after a rollback in the first environment.
    /// Older is what semantic versions say, else what the environment ran before. Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_downgrade: bool,
    /// How long an environment may take to become ready at a revision that was delivered to it, for example `45m`; after that
    /// it is reported as stalled. Default: `30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = rules::duration("progressDeadline"))]
    pub progress_deadline: Option<String>,
    /// What becomes of open pull requests that nothing asks for any more, because the Pipeline was deleted, or an environment
    /// or its promotion was taken out of it. Default: `Orphan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// What becomes of open pull requests that nothing asks for any more.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// They stay open, for people to merge or close.
    #[default]
    Orphan,
    /// They are closed with a comment, and their branches deleted.
    Close,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The application object that is looked up in each target's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AppRef {
    /// API version of the application, for example `helm.toolkit.fluxcd.io/v2`.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,
    /// Kind of the application, for example `HelmRelease`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the application object, the same in each target.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("name"))]
    pub name: String,
    /// Where the application reports its revision and health. Default: as is usual for its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observe: Option<ObserveApplication>,
}

/// Where an application object reports its revision and health, in the place of what is usual for its kind. Paths are those of
/// kubectl's JSONPath and name one field, for example `.status.version` or
/// `.status.conditions[?(@.type=="Available")].status`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct ObserveApplication {
    /// Path of the revision that is live, for example `.status.version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 256))]
    #[x_kube(validation = rules::field_path("revision"))]
    pub revision: Option<String>,
    /// What a healthy application reports; takes the place of the condition `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<FieldValue>,
}

/// A field and the value it has to have.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct FieldValue {
    /// Path of the field, for example `.status.phase`.
    #[schemars(length(min = 2, max = 256))]
    #[x_kube(validation = rules::field_path("path"))]
    pub path: String,
    /// Its value as text, for example `Running` or `true`.
    #[schemars(length(min = 1, max = 253))]
    pub value: String,
}

/// A stage that the application passes, made of the places where it runs in that stage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// Name of the environment, for example `dev`; a DNS label, for it becomes part of branch names and URLs.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::label("name"))]
    pub name: String,
    /// Where the application runs in this environment.
    #[schemars(length(max = 100))]
    pub targets: Vec<Target>,
    /// How to promote to this environment; replaces the pipeline's `promotion` as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// When a revision in this environment counts as ready to go on to the next one. Default: `AllTargetsReady`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote_when: Option<PromoteWhen>,
    /// Who merges the pull requests of promotions to this environment. Default: the promotion's `merge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergePolicy>,
}

/// When a revision may leave an environment.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PromoteWhen {
    /// Every target is ready at the revision.
    #[default]
    AllTargetsReady,
    /// At least one target is ready at the revision.
    AnyTargetReady,
}

/// One place where the application runs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Namespace of the application object on the target's cluster.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::label("namespace"))]
    pub namespace: String,
    /// The cluster that holds the application; none: the one that holds the Pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_ref: Option<ClusterRef>,
    /// How the state of the application becomes known. Default: `Watch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observe: Option<Observe>,
}

/// How the state of a target becomes known.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Observe {
    /// The controller watches the application object.
    #[default]
    Watch,
    /// A signed Flux event reports it, for clusters that cannot be reached from here.
    Event,
}

/// A reference to the object that describes a remote cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRef {
    /// API version of the cluster object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub api_version: Option<String>,
    /// Kind of the cluster object.
    pub kind: ClusterKind,
    /// Name of the cluster object.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("name"))]
    pub name: String,
    /// Namespace of the cluster object. Default: the Pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::label("namespace"))]
    pub namespace: Option<String>,
}

/// The kinds that can describe a remote cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// [GitopsCluster](https://github.com/weaveworks/cluster-controller), whose Secret holds a kubeconfig.
    GitopsCluster,
}
