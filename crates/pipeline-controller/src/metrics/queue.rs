//! Which Pipelines wait to be reconciled, and since when.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Metrics;
use super::names::CONTROLLER;

/// Namespace and name of a Pipeline.
type Name = (String, String);

/// Those that changed, or that something woke, and whose reconcile has not begun since.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<HashMap<Name, Instant>>);

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    /// A Pipeline is to be reconciled; it may wait already.
    pub(crate) fn queued(&self, namespace: &str, name: &str) {
        self.queue.lock().entry((namespace.to_owned(), name.to_owned())).or_insert_with(Instant::now);
    }

    /// Its reconcile begins, or it is gone.
    pub(super) fn unqueued(&self, namespace: &str, name: &str) -> Option<Instant> {
        self.queue.lock().remove(&(namespace.to_owned(), name.to_owned()))
    }

    /// Its reconcile begins.
    pub(super) fn begins(&self, namespace: &str, name: &str) {
        if let Some(since) = self.unqueued(namespace, name) {
            self.queue_time.with([CONTROLLER], |histogram| histogram.observe(since.elapsed().as_secs_f64()));
        }
    }
}
