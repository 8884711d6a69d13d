//! Bare repositories on disk that keep what was fetched, one for each repository and user.
//!
//! ```text
//! <cache directory>/<hash of repository and user>-<slot>/lock    held by the process that uses the slot; written at
//!                                                                each use, so that its time is that of the last one
//!                                                        <n>.git  the objects; n grows when they are fetched anew
//! ```

mod evict;
mod home;
mod store;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use self::home::Home;
use super::http::Advertised;
use super::queue::Queue;
use super::{CacheLimits, Error};

pub(super) use self::store::{Scanned, Store, describe};

/// How many processes can use one cache directory for the same repository and user at the same time.
const MAX_SLOTS: usize = 64;
/// With so many packs, all is fetched anew into one: nothing here collects garbage.
pub(super) const MAX_PACKS: usize = 48;

/// The caches of one directory.
pub(super) struct Cache {
    directory: PathBuf,
    limits: CacheLimits,
    repositories: Mutex<HashMap<String, Arc<Repository>>>,
    /// Whether something is to be removed that was in use when that was last tried.
    over: AtomicBool,
}

/// What is known of one repository as one user sees it.
pub(super) struct Repository {
    entry: Arc<tokio::sync::Mutex<Entry>>,
    /// Who waits for a fetch.
    pub(super) queue: Queue,
    /// What its server can do.
    pub(super) advertised: Arc<Advertised>,
}

impl Cache {
    pub(super) fn new(directory: PathBuf, limits: CacheLimits) -> Self {
        Self { directory, limits, repositories: Mutex::default(), over: AtomicBool::new(false) }
    }

    /// The repository and user with this key.
    pub(super) fn repository(&self, key: &str) -> Arc<Repository> {
        let mut repositories = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        let repository = repositories.entry(key.to_owned()).or_insert_with(|| {
            let entry = Entry { prefix: self.directory.join(key), store: None, busy: false, grown: false };
            Arc::new(Repository {
                entry: Arc::new(tokio::sync::Mutex::new(entry)),
                queue: Queue::default(),
                advertised: Arc::default(),
            })
        });
        Arc::clone(repository)
    }
}

impl Repository {
    /// Waits until nobody else fetches from it.
    pub(super) async fn lock(&self) -> OwnedMutexGuard<Entry> {
        Arc::clone(&self.entry).lock_owned().await
    }
}

/// The cache of one repository and user.
pub(super) struct Entry {
    prefix: PathBuf,
    store: Option<Arc<Store>>,
    busy: bool,
    grown: bool,
}

impl Entry {
    /// Does `work` on the store, which is made new first if it is broken or earlier work on it ended in a panic.
    pub(super) fn with_store<T>(
        &mut self,
        work: impl FnOnce(&mut Self, Arc<Store>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let store = match self.store.clone() {
            None => self.open()?,
            Some(store) if self.busy || store.is_broken() => self.renew()?,
            Some(store) => store,
        };
        store.home.touch();
        self.busy = true;
        let result = work(self, store);
        self.busy = false;
        result
    }

    /// Has the limits of the cache looked at.
    pub(super) fn set_grown(&mut self) {
        self.grown = true;
    }

    /// Replaces the store by an empty one. The old one stays readable for those that still hold it.
    pub(super) fn renew(&mut self) -> Result<Arc<Store>, Error> {
        let Some(old) = self.store.take() else {
            return self.open();
        };
        old.retired.store(true, Ordering::Relaxed);
        self.busy = false;
        self.grown = true;
        let store = Store::create(&old.home, old.generation.saturating_add(1))?;
        self.store = Some(Arc::clone(&store));
        Ok(store)
    }

    /// Takes the first slot that no other process uses, with what an earlier process left there if it is whole.
    fn open(&mut self) -> Result<Arc<Store>, Error> {
        let mut home = None;
        for slot in 0..MAX_SLOTS {
            let mut directory = self.prefix.clone().into_os_string();
            directory.push(format!("-{slot}"));
            home = Home::take(&PathBuf::from(directory))?;
            if home.is_some() {
                break;
            }
        }
        let Some(home) = home.map(Arc::new) else {
            let source = io::Error::new(io::ErrorKind::ResourceBusy, "it is in use by 64 other processes");
            return Err(Error::Cache { path: self.prefix.clone(), source });
        };
        self.grown = true;
        let store = match home.left_over() {
            Some(store) => store,
            None => {
                home.clear()?;
                Store::create(&home, 0)?
            }
        };
        self.store = Some(Arc::clone(&store));
        Ok(store)
    }
}

#[cfg(test)]
mod tests;
