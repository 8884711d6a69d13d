//! What holds for every input of the edit engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../fuzz/src/checks.rs"]
mod checks;

use checks::{MARKER, at, hold, is_accepted, marker, run};
use promote_pr::edit;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

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
        hold(&content, &[at("a", &value)]);
        hold(&content, &[at(&step, &value)]);
        hold(&marked, &[marker(&value)]);
        hold(&marked, &[marker(&value), at(&step, &value)]);
    }

    #[test]
    fn yaml_like_markers(content in yaml_like(), value in value()) {
        hold(content.as_bytes(), &[marker(&value)]);
        prop_assert!(is_accepted(content.as_bytes(), &[marker(&value)]));
    }

    #[test]
    fn yaml_like_paths(content in yaml_like(), value in value(), to in prop::sample::select(vec!["a", "b", "a.b", "[0]", "a[0]", "c", "[1].a"])) {
        hold(content.as_bytes(), &[at(to, &value)]);
        prop_assert!(is_accepted(content.as_bytes(), &[at(to, &value)]));
        hold(content.as_bytes(), &[at(to, &value), marker("6.3.0")]);
    }

    #[test]
    fn only_the_targets_bytes_change(entries in prop::collection::vec(entry(), 1..12)) {
        let (before, after): (String, String) = entries.into_iter().unzip();
        let edited = run(before.as_bytes(), &[marker("6.3.0")]);
        prop_assert!(edited.refusal().is_none(), "{:?}", edited.notes);
        let content = edited.files.first().map_or(before.as_bytes(), |file| &file.content);
        prop_assert_eq!(String::from_utf8_lossy(content), after);
        hold(before.as_bytes(), &[marker("6.3.0")]);
    }
}

/// What fuzzing has found worth keeping, for one of its targets.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let inputs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(inputs.len() > 20, "{target}: the corpus is gone");
    inputs
}

#[test]
fn the_corpus_of_fuzzing() {
    corpus("markers").iter().for_each(|input| checks::markers(input));
    corpus("paths").iter().for_each(|input| checks::paths(input));
    corpus("edit").iter().for_each(|input| checks::whole(input));
}
