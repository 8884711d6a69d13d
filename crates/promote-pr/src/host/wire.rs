//! What the wire code of all hosts shares: a request before it has a base, an answer, and what a failed answer means.

use std::time::Duration;

use bytes::Bytes;
use egress::Retry;
use http::header::{CONTENT_TYPE, DATE, HeaderName, LINK, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use jiff::fmt::rfc2822;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::error::{Call, Error};
use crate::names::RepoUrl;
use crate::request::Credentials;

use super::Provider;
use super::line::Keep;

/// Most pages of one list that are read.
pub(super) const MAX_PAGES: usize = 100;

/// The longest message of a host that is shown, in characters.
const MAX_MESSAGE: usize = 300;

/// The pause after a rate limit that does not say when it ends. GitHub asks for [at least a minute].
///
/// [at least a minute]: https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause that is taken from a host.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// One repository on one host, and the token that opens it.
pub(super) struct Site {
    host: String,
    owner: String,
    name: String,
    path: String,
    token: SecretString,
}

/// A request, relative to the base of the host's API.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// What it is for, as errors say it: `create a pull request`.
    pub(super) action: &'static str,
    pub(super) method: Method,
    /// Path and query, beginning with `/`.
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// What is kept of the answer, if anything.
    pub(super) keep: Option<fn(&[u8]) -> Option<Vec<u8>>>,
}

/// The answer to an [`Ask`].
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    call: Call,
    token: SecretString,
}

impl Site {
    /// # Errors
    ///
    /// [`Error::NotARepository`] unless owner and name consist of letters, digits, `.`, `_` and `-`, which all hosts
    /// demand and which need no escaping in paths.
    pub(super) fn new(
        provider: Provider,
        repository: &RepoUrl,
        (owner, name): (&str, &str),
        api: &Url,
        token: SecretString,
    ) -> Result<Self, Error> {
        if !is_plain(owner) || !is_plain(name) {
            return Err(Error::NotARepository { repository: repository.to_string(), provider });
        }
        Ok(Self::at(format!("/repos/{owner}/{name}"), (owner, name), api, token))
    }

    /// A repository at `path` of the API, which is escaped, whose owner and name the caller has checked.
    pub(super) fn at(path: String, (owner, name): (&str, &str), api: &Url, token: SecretString) -> Self {
        let host = api.host_str().unwrap_or_default();
        let host = api.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Self { host, owner: owner.to_owned(), name: name.to_owned(), path, token }
    }

    /// The owner, who is also the owner of the head branches.
    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    /// The repository's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The path of the repository in the API.
    pub(super) fn path(&self) -> String {
        self.path.clone()
    }

    /// `owner/name`
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// What an action is called in errors.
    pub(super) fn call(&self, action: &'static str) -> Call {
        Call { action, repository: self.full_name(), host: self.host.clone() }
    }

    /// That a request could not be made.
    pub(super) fn not_sent(
        &self,
        action: &'static str,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        Error::Transport { call: self.call(action), source: Box::new(error), retry: Retry::Never }
    }

    /// That the provider cannot do something at all.
    pub(super) fn cannot(&self, provider: Provider, what: &'static str) -> Error {
        Error::NotSupported { provider, what, repository: format!("{}/{}", self.owner, self.name) }
    }

    pub(super) fn answer(&self, ask: &Ask, response: Response<Bytes>) -> Answer {
        let (head, body) = response.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
            call: self.call(ask.action),
            token: self.token.clone(),
        }
    }
}

impl Ask {
    pub(super) fn get(action: &'static str, path: String) -> Self {
        Self { action, method: Method::GET, path, body: None, keep: None }
    }

    pub(super) fn post(action: &'static str, path: String, body: Value) -> Self {
        Self { action, method: Method::POST, path, body: Some(body), keep: None }
    }

    pub(super) fn patch(action: &'static str, path: String, body: Value) -> Self {
        Self { action, method: Method::PATCH, path, body: Some(body), keep: None }
    }

    pub(super) fn delete(action: &'static str, path: String) -> Self {
        Self { action, method: Method::DELETE, path, body: None, keep: None }
    }

    pub(super) fn put(action: &'static str, path: String, body: Value) -> Self {
        Self { action, method: Method::PUT, path, body: Some(body), keep: None }
    }

    /// The same question, whose answer is kept as a `T`: when it is asked again, hosts that know how answer only that
    /// nothing changed.
    pub(super) fn kept_as<T: Serialize + DeserializeOwned>(self) -> Self {
        let keep = |body: &[u8]| serde_json::to_vec(&serde_json::from_slice::<T>(body).ok()?).ok();
        Self { keep: Some(keep), ..self }
    }

    /// The request, with its path behind `base`, which does not end in `/`.
    pub(super) fn request(&self, base: &str) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::builder().method(self.method.clone()).uri(format!("{base}{}", self.path));
        if let Some(keep) = self.keep {
            request = request.extension(Keep(keep));
        }
        match &self.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(Bytes::from(body.to_string())),
            None => request.body(Bytes::new()),
        }
    }
}

impl Answer {
    /// The answer of a request that succeeded.
    pub(super) fn success(self) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        if self.status.is_redirection() {
            return Err(Error::Moved { status: self.status.as_u16(), call: self.call });
        }
        let retry = retry(self.status, &self.headers, &self.message());
        Err(self.refused(retry))
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|source| Error::Answer { call: self.call.clone(), source })
    }

    /// The second on the host's clock.
    pub(super) fn date(&self) -> Option<i64> {
        Some(rfc2822::parse(header(&self.headers, &DATE)?).ok()?.timestamp().as_second())
    }

    /// Whether a list goes on behind this page ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288)).
    pub(super) fn has_next(&self) -> bool {
        let links = self.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        links.flat_map(|value| value.split(',')).any(|link| link.contains("rel=\"next\""))
    }

    /// That the host did not do what was asked, whatever its status says.
    pub(super) fn refused(self, retry: Retry) -> Error {
        let message = redact(&self.message(), &self.token);
        Error::Refused { status: self.status.as_u16(), message, retry, call: self.call }
    }

    /// That the host took the request, but not this name in it.
    pub(super) fn unknown(self, what: &'static str, name: &str) -> Error {
        Error::Unknown { call: self.call, what, name: name.to_owned() }
    }

    /// The list is longer than anybody reads.
    pub(super) fn too_long(self, page_size: usize) -> Error {
        Error::TooMany { call: self.call, limit: MAX_PAGES * page_size }
    }

    /// That the host did not do what was asked, for a reason that its answer does not spell out.
    pub(super) fn denied(self, message: &str) -> Error {
        let message = redact(message, &self.token);
        Error::Refused { call: self.call, status: self.status.as_u16(), message, retry: Retry::Never }
    }

    /// What the host says, trimmed to one line.
    pub(super) fn message(&self) -> String {
        message(&self.body)
    }
}

/// The base of the API: the given one, else `default`, without user info, query, fragment and trailing slash.
pub(super) fn base(api_url: Option<&Url>, default: &str) -> Result<Url, Error> {
    let bad = |url: &str, reason| Error::BadApiUrl { url: url.to_owned(), reason };
    let Some(given) = api_url else {
        return Url::parse(default).map_err(|_error| bad(default, "it is no URL"));
    };
    let mut url = given.clone();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(url.host_str().unwrap_or_default(), "it contains credentials; they belong in the Secret"));
    }
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
        return Err(bad(url.as_str(), "it is no https URL with a host"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad(url.as_str(), "it has a query or a fragment"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Scheme, host and port of a repository's web pages.
pub(super) fn origin(repository: &RepoUrl) -> String {
    let url = repository.as_url();
    match (url.scheme(), url.port()) {
        ("ssh", _) => format!("https://{}", repository.host()),
        (scheme, Some(port)) => format!("{scheme}://{}:{port}", repository.host()),
        (scheme, None) => format!("{scheme}://{}", repository.host()),
    }
}

/// The token, or the password where there is none, without the blanks around it that come from pasting.
pub(super) fn token(credentials: &Credentials) -> Option<SecretString> {
    let secret = credentials.token.as_ref().or(credentials.password.as_ref())?;
    let trimmed = secret.expose_secret().trim();
    (!trimmed.is_empty()).then(|| SecretString::from(trimmed))
}

/// A text as part of a path; slashes stay.
pub(super) fn escape_path(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// A text as a single segment of a path, or as a value in a query.
pub(super) fn escape_segment(text: &str) -> String {
    escape_path(text).replace('/', "%2F")
}

/// Whether a part of a path is a name as hosts have them, which needs no escaping.
pub(super) fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// What an answer asks of the caller.
pub(super) fn retry_of(response: &Response<Bytes>) -> Retry {
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
pub(super) fn until(headers: &HeaderMap, second: i64) -> Option<u64> {
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

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
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

#[cfg(test)]
mod tests;
