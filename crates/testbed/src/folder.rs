//! The temporary folder of a bed, and the end of those whose process was killed.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::tools::cache_folder;

const PREFIX: &str = "pipeline-testbed-";
/// Locked for as long as the bed's process lives.
const LOCK: &str = "lock";

/// A folder that is removed with this value.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
    _lock: File,
}

impl Folder {
    /// Makes a folder and removes those of processes that were killed.
    pub(crate) fn create() -> Result<Self> {
        let cache = cache_folder()?;
        fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
        // Nobody sweeps while somebody else has made a folder and not locked it yet.
        let sweeping = File::create(cache.join("testbed.lock"))?;
        sweeping.lock()?;
        let root = std::env::temp_dir();
        sweep(&root)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&root)?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn sweep(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).with_context(|| format!("reading {}", root.display()))?.filter_map(Result::ok) {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // A folder whose lock cannot be opened belongs to another user.
        let lock = ours.then(|| File::open(entry.path().join(LOCK)).ok()).flatten();
        if lock.is_some_and(|lock| lock.try_lock().is_ok()) {
            fs::remove_dir_all(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_that_nobody_holds_are_swept() {
        let root = tempfile::tempdir().unwrap();
        for name in ["pipeline-testbed-dead", "pipeline-testbed-live", "pipeline-testbed-foreign", "other"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        File::create(root.path().join("pipeline-testbed-dead").join(LOCK)).unwrap();
        let live = File::create(root.path().join("pipeline-testbed-live").join(LOCK)).unwrap();
        live.lock().unwrap();

        sweep(root.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["other", "pipeline-testbed-foreign", "pipeline-testbed-live"]);
    }
}
