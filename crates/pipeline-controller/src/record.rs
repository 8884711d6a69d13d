//! IO out: the only writer of status and events.

use kube::api::{ObjectMeta, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Client, Resource, ResourceExt};
use pipeline_api::conditions::{ConditionStatus, ConditionType, NewCondition, Reason, set_condition};
use pipeline_api::metadata::FINALIZER;
use pipeline_api::{Pipeline, ReportStatus};
use serde_json::json;

use crate::conclude::{Report, Transition};
use crate::context::Context;

/// The field manager of everything that the controller writes.
pub(crate) const MANAGER: &str = "pipeline-controller";

/// The API server cuts nothing: longer notes are refused.
/// See <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>.
const NOTE_MAX: usize = 1024;

/// Writes the status if it changed, by server-side apply, and tells the transitions.
///
/// # Errors
/// The API server refused the status, or could not be reached. What was decided is then decided again.
pub(crate) async fn record(ctx: &Context, pipeline: &Pipeline, report: &Report) -> kube::Result<()> {
    let is_held = pipeline.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    if report.holds && !is_held {
        hold(ctx, &pipeline.metadata, true).await?;
    }
    if pipeline.status.as_ref() != Some(&report.status) {
        let name = pipeline.name_any();
        let mut status = report.status.clone();
        // These have writers of their own, whose fields stay as they are when this one does not name them.
        status.environments.values_mut().for_each(|environment| environment.report = None);
        let status = json!({
            "apiVersion": Pipeline::api_version(&()),
            "kind": Pipeline::kind(&()),
            "metadata": {"name": name},
            "status": status,
        });
        api(&ctx.client, pipeline)
            .patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(status))
            .await?;
        forget_reports(ctx, pipeline, report).await?;
    }
    for transition in &report.transitions {
        tell(ctx, pipeline, transition).await;
    }
    if is_held && !report.holds {
        hold(ctx, &pipeline.metadata, false).await?;
    }
    Ok(())
}

/// Puts the finalizer on the Pipeline, or takes it away.
///
/// # Errors
/// The API server refused it, or could not be reached.
pub(crate) async fn hold(ctx: &Context, metadata: &ObjectMeta, held: bool) -> kube::Result<()> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<PartialObjectMeta<Pipeline>> = Api::namespaced(ctx.client.clone(), namespace);
    let finalizers: &[&str] = if held { &[FINALIZER] } else { &[] };
    let patch = json!({
        "apiVersion": Pipeline::api_version(&()),
        "kind": Pipeline::kind(&()),
        "metadata": {"name": name, "uid": metadata.uid, "finalizers": finalizers},
    });
    match api.patch_metadata(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 && !held => Ok(()),
        patched => patched.map(drop),
    }
}

/// Writes what a receiver reports, provided that the Pipeline is still as it was read.
///
/// # Errors
/// The API server refused it, as with 409 when the Pipeline has changed, or could not be reached.
pub(crate) async fn record_report(
    client: &Client,
    pipeline: &Pipeline,
    environment: &str,
    report: Option<&ReportStatus>,
) -> kube::Result<()> {
    // Each environment has a manager of its own: what a manager does not name any more is taken out.
    let manager = format!("{MANAGER}-report-{environment}");
    let mut patch = json!({
        "apiVersion": Pipeline::api_version(&()),
        "kind": Pipeline::kind(&()),
        "metadata": {"name": pipeline.name_any(), "resourceVersion": pipeline.resource_version()},
    });
    if let (Some(report), Some(patch)) = (report, patch.as_object_mut()) {
        patch.insert("status".to_owned(), json!({"environments": {environment: {"report": report}}}));
    }
    api(client, pipeline)
        .patch_status(&pipeline.name_any(), &PatchParams::apply(&manager).force(), &Patch::Apply(patch))
        .await
        .map(drop)
}

/// Takes out the reports about promotions that are no longer under way.
async fn forget_reports(ctx: &Context, pipeline: &Pipeline, report: &Report) -> kube::Result<()> {
    let kept =
        |name: &str| report.status.environments.get(name).is_some_and(|environment| environment.report.is_some());
    let before = pipeline.status.iter().flat_map(|status| &status.environments);
    for (name, _) in before.filter(|(name, environment)| environment.report.is_some() && !kept(name)) {
        let latest = api(&ctx.client, pipeline).get(&pipeline.name_any()).await?;
        record_report(&ctx.client, &latest, name, None).await?;
    }
    Ok(())
}

fn api(client: &Client, pipeline: &Pipeline) -> Api<Pipeline> {
    Api::namespaced(client.clone(), &pipeline.namespace().unwrap_or_default())
}

/// Says of a Pipeline that was stored before the API server knew today's rules what about it cannot be understood.
///
/// # Errors
/// The API server refused the status, or could not be reached.
pub(crate) async fn record_incomprehensible(ctx: &Context, metadata: &ObjectMeta, why: &str) -> kube::Result<()> {
    let name = metadata.name.clone().unwrap_or_default();
    let message = format!("the Pipeline cannot be understood: {why}; mend it and apply it again");
    tracing::warn!(pipeline.namespace = metadata.namespace, pipeline.name = name, "{message}");
    let mut conditions = Vec::new();
    for (type_, status) in
        [(ConditionType::Ready, ConditionStatus::False), (ConditionType::Stalled, ConditionStatus::True)]
    {
        let observed_generation = metadata.generation;
        let new =
            NewCondition { type_, status, reason: Reason::InvalidSpec, message: message.clone(), observed_generation };
        set_condition(&mut conditions, new, ctx.now());
    }
    let patch = json!({
        "apiVersion": Pipeline::api_version(&()),
        "kind": Pipeline::kind(&()),
        "metadata": {"name": name},
        "status": {"observedGeneration": metadata.generation, "conditions": conditions},
    });
    // Only the answer's metadata is read: the rest is what cannot be understood.
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<PartialObjectMeta<Pipeline>> = Api::namespaced(ctx.client.clone(), namespace);
    api.patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await?;
    Ok(())
}

async fn tell(ctx: &Context, pipeline: &Pipeline, transition: &Transition) {
    let Transition { warning, reason, note, promotion } = transition;
    let promotion = promotion.as_deref().unwrap_or_default();
    if *warning {
        tracing::warn!(reason, promotion.id = promotion, "{note}");
    } else {
        tracing::info!(reason, promotion.id = promotion, "{note}");
    }
    let event = Event {
        type_: if *warning { EventType::Warning } else { EventType::Normal },
        reason: (*reason).to_owned(),
        note: Some(shorten(note)),
        action: "Promote".to_owned(),
        secondary: None,
    };
    if let Err(error) = ctx.events.publish(&event, &pipeline.object_ref(&())).await {
        tracing::warn!(%error, reason, "cannot publish an event");
    }
}

fn shorten(note: &str) -> String {
    let mut end = note.len().min(NOTE_MAX);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default().to_owned()
}
