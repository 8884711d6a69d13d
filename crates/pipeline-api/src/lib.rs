#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod metadata;

pub mod conditions;
mod names;
pub mod normalized;
mod path;
mod promotion;
mod rules;
mod schema;
#[expect(clippy::duplicated_attributes, reason = "printer columns share types and priorities")]
mod spec;
mod status;

pub use path::{FieldPath, NotFieldPath};
pub use promotion::{
    DocumentSelector, HelmValues, ImageField, KustomizeImage, Links, MergePolicy, Notification, Promotion, Provider,
    PullRequestSpec, SecretName, ShippedProvider, ShippedPullRequest, ShippedStrategy, Update, WebhookFormat,
    WebhookSpec,
};
pub use spec::{
    AppRef, ClusterKind, ClusterRef, DeletionPolicy, Environment, FieldValue, Observe, ObserveApplication, Pipeline,
    PipelineSpec, PromoteWhen, Target,
};
pub use status::{
    Arriving, ClusterAppRef, EnvironmentStatus, EventStatus, HISTORY_MAX, Phase, PipelineStatus, PromotionStatus,
    ReportState, ReportStatus, Repository, TEXT_MAX, TargetStatus, WaitingApproval, text,
};
