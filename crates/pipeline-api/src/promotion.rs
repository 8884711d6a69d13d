use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

mod pull_request;

pub use pull_request::{Links, MergePolicy, PullRequestSpec};

/// How to promote: exactly one of `pullRequest`, `webhook`, `strategy.pull-request` and `strategy.notification`.
///
/// `strategy` is the shape that the first pipeline-controller shipped; the other fields are today's. One promotion uses
/// one of the two shapes. [`crate::Pipeline::promotion`] turns both into one form.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_strategy(), validation = rules::one_shape())]
pub struct Promotion {
    /// Wait for an approval before promoting. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<bool>,
    /// Promote by a pull request to a configuration repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequestSpec>,
    /// Promote by an event that is sent to a system of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookSpec>,
    /// Name of the Secret whose `hmac-key` signs incoming events and approvals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("hmacSecretRef"))]
    pub hmac_secret_ref: Option<String>,
    /// The shape of the first pipeline-controller, accepted unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<ShippedStrategy>,
}

/// Hosts of pull requests.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// github.com and GitHub Enterprise.
    #[serde(rename = "github")]
    GitHub,
    /// gitlab.com and GitLab's own installations.
    #[serde(rename = "gitlab")]
    GitLab,
    /// Gitea.
    Gitea,
    /// Forgejo, which speaks Gitea's API.
    Forgejo,
    /// Bitbucket Server and Data Center.
    BitbucketServer,
    /// bitbucket.org.
    BitbucketCloud,
    /// Azure DevOps Services and Server.
    #[serde(rename = "azure-devops")]
    AzureDevOps,
}

impl Provider {
    /// The name as it stands in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
            Self::BitbucketServer => "bitbucket-server",
            Self::BitbucketCloud => "bitbucket-cloud",
            Self::AzureDevOps => "azure-devops",
        }
    }
}

/// One field to change: in which files, where, and to what. Exactly one of `path`, `kustomizeImage` and `helmValues`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::one_field(), validation = rules::document_of_path())]
pub struct Update {
    /// Path of the file from the root of the repository; may be a glob such as `apps/*/release.yaml`, where `**` spans
    /// folders.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::file("file"))]
    pub file: String,
    /// Which document of the file. Default: the one that has the field. Only with `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentSelector>,
    /// Path of the field in the document, for example `spec.chart.spec.version` or `spec.containers[name=app].image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub path: Option<String>,
    /// An image of a kustomization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kustomize_image: Option<KustomizeImage>,
    /// A field of a Helm values file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm_values: Option<HelmValues>,
    /// Template of the new value, for example `v{{ revision | semver }}`. Default: for `path` what is usual for the kind of
    /// the application, for `helmValues` the tag, for `kustomizeImage` tag or digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub value: Option<String>,
}

/// An entry of `images` in a [kustomization](https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/images/).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KustomizeImage {
    /// `name` of the entry, for example `ghcr.io/stefanprodan/podinfo`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::image_name("name"))]
    pub name: String,
    /// The field of the entry that changes; it must be there. Default: `newTag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<ImageField>,
}

/// What a kustomization says about an image.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum ImageField {
    /// The tag.
    #[default]
    NewTag,
    /// The digest with its algorithm; it wins over the tag.
    Digest,
}

/// A field of a Helm values file, whose first document alone Helm reads.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HelmValues {
    /// Path of the field, for example `image.tag`.
    #[schemars(length(min = 1, max = 512))]
    pub path: String,
}

/// Selects documents of a file; a document must agree with each field that is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DocumentSelector {
    /// `apiVersion` of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub api_version: Option<String>,
    /// `kind` of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,
    /// `metadata.namespace` of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// `metadata.name` of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Position of the document in its file, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9999))]
    pub index: Option<i32>,
}

/// A promotion by webhook: `url`, the Secret's `address`, or both (the Secret's wins).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::webhook_address())]
pub struct WebhookSpec {
    /// Where to send the event: `https://…`, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::https("url"), validation = rules::no_user("url"))]
    pub url: Option<String>,
    /// Name of the Secret with the keys `address`, `proxy`, `token` (signs the event), `token.previous` and `headers`, each
    /// optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("secretRef"))]
    pub secret_ref: Option<String>,
    /// What the receiver understands. Default: `generic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<WebhookFormat>,
    /// Longest time that one attempt may take, from `1s` to `2m`. Default: `15s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = rules::timeout("timeout"))]
    pub timeout: Option<String>,
    /// Name of the Secret with `ca.crt`, which is trusted instead of the system's authorities, and `tls.crt` with `tls.key`, the
    /// client certificate; either or both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("certSecretRef"))]
    pub cert_secret_ref: Option<String>,
    /// Name of the Secret with the `address` of a proxy, and `username` and `password` if it wants them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("proxySecretRef"))]
    pub proxy_secret_ref: Option<String>,
}

/// What is sent to a webhook.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// A Flux event, with CloudEvents attributes in headers.
    #[default]
    Generic,
    /// A [repository dispatch](https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event) with the Flux event
    /// as its payload; the address is that of the repository.
    #[serde(rename = "github-dispatch")]
    GitHubDispatch,
    /// A CloudEvent in structured mode, whose data is the Flux event.
    CloudEvents,
}

/// `promotion.strategy` as the
/// [first pipeline-controller](https://github.com/weaveworks/pipeline-controller/blob/main/api/v1alpha1/pipeline_types.go)
/// shipped it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShippedStrategy {
    /// Promote by a pull request to a configuration repository.
    #[serde(rename = "pull-request", default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<ShippedPullRequest>,
    /// Promote by a Kubernetes Event that Flux' notification-controller forwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification: Option<Notification>,
    /// The Secret whose `hmac-key` signs incoming events and approvals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretName>,
}

/// `promotion.strategy.pull-request`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShippedPullRequest {
    /// The kind of host.
    #[serde(rename = "type")]
    pub type_: ShippedProvider,
    /// The configuration repository: `https://…`, `ssh://…` or `git@host:path`, without credentials.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::repository_scheme(), validation = rules::repository_user())]
    pub url: String,
    /// The branch that the pull request is to be merged into.
    #[schemars(length(min = 1, max = 250))]
    #[x_kube(validation = rules::branch("baseBranch"))]
    pub base_branch: String,
    /// The Secret that holds the credentials: `username` and `password` for git, `token` for the API.
    pub secret_ref: SecretName,
}

/// The hosts that `promotion.strategy.pull-request.type` can name.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum ShippedProvider {
    /// github.com and GitHub Enterprise.
    #[serde(rename = "github")]
    GitHub,
    /// gitlab.com and GitLab's own installations.
    #[serde(rename = "gitlab")]
    GitLab,
    /// Bitbucket Server and Data Center.
    BitbucketServer,
    /// Azure DevOps, which the first controller implemented though its CRD refused it.
    #[serde(rename = "azure-devops")]
    AzureDevOps,
}

impl From<ShippedProvider> for Provider {
    fn from(shipped: ShippedProvider) -> Self {
        match shipped {
            ShippedProvider::GitHub => Self::GitHub,
            ShippedProvider::GitLab => Self::GitLab,
            ShippedProvider::BitbucketServer => Self::BitbucketServer,
            ShippedProvider::AzureDevOps => Self::AzureDevOps,
        }
    }
}

/// `promotion.strategy.notification`, which has no fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {}

/// A reference to a Secret in the Pipeline's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("secretRef.name"))]
    pub name: String,
}
