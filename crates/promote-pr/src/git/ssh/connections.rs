//! Connections that wait for their next conversation, and keys that are read already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use egress::Egress;
use tokio::sync::oneshot;

use super::Keys;
use super::connection::Connection;
use crate::git::Error;

/// How long a connection waits. A promotion has several conversations within seconds of each other.
const MAX_IDLE: Duration = Duration::from_secs(10);
/// How many connections wait for the same repository and identity.
const MAX_WAITING: usize = 4;
/// How long keys are kept in memory without being used.
const MAX_UNUSED: Duration = Duration::from_secs(600);

/// What is known of each repository and identity. Each connection is owned by a task that lets it go when it waited for
/// too long.
pub(in crate::git) struct Connections {
    /// What TCP connections are made by.
    pub(super) egress: Egress,
    entries: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    keys: Option<Arc<Keys>>,
    waiting: Vec<Ask>,
    used: Instant,
}

/// Asks the task that owns a connection for it.
type Ask = oneshot::Sender<oneshot::Sender<Connection>>;
/// Whether anybody asks for a connection.
pub(super) type Asked = oneshot::Receiver<oneshot::Sender<Connection>>;

impl Connections {
    pub(in crate::git) fn new(egress: Egress) -> Self {
        Self { egress, entries: Mutex::default() }
    }

    /// A connection that waits, or will once its last conversation is over; `None` if there is none.
    pub(super) async fn take(&self, key: &str) -> Option<Connection> {
        loop {
            let ask = self.entries().get_mut(key)?.waiting.pop()?;
            let (reply, connection) = oneshot::channel();
            if ask.send(reply).is_ok()
                && let Ok(connection) = connection.await
            {
                return Some(connection);
            }
        }
    }

    /// Says that a connection will be there as soon as it is tidy.
    pub(super) fn announce(&self, key: &str) -> Option<Asked> {
        let mut entries = self.entries();
        let waiting = &mut entry(&mut entries, key).waiting;
        waiting.retain(|ask| !ask.is_closed());
        (waiting.len() < MAX_WAITING).then(|| {
            let (ask, asked) = oneshot::channel();
            waiting.push(ask);
            asked
        })
    }

    /// Owns a connection until somebody asks for it, it ends, or it has waited for long enough.
    pub(super) async fn keep(&self, connection: Connection, asked: Option<Asked>) {
        if let Some(asked) = asked {
            let reply = tokio::select! {
                reply = tokio::time::timeout(MAX_IDLE, asked) => reply,
                () = connection.ended().cancelled() => return,
            };
            if let Ok(Ok(reply)) = reply {
                // Who asked may have gone; the connection ends then.
                drop(reply.send(connection));
                return;
            }
        }
        connection.close().await;
    }

    /// The keys as `read` once.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn keys(&self, key: &str, read: impl FnOnce() -> Result<Keys, Error>) -> Result<Arc<Keys>, Error> {
        if let Some(keys) = &entry(&mut self.entries(), key).keys {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(read()?);
        entry(&mut self.entries(), key).keys = Some(Arc::clone(&keys));
        Ok(keys)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of `key`. Those that nobody used for long go.
fn entry<'a>(entries: &'a mut HashMap<String, Entry>, key: &str) -> &'a mut Entry {
    entries.retain(|_, entry| entry.used.elapsed() < MAX_UNUSED);
    let used = Instant::now();
    let entry = entries.entry(key.to_owned()).or_insert_with(|| Entry { keys: None, waiting: Vec::new(), used });
    entry.used = used;
    entry
}
