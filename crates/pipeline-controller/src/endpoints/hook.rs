//! `POST /hooks/{sender}`: what the host of pull requests tells of one.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use promote_pr::host::hook::{Refused, Sender};
use tokio::time::Instant;

use super::{Endpoints, unauthorized};
use crate::causes::explain;
use crate::hooks::Unheard;

pub(super) async fn take(
    State(endpoints): State<Endpoints>,
    Path(sender): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let since = Instant::now();
    let Ok(sender) = sender.parse::<Sender>() else {
        return (StatusCode::NOT_FOUND, "there is nothing here\n").into_response();
    };
    let heard = endpoints.hooks.receive(&endpoints.client, sender, &headers, &body, Endpoints::now()).await;
    match heard {
        Ok(woken) => {
            for (namespace, name) in woken {
                tracing::info!(
                    pipeline.namespace = namespace,
                    pipeline.name = name,
                    hook.sender = %sender,
                    "the host tells of the pull request"
                );
                if let Err(error) = endpoints.wake.anywhere(&namespace, &name).await {
                    return super::unavailable(&namespace, &name, "a webhook", &explain(&error));
                }
            }
            StatusCode::ACCEPTED.into_response()
        }
        Err(Unheard::Unauthorized) => unauthorized(since).await,
        Err(Unheard::Unavailable) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the API server cannot be asked now\n").into_response()
        }
        Err(Unheard::Refused(refused)) => {
            let status = match refused {
                Refused::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
                Refused::Unreadable => StatusCode::BAD_REQUEST,
                Refused::Replayed => StatusCode::CONFLICT,
                Refused::Unsigned | Refused::Forged | Refused::Old => StatusCode::UNAUTHORIZED,
            };
            (status, format!("{refused}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
