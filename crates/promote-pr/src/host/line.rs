//! The way to a host's API: a client, the budget of the credential that is used, and what was seen before.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use egress::{Client, Retry};
use futures::future::BoxFuture;
use http::header::{ETAG, IF_NONE_MATCH, LINK};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Provider;
use super::budget::{Kind, Ledger, Rules, Ticket, Told, Turn};
use super::wire;
use crate::observer::{self, Observer, Quota};

/// The longest wait for a turn; what has to wait longer is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most credentials that are kept account of.
const MAX_ACCOUNTS: usize = 1024;

/// Most that is kept of answers for one credential, in bytes.
const MAX_REMEMBERED: usize = 8 << 20;

/// The accounts of all credentials that a process uses. What goes over the same account shares its budget.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    accounts: Mutex<HashMap<Whose, Arc<Account>>>,
    observer: Option<Arc<dyn Observer>>,
}

/// The origin of a host's API, and the digest of a credential for it.
type Whose = (String, [u8; 32]);

/// What is known about one credential at one host.
#[derive(Debug)]
pub(crate) struct Account {
    /// Host and port of the API.
    host: String,
    observer: Option<Arc<dyn Observer>>,
    ledger: Mutex<Ledger>,
    changed: Notify,
    seen: Mutex<Seen>,
}

/// A pipeline's way to a host's API. Redirects and error statuses are answers, as with [`Client`].
#[derive(Clone)]
pub(crate) struct Line {
    client: Client,
    account: Arc<Account>,
    pipeline: Arc<str>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// Nothing was sent, because the credential's budget does not allow for it now.
    #[error("the host's limit for this credential is reached; it takes more in {} s", after.as_secs())]
    Budget { after: Duration },
    #[error(transparent)]
    Egress(#[from] egress::Error),
}

/// An extension of a request whose answer is kept: the function makes of a body what is kept of it. The next time the
/// host is asked only whether it [changed](https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate).
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep(pub(super) fn(&[u8]) -> Option<Vec<u8>>);

impl Accounts {
    /// No accounts yet; `observer` is told of the waits of all.
    pub(crate) fn new(observer: Option<Arc<dyn Observer>>) -> Self {
        Self { accounts: Mutex::default(), observer }
    }

    /// What hosts told of windows that have not ended.
    pub(crate) fn quotas(&self) -> Vec<Quota> {
        let now = Instant::now().into_std();
        let accounts: Vec<_> = lock(&self.accounts).values().map(Arc::clone).collect();
        let mut quotas = Vec::new();
        for account in accounts {
            for (graphql, limit, remaining) in lock(&account.ledger).quotas(now) {
                quotas.push(Quota { host: account.host.clone(), graphql, limit, remaining });
            }
        }
        quotas
    }

    /// The account of a `credential` at the host with this API.
    pub(crate) fn account(&self, provider: Provider, origin: &str, credential: &str) -> Arc<Account> {
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest::digest(&digest::SHA256, credential.as_bytes()).as_ref()) {
            *to = *from;
        }
        let mut accounts = lock(&self.accounts);
        if accounts.len() >= MAX_ACCOUNTS {
            accounts.retain(|_, account| Arc::strong_count(account) > 1);
        }
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let new = || {
            Arc::new(Account {
                host: host.to_owned(),
                observer: self.observer.clone(),
                ..Account::new(Rules::of(provider))
            })
        };
        Arc::clone(accounts.entry((origin.to_owned(), hash)).or_insert_with(new))
    }
}

impl Account {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            host: String::new(),
            observer: None,
            ledger: Mutex::new(Ledger::new(rules)),
            changed: Notify::new(),
            seen: Mutex::default(),
        }
    }
}

impl LineError {
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::Budget { after } => Retry::After(*after),
            Self::Egress(error) => error.retry(),
        }
    }
}

impl Line {
    pub(crate) fn new(client: Client, account: Arc<Account>, pipeline: &str) -> Self {
        Self { client, account, pipeline: Arc::from(pipeline) }
    }

    /// Sends a request once it is its turn.
    ///
    /// # Errors
    ///
    /// [`LineError::Budget`] if that takes more than a moment; nothing was sent then.
    pub(super) async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, LineError> {
        let keep = request.extensions().get::<Keep>().copied();
        let uri = request.uri().to_string();
        let kind = Kind::of(request.method(), request.uri().path());
        let known = keep.and_then(|_| lock(&self.account.seen).get(&uri));
        if let Some((etag, _)) = &known {
            request.headers_mut().insert(IF_NONE_MATCH, etag.clone());
        }
        let turn = self.turn(kind).await?;
        let response = self.client.send(request).await?;
        let unchanged = response.status() == StatusCode::NOT_MODIFIED;
        turn.answered(&response);
        match (known, keep) {
            (Some((_, answer)), _) if unchanged => Ok(answer.response()),
            (_, Some(keep)) if response.status() == StatusCode::OK => {
                lock(&self.account.seen).keep(uri, response.headers(), (keep.0)(response.body()));
                Ok(response)
            }
            _ => Ok(response),
        }
    }

    async fn turn(&self, kind: Kind) -> Result<Taken<'_>, LineError> {
        let began = Instant::now();
        let taken = self.wait(kind).await;
        if let Some(observer) = &self.account.observer {
            observer.turn(&observer::Turn {
                host: &self.account.host,
                waited: began.elapsed(),
                granted: taken.is_ok(),
            });
        }
        taken
    }

    async fn wait(&self, kind: Kind) -> Result<Taken<'_>, LineError> {
        let account = &*self.account;
        let ticket = lock(&account.ledger).queue(&self.pipeline, kind);
        let taken = Taken { account, ticket };
        let end = Instant::now() + PATIENCE;
        loop {
            let mut changed = std::pin::pin!(account.changed.notified());
            changed.as_mut().enable();
            let now = Instant::now();
            let turn = lock(&account.ledger).turn(now.into_std(), ticket);
            let pause = match turn {
                Turn::Go => {
                    // Another one may be next now.
                    account.changed.notify_waiters();
                    return Ok(taken);
                }
                Turn::Queue => end.saturating_duration_since(now),
                Turn::Wait(pause) if now + pause <= end => pause,
                Turn::Wait(after) => return Err(LineError::Budget { after }),
            };
            let waited = timeout(pause, changed).await;
            if waited.is_err() && turn == Turn::Queue {
                return Err(LineError::Budget { after: PATIENCE });
            }
        }
    }
}

impl<B> tower::Service<Request<B>> for Line
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = LineError;
    type Future = BoxFuture<'static, Result<Self::Response, LineError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LineError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let line = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| egress::Error::Request {
                peer: head.uri.authority().map_or_else(String::new, |authority| authority.host().to_owned()),
                source: error.into(),
            })?;
            Ok(line.send(Request::from_parts(head, body.to_bytes())).await?.map(Full::new))
        })
    }
}

/// A request's place in the account, which it leaves when it is dropped.
struct Taken<'a> {
    account: &'a Account,
    ticket: Ticket,
}

impl Taken<'_> {
    fn answered(&self, response: &Response<Bytes>) {
        let pause = match wire::retry_of(response) {
            Retry::After(pause) if !response.status().is_server_error() => Some(pause),
            _ => None,
        };
        let told = Told { pause, ..Told::of(response.headers()) };
        lock(&self.account.ledger).answered(Instant::now().into_std(), self.ticket, told);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        lock(&self.account.ledger).leave(self.ticket);
        self.account.changed.notify_waiters();
    }
}

/// Answers with their tags; those used longest ago go first.
#[derive(Debug, Default)]
struct Seen {
    answers: HashMap<String, (u64, Kept)>,
    bytes: usize,
    uses: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    etag: HeaderValue,
    link: Option<HeaderValue>,
    body: Bytes,
}

impl Kept {
    fn response(&self) -> Response<Bytes> {
        let mut response = Response::new(self.body.clone());
        if let Some(link) = &self.link {
            response.headers_mut().insert(LINK, link.clone());
        }
        response
    }
}

impl Seen {
    fn get(&mut self, uri: &str) -> Option<(HeaderValue, Kept)> {
        self.uses += 1;
        let (used, kept) = self.answers.get_mut(uri)?;
        *used = self.uses;
        Some((kept.etag.clone(), kept.clone()))
    }

    fn keep(&mut self, uri: String, headers: &HeaderMap, body: Option<Vec<u8>>) {
        self.forget(&uri);
        let (Some(etag), Some(body)) = (headers.get(ETAG), body) else {
            return;
        };
        self.bytes += uri.len() + body.len();
        self.uses += 1;
        let kept = Kept { etag: etag.clone(), link: headers.get(LINK).cloned(), body: Bytes::from(body) };
        self.answers.insert(uri, (self.uses, kept));
        while self.bytes > MAX_REMEMBERED {
            let oldest = self.answers.iter().min_by_key(|(_, (used, _))| *used).map(|(uri, _)| uri.clone());
            match oldest {
                Some(uri) => self.forget(&uri),
                None => break,
            }
        }
    }

    fn forget(&mut self, uri: &str) {
        if let Some((_, kept)) = self.answers.remove(uri) {
            self.bytes = self.bytes.saturating_sub(uri.len() + kept.body.len());
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
