//! The key of a promotion: what makes repeating it harmless.

use kube::ResourceExt;
use pipeline_api::Pipeline;

/// The key of the promotion of `revision` to `environment`.
pub(crate) fn of(pipeline: &Pipeline, environment: &str, revision: &str, sequence: u32) -> promote_pr::Key {
    promote_pr::Key {
        namespace: pipeline.namespace().unwrap_or_default(),
        pipeline: pipeline.name_any(),
        environment: environment.to_owned(),
        revision: revision.to_owned(),
        sequence,
    }
}
