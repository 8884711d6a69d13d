//! Bare repositories on disk that keep what was fetched, one for each repository and user.
//!
//! ```text
//! <cache directory>/<hash of repository and user>-<slot>/lock    held by the process that uses the slot
//!                                                        <n>.git  the objects; n grows when they are fetched anew
//! ```

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use tokio::sync::OwnedMutexGuard;

use super::Error;
use super::error::Cause;
use super::link::Link;
use super::text::clean;

/// How many processes can use one cache directory for the same repository and user at the same time.
const MAX_SLOTS: usize = 64;
/// With so many packs, all is fetched anew into one: nothing here collects garbage.
pub(super) const MAX_PACKS: usize = 48;
/// What gix keeps open at most; it must exceed [`MAX_PACKS`].
const PACK_SLOTS: u16 = 128;

/// The caches of one directory.
pub(super) struct Cache {
    directory: PathBuf,
    entries: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Entry>>>>,
}

impl Cache {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, entries: Mutex::default() }
    }

    /// Waits until nobody else fetches the same repository as the same user.
    pub(super) async fn lock(&self, key: &str) -> OwnedMutexGuard<Entry> {
        let entry = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = entries.entry(key.to_owned()).or_insert_with(|| {
                let prefix = self.directory.join(key);
                Arc::new(tokio::sync::Mutex::new(Entry { prefix, store: None, busy: false }))
            });
            Arc::clone(entry)
        };
        entry.lock_owned().await
    }
}

/// The cache of one repository and user.
pub(super) struct Entry {
    prefix: PathBuf,
    store: Option<Arc<Store>>,
    busy: bool,
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
        self.busy = true;
        let result = work(self, store);
        self.busy = false;
        result
    }

    /// Replaces the store by an empty one. The old one stays readable for those that still hold it.
    pub(super) fn renew(&mut self) -> Result<Arc<Store>, Error> {
        let Some(old) = self.store.take() else {
            return self.open();
        };
        old.retired.store(true, Ordering::Relaxed);
        self.busy = false;
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
            home = Home::take(PathBuf::from(directory))?;
            if home.is_some() {
                break;
            }
        }
        let Some(home) = home.map(Arc::new) else {
            let source = io::Error::new(io::ErrorKind::ResourceBusy, "it is in use by 64 other processes");
            return Err(Error::Cache { path: self.prefix.clone(), source });
        };
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

/// A directory that this process alone uses, as long as it holds the lock.
struct Home {
    directory: PathBuf,
    _lock: File,
}

impl Home {
    const LOCK: &str = "lock";

    /// `None` if another process uses the directory.
    fn take(directory: PathBuf) -> Result<Option<Self>, Error> {
        let path = directory.join(Self::LOCK);
        let lock = make_private_dir(&directory)
            .and_then(|()| File::options().create(true).truncate(false).write(true).open(&path))
            .map_err(|source| Error::Cache { path: path.clone(), source })?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { directory, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(Error::Cache { path, source }),
        }
    }

    /// The store of an earlier process; `None` unless there is exactly one, without traces of unfinished work.
    fn left_over(self: &Arc<Self>) -> Option<Arc<Store>> {
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

    fn clear(&self) -> Result<(), Error> {
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

/// Objects of one repository: each commit in it was fetched at depth 1, with its whole tree.
pub(super) struct Store {
    repository: gix::ThreadSafeRepository,
    path: PathBuf,
    generation: u64,
    home: Arc<Home>,
    fetched: Mutex<Vec<ObjectId>>,
    broken: AtomicBool,
    retired: AtomicBool,
}

impl Store {
    fn create(home: &Arc<Home>, generation: u64) -> Result<Arc<Self>, Error> {
        let path = home.directory.join(format!("{generation}.git"));
        let options = gix::create::Options::default();
        let repository = gix::ThreadSafeRepository::init_opts(&path, gix::create::Kind::Bare, options, open_options())
            .map_err(|error| Error::Cache { path: path.clone(), source: io::Error::other(describe(&error)) })?;
        Ok(Arc::new(Self::new(home, path, generation, repository, Vec::new())))
    }

    fn open(home: &Arc<Home>, path: PathBuf, generation: u64) -> Result<Arc<Self>, gix::Error> {
        let repository = gix::ThreadSafeRepository::open_opts(&path, open_options().open_path_as_is(true))?;
        let shallow = repository.to_thread_local().shallow_commits()?;
        let fetched = shallow.map(|commits| commits.iter().copied().collect()).unwrap_or_default();
        Ok(Arc::new(Self::new(home, path, generation, repository, fetched)))
    }

    fn new(
        home: &Arc<Home>,
        path: PathBuf,
        generation: u64,
        repository: gix::ThreadSafeRepository,
        fetched: Vec<ObjectId>,
    ) -> Self {
        Self {
            repository,
            path,
            generation,
            home: Arc::clone(home),
            fetched: Mutex::new(fetched),
            broken: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }

    pub(super) fn repository(&self) -> gix::Repository {
        self.repository.to_thread_local()
    }

    pub(super) fn pack_directory(&self) -> PathBuf {
        self.path.join("objects").join("pack")
    }

    pub(super) fn packs(&self) -> usize {
        let files = fs::read_dir(self.pack_directory()).into_iter().flatten().flatten();
        files.filter(|file| file.path().extension() == Some(OsStr::new("idx"))).count()
    }

    /// The commits that the store holds with their trees, as far as they are known.
    pub(super) fn fetched(&self) -> Vec<ObjectId> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add_fetched(&self, commit: ObjectId) {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).push(commit);
    }

    /// Has the store replaced when it is next locked.
    pub(super) fn set_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// An error of the object store, for the repository that `link` leads to.
    pub(super) fn failure(&self, link: &Link, error: &gix::Error) -> Error {
        Error::Objects { url: link.url.clone(), source: Cause(clean(describe(error).as_bytes(), &link.secrets)) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if *self.retired.get_mut()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an old git cache cannot be removed");
        }
    }
}

/// The whole chain of an error of gix, whose own text is the outermost link.
pub(super) fn describe(error: &gix::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let link = error.to_string();
        if !link.is_empty() && !text.contains(&link) {
            text.push_str(": ");
            text.push_str(&link);
        }
        source = error.source();
    }
    text
}

/// No configuration of the user or the system is read, nor the environment.
fn open_options() -> gix::open::Options {
    gix::open::Options::isolated()
        .with(gix::sec::Trust::Full)
        .strict_config(true)
        .object_store_slots(gix::odb::store::init::Slots::Given(PACK_SLOTS))
        .config_overrides(["core.logAllRefUpdates=false"])
}

/// Whether nothing shows that a process was killed while it wrote: no locks, no temporary files, no half of a pack.
fn is_whole(repository: &Path) -> bool {
    let files = |directory: &Path| -> Option<Vec<PathBuf>> {
        fs::read_dir(directory).ok()?.map(|entry| entry.ok().map(|entry| entry.path())).collect()
    };
    let (Some(top), Some(packs)) = (files(repository), files(&repository.join("objects").join("pack"))) else {
        return false;
    };
    !top.iter().any(|path| path.extension() == Some(OsStr::new("lock")))
        && packs.iter().all(|path| match path.extension().and_then(OsStr::to_str) {
            Some("pack") => ends_as_its_index_says(path).unwrap_or(false),
            Some("idx") => packs.contains(&path.with_extension("pack")),
            _ => false,
        })
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

fn make_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests;
