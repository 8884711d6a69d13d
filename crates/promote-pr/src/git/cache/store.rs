//! The objects of one repository, as one user may see them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;

use super::home::Home;
use crate::git::Error;
use crate::git::error::Cause;
use crate::git::link::Link;
use crate::git::text::clean;

/// What gix keeps open at most; it must exceed [`MAX_PACKS`](super::MAX_PACKS).
const PACK_SLOTS: u16 = 128;
/// So many texts are remembered that blobs were searched for.
const MAX_TEXTS: usize = 4;

/// Objects of one repository: each commit in it was fetched at depth 1, with its whole tree.
pub(in crate::git) struct Store {
    repository: gix::ThreadSafeRepository,
    pub(super) path: PathBuf,
    pub(super) generation: u64,
    pub(super) home: Arc<Home>,
    fetched: Mutex<Vec<ObjectId>>,
    /// What is known of the content of its blobs, by the text that was looked for.
    scanned: Mutex<Vec<(Vec<u8>, Arc<Scanned>)>>,
    broken: AtomicBool,
    pub(super) retired: AtomicBool,
}

/// Blobs that were read: whether they hold a text.
pub(in crate::git) type Scanned = HashMap<ObjectId, bool>;

impl Store {
    pub(super) fn create(home: &Arc<Home>, generation: u64) -> Result<Arc<Self>, Error> {
        let path = home.directory.join(format!("{generation}.git"));
        let options = gix::create::Options::default();
        let repository = gix::ThreadSafeRepository::init_opts(&path, gix::create::Kind::Bare, options, open_options())
            .map_err(|error| Error::Cache { path: path.clone(), source: io::Error::other(describe(&error)) })?;
        Ok(Arc::new(Self::new(home, path, generation, repository, Vec::new())))
    }

    pub(super) fn open(home: &Arc<Home>, path: PathBuf, generation: u64) -> Result<Arc<Self>, gix::Error> {
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
            scanned: Mutex::default(),
            broken: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }

    pub(in crate::git) fn repository(&self) -> gix::Repository {
        self.repository.to_thread_local()
    }

    pub(in crate::git) fn pack_directory(&self) -> PathBuf {
        self.path.join("objects").join("pack")
    }

    /// The packs, of which each has its index beside it.
    pub(in crate::git) fn pack_files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.pack_directory()).into_iter().flatten().flatten().map(|file| file.path());
        let indexes = files.filter(|path| path.extension() == Some(OsStr::new("idx")));
        indexes.map(|path| path.with_extension("pack")).collect()
    }

    pub(in crate::git) fn packs(&self) -> usize {
        self.pack_files().len()
    }

    /// The commits that the store holds with their trees, as far as they are known.
    pub(in crate::git) fn fetched(&self) -> Vec<ObjectId> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::git) fn add_fetched(&self, commit: ObjectId) {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).push(commit);
    }

    /// Which blobs are known to hold `text` and which are known not to.
    pub(in crate::git) fn scanned(&self, text: &[u8]) -> Arc<Scanned> {
        let all = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().find(|(known, _)| known == text);
        known.map(|(_, scanned)| Arc::clone(scanned)).unwrap_or_default()
    }

    /// Remembers of more blobs whether they hold `text`.
    pub(in crate::git) fn add_scanned(&self, text: &[u8], new: Scanned) {
        let mut all = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, scanned)) = all.iter_mut().find(|(known, _)| known == text) {
            Arc::make_mut(scanned).extend(new);
            return;
        }
        if all.len() >= MAX_TEXTS {
            all.remove(0);
        }
        all.push((text.to_owned(), Arc::new(new)));
    }

    /// Has the store replaced when it is next locked.
    pub(in crate::git) fn set_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// An error of the object store, for the repository that `link` leads to.
    pub(in crate::git) fn failure(&self, link: &Link, error: &gix::Error) -> Error {
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
pub(in crate::git) fn describe(error: &gix::Error) -> String {
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
