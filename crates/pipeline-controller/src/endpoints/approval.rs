//! `POST /approval/{namespace}/{name}/{environment}/{revision}`: a person's word, brought by a system that they trust.
//!
//! It becomes the annotation by which people approve at the API server, for the one promotion that waits.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use pipeline_api::Pipeline;
use promote_webhook::{Keys, verify, verify_flux};
use serde::Deserialize;
use tokio::time::Instant;

use super::accepted::accepted;
use super::seen::Id;
use super::{Endpoints, TRIES, unauthorized};
use crate::approve::{self, Approval, Refusal};
use crate::causes::explain;
use crate::record::record_approval;

/// Who approves when nobody is named.
const UNNAMED: &str = "approval endpoint";

/// What is approved, as the path says too, so that a signature is good for it alone.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Body {
    namespace: String,
    pipeline: String,
    environment: String,
    revision: String,
    approved_by: Option<String>,
}

/// How an approval is known to be one.
enum Proof {
    /// By a signature of its body, with an id.
    Signed(Id),
    /// As the first pipeline-controller took it: by a signature of nothing.
    Legacy,
}

pub(super) async fn take(
    State(endpoints): State<Endpoints>,
    Path((namespace, name, environment, revision)): Path<(String, String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let since = Instant::now();
    let now = Endpoints::now();
    let unavailable = |why: &str| super::unavailable(&namespace, &name, "an approval", &why);
    let pipeline = match endpoints.pipeline(&namespace, &name).await {
        Ok(pipeline) => pipeline,
        Err(error) => return unavailable(&explain(&error)),
    };
    let signer = match endpoints.signer(pipeline.as_ref(), &environment).await {
        Ok(signer) => signer,
        Err(error) => return unavailable(&explain(&error)),
    };
    let id = |id| (namespace.clone(), name.clone(), id);
    let proof = prove(endpoints.legacy.approval, signer.keys(), &headers, &body, now, id);
    let (Some(pipeline), Some(proof)) = (pipeline, proof) else { return unauthorized(since).await };
    let by = match &proof {
        Proof::Legacy => UNNAMED.to_owned(),
        Proof::Signed(id) => {
            if !endpoints.seen.note(id, now) {
                return (StatusCode::CONFLICT, "the approval was received before").into_response();
            }
            match approver(&body, [&namespace, &name, &environment, &revision]) {
                Ok(by) => by,
                Err((status, why)) => return (status, why).into_response(),
            }
        }
    };
    let approval = Approval { environment, revision, sequence: None, by };
    match record(&endpoints, pipeline, &approval, now).await {
        Ok(Ok(pipeline)) => accepted(endpoints.legacy, &pipeline, Some((&approval.environment, &approval.revision))),
        Ok(Err(refusal)) => (StatusCode::UNPROCESSABLE_ENTITY, words(&namespace, &name, &refusal)).into_response(),
        Err(why) => {
            if let Proof::Signed(id) = &proof {
                endpoints.seen.forget(id);
            }
            unavailable(&why)
        }
    }
}

/// How the request is known to come from whoever holds the key; `None` if it is not.
fn prove(
    legacy: bool,
    keys: Option<&Keys>,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
    id: impl Fn(String) -> Id,
) -> Option<Proof> {
    if legacy && !headers.contains_key("webhook-signature") {
        return verify_flux(keys, headers, b"").then_some(Proof::Legacy);
    }
    verify(keys, headers, body, now).map(|signed| Proof::Signed(id(signed.id)))
}

/// Who approves, by the body of a signed request to `path`.
fn approver(body: &[u8], path: [&str; 4]) -> Result<String, (StatusCode, String)> {
    let said: Body = serde_json::from_slice(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("the body is no approval: {error}")))?;
    if [&said.namespace, &said.pipeline, &said.environment, &said.revision] != path {
        let why = "failed approving promotion: the body approves something else than the path names";
        return Err((StatusCode::UNPROCESSABLE_ENTITY, why.to_owned()));
    }
    let by = said.approved_by.as_deref().map(str::trim).filter(|by| !by.is_empty()).unwrap_or(UNNAMED);
    if by.chars().count() > 253 || by.contains(char::is_control) {
        let why = "the body is no approval: approvedBy has more than 253 characters, or a line break among them";
        return Err((StatusCode::BAD_REQUEST, why.to_owned()));
    }
    Ok(by.to_owned())
}

/// Puts the approval on the Pipeline, as it was when that was read.
async fn record(
    endpoints: &Endpoints,
    mut pipeline: Pipeline,
    approval: &Approval,
    now: Timestamp,
) -> Result<Result<Pipeline, Refusal>, String> {
    for _ in 0..TRIES {
        let annotations = match approve::annotations(&pipeline, approval, now) {
            Ok(annotations) => annotations,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match record_approval(&endpoints.client, &pipeline, &annotations).await {
            Ok(()) => {
                let Approval { environment, revision, by, .. } = approval;
                let (namespace, name) = (pipeline.metadata.namespace.as_deref(), pipeline.metadata.name.as_deref());
                tracing::info!(
                    pipeline.namespace = namespace,
                    pipeline.name = name,
                    "{by} approves {revision} for {environment}"
                );
                return Ok(Ok(pipeline));
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                let (namespace, name) = (pipeline.metadata.namespace.as_deref(), pipeline.metadata.name.as_deref());
                let latest = endpoints.pipeline(namespace.unwrap_or_default(), name.unwrap_or_default()).await;
                let Some(latest) = latest.map_err(|error| explain(&error))? else {
                    return Ok(Err(Refusal::NothingWaits(approval.environment.clone())));
                };
                pipeline = latest;
            }
            Err(error) => return Err(explain(&error)),
        }
    }
    Err("the Pipeline changes too often".to_owned())
}

/// The words of the first pipeline-controller, and why.
fn words(namespace: &str, name: &str, refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownEnvironment(environment) => {
            format!("app {namespace}/{name} has no environment {environment} defined")
        }
        Refusal::NothingWaits(_) | Refusal::OtherRevision { .. } => format!("failed approving promotion: {refusal}"),
    }
}

#[cfg(test)]
mod tests;
