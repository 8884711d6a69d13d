//! What a receiver reports back. Pure: the caller brings request, keys and clock.

use http::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use crate::{Keys, Signed, verify};

const MAX_URL: usize = 2048;
const MAX_REASON: usize = 1024;

/// A report about a promotion that was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The promotion.
    pub promotion_id: Uuid,
    /// How far it is.
    pub state: State,
    /// Where to watch it: an https or http URL without credentials.
    pub url: Option<Url>,
    /// Why it is so: one line, at most 1024 characters.
    pub reason: Option<String>,
    /// When the receiver signed it: of two reports, the later one holds, so that no old one can be played again.
    pub time: Timestamp,
}

/// How far a promotion is, in the words of its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has begun.
    Running,
    /// It has ended well.
    Succeeded,
    /// It has ended badly.
    Failed,
}

/// Why a report is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not signed with one of the keys, or not now. Does not say which, for nobody but the receiver has to know.
    #[error("the report is not signed with the key that signs the events, or its time is off")]
    Unsigned,
    /// Signed, and no report.
    #[error("the report cannot be understood: {0}")]
    Malformed(String),
    /// Of another promotion than the one on record.
    #[error("the report is about another promotion than the one that is under way")]
    OtherPromotion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    promotion_id: String,
    state: State,
    url: Option<String>,
    reason: Option<String>,
}

/// The report in a request, once it is proven to come from whoever knows the keys, and to be about `promotion`.
///
/// The request is signed as [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
/// are: `webhook-id` (any), `webhook-timestamp` (within five minutes of `now`) and `webhook-signature`. Its body is JSON:
/// `{"promotionId", "state": "running" | "succeeded" | "failed", "url"?, "reason"?}`. Without `keys` no report is taken.
///
/// # Errors
/// [`Refusal::Unsigned`] before anything in the body is looked at; then [`Refusal::Malformed`], then
/// [`Refusal::OtherPromotion`].
pub fn acknowledge(
    keys: Option<&Keys>,
    promotion: Option<Uuid>,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Report, Refusal> {
    let Signed { time, .. } = verify(keys, headers, body, now).ok_or(Refusal::Unsigned)?;
    let malformed = |problem: &str| Refusal::Malformed(problem.to_owned());
    let Body { promotion_id, state, url, reason } =
        serde_json::from_slice(body).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let promotion_id =
        Uuid::parse_str(&promotion_id).map_err(|_invalid| malformed("promotionId is not that of an event"))?;
    if promotion != Some(promotion_id) {
        return Err(Refusal::OtherPromotion);
    }
    let url =
        match url {
            None => None,
            Some(text) => Some(link(&text).ok_or_else(|| {
                malformed("url is not an https or http URL of at most 2048 bytes without a user name")
            })?),
        };
    let reason = reason.map(|text| line(&text)).filter(|text| !text.is_empty());
    Ok(Report { promotion_id, state, url, reason, time })
}

fn link(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= MAX_URL)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.as_str().len() <= MAX_URL;
    (plain && matches!(url.scheme(), "https" | "http")).then_some(url)
}

/// On one line, without what steers a terminal.
fn line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().chars().take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests;
