//! What may go wrong on the way to a server of this crate and back: one set of switches for all of them.

use std::{
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::watch;
use url::Url;

use crate::https::lock;

/// Which side of a request's effect (the push, the new pull request) a fault is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before it: nothing has happened.
    Before,
    /// After it: all of it has happened, and the client does not know yet.
    After,
}

/// One thing that goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer instead of the server's own.
    Answer(When, Answer),
    /// The connection ends without an answer.
    Drop(When),
    /// The request waits until the test lets it go. Before the effect, its body is not read yet: on release a request
    /// that had come completely takes effect even when its client is gone, as on any server, unless the test breaks it
    /// off. After the effect, the server's own answer is sent on release.
    Hold(When, Hold),
    /// The request waits this long before anything happens.
    Delay(Duration),
    /// Every chunk of the answer's body waits this long.
    Slow(Duration),
    /// The connection ends after this many bytes of the answer's body.
    CutAnswer(u64),
    /// The connection ends after this many bytes of the request's body; no effect. A shorter request passes.
    CutRequest(u64),
    /// A redirect with this status instead of the server's own answer; no effect.
    Redirect(StatusCode, Location),
    /// Status 200 with this many bytes of a JSON string that never ends; no effect.
    Huge(u64),
}

/// Where [`Fault::Redirect`] leads.
#[derive(Clone, Debug)]
pub enum Location {
    /// The same path and query at this origin.
    Origin(Url),
    /// The same origin, the first occurrence of the first text in the path replaced by the second.
    Replace(String, String),
    /// This address as it is.
    Url(Url),
}

/// A ready-made answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// An answer that says its status in plain text, for 401 with the challenge that
    /// [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2) demands.
    pub fn text(status: StatusCode) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"test bed\""));
        }
        Self { status, headers, body: format!("{status}\n").into() }
    }

    /// The same answer with this header.
    pub fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name, value.into());
        self
    }
}

impl Fault {
    /// This status in plain text; no effect.
    pub fn status(status: StatusCode) -> Self {
        Self::Answer(When::Before, Answer::text(status))
    }

    /// This status with `Retry-After` in whole seconds; no effect.
    pub fn retry_after(status: StatusCode, wait: Duration) -> Self {
        Self::Answer(When::Before, Answer::text(status).with(header::RETRY_AFTER, wait.as_secs()))
    }

    /// Status 200 with a page where a machine expects something else; no effect.
    pub fn html() -> Self {
        let mut answer = Answer::text(StatusCode::OK).with(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        answer.body = Bytes::from_static(b"<!DOCTYPE html><title>Sign in</title><p>Please sign in to continue.\n");
        Self::Answer(When::Before, answer)
    }
}

/// A gate at which requests wait. Clones are the same gate.
#[derive(Clone)]
pub struct Hold(watch::Sender<(usize, Gate)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Shut,
    Open,
    Broken,
}

/// The request at a [`Hold`] is not to be answered.
#[derive(Debug)]
pub(crate) struct Broken;

impl Hold {
    /// A shut gate.
    pub fn new() -> Self {
        Self(watch::Sender::new((0, Gate::Shut)))
    }

    /// Waits until a request has come to the gate.
    ///
    /// # Errors
    /// None came within 30 seconds.
    pub async fn reached(&self) -> Result<()> {
        let mut watched = self.0.subscribe();
        tokio::time::timeout(Duration::from_secs(30), watched.wait_for(|(arrived, _)| *arrived > 0))
            .await
            .context("no request came to the hold within 30 seconds")??;
        Ok(())
    }

    /// How many requests have come to the gate, whether or not their client is still there.
    pub fn arrived(&self) -> usize {
        self.0.borrow().0
    }

    /// Lets the requests go, those to come too.
    pub fn release(&self) {
        self.0.send_modify(|(_, gate)| *gate = Gate::Open);
    }

    /// Ends the connections of the requests, of those to come too.
    pub fn break_off(&self) {
        self.0.send_modify(|(_, gate)| *gate = Gate::Broken);
    }

    pub(crate) async fn wait(&self) -> Result<(), Broken> {
        self.0.send_modify(|(arrived, _)| *arrived += 1);
        let mut watched = self.0.subscribe();
        match watched.wait_for(|(_, gate)| *gate != Gate::Shut).await.map(|state| state.1) {
            Ok(Gate::Open) => Ok(()),
            _ => Err(Broken),
        }
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hold").field(&*self.0.borrow()).finish()
    }
}

/// A fault, the requests it is for, and how often it happens. `S` is a kind of request of one server.
///
/// Requests without good credentials meet no fault: many clients try without first.
#[derive(Debug)]
pub struct Rule<S> {
    fault: Fault,
    step: Option<S>,
    repo: Option<String>,
    left: AtomicUsize,
}

impl<S> Rule<S> {
    /// The fault happens to the next request.
    pub fn once(fault: Fault) -> Self {
        Self::times(1, fault)
    }

    /// The fault happens to the next `n` requests.
    pub fn times(n: usize, fault: Fault) -> Self {
        Self { fault, step: None, repo: None, left: AtomicUsize::new(n) }
    }

    /// The fault happens until the faults are cleared.
    pub fn always(fault: Fault) -> Self {
        Self::times(usize::MAX, fault)
    }

    /// Only to requests of this kind.
    pub fn on(mut self, step: S) -> Self {
        self.step = Some(step);
        self
    }

    /// Only to requests for this repository, `owner/name`.
    pub fn repo(mut self, name: &str) -> Self {
        self.repo = Some(name.to_owned());
        self
    }
}

/// The rules of one server. A request meets the oldest rule that is for it and not used up, and no other.
#[derive(Debug)]
pub(crate) struct Faults<S>(Mutex<Vec<Rule<S>>>);

impl<S: PartialEq> Faults<S> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(crate) fn add(&self, rule: Rule<S>) {
        lock(&self.0).push(rule);
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    pub(crate) fn take(&self, repo: Option<&str>, step: Option<&S>) -> Option<Fault> {
        let rules = lock(&self.0);
        let rule = rules.iter().find(|rule| {
            rule.left.load(Ordering::Relaxed) > 0
                && rule.step.as_ref().is_none_or(|wanted| step == Some(wanted))
                && rule.repo.as_deref().is_none_or(|wanted| repo == Some(wanted))
        })?;
        if rule.left.load(Ordering::Relaxed) != usize::MAX {
            rule.left.fetch_sub(1, Ordering::Relaxed);
        }
        Some(rule.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_rule_that_fits_applies_until_it_is_used_up() {
        let faults = Faults::new();
        let status = |code| Fault::status(StatusCode::from_u16(code).unwrap());
        faults.add(Rule::times(2, status(503)).on("push"));
        faults.add(Rule::once(status(404)).repo("team/fleet"));
        faults.add(Rule::always(status(429)).on("push"));

        let taken = |repo, step| match faults.take(repo, Some(&step)) {
            Some(Fault::Answer(When::Before, answer)) => answer.status.as_u16(),
            other => other.map_or(200, |fault| panic!("{fault:?}")),
        };
        assert_eq!(taken(Some("team/other"), "fetch"), 200);
        assert_eq!(taken(Some("team/fleet"), "push"), 503);
        assert_eq!(taken(None, "push"), 503);
        assert_eq!(taken(Some("team/fleet"), "push"), 404);
        assert_eq!(taken(Some("team/fleet"), "push"), 429);
        assert_eq!(taken(Some("team/fleet"), "push"), 429);
        faults.clear();
        assert_eq!(taken(Some("team/fleet"), "push"), 200);
    }

    #[tokio::test]
    async fn a_hold_tells_of_arrival_and_lets_go() {
        for (release, outcome) in [(true, true), (false, false)] {
            let hold = Hold::new();
            let gate = hold.clone();
            let waiting = tokio::spawn(async move { gate.wait().await.is_ok() });
            hold.reached().await.unwrap();
            assert!(!waiting.is_finished());
            if release {
                hold.release()
            } else {
                hold.break_off()
            }
            assert_eq!(waiting.await.unwrap(), outcome);
            assert_eq!(hold.arrived(), 1);
        }
    }
}
