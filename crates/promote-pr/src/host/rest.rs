//! The way to a host's API that needs no client library, and back.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderName};
use http::{HeaderValue, Request};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::error::Error;

use super::PullRequest;
use super::line::{Line, LineError};
use super::wire::{Answer, Ask, MAX_PAGES, Site};

/// A repository that is reached over an API, with everything that each request needs.
pub(super) struct Rest {
    line: Line,
    api: String,
    headers: HeaderMap,
    pub(super) site: Site,
}

/// One page of a list, and where the next one begins.
pub(super) struct Page {
    pub(super) pulls: Vec<PullRequest>,
    pub(super) next: Option<u64>,
}

impl Rest {
    /// `credentials` is the header that proves who asks.
    pub(super) fn new(line: Line, api: &Url, credentials: (HeaderName, HeaderValue), site: Site) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(credentials.0, credentials.1);
        Self { line, api: api.as_str().trim_end_matches('/').to_owned(), headers, site }
    }

    /// One more header for each request.
    pub(super) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// The base of the API.
    pub(super) fn api(&self) -> &str {
        &self.api
    }

    pub(super) async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        let failed = |error: LineError| Error::Transport {
            call: self.site.call(ask.action),
            retry: error.retry(),
            source: Box::new(error),
        };
        let mut request: Request<Bytes> =
            ask.request(&self.api).map_err(|error| self.site.not_sent(ask.action, error))?;
        request.headers_mut().extend(self.headers.clone());
        let response = self.line.send(request).await.map_err(failed)?;
        Ok(self.site.answer(&ask, response))
    }

    /// All pages of a list, of which `first` names the first.
    pub(super) async fn list(
        &self,
        first: u64,
        page_size: usize,
        ask: impl Fn(u64) -> Ask + Send + Sync,
        parse: impl Fn(&Answer, u64) -> Result<Page, Error> + Send + Sync,
    ) -> Result<Vec<PullRequest>, Error> {
        let (mut pulls, mut at) = (Vec::new(), first);
        for page in 1..=MAX_PAGES {
            let answer = self.send(ask(at)).await?.success()?;
            let Page { pulls: more, next } = parse(&answer, at)?;
            pulls.extend(more);
            match next {
                None => break,
                Some(_) if page == MAX_PAGES => return Err(answer.too_long(page_size)),
                Some(next) => at = next,
            }
        }
        Ok(pulls)
    }
}

/// `Bearer` ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)); none if the token holds what no header can.
pub(super) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {}", token.expose_secret()))
}

/// `Basic` ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
pub(super) fn basic(user: &str, password: &SecretString) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.expose_secret()))))
}

/// A header's value that shows in no log.
pub(super) fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}
