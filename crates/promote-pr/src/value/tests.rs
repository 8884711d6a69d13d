use proptest::prelude::*;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn parts() {
    // The columns of the table in the documentation of `Parts`.
    let check = |revision: &str, expect: [&str; 6]| {
        let parts = Parts::of(revision);
        let got: Vec<_> = Part::ALL.iter().map(|&part| parts.get(part).unwrap_or("-")).collect();
        assert_eq!(got, expect, "{revision}");
    };
    check("6.3.0", ["6.3.0", "-", "-", "-", "6.3.0", "-"]);
    check("v6.3.0-rc.1", ["v6.3.0-rc.1", "-", "-", "-", "6.3.0-rc.1", "-"]);
    check("6.3.0+abcdef012345", ["6.3.0", "-", "-", "-", "6.3.0", "abcdef012345"]);
    check("main@sha1:1a2b", ["main", "main", "1a2b", "-", "-", "-"]);
    check("feature/x@sha1:1a2b", ["feature/x", "feature/x", "1a2b", "-", "-", "-"]);
    check("a@b@sha1:1a2b", ["a@b", "a@b", "1a2b", "-", "-", "-"]);
    check("v1.2.3@sha1:1a2b", ["v1.2.3", "v1.2.3", "1a2b", "-", "1.2.3", "-"]);
    check("v1.2.3+b@sha1:1a2b", ["v1.2.3+b", "v1.2.3+b", "1a2b", "-", "1.2.3", "b"]);
    check("refs/tags/v6.3.0@sha1:1a2b", ["v6.3.0", "-", "1a2b", "-", "6.3.0", "-"]);
    check("refs/heads/main@sha1:1a2b", ["-", "main", "1a2b", "-", "-", "-"]);
    check("refs/pull/1/head@sha1:1a2b", ["-", "-", "1a2b", "-", "-", "-"]);
    check("latest@sha256:1a2b", ["latest", "-", "-", "sha256:1a2b", "-", "-"]);
    check("6.3.0@sha256:1a2b", ["6.3.0", "-", "-", "sha256:1a2b", "6.3.0", "-"]);
    check("sha256:1a2b", ["-", "-", "-", "sha256:1a2b", "-", "-"]);
    check("sha1:1a2b", ["-", "-", "1a2b", "-", "-", "-"]);
    check(ID, ["-", "-", ID, "-", "-", "-"]);
    check(&format!("main/{ID}"), ["main", "main", ID, "-", "-", "-"]);
    check("main@sha1:xyz", ["main@sha1:xyz", "-", "-", "-", "-", "-"]);
    check("1.10", ["1.10", "-", "-", "-", "-", "-"]);
}

#[test]
fn renders() {
    let check = |template: &str, revision: &str, expect: &str| {
        assert_eq!(template.parse::<Template>().unwrap().render(revision).as_deref(), Ok(expect), "{template}");
    };
    check("{{ revision }}", "6.3.0", "6.3.0");
    check("v{{ revision }}", "6.3.0", "v6.3.0");
    check("v{{ revision | semver }}", "6.3.0+abc", "v6.3.0");
    check("{{ semver }}-{{ build }}", "6.3.0+abc", "6.3.0-abc");
    check("{{ branch }}-{{ commit[:7] }}", "main@sha1:0123456789", "main-0123456");
    check(
        "registry.example.com/app:{{ tag }}@{{ digest }}",
        "latest@sha256:ab",
        "registry.example.com/app:latest@sha256:ab",
    );
    check("{{ digest | default(tag) }}", "6.3.0", "6.3.0");
    check("{{ commit | default(digest) | default(revision) }}", "6.3.0", "6.3.0");
    check("{{ tag | replace('.', '-') | upper }}", "v6.3.0", "V6-3-0");
}

#[test]
fn refuses() {
    let check = |template: &str, revision: &str, expect: &str| {
        let error = template.parse::<Template>().and_then(|template| template.render(revision)).unwrap_err();
        assert!(error.to_string().contains(expect), "{template}: {error}");
    };
    check("", "1", "1 to 1024 bytes");
    check("{{ revision", "1", "syntax error");
    check("{{ revison }}", "1", "\"revison\", which does not exist; there are revision, tag, branch");
    check("{{ digest }}", "6.3.0", "needs the digest of the revision, and \"6.3.0\" has none");
    check("{{ revision | digest }}", "6.3.0", "\"6.3.0\" has no digest");
    check("{{ revision | shout }}", "6.3.0", "unknown filter");
    check("{{ revision | safe }}", "6.3.0", "unknown filter");
    check("{{ range(10) }}", "6.3.0", "\"range\"");
    check("{% for c in revision %}{{ c }}{% endfor %}", "1", "statements");
    check("{{ 'x' * 10000000 }}", "1", "products");
    check("{{ revision[9:] }}", "6.3.0", "the result is empty");
    check(&"{{ revision }}".repeat(30), &"x".repeat(253), "the result has 7590 bytes of at most 1024");
    check("{{ revision | replace('x', revision) | replace('x', revision) }}", &"x".repeat(99), "too long");
    check("{{ revision | replace('', 'x') }}", "1", "a text to look for");
    check("{{ revision.x }}", "1", "undefined value");
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(template in ".{0,40}", revision in ".{0,40}") {
        if let Ok(template) = template.parse::<Template>() {
            drop(template.render(&revision));
        }
        drop(format!("{{{{ {template} }}}}").parse::<Template>().map(|template| template.render(&revision)));
    }

    #[test]
    fn parts_are_parts(revision in "[a-z0-9.+@:/]{0,30}") {
        let parts = Parts::of(&revision);
        for &part in Part::ALL {
            let text = parts.get(part);
            prop_assert!(text.is_none_or(|text| revision.contains(text)), "{part} {text:?}");
        }
    }
}
