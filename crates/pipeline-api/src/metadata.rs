//! What stands in a Pipeline's metadata.

/// Annotation by which a person approves promotions: `<environment>=<revision>`, several apart by blanks.
///
/// Each approval counts once, at the moment at which it is first seen: for the revision that waits in that environment then, and
/// for no later promotion. To approve the same revision anew, take the annotation away and set it again.
pub const APPROVE: &str = "pipelines.weave.works/approve";

/// Annotation that names who approves; without it, the field manager that set [`APPROVE`] is recorded.
pub const APPROVED_BY: &str = "pipelines.weave.works/approved-by";

/// Annotation by which people and the flux command line ask for a reconcile.
///
/// See <https://fluxcd.io/flux/components/kustomize/kustomizations/#triggering-a-reconcile>.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// Finalizer of a Pipeline whose `deletionPolicy` is `Close`, for as long as a pull request of it may be open.
pub const FINALIZER: &str = "pipelines.weave.works/open-pull-requests";

/// Annotation that a process of the controller sets, to any value but the one before, when it was told something about a Pipeline that
/// another process reconciles: that one looks at the Pipeline and its open pull requests at once.
pub const TOLD_AT: &str = "pipelines.weave.works/told-at";
