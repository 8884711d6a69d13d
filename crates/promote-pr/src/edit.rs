//! Writes one value into manifests and changes nothing else.
//!
//! [`edit`] takes files as bytes and gives back the changed ones: only the bytes of the targeted scalars differ, so
//! comments, quotes, line breaks, anchors and layout stay as they were. Nothing is read or written elsewhere, no clock
//! is asked, and no input makes it fail: what it does not do, it says in a [`Note`].
//!
//! A target is a marker comment, as in [RFC 0005], or a path in selected documents:
//!
//! ```
//! use promote_pr::edit::{File, Limits, Target, edit};
//!
//! let file = File {
//!     path: "prod/podinfo.yaml",
//!     content: b"version: '6.2.0' # {\"$promotion\": \"default:podinfo:prod\"}\nreplicas: 2\n",
//! };
//! let target = Target::Marker("default:podinfo:prod".into());
//! let edited = edit([file], &target, "6.3.0", &Limits::default());
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
//! new bytes, and `verify` parses the result again and accepts it only if nothing but the targets changed.
//!
//! [RFC 0005]: https://github.com/weaveworks/weave-gitops-private/tree/main/docs/rfcs/0005-promotion-markers

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

mod note;

pub use note::{Code, Effect, Note};

use lines::Lines;
use memchr::memmem::Finder;
use note::Problem;

/// What to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every scalar that carries the comment `# {"$promotion": "<this string>"}`, whose form is
    /// `namespace:pipeline:environment`.
    Marker(String),
    /// The one scalar of each file that a path in the selected documents leads to.
    Path(Selector),
}

/// A field path, and the documents of a file in which it is looked for. An empty filter takes every document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `spec.chart.spec.version`, `spec.containers[name=app].image`, `metadata["example.com/version"]`, `images[0].tag`,
    /// or a JSON pointer such as `/spec/chart/spec/version`. A dot that belongs to a key is written `\.`, or the key is
    /// quoted. Merge keys (`<<`) and aliases are not followed.
    pub path: String,
    /// The document's `kind`.
    pub kind: Option<String>,
    /// The document's `metadata.name`.
    pub name: Option<String>,
    /// The document's `metadata.namespace`.
    pub namespace: Option<String>,
    /// The document's `apiVersion`.
    pub api_version: Option<String>,
    /// The document's place in the file, from 0.
    pub document: Option<usize>,
}

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
    /// How many scalars the target led to, whether they change, hold the value already, or are refused by a note.
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

/// Writes `value` to every scalar of `files` that `target` leads to.
///
/// *Idempotency*: editing the result again with the same target and value changes nothing.
pub fn edit<'a>(files: impl IntoIterator<Item = File<'a>>, target: &Target, value: &str, limits: &Limits) -> Edited {
    let mut edited = Edited::default();
    let find = match target {
        Target::Marker(name) => Find::Marker(name),
        Target::Path(selector) => match select::parse(&selector.path) {
            Ok(path) => Find::Path(path, selector),
            Err(text) => {
                edited.notes.push(Note { code: Code::BadPath, path: String::new(), line: 1, column: 1, text });
                return edited;
            }
        },
    };
    let mut editor = Editor { find, needle: Finder::new(attach::KEY), value, limits, parsed: 0, written: 0 };
    for file in files {
        editor.edit_file(file, &mut edited);
    }
    edited
}

enum Find<'t> {
    Marker(&'t str),
    Path(select::Path, &'t Selector),
}

/// What [`edit`] carries from file to file.
struct Editor<'t> {
    find: Find<'t>,
    needle: Finder<'static>,
    value: &'t str,
    limits: &'t Limits,
    parsed: usize,
    written: usize,
}

impl Editor<'_> {
    fn edit_file(&mut self, file: File<'_>, edited: &mut Edited) {
        let needle = matches!(self.find, Find::Marker(_)).then_some(&self.needle);
        let screened = screen::screen(file.content, needle, self.limits.file_bytes);
        let Some(screened) = screened.transpose() else {
            return;
        };
        self.parsed += 1;
        if self.parsed > self.limits.files {
            if self.parsed == self.limits.files + 1 {
                edited.notes.push(Problem::new(Code::TooManyFiles, 0).into_note(file.path, &Lines::default()));
            }
            return;
        }
        let source = match screened.and_then(|text| index::Source::parse(text, self.limits.depth)) {
            Ok(source) => source,
            Err(problem) => {
                return edited.notes.push(problem.into_note(file.path, &Lines::of(file.content)));
            }
        };
        let found = match &self.find {
            Find::Marker(name) => attach::attach(&source, name),
            Find::Path(path, selector) => select::select(&source, path, selector),
        };
        edited.matched += found.targets.len();
        let mut problems = found.problems;
        match self.change(file, &source, &found.targets, &mut problems) {
            Ok(changed) => edited.files.extend(changed),
            Err(problem) => problems.push(problem),
        }
        problems.sort_by_key(|problem| problem.at);
        edited.notes.extend(problems.into_iter().map(|problem| problem.into_note(file.path, &source.lines)));
    }

    /// The new bytes of a file, `None` if it holds the value already. Scalars that cannot be changed go to `problems`;
    /// the error is one that leaves the whole file alone.
    fn change(
        &mut self,
        file: File<'_>,
        source: &index::Source<'_>,
        targets: &[index::Target],
        problems: &mut Vec<Problem>,
    ) -> Result<Option<EditedFile>, Problem> {
        let json = has_extension(file.path, "json");
        let (mut splices, refused) = self.render(source, targets, render::Form { json, quote: false });
        problems.extend(refused);
        let Some(first) = splices.first() else { return Ok(None) };
        let at = first.range.start;
        if self.written + splices.len() > self.limits.edits {
            return Err(Problem::new(Code::TooManyEdits, at));
        }
        let mut content = splice::splice(source.text, &splices);
        if !verify::verify(source, &splices, &content, self.value, self.limits.depth) {
            let (quoted, _) = self.render(source, targets, render::Form { json, quote: true });
            content = splice::splice(source.text, &quoted);
            let complete = quoted.len() == splices.len();
            if !complete || !verify::verify(source, &quoted, &content, self.value, self.limits.depth) {
                return Err(Problem::new(Code::Verify, at));
            }
            splices = quoted;
        }
        self.written += splices.len();
        let changes = splices.iter().map(|splice| splice.change(source, self.value)).collect();
        Ok(Some(EditedFile {
            path: file.path.to_owned(),
            original: file.content.to_owned(),
            content: content.into_bytes(),
            changes,
        }))
    }

    fn render(
        &self,
        source: &index::Source<'_>,
        targets: &[index::Target],
        form: render::Form,
    ) -> (Vec<splice::Splice>, Vec<Problem>) {
        let mut splices = Vec::new();
        let mut refused = Vec::new();
        for target in targets {
            match render::render(source, target, self.value, form) {
                Ok(splice) => splices.extend(splice),
                Err(problem) => refused.push(problem),
            }
        }
        (splices, refused)
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests;
