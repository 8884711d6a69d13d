//! One reconcile, on one screen.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kube::api::DynamicObject;
use kube::core::ApiResource;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use pipeline_api::Pipeline;
use pipeline_api::metadata::FINALIZER;
use tracing::Instrument as _;

use crate::act::act;
use crate::conclude::conclude;
use crate::context::Context;
use crate::decide::decide;
use crate::leader::NotLeading;
use crate::metrics::Ended;
use crate::observe::followers::PipelineMeta;
use crate::observe::observe;
use crate::record::{self, record};
use crate::telemetry::trace;

/// What is not told in the Pipeline's status, because it could not be written or nobody got that far.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the API server failed")]
    ApiServer(#[from] kube::Error),
    /// The process ends.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    #[error("it took longer than {} s", DEADLINE.as_secs())]
    Deadline,
    #[error("a defect of this program: {0}")]
    Panic(String),
}

/// Longest time that one reconcile may take, an API server that does not answer included. Promotions and targets have shorter
/// ones of their own.
const DEADLINE: Duration = Duration::from_secs(600);

/// Brings what is to what should be, one step; called again whenever something may have changed.
pub(crate) async fn reconcile(meta: Arc<PipelineMeta>, ctx: Arc<Context>) -> Result<Action, Error> {
    let counted = ctx.metrics.reconcile(&meta.namespace().unwrap_or_default(), &meta.name_any());
    let step = tokio::time::timeout(DEADLINE, step(&meta, &ctx));
    let ended = contained(async { step.await.unwrap_or(Err(Error::Deadline)) }).await;
    counted.end(match &ended {
        Ok(None) => Ended::Gone,
        Ok(Some(requeue)) => Ended::Again(*requeue),
        Err(Error::Panic(_)) => Ended::Panicked,
        Err(Error::ApiServer(_) | Error::NotLeading(_) | Error::Deadline) => Ended::Failed,
    });
    Ok(ended?.map_or_else(Action::await_change, Action::requeue))
}

/// When the Pipeline is to be looked at again; `None` if nothing is to be done before it changes.
async fn step(meta: &PipelineMeta, ctx: &Context) -> Result<Option<Duration>, Error> {
    let Some(pipeline) = read(ctx, meta).await? else {
        return Ok(None);
    };

    steps(ctx, &pipeline).instrument(trace::reconcile(&pipeline)).await.map(Some)
}

async fn steps(ctx: &Context, pipeline: &Pipeline) -> Result<Duration, Error> {
    let observed = observe(ctx, pipeline).instrument(trace::observe()).await;
    let plan = decide(pipeline, &observed, &ctx.policy, ctx.now());
    let outcomes = act(ctx, &ctx.leader, pipeline, &plan).await?;
    let report = conclude(pipeline, &observed, &plan, outcomes, &ctx.policy, ctx.now());
    record(ctx, &ctx.leader, pipeline, &report).instrument(trace::record()).await?;

    Ok(report.requeue)
}

/// The Pipeline as the API server has it now: deciding on a copy that is older than what was recorded last would repeat effects.
async fn read(ctx: &Context, meta: &PipelineMeta) -> kube::Result<Option<Pipeline>> {
    let (namespace, name) = (meta.namespace().unwrap_or_default(), meta.name_any());
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &namespace, &ApiResource::erase::<Pipeline>(&()));
    let object = api.get_opt(&name).await?;
    let is_held = |object: &DynamicObject| object.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    let object = object.filter(|object| object.metadata.deletion_timestamp.is_none() || is_held(object));
    let Some(object) = object else {
        ctx.forget(&namespace, &name);
        return Ok(None);
    };
    let metadata = object.metadata.clone();
    match object.try_parse() {
        Ok(pipeline) => Ok(Some(pipeline)),
        Err(_) if metadata.deletion_timestamp.is_some() => {
            record::hold(ctx, &metadata, false).await?;
            Ok(None)
        }
        Err(error) => {
            record::record_incomprehensible(ctx, &metadata, &error.to_string()).await?;
            Ok(None)
        }
    }
}

/// A panic over one Pipeline must not reach the others: kube would end the whole controller.
async fn contained<T>(step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    AssertUnwindSafe(step).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::Panic(text.unwrap_or_else(|| "it gave no message".to_owned())))
    })
}

/// When a reconcile that failed is tried again.
#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
pub(crate) fn on_error(meta: Arc<PipelineMeta>, error: &Error, _ctx: Arc<Context>) -> Action {
    let (namespace, name) = (meta.namespace().unwrap_or_default(), meta.name_any());
    let (why, delay) = match error {
        Error::ApiServer(cause) => (format!("{error}: {cause}"), Duration::from_secs(5)),
        Error::Deadline | Error::NotLeading(_) => (error.to_string(), Duration::from_secs(5)),
        Error::Panic(_) => (error.to_string(), Duration::from_secs(300)),
    };
    tracing::error!(pipeline.namespace = namespace, pipeline.name = name, "reconcile failed, trying again: {why}");
    Action::requeue(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_over_one_pipeline_is_its_own_error() {
        async fn defective(text: Option<&str>) -> Result<(), Error> {
            text.map(drop).ok_or_else(|| panic!("no text"))
        }
        assert!(contained(defective(Some("x"))).await.is_ok());
        assert_eq!(contained(defective(None)).await.unwrap_err().to_string(), "a defect of this program: no text");
    }
}
