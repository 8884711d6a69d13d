//! How calls end.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;

use crate::Error;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Connected, without an answer to speak of: TCP alone.
    Connected,
    /// 1xx or 2xx.
    Success,
    /// 3xx.
    Redirect,
    /// 4xx.
    ClientError,
    /// 5xx and beyond.
    ServerError,
    /// Refused before anything was sent: the URL, the address, the gate, the proxy or the request.
    Refused,
    /// No connection.
    Unreachable,
    /// The deadline passed.
    Deadline,
    /// The connection broke.
    Broken,
    /// The answer was too long.
    TooLong,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 10] = [
        Self::Connected,
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::ServerError,
        Self::Refused,
        Self::Unreachable,
        Self::Deadline,
        Self::Broken,
        Self::TooLong,
    ];

    pub(crate) fn of(result: Result<Option<StatusCode>, &Error>) -> Self {
        match result {
            Ok(None) => Self::Connected,
            Ok(Some(status)) => match status.as_u16() {
                100..=299 => Self::Success,
                300..=399 => Self::Redirect,
                400..=499 => Self::ClientError,
                _ => Self::ServerError,
            },
            Err(error) => match error {
                Error::Ca { .. }
                | Error::ClientCertificate { .. }
                | Error::Proxy { .. }
                | Error::Tls { .. }
                | Error::Url { .. }
                | Error::Denied { .. }
                | Error::Shut { .. }
                | Error::Request { .. } => Self::Refused,
                Error::Connect { .. } => Self::Unreachable,
                Error::Broken { .. } => Self::Broken,
                Error::Deadline { .. } => Self::Deadline,
                Error::TooLong { .. } => Self::TooLong,
            },
        }
    }

    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Success => "success",
            Self::Redirect => "redirect",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Deadline => "deadline",
            Self::Broken => "broken",
            Self::TooLong => "too_long",
        }
    }
}

/// A call that ended. An answer whose body fails is one call that ended with its status, and another with that failure.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Scheme, host and port; host and port alone for TCP. It comes from whoever names the repository or receiver.
    pub peer: &'a str,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took until then; the body of an answer is not waited for.
    pub elapsed: Duration,
}

/// Is told of every call, for metrics; see [`Policy::observer`](crate::Policy::observer). It must not block.
pub trait Observer: Debug + Send + Sync {
    /// A call ended.
    fn called(&self, call: &Call<'_>);
}

/// When a call began, and who is told of its end.
#[derive(Clone)]
pub(crate) struct Watch {
    observer: Option<Arc<dyn Observer>>,
    began: Instant,
}

impl Watch {
    pub(crate) fn start(observer: Option<&Arc<dyn Observer>>) -> Self {
        Self { observer: observer.cloned(), began: Instant::now() }
    }

    pub(crate) fn end(&self, peer: &str, outcome: Outcome) {
        if let Some(observer) = &self.observer {
            observer.called(&Call { peer, outcome, elapsed: self.began.elapsed() });
        }
    }
}
