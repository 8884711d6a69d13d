//! `POST /promotion-status/{namespace}/{name}/{environment}`: what the receiver of a webhook says became of it.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use egress::Retry;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use pipeline_api::normalized::Strategy;
use pipeline_api::{Pipeline, ReportState, ReportStatus};
use promote_webhook::{Keys, Refusal, Report, State as Progress, acknowledge};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Endpoints, TRIES, unauthorized};
use crate::causes::explain;
use crate::record::record_report;
use crate::strategies::webhook;

pub(super) async fn take(
    State(endpoints): State<Endpoints>,
    Path((namespace, name, environment)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let since = Instant::now();
    let unavailable = |why: &str| super::unavailable(&namespace, &name, "a report", &why);
    for _ in 0..TRIES {
        let pipeline = match endpoints.pipeline(&namespace, &name).await {
            Ok(pipeline) => pipeline,
            Err(error) => return unavailable(&explain(&error)),
        };
        let keys = match keys(&endpoints, pipeline.as_ref(), &environment).await {
            Ok(keys) => keys,
            Err(error) if error.retry() == Retry::Later && !error.is_missing() => return unavailable(&explain(&error)),
            Err(error) => {
                let why = explain(&error);
                tracing::warn!(pipeline.namespace = namespace, pipeline.name = name, "a report has no key: {why}");
                None
            }
        };
        let promotion = pipeline.as_ref().and_then(|pipeline| promotion(pipeline, &environment));
        let report = match acknowledge(keys.as_ref(), promotion, &headers, &body, Endpoints::now()) {
            Ok(report) => report,
            Err(Refusal::Unsigned) => return unauthorized(since).await,
            Err(refusal @ Refusal::Malformed(_)) => return refuse(StatusCode::BAD_REQUEST, &refusal),
            Err(refusal @ Refusal::OtherPromotion) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, &refusal),
        };
        let Some(pipeline) = pipeline else { return unauthorized(since).await };
        let known = pipeline.status.iter().find_map(|status| status.environments.get(&environment)?.report.as_ref());
        let report = status(report);
        let accepted = |woken: kube::Result<()>| match woken {
            Ok(()) => StatusCode::ACCEPTED.into_response(),
            Err(error) => unavailable(&explain(&error)),
        };
        if !is_newer(known, &report) {
            // Maybe it is sent anew because it was recorded and nobody could be woken.
            return accepted(endpoints.wake.elsewhere(&namespace, &name).await);
        }
        match record_report(&endpoints.client, &pipeline, &environment, Some(&report)).await {
            Ok(()) => {
                tracing::info!(
                    pipeline.namespace = namespace,
                    pipeline.name = name,
                    promotion.id = report.promotion_id,
                    "the receiver reports {:?} of the promotion to {environment}",
                    report.state,
                );
                return accepted(endpoints.wake.anywhere(&namespace, &name).await);
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => return unavailable(&explain(&error)),
        }
    }
    unavailable("the Pipeline changes too often")
}

/// The keys that the receiver has; none if the environment is not promoted to by a signed webhook.
async fn keys(
    endpoints: &Endpoints,
    pipeline: Option<&Pipeline>,
    environment: &str,
) -> Result<Option<Keys>, pipeline_secrets::Error> {
    let promotion = pipeline.and_then(|pipeline| Some((pipeline, pipeline.promotion(environment).ok()??)));
    let Some((pipeline, promotion)) = promotion else { return Ok(None) };
    let Strategy::Webhook(webhook) = promotion.strategy else { return Ok(None) };
    let Some(secret) = webhook.secret else { return Ok(None) };
    let namespace = pipeline.namespace().unwrap_or_default();
    let secret = pipeline_secrets::read(endpoints.client.clone(), &namespace, &secret).await?;
    Ok(webhook::keys(&secret.webhook()?))
}

fn promotion(pipeline: &Pipeline, environment: &str) -> Option<Uuid> {
    let promotion = pipeline.status.as_ref()?.environments.get(environment)?.promotion.as_ref()?;
    Uuid::parse_str(&promotion.id).ok()
}

fn status(report: Report) -> ReportStatus {
    ReportStatus {
        promotion_id: report.promotion_id.to_string(),
        state: match report.state {
            Progress::Running => ReportState::Running,
            Progress::Succeeded => ReportState::Succeeded,
            Progress::Failed => ReportState::Failed,
        },
        url: report.url.map(String::from),
        reason: report.reason,
        time: Time(report.time),
    }
}

/// Whether `report` is to take the place of the one on record. Reports can arrive out of order and be played again: the later one
/// holds, and within a second the one that ends the promotion.
pub(super) fn is_newer(known: Option<&ReportStatus>, report: &ReportStatus) -> bool {
    let Some(known) = known.filter(|known| known.promotion_id == report.promotion_id) else { return true };
    let ends = |report: &ReportStatus| report.state != ReportState::Running;
    (report.time.0, ends(report)) > (known.time.0, ends(known))
}

fn refuse(status: StatusCode, refusal: &Refusal) -> Response {
    (status, format!("{refusal}\n")).into_response()
}
