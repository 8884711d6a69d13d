//! What others may tell the controller over HTTP. No request promotes: each wakes the reconcile of a Pipeline, and may
//! leave an observation on it. A route has a file of its own below, and a line in [`router`].

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use kube::{Api, Client};
use pipeline_api::Pipeline;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::hooks::Hooks;
use crate::metrics::{self, Metrics};
use crate::wake::Wake;

mod approval;
mod event;
mod hook;
mod report;

mod accepted;
#[cfg(test)]
mod fake;
mod rate;
mod seen;
mod signer;
#[cfg(test)]
mod tests;

pub(crate) use accepted::Legacy;
use rate::Limiter;
pub(crate) use rate::Rate;
pub(crate) use seen::Seen;

/// The numbers of Flux' notification-controller, and a cap on connections.
/// <https://github.com/fluxcd/notification-controller/blob/main/internal/server/limits.go>
const MAX_BODY: usize = 3 << 20;
const MAX_HEADERS: usize = 64 << 10;
const MAX_CONNECTIONS: usize = 256;
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(30);
/// A refusal takes this long whatever it took to find out, so that nothing is learnt from the time.
const REFUSAL: Duration = Duration::from_millis(250);
/// How often something is written anew when the Pipeline changes at the same time.
const TRIES: usize = 5;

/// What the routes share.
#[derive(Clone)]
pub(crate) struct Endpoints {
    pub client: Client,
    /// The only namespace that is answered for, if there is one.
    pub namespace: Option<String>,
    pub hooks: Arc<Hooks>,
    pub wake: Wake,
    pub rate: Rate,
    pub legacy: Legacy,
    /// The approvals of the last ten minutes.
    pub seen: Arc<Seen>,
    pub metrics: Arc<Metrics>,
}

fn router(endpoints: Endpoints) -> Router {
    Router::new()
        .route("/promotion/{namespace}/{name}/{environment}", post(event::take))
        .route("/pipelines/promotions/{namespace}/{name}/{environment}", post(event::take))
        .route("/approval/{namespace}/{name}/{environment}/{revision}", post(approval::take))
        .route("/hooks/{sender}", post(hook::take))
        .route("/promotion-status/{namespace}/{name}/{environment}", post(report::take))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here\n") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(endpoints)
}

/// Serves until `stop`, and then lets those who are being answered finish.
pub(crate) async fn serve(listener: TcpListener, endpoints: Endpoints, stop: CancellationToken) {
    let limiter = Arc::new(Limiter::new(endpoints.rate));
    let metrics = Arc::clone(&endpoints.metrics);
    let router = router(endpoints);
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let accept = async {
        while let Ok(permit) = Arc::clone(&free).acquire_owned().await {
            let (stream, peer) = accept(&listener).await;
            let served = connection(stream, peer, router.clone(), Arc::clone(&limiter), Arc::clone(&metrics));
            while connections.try_join_next().is_some() {}
            connections.spawn(async move {
                served.await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = stop.cancelled() => {}
    }
    while connections.join_next().await.is_some() {}
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // Out of file descriptors, as a rule, which others give back.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// One request, for no caller has a second one at once.
async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, limiter: Arc<Limiter>, metrics: Arc<Metrics>) {
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (router, refused) = (router.clone(), limiter.refuses(peer.ip(), std::time::Instant::now()));
        let metrics = Arc::clone(&metrics);
        async move {
            let endpoint = metrics::endpoint(request.uri().path());
            let answer = match refused {
                Some(wait) => too_many(wait),
                None => answer(router, request.map(Body::new)).await,
            };
            metrics.answered(endpoint, answer.status());
            Ok::<_, io::Error>(answer)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever goes away, or stays away for too long, is told nothing.
    if let Ok(Err(error)) = tokio::time::timeout(HEADER_DEADLINE + DEADLINE + REFUSAL, served).await {
        tracing::debug!(%error, peer.ip = %peer.ip(), "a request was not answered");
    }
}

async fn answer(router: Router, request: Request<Body>) -> Response {
    match tokio::time::timeout(DEADLINE, router.oneshot(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(never)) => match never {},
        Err(_elapsed) => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
    }
}

fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs().saturating_add(1).to_string();
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds)], "too many requests\n").into_response()
}

impl Endpoints {
    /// The Pipeline as it is now; `None` if there is none, or its name can be no object's, or it is not ours.
    async fn pipeline(&self, namespace: &str, name: &str) -> kube::Result<Option<Pipeline>> {
        let ours = self.namespace.as_deref().is_none_or(|ours| ours == namespace);
        if !(ours && is_object_name(namespace) && is_object_name(name)) {
            return Ok(None);
        }
        Api::<Pipeline>::namespaced(self.client.clone(), namespace).get_opt(name).await
    }

    #[expect(clippy::disallowed_methods, reason = "signatures are of a time")]
    fn now() -> Timestamp {
        Timestamp::now()
    }
}

/// The same answer for whoever may not know why.
async fn unauthorized(since: tokio::time::Instant) -> Response {
    tokio::time::sleep_until(since + REFUSAL).await;
    (StatusCode::UNAUTHORIZED, "unauthorized\n").into_response()
}

/// The API server has to be asked, and does not answer.
fn unavailable(namespace: &str, name: &str, what: &str, why: &dyn Display) -> Response {
    tracing::error!(pipeline.namespace = namespace, pipeline.name = name, "{what} was not taken: {why}");
    (StatusCode::SERVICE_UNAVAILABLE, "the API server cannot be asked now\n").into_response()
}

/// It becomes part of a path.
fn is_object_name(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 253
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| edge(Some(byte)) || matches!(byte, b'-' | b'.'))
}

/// Who is counted as one: an IPv4 address, or the network that one IPv6 subscriber has.
fn counted(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}
