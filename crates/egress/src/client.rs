use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tracing::Instrument as _;
use url::Url;

use crate::{
    body::Body,
    calls::{Observer, Outcome, Watch},
    error,
    error::Error,
    gate::Gate,
    guard::Guard,
    system::SystemProxy,
};

/// How long an answer may take and how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time for the whole call, from name lookup to the last byte of the answer's body.
    pub deadline: Duration,
    /// The longest body of an answer, in bytes.
    pub body: u64,
}

impl Default for Limits {
    /// 30 seconds and 4 MiB.
    fn default() -> Self {
        Self { deadline: Duration::from_secs(30), body: 4 << 20 }
    }
}

/// Sends requests as one [`Identity`](crate::Identity), under [`Limits`]. Clones share the connections.
///
/// It is a [`tower::Service`] for bodies of any kind, and then does what [`Client::stream`] does once it has read the
/// request's body.
#[derive(Clone)]
pub struct Client {
    parts: Arc<Parts>,
    limits: Limits,
}

/// What the clones of a client share.
pub(crate) struct Parts {
    /// To the server, or through the identity's proxy, at addresses that the guard lets through.
    pub(crate) direct: reqwest::Client,
    /// Through the operator's proxy, at whichever address that is.
    pub(crate) system: Option<(Arc<SystemProxy>, reqwest::Client)>,
    /// The identity's proxy.
    pub(crate) via: Option<String>,
    pub(crate) allow_http: bool,
    pub(crate) guard: Arc<Guard>,
    pub(crate) gate: Option<Gate>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Client {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), limits: Limits::default() }
    }

    /// The same client with other limits.
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { parts: Arc::clone(&self.parts), limits }
    }

    /// Sends a request once and reads the whole answer. Redirects and error statuses are answers.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Denied`], [`Error::Shut`] or [`Error::Request`] before anything is sent; [`Error::Connect`] if it did not arrive;
    /// [`Error::Broken`], [`Error::Deadline`] or [`Error::TooLong`] if it may have arrived.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let (head, body) = self.stream(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Sends a request once and returns as soon as the head of the answer is there.
    ///
    /// # Errors
    /// As [`Client::send`]; reading the [`Body`] can fail as well.
    pub async fn stream(&self, request: Request<Bytes>) -> Result<Response<Body>, Error> {
        let url = Url::parse(&request.uri().to_string()).map_err(|_ignored| Error::Url {
            peer: "a relative or invalid URL".to_owned(),
            problem: "it names no host",
        })?;
        let name = error::peer(&url);
        let span = tracing::debug_span!(
            "http",
            otel.kind = "client",
            http.request.method = %request.method(),
            server.address = name,
            http.response.status_code = tracing::field::Empty,
            outcome = tracing::field::Empty,
        );
        let watch = Watch::start(self.parts.observer.as_ref());
        let answer = self.answer(&url, request, &watch).instrument(span.clone()).await;
        let outcome = Outcome::of(answer.as_ref().map(|answer| Some(answer.status())));
        watch.end(&name, outcome);
        span.record("outcome", outcome.as_str());
        if let Ok(answer) = &answer {
            span.record("http.response.status_code", answer.status().as_u16());
        }
        span.in_scope(|| tracing::debug!("called"));
        answer
    }

    async fn answer(&self, url: &Url, request: Request<Bytes>, watch: &Watch) -> Result<Response<Body>, Error> {
        let Parts { direct, system, via, allow_http, guard, gate, .. } = self.parts.as_ref();
        check(url, *allow_http, guard)?;
        let by_system = system.as_ref().and_then(|(system, http)| Some((system.for_url(request.uri())?, http)));
        let (via, http) = match by_system {
            Some((proxy, http)) => (Some(proxy), http),
            None => (via.clone(), direct),
        };
        let peer = Peer { name: error::peer(url).into(), via: via.map(Arc::from), watch: watch.clone() };
        let fail = |error| Error::from_reqwest(error, &peer.to_string(), self.limits.deadline);

        let mut request = reqwest::Request::try_from(request).map_err(fail)?;
        *request.timeout_mut() = Some(self.limits.deadline);
        may_call(gate.as_ref(), || error::peer(url))?;
        tracing::trace!(server.address = %peer, "calling");
        let response = http.execute(request).await.map_err(fail)?;
        let (head, body) = Response::from(response).into_parts();
        Ok(Response::from_parts(head, Body::new(body, self.limits, peer)?))
    }
}

impl<B> tower::Service<Request<B>> for Client
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Body>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let client = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| Error::Request {
                peer: head.uri.authority().map_or_else(String::new, |authority| authority.host().to_owned()),
                source: error.into(),
            })?;
            client.stream(Request::from_parts(head, body.to_bytes())).await
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("via", &self.parts.via).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Whom a call goes to, as it is shown.
#[derive(Clone)]
pub(crate) struct Peer {
    name: Arc<str>,
    via: Option<Arc<str>>,
    watch: Watch,
}

impl Peer {
    /// Tells of an answer whose body failed.
    pub(crate) fn failed(&self, error: &Error) {
        self.watch.end(&self.name, Outcome::of(Err(error)));
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.via {
            Some(proxy) => write!(f, " through the proxy {proxy}"),
            None => Ok(()),
        }
    }
}

pub(crate) fn may_call(gate: Option<&Gate>, peer: impl FnOnce() -> String) -> Result<(), Error> {
    if gate.is_none_or(Gate::is_open) { Ok(()) } else { Err(Error::Shut { peer: peer() }) }
}

pub(crate) fn check(url: &Url, allow_http: bool, guard: &Guard) -> Result<(), Error> {
    let refuse = |problem| Err(Error::Url { peer: error::peer(url), problem });
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => return refuse("plain http is not allowed; use https"),
        _ => return refuse("its scheme is not https"),
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return refuse("it names no host");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("user name and password do not belong in a URL; put them in a Secret");
    }
    guard.check_literal(host).map_err(|denied| Error::denied(error::peer(url), denied))
}
