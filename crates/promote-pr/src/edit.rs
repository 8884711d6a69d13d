//! Writes one value into manifests and changes nothing else.
//!
//! [`edit`] takes files as bytes and gives back the changed ones: only the bytes of the targeted scalars differ, so
//! comments, quotes, line breaks, anchors and layout stay as they were. Nothing is read or written elsewhere, no clock
//! is asked, and no input makes it fail: what it does not do, it says in a [`Note`].
//!
//! A target is a marker comment, as in [RFC 0005], or a path in selected documents:
//!
//! ```
//! use promote_pr::edit::{File, Limits, Target, Update, edit};
//!
//! let file = File {
//!     path: "prod/podinfo.yaml",
//!     content: b"version: '6.2.0' # {\"$promotion\": \"default:podinfo:prod\"}\nreplicas: 2\n",
//! };
//! let update = Update::new(Target::Marker("default:podinfo:prod".into()), "6.3.0");
//! let edited = edit([file], &[update], &Limits::default());
//!
//! assert_eq!(edited.matched, 1);
//! assert!(edited.files[0].content.starts_with(b"version: '6.3.0' # {"));
//! ```
//!
//! The value is always written as a string, in the style of the scalar it replaces; a plain scalar is double-quoted
//! when some YAML 1.1 or 1.2 reader could take the new text for a number, a boolean, a date or null.
//!
//! The work goes through one small module after the other: `screen` passes over files without markers, `index` parses
//! the rest once, `attach` finds the scalar of each marker (`select` that of a path), `render` and `splice` write the
//! new bytes, and `verify` parses the result again and accepts it only if nothing but the targets changed. `editor`
//! takes the files through them. [`lint`] looks at all markers instead of one.
//!
//! [RFC 0005]: https://github.com/weaveworks/weave-gitops-private/tree/main/docs/rfcs/0005-promotion-markers

mod glob;
mod update;

mod screen;

mod index;
mod lex;
mod lines;

mod attach;
mod select;

mod plain;
mod render;

mod splice;

mod verify;

mod editor;
mod lint;

mod note;

pub use editor::Editor;
pub use glob::Glob;
pub use lint::{Linted, Linter, Marker, lint};
pub use note::{Code, Effect, Note};
pub use update::{Selector, Target, Update};

/// A file to edit.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Names the file in notes. If it ends in `.json`, the file keeps to JSON's quoting.
    pub path: &'a str,
    /// Its bytes; YAML or JSON in UTF-8.
    pub content: &'a [u8],
}

/// Bounds on the work of one call. What goes beyond a bound is left alone, and a [`Note`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest file that is parsed, in bytes.
    pub file_bytes: usize,
    /// Deepest nesting of block collections, and of flow collections within each other.
    pub depth: usize,
    /// Files that are parsed; those without a marker do not count.
    pub files: usize,
    /// Scalars that are changed.
    pub edits: usize,
}

impl Default for Limits {
    /// 8 MiB a file, 128 levels, 10,000 files, 100,000 edits.
    fn default() -> Self {
        Self { file_bytes: 8 << 20, depth: 128, files: 10_000, edits: 100_000 }
    }
}

/// The outcome of [`edit`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// The files that change, in the order in which they were given.
    pub files: Vec<EditedFile>,
    /// How many scalars the updates led to, whether they change, hold the value already, or are refused by a note.
    pub matched: usize,
    /// What was left alone and why, file by file.
    pub notes: Vec<Note>,
}

impl Edited {
    /// The first note for which a promotion must stop: going on would leave a matched scalar at its old value.
    pub fn refusal(&self) -> Option<&Note> {
        self.notes.iter().find(|note| note.code.effect() == Effect::Refused)
    }

    /// All changes as one unified diff, in the form that `git apply` takes; empty if nothing changes.
    pub fn diff(&self) -> String {
        self.files.iter().map(EditedFile::diff).collect()
    }
}

/// A file that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditedFile {
    /// The path as it was given.
    pub path: String,
    /// The bytes as they were given.
    pub original: Vec<u8>,
    /// The bytes to write.
    pub content: Vec<u8>,
    /// What differs, from top to bottom.
    pub changes: Vec<Change>,
}

impl EditedFile {
    /// The change as a unified diff.
    pub fn diff(&self) -> String {
        let [old, new] = [&self.original, &self.content].map(|content| String::from_utf8_lossy(content));
        similar::TextDiff::from_lines(&*old, &*new)
            .unified_diff()
            .header(&format!("a/{}", self.path), &format!("b/{}", self.path))
            .to_string()
    }
}

/// Whether a path looks like a manifest: YAML or JSON by its extension. [`edit`] itself takes every file it is given.
pub fn is_manifest(path: &str) -> bool {
    ["yaml", "yml", "json"].iter().any(|extension| has_extension(path, extension))
}

/// One scalar that changes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// Line of the scalar in the original, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The text that a reader of the original sees; empty where there was no value.
    pub old: String,
    /// The value.
    pub new: String,
}

/// Writes the value of each update to every scalar of `files` that it leads to.
///
/// *Idempotency*: editing the result again with the same updates changes nothing.
pub fn edit<'a>(files: impl IntoIterator<Item = File<'a>>, updates: &[Update], limits: &Limits) -> Edited {
    let mut editor = match Editor::new(updates, limits) {
        Ok(editor) => editor,
        Err(notes) => return Edited { notes, ..Edited::default() },
    };
    for file in files {
        editor.edit_file(file);
    }
    editor.finish()
}

fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests;
