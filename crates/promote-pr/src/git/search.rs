//! Looks for the files of a commit that hold a text.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice as _, ByteVec as _};
use gix::objs::{Find as _, FindExt as _, tree::EntryKind};
use memchr::memmem::Finder;

use super::Error;
use super::cache::{Scanned, Store};
use super::link::Link;
use super::operation::Operation;
use super::snapshot::{Found, SkipReason, Skipped, Snapshot, object_id};

/// So many unknown blobs are worth a pass over all packs, which reads an object in a quarter of the time.
const WORTH_A_PASS: usize = 500;
/// Such a pass uses at most so many threads.
const MAX_THREADS: usize = 4;

/// Which files a search is for.
pub(super) enum Wanted<'a> {
    /// Manifests that hold a text.
    Containing(&'a [u8]),
    /// Files by their path.
    At(&'a dyn Fn(&str) -> bool),
}

/// The files of the snapshot that are wanted.
pub(super) fn search(snapshot: &Snapshot, operation: &Operation, wanted: &Wanted<'_>) -> Result<Found, Error> {
    let text = match wanted {
        Wanted::Containing(text) => *text,
        // Every file holds the empty text.
        Wanted::At(_) => b"",
    };
    let mut search = Search {
        link: &snapshot.link,
        store: &snapshot.store,
        operation,
        objects: snapshot.store.repository().objects,
        wanted,
        finder: Finder::new(text),
        known: snapshot.store.scanned(text),
        new: Scanned::new(),
        path: BString::default(),
        entries: 0,
        candidates: Vec::new(),
        paths: BString::default(),
    };
    search.enter(object_id(snapshot.tree().as_bytes()), 0)?;
    search.scan()?;
    let found = search.read();
    if !search.new.is_empty() {
        snapshot.store.add_scanned(text, search.new);
    }
    found
}

struct Search<'a> {
    link: &'a Link,
    store: &'a Store,
    operation: &'a Operation,
    objects: gix::OdbHandle,
    wanted: &'a Wanted<'a>,
    finder: Finder<'a>,
    /// Which blobs hold the text, as far as earlier searches know.
    known: Arc<Scanned>,
    /// What this search finds out about others.
    new: Scanned,
    path: BString,
    entries: u64,
    /// Every file that may be wanted, and where in `paths` its path stands.
    candidates: Vec<(ObjectId, Range<usize>)>,
    paths: BString,
}

impl Search<'_> {
    /// Collects the files of the tree that may be wanted.
    fn enter(&mut self, tree: ObjectId, depth: u64) -> Result<(), Error> {
        let limits = &self.link.limits;
        if depth > limits.depth {
            return Err(self.limit("the depth of directories", "depth", limits.depth, self.path.as_bstr()));
        }
        self.check_cancelled()?;
        let mut buffer = Vec::new();
        let entries = self.objects.find_tree_iter(&tree, &mut buffer).map_err(|error| self.failure(&error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.store.failure(self.link, &error))?;
            self.entries = self.entries.saturating_add(1);
            if self.entries > limits.entries {
                let what = "the number of files and directories";
                return Err(self.limit(what, "entries", limits.entries, self.path.as_bstr()));
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
                EntryKind::Blob | EntryKind::BlobExecutable if self.may_be_wanted(entry.filename, entry.oid) => {
                    let start = self.paths.len();
                    self.paths.push_str(&self.path);
                    self.candidates.push((entry.oid.to_owned(), start..self.paths.len()));
                }
                EntryKind::Tree | EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link | EntryKind::Commit => {
                }
            }
            self.path.truncate(parent);
        }
        Ok(())
    }

    fn may_be_wanted(&self, name: &[u8], blob: &gix::oid) -> bool {
        match self.wanted {
            Wanted::Containing(_) => is_manifest(name) && self.known.get(blob) != Some(&false),
            Wanted::At(wanted) => self.path.to_str().is_ok_and(wanted) && is_safe(name),
        }
    }

    /// Has all packs read at once if much of the content is not known.
    fn scan(&mut self) -> Result<(), Error> {
        let unknown = self.candidates.iter().filter(|(blob, _)| !self.known.contains_key(blob)).count();
        if unknown < WORTH_A_PASS || self.finder.needle().is_empty() {
            return Ok(());
        }
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(MAX_THREADS);
        let longest = self.link.limits.file;
        let found = Mutex::new(Scanned::with_capacity(unknown));
        let finder = &self.finder;
        let pass = |index: gix_pack::index::File<_>, pack: gix_pack::data::File<_>| {
            index.traverse_with_index(
                &pack,
                |kind, content, entry, _progress| {
                    if kind == gix::objs::Kind::Blob && length(content) <= longest {
                        let hit = finder.find(content).is_some();
                        found.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.oid, hit);
                    }
                    Ok(())
                },
                &mut gix::progress::Discard,
                self.operation.interrupt(),
                gix_pack::index::traverse::with_index::Options {
                    check: gix_pack::index::traverse::SafetyCheck::SkipFileAndObjectChecksumVerification,
                    thread_limit: Some(threads),
                    alloc_limit_bytes: usize::try_from(self.link.limits.object).ok(),
                },
            )
        };
        for path in self.store.pack_files() {
            let open = || {
                let hash = gix::hash::Kind::Sha1;
                let index = gix_pack::index::File::at(path.with_extension("idx"), hash)?;
                pass(index, gix_pack::data::File::at(&path, hash)?)
            };
            let passed = open();
            self.check_cancelled()?;
            passed.map_err(|error: gix::Error| self.failure(&error))?;
        }
        self.new = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    /// Reads the files that hold the text, or of which that is not known.
    fn read(&mut self) -> Result<Found, Error> {
        let mut found = Found::default();
        let mut bytes = 0_u64;
        for (blob, path) in std::mem::take(&mut self.candidates) {
            let known = self.known.get(&blob).or_else(|| self.new.get(&blob)).copied();
            if known == Some(false) {
                continue;
            }
            self.check_cancelled()?;
            let mut content = Vec::new();
            let limit = self.link.limits.file;
            let there = self.objects.try_find(&blob, &mut content).map_err(|error| self.failure(&error))?.is_some();
            let fits = length(&content) <= limit;
            if there && fits && known.is_none() && !self.finder.needle().is_empty() {
                let hit = self.finder.find(&content).is_some();
                self.new.insert(blob, hit);
                if !hit {
                    continue;
                }
            }
            let path = self.paths.get(path).unwrap_or_default().as_bstr();
            let reason = match path.to_str() {
                // What is not there was left out by the server.
                _ if !there || !fits => SkipReason::TooLong { limit },
                Ok(path) => {
                    bytes = bytes.saturating_add(length(&content));
                    let limit = self.link.limits.found;
                    if bytes > limit {
                        let what = "the content of all files to be looked at";
                        return Err(self.limit(what, "found", limit, path.into()));
                    }
                    found.files.push((path.to_owned(), content));
                    continue;
                }
                Err(_) => SkipReason::PathNotUtf8,
            };
            found.skipped.push(Skipped { path: path.to_str_lossy().into_owned(), reason });
        }
        Ok(found)
    }

    fn check_cancelled(&self) -> Result<(), Error> {
        if self.operation.is_cancelled() {
            return Err(Error::Deadline { url: self.link.url.clone(), deadline: self.link.limits.deadline });
        }
        Ok(())
    }

    fn limit(&self, what: &'static str, name: &'static str, limit: u64, path: &BStr) -> Error {
        Error::Limit { url: self.link.url.clone(), what, name, limit, path: path.to_str_lossy().into_owned() }
    }

    fn failure(&self, error: &gix::Error) -> Error {
        self.store.failure(self.link, error)
    }
}

pub(super) fn length(content: &[u8]) -> u64 {
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
