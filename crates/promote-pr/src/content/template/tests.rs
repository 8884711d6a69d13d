use proptest::prelude::*;

use super::*;

fn refused(place: Place, text: &str) -> String {
    check(place, text).unwrap_err().to_string()
}

#[test]
fn messages_get_one_more_trailer() {
    let check = |message: &str, expect: &str| assert_eq!(with_trailer(message, "Promotion-Id: 1"), expect);
    check("title\n", "title\n\nPromotion-Id: 1\n");
    check("fix: prod", "fix: prod\n\nPromotion-Id: 1\n");
    check("s\n\nSigned-off-by: A <a@b>\nX: y", "s\n\nSigned-off-by: A <a@b>\nX: y\nPromotion-Id: 1\n");
    check("s\n\ntext: and\nmore", "s\n\ntext: and\nmore\n\nPromotion-Id: 1\n");
}

#[test]
fn what_no_template_is() {
    use Place::{Body, Link, Message, Title};
    let check = |place, text: &str, expect: &str| {
        let error = refused(place, text);
        assert!(error.contains(expect), "{text}: {error}");
    };
    check(Title, "", "1 to 1024 bytes");
    check(Title, &"x".repeat(1025), "1 to 1024 bytes");
    check(Title, "{{ revison }}", "`revison` does not exist; there are branch, build, commit, digest, environment");
    check(Title, "{{ changes }}", "`changes` does not exist");
    check(Title, "{{ revision", "syntax error");
    check(Title, "{% if environment == 'x' %}x{% endif %}", "it leaves the title empty");
    check(Message, "\nbody", "it leaves the first line empty");
    check(Message, "s\n\nPromotion-Id: 2", "the trailer `Promotion-Id` is added by itself");
    check(Body, "a\n Promotion-Id: 2", "the trailer");
    check(Body, "{{ links.source }}", "`links.source` is not always known: test it with {% if … %} before it is shown");
    check(Body, "{{ previous_revision }}", "`previous_revision` is not always known");
    check(Body, "{% if links.sauce %}{{ links.sauce }}{% endif %}", "`links.sauce` is not");
    check(Body, "{{ changes[0].odl }}", "undefined value");
    check(Body, "{{ links }}", "a value of type map cannot be shown");
    check(Body, "{{ revision | shout }}", "unknown filter");
    check(Body, "{{ revision | safe }}", "unknown filter");
    check(Body, "{{ range(10) }}", "`range` does not exist");
    for statement in ["set a = 1", "include 'x'", "import 'x'", "macro x()", "with", "raw", "filter upper", "do x()"] {
        check(Body, &format!("{{%- {statement} %}}"), "is not allowed, only if and for");
    }
    check(Link, "http://example.com/{{ revision }}", "does not make an https URL");
    check(Link, "{{ revision }}", "does not make an https URL");
    check(Link, "https://user@example.com/", "does not make an https URL");
}

#[test]
fn no_template_takes_more_than_its_fuel() {
    let nested = (0..8).fold("{{ revision }}".to_owned(), |inner, depth| {
        format!("{{% for a{depth} in 'aaaaaaaaaaaaaaaaaaaaaaaa' %}}{inner}{{% endfor %}}")
    });
    for text in [
        nested.as_str(),
        "{{ 'x' * 1000000000 }}",
        "{{ ('x' * 100000 * 100000) | length }}",
        "{% for a in [1] * 1000000000 %}{{ a }}{% endfor %}",
        "{% for a in changes recursive %}{{ loop(changes) }}{% endfor %}",
        "{{ revision ** 1000000000 }}",
    ] {
        assert!(check(Place::Body, text).is_err(), "{text}");
    }
}

#[test]
fn good_templates() {
    for text in [
        "plain",
        "{% if links.source %}[the source]({{ links.source }}){% endif %}",
        "{{ previous_revision | default('none') }}",
        "{% for change in changes %}{{ loop.index }} {{ change.path }} {{ change.line }}{% endfor %} {{ change_count }}",
        "https://example.com/{{ branch | urlencode }}",
        "{{ changes }} {{ title }} {{ repository }} {{ base }} {{ promotion_id }} {{ changes | length }}",
    ] {
        assert_eq!(check(Place::Body, text), Ok(()), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in "(\\{\\{|\\}\\}|\\{%|%\\}|for|if|end|revision|changes|[ -~\n]){0,12}") {
        for place in [Place::Title, Place::Body, Place::Message, Place::Link] {
            drop(check(place, &text));
        }
    }
}

/// The variables of docs/pull-requests.md are those that there are, and its usual texts those that are used.
#[test]
fn the_documentation_is_right() {
    let docs = include_str!("../../../../../docs/pull-requests.md");
    let rows = |place: &str| {
        let table = docs.split("The variables:").nth(1).unwrap().split("\n\n").nth(1).unwrap();
        let rows = table.lines().skip(2).filter(|row| row.ends_with("| all |") || place == "text");
        let mut names: Vec<String> = rows
            .flat_map(|row| row.split('|').nth(1).unwrap().split(", "))
            .map(|name| name.trim().trim_matches('`').to_owned())
            .collect();
        names.sort();
        names
    };
    for place in [Place::Title, Place::Link] {
        assert_eq!(rows("all"), Facts::sample(place, true).names());
    }
    for place in [Place::Body, Place::Message] {
        assert_eq!(rows("text"), Facts::sample(place, true).names());
    }
    assert!(docs.contains(&format!("```jinja\n{}```", super::super::BODY)));
    assert!(docs.contains(&format!("`{}`", super::super::TITLE)));
}
