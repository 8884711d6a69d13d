//! IO out: the only writer of status and events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::{ObjectMeta, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Client, Resource, ResourceExt};
use pipeline_api::conditions::{ConditionStatus, ConditionType, NewCondition, Reason, set_condition};
use pipeline_api::metadata::{FINALIZER, TOLD_AT};
use pipeline_api::{EventStatus, Pipeline, PipelineStatus, PromotionStatus, ReportStatus};
use serde_json::{Value, json};

use crate::conclude::{Report, Transition};
use crate::context::Context;
use crate::heard;
use crate::leader::Leader;
use crate::reconcile::Error;

/// The field manager of everything that the controller writes.
pub(crate) const MANAGER: &str = "pipeline-controller";

/// The API server cuts nothing: longer notes are refused.
/// See <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>.
const NOTE_MAX: usize = 1024;

/// Writes the status if it changed, by server-side apply, and tells the transitions.
///
/// # Errors
/// The API server refused the status, or could not be reached: what was decided is then decided again. Or somebody else may lead by
/// now, who finds out for themselves.
pub(crate) async fn record(ctx: &Context, leader: &Leader, pipeline: &Pipeline, report: &Report) -> Result<(), Error> {
    leader.check()?;
    let is_held = pipeline.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    if report.holds && !is_held {
        hold(ctx, &pipeline.metadata, true).await?;
    }
    if pipeline.status.as_ref() != Some(&report.status) {
        let name = pipeline.name_any();
        let mut status = report.status.clone();
        // These have writers of their own, whose fields stay as they are when this one does not name them.
        for environment in status.environments.values_mut() {
            environment.report = None;
            environment.events.clear();
        }
        let status = json!({
            "apiVersion": Pipeline::api_version(&()),
            "kind": Pipeline::kind(&()),
            "metadata": {"name": name},
            "status": status,
        });
        api(&ctx.client, pipeline)
            .patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(status))
            .await?;
        forget_heard(ctx, pipeline, report).await?;
    }
    let now = ctx.now();
    ctx.metrics.recorded(pipeline, &report.status, now);
    ctx.traces.recorded(pipeline, &report.status, now);
    for transition in &report.transitions {
        tell(ctx, pipeline, &report.status, transition).await;
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
    record_heard(client, pipeline, environment, "report", report.map(|report| json!(report))).await
}

/// Writes all that events report of the targets of an environment, provided that the Pipeline is still as it was read.
///
/// # Errors
/// As [`record_report`].
pub(crate) async fn record_events(
    client: &Client,
    pipeline: &Pipeline,
    environment: &str,
    events: &BTreeMap<String, EventStatus>,
) -> kube::Result<()> {
    record_heard(client, pipeline, environment, "events", (!events.is_empty()).then(|| json!(events))).await
}

async fn record_heard(
    client: &Client,
    pipeline: &Pipeline,
    environment: &str,
    field: &str,
    value: Option<Value>,
) -> kube::Result<()> {
    // Each field of each environment has a manager of its own: what a manager does not name any more is taken out.
    let manager = format!("{MANAGER}-{field}-{environment}");
    let mut patch = json!({
        "apiVersion": Pipeline::api_version(&()),
        "kind": Pipeline::kind(&()),
        "metadata": {"name": pipeline.name_any(), "resourceVersion": pipeline.resource_version()},
    });
    if let (Some(value), Some(patch)) = (value, patch.as_object_mut()) {
        patch.insert("status".to_owned(), json!({"environments": {environment: {field: value}}}));
    }
    api(client, pipeline)
        .patch_status(&pipeline.name_any(), &PatchParams::apply(&manager).force(), &Patch::Apply(patch))
        .await
        .map(drop)
}

/// Takes out the reports about promotions that are no longer under way, and the events of targets that are gone.
async fn forget_heard(ctx: &Context, pipeline: &Pipeline, report: &Report) -> kube::Result<()> {
    let before = pipeline.status.iter().flat_map(|status| &status.environments);
    for (name, before) in before {
        let after = report.status.environments.get(name);
        if before.report.is_some() && after.is_none_or(|after| after.report.is_none()) {
            let latest = api(&ctx.client, pipeline).get(&pipeline.name_any()).await?;
            record_report(&ctx.client, &latest, name, None).await?;
        }
        if after.map_or(!before.events.is_empty(), |after| after.events != before.events) {
            let latest = api(&ctx.client, pipeline).get(&pipeline.name_any()).await?;
            record_events(&ctx.client, &latest, name, &heard::kept(&latest, name)).await?;
        }
    }
    Ok(())
}

/// Writes annotations, provided that the Pipeline is still as it was read.
///
/// # Errors
/// As [`record_report`].
pub(crate) async fn record_approval(
    client: &Client,
    pipeline: &Pipeline,
    annotations: &BTreeMap<String, String>,
) -> kube::Result<()> {
    let patch = json!({"metadata": {"resourceVersion": pipeline.resource_version(), "annotations": annotations}});
    let parameters = PatchParams { field_manager: Some(format!("{MANAGER}-approval")), ..PatchParams::default() };
    api(client, pipeline).patch_metadata(&pipeline.name_any(), &parameters, &Patch::Merge(patch)).await.map(drop)
}

/// Tells whichever process reconciles a Pipeline to look at it, and at its open pull requests, now.
///
/// # Errors
/// The API server refused it, or could not be reached. A Pipeline that is gone needs nobody to look.
pub(crate) async fn record_told(client: &Client, namespace: &str, name: &str, now: Timestamp) -> kube::Result<()> {
    let api: Api<PartialObjectMeta<Pipeline>> = Api::namespaced(client.clone(), namespace);
    let patch = json!({"metadata": {"annotations": {TOLD_AT: now.to_string()}}});
    let parameters = PatchParams { field_manager: Some(format!("{MANAGER}-told")), ..PatchParams::default() };
    match api.patch_metadata(name, &parameters, &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        patched => patched.map(drop),
    }
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
    ctx.metrics.incomprehensible(metadata.namespace.as_deref().unwrap_or_default(), &name, &conditions);
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

async fn tell(ctx: &Context, pipeline: &Pipeline, status: &PipelineStatus, transition: &Transition) {
    let Transition { warning, reason, note, promotion } = transition;
    let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
    let of_it = |(_, record): &(_, &PromotionStatus)| Some(&record.id) == promotion.as_ref();
    let mut promotions =
        status.environments.iter().filter_map(|(name, status)| Some((name.as_str(), status.promotion.as_ref()?)));
    let (environment, record) = promotions.find(of_it).unzip();
    let (id, phase) = (promotion.as_deref(), record.map(|record| record.phase.as_str()));
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                reason,
                promotion.id = id,
                promotion.phase = phase,
                pipeline.namespace = namespace,
                pipeline.name = name,
                environment,
                "{note}"
            )
        };
    }
    if *warning {
        log!(warn)
    } else {
        log!(info)
    }
    ctx.notifications.tell(pipeline, status, transition, ctx.now());
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
