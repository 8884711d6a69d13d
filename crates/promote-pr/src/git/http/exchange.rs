//! One request and its answer, as the readers and writers that git's transport takes.

use std::cell::RefCell;
use std::io::{self, BufRead, Read, Write};
use std::rc::Rc;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Method};
use url::Url;

use super::{Bridge, cancelled};

/// What the server answered: the header lines that git reads, and the body.
pub(super) struct Answer {
    pub(super) headers: Vec<u8>,
    pub(super) body: Body,
}

/// A request that is sent when its answer is first read, and the parts of the answer until they are taken.
pub(super) struct Exchange {
    request: Option<Post>,
    headers: Option<Vec<u8>>,
    body: Option<Body>,
}

struct Post {
    bridge: Bridge,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Exchange {
    pub(super) fn post(bridge: &Bridge, url: Url, headers: HeaderMap) -> Self {
        let request = Post { bridge: bridge.clone(), url, headers, body: Vec::new() };
        Self { request: Some(request), headers: None, body: None }
    }

    pub(super) fn shared(self) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(self))
    }

    pub(super) fn answered(answer: Answer) -> Self {
        Self { request: None, headers: Some(answer.headers), body: Some(answer.body) }
    }

    fn send(&mut self) -> io::Result<()> {
        if let Some(Post { bridge, url, headers, body }) = self.request.take() {
            let response = bridge.send(Method::POST, &url, headers, Bytes::from(body))?;
            *self = Self::answered(bridge.accept(&url, response)?);
        }
        Ok(())
    }
}

/// The body of a POST while git writes it.
pub(in crate::git) struct PostBody(Rc<RefCell<Exchange>>);

impl PostBody {
    pub(super) fn new(exchange: &Rc<RefCell<Exchange>>) -> Self {
        Self(Rc::clone(exchange))
    }
}

impl Write for PostBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0.borrow_mut().request {
            Some(request) => request.body.extend_from_slice(bytes),
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The headers or the body of an answer. Reading either one first sends the request.
pub(in crate::git) struct Part {
    exchange: Rc<RefCell<Exchange>>,
    source: Source,
}

enum Source {
    Headers(Option<io::Cursor<Vec<u8>>>),
    Body(Option<Box<Body>>),
}

impl Part {
    pub(super) fn headers(exchange: &Rc<RefCell<Exchange>>) -> Self {
        Self { exchange: Rc::clone(exchange), source: Source::Headers(None) }
    }

    pub(super) fn body(exchange: &Rc<RefCell<Exchange>>) -> Self {
        Self { exchange: Rc::clone(exchange), source: Source::Body(None) }
    }

    fn reader(&mut self) -> io::Result<&mut dyn BufRead> {
        let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
        match &mut self.source {
            Source::Headers(Some(headers)) => Ok(headers),
            Source::Body(Some(body)) => Ok(body),
            Source::Headers(headers) => {
                let mut exchange = self.exchange.borrow_mut();
                exchange.send()?;
                Ok(headers.insert(io::Cursor::new(exchange.headers.take().ok_or_else(gone)?)))
            }
            Source::Body(body) => {
                let mut exchange = self.exchange.borrow_mut();
                exchange.send()?;
                Ok(body.insert(Box::new(exchange.body.take().ok_or_else(gone)?)))
            }
        }
    }
}

impl Read for Part {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reader()?.read(out)
    }
}

impl BufRead for Part {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(reader) = self.reader() {
            reader.consume(amount);
        }
    }
}

/// The body of an answer as it arrives.
pub(super) struct Body {
    bridge: Bridge,
    rest: Option<egress::Body>,
    chunk: Bytes,
}

impl Body {
    pub(super) fn new(bridge: &Bridge, rest: egress::Body) -> Self {
        Self { bridge: bridge.clone(), rest: Some(rest), chunk: Bytes::new() }
    }

    /// A body that is there already.
    pub(super) fn of(bridge: &Bridge, bytes: Bytes) -> Self {
        Self { bridge: bridge.clone(), rest: None, chunk: bytes }
    }
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty()
            && let Some(rest) = &mut self.rest
        {
            match self.bridge.operation.wait(rest.chunk()) {
                Some(Ok(Some(chunk))) => {
                    self.bridge.operation.traffic().receive(chunk.len());
                    self.chunk = chunk;
                }
                Some(Ok(None)) => self.rest = None,
                Some(Err(source)) => {
                    self.rest = None;
                    return Err(self.bridge.network(source));
                }
                None => return Err(cancelled()),
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount.min(self.chunk.len()));
    }
}
