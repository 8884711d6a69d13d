//! One trace for each promotion, over all reconciles and restarts: its id is the promotion's.

use std::cell::Cell;
use std::time::SystemTime;

use jiff::Timestamp;
use kube::ResourceExt;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};
use pipeline_api::{Phase, Pipeline, PipelineStatus, PromotionStatus};
use tracing::{Level, Metadata, Span, Subscriber, debug_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

use crate::key;
use crate::plan::{Effect, Withdrawal};
use crate::strategies;

/// The target of spans that are part of a promotion whatever they stand in; others are only where they stand in one of these.
const PROMOTION: &str = "pipeline_controller::promotion";

/// What becomes of a promotion in one reconcile; no span where none is under way.
pub(crate) fn reconcile(pipeline: &Pipeline) -> Span {
    let Some((environment, promotion)) = under_way(pipeline) else { return Span::none() };
    let span = debug_span!(
        target: PROMOTION,
        "reconcile",
        promotion.id = promotion.id,
        pipeline.namespace = pipeline.namespace(),
        pipeline.name = pipeline.name_any(),
        environment,
        revision = promotion.revision,
        phase = promotion.phase.as_str(),
    );
    of_promotion(span, promotion.id.parse().ok())
}

pub(crate) fn observe() -> Span {
    debug_span!("observe")
}

pub(crate) fn record() -> Span {
    debug_span!("record")
}

/// One attempt at a promotion, or one look at its pull request.
pub(crate) fn effect(pipeline: &Pipeline, effect: &Effect) -> Span {
    let span = debug_span!(
        target: PROMOTION,
        "promote",
        promotion.id = %strategies::id(pipeline, effect),
        pipeline.namespace = pipeline.namespace(),
        pipeline.name = pipeline.name_any(),
        environment = effect.environment,
        revision = effect.revision,
        attempts = effect.attempts,
    );
    nested(span, pipeline, strategies::id(pipeline, effect))
}

pub(crate) fn withdrawal(pipeline: &Pipeline, withdrawal: &Withdrawal) -> Span {
    let Withdrawal { environment, revision, sequence, reason, .. } = withdrawal;
    let id = key::of(pipeline, environment, revision, *sequence).id();
    let span = debug_span!(
        target: PROMOTION,
        "withdraw",
        promotion.id = %id,
        pipeline.namespace = pipeline.namespace(),
        pipeline.name = pipeline.name_any(),
        environment,
        revision,
        reason,
    );
    nested(span, pipeline, id)
}

/// Within the reconcile if that is the same promotion's, else below the promotion itself.
fn nested(span: Span, pipeline: &Pipeline, id: Uuid) -> Span {
    let around = under_way(pipeline).and_then(|(_, promotion)| promotion.id.parse().ok());
    if around == Some(id) { span } else { of_promotion(span, Some(id)) }
}

fn of_promotion(span: Span, id: Option<Uuid>) -> Span {
    if let Some(id) = id.filter(|_| !span.is_disabled()) {
        // There is nobody who could be the parent's where nothing is traced.
        span.set_parent(context(id)).ok();
    }
    span
}

/// The first promotion that has not ended.
fn under_way(pipeline: &Pipeline) -> Option<(&str, &PromotionStatus)> {
    let environments = &pipeline.status.as_ref()?.environments;
    environments.iter().find_map(|(name, environment)| {
        let promotion = environment.promotion.as_ref().filter(|promotion| promotion.finished_time.is_none())?;
        Some((name.as_str(), promotion))
    })
}

/// Trace and first span of a promotion, as [`promote_pr::Key::traceparent`] says it.
fn ids(promotion: Uuid) -> (TraceId, SpanId) {
    let (_, second) = promotion.as_u64_pair();
    (TraceId::from_bytes(promotion.into_bytes()), SpanId::from_bytes(second.to_be_bytes()))
}

fn context(promotion: Uuid) -> Context {
    let (trace, span) = ids(promotion);
    let parent = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
    Context::new().with_remote_span_context(parent)
}

/// The part of the log's machinery that makes spans into traces: those of promotions, and what stands in them.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let of_a_promotion = dynamic_filter_fn(|metadata: &Metadata<'_>, context| {
        let deep_enough = metadata.is_span() || *metadata.level() <= Level::INFO;
        deep_enough
            && (metadata.target() == PROMOTION || (is_ours(metadata.target()) && context.lookup_current().is_some()))
    });
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer(env!("CARGO_PKG_NAME")));
    // Where something is in the code, on which thread, and how long it was idle, is of use to nobody.
    let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
    layer.with_filter(of_a_promotion.with_max_level_hint(LevelFilter::DEBUG))
}

fn is_ours(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or_default();
    matches!(name, "pipeline_controller" | "promote_pr" | "promote_webhook" | "egress" | "pipeline_secrets")
}

/// Makes the first span of each promotion, once that has ended; without a collector, none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traces(Option<SdkTracer>);

impl Traces {
    pub(super) fn of(provider: Option<&SdkTracerProvider>) -> Self {
        Self(provider.map(|provider| provider.tracer(env!("CARGO_PKG_NAME"))))
    }

    /// The Pipeline's status is on record: of each promotion that has ended with it, the whole is told.
    pub(crate) fn recorded(&self, pipeline: &Pipeline, status: &PipelineStatus, now: Timestamp) {
        let Some(tracer) = &self.0 else { return };
        for (name, environment) in &status.environments {
            let before = pipeline.status.as_ref().and_then(|status| status.environments.get(name)?.promotion.as_ref());
            let Some(promotion) = &environment.promotion else { continue };
            let had_ended = before.is_some_and(|before| before.id == promotion.id && before.finished_time.is_some());
            if promotion.finished_time.is_some() && !had_ended {
                tell(tracer, pipeline, name, promotion, now);
            }
        }
    }
}

fn tell(tracer: &SdkTracer, pipeline: &Pipeline, environment: &str, promotion: &PromotionStatus, now: Timestamp) {
    let Ok(id) = promotion.id.parse::<Uuid>() else { return };
    let text = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
    let attributes = [
        text("promotion.id", &promotion.id),
        text("pipeline.namespace", &pipeline.namespace().unwrap_or_default()),
        text("pipeline.name", &pipeline.name_any()),
        text("environment", environment),
        text("revision", &promotion.revision),
        text("phase", promotion.phase.as_str()),
    ];
    let url = promotion.url.iter().map(|url| text("url", url));
    let started = promotion.started_time.as_ref().map_or(now, |started| started.0);
    let builder = SpanBuilder::from_name("promotion")
        .with_start_time(SystemTime::from(started))
        .with_attributes(attributes.into_iter().chain(url));
    let mut span = Ids::are(ids(id), || tracer.build_with_context(builder, &Context::new()));
    if promotion.phase == Phase::Failed {
        span.set_status(Status::error(promotion.message.clone().unwrap_or_default()));
    }
    span.end_with_timestamp(SystemTime::from(now));
}

thread_local! {
    static NEXT: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Random ids, but those that the first span of a promotion has.
#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl Ids {
    /// Whatever `make` makes has these ids.
    fn are<T>(ids: (TraceId, SpanId), make: impl FnOnce() -> T) -> T {
        NEXT.set(Some(ids));
        let made = make();
        NEXT.set(None);
        made
    }
}

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::pipeline;

    #[test]
    fn the_trace_is_the_one_that_commits_and_events_name() {
        let key = key::of(&pipeline("dev prod"), "prod", "6.1.0", 1);
        let (trace, span) = ids(key.id());
        assert_eq!(format!("00-{trace}-{span}-01"), key.traceparent());
        assert_eq!(trace.to_string(), key.id().simple().to_string());
    }
}
