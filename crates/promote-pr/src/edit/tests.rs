use super::*;

const MARKER: &str = "# {\"$promotion\": \"a:b:c\"}";

fn run(files: &[(&str, &str)], limits: &Limits) -> Edited {
    let marked: Vec<(&str, String)> = files.iter().map(|(path, text)| (*path, text.replace('M', MARKER))).collect();
    let files = marked.iter().map(|(path, text)| File { path, content: text.as_bytes() });
    edit(files, &[Update::new(Target::Marker("a:b:c".to_owned()), "v")], limits)
}

fn notes(edited: &Edited) -> Vec<String> {
    edited.notes.iter().map(|note| format!("{}: {}:{}:{}", note.code, note.path, note.line, note.column)).collect()
}

#[test]
fn many_files() {
    let files = [
        ("one.yaml", "k: x M\n"),
        ("two.yaml", "k: x\n"),
        ("three.yaml", "k: v M\n"),
        ("four.yaml", "k: [ M\n"),
        ("five.yaml", "k: x M\nl:\n- é: 'x' M\n- !!int 1 M\n\n  M\n"),
    ];
    let edited = run(&files, &Limits::default());
    assert_eq!(edited.matched, 5);
    assert_eq!(notes(&edited), ["parse: four.yaml:1:4", "tagged: five.yaml:4:11", "orphan-marker: five.yaml:6:3"]);
    assert_eq!(edited.refusal().map(|note| note.code), Some(Code::Tagged));
    assert_eq!(edited.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["one.yaml", "five.yaml"]);
    let change = |line, column| Change { line, column, old: "x".to_owned(), new: "v".to_owned() };
    assert_eq!(edited.files[1].changes, [change(1, 4), change(3, 6)]);
}

#[test]
fn diff() {
    let edited = run(&[("a.yaml", "j: 1\nk: x M\n"), ("b/c.yaml", "k: x M")], &Limits::default());
    insta::assert_snapshot!(edited.diff(), @r#"
    --- a/a.yaml
    +++ b/a.yaml
    @@ -1,2 +1,2 @@
     j: 1
    -k: x # {"$promotion": "a:b:c"}
    +k: v # {"$promotion": "a:b:c"}
    --- a/b/c.yaml
    +++ b/b/c.yaml
    @@ -1 +1 @@
    -k: x # {"$promotion": "a:b:c"}
    \ No newline at end of file
    +k: v # {"$promotion": "a:b:c"}
    \ No newline at end of file
    "#);
    assert_eq!(run(&[("a.yaml", "k: v M")], &Limits::default()).diff(), "");
}

#[test]
fn limits() {
    let check = |files: &[(&str, &str)], limits: Limits, changed: usize, expect: &[&str]| {
        let edited = run(files, &limits);
        assert_eq!((edited.files.len(), notes(&edited)), (changed, expect.iter().map(ToString::to_string).collect()));
    };
    let default = Limits::default();
    let one = [("a", "k: x M"), ("b", "k: x"), ("c", "k: x M"), ("d", "k: x M")];
    check(&one, default, 3, &[]);
    check(&one, Limits { files: 3, ..default }, 3, &[]);
    check(&one, Limits { files: 1, ..default }, 1, &["too-many-files: c:1:1"]);
    check(&one, Limits { edits: 2, ..default }, 2, &["too-many-edits: d:1:4"]);
    check(&[("a", "k: x M\nl: x M\n"), ("b", "k: x M")], Limits { edits: 1, ..default }, 1, &["too-many-edits: a:1:4"]);
    check(&[("a", "k: x M")], Limits { file_bytes: 10, ..default }, 0, &["too-large: a:1:1"]);
    check(&[("a", "k: [[x]] M")], Limits { depth: 1, ..default }, 0, &["too-deep: a:1:5"]);
}

#[test]
fn a_bad_path_is_said_once() {
    let target = Target::Path(Selector { path: "a..b".to_owned(), ..Selector::default() });
    let file = File { path: "a", content: b"a: 1" };
    let edited = edit([file, file], &[Update::new(target, "v")], &Limits::default());
    assert_eq!(
        edited.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["bad-path: the path cannot be read: `a..b`: a step is empty"]
    );
}

#[test]
fn manifests() {
    let check = |path: &str, expect: bool| assert_eq!(is_manifest(path), expect, "{path}");
    check("a/b.yaml", true);
    check("a.YML", true);
    check("a.json", true);
    check("yaml", false);
    check("a.yaml.tpl", false);
    check("README.md", false);
}

/// An update of the field `to` in the files that match `glob`.
fn named(glob: &str, to: &str, value: &str) -> Update {
    let target = Target::Path(Selector { path: to.to_owned(), ..Selector::default() });
    Update { files: Some(glob.parse().unwrap()), target, value: value.to_owned() }
}

#[test]
fn several_updates() {
    let check = |updates: &[Update], files: &[(&str, &str)], expect: &[(&str, &str)], notes_expected: &[&str]| {
        let marked: Vec<_> = files.iter().map(|(path, text)| (*path, text.replace('M', MARKER))).collect();
        let files = marked.iter().map(|(path, text)| File { path, content: text.as_bytes() });
        let edited = edit(files, updates, &Limits::default());
        let text = |file: &EditedFile| String::from_utf8(file.content.clone()).unwrap().replace(MARKER, "M");
        let got: Vec<_> = edited.files.iter().map(|file| (file.path.as_str(), text(file))).collect();
        let expect: Vec<_> = expect.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
        assert_eq!((got, notes(&edited)), (expect, notes_expected.iter().map(ToString::to_string).collect()));
    };
    let marker = |value: &str| Update::new(Target::Marker("a:b:c".to_owned()), value);
    let two = [("a.yaml", "k: x M\nl: y\n"), ("b.json", "{\"k\": 1}\n")];

    check(
        &[marker("v"), named("a.yaml", "l", "w"), named("*.json", "k", "2")],
        &two,
        &[("a.yaml", "k: v M\nl: w\n"), ("b.json", "{\"k\": \"2\"}\n")],
        &[],
    );
    // One value from two updates; then two, of which neither is taken.
    check(&[marker("v"), named("a.yaml", "k", "v")], &two, &[("a.yaml", "k: v M\nl: y\n")], &[]);
    check(&[marker("v"), named("a.yaml", "k", "w")], &two, &[], &["conflict: a.yaml:1:6"]);
    check(&[named("*", "l", "w"), named("a.*", "l", "v")], &two, &[], &["conflict: a.yaml:2:4"]);
    // A glob may take files without the field, but not only such.
    check(&[named("*", "l", "w")], &two, &[("a.yaml", "k: x M\nl: w\n")], &[]);
    check(&[named("*", "m", "w")], &two, &[], &["unmatched-update: :1:1"]);
    check(&[named("c/*", "l", "w")], &two, &[], &["unmatched-update: :1:1"]);
    check(&[named("a.yaml", "l", "y")], &two, &[], &[]);
    check(&[named("a.yaml", "l.m", "y"), named("*", "k[0", "y")], &two, &[], &["bad-path: :1:1"]);
    check(&[named("a.yaml", "l", "w")], &[("a.yaml", "l: [1]\n")], &[], &["not-scalar: a.yaml:1:4"]);
}

#[test]
fn an_update_that_matches_nothing_says_where_it_was_looked_for() {
    let check = |glob: &str, expect: &str| {
        let file = File { path: "a.yaml", content: b"a: 1\n" };
        let edited = edit([file, File { path: "b.yaml", ..file }], &[named(glob, "b", "v")], &Limits::default());
        let text = edited.refusal().unwrap().to_string();
        assert_eq!(text, format!("unmatched-update: the update leads to no scalar: {expect}"));
    };
    check("c.yaml", "no file matches `c.yaml`");
    check("a.yaml", "the file that matches `a.yaml` does not hold the field `b` in a document that is selected");
    check("*.yaml", "none of the 2 files that match `*.yaml` holds the field `b` in a document that is selected");
}
