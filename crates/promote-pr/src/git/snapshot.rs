//! Reads the files of one commit.

use std::collections::HashMap;
use std::sync::Arc;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice as _, ByteVec as _};
use gix::objs::{FindExt as _, tree::EntryKind};
use memchr::memmem::Finder;

use super::cache::Store;
use super::link::Link;
use super::operation::{self, Operation};
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
        /// Its length in bytes.
        length: u64,
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
        self.read(move |snapshot, operation| {
            let wanted = Wanted::Containing(Box::new(Finder::new(&needle)));
            Search::new(snapshot, operation, wanted).run(snapshot.tree)
        })
        .await
    }

    /// The regular files whose path is wanted, whatever their names end in.
    ///
    /// Symbolic links, submodules and anything in a directory that could pass for `.git` are left alone.
    ///
    /// # Errors
    /// As for [`files_containing`](Self::files_containing).
    pub async fn files_at(&self, wanted: impl Fn(&str) -> bool + Send + 'static) -> Result<Found, Error> {
        self.read(move |snapshot, operation| Search::new(snapshot, operation, Wanted::At(&wanted)).run(snapshot.tree))
            .await
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
                    Some(entry) if entry.mode().is_blob() => Ok(Some(entry.object()?.detach().data)),
                    _ => Ok(None),
                }
            };
            match read().map_err(|error| snapshot.store.failure(&snapshot.link, &error))? {
                Some(content) if length(&content) > limit => {
                    let url = snapshot.link.url.clone();
                    Err(Error::Limit { url, what: "the length of a file", limit, path: path.clone() })
                }
                content => Ok(content),
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
        let ready = std::future::ready(());
        let result = operation::run(&self.link.url, deadline, ready, move |operation, ()| work(&snapshot, operation));
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

/// Which files a search is for.
enum Wanted<'a> {
    /// Manifests that hold a text.
    Containing(Box<Finder<'a>>),
    /// Files by their path.
    At(&'a dyn Fn(&str) -> bool),
}

/// A walk over a tree that looks into its files.
struct Search<'a> {
    link: &'a Link,
    store: &'a Store,
    operation: &'a Operation,
    objects: gix::OdbHandle,
    wanted: Wanted<'a>,
    seen: HashMap<ObjectId, bool>,
    path: BString,
    entries: u64,
    bytes: u64,
    found: Found,
}

impl<'a> Search<'a> {
    fn new(snapshot: &'a Snapshot, operation: &'a Operation, wanted: Wanted<'a>) -> Self {
        Self {
            link: &snapshot.link,
            store: &snapshot.store,
            operation,
            objects: snapshot.store.repository().objects,
            wanted,
            seen: HashMap::new(),
            path: BString::default(),
            entries: 0,
            bytes: 0,
            found: Found::default(),
        }
    }

    fn run(mut self, tree: TreeId) -> Result<Found, Error> {
        self.enter(object_id(tree.as_bytes()), 0)?;
        Ok(self.found)
    }

    fn enter(&mut self, tree: ObjectId, depth: u64) -> Result<(), Error> {
        if depth > self.link.limits.depth {
            return Err(self.limit("the depth of directories", self.link.limits.depth));
        }
        let mut buffer = Vec::new();
        let entries = self.objects.find_tree_iter(&tree, &mut buffer).map_err(|error| self.objects(&error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.store.failure(self.link, &error))?;
            self.entries = self.entries.saturating_add(1);
            if self.entries > self.link.limits.entries {
                return Err(self.limit("the number of files and directories", self.link.limits.entries));
            }
            if self.operation.is_cancelled() {
                return Err(Error::Deadline { url: self.link.url.clone(), deadline: self.link.limits.deadline });
            }
            let parent = self.path.len();
            if parent > 0 {
                self.path.push_byte(b'/');
            }
            self.path.push_str(entry.filename);
            match entry.mode.kind() {
                EntryKind::Tree if is_safe(entry.filename) => {
                    self.enter(entry.oid.to_owned(), depth.saturating_add(1))?;
                }
                EntryKind::Blob | EntryKind::BlobExecutable if self.may_be_wanted(entry.filename) => {
                    self.look_into(entry.oid.to_owned())?;
                }
                EntryKind::Tree | EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link | EntryKind::Commit => {
                }
            }
            self.path.truncate(parent);
        }
        Ok(())
    }

    fn may_be_wanted(&self, name: &[u8]) -> bool {
        match &self.wanted {
            Wanted::Containing(_) => is_manifest(name),
            Wanted::At(wanted) => self.path.to_str().is_ok_and(wanted) && is_safe(name),
        }
    }

    fn look_into(&mut self, blob: ObjectId) -> Result<(), Error> {
        if self.seen.get(&blob) == Some(&false) {
            return Ok(());
        }
        let mut content = Vec::new();
        self.objects.find_blob(&blob, &mut content).map_err(|error| self.objects(&error))?;
        let length = length(&content);
        if length > self.link.limits.file {
            let path = self.path.to_str_lossy().into_owned();
            self.found.skipped.push(Skipped { path, reason: SkipReason::TooLong { length } });
            return Ok(());
        }
        let hit = match &self.wanted {
            Wanted::Containing(needle) => needle.find(&content).is_some(),
            Wanted::At(_) => true,
        };
        self.seen.insert(blob, hit);
        if !hit {
            return Ok(());
        }
        match self.path.to_str() {
            Ok(path) => {
                self.bytes = self.bytes.saturating_add(length);
                if self.bytes > self.link.limits.found {
                    return Err(self.limit("the content of all files to be looked at", self.link.limits.found));
                }
                self.found.files.push((path.to_owned(), content));
            }
            Err(_) => {
                let path = self.path.to_str_lossy().into_owned();
                self.found.skipped.push(Skipped { path, reason: SkipReason::PathNotUtf8 });
            }
        }
        Ok(())
    }

    fn limit(&self, what: &'static str, limit: u64) -> Error {
        Error::Limit { url: self.link.url.clone(), what, limit, path: self.path.to_str_lossy().into_owned() }
    }

    fn objects(&self, error: &gix::Error) -> Error {
        self.store.failure(self.link, error)
    }
}

pub(super) fn object_id(bytes: &[u8; 20]) -> ObjectId {
    ObjectId::Sha1(*bytes)
}

fn length(content: &[u8]) -> u64 {
    u64::try_from(content.len()).unwrap_or(u64::MAX)
}

fn is_manifest(name: &[u8]) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|extension| name.ends_with_str(extension)) && is_safe(name)
}

/// Whether the name cannot pass for `.git`, `.` or `..` on any file system.
fn is_safe(name: &[u8]) -> bool {
    let options =
        gix::validate::path::component::Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };
    gix::validate::path::component(name.as_bstr(), None, options).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_by_name() {
        for (name, expect) in [
            (&b"a.yaml"[..], true),
            (b"a.yml", true),
            (b"kustomization.json", true),
            (b"\xff.yaml", true),
            (b".yaml", true),
            (b"a.YAML", false),
            (b"a.yaml.bak", false),
            (b"yaml", false),
        ] {
            assert_eq!(is_manifest(name), expect, "{}", name.as_bstr());
        }
    }

    #[test]
    fn names_that_could_be_dot_git() {
        for name in [".git", ".GIT", "git~1", ".git ", ".git.", ".g\u{200c}it", "..", ".", ""] {
            assert!(!is_safe(name.as_bytes()), "{name}");
        }
        for name in ["apps", ".github", "git", "...", "CON"] {
            assert!(is_safe(name.as_bytes()), "{name}");
        }
    }
}
