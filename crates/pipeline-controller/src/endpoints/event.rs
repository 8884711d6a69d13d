//! `POST /promotion/{namespace}/{name}/{environment}`: what Flux tells of an application.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use promote_webhook::verify_flux;
use tokio::time::Instant;

use super::accepted::accepted;
use super::signer::Signer;
use super::{Endpoints, TRIES, unauthorized};
use crate::causes::explain;
use crate::heard::{self, Event, Meant};
use crate::record::record_events;

pub(super) async fn take(
    State(endpoints): State<Endpoints>,
    Path((namespace, name, environment)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let since = Instant::now();
    let unavailable = |why: &str| super::unavailable(&namespace, &name, "an event", &why);
    for _ in 0..TRIES {
        let pipeline = match endpoints.pipeline(&namespace, &name).await {
            Ok(pipeline) => pipeline,
            Err(error) => return unavailable(&explain(&error)),
        };
        let signer = match endpoints.signer(pipeline.as_ref(), &environment).await {
            Ok(signer) => signer,
            Err(error) => return unavailable(&explain(&error)),
        };
        let signed = verify_flux(signer.keys(), &headers, &body);
        let Some(pipeline) = pipeline.filter(|_| signed || matches!(signer, Signer::Unnamed)) else {
            return unauthorized(since).await;
        };
        let event: Event = match serde_json::from_slice(&body) {
            Ok(event) => event,
            Err(error) => {
                return (StatusCode::BAD_REQUEST, format!("the body is no Flux event: {error}")).into_response();
            }
        };
        let refuse = |refusal: heard::Refusal| (StatusCode::UNPROCESSABLE_ENTITY, refusal.to_string()).into_response();
        let target = match heard::meant(&pipeline, &environment, &event) {
            Ok(Meant::Told(target)) => target,
            Ok(Meant::Watched(next)) => {
                // Which process ever reconciles the Pipeline, it watches the target too.
                endpoints.wake.here(&namespace, &name).await;
                let waits = pipeline.promotion(&next.name).is_ok_and(|found| found.is_some_and(|found| found.manual));
                let promoted = (next.name.as_str(), event.revision());
                return accepted(endpoints.legacy, &pipeline, (!waits).then_some(promoted));
            }
            Err(refusal) => return refuse(refusal),
        };
        if !signed {
            tracing::warn!(
                pipeline.namespace = namespace,
                pipeline.name = name,
                "an unsigned event of {environment} does not count: name the Secret with the key in hmacSecretRef"
            );
            return unauthorized(since).await;
        }
        let key = heard::key(target);
        let accepted = || accepted(endpoints.legacy, &pipeline, None);
        let report = match heard::report(heard::known(&pipeline, &environment, &key), &event, Endpoints::now()) {
            Ok(Some(report)) => report,
            Ok(None) => {
                // Maybe it is sent anew because it was recorded and nobody could be woken.
                return match endpoints.wake.elsewhere(&namespace, &name).await {
                    Ok(()) => accepted(),
                    Err(error) => unavailable(&explain(&error)),
                };
            }
            Err(refusal) => return refuse(refusal),
        };
        let mut events = heard::kept(&pipeline, &environment);
        let (revision, ready) = (report.revision.clone(), report.ready);
        events.insert(key, report);
        match record_events(&endpoints.client, &pipeline, &environment, &events).await {
            Ok(()) => {
                tracing::info!(
                    pipeline.namespace = namespace,
                    pipeline.name = name,
                    ready,
                    "an event reports {revision} in {environment}"
                );
                return match endpoints.wake.anywhere(&namespace, &name).await {
                    Ok(()) => accepted(),
                    Err(error) => unavailable(&explain(&error)),
                };
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => return unavailable(&explain(&error)),
        }
    }
    unavailable("the Pipeline changes too often")
}

#[cfg(test)]
mod tests;
