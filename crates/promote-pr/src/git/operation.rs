//! Blocking work on a thread of its own, which ends when nobody waits for it any longer.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::names::RepoUrl;
use crate::observer::CacheUse;

/// Work that only computes and reads files takes turns, so that many promotions at once do not take the memory of all of
/// them at once.
static TURNS: Semaphore = Semaphore::const_new(4);

/// Waits for a turn, which lasts as long as the returned value lives.
pub(super) async fn turn() -> Option<SemaphorePermit<'static>> {
    TURNS.acquire().await.ok()
}

/// Tells blocking work that it is no longer wanted, and lets it wait for futures.
pub(super) struct Operation {
    runtime: Handle,
    cancelled: CancellationToken,
    interrupt: AtomicBool,
    traffic: Traffic,
}

/// What the work has cost so far.
#[derive(Default)]
pub(super) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    cache: OnceLock<CacheUse>,
}

impl Traffic {
    pub(super) fn send(&self, bytes: usize) {
        self.sent.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn receive(&self, bytes: usize) {
        self.received.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The first word counts: an object store that has to be made anew was of some use before.
    pub(super) fn used(&self, cache: CacheUse) {
        self.cache.get_or_init(|| cache);
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn cache(&self) -> Option<CacheUse> {
        self.cache.get().copied()
    }
}

impl Operation {
    /// Waits for `future`; `None` if the work was cancelled before it was done.
    pub(super) fn wait<F: Future>(&self, future: F) -> Option<F::Output> {
        self.runtime.block_on(self.cancelled.run_until_cancelled(future))
    }

    /// Runs `work` whether or not anybody waits for it.
    #[cfg(feature = "ssh")]
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    /// Becomes true when the work is cancelled, for loops that compute.
    pub(super) fn interrupt(&self) -> &AtomicBool {
        &self.interrupt
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }
}

/// Runs `work` with what `prepare` gives, on a thread that may block, for at most `deadline` in all.
///
/// When the deadline passes or the returned future is dropped, `work` is told to end and does so by itself; what
/// `prepare` gave, such as a lock, is kept until then.
pub(super) async fn run<P, T>(
    url: &RepoUrl,
    deadline: Duration,
    prepare: impl Future<Output = P>,
    work: impl FnOnce(&Arc<Operation>, P) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error>
where
    P: Send + 'static,
    T: Send + 'static,
{
    let operation = Arc::new(Operation {
        runtime: Handle::current(),
        cancelled: CancellationToken::new(),
        interrupt: AtomicBool::new(false),
        traffic: Traffic::default(),
    });
    let _cancel = CancelOnDrop(Arc::clone(&operation));
    let all = async {
        let prepared = prepare.await;
        tokio::task::spawn_blocking(move || work(&operation, prepared)).await
    };
    match tokio::time::timeout(deadline, all).await {
        Ok(Ok(result)) => result,
        Ok(Err(source)) => Err(Error::BrokenOff { url: url.clone(), source }),
        Err(_) => Err(Error::Deadline { url: url.clone(), deadline }),
    }
}

struct CancelOnDrop(Arc<Operation>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.interrupt.store(true, Ordering::Relaxed);
        self.0.cancelled.cancel();
    }
}
