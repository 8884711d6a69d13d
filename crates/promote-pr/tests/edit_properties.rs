//! What holds for every input of the edit engine.

use promote_pr::edit::{Edited, File, Limits, Selector, Target, edit};
use proptest::prelude::*;
use saphyr_parser::{Event, Parser};

const MARKER: &str = "# {\"$promotion\": \"n:p:e\"}";

fn marker() -> Target {
    Target::Marker("n:p:e".to_owned())
}

fn path(path: &str) -> Target {
    Target::Path(Selector { path: path.to_owned(), ..Selector::default() })
}

fn run(content: &[u8], target: &Target, value: &str) -> Edited {
    edit([File { path: "file.yaml", content }], target, value, &Limits::default())
}

/// The document as an independent parser sees it: scalars are `Ok`, everything else is `Err`; `None` if it rejects it.
fn tree(content: &[u8]) -> Option<Vec<Result<String, String>>> {
    Parser::new_from_str(std::str::from_utf8(content).ok()?)
        .map(|next| match next {
            Ok((Event::Scalar(text, _, anchor, tag), _)) => {
                Ok(vec![Ok(text.into_owned()), Err(format!("{anchor} {tag:?}"))])
            }
            Ok((event, _)) => Ok(vec![Err(format!("{event:?}"))]),
            Err(error) => Err(error),
        })
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .map(|events| events.concat())
}

/// Whether a tab stands behind an indicator: the other parser takes it or not by what follows.
fn has_indicator_tab(content: &[u8]) -> bool {
    content.windows(2).any(|pair| matches!(pair, b":\t" | b"-\t" | b"?\t"))
}

/// Checks one edit against everything that must hold, whatever the input.
fn hold(content: &[u8], target: &Target, value: &str) -> Result<(), TestCaseError> {
    let edited = run(content, target, value);
    prop_assert!(edited.files.len() <= 1);
    let Some(file) = edited.files.first() else {
        return Ok(());
    };

    prop_assert_eq!(&file.original, content);
    prop_assert!(!file.changes.is_empty() && file.changes.len() <= edited.matched);

    let again = run(&file.content, target, value);
    prop_assert!(again.files.is_empty(), "the second run changes {:?}", again.files);
    prop_assert_eq!(again.matched, edited.matched);

    let comments = |content: &[u8]| String::from_utf8_lossy(content).matches(MARKER).count();
    let lost: usize = file.changes.iter().map(|change| comments(change.old.as_bytes())).sum();
    prop_assert_eq!(comments(content), comments(&file.content) + lost);

    if !has_indicator_tab(content)
        && !has_indicator_tab(&file.content)
        && let Some(before) = tree(content)
    {
        let after = tree(&file.content);
        prop_assert!(after.is_some(), "another parser rejects {:?}", String::from_utf8_lossy(&file.content));
        let after = after.unwrap_or_default();
        prop_assert_eq!(before.len(), after.len());
        let changed: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        prop_assert!(changed.len() <= file.changes.len(), "{changed:?}");
        for (before, after) in changed {
            prop_assert!(before.is_ok());
            prop_assert_eq!(
                after.as_deref().unwrap_or("no scalar").trim_end_matches('\n'),
                value.trim_end_matches('\n')
            );
        }
    }
    Ok(())
}

/// Text made of pieces that matter to YAML; short, so that much of it is valid.
fn yaml_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just(format!(" {MARKER}\n")),
        4 => Just("\n".to_owned()),
        2 => Just("  ".to_owned()),
        20 => prop::sample::select(vec![
            "a: ", "b: ", "c:", "- ", "-", "? ", ": ", "'x'", "\"y\"", "z", "6.2.0", "| ", "|-", ">+", "|2", "&a ", "*a", "!t ", "!!int ",
            "{", "}", "[", "]", ",", ", ", "---\n", "...\n", "# c\n", " # c\n", "\r\n", "\r", "\t", "é", "\n  v\n", "\n    v\n", "~",
            "%YAML 1.2\n", "\n\n", "a: z", "- z", "\n  w",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("6.3.0".to_owned()),
        1 => prop::sample::select(vec!["", "true", "1e3", "it's", "a: b", "a #b", " x", "a,b", "a\nb", "a\n\nb\n", "\t", "- a", "\u{2028}", "~"])
            .prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

/// One entry of a manifest, before and after the value 6.3.0 is written.
fn entry() -> impl Strategy<Value = (String, String)> {
    let marked = |before: &str, old: &str, new: &str, after: &str| {
        let form = |text: &str| format!("{before}{text}{}", after.replace('M', MARKER));
        (form(old), form(new))
    };
    prop::sample::select(vec![
        marked("- ", "6.2.0", "6.3.0", " M\n"),
        marked("- key:   ", "1.0", "6.3.0", "\t M  \n"),
        marked("- 'key' : ", "'6.2.0'", "'6.3.0'", " M\r\n"),
        marked("- \"", "", "", "日本\" # not M\n"),
        marked("- key: ", "\"日本 \\\" #\"", "\"6.3.0\"", " M\n  other: \"  kept \"\n"),
        marked("- key: &a ", "~", "6.3.0", " M\n  other: *a\n"),
        marked("- key: !local ", "x", "6.3.0", " M\n"),
        marked("- key:", "", " 6.3.0", " M\n  other:\n"),
        marked("-", "", " 6.3.0", "   M\n"),
        marked("- key: |+ M\n    ".replace('M', MARKER).as_str(), "6.2.0", "6.3.0", "\n\n\n"),
        marked("- >- M\r\n  ".replace('M', MARKER).as_str(), "6.2.0", "6.3.0", "\r\n"),
        marked("- M\n  key: ".replace('M', MARKER).as_str(), "6.2.0", "6.2.0", "\n"),
        marked("- {a: 1,  b: [ ", "6.2.0", "6.3.0", ", M\n  'c' ]}\n"),
        marked("-\n  M\n  key: ".replace('M', MARKER).as_str(), "6.2.0", "6.3.0", " # kept\n"),
        marked("- key: 1.10 # {\"$promotion\": \"n:p:other\"}\n", "", "", ""),
        marked("# text\n\n- |\n   M\n   key: 1 M\n\n", "", "", ""),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(content in prop::collection::vec(any::<u8>(), 0..60), value in any::<String>(), step in any::<String>()) {
        let marked = [&content, MARKER.as_bytes(), &content].concat();
        hold(&content, &path("a"), &value)?;
        hold(&content, &path(&step), &value)?;
        hold(&marked, &marker(), &value)?;
    }

    #[test]
    fn yaml_like_markers(content in yaml_like(), value in value()) {
        hold(content.as_bytes(), &marker(), &value)?;
    }

    #[test]
    fn yaml_like_paths(content in yaml_like(), value in value(), to in prop::sample::select(vec!["a", "b", "a.b", "[0]", "a[0]", "c", "[1].a"])) {
        hold(content.as_bytes(), &path(to), &value)?;
    }

    #[test]
    fn only_the_targets_bytes_change(entries in prop::collection::vec(entry(), 1..12)) {
        let (before, after): (String, String) = entries.into_iter().unzip();
        let edited = run(before.as_bytes(), &marker(), "6.3.0");
        prop_assert!(edited.refusal().is_none(), "{:?}", edited.notes);
        let content = edited.files.first().map_or(before.as_bytes(), |file| &file.content);
        prop_assert_eq!(String::from_utf8_lossy(content), after);
        hold(before.as_bytes(), &marker(), "6.3.0")?;
    }
}
