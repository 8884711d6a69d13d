#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod answer;
mod error;
mod event;
mod request;
pub mod schedule;
mod sign;

use std::{fmt, time::Duration};

use egress::{Client, Limits};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

pub use self::{
    answer::Delivered,
    error::Error,
    event::{Event, Pipeline},
};

/// Of an answer only the head is read: what follows is not waited for.
const LIMITS: Limits = Limits { deadline: Duration::from_secs(15), body: u64::MAX };

/// What is sent where.
#[derive(Clone)]
pub struct Delivery {
    /// The receiver. Its path and query may be secrets.
    pub url: Url,
    /// The key that signs the event; without one it goes unsigned.
    pub token: Option<SecretString>,
    /// Headers to send along, such as `Authorization`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The event.
    pub event: Event,
}

/// Delivers an event in one attempt, within 15 seconds.
///
/// # Errors
/// [`Error::retry`] tells failures to try again from those where a person must act.
///
/// # Idempotency
/// The same event has the same body and `webhook-id` in every attempt, so that a receiver can tell that it has seen it.
pub async fn deliver(client: &Client, delivery: &Delivery, now: Timestamp) -> Result<Delivered, Error> {
    let request = request::build(delivery, now)?;
    let response = client.with_limits(LIMITS).stream(request).await?;
    answer::parse(&delivery.url, response.status(), response.headers(), now)
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Delivery")
            .field("url", &self.url.origin().ascii_serialization())
            .field("token", &self.token)
            .field("headers", &names)
            .field("event", &self.event)
            .finish()
    }
}

#[cfg(test)]
mod tests;
