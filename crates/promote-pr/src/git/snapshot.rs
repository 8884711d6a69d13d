//! Reads the files of one commit.

use std::sync::Arc;

use gix::ObjectId;

use super::cache::Store;
use super::link::Link;
use super::operation::{self, Operation};
use super::search::{Wanted, length, search};
use super::{Error, commit};
use crate::names::{CommitId, TreeId};

/// A commit and its files, as they were when it was fetched. Clones share the objects.
///
/// The objects stay on disk for as long as the snapshot lives, also if the cache is rebuilt meanwhile.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) link: Arc<Link>,
    pub(super) store: Arc<Store>,
    tip: CommitId,
    tree: TreeId,
}

/// The files of a [`Snapshot`] that were looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Path and content of each, in the order of git's trees.
    pub files: Vec<(String, Vec<u8>)>,
    /// What was left out although it may be one of them.
    pub skipped: Vec<Skipped>,
}

/// A file that was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its path; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Why it was not read.
    pub reason: SkipReason,
}

/// Why a file was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// It is longer than [`Limits::file`](super::Limits::file).
    TooLong {
        /// The limit in bytes.
        limit: u64,
    },
    /// Its path is not UTF-8.
    PathNotUtf8,
}

impl Snapshot {
    pub(super) fn new(link: &Arc<Link>, store: Arc<Store>, tip: ObjectId) -> Result<Self, Error> {
        let info = commit::info(&store, tip).map_err(|error| store.failure(link, &error))?;
        Ok(Self { link: Arc::clone(link), store, tip: info.id, tree: info.tree })
    }

    /// The commit.
    pub fn tip(&self) -> CommitId {
        self.tip
    }

    /// The commit's tree.
    pub fn tree(&self) -> TreeId {
        self.tree
    }

    /// The regular `.yaml`, `.yml` and `.json` files whose content contains `needle`.
    ///
    /// Symbolic links, submodules and anything in a directory that could pass for `.git` are left alone.
    ///
    /// # Errors
    /// [`Error::Limit`] if the tree is too deep or has too many entries, or if too much is found; [`Error::Objects`] if
    /// the cache is damaged, after which the next fetch rebuilds it.
    pub async fn files_containing(&self, needle: &[u8]) -> Result<Found, Error> {
        let needle = needle.to_vec();
        self.read(move |snapshot, operation| search(snapshot, operation, &Wanted::Containing(&needle))).await
    }

    /// The regular files whose path is wanted, whatever their names end in.
    ///
    /// Symbolic links, submodules and anything in a directory that could pass for `.git` are left alone.
    ///
    /// # Errors
    /// As for [`files_containing`](Self::files_containing).
    pub async fn files_at(&self, wanted: impl Fn(&str) -> bool + Send + 'static) -> Result<Found, Error> {
        self.read(move |snapshot, operation| search(snapshot, operation, &Wanted::At(&wanted))).await
    }

    /// The content of the regular file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Limit`] if it is longer than [`Limits::file`](super::Limits::file); [`Error::Objects`] as above.
    pub async fn file(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = path.to_owned();
        self.read(move |snapshot, _| {
            let limit = snapshot.link.limits.file;
            let read = || {
                let repository = snapshot.store.repository();
                let tree = repository.find_tree(object_id(snapshot.tree.as_bytes()))?;
                match tree.lookup_entry(path.split('/').map(str::as_bytes))? {
                    // What is not there was left out by the server.
                    Some(entry) if entry.mode().is_blob() => {
                        Ok(Some(repository.try_find_object(entry.object_id())?.map(|object| object.detach().data)))
                    }
                    _ => Ok(None),
                }
            };
            match read().map_err(|error| snapshot.store.failure(&snapshot.link, &error))? {
                None => Ok(None),
                Some(Some(content)) if length(&content) <= limit => Ok(Some(content)),
                Some(_) => {
                    let (url, path) = (snapshot.link.url.clone(), path.clone());
                    Err(Error::Limit { url, what: "the length of a file", name: "file", limit, path })
                }
            }
        })
        .await
    }

    /// The tree that this commit's would be if these regular files (path, content) had this content.
    ///
    /// # Errors
    /// [`Error::NotAFile`] if one of them is not there; [`Error::Objects`] as above.
    pub async fn tree_with(&self, files: &[(&str, &[u8])]) -> Result<TreeId, Error> {
        let files = commit::owned(files);
        self.read(move |snapshot, _| commit::Edit::new(snapshot, &files).map(|edit| edit.tree())).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self, &Arc<Operation>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let snapshot = self.clone();
        let deadline = self.link.limits.deadline;
        let url = &self.link.url;
        let result =
            operation::run(url, deadline, operation::turn(), move |operation, _turn| work(&snapshot, operation));
        result.await.inspect_err(|error| {
            if matches!(error, Error::Objects { .. } | Error::BrokenOff { .. }) {
                self.store.set_broken();
            }
        })
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("url", &self.link.url)
            .field("tip", &self.tip)
            .field("tree", &self.tree)
            .finish_non_exhaustive()
    }
}

pub(super) fn object_id(bytes: &[u8; 20]) -> ObjectId {
    ObjectId::Sha1(*bytes)
}
