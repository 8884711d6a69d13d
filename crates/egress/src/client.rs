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
use url::Url;

use crate::{body::Body, error, error::Error};

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
    http: reqwest::Client,
    allow_http: bool,
    via: Option<Arc<str>>,
    limits: Limits,
}

impl Client {
    pub(crate) fn new(http: reqwest::Client, allow_http: bool, via: Option<String>) -> Self {
        Self { http, allow_http, via: via.map(Arc::from), limits: Limits::default() }
    }

    /// The same client with other limits.
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// Sends a request once and reads the whole answer. Redirects and error statuses are answers.
    ///
    /// # Errors
    /// [`Error::Url`] or [`Error::Request`] before anything is sent; [`Error::Connect`] if it did not arrive;
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
        check(&url, self.allow_http)?;
        let peer = Peer { name: error::peer(&url).into(), via: self.via.clone() };
        let fail = |error| Error::from_reqwest(error, &peer.to_string(), self.limits.deadline);

        let method = request.method().clone();
        let mut request = reqwest::Request::try_from(request).map_err(fail)?;
        *request.timeout_mut() = Some(self.limits.deadline);
        let response = self.http.execute(request).await.map_err(fail)?;
        tracing::debug!(
            http.request.method = %method,
            http.response.status_code = response.status().as_u16(),
            server.address = %peer,
            "answered",
        );

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
        f.debug_struct("Client").field("via", &self.via).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Whom a call goes to, as it is shown.
#[derive(Clone)]
pub(crate) struct Peer {
    name: Arc<str>,
    via: Option<Arc<str>>,
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

pub(crate) fn check(url: &Url, allow_http: bool) -> Result<(), Error> {
    let refuse = |problem| Err(Error::Url { peer: error::peer(url), problem });
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => return refuse("plain http is not allowed; use https"),
        _ => return refuse("its scheme is not https"),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return refuse("it names no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("user name and password do not belong in a URL; put them in a Secret");
    }
    Ok(())
}
