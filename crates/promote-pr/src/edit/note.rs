//! What was left alone, and why.

use super::lines::Lines;
use std::fmt;

/// Something that [`edit`](super::edit) did not do, for people to read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// The kind of the note.
    pub code: Code,
    /// Path of the file, as it was given; empty where the note is about the target itself.
    pub path: String,
    /// Line, from 1. A note about a marker points to its comment.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// One sentence: what is wrong and what to do about it.
    pub text: String,
}

impl Note {
    /// A note with the code's sentence and what this case has of its own. `path` is empty where no file is meant.
    pub fn new(code: Code, path: impl Into<String>, line: usize, column: usize, detail: impl fmt::Display) -> Self {
        Self { code, path: path.into(), line, column, text: format!("{}: {detail}", code.text()) }
    }
}

impl fmt::Display for Note {
    /// `code: path:line:column: text`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code)?;
        match self.path.as_str() {
            "" => f.write_str(&self.text),
            path => write!(f, "{path}:{}:{}: {}", self.line, self.column, self.text),
        }
    }
}

/// What a note means for the edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Something that the target leads to keeps its old value. A promotion that went on would be half done.
    Refused,
    /// The file was not looked at: it may hold a target, or not.
    Skipped,
    /// A comment that looks like a marker, or a path, leads nowhere.
    Ignored,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident, $name:literal, $effect:ident, $text:literal;)+) => {
        /// The kind of a [`Note`]; written in kebab case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as it is written, such as `orphan-marker`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What a note with this code means for the edit.
            pub const fn effect(self) -> Effect {
                match self { $(Self::$variant => Effect::$effect),+ }
            }

            /// What it means, in one sentence without a full stop.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

codes! {
    /// An update names its files and leads to no scalar in any of them.
    UnmatchedUpdate, "unmatched-update", Refused, "the update leads to no scalar";
    /// An update of a Pipeline cannot be read; only who reads Pipelines tells it.
    BadUpdate, "bad-update", Refused, "the update cannot be read";
    /// Two updates give different values to one scalar.
    Conflict, "conflict", Refused, "two updates give different values to this scalar: remove one of them";
    /// The path leads to nothing in the selected documents of the file.
    NoMatch, "no-match", Ignored, "the path leads to nothing in the selected documents";
    /// The path leads to more than one scalar of the file.
    Ambiguous, "ambiguous", Refused, "the path leads to more than one scalar: select the document by kind, name or index";
    /// The path cannot be read.
    BadPath, "bad-path", Refused, "the path cannot be read";
    /// The path leads to a mapping or a sequence.
    NotScalar, "not-scalar", Refused, "the path leads to a mapping or a sequence: go on to one of its scalars";
    /// A key on the path occurs more than once in its mapping.
    DuplicateKey, "duplicate-key", Refused, "a key on the path occurs more than once in this mapping: remove all but one";
    /// The path leads to or through an alias.
    Alias, "alias", Refused, "the path leads to an alias: name the place of its anchor";
    /// The scalar has an explicit type that is not a string.
    Tagged, "tagged", Refused, "the scalar has an explicit tag of another type than string: remove the tag";
    /// There is no value, inside `{}` or `[]`.
    EmptyInFlow, "empty-in-flow", Refused, "there is no value to replace inside a flow collection: write an empty string, \"\"";
    /// The block scalar has more than one line, which the edit would delete.
    MultilineBlock, "multiline-block", Refused, "the block scalar has more than one line: replace it by a scalar of one line";
    /// A block scalar that is the whole document and is not indented; YAML readers disagree about where it ends.
    RootBlock, "root-block", Refused, "a block scalar that is a whole document must be indented";
    /// A character that YAML readers disagree about: U+0085, U+2028, U+2029, or U+FEFF that is not the first of the file.
    UnsupportedChar, "unsupported-char", Skipped,
        "YAML readers disagree about this line separator or byte order mark: remove it";
    /// A line of tabs follows a plain scalar that would have to be quoted; some readers reject that.
    TabLine, "tab-line", Refused, "some YAML readers reject the blank line with a tab behind the scalar: remove the tab";
    /// The file is not UTF-8.
    Encoding, "encoding", Skipped, "the file is not UTF-8: convert it";
    /// The file is not YAML.
    Parse, "parse", Skipped, "the file is not YAML";
    /// Parsing the result showed a change beyond the targets, so nothing was changed.
    Verify, "verify", Refused, "the change would alter more than the value, so the file was left alone";
    /// A comment with `"$promotion"` that is not exactly one JSON object with a string under that key.
    MalformedMarker, "malformed-marker", Ignored,
        "the comment must be exactly one JSON object such as {\"$promotion\": \"namespace:pipeline:environment\"}";
    /// A marker that belongs to no scalar.
    OrphanMarker, "orphan-marker", Ignored, "the marker belongs to no scalar";
    /// A scalar has more than one marker; [`lint`](super::lint()) alone tells it.
    DuplicateMarker, "duplicate-marker", Ignored, "the scalar has another marker: remove one of them";
    /// The text of a marker that is no comment, or that nothing is promoted to; [`lint`](super::lint()) alone tells it.
    UnreachableMarker, "unreachable-marker", Ignored, "the marker is never used";
    /// The file is larger than [`Limits::file_bytes`](super::Limits::file_bytes).
    TooLarge, "too-large", Skipped, "the file is larger than the limit";
    /// Collections are nested deeper than [`Limits::depth`](super::Limits::depth).
    TooDeep, "too-deep", Skipped, "collections are nested deeper than the limit";
    /// More files than [`Limits::files`](super::Limits::files) would have to be parsed.
    TooManyFiles, "too-many-files", Refused, "there are more files with markers than the limit: this one and all later ones were left alone";
    /// More scalars than [`Limits::edits`](super::Limits::edits) would change.
    TooManyEdits, "too-many-edits", Refused, "more scalars would change than the limit: the file was left alone";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A note before its byte offset is turned into line and column.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) at: usize,
    detail: Option<String>,
}

impl Problem {
    pub(super) fn new(code: Code, at: usize) -> Self {
        Self { code, at, detail: None }
    }

    /// Adds to the code's sentence what this case has of its own.
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(super) fn into_note(self, path: &str, lines: &Lines<'_>) -> Note {
        let (line, column) = lines.position(self.at);
        match self.detail {
            Some(detail) => Note::new(self.code, path, line, column, detail),
            None => Note { code: self.code, path: path.to_owned(), line, column, text: self.code.text().to_owned() },
        }
    }
}
