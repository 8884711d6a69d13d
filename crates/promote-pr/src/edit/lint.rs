//! What is wrong with the markers of a checkout, whatever they name.

use super::index::Source;
use super::lines::Lines;
use super::note::{Code, Note, Problem};
use super::{File, Limits, attach, render, screen};
use memchr::memmem::Finder;
use std::collections::BTreeSet;

/// The outcome of [`lint`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linted {
    /// The markers that belong to a scalar, file by file.
    pub markers: Vec<Marker>,
    /// What is wrong, file by file.
    pub notes: Vec<Note>,
}

/// A marker that belongs to a scalar.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Marker {
    /// What it names: `namespace:pipeline:environment`.
    pub name: String,
    /// Path of the file, as it was given.
    pub path: String,
    /// Line of the comment, from 1.
    pub line: usize,
    /// Column of the comment in characters, from 1.
    pub column: usize,
}

/// Stands for the revision that a promotion would write.
const PROBE: &str = "0.0.0-lint";

const NOT_A_NAME: &str = "the name must be namespace:pipeline:environment";
const IN_TEXT: &str = "it stands inside a string, where it is text and no comment; write it behind the value";

/// Looks at all markers of `files`: those that are malformed, that belong to no scalar, that share one, that are no
/// comments, and those whose scalar could not be changed.
pub fn lint<'a>(files: impl IntoIterator<Item = File<'a>>, limits: &Limits) -> Linted {
    let mut linter = Linter::new(limits);
    for file in files {
        linter.lint_file(file);
    }
    linter.finish()
}

/// [`lint`] for callers that hold one file at a time.
#[derive(Debug)]
pub struct Linter<'l> {
    limits: &'l Limits,
    needle: Finder<'static>,
    parsed: usize,
    linted: Linted,
}

impl<'l> Linter<'l> {
    /// A linter that has seen no file.
    pub fn new(limits: &'l Limits) -> Self {
        Self { limits, needle: Finder::new(attach::KEY), parsed: 0, linted: Linted::default() }
    }

    /// Looks at the next file.
    pub fn lint_file(&mut self, file: File<'_>) {
        let screened = screen::screen(file.content, Some(&self.needle), self.limits.file_bytes);
        let Some(screened) = screened.transpose() else { return };
        self.parsed += 1;
        if self.parsed > self.limits.files {
            if self.parsed == self.limits.files + 1 {
                self.linted.notes.push(Problem::new(Code::TooManyFiles, 0).into_note(file.path, &Lines::default()));
            }
            return;
        }
        match screened.and_then(|text| Source::parse(text, self.limits.depth)) {
            Ok(source) => lint_file(file, &source, &self.needle, &mut self.linted),
            Err(problem) => self.linted.notes.push(problem.into_note(file.path, &Lines::of(file.content))),
        }
    }

    /// The outcome of it all.
    pub fn finish(self) -> Linted {
        self.linted
    }
}

fn lint_file(file: File<'_>, source: &Source<'_>, needle: &Finder<'_>, linted: &mut Linted) {
    let json = super::has_extension(file.path, "json");
    let mut problems = text_only(source, needle);
    let mut marked = BTreeSet::new();
    for marker in attach::markers(source) {
        let at = marker.at;
        let Some(name) = marker.name else {
            problems.push(Problem::new(Code::MalformedMarker, at));
            continue;
        };
        if !is_name(&name) {
            problems.push(Problem::new(Code::MalformedMarker, at).detail(NOT_A_NAME));
            continue;
        }
        let target = match marker.place {
            Ok(target) => target,
            Err(reason) => {
                problems.push(Problem::new(Code::OrphanMarker, at).detail(reason));
                continue;
            }
        };
        if !marked.insert(target.node) {
            problems.push(Problem::new(Code::DuplicateMarker, at));
        }
        problems.extend(render::render(source, &target, PROBE, render::Form { json, quote: false }).err());
        let (line, column) = source.lines.position(at);
        linted.markers.push(Marker { name, path: file.path.to_owned(), line, column });
    }
    problems.sort_by_key(|problem| (problem.at, problem.code));
    linted.notes.extend(problems.into_iter().map(|problem| problem.into_note(file.path, &source.lines)));
}

/// The markers within scalars.
fn text_only(source: &Source<'_>, needle: &Finder<'_>) -> Vec<Problem> {
    let is_comment = |at: usize| {
        let next = source.comments.partition_point(|comment| comment.range.start <= at);
        let comment = next.checked_sub(1).and_then(|last| source.comments.get(last));
        comment.is_some_and(|comment| comment.range.contains(&at))
    };
    needle
        .find_iter(source.text.as_bytes())
        .filter(|&at| !is_comment(at))
        .map(|at| Problem::new(Code::UnreachableMarker, at).detail(IN_TEXT))
        .collect()
}

/// Three parts, none of them empty.
fn is_name(name: &str) -> bool {
    name.split(':').count() == 3 && name.split(':').all(|part| !part.trim().is_empty() && part.trim() == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `M(x)` in the text is a marker that names x.
    fn check(text: &str, markers: &[&str], notes: &[&str]) {
        let text = text.replace("M(", "# {\"$promotion\": \"").replace(')', "\"}");
        let file = File { path: "a.yaml", content: text.as_bytes() };
        let linted = lint([file], &Limits::default());
        let got: Vec<_> = linted.markers.iter().map(|marker| marker.name.as_str()).collect();
        assert_eq!(got, markers, "{text:?}");
        let got: Vec<_> =
            linted.notes.iter().map(|note| format!("{}@{}:{}", note.code, note.line, note.column)).collect();
        assert_eq!(got, notes, "{text:?}");
    }

    #[test]
    fn lints() {
        check("a: 1\n", &[], &[]);
        check("a: 1 M(n:p:e)\nb: 1 M(n:p:f)\nc: 2 M(n:p:e)\n", &["n:p:e", "n:p:f", "n:p:e"], &[]);
        check("a: 1 M(n:p:e) tail\n", &[], &["malformed-marker@1:6"]);
        check(
            "a: 1 M(n:p)\nb: 1 M(n::e)\nc: 1 M(n: p:e)\n",
            &[],
            &["malformed-marker@1:6", "malformed-marker@2:6", "malformed-marker@3:6"],
        );
        check("a: {b: c} M(n:p:e)\n", &[], &["orphan-marker@1:11"]);
        check("M(n:p:e)\na: 1 M(n:p:e)\n", &["n:p:e", "n:p:e"], &["duplicate-marker@2:6"]);
        check("M(n:p:e)\na: 1 M(n:p:f)\n", &["n:p:f"], &["orphan-marker@1:1"]);
        check("- M(n:p:e)\n  x M(n:p:f)\n", &["n:p:e", "n:p:f"], &["duplicate-marker@2:5"]);
        check(
            "a: |\n  b: 1 M(n:p:e)\nc: '\"$promotion\"'\n",
            &[],
            &["unreachable-marker@2:11", "unreachable-marker@3:5"],
        );
        check("a: !!int 1 M(n:p:e)\n", &["n:p:e"], &["tagged@1:12"]);
        check("a: | M(n:p:e)\n  b\n  c\n", &["n:p:e"], &["multiline-block@1:6"]);
        check("a: [ M(n:p:e)\n", &[], &["parse@1:4"]);
    }

    #[test]
    fn limits() {
        let file = File { path: "a.yaml", content: b"a: 1 # {\"$promotion\": \"n:p:e\"}\n" };
        let linted = lint([file, file, file], &Limits { files: 1, ..Limits::default() });
        assert_eq!(linted.markers.len(), 1);
        assert_eq!(linted.notes.iter().map(|note| note.code).collect::<Vec<_>>(), [Code::TooManyFiles]);
    }
}
