use super::*;

#[test]
fn plain_text_means_nothing_else() {
    let check = |text: &str, expect: &str| assert_eq!(quote(text).replace(BREAK, "·"), expect, "{text:?}");
    check("6.3.0", "6.3.0");
    check("6.3.0-rc.1+abc", "6.3.0-rc.1+abc");
    check("main@sha1:abc", "main@sha1:abc");
    check("latest@sha256:ab", "latest@sha256:ab");
    check("ghcr.io/org/app:v1", "ghcr.io/org/app:v1");
    check("@admin", "@·admin");
    check("a @org/team", "a @·org/team");
    check("joe@example.com", "joe@·example.com");
    check("fixes #12 and org/repo#3", "fixes #·12 and org/repo#·3");
    check("closes GH-7", "closes GH-·7");
    check("fixes https://github.com/o/r/issues/1", "fixes https:·//github.com/o/r/issues/1");
    check("www.example.com", "www·.example.com");
    check("!7 $1 %2 &3 ~bug", "!·7 $·1 %·2 &·3 ~·bug");
    check("[a](b) ![c](d)", "[a]·(b) !·[c]·(d)");
    check("<b>", "<·b>");
    check("a\n\nPromotion-Id: b", "a Promotion-Id: b");
    check("Signed-off-by: a", "Signed-off-by:· a");
    check("\u{1b}[31m", "\\u{1b}[31m");
    check(" ", "(empty)");
}

#[test]
fn code_spans_hold_anything() {
    let check = |text: &str, expect: &str| assert_eq!(code(text).replace(BREAK, "·"), expect, "{text:?}");
    check("6.3.0", "`6.3.0`");
    check("", "_empty_");
    check(" ", "_empty_");
    check("a`b|c", "`aˋb∣c`");
    check("@admin #1 <b>", "`@·admin #·1 <·b>`");
    check("a\nb\r\n\n# c", "`a b   # c`");
    check("a\u{202e}b\u{7}\u{200b}", "`a\\u{202e}b\\u{7}\\u{200b}`");
    assert_eq!(code(&"x".repeat(1000)).chars().count(), 202);
}

#[test]
fn parts_of_urls() {
    let check = |text: &str, expect: &str| assert_eq!(url_part(text), expect, "{text:?}");
    check("v6.3.0", "v6.3.0");
    check("feature/a b", "feature%2Fa%20b");
    check("../x?y#z@w:", "..%2Fx%3Fy%23z%40w%3A");
    check("www.example.com", "www%2Eexample.com");
    check("é", "%C3%A9");
    assert_eq!(target("https://x/(a)?b=<c>&d \u{202e}"), "https://x/%28a%29?b=%3Cc%3E&d%20%E2%80%AE");
}
