//! HTTPS on a free loopback port, with faults and a record of every request: what the servers of this crate have in
//! common. HTTP/1.1 only, where one dropped connection is one lost answer.

use std::{
    future::Future,
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, future, stream};
use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::{
    ca::Ca,
    faults::{Answer, Broken, Fault, Faults, Location, Rule, When},
    recorded::{Entry, Log, RecordedRequest, Route},
};

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a server does with a request.
pub(crate) trait Service: Send + Sync + 'static {
    /// The kinds of requests that a [`Rule`] can name.
    type Step: Clone + PartialEq + Send + Sync + 'static;
    /// Whether request bodies are kept in the record.
    const RECORD_BODIES: bool;

    fn route(&self, head: &Parts) -> Route<Self::Step>;
    fn respond(&self, head: Parts, body: Body) -> impl Future<Output = Response<Body>> + Send;
}

impl<S: Service> Service for Arc<S> {
    type Step = S::Step;
    const RECORD_BODIES: bool = S::RECORD_BODIES;

    fn route(&self, head: &Parts) -> Route<S::Step> {
        S::route(self, head)
    }

    fn respond(&self, head: Parts, body: Body) -> impl Future<Output = Response<Body>> + Send {
        S::respond(self, head, body)
    }
}

/// A running server; it stops, and ends its connections, when it is dropped.
pub(crate) struct Server<S: Service> {
    /// `https://127.0.0.1:<port>/`
    pub(crate) url: Url,
    shared: Arc<Shared<S>>,
    _tasks: JoinSet<()>,
}

struct Shared<S: Service> {
    service: S,
    faults: Faults<S::Step>,
    log: Arc<Log<S::Step>>,
}

/// A free loopback port and the address under which it will be served.
pub(crate) async fn listen() -> Result<(TcpListener, Url)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = Url::parse(&format!("https://{}/", listener.local_addr()?))?;
    Ok((listener, url))
}

impl<S: Service> Server<S> {
    pub(crate) fn start(ca: &Ca, listener: TcpListener, url: Url, service: S) -> Result<Self> {
        let shared = Arc::new(Shared { service, faults: Faults::new(), log: Arc::new(Log::new()) });
        let acceptor = TlsAcceptor::from(ca.server_config()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { url, shared, _tasks: tasks })
    }

    pub(crate) fn service(&self) -> &S {
        &self.shared.service
    }

    pub(crate) fn inject(&self, rule: Rule<S::Step>) {
        self.shared.faults.add(rule);
    }

    pub(crate) fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest<S::Step>> {
        self.shared.log.requests()
    }

    pub(crate) async fn wait_for(&self, n: usize, timeout: Duration) -> Result<()> {
        self.shared.log.wait_for(n, timeout).await
    }
}

async fn accept<S: Service>(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared<S>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                    connections.spawn(async move {
                        socket.set_nodelay(true).ok();
                        let Ok(socket) = acceptor.accept(socket).await else { return };
                        let service = hyper::service::service_fn(|request| shared.handle(request));
                        let served = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .serve_connection(TokioIo::new(socket), service)
                            .await;
                        if let Err(error) = served {
                            tracing::debug!(%error, "connection ended");
                        }
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

impl<S: Service> Shared<S> {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
        let (head, body) = request.into_parts();
        let route = self.service.route(&head);
        let fault = if route.authorized { self.faults.take(route.repo.as_deref(), route.step.as_ref()) } else { None };
        let entry = self.log.open(&head, route);
        let body = recorded(body, entry.clone(), S::RECORD_BODIES);
        let response = match fault {
            None => self.service.respond(head, body).await,
            Some(fault) => self.fail(fault, head, body).await?,
        };
        entry.update(|request| request.status = Some(response.status()));
        Ok(response.map(|body| {
            streamed(body.into_data_stream().inspect_ok(move |chunk| {
                entry.update(|request| request.sent += length(chunk));
            }))
        }))
    }

    async fn fail(&self, fault: Fault, head: Parts, body: Body) -> Result<Response<Body>, Dropped> {
        let answer = match fault {
            Fault::Answer(When::Before, answer) => {
                drain(body).await;
                respond(answer)
            }
            Fault::Answer(When::After, answer) => {
                drain(self.service.respond(head, body).await.into_body()).await;
                respond(answer)
            }
            Fault::Drop(When::Before) => return Err(Dropped),
            Fault::Drop(When::After) => {
                drain(self.service.respond(head, body).await.into_body()).await;
                return Err(Dropped);
            }
            Fault::Hold(When::Before, hold) => {
                hold.wait().await?;
                self.service.respond(head, body).await
            }
            Fault::Hold(When::After, hold) => {
                let answer = gathered(self.service.respond(head, body).await).await;
                hold.wait().await?;
                answer
            }
            Fault::Delay(wait) => {
                tokio::time::sleep(wait).await;
                self.service.respond(head, body).await
            }
            Fault::Slow(wait) => self.service.respond(head, body).await.map(|body| {
                streamed(body.into_data_stream().then(move |chunk| async move {
                    tokio::time::sleep(wait).await;
                    chunk
                }))
            }),
            Fault::CutAnswer(limit) => {
                let mut answer = self.service.respond(head, body).await.map(|body| cut(body, limit).0);
                answer.headers_mut().remove(header::CONTENT_LENGTH);
                answer
            }
            Fault::CutRequest(limit) => {
                let (body, reached) = cut(body, limit);
                tokio::select! {
                    biased;
                    Ok(()) = reached => return Err(Dropped),
                    answer = self.service.respond(head, body).then(gathered) => answer,
                }
            }
            Fault::Redirect(status, to) => {
                drain(body).await;
                redirect(&head, status, &to)
            }
            Fault::Huge(size) => {
                drain(body).await;
                huge(size)
            }
        };
        Ok(answer)
    }
}

/// Makes hyper close the connection without an answer.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

impl From<Broken> for Dropped {
    fn from(Broken: Broken) -> Self {
        Self
    }
}

fn recorded<S: Clone + Send + 'static>(body: Incoming, entry: Entry<S>, keep: bool) -> Body {
    if body.is_end_stream() {
        entry.update(|request| request.complete = true);
    }
    streamed(stream::unfold((body.into_data_stream(), entry), move |(mut chunks, entry)| async move {
        let chunk = chunks.next().await;
        entry.update(|request| match &chunk {
            None => request.complete = true,
            Some(Err(_)) => {}
            Some(Ok(chunk)) => {
                request.received += length(chunk);
                if keep {
                    request.body.extend_from_slice(chunk);
                }
            }
        });
        Some((chunk?.map_err(io::Error::other), (chunks, entry)))
    }))
}

/// The first `limit` bytes of the body, then an error; the receiver hears of it.
fn cut(body: Body, limit: u64) -> (Body, oneshot::Receiver<()>) {
    let (reached, heard) = oneshot::channel();
    let state = (body.into_data_stream(), limit, Some(reached));
    let chunks = stream::unfold(state, |(mut chunks, left, reached)| async move {
        if left == 0 {
            // What was passed on before has to be on the wire, or in the other process, before the end comes.
            tokio::time::sleep(Duration::from_millis(50)).await;
            reached?.send(()).ok();
            return Some((Err(io::Error::other(Dropped)), (chunks, left, None)));
        }
        let chunk = chunks.next().await?;
        let (chunk, passed) = match chunk {
            Ok(mut chunk) => {
                chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let passed = length(&chunk);
                (Ok(chunk), passed)
            }
            Err(error) => (Err(error), 0),
        };
        Some((chunk, (chunks, left - passed, reached)))
    });
    (streamed(chunks), heard)
}

async fn drain(body: Body) {
    let mut chunks = body.into_data_stream();
    while let Some(Ok(_)) = chunks.next().await {}
}

async fn gathered(response: Response<Body>) -> Response<Body> {
    let (head, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => full(body.to_bytes()),
        Err(error) => streamed(stream::once(future::ready(Err(error)))),
    };
    Response::from_parts(head, body)
}

fn respond(answer: Answer) -> Response<Body> {
    let mut response = Response::new(full(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

fn redirect(head: &Parts, status: StatusCode, to: &Location) -> Response<Body> {
    let from = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let location = match to {
        Location::Origin(origin) => origin.join(from).map(String::from).unwrap_or_default(),
        Location::Replace(old, new) => from.replacen(old.as_str(), new, 1),
        Location::Url(url) => url.to_string(),
    };
    match HeaderValue::try_from(location) {
        Ok(location) => respond(Answer::text(status).with(header::LOCATION, location)),
        Err(_) => respond(Answer::text(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

fn huge(size: u64) -> Response<Body> {
    const CHUNK: &[u8] = &[b'a'; 16 * 1024];
    let opening = stream::once(future::ready(Ok(Bytes::from_static(b"\""))));
    let letters = stream::unfold(size.saturating_sub(1), |left| {
        let mut chunk = Bytes::from_static(CHUNK);
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let next = left - length(&chunk);
        future::ready((left > 0).then_some((Ok(chunk), next)))
    });
    let mut response = Response::new(streamed(opening.chain(letters)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn streamed(chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync()
}

fn length(chunk: &Bytes) -> u64 {
    u64::try_from(chunk.len()).unwrap_or(u64::MAX)
}

/// The data behind the lock, even if a test that held it has panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
