//! One directory in the cache, used by one process at a time.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use super::store::Store;
use crate::git::Error;

/// A directory that this process alone uses, as long as it holds the lock.
pub(super) struct Home {
    pub(super) directory: PathBuf,
    lock: File,
}

impl Home {
    const LOCK: &str = "lock";

    /// Makes the directory if need be; `None` if another process uses it.
    pub(super) fn take(directory: &Path) -> Result<Option<Self>, Error> {
        let path = directory.join(Self::LOCK);
        let fail = |source| Error::Cache { path: path.clone(), source };
        loop {
            make_private_dir(directory).map_err(fail)?;
            let lock = match File::options().create(true).truncate(false).write(true).open(&path) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(fail(error)),
            };
            match lock.try_lock() {
                Ok(()) if is_file(&lock, &path).map_err(fail)? => {
                    return Ok(Some(Self { directory: directory.to_owned(), lock }));
                }
                // Somebody removed the directory in between.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
    }

    /// When the directory was last used, as its file system has it; `None` if nobody ever did.
    pub(super) fn last_used(directory: &Path) -> Option<SystemTime> {
        fs::metadata(directory.join(Self::LOCK)).and_then(|lock| lock.modified()).ok()
    }

    /// Makes this moment the directory's last use.
    pub(super) fn touch(&self) {
        if let Err(error) = (&self.lock).write_all(b"\n").and_then(|()| (&self.lock).rewind()) {
            tracing::debug!(path = %self.directory.display(), %error, "the use of a git cache is not noted");
        }
    }

    /// Removes the directory with all that is in it.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.directory)
    }

    /// The store of an earlier process; `None` unless there is exactly one, without traces of unfinished work.
    pub(super) fn left_over(self: &Arc<Self>) -> Option<Arc<Store>> {
        let mut found = None;
        for entry in fs::read_dir(&self.directory).ok()? {
            let name = entry.ok()?.file_name();
            if name != OsStr::new(Self::LOCK) && found.replace(name).is_some() {
                return None;
            }
        }
        let name = found?;
        let generation = name.to_str()?.strip_suffix(".git")?.parse().ok()?;
        let path = self.directory.join(name);
        is_whole(&path).then(|| Store::open(self, path, generation)).and_then(Result::ok)
    }

    pub(super) fn clear(&self) -> Result<(), Error> {
        let fail = |path: &Path, source| Error::Cache { path: path.to_owned(), source };
        for entry in fs::read_dir(&self.directory).map_err(|source| fail(&self.directory, source))? {
            let entry = entry.map_err(|source| fail(&self.directory, source))?;
            if entry.file_name() == OsStr::new(Self::LOCK) {
                continue;
            }
            let path = entry.path();
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(&path),
                done => done,
            }
            .map_err(|source| fail(&path, source))?;
        }
        Ok(())
    }
}

/// Whether nothing shows that a process was killed while it wrote: no locks, no temporary files, no half of a pack.
pub(super) fn is_whole(repository: &Path) -> bool {
    let files = |directory: &Path| -> Option<Vec<PathBuf>> {
        fs::read_dir(directory).ok()?.map(|entry| entry.ok().map(|entry| entry.path())).collect()
    };
    let (Some(top), Some(packs)) = (files(repository), files(&repository.join("objects").join("pack"))) else {
        return false;
    };
    !top.iter().any(|path| path.extension() == Some(OsStr::new("lock")))
        && packs.iter().all(|path| match path.extension().and_then(OsStr::to_str) {
            Some("pack") => ends_as_its_index_says(path).unwrap_or(false),
            // An object that a broken index does not list would pass for one that the server left out.
            Some("idx") => packs.contains(&path.with_extension("pack")) && is_index(path),
            _ => false,
        })
}

fn is_index(path: &Path) -> bool {
    let index = gix_pack::index::File::at(path, gix::hash::Kind::Sha1);
    index.is_ok_and(|index| index.verify_checksum(&mut gix::progress::Discard, &AtomicBool::new(false)).is_ok())
}

/// [Both end](https://git-scm.com/docs/gitformat-pack) with the checksum of the pack, the index also with its own.
fn ends_as_its_index_says(pack: &Path) -> io::Result<bool> {
    let checksum = |path: &Path, from_end: i64| {
        let mut file = File::open(path)?;
        let mut checksum = [0; 20];
        file.seek(io::SeekFrom::End(from_end))?;
        file.read_exact(&mut checksum)?;
        io::Result::Ok(checksum)
    };
    Ok(checksum(pack, -20)? == checksum(&pack.with_extension("idx"), -40)?)
}

/// Whether the open file is still the one at `path`.
fn is_file(file: &File, path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let (open, there) = (file.metadata()?, fs::metadata(path));
        Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (open.dev(), open.ino())))
    }
    #[cfg(not(unix))]
    Ok(file.metadata().is_ok() && path.exists())
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
