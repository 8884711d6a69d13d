//! Makes commits in memory, and the pack that carries them.

use gix::ObjectId;
use gix::objs::WriteTo as _;
use gix::odb::memory::Storage;
use gix_pack::data::output;
use jiff::Timestamp;

use super::cache::Store;
use super::snapshot::{Snapshot, object_id};
use super::{Author, Change, CommitInfo, Error, SigningKey};
use crate::names::{CommitId, TreeId};

/// New content of files that are already in a snapshot, as the objects that are missing there.
pub(super) struct Edit<'a> {
    snapshot: &'a Snapshot,
    repository: gix::Repository,
    tree: ObjectId,
}

/// A new commit and all objects that came with it.
pub(super) struct NewCommit {
    pub(super) id: ObjectId,
    pub(super) pack: Vec<u8>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, files: &[(String, Vec<u8>)]) -> Result<Self, Error> {
        let repository = snapshot.store.repository().with_object_memory();
        let base = object_id(snapshot.tree().as_bytes());
        let mut missing = None;
        let mut write = || {
            let tree = repository.find_tree(base)?;
            // Not the repository's own editor, which wants to see every file of the trees that it writes.
            let root = tree.decode()?.into_owned();
            let mut editor = gix::objs::tree::Editor::new(root, &repository.objects, gix::hash::Kind::Sha1);
            for (path, content) in files {
                match tree.lookup_entry(path.split('/').map(str::as_bytes))? {
                    Some(entry) if entry.mode().is_blob() => {
                        let blob = repository.write_blob(content)?.detach();
                        editor.upsert(path.split('/'), entry.mode().kind(), blob)?;
                    }
                    _ => {
                        missing = Some(path.clone());
                        return Ok(base);
                    }
                }
            }
            editor.write(|tree| repository.write_object(tree).map(gix::Id::detach))
        };
        let tree = write().map_err(|error: gix::Error| snapshot.store.failure(&snapshot.link, &error))?;
        if let Some(path) = missing {
            return Err(Error::NotAFile { url: snapshot.link.url.clone(), path, commit: snapshot.tip() });
        }
        Ok(Self { snapshot, repository, tree })
    }

    pub(super) fn tree(&self) -> TreeId {
        tree_id(self.tree)
    }

    /// A commit on top of the snapshot's.
    pub(super) fn commit(mut self, description: &Description) -> Result<NewCommit, Error> {
        if self.tree() == self.snapshot.tree() {
            return Err(Error::NothingToCommit { url: self.snapshot.link.url.clone() });
        }
        let mut commit = gix::objs::Commit {
            tree: self.tree,
            parents: [object_id(self.snapshot.tip().as_bytes())].into_iter().collect(),
            author: signature(&description.author, description.when)?,
            committer: signature(&description.committer, description.when)?,
            encoding: None,
            message: format!("{}\n", description.message.replace('\0', " ").trim_end()).into(),
            extra_headers: Vec::new(),
        };
        if let Some(key) = &description.signing {
            let mut unsigned = Vec::new();
            let written = commit.write_to(&mut unsigned).map_err(gix::Error::from_error);
            written.map_err(|error| self.snapshot.store.failure(&self.snapshot.link, &error))?;
            let signature = key.sign(&unsigned, description.when).map_err(|source| Error::Signing { source })?;
            commit.extra_headers.push((GPGSIG.into(), signature.trim_end().into()));
        }
        let mut write = || {
            let id = self.repository.write_object(&commit)?.detach();
            let objects = self.repository.objects.take_object_memory().unwrap_or_default();
            Ok(NewCommit { id, pack: pack(&objects)? })
        };
        write().map_err(|error: gix::Error| self.snapshot.store.failure(&self.snapshot.link, &error))
    }
}

/// The header of a commit's [signature](https://git-scm.com/docs/gitformat-signature), whichever its kind.
const GPGSIG: &str = "gpgsig";

/// All of a commit but its tree and parents.
pub(super) struct Description {
    message: String,
    author: Author,
    committer: Author,
    signing: Option<SigningKey>,
    when: Timestamp,
}

impl Description {
    pub(super) fn of(change: &Change<'_>) -> Self {
        Self {
            message: change.message.to_owned(),
            author: change.author.clone(),
            committer: change.committer.unwrap_or(change.author).clone(),
            signing: change.signing.cloned(),
            when: change.when,
        }
    }
}

fn signature(author: &Author, when: Timestamp) -> Result<gix::actor::Signature, Error> {
    author.check()?;
    Ok(gix::actor::Signature {
        name: author.name.trim().into(),
        email: author.email.trim().into(),
        time: gix::date::Time::new(when.as_second().max(0), 0),
    })
}

/// What the commit says, if it is there.
pub(super) fn info(store: &Store, commit: ObjectId) -> gix::Result<CommitInfo> {
    let repository = store.repository();
    let commit = repository.find_commit(commit)?;
    Ok(CommitInfo {
        id: commit_id(commit.id),
        tree: tree_id(commit.tree_id()?.detach()),
        parents: commit.parent_ids().map(|id| commit_id(id.detach())).collect(),
        message: commit.message_raw()?.to_string(),
    })
}

pub(super) fn commit_id(id: ObjectId) -> CommitId {
    CommitId::from_bytes(sha1(id))
}

fn tree_id(id: ObjectId) -> TreeId {
    TreeId::from_bytes(sha1(id))
}

/// The bytes of an id. There are no other ids than SHA-1: repositories with others are refused when a session opens.
fn sha1(id: ObjectId) -> [u8; 20] {
    id.as_slice().first_chunk().copied().unwrap_or_default()
}

pub(super) fn owned(files: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    files.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_vec())).collect()
}

/// [A pack](https://git-scm.com/docs/gitformat-pack) with these objects, none of them as a delta.
fn pack(objects: &Storage) -> gix::Result<Vec<u8>> {
    let mut objects: Vec<_> = objects.iter().collect();
    objects.sort_by_key(|(id, (kind, _))| {
        let rank = match kind {
            gix::objs::Kind::Commit => 0,
            gix::objs::Kind::Tag => 1,
            gix::objs::Kind::Tree => 2,
            gix::objs::Kind::Blob => 3,
        };
        (rank, **id)
    });
    let hash = gix::hash::Kind::Sha1;
    let entries = objects
        .iter()
        .map(|(id, (kind, data))| {
            let object = gix::objs::Data { kind: *kind, data, object_hash: hash };
            output::Entry::from_data(&output::Count::from_data(**id, None), &object, gix_zlib::Compression::DEFAULT)
        })
        .collect::<gix::Result<Vec<_>>>()?;
    let count = u32::try_from(entries.len()).map_err(gix::Error::from_error)?;
    let version = gix_pack::data::Version::V2;
    let mut writer =
        output::bytes::FromEntriesIter::new(std::iter::once(Ok(entries)), Vec::new(), count, version, hash);
    for written in writer.by_ref() {
        written?;
    }
    Ok(writer.into_write())
}
