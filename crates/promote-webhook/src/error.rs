use std::time::Duration;

use egress::Retry;
use http::StatusCode;

/// Why a delivery failed. Messages show of the receiver scheme, host and port, and of its answer the status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token is no key.
    #[error("the token cannot sign: {problem}")]
    Token {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No HTTP request can be made of the delivery.
    #[error("no request can be made of the event and the URL")]
    Request {
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There was no answer.
    #[error(transparent)]
    Send(#[from] egress::Error),
    /// The receiver redirects; nothing was sent to the new place.
    #[error("{receiver} redirects ({status}), which is not followed; use the address that it redirects to")]
    Redirected {
        /// Scheme, host and port.
        receiver: String,
        /// 3xx.
        status: StatusCode,
    },
    /// The receiver does not want the event, and will not want it again.
    #[error("{receiver} refuses the promotion: {status}")]
    Refused {
        /// Scheme, host and port.
        receiver: String,
        /// A 4xx that is not [`Error::Unavailable`].
        status: StatusCode,
    },
    /// The receiver cannot take the event now.
    #[error("{receiver} cannot take the promotion now: {status}")]
    Unavailable {
        /// Scheme, host and port.
        receiver: String,
        /// 408, 425, 429 or 5xx.
        status: StatusCode,
        /// How long the receiver asks to wait, as it says: any length.
        retry_after: Option<Duration>,
    },
}

impl Error {
    /// What to do about the error. [`Retry::Never`] holds until the Pipeline or its Secret changes; the time in
    /// [`Retry::After`] is the receiver's, for [`schedule::delay`](crate::schedule::delay) to bound.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Token { .. } | Self::Request { .. } | Self::Redirected { .. } | Self::Refused { .. } => Retry::Never,
            Self::Send(error) => error.retry(),
            Self::Unavailable { retry_after: Some(wait), .. } => Retry::After(*wait),
            Self::Unavailable { retry_after: None, .. } => Retry::Later,
        }
    }
}
