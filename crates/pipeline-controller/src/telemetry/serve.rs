//! `/metrics` and `/log-level`.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use clap::ValueEnum as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Level;
use crate::args::{LogLevel, MetricsAddress};
use crate::metrics::Metrics;

/// <https://prometheus.io/docs/specs/om/open_metrics_spec/#overall-structure>
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The longest name of a level, and more.
const MAX_BODY: usize = 64;

#[derive(Clone)]
struct Served {
    metrics: Arc<Metrics>,
    level: Level,
}

/// Serves at `address` until `stop`; what is returned ends when that does, or never where there is no address.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) async fn open(
    address: MetricsAddress,
    metrics: &Arc<Metrics>,
    level: &Level,
    stop: &CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let served = match address.0 {
        Some(address) => {
            let listener =
                TcpListener::bind(address).await.with_context(|| format!("--metrics-bind-address {address}"))?;
            let served = Served { metrics: Arc::clone(metrics), level: level.clone() };
            Some(tokio::spawn(serve(listener, served, stop.clone())))
        }
        None => None,
    };
    Ok(async {
        match served {
            Some(served) => Ok(served.await.context("the server of the metrics died")??),
            None => std::future::pending().await,
        }
    })
}

async fn serve(listener: TcpListener, served: Served, stop: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/log-level", get(tell_level).put(set_level))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(served);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn scrape(State(served): State<Served>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], served.metrics.render())
}

async fn tell_level(State(served): State<Served>) -> String {
    format!("{}\n", served.level.get().as_str())
}

/// From this machine alone, which is where `kubectl port-forward` comes from: whoever scrapes changes nothing.
async fn set_level(
    State(served): State<Served>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: String,
) -> (StatusCode, String) {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "only from this machine: use kubectl port-forward\n".to_owned());
    }
    let Ok(level) = LogLevel::from_str(body.trim(), true) else {
        let names = LogLevel::value_variants().iter().map(|level| level.as_str()).collect::<Vec<_>>().join(", ");
        return (StatusCode::BAD_REQUEST, format!("no level: it is one of {names}\n"));
    };
    served.level.set(level);
    tracing::info!(level = level.as_str(), "the level of the log was changed");
    (StatusCode::OK, format!("{}\n", level.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::level;
    use super::*;

    #[tokio::test]
    async fn the_level_is_changed_from_this_machine_alone() {
        let (_filter, level) = level::start(LogLevel::Info);
        let served = Served { metrics: Arc::default(), level: level.clone() };
        let put = async |peer: &str, text: &str| {
            let peer = ConnectInfo(peer.parse().unwrap());
            set_level(State(served.clone()), peer, text.to_owned()).await.0.as_u16()
        };
        for peer in ["10.0.0.7:1", "[2001:db8::7]:1", "[::ffff:10.0.0.7]:1", "169.254.0.1:1"] {
            assert_eq!(put(peer, "debug").await, 403, "{peer}");
        }
        assert_eq!(level.get(), LogLevel::Info);
        assert_eq!(put("127.0.0.1:1", "loud").await, 400);
        for (peer, text, expect) in [
            ("127.0.0.1:1", "debug", LogLevel::Debug),
            ("[::1]:1", " WARN\n", LogLevel::Warn),
            ("[::ffff:127.0.0.1]:1", "warning", LogLevel::Warn),
        ] {
            assert_eq!(put(peer, text).await, 200, "{peer}");
            assert_eq!(level.get(), expect);
        }
    }
}
