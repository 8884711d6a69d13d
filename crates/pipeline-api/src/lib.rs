#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod conditions;
pub mod normalized;
mod promotion;
mod rules;
mod schema;
#[expect(clippy::duplicated_attributes, reason = "printer columns share types and priorities")]
mod spec;
mod status;
mod unsupported;

pub use promotion::{
    DocumentSelector, HelmValues, ImageField, KustomizeImage, Links, MergePolicy, Notification, Promotion, Provider,
    PullRequestSpec, SecretName, ShippedProvider, ShippedPullRequest, ShippedStrategy, Update, WebhookFormat,
    WebhookSpec,
};
pub use spec::{AppRef, ClusterKind, ClusterRef, Environment, Observe, Pipeline, PipelineSpec, PromoteWhen, Target};
pub use status::{
    ClusterAppRef, EnvironmentStatus, HISTORY_MAX, Phase, PipelineStatus, PromotionStatus, ReportState, ReportStatus,
    TEXT_MAX, TargetStatus, WaitingApproval, text,
};
pub use unsupported::{Unsupported, unsupported};
