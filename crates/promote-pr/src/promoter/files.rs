//! The files of the repository that a promotion is about, and what changes in them.

use crate::edit;
use crate::error::Error;
use crate::git::{self, Snapshot};
use crate::request::FileChange;

/// The files that the updates may be for: manifests by what they hold, other files by their path.
pub(super) async fn read(updates: &[edit::Update], snapshot: &Snapshot) -> Result<git::Found, Error> {
    let needle = |update: &edit::Update| -> &'static [u8] {
        match update.target {
            edit::Target::Marker(_) => b"$promotion",
            edit::Target::Path(_) => b"",
        }
    };
    let mut found = match updates.iter().filter(|update| update.files.is_none()).map(needle).min() {
        Some(needle) => snapshot.files_containing(needle).await?,
        None => git::Found::default(),
    };
    let globs: Vec<edit::Glob> = updates.iter().filter_map(|update| update.files.clone()).collect();
    if !globs.is_empty() {
        let named = snapshot.files_at(move |path| globs.iter().any(|glob| glob.matches(path))).await?;
        found.files.extend(named.files);
        found.files.sort();
        found.files.dedup_by(|one, other| one.0 == other.0);
        found.skipped.extend(named.skipped);
        found.skipped.sort_by(|one, other| one.path.cmp(&other.path));
        found.skipped.dedup();
    }
    Ok(found)
}

/// A file that git's limits left out, as editing tells it.
pub(super) fn not_read(skipped: git::Skipped) -> edit::Note {
    let (code, text) = match skipped.reason {
        git::SkipReason::TooLong { limit } => {
            (edit::Code::TooLarge, format!("the file is not read: it has more than {limit} bytes"))
        }
        git::SkipReason::PathNotUtf8 => (edit::Code::Encoding, "the path is not UTF-8: rename the file".to_owned()),
    };
    edit::Note { code, path: skipped.path, line: 1, column: 1, text }
}

pub(super) fn changes(edited: &edit::Edited) -> Vec<FileChange> {
    let of_file = |file: &edit::EditedFile| {
        let path = file.path.clone();
        file.changes
            .iter()
            .map(move |change| FileChange {
                path: path.clone(),
                line: change.line,
                old: change.old.clone(),
                new: change.new.clone(),
            })
            .collect::<Vec<_>>()
    };
    edited.files.iter().flat_map(of_file).collect()
}
