//! Keeps the cache directory within its limits: what was used longest ago goes first.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use super::home::Home;
use super::{Cache, Entry};

/// A directory in the cache.
struct Kept {
    directory: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Cache {
    /// Removes what exceeds the limits and nobody uses; what somebody uses is tried again next time. The repository of `entry`,
    /// which was used just now, stays.
    pub(in crate::git) fn evict(&self, entry: &mut Entry) {
        let grown = std::mem::take(&mut entry.grown);
        if !self.over.swap(false, Ordering::Relaxed) && !grown {
            return;
        }
        let Some(current) = entry.store.as_ref().map(|store| store.home.directory.as_path()) else {
            return;
        };
        // Compared with times of the same file system, this is the present.
        let Some(now) = Home::last_used(current) else {
            return;
        };
        let mut kept = self.kept();
        let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).fold(0, u64::saturating_add);
        let mut count = kept.len();
        kept.sort_by_key(|kept| kept.used);
        for old in kept.iter().filter(|kept| kept.directory != current) {
            let idle = now.duration_since(old.used).unwrap_or_default();
            if bytes <= self.limits.bytes && count <= self.limits.repositories && idle <= self.limits.idle {
                break;
            }
            if self.remove(&old.directory) {
                tracing::debug!(path = %old.directory.display(), bytes = old.bytes, "a git cache is removed");
                bytes = bytes.saturating_sub(old.bytes);
                count = count.saturating_sub(1);
            } else {
                self.over.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The directories of all repositories, also those of other processes.
    fn kept(&self) -> Vec<Kept> {
        let directories = fs::read_dir(&self.directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let kept = directories.filter_map(|directory| {
            let used = Home::last_used(&directory)?;
            Some(Kept { bytes: size(&directory), directory, used })
        });
        kept.collect()
    }

    /// Whether the directory is gone; it stays if somebody uses it.
    fn remove(&self, directory: &Path) -> bool {
        let mut own = None;
        {
            let mut repositories = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
            repositories.retain(|_, repository| {
                let Ok(mut entry) = repository.entry.try_lock() else { return true };
                // Whoever holds one of these works with it, or is about to.
                let free = Arc::strong_count(repository) == 1
                    && entry.store.as_ref().is_none_or(|store| Arc::strong_count(store) == 1);
                let here = entry.store.as_ref().is_none_or(|store| store.home.directory == directory);
                if here && free {
                    own = own.take().or(entry.store.take());
                }
                !(here && free)
            });
        }
        // What is this process' own is not let go of before it is removed.
        let own = own.map(|store| Arc::clone(&store.home)).and_then(Arc::into_inner);
        let home = own.or_else(|| Home::take(directory).ok().flatten());
        home.is_some_and(|home| home.remove().is_ok())
    }
}

/// The bytes of all files below `directory`, as far as they can be seen.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.fold(0, u64::saturating_add)
}
