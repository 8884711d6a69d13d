//! The record that every server of this crate keeps of the requests it got.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result};
use http::{HeaderMap, Method, StatusCode, request::Parts};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::https::lock;

/// A request as the server saw it. `S` is a kind of request of that server.
#[derive(Clone, Debug)]
pub struct RecordedRequest<S> {
    /// When its headers had come.
    pub time: Timestamp,
    /// Its method.
    pub method: Method,
    /// Its path, percent-encoded as it came.
    pub path: String,
    /// Its query, percent-encoded as it came.
    pub query: Option<String>,
    /// Its headers, credentials included.
    pub headers: HeaderMap,
    /// Its body; always empty at the git server, which streams.
    pub body: Vec<u8>,
    /// The repository it is for, `owner/name`.
    pub repo: Option<String>,
    /// What it asks for, when that is something the server knows.
    pub step: Option<S>,
    /// Whether it carried credentials that the server accepts; always, where none are asked for.
    pub authorized: bool,
    /// The status it was answered with; none yet, or none ever when the connection was dropped.
    pub status: Option<StatusCode>,
    /// Bytes of its body that were read.
    pub received: u64,
    /// Bytes of the answer's body that were sent.
    pub sent: u64,
    /// Whether its body was read to the end.
    pub complete: bool,
}

/// What a server knows about a request from its headers alone.
#[derive(Debug, Default)]
pub(crate) struct Route<S> {
    pub(crate) repo: Option<String>,
    pub(crate) step: Option<S>,
    pub(crate) authorized: bool,
}

#[derive(Debug)]
pub(crate) struct Log<S> {
    requests: Mutex<Vec<RecordedRequest<S>>>,
    changed: watch::Sender<()>,
}

impl<S: Clone> Log<S> {
    pub(crate) fn new() -> Self {
        Self { requests: Mutex::default(), changed: watch::Sender::new(()) }
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest<S>> {
        lock(&self.requests).clone()
    }

    /// Waits until `n` requests were answered or broken off after their body had been read.
    pub(crate) async fn wait_for(&self, n: usize, timeout: Duration) -> Result<()> {
        let mut changed = self.changed.subscribe();
        let seen = || lock(&self.requests).iter().filter(|request| request.complete).count();
        tokio::time::timeout(timeout, changed.wait_for(|()| seen() >= n))
            .await
            .with_context(|| format!("{} of {n} requests came within {timeout:?}", seen()))??;
        Ok(())
    }

    pub(crate) fn open(self: &Arc<Self>, head: &Parts, route: Route<S>) -> Entry<S> {
        let mut requests = lock(&self.requests);
        requests.push(RecordedRequest {
            time: now(),
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(ToOwned::to_owned),
            headers: head.headers.clone(),
            body: Vec::new(),
            repo: route.repo,
            step: route.step,
            authorized: route.authorized,
            status: None,
            received: 0,
            sent: 0,
            complete: false,
        });
        Entry { log: Arc::clone(self), index: requests.len() - 1 }
    }
}

/// One request in the [`Log`], while it is under way.
#[derive(Clone, Debug)]
pub(crate) struct Entry<S> {
    log: Arc<Log<S>>,
    index: usize,
}

impl<S> Entry<S> {
    pub(crate) fn update(&self, change: impl FnOnce(&mut RecordedRequest<S>)) {
        lock(&self.log.requests).get_mut(self.index).map(change);
        self.log.changed.send_replace(());
    }
}

pub(crate) fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "a server's clock is real")]
    Timestamp::now()
}
