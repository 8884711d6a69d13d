use super::*;

#[test]
fn paths() {
    let name = |name: &str| Step::Name(name.to_owned());
    let key = |key: &str| Step::Key(key.to_owned());
    let item = |key: &str, value: &str| Step::Item { key: key.to_owned(), value: value.to_owned() };
    let check = |path: &str, steps: Vec<Step>| assert_eq!(parse(path), Ok(Path(steps)), "{path:?}");

    check("a", vec![name("a")]);
    check("a.b", vec![name("a"), name("b")]);
    check(".a", vec![name("a")]);
    check("a\\.b.c", vec![name("a.b"), name("c")]);
    check("\"a.b\".c", vec![key("a.b"), name("c")]);
    check("a[\"k.with/dots]\"]", vec![name("a"), key("k.with/dots]")]);
    check("a[k.with/dots].b", vec![name("a"), name("k.with/dots"), name("b")]);
    check("a[0]", vec![name("a"), name("0")]);
    check("a.0", vec![name("a"), name("0")]);
    check("[0][1]", vec![name("0"), name("1")]);
    check("a[name=x=y].b", vec![name("a"), item("name", "x=y"), name("b")]);
    check("a.[name=x].b", vec![name("a"), item("name", "x"), name("b")]);
    check("/a~1b/c~0d/0", vec![name("a/b"), name("c~d"), name("0")]);
    check("/a//b", vec![name("a"), name(""), name("b")]);

    for path in [
        "",
        ".",
        "a.",
        "a..b",
        "a[",
        "a[]",
        "a[0",
        "a]",
        "a.*",
        "a[*].b",
        "a[=x]",
        "\"a",
        "\"a\"b",
        "a[\"b]",
        "a[\"b\"c]",
        "a\\",
        "a[0]b",
        "/a~2",
    ] {
        assert!(parse(path).is_err(), "{path:?}");
    }
}

fn target(text: &str, selector: &Selector) -> Result<String, Code> {
    let source = Source::parse(text, 20).unwrap();
    let found = select(&source, &parse(&selector.path).unwrap(), selector);
    match (found.targets.as_slice(), found.problems.as_slice()) {
        ([target], []) => Ok(source.decoded(&source.nodes[target.node]).to_owned()),
        ([], [problem]) => Err(problem.code),
        _ => panic!("{found:?}"),
    }
}

#[test]
fn walks() {
    let check = |text: &str, path: &str, expect: Result<&str, Code>| {
        let selector = Selector { path: path.to_owned(), ..Selector::default() };
        assert_eq!(target(text, &selector), expect.map(str::to_owned), "{path} in {text:?}");
    };
    check("a: {b: [x, y]}", "a.b[1]", Ok("y"));
    check("a: {b: [x, y]}", "a.b[2]", Err(Code::NoMatch));
    check("a: {b: [x, y]}", "a.b", Err(Code::NotScalar));
    check("a: {b: [x, y]}", "a.b.c", Err(Code::NoMatch));
    check("a: x", "a.b", Err(Code::NoMatch));
    check("- x\n- y\n", "[1]", Ok("y"));
    check("0: x\n", "[0]", Ok("x"));
    check("- x\n", "\"0\"", Err(Code::NoMatch));
    check("'a': x\n", "a", Ok("x"));
    check("? a\n: x\n", "a", Ok("x"));
    check("? [a]\n: x\na: y\n", "a", Ok("y"));
    check("a: x\na: y\n", "a", Err(Code::DuplicateKey));
    check("a: x\na: y\nb: z\n", "b", Ok("z"));
    check("a: &a {b: x}\nc: *a\n", "a.b", Ok("x"));
    check("a: &a {b: x}\nc: *a\n", "c.b", Err(Code::Alias));
    check("a: &a x\nc: *a\n", "c", Err(Code::Alias));
    check("a: &a {b: x}\nc: {<<: *a}\n", "c.b", Err(Code::NoMatch));
    check("a: [{n: x, v: 1}, z, {n: y, v: 2}]", "a[n=y].v", Ok("2"));
    check("a: [{n: x, v: 1}, {n: x, v: 2}]", "a[n=x].v", Err(Code::Ambiguous));
    check("a: [{n: x, v: 1}]", "a[n=z].v", Err(Code::NoMatch));
    check("a: x\n---\na: y\n", "a", Err(Code::Ambiguous));
    check("a: x\n---\nb: y\n", "b", Ok("y"));
    check("a: x\n---\na: [y]\n", "a", Err(Code::Ambiguous));
    check("", "a", Err(Code::NoMatch));
}

#[test]
fn documents() {
    let text = "kind: A\nmetadata: {name: x, namespace: s}\nv: 1\n---\n\
                kind: A\nmetadata: {name: y, namespace: s}\nv: 2\n---\n\
                apiVersion: g/v1\nkind: B\nmetadata: {name: x}\nv: 3\n---\n[]\n";
    let check = |selector: Selector, expect: Result<&str, Code>| {
        let selector = Selector { path: "v".to_owned(), ..selector };
        assert_eq!(target(text, &selector), expect.map(str::to_owned), "{selector:?}");
    };
    let some = |text: &str| Some(text.to_owned());
    let any = Selector::default;
    check(any(), Err(Code::Ambiguous));
    check(Selector { kind: some("B"), ..any() }, Ok("3"));
    check(Selector { kind: some("A"), ..any() }, Err(Code::Ambiguous));
    check(Selector { kind: some("A"), name: some("y"), ..any() }, Ok("2"));
    check(Selector { name: some("x"), namespace: some("s"), ..any() }, Ok("1"));
    check(Selector { api_version: some("g/v1"), ..any() }, Ok("3"));
    check(Selector { document: Some(1), ..any() }, Ok("2"));
    check(Selector { document: Some(3), ..any() }, Err(Code::NoMatch));
    check(Selector { document: Some(9), ..any() }, Err(Code::NoMatch));
}
