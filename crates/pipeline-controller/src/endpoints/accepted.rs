//! The answer to what was taken.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pipeline_api::Pipeline;
use pipeline_api::normalized::Strategy;

/// What is done as the first pipeline-controller did it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Legacy {
    /// 201 and 204 for what is taken, instead of 202.
    pub codes: bool,
    /// Approvals whose signature is that of an empty body.
    pub approval: bool,
}

/// It was taken, and leads to a promotion of `promoted`, an environment and a revision, if there is one.
///
/// The old codes are those that the promotion's strategy gave there: 201 where a pull request comes of it, whose URL is told if
/// it is known already, otherwise 204.
pub(super) fn accepted(legacy: Legacy, pipeline: &Pipeline, promoted: Option<(&str, &str)>) -> Response {
    if !legacy.codes {
        return StatusCode::ACCEPTED.into_response();
    }
    let opens = |environment: &str| {
        let promotion = pipeline.promotion(environment).ok().flatten();
        promotion.is_some_and(|promotion| matches!(promotion.strategy, Strategy::PullRequest(_)))
    };
    let Some((environment, revision)) = promoted.filter(|(environment, _)| opens(environment)) else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let status = pipeline.status.as_ref().and_then(|status| status.environments.get(environment));
    let record = status.and_then(|status| status.promotion.as_ref()).filter(|record| record.revision == revision);
    match record.and_then(|record| record.url.clone()) {
        Some(url) => (StatusCode::CREATED, [(header::LOCATION, url)]).into_response(),
        None => StatusCode::CREATED.into_response(),
    }
}
