//! A client for another cluster's API server, which goes where every other call may go and nowhere else.

use std::time::Duration;

use egress::Egress;
use http::{Response, Uri};
use http_body_util::Limited;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use tower::util::MapResponseLayer;
use tower::{BoxError, ServiceBuilder};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two pieces of an answer, or of a request: longer than a watch of another cluster lasts. Other requests have deadlines.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// Bytes of one answer: a page of a list, or all events of a watch. An object has at most 1.5 MiB in etcd.
pub(super) const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// Requests that wait for their answer at the same time.
const CONCURRENT: usize = 16;
/// Requests that begin within a second.
pub(super) const REQUESTS_PER_SECOND: u64 = 20;

/// The client. As for the API server of this cluster, no proxy is used; nothing is tried again, for the next look does that, and the
/// target shows the reason meanwhile.
///
/// # Errors
/// TLS or the credentials of `config` cannot be used.
pub(super) fn client(config: &Config, egress: Egress) -> kube::Result<Client> {
    let connect = tower::service_fn(move |server: Uri| {
        let egress = egress.clone();
        async move {
            let port = server.port_u16().unwrap_or(443);
            egress.connect(server.host().unwrap_or_default(), port).await.map(TokioIo::new)
        }
    });
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connect)?);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_read_timeout(Some(IDLE_TIMEOUT));
    connector.set_write_timeout(Some(IDLE_TIMEOUT));
    connector.set_reset_reader_on_write(true);
    let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .rate_limit(REQUESTS_PER_SECOND, Duration::from_secs(1))
        .concurrency_limit(CONCURRENT)
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .service(http);
    let builder = ClientBuilder::new(service, config.default_namespace.clone());
    Ok(builder.with_layer(&MapResponseLayer::new(cap)).build())
}

pub(super) fn cap<B>(answer: Response<B>) -> Response<Limited<B>> {
    answer.map(|body| Limited::new(body, MAX_ANSWER))
}
