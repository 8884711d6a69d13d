use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::{
    client::{Limits, Peer},
    error::Error,
};

/// The body of an answer, read as it arrives, under the [`Limits`] of the client that made the request.
pub struct Body {
    inner: reqwest::Body,
    left: u64,
    limits: Limits,
    peer: Peer,
}

impl Body {
    pub(crate) fn new(inner: reqwest::Body, limits: Limits, peer: Peer) -> Result<Self, Error> {
        if inner.size_hint().lower() > limits.body {
            return Err(Error::TooLong { peer: peer.to_string(), limit: limits.body });
        }
        Ok(Self { inner, left: limits.body, limits, peer })
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::TooLong`] or [`Error::Broken`]; nothing more comes after any of them.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    fn count(&mut self, frame: reqwest::Result<Frame<Bytes>>) -> Result<Frame<Bytes>, Error> {
        let frame = frame.map_err(|error| Error::from_reqwest(error, &self.peer.to_string(), self.limits.deadline))?;
        let length = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.left = self
            .left
            .checked_sub(length)
            .ok_or_else(|| Error::TooLong { peer: self.peer.to_string(), limit: self.limits.body })?;
        Ok(frame)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(frame.map(|frame| {
            let counted = self.count(frame);
            counted.inspect_err(|error| self.peer.failed(error))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("left", &self.left).field("limits", &self.limits).finish_non_exhaustive()
    }
}
