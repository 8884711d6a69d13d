//! What the server's git writes and reads, driven from a thread that may block.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client};

use super::connection::Connection;
use super::connections::Connections;
use crate::git::Error;
use crate::git::error::Cause;
use crate::git::link::Link;
use crate::git::operation::Operation;
use crate::git::text::clean;
use crate::git::wire::Expected;

/// How much is kept of what the server sends while we write and do not read, in bytes.
const MAX_UNREAD: usize = 4 << 20;
/// How much is kept of what the server says beside the protocol, in bytes.
const MAX_SAID: usize = 4096;
/// The longest piece that is sent at once, in bytes.
const MAX_PIECE: usize = 32 << 10;
/// How long to wait for the exit status behind the last byte.
const EXIT_WAIT: Duration = Duration::from_millis(500);
/// How long a server's git may take to end when there is nothing left to do for it.
const TIDY_WAIT: Duration = Duration::from_secs(2);
/// Git's [flush packet](https://git-scm.com/docs/protocol-common#_pkt_line_format), which ends a conversation.
const FLUSH: &[u8] = b"0000";

/// The standard streams of the server's git. Clones are the same ones.
#[derive(Clone)]
pub(in crate::git) struct Stream(Rc<RefCell<State>>);

struct State {
    link: Arc<Link>,
    operation: Arc<Operation>,
    action: &'static str,
    home: (Arc<Connections>, String),
    /// Taken when the conversation is over.
    open: Option<Open>,
    chunk: Bytes,
    inbox: Inbox,
    failure: Option<Error>,
}

struct Open {
    connection: Connection,
    read: ChannelReadHalf,
    write: ChannelWriteHalf<client::Msg>,
}

/// What has come and was not read yet, and what is known of the server's git.
struct Inbox {
    operation: Arc<Operation>,
    unread: VecDeque<Bytes>,
    unread_length: usize,
    received: u64,
    expected: Expected,
    /// The most bytes of that, with what is said beside it.
    longest: u64,
    end: Option<End>,
    said: Vec<u8>,
    exit: Option<String>,
    refused: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The server's git has written all that it will.
    Eof,
    /// The connection is lost.
    Lost,
}

/// Why nothing more is read or written.
#[derive(Clone, Copy)]
enum Stop {
    Cancelled,
    Lost,
    Ended,
    Refused,
    TooLong,
    Unread,
}

impl Stream {
    pub(super) fn new(
        link: &Arc<Link>,
        operation: &Arc<Operation>,
        action: &'static str,
        (connection, channel): (Connection, Channel<client::Msg>),
        (connections, key): (&Arc<Connections>, &str),
    ) -> Self {
        let (read, write) = channel.split();
        Self(Rc::new(RefCell::new(State {
            link: Arc::clone(link),
            operation: Arc::clone(operation),
            action,
            home: (Arc::clone(connections), key.to_owned()),
            open: Some(Open { connection, read, write }),
            chunk: Bytes::new(),
            inbox: Inbox {
                operation: Arc::clone(operation),
                unread: VecDeque::new(),
                unread_length: 0,
                received: 0,
                expected: Expected::Listing,
                longest: link.limits.listing,
                end: None,
                said: Vec::new(),
                exit: None,
                refused: false,
            },
            failure: None,
        })))
    }

    /// Lets what comes next be as long as a pack may be.
    pub(in crate::git) fn expect_pack(&self) {
        let mut state = self.0.borrow_mut();
        state.inbox.received = 0;
        state.inbox.expected = Expected::Pack;
        state.inbox.longest = state.link.limits.pack;
    }

    /// Why the conversation failed, if the connection or the server's git is the reason.
    pub(in crate::git) fn take_failure(&self) -> Option<Error> {
        let mut state = self.0.borrow_mut();
        state.failure.take().or_else(|| state.verdict())
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(out)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            if let Some(chunk) = self.inbox.next() {
                self.chunk = chunk;
                continue;
            }
            let Self { operation, open: Some(open), inbox, .. } = self else {
                return Ok(0);
            };
            let waited = match inbox.end {
                Some(End::Lost) => Err(Stop::Lost),
                Some(End::Eof) => {
                    return match operation.wait(inbox.hear_out(&mut open.read, EXIT_WAIT)) {
                        Some(_) => Ok(0),
                        None => Err(self.stop(Stop::Cancelled)),
                    };
                }
                None => operation.wait(inbox.receive(&mut open.read)).unwrap_or(Err(Stop::Cancelled)),
            };
            waited.map_err(|stop| self.stop(stop))?;
        }
        let length = self.chunk.len().min(out.len());
        if let Some(out) = out.get_mut(..length) {
            self.chunk.copy_to_slice(out);
        }
        Ok(length)
    }

    /// Sends a piece, and takes in what the server sends meanwhile: russh stops as a whole when too much of that waits,
    /// so a server that talks while we send would wait for us and we for it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..MAX_PIECE).unwrap_or(bytes);
        let Self { operation, open: Some(open), inbox, .. } = self else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let Open { connection, read, write } = open;
        let sent = operation.wait(async {
            let mut send = pin!(write.data_bytes(Bytes::copy_from_slice(piece)));
            loop {
                match inbox.end {
                    None => {}
                    Some(End::Lost) => return Err(Stop::Lost),
                    Some(End::Eof) => {
                        inbox.hear_out(read, EXIT_WAIT).await;
                        return Err(Stop::Ended);
                    }
                }
                tokio::select! {
                    sent = &mut send => return sent.map_err(|_closed| Stop::Lost),
                    received = inbox.receive(read) => received?,
                    // A writer that waits for the window is not woken when the connection ends.
                    () = connection.ended().cancelled() => return Err(Stop::Lost),
                }
            }
        });
        sent.unwrap_or(Err(Stop::Cancelled)).map_err(|stop| self.stop(stop))?;
        self.operation.traffic().send(piece.len());
        Ok(piece.len())
    }

    fn stop(&mut self, stop: Stop) -> io::Error {
        let (url, action) = (self.link.url.clone(), self.action);
        self.failure = match stop {
            // Nobody reads this one: the operation says itself why it was cancelled.
            Stop::Cancelled => Some(Error::Deadline { url, deadline: self.link.limits.deadline }),
            Stop::Ended | Stop::Refused => self.verdict(),
            Stop::Lost => Some(self.lost()),
            Stop::TooLong => Some(self.inbox.expected.too_long(&self.link)),
            Stop::Unread => {
                let source = Cause("the server sends without reading".to_owned());
                Some(Error::Protocol { url, action, source })
            }
        };
        io::Error::other("the SSH channel failed")
    }

    fn lost(&self) -> Error {
        let why = self.open.as_ref().and_then(|open| open.connection.lost_because());
        let mut text = why.unwrap_or_else(|| "it was lost".to_owned());
        if !self.inbox.said.is_empty() {
            text.push_str(", and the server said: ");
            text.push_str(&String::from_utf8_lossy(&self.inbox.said));
        }
        let source = Cause(clean(text.as_bytes(), &self.link.secrets));
        Error::Connection { url: self.link.url.clone(), action: self.action, source }
    }

    /// What the end of the server's git says, unless it went well.
    fn verdict(&self) -> Option<Error> {
        let Inbox { end, said, exit, refused, .. } = &self.inbox;
        let mut text = match (refused, end, exit.as_deref()) {
            (true, ..) => "it does not run git for this key".to_owned(),
            (false, Some(End::Lost), _) => return Some(self.lost()),
            (false, Some(End::Eof), Some(EXIT_0)) | (false, None, _) => return None,
            (false, Some(End::Eof), Some(exit)) => exit.to_owned(),
            (false, Some(End::Eof), None) if said.is_empty() => return None,
            (false, Some(End::Eof), None) => String::new(),
        };
        if !said.is_empty() {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&String::from_utf8_lossy(said));
        }
        let text = clean(text.as_bytes(), &self.link.secrets);
        Some(Error::Command { url: self.link.url.clone(), action: self.action, text })
    }
}

const EXIT_0: &str = "exit status 0";

impl Drop for State {
    /// Keeps the connection for the next conversation if this one ended well.
    fn drop(&mut self) {
        let broken = self.failure.is_some() || self.inbox.end == Some(End::Lost) || self.operation.is_cancelled();
        if let Some(open) = self.open.take().filter(|_| !broken) {
            let (connections, key) = (Arc::clone(&self.home.0), self.home.1.clone());
            let asked = connections.announce(&key);
            self.operation.spawn(async move {
                let Open { connection, mut read, write } = open;
                if tidy(&connection, &mut read, &write).await {
                    connections.keep(connection, asked).await;
                }
            });
        }
    }
}

/// Lets the server's git end, and waits until it has: a server may allow one channel at a time only.
async fn tidy(connection: &Connection, read: &mut ChannelReadHalf, write: &ChannelWriteHalf<client::Msg>) -> bool {
    let ended = tokio::time::timeout(TIDY_WAIT, async {
        // It may have ended already, and then nothing can be sent.
        drop(write.data_bytes(FLUSH).await);
        drop(write.eof().await);
        while read.wait().await.is_some() {}
        write.close().await?;
        // The server answers this when it has read that the channel is closed, and then lets go of it.
        connection.ping().await
    });
    matches!(ended.await, Ok(Ok(())))
}

impl Inbox {
    fn next(&mut self) -> Option<Bytes> {
        let chunk = self.unread.pop_front()?;
        self.unread_length = self.unread_length.saturating_sub(chunk.len());
        Some(chunk)
    }

    /// Waits for one message.
    async fn receive(&mut self, read: &mut ChannelReadHalf) -> Result<(), Stop> {
        let Some(message) = read.wait().await else {
            self.end = Some(End::Lost);
            return Ok(());
        };
        self.take(message)
    }

    /// Waits until the server has said all, for at most `longest`.
    async fn hear_out(&mut self, read: &mut ChannelReadHalf, longest: Duration) {
        let all = async {
            while let Some(message) = read.wait().await
                && self.take(message).is_ok()
            {}
        };
        if tokio::time::timeout(longest, all).await.is_err() {
            tracing::trace!("the server's git has not told how it ended");
        }
    }

    fn count(&mut self, data: &Bytes) -> Result<(), Stop> {
        self.operation.traffic().receive(data.len());
        self.received = self.received.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if self.received > self.longest { Err(Stop::TooLong) } else { Ok(()) }
    }

    fn take(&mut self, message: ChannelMsg) -> Result<(), Stop> {
        match message {
            ChannelMsg::Data { data } => {
                self.count(&data)?;
                self.unread_length = self.unread_length.saturating_add(data.len());
                if self.unread_length > MAX_UNREAD {
                    return Err(Stop::Unread);
                }
                self.unread.push_back(data);
            }
            ChannelMsg::ExtendedData { data, .. } => {
                self.count(&data)?;
                let room = MAX_SAID.saturating_sub(self.said.len()).min(data.len());
                self.said.extend_from_slice(data.get(..room).unwrap_or_default());
            }
            ChannelMsg::ExitStatus { exit_status } => self.exit = Some(format!("exit status {exit_status}")),
            ChannelMsg::ExitSignal { signal_name, .. } => self.exit = Some(format!("killed by {signal_name:?}")),
            ChannelMsg::Failure => {
                self.refused = true;
                return Err(Stop::Refused);
            }
            ChannelMsg::Eof | ChannelMsg::Close => self.end = Some(End::Eof),
            _ => {}
        }
        Ok(())
    }
}
