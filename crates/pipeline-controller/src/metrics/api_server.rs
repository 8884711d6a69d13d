//! Requests to the API server of this cluster, as client-go counts them.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::uri::Authority;
use http::{Request, Response, Uri};
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::{Layer, Service};

use super::vector::Value;
use super::{Metrics, names};

/// Counts the requests of a client.
#[derive(Clone)]
pub(crate) struct ApiServer {
    metrics: Arc<Metrics>,
    /// Host and port.
    host: Arc<str>,
}

impl ApiServer {
    pub(crate) fn new(metrics: &Arc<Metrics>, url: &Uri) -> Self {
        let host = url.authority().map(Authority::as_str).unwrap_or_default();
        Self { metrics: Arc::clone(metrics), host: Arc::from(host) }
    }

    /// A client whose requests are counted.
    ///
    /// # Errors
    /// As [`Client::try_from`].
    pub(crate) fn client(&self, config: Config) -> kube::Result<Client> {
        Ok(ClientBuilder::try_from(config)?.with_layer(self).build())
    }
}

#[derive(Clone)]
pub(crate) struct Counting<S> {
    inner: S,
    counter: ApiServer,
}

impl<S> Layer<S> for ApiServer {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, counter: self.clone() }
    }
}

impl<S, B, A> Service<Request<B>> for Counting<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    A: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = names::method(request.method());
        let (ApiServer { metrics, host }, answer) = (self.counter.clone(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or(names::NO_ANSWER, |answer| names::api_code(answer.status()));
            let labels: [Value; 3] = [code.into(), method.into(), host.to_string().into()];
            metrics.api_requests.add(labels, 1);
            answer
        })
    }
}
