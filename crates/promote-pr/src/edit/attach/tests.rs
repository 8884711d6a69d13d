use super::*;

/// `M` in the text is the marker, `N` one of another name, `BAD` a malformed one. Expected are the targets' texts in
/// source order, then the problems with their lines.
fn check(text: &str, expect: &[&str]) {
    let marked = text
        .replace("BAD", "# {\"$promotion\": \"a:b:c\"} tail")
        .replace('M', "# {\"$promotion\": \"a:b:c\"}")
        .replace('N', "# {\"$promotion\": \"a:b:n\"}");
    let source = Source::parse(&marked, 20).unwrap();
    let found = attach(&markers(&source), "a:b:c");
    let mut got: Vec<String> =
        found.targets.iter().map(|target| source.decoded(&source.nodes[target.node]).to_owned()).collect();
    got.extend(
        found.problems.iter().map(|problem| format!("{}@{}", problem.code, source.lines.position(problem.at).0)),
    );
    assert_eq!(got, expect, "{text:?}");
}

#[test]
fn behind_a_value() {
    check("k: v M", &["v"]);
    check("k: 'v' M\nl: w M\n", &["v", "w"]);
    check("- v M\n- - w M\n", &["v", "w"]);
    check("v M\n", &["v"]);
    check("--- v M\n", &["v"]);
    check("\u{feff}v M\n", &["v"]);
    check("k: &a !t v M\n", &["v"]);
    check("k: \"v\n  w\" M\n", &["v w"]);
    check("? k M\n: v\n", &["orphan-marker@1"]);
    check("? k\n: v M\n", &["v"]);
    check("k: &a v\nl: *a M\n", &["orphan-marker@2"]);
}

#[test]
fn behind_a_key_or_dash() {
    check("k: M\n  v\n", &["v"]);
    check("k: M\n  # note\n\n  &a v\n", &["v"]);
    check("k: M\nl: w\n", &[""]);
    check("k: &a M\nl: w\n", &[""]);
    check("k: &a M\n  v\n", &["v"]);
    check("k:\n  &a M\n  v\n", &["v"]);
    check("k: &v v\n*v : M\n  w\n", &["w"]);
    check("k: M\n  l: v\n", &["orphan-marker@1"]);
    check("k: M\n  - v\n", &["orphan-marker@1"]);
    check("k: M\n- v\n", &["orphan-marker@1"]);
    check("k: M\n  [v]\n", &["orphan-marker@1"]);
    check("k: &a v\nl: M\n  *a\n", &["orphan-marker@2"]);
    check("- M\n  v\n", &["v"]);
    check("- M\n- v\n", &[""]);
    check("- M\n  |\n  v\n", &["v\n"]);
    check("- M\n  |\n- v\n", &["orphan-marker@1"]);
    check("- &a M\n- v\n", &[""]);
    check("-\n  &a M\n- v\n", &[""]);
    check("x:\n-\n- M\n-\n- M\ny: v\n", &["", ""]);
    check("- - M\n  - M\n- M", &["", "", ""]);
    check("- M\n  - v\n", &["orphan-marker@1"]);
    check("- M\n  k: v\n", &["orphan-marker@1"]);
    check("- M\n  k:\n", &["orphan-marker@1"]);
    check("x:\n- M\ny: v\n", &[""]);
    check("&a M\nk: v\n", &["orphan-marker@1"]);
    check("? M\n  k\n: v\n", &["orphan-marker@1"]);
    check("? k\n: M\n  v\n", &["v"]);
    check("k: &a\n?\n: M\n  v\n", &["orphan-marker@3"]);
    check("? [k]\n: M\n  v\n", &["orphan-marker@2"]);
    check("--- M\nv\n", &["orphan-marker@1"]);
    check("--- &a M\nv\n", &["orphan-marker@1"]);
    check("%YAML 1.2 M\n---\nv\n", &["orphan-marker@1"]);
    check("v\n... M\n", &["orphan-marker@2"]);
}

#[test]
fn in_flow_collections() {
    check("k: [v, w] M\n", &["orphan-marker@1"]);
    check("k: {l: v} M\n", &["orphan-marker@1"]);
    check("k: { M\n  l: v}\n", &["orphan-marker@1"]);
    check("k: {l: v, m: w M\n}\n", &["w"]);
    check("k: {l: v, m: w, M\n n: x}\n", &["w"]);
    check("k: {l: M\n  v}\n", &["v"]);
    check("k: {l M\n}\n", &["orphan-marker@1"]);
    check("k: {l: , M\n}\n", &["orphan-marker@1"]);
    check("k: {l: M\n}\n", &[""]);
    check("[v, &a M\n w]\n", &["w"]);
    check("[[v], M\n w]\n", &["orphan-marker@1"]);
    check("[v\n, M\n w]\n", &["orphan-marker@2"]);
    check("[a: v, M\n w]\n", &["v"]);
    check("{\n  M\n  k: v\n}\n", &["v"]);
    check("[\n  M\n  v\n]\n", &["orphan-marker@2"]);
    check("k: {{ .V }} M\n", &["orphan-marker@1"]);
}

#[test]
fn block_headers() {
    check("k: | M\n  v\n", &["v\n"]);
    check("- >-2 M\n    v\n", &["  v"]);
    check("k: | M\nl: | M\n  v\n", &["", "v\n"]);
    check("k:\n  | M\n  v\n", &["v\n"]);
    check("k: &a !t | M\n  v\n", &["v\n"]);
    check("--- | M\n  v\n", &["v\n"]);
    check("? | M\n  k\n: v\n", &["orphan-marker@1"]);
    check("k: |\n  v M\n", &[]);
    check("k: |\n  v\n M\nl: w\n", &["orphan-marker@3"]);
}

#[test]
fn on_its_own_line() {
    check("M\nk: v\n", &["v"]);
    check("\u{feff}M\nk: v\n", &["v"]);
    check("M\n'k': 'v'\n", &["v"]);
    check("M\nk: |\n  v\n", &["v\n"]);
    check("M\nk:\n", &[""]);
    check("M\n- v\n", &["v"]);
    check("M\n- |\n  v\n", &["v\n"]);
    check("M\n- - v\n", &["orphan-marker@1"]);
    check("M\n- k: v\n", &["orphan-marker@1"]);
    check("M\nk:\n  l: v\n", &["orphan-marker@1"]);
    check("M\n\nk: v\n", &["orphan-marker@1"]);
    check("# note\nM\nk: v\n", &["orphan-marker@2"]);
    check("M\n# note\nk: v\n", &["orphan-marker@1"]);
    check("  M\nk: v\n", &["orphan-marker@1"]);
    check("k:\nM\n  l: v\n", &["orphan-marker@2"]);
    check("k: v\nM", &["orphan-marker@2"]);
    check("k: &a v\nM\nl: *a\n", &["orphan-marker@2"]);
}

#[test]
fn several_markers() {
    check("M\nk: v M\n", &["v"]);
    check("M\nk: v N\n", &["orphan-marker@1"]);
    check("N\nk: v M\n", &["v"]);
    check("M\nk: v BAD\n", &["v", "malformed-marker@2"]);
    check("k: M\n  v M\n", &["v"]);
    check("k: [v] N\n", &[]);
}

#[test]
fn marker_names() {
    let check = |comment: &str, expect: Option<&str>| assert_eq!(name(comment).as_deref(), expect, "{comment:?}");
    check(" {\"$promotion\": \"a:b:c\"}", Some("a:b:c"));
    check("# {\"$promotion\":\"a\"}  ", Some("a"));
    check("{\"$promotion\": \"a\", \"x\": [1], \"$promotion\": \"b\"}", Some("b"));
    check(" {\"$promotion\": 1}", None);
    check(" {\"x\": {\"$promotion\": \"a\"}}", None);
    check(" {\"$promotion\": \"a\"} {\"$promotion\": \"b\"}", None);
    check(" TODO {\"$promotion\": \"a\"}", None);
    check(" [\"$promotion\"]", None);
}
