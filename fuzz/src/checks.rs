//! What holds for every input of the edit engine. A panic is a finding.
//!
//! Fuzzing calls this, and so do the tests of promote-pr.

use super::edit::{Edited, File, Glob, Limits, Selector, Target, Update, edit, lint};
use saphyr_parser::{Event, Parser};

/// The marker of [`Target::Marker`] in checks.
pub const MARKER: &str = "# {\"$promotion\": \"n:p:e\"}";

/// The fuzz target `markers`: the input is a file.
pub fn markers(input: &[u8]) {
    for value in ["6.3.0", "1e3", "a, [b]: 'c' #\n\u{85}"] {
        hold(input, &[marker(value)]);
    }
}

/// The fuzz target `paths`: a line with a path, and a file.
pub fn paths(input: &[u8]) {
    let (path, content) = line(input);
    hold(content, &[at(&path, "6.3.0")]);
}

/// The fuzz target `edit`: a line each with a value, a path and a glob, and a file.
pub fn whole(input: &[u8]) {
    let (value, rest) = line(input);
    let (path, rest) = line(rest);
    let (glob, content) = line(rest);
    let mut second = at(&path, &value);
    second.files = glob.parse::<Glob>().ok();
    hold(content, &[marker(&value), second]);
}

/// An update of the fields with [`MARKER`].
pub fn marker(value: &str) -> Update {
    Update::new(Target::Marker("n:p:e".to_owned()), value)
}

/// An update of the field at a path.
pub fn at(path: &str, value: &str) -> Update {
    Update::new(Target::Path(Selector { path: path.to_owned(), ..Selector::default() }), value)
}

/// The first line, and what follows it.
fn line(input: &[u8]) -> (String, &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let first = parts.next().unwrap_or_default();
    (String::from_utf8_lossy(first).into_owned(), parts.next().unwrap_or_default())
}

/// Edits one file.
pub fn run(content: &[u8], updates: &[Update]) -> Edited {
    edit([File { path: "file.yaml", content }], updates, &Limits::default())
}

/// Checks one edit against everything that must hold, whatever the input.
pub fn hold(content: &[u8], updates: &[Update]) {
    lint([File { path: "file.yaml", content }], &Limits::default());
    let edited = run(content, updates);
    assert!(edited.files.len() <= 1);
    let Some(file) = edited.files.first() else {
        return;
    };
    assert_eq!(file.original, content);
    assert!(!file.changes.is_empty() && file.changes.len() <= edited.matched);

    let again = run(&file.content, updates);
    assert!(again.files.is_empty(), "the second run changes {:?}", again.files);
    // A selector may look at a field that an update has changed.
    let selects = updates.iter().any(|update| matches!(update.target, Target::Path(_)) && updates.len() > 1);
    assert!(selects || again.matched == edited.matched, "{} matches, then {}", edited.matched, again.matched);

    // Quoting a value changes what a marker within it looks like.
    if !file.changes.iter().any(|change| change.old.contains("$promotion") || change.new.contains("$promotion")) {
        let comments = |content: &[u8]| String::from_utf8_lossy(content).matches(MARKER).count();
        assert_eq!(comments(content), comments(&file.content));
    }

    if let (Some(before), Some(after)) = (tree(content), tree(&file.content)) {
        let values: Vec<_> = file.changes.iter().map(|change| change.new.as_str()).collect();
        compare(&before, &after, &values);
    }
}

/// Whether an independent parser accepts what was written wherever it accepts the original, but for what it is not
/// consistent about: a tab behind an indicator, and a bracket that closes at the first column.
pub fn is_accepted(content: &[u8], updates: &[Update]) -> bool {
    let edited = run(content, updates);
    let inconsistent = |content: &[u8]| {
        let text = String::from_utf8_lossy(content);
        [":\t", "-\t", "?\t"].iter().any(|tab| text.contains(tab))
            || text.split(['\r', '\n']).any(|line| line.starts_with([']', '}']))
    };
    edited.files.iter().all(|file| {
        inconsistent(content) || inconsistent(&file.content) || tree(content).is_none() || tree(&file.content).is_some()
    })
}

fn compare(before: &[Item], after: &[Item], values: &[&str]) {
    assert_eq!(before.len(), after.len());
    let changed: Vec<_> = before.iter().zip(after).filter(|(before, after)| before != after).collect();
    assert!(changed.len() <= values.len(), "{changed:?}");
    for (before, after) in changed {
        let new = match (before, after) {
            (Item::Scalar(_), Item::Scalar(new)) => new.trim_end_matches('\n'),
            _ => "",
        };
        assert!(matches!(before, Item::Scalar(_)), "{before:?} became {after:?}");
        assert!(values.iter().any(|value| value.trim_end_matches('\n') == new), "{after:?} was not asked for");
    }
}

/// A piece of a document as an independent parser sees it.
#[derive(Debug, PartialEq, Eq)]
enum Item {
    Scalar(String),
    Other(String),
}

/// The document as an independent parser sees it; `None` if it rejects it.
fn tree(content: &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    for next in Parser::new_from_str(std::str::from_utf8(content).ok()?) {
        match next.ok()?.0 {
            Event::Scalar(text, _, anchor, tag) => {
                items.push(Item::Scalar(text.into_owned()));
                items.push(Item::Other(format!("{anchor} {tag:?}")));
            }
            event => items.push(Item::Other(format!("{event:?}"))),
        }
    }
    Some(items)
}
