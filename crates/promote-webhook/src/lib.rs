#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod event;
mod format;
mod keys;
mod request;

mod answer;
pub mod schedule;

mod signed;

mod acknowledge;

mod error;

use std::{fmt, time::Duration};

use egress::{Client, Limits};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use url::Url;

pub use self::{
    acknowledge::{Refusal, Report, State, acknowledge},
    answer::Delivered,
    error::Error,
    event::{Event, Pipeline},
    format::Format,
    keys::Keys,
    signed::{Signed, verify, verify_flux},
};

/// [`Delivery::timeout`] where nobody asks for another, as
/// [Flux](https://fluxcd.io/flux/components/notification/providers/#timeout) has it.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// What is sent where.
#[derive(Clone)]
pub struct Delivery {
    /// The receiver. Its path and query may be secrets.
    pub url: Url,
    /// What the receiver understands.
    pub format: Format,
    /// The keys that sign the event; without one it goes unsigned.
    pub keys: Option<Keys>,
    /// Headers to send along, such as `Authorization`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Longest time that the attempt may take.
    pub timeout: Duration,
    /// The event.
    pub event: Event,
}

/// Delivers an event in one attempt, within [`Delivery::timeout`].
///
/// # Errors
/// [`Error::retry`] tells failures to try again from those where a person must act.
///
/// # Idempotency
/// The same event has the same body and `webhook-id` in every attempt, so that a receiver can tell that it has seen it.
pub async fn deliver(client: &Client, delivery: &Delivery, now: Timestamp) -> Result<Delivered, Error> {
    let request = request::build(delivery, now)?;
    // Of an answer only the head is read: what follows is not waited for.
    let limits = Limits { deadline: delivery.timeout, body: u64::MAX };
    let response = client.with_limits(limits).stream(request).await?;
    answer::parse(&delivery.url, response.status(), response.headers(), now)
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Delivery")
            .field("url", &self.url.origin().ascii_serialization())
            .field("format", &self.format)
            .field("keys", &self.keys)
            .field("headers", &names)
            .field("timeout", &self.timeout)
            .field("event", &self.event)
            .finish()
    }
}

#[cfg(test)]
mod tests;
