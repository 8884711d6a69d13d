//! What the wire code of all hosts shares: a request before it has a base, an answer, and what a failed answer means.

mod answer;

use bytes::Bytes;
use egress::Retry;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
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

pub(super) use self::answer::{Answer, MAX_PAUSE, header, retry_of, until};

/// Most pages of one list that are read.
pub(super) const MAX_PAGES: usize = 100;

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
    pub(super) keep: Option<Keep>,
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
        Answer::new(response, self.call(ask.action), self.token.clone())
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
        Self { keep: Some(Keep(keep)), ..self }
    }

    /// The request, with its path behind `base`, which does not end in `/`.
    pub(super) fn request(&self, base: &str) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::builder().method(self.method.clone()).uri(format!("{base}{}", self.path));
        if let Some(keep) = self.keep {
            request = request.extension(keep);
        }
        match &self.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(Bytes::from(body.to_string())),
            None => request.body(Bytes::new()),
        }
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

#[cfg(test)]
mod tests;
