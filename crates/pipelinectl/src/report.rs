//! What an edit did, for people and programs.

use std::fmt::Write as _;

use promote_pr::edit::{Change, Code, Edited, EditedFile, Note, Target, Update};
use serde::Serialize;
use similar::TextDiff;

use crate::output::{Format, data, print_difference, say};

/// Lines around a change.
const CONTEXT: usize = 3;

#[derive(Serialize)]
struct Data<'a> {
    matched: usize,
    files: Vec<FileData<'a>>,
    notes: &'a [Note],
}

#[derive(Serialize)]
struct FileData<'a> {
    path: &'a str,
    changes: &'a [Change],
}

/// Prints the changes and notes as data.
pub(crate) fn print_data(edited: &Edited, format: Format) -> anyhow::Result<()> {
    let files = edited.files.iter().map(|file| FileData { path: &file.path, changes: &file.changes });
    let report = Data { matched: edited.matched, files: files.collect(), notes: &edited.notes };
    data(&report, format)
}

/// Prints the changes as one unified difference.
pub(crate) fn print_changes(edited: &Edited) -> anyhow::Result<()> {
    print_difference(&edited.files.iter().map(difference).collect::<String>())
}

/// Says each note on a line of its own, which begins with its code.
pub(crate) fn say_notes(notes: &[Note]) {
    notes.iter().for_each(say);
}

/// Says that nothing matched. An update that names its files has a note of its own.
pub(crate) fn say_no_match(updates: &[Update], place: &str) {
    for update in updates.iter().filter(|update| update.files.is_none()) {
        match &update.target {
            Target::Marker(marker) => {
                let hint = if marker.split(':').count() == 3 {
                    ""
                } else {
                    "; markers have the form NAMESPACE:PIPELINE:ENVIRONMENT"
                };
                say(format_args!("{}: nothing in {place} carries the marker {marker:?}{hint}", Code::NoMatch));
            }
            Target::Path(selector) => {
                say(format_args!("{}: {:?} leads to nothing in {place}", Code::NoMatch, selector.path))
            }
        }
    }
}

/// One line for each change: `path:line:column: "old" -> "new"`.
pub(crate) fn changes(edited: &Edited) -> String {
    let mut text = String::new();
    for file in &edited.files {
        for Change { line, column, old, new } in &file.changes {
            // Writing to a String does not fail.
            writeln!(text, "{}:{line}:{column}: {old:?} -> {new:?}", file.path).ok();
        }
    }
    text
}

fn difference(file: &EditedFile) -> String {
    let old = String::from_utf8_lossy(&file.original);
    let new = String::from_utf8_lossy(&file.content);
    let path = file.path.trim_start_matches('/');
    let (from, to) = (quoted(&format!("a/{path}")), quoted(&format!("b/{path}")));
    TextDiff::from_lines(&*old, &*new).unified_diff().context_radius(CONTEXT).header(&from, &to).to_string()
}

/// A path that would break its line, in quotes, as git writes it.
fn quoted(path: &str) -> String {
    if path.contains(|c: char| c.is_control() || c == '"' || c == '\\') { format!("{path:?}") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use promote_pr::edit::{File, Limits, edit};

    use super::*;

    fn edited(path: &str, content: &str) -> Edited {
        let file = File { path, content: content.as_bytes() };
        edit([file], &[Update::new(Target::Marker("default:podinfo:prod".into()), "6.3.0")], &Limits::default())
    }

    #[test]
    fn differences() {
        let check = |path: &str, content: &str, expect: &str| {
            let edited = edited(path, content);
            assert_eq!(difference(&edited.files[0]), expect);
        };
        let marker = r#"# {"$promotion": "default:podinfo:prod"}"#;
        check(
            "/apps/a b.yaml",
            &format!("kind: A\nversion: 6.2.0 {marker}\n"),
            &format!(
                "--- a/apps/a b.yaml\n+++ b/apps/a b.yaml\n@@ -1,2 +1,2 @@\n kind: A\n-version: 6.2.0 {marker}\n+version: 6.3.0 {marker}\n"
            ),
        );
        check(
            "a\nb",
            &format!("version: 6.2.0 {marker}"),
            &format!(
                "--- \"a/a\\nb\"\n+++ \"b/a\\nb\"\n@@ -1 +1 @@\n-version: 6.2.0 {marker}\n\\ No newline at end of file\n+version: 6.3.0 {marker}\n\\ No newline at end of file\n"
            ),
        );
    }

    #[test]
    fn changes_on_a_line_each() {
        let edited = edited("app.yaml", "a: '6.2.0' # {\"$promotion\": \"default:podinfo:prod\"}\n");
        assert_eq!(changes(&edited), "app.yaml:1:4: \"6.2.0\" -> \"6.3.0\"\n");
    }
}
