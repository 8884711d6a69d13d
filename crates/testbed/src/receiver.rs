//! A receiver of webhooks over HTTPS that remembers what it got and checks signatures with code of its own.

mod signature;

#[cfg(test)]
mod tests;

use std::{sync::Mutex, time::Duration};

use anyhow::Result;
use http::{HeaderMap, Method, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use url::Url;

use crate::{
    ca::Ca,
    faults::{Fault, Rule},
    https::{self, Body, Server, Service, full, lock},
    recorded::{RecordedRequest, Route, now},
};

/// A running receiver, which answers 202 unless told otherwise; it stops when it is dropped.
pub struct Receiver {
    server: Server<Hook>,
}

/// A request that the receiver read to its end.
#[derive(Clone, Debug)]
pub struct Received {
    /// When its headers had come.
    pub time: Timestamp,
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// The status it was answered with; none yet, or none ever when the connection was dropped.
    pub status: Option<StatusCode>,
}

impl Receiver {
    /// Starts a receiver on a free loopback port.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(ca: &Ca) -> Result<Self> {
        let (listener, url) = https::listen().await?;
        Ok(Self { server: Server::start(ca, listener, url, Hook::default())? })
    }

    /// `https://127.0.0.1:<port>/webhooks/promotion`; it listens on every other path too.
    pub fn url(&self) -> Url {
        let mut url = self.server.url.clone();
        url.set_path("/webhooks/promotion");
        url
    }

    /// Answers 401 from now on to what [`Received::verify`] refuses.
    pub fn require_signature(&self, secret: &str) {
        *lock(&self.server.service().secret) = Some(secret.to_owned());
    }

    /// Lets each of these happen to one of the next requests, in this order, after those that are still due.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            self.server.inject(Rule::once(fault));
        }
    }

    /// Lets this happen to every request that the script leaves over.
    pub fn always(&self, fault: Fault) {
        self.server.inject(Rule::always(fault));
    }

    /// Forgets the script.
    pub fn clear_script(&self) {
        self.server.clear_faults();
    }

    /// All requests so far whose body was read to its end, oldest first.
    pub fn received(&self) -> Vec<Received> {
        let requests = self.server.requests();
        requests.into_iter().filter(|request| request.complete).map(Received::from).collect()
    }

    /// Waits until there are at least `n` such requests and returns them.
    ///
    /// # Errors
    /// There are fewer after `timeout`.
    pub async fn wait_for(&self, n: usize, timeout: Duration) -> Result<Vec<Received>> {
        self.server.wait_for(n, timeout).await?;
        Ok(self.received())
    }
}

impl Received {
    /// Checks `X-Signature`, `X-Hub-Signature-256` and the Standard Webhooks headers, all of which have to be there.
    ///
    /// # Errors
    /// One is missing, or wrong, or its time is more than five minutes off.
    pub fn verify(&self, secret: &str) -> Result<()> {
        signature::verify(&self.headers, &self.body, secret, self.time)
    }

    /// A header as text; none when it is missing or sent twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        signature::header(&self.headers, name).ok()
    }
}

impl From<RecordedRequest<()>> for Received {
    fn from(request: RecordedRequest<()>) -> Self {
        let RecordedRequest { time, method, path, headers, body, status, .. } = request;
        Self { time, method, path, headers, body, status }
    }
}

#[derive(Default)]
struct Hook {
    secret: Mutex<Option<String>>,
}

impl Service for Hook {
    type Step = ();
    const RECORD_BODIES: bool = true;

    fn route(&self, _: &Parts) -> Route<()> {
        Route { authorized: true, ..Route::default() }
    }

    async fn respond(&self, head: Parts, body: Body) -> Response<Body> {
        let secret = lock(&self.secret).clone();
        let (status, text) = match (Limited::new(body, 4 * 1024 * 1024).collect().await, secret) {
            (Err(_), _) => (StatusCode::PAYLOAD_TOO_LARGE, "too large\n".to_owned()),
            (Ok(_), None) => (StatusCode::ACCEPTED, "accepted\n".to_owned()),
            (Ok(body), Some(secret)) => match signature::verify(&head.headers, &body.to_bytes(), &secret, now()) {
                Ok(()) => (StatusCode::ACCEPTED, "accepted\n".to_owned()),
                Err(error) => (StatusCode::UNAUTHORIZED, format!("{error:#}\n")),
            },
        };
        let mut response = Response::new(full(text));
        *response.status_mut() = status;
        response
    }
}
