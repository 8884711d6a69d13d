//! Carries git's smart HTTP over an [`egress::Client`], driven from a thread that may block.
//!
//! The protocol: <https://git-scm.com/docs/http-protocol>. Every request goes to the origin of the repository's URL.

mod advertised;
mod exchange;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::{self, Read as _};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use url::Url;

use self::exchange::{Answer, Exchange, Part, PostBody};
use super::Error;
use super::link::{HttpAccess, Link};
use super::operation::Operation;
use super::text::clean;
use super::wire::Expected;

pub(super) use self::advertised::Advertised;

/// How much of the body of an error is read for its text, in bytes.
const MAX_ERROR_BODY: usize = 4096;
const MAX_REDIRECTS: usize = 5;
/// The longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Some hosts serve git only to agents that begin with `git/`.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("git/promote-pr-", env!("CARGO_PKG_VERSION")));

/// The HTTP client that git's transport drives.
///
/// Git's own errors say little about HTTP, so the real [`Error`] is left in [`Bridge::failure`].
#[derive(Clone)]
pub(super) struct Bridge {
    link: Arc<Link>,
    http: Arc<HttpAccess>,
    operation: Arc<Operation>,
    action: &'static str,
    expected: Rc<Cell<Expected>>,
    failure: Rc<RefCell<Option<Error>>>,
    redirected: Option<String>,
    remembered: Rc<Cell<bool>>,
}

impl Bridge {
    pub(super) fn new(
        link: &Arc<Link>,
        http: &Arc<HttpAccess>,
        operation: &Arc<Operation>,
        action: &'static str,
    ) -> Self {
        Self {
            link: Arc::clone(link),
            http: Arc::clone(http),
            operation: Arc::clone(operation),
            action,
            expected: Rc::new(Cell::new(Expected::Listing)),
            failure: Rc::default(),
            redirected: None,
            remembered: Rc::default(),
        }
    }

    /// Whether what the server can do was not asked for, but is what it said in an earlier conversation.
    pub(super) fn is_remembered(&self) -> bool {
        self.remembered.get()
    }

    /// Lets the next answers be as long as a pack may be.
    pub(super) fn expect_pack(&self) {
        self.expected.set(Expected::Pack);
    }

    /// Why a request failed, if one did.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.take()
    }

    fn fail(&self, error: Error) -> io::Error {
        self.failure.replace(Some(error));
        io::Error::other("the HTTP request failed")
    }

    fn network(&self, source: egress::Error) -> io::Error {
        if matches!(source, egress::Error::TooLong { .. }) {
            return self.fail(self.expected.get().too_long(&self.link));
        }
        self.fail(Error::Network { url: self.link.url.clone(), action: self.action, source })
    }

    fn redirect(&self, from: &Url, to: &Url, reason: &'static str) -> io::Error {
        let origin = |url: &Url| url.origin().ascii_serialization();
        self.fail(Error::Redirect { url: self.link.url.clone(), from: origin(from), to: origin(to), reason })
    }

    /// Sends one request to the repository's own origin.
    fn send(&self, method: Method, url: &Url, headers: HeaderMap, body: Bytes) -> io::Result<Response<egress::Body>> {
        let home = self.link.url.as_url();
        if url.origin() != home.origin() {
            return Err(self.redirect(home, url, "it leads to another origin"));
        }
        let mut request = Request::builder().method(method).uri(url.as_str()).body(body).map_err(io::Error::other)?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(USER_AGENT, AGENT);
        if let Some(authorization) = &self.http.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.operation.traffic().send(request.body().len());
        let client = self.http.client.with_limits(egress::Limits {
            deadline: self.link.limits.deadline,
            body: self.expected.get().limit(&self.link.limits),
        });
        match self.operation.wait(client.stream(request)) {
            None => Err(cancelled()),
            Some(answer) => answer.map_err(|source| self.network(source)),
        }
    }

    fn get_following(&mut self, url: &str, base_url: &str, headers: &HeaderMap) -> io::Result<Answer> {
        let mut url = Url::parse(url).map_err(io::Error::other)?;
        let tail = url.as_str().strip_prefix(base_url).unwrap_or_default().to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(Method::GET, &url, headers.clone(), Bytes::new())?;
            let (true, Some(location)) = (response.status().is_redirection(), location(response.headers())) else {
                return self.accept(&url, response);
            };
            let Ok(next) = url.join(location) else {
                return Err(self.redirect(&url, &url, "its Location is no URL"));
            };
            if next.origin() != url.origin() {
                return Err(self.redirect(&url, &next, "it leads to another origin"));
            }
            let Some(base) = next.as_str().strip_suffix(&tail).filter(|_| !tail.is_empty()) else {
                return Err(self.redirect(&url, &next, "it does not lead to a git repository"));
            };
            self.redirected = Some(base.to_owned());
            url = next;
        }
        Err(self.redirect(&url, &url, "there are more than 5 in a row"))
    }

    /// Asks the server what it can do, and remembers it.
    fn advertisement(&mut self, url: &str, base_url: &str, headers: &HeaderMap) -> io::Result<Answer> {
        let Answer { headers, mut body } = self.get_following(url, base_url, headers)?;
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes)?;
        self.link.advertised.remember(url, &headers, &bytes, self.redirected.as_deref());
        Ok(Answer { headers, body: exchange::Body::of(self, bytes.into()) })
    }

    /// An answer of the git protocol; anything else becomes an error.
    fn accept(&self, asked: &Url, response: Response<egress::Body>) -> io::Result<Answer> {
        let (head, mut body) = response.into_parts();
        let url = self.link.url.clone();
        if let Some(next) = location(&head.headers).filter(|_| head.status.is_redirection()) {
            let next = asked.join(next).unwrap_or_else(|_invalid| asked.clone());
            return Err(self.redirect(asked, &next, "only the first request of a conversation may be redirected"));
        }
        if !head.status.is_success() {
            let text = self.error_text(&head.headers, &mut body);
            let after = retry_after(&head.headers);
            return Err(self.fail(match head.status.as_u16() {
                401 => Error::Unauthorized { url },
                403 => Error::Forbidden { url, action: self.action, text },
                404 | 410 => Error::RepositoryNotFound { url },
                429 => Error::RateLimited { url, after },
                status => Error::Status { url, status, text, after },
            }));
        }
        let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if !content_type.starts_with(b"application/x-git-") {
            let content_type = match clean(content_type, &self.link.secrets) {
                none if none.is_empty() => "of no type".to_owned(),
                some => some,
            };
            return Err(self.fail(Error::NotGit { url, content_type }));
        }
        let mut headers = b"content-type: ".to_vec();
        headers.extend_from_slice(content_type);
        headers.push(b'\n');
        Ok(Answer { headers, body: exchange::Body::new(self, body) })
    }

    /// The beginning of an error's body, if it is text that people write and not a page.
    fn error_text(&self, headers: &HeaderMap, body: &mut egress::Body) -> String {
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if !content_type.starts_with(b"text/plain") && !content_type.starts_with(b"application/json") {
            return String::new();
        }
        let mut text = Vec::new();
        while text.len() < MAX_ERROR_BODY {
            match self.operation.wait(body.chunk()) {
                Some(Ok(Some(chunk))) => text.extend_from_slice(&chunk),
                _ => break,
            }
        }
        text.truncate(MAX_ERROR_BODY);
        clean(&text, &self.link.secrets)
    }
}

impl Http for Bridge {
    type Headers = Part;
    type ResponseBody = Part;
    type PostBody = PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Part, Part>> {
        let answer = match self.link.advertised.recall(url) {
            Some(known) => {
                self.remembered.set(true);
                self.redirected = known.redirected;
                Answer { headers: known.headers, body: exchange::Body::of(self, known.body) }
            }
            None => self.advertisement(url, base_url, &header_map(headers)).map_err(gix::Error::from_error)?,
        };
        let exchange = Exchange::answered(answer).shared();
        Ok(GetResponse { headers: Part::headers(&exchange), body: Part::body(&exchange) })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Part, Part, PostBody>> {
        let url = Url::parse(url).map_err(gix::Error::from_error)?;
        let exchange = Exchange::post(self, url, header_map(headers)).shared();
        Ok(PostResponse {
            post_body: PostBody::new(&exchange),
            headers: Part::headers(&exchange),
            body: Part::body(&exchange),
        })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.clone()
    }
}

fn cancelled() -> io::Error {
    io::Error::other("cancelled")
}

/// Git's header lines, without those that [`Bridge::send`] sets itself.
fn header_map(lines: impl IntoIterator<Item = impl AsRef<str>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Some((name, value)) = line.as_ref().split_once(':')
            && let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value.trim()))
        {
            headers.append(name, value);
        }
    }
    headers
}

fn location(headers: &HeaderMap) -> Option<&str> {
    headers.get(LOCATION)?.to_str().ok()
}

/// [`Retry-After`](https://www.rfc-editor.org/rfc/rfc9110#field.retry-after) in seconds; a date is as good as nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_that_servers_ask_for() {
        for (value, expect) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("999999", Some(3600)),
            ("-1", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers), expect.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn header_lines() {
        let headers = header_map(["Git-Protocol: version=2", "no colon", "bad name: x"]);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["git-protocol"], "version=2");
    }
}
