//! What a host answers, and what a failed answer asks of the caller.

use std::time::Duration;

use bytes::Bytes;
use egress::Retry;
use http::header::{DATE, HeaderName, LINK, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use jiff::fmt::rfc2822;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Call, Error};

use super::MAX_PAGES;

/// The longest message of a host that is shown, in characters.
const MAX_MESSAGE: usize = 300;

/// The pause after a rate limit that does not say when it ends. GitHub asks for [at least a minute].
///
/// [at least a minute]: https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause that is taken from a host.
pub(in crate::host) const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// The answer to an [`Ask`].
pub(in crate::host) struct Answer {
    pub(in crate::host) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    call: Call,
    token: SecretString,
}

impl Answer {
    pub(super) fn new(response: Response<Bytes>, call: Call, token: SecretString) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body, call, token }
    }

    /// The answer of a request that succeeded.
    pub(in crate::host) fn success(self) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        if self.status.is_redirection() {
            return Err(Error::Moved { status: self.status.as_u16(), call: self.call });
        }
        let retry = retry(self.status, &self.headers, &self.message());
        Err(self.refused(retry))
    }

    pub(in crate::host) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|source| Error::Answer { call: self.call.clone(), source })
    }

    /// The second on the host's clock.
    pub(in crate::host) fn date(&self) -> Option<i64> {
        Some(rfc2822::parse(header(&self.headers, &DATE)?).ok()?.timestamp().as_second())
    }

    /// Whether a list goes on behind this page ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288)).
    pub(in crate::host) fn has_next(&self) -> bool {
        let links = self.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        links.flat_map(|value| value.split(',')).any(|link| link.contains("rel=\"next\""))
    }

    /// That the host did not do what was asked, whatever its status says.
    pub(in crate::host) fn refused(self, retry: Retry) -> Error {
        let message = redact(&self.message(), &self.token);
        Error::Refused { status: self.status.as_u16(), message, retry, call: self.call }
    }

    /// That the host took the request, but not this name in it.
    pub(in crate::host) fn unknown(self, what: &'static str, name: &str) -> Error {
        Error::Unknown { call: self.call, what, name: name.to_owned() }
    }

    /// The list is longer than anybody reads.
    pub(in crate::host) fn too_long(self, page_size: usize) -> Error {
        Error::TooMany { call: self.call, limit: MAX_PAGES * page_size }
    }

    /// That the host did not do what was asked, for a reason that its answer does not spell out.
    pub(in crate::host) fn denied(self, message: &str) -> Error {
        let message = redact(message, &self.token);
        Error::Refused { call: self.call, status: self.status.as_u16(), message, retry: Retry::Never }
    }

    /// What the host says, trimmed to one line.
    pub(in crate::host) fn message(&self) -> String {
        message(&self.body)
    }
}

/// What an answer asks of the caller.
pub(in crate::host) fn retry_of(response: &Response<Bytes>) -> Retry {
    match response.status() {
        status if status.is_client_error() || status.is_server_error() => {
            retry(status, response.headers(), &message(response.body()))
        }
        _ => Retry::Later,
    }
}

/// What a failed answer asks of the caller.
///
/// Rate limits: [GitHub](https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit)
/// answers 403 or 429, with `retry-after`, or with `x-ratelimit-remaining: 0` and `x-ratelimit-reset`, or with nothing
/// but the message.
fn retry(status: StatusCode, headers: &HeaderMap, message: &str) -> Retry {
    let asked = pause(headers);
    let exhausted = header(headers, &HeaderName::from_static("x-ratelimit-remaining")) == Some("0");
    let limited = exhausted || headers.contains_key(RETRY_AFTER) || message.to_ascii_lowercase().contains("rate limit");
    match status {
        StatusCode::TOO_MANY_REQUESTS => Retry::After(asked.unwrap_or(RATE_LIMIT_PAUSE)),
        StatusCode::FORBIDDEN if limited => Retry::After(asked.unwrap_or(RATE_LIMIT_PAUSE)),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Retry::Later,
        status if status.is_server_error() => asked.map_or(Retry::Later, Retry::After),
        _ => Retry::Never,
    }
}

/// The pause that an answer asks for, by the host's own clock.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let retry_after = header(headers, &RETRY_AFTER).and_then(|value| match value.parse::<u64>() {
        Ok(seconds) => Some(seconds),
        Err(_) => until(headers, rfc2822::parse(value).ok()?.timestamp().as_second()),
    });
    let reset = || {
        header(headers, &HeaderName::from_static("x-ratelimit-remaining")).filter(|remaining| *remaining == "0")?;
        let reset = header(headers, &HeaderName::from_static("x-ratelimit-reset"))?.parse::<i64>().ok()?;
        until(headers, reset)
    };
    let seconds = retry_after.or_else(reset)?;
    Some(Duration::from_secs(seconds).clamp(Duration::from_secs(1), MAX_PAUSE))
}

/// The seconds until a second on the host's clock.
pub(in crate::host) fn until(headers: &HeaderMap, second: i64) -> Option<u64> {
    let now = rfc2822::parse(header(headers, &DATE)?).ok()?.timestamp().as_second();
    u64::try_from(second.saturating_sub(now)).ok()
}

/// A host's message without the token, should the host repeat it. What is shorter than any token is left alone.
fn redact(message: &str, token: &SecretString) -> String {
    match token.expose_secret() {
        token if token.len() < 6 => message.to_owned(),
        token => message.replace(token, "***"),
    }
}

pub(in crate::host) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// What a host says in an answer, trimmed to one line.
fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let message = match serde_json::from_slice::<Value>(body) {
        Ok(json) => stated(&json),
        Err(_) if text.trim_start().starts_with('<') => String::new(),
        Err(_) => text.into_owned(),
    };
    let words: Vec<&str> = message.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let message = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message,
    }
}

/// The message and the messages of its details.
///
/// GitHub, Gitea and Azure DevOps write `message`, the first two with `errors` beside it; Bitbucket Server writes `errors`
/// alone; Bitbucket Cloud puts all into [`error`](https://developer.atlassian.com/cloud/bitbucket/rest/intro/#errors);
/// GitLab's `message` is [a text, a list or an object](https://docs.gitlab.com/api/rest/troubleshooting/), or absent where
/// [OAuth](https://www.rfc-editor.org/rfc/rfc6749#section-5.2) says `error` and `error_description`.
fn stated(json: &Value) -> String {
    if let Some(error) = json.get("error").filter(|error| error.is_object()) {
        return stated(error);
    }
    let texts = |key| json.get(key).map(texts_in).unwrap_or_default();
    let mut message = texts("message");
    for key in ["error", "error_description", "fields"] {
        message.extend(texts(key));
    }
    let message = message.join("; ");
    let message = message.as_str();
    let details = json.get("errors").and_then(Value::as_array).into_iter().flatten().filter_map(|error| {
        let of = |key| error.get(key).and_then(Value::as_str);
        match (error.as_str().or_else(|| of("message")), of("field"), of("code")) {
            (Some(text), _, _) => Some(text.to_owned()),
            (None, Some(field), Some(code)) => Some(format!("{field} is {code}")),
            _ => None,
        }
    });
    let details = details.collect::<Vec<_>>().join("; ");
    match (message, details.as_str()) {
        (message, "") => message.to_owned(),
        ("", details) => details.to_owned(),
        (message, details) => format!("{message}: {details}"),
    }
}

/// All texts in a value, with the names of the fields that hold lists of them.
fn texts_in(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts_in).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| texts_in(value).into_iter().map(move |text| format!("{name} {text}")))
            .collect(),
        _ => Vec::new(),
    }
}
