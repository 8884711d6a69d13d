use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::edit::{Target, Update};
use crate::host::PullRequestState;
use crate::request::{Attributes, Key, Links, MergePolicy, Templates};

const LIMITS: Capabilities = Capabilities {
    title: 255,
    body: 65_536,
    draft: false,
    labels: false,
    reviewers: false,
    team_reviewers: false,
    assignees: false,
    milestone: false,
    auto_merge: false,
    immediate_merge: false,
};

fn request(revision: &str) -> Request {
    Request {
        key: Key {
            namespace: "default".to_owned(),
            pipeline: "podinfo".to_owned(),
            environment: "prod".to_owned(),
            revision: revision.to_owned(),
            sequence: 1,
        },
        repository: "https://git.example.com/fleet/config.git".parse().unwrap(),
        base: "main".parse().unwrap(),
        provider: None,
        api_url: None,
        updates: vec![Update::new(Target::Marker("default:podinfo:prod".to_owned()), revision)],
        source_environment: Some("dev".to_owned()),
        previous_revision: None,
        links: Links::default(),
        templates: Templates::default(),
        attributes: Attributes::default(),
        merge: MergePolicy::None,
    }
}

fn change(path: &str, line: usize, old: &str, new: &str) -> FileChange {
    FileChange { path: path.to_owned(), line, old: old.to_owned(), new: new.to_owned() }
}

fn pull(number: u64) -> PullRequest {
    PullRequest {
        number,
        url: format!("https://git.example.com/fleet/config/pulls/{number}"),
        state: PullRequestState::Open,
        head: "promotion/default/podinfo/prod/6.3.0-00000000".to_owned(),
        base: "main".to_owned(),
        title: String::new(),
        body: String::new(),
        head_commit: None,
        merged_commit: None,
        attributes: Attributes::default(),
    }
}

#[test]
fn the_usual_promotion() {
    let request = request("6.3.0");
    let changes =
        [change("apps/prod/podinfo.yaml", 12, "6.2.0", "6.3.0"), change("apps/prod/redis.yaml", 4, "", "6.3.0")];
    assert_snapshot!(title(&request, LIMITS.title).unwrap(), @"Promote default/podinfo to 6.3.0 in prod");
    assert_snapshot!(commit_message(&request, &changes, None, false).unwrap(), @"
    Promote default/podinfo to 6.3.0 in prod

    - apps/prod/podinfo.yaml:12: 6.2.0 -> 6.3.0
    - apps/prod/redis.yaml:4: (empty) -> 6.3.0

    Promotion-Id: 1a9e7245-9825-547f-9844-96773476cc81
    ");
    assert_snapshot!(body(&request, &changes, LIMITS, false).unwrap(), @"
    Promotes `default/podinfo` from `dev` to `prod` at revision `6.3.0`.

    | File | Line | Old | New |
    | --- | ---: | --- | --- |
    | `apps/prod/podinfo.yaml` | 12 | `6.2.0` | `6.3.0` |
    | `apps/prod/redis.yaml` | 4 | _empty_ | `6.3.0` |

    Promotion-Id: 1a9e7245-9825-547f-9844-96773476cc81
    ");
    assert_snapshot!(superseded_by(&request, &pull(7)), @"Superseded by #7 (https://git.example.com/fleet/config/pulls/7), which promotes revision `6.3.0`.");
    assert_snapshot!(superseded_on_base(&request), @"Superseded: branch `main` holds revision `6.3.0` already.");
    assert_snapshot!(withdrawn("the pipeline was deleted"), @"Closed: `the pipeline was deleted`");
}

#[test]
fn links_and_the_revision_before() {
    let mut request = request("6.3.0");
    request.source_environment = None;
    request.previous_revision = Some("6.2.0".to_owned());
    request.links = Links {
        source: Some("https://github.com/org/app/releases/6.3.0".parse().unwrap()),
        pipeline: Some("https://ui.example.com/pipelines/(podinfo)?a=<b>".parse().unwrap()),
        previous: Some("https://git.example.com/fleet/config/pulls/6".parse().unwrap()),
    };
    assert_snapshot!(body(&request, &[], LIMITS, false).unwrap(), @"
    Promotes `default/podinfo` to `prod`: `6.2.0` → `6.3.0`.

    - [Source of this revision](https://github.com/org/app/releases/6.3.0)
    - [Pipeline](https://ui.example.com/pipelines/%28podinfo%29?a=%3Cb%3E)
    - [Previous promotion](https://git.example.com/fleet/config/pulls/6)

    Promotion-Id: 1a9e7245-9825-547f-9844-96773476cc81
    ");
}

#[test]
fn templates_of_ones_own() {
    let mut request = request("v6.3.0@sha256:abcd");
    request.templates = Templates {
        title: Some("[{{ environment }}] {{ tag }}".parse().unwrap()),
        body: Some(
            "## {{ title }}\n{% for change in changes %}\n- [ ] {{ change.new }}, {{ change.line }}\n{% endfor %}"
                .parse()
                .unwrap(),
        ),
        message: Some("chore: {{ title }}\n\n{{ changes }}\n\nSigned-off-by: Bot <bot@example.com>".parse().unwrap()),
    };
    let changes = [change("a.yaml", 12, "6.2.0", "@joe"), change("b.yaml", 4, "", "6.3.0")];
    assert_snapshot!(title(&request, 255).unwrap(), @"[prod] v6.3.0");
    assert_snapshot!(body(&request, &changes, LIMITS, false).unwrap().replace('\u{200b}', "·"), @"
    ## [prod] v6.3.0
    - [ ] `@·joe`, 12
    - [ ] `6.3.0`, 4

    Promotion-Id: c335cd50-9077-5b26-8d8b-2fc78fc0ac79
    ");
    assert_snapshot!(commit_message(&request, &changes, None, false).unwrap().replace('\u{200b}', "·"), @"
    chore: [prod] v6.3.0

    - a.yaml:12: 6.2.0 -> @·joe
    - b.yaml:4: (empty) -> 6.3.0

    Signed-off-by: Bot <bot@example.com>
    Promotion-Id: c335cd50-9077-5b26-8d8b-2fc78fc0ac79
    ");

    request.templates.title = Some("{{ semver }} {{ commit }}".parse().unwrap());
    let error = title(&request, 255).unwrap_err();
    assert_snapshot!(error, @"the template of the title cannot be used");
    assert_snapshot!(std::error::Error::source(&error).unwrap(), @"`commit` is not always known: test it with {% if … %} before it is shown");
}

#[test]
fn its_own_texts_are_recognised() {
    let request = request("6.3.0");
    let id = request.key.id();
    let texts = [
        commit_message(&request, &[], None, false).unwrap(),
        body(&request, &[], LIMITS, false).unwrap(),
        body(&request, &[], LIMITS, false).unwrap().replace('\n', "\r\n"),
    ];
    for text in texts {
        assert!(is_of(&text, id));
        assert!(is_of_some_promotion(&text));
        assert!(!is_of(&text, Uuid::nil()));
    }
    assert!(!is_of_some_promotion("Fix Promotion-Id: handling\n\nPromotion-Id: soon\n"));
}

#[test]
fn titles_fit() {
    let long = request(&"9".repeat(300));
    assert_eq!(title(&long, 100).unwrap().chars().count(), 100);
    assert!(title(&long, 100).unwrap().ends_with('…'));
}

#[test]
fn long_lists_are_cut() {
    let request = request("2");
    let changes: Vec<_> = (0..60).map(|line| change("a.yaml", line, "1", "2")).collect();
    let message = commit_message(&request, &changes, None, false).unwrap();
    assert_eq!(message.matches("- a.yaml").count(), 50);
    assert!(message.contains("\n- and 10 more changes\n\nPromotion-Id: "), "{message}");
    let whole = body(&request, &changes, LIMITS, false).unwrap();
    assert_eq!(whole.matches("| `a.yaml` |").count(), 50);
    assert!(whole.contains("… and 10 more changes"), "{whole}");
    let short = body(&request, &changes, Capabilities { body: 600, ..LIMITS }, false).unwrap();
    assert!(short.chars().count() <= 600, "{short}");
    assert!(is_of(&short, request.key.id()), "{short}");
}

/// The links, HTML and images that a CommonMark parser finds in a text, its GitHub extensions on.
fn active(markdown: &str) -> Vec<String> {
    use pulldown_cmark::{Event, Options, Parser, Tag};
    let events = Parser::new_ext(markdown, Options::all());
    let found = events.filter(|event| {
        matches!(event, Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::HtmlBlock))
            || matches!(event, Event::Html(_) | Event::InlineHtml(_) | Event::FootnoteReference(_))
    });
    found.map(|event| format!("{event:?}")).collect()
}

/// What hosts look for in text that is not code: mentions, references, bare URLs.
fn referring(markdown: &str) -> Option<String> {
    use pulldown_cmark::{Event, Options, Parser};
    let text = Parser::new_ext(markdown, Options::all()).filter_map(|event| match event {
        Event::Text(text) => Some(text.into_string()),
        _ => None,
    });
    text.collect::<Vec<_>>().into_iter().find(|text| has_reference(text))
}

fn has_reference(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let pairs = chars.windows(2).enumerate().any(|(at, pair)| {
        let alone = at == 0 || !chars[at - 1].is_ascii_alphanumeric();
        (pair[0] == '@' && pair[1].is_ascii_alphanumeric() && alone)
            || ("#!".contains(pair[0]) && pair[1].is_ascii_digit())
    });
    pairs || text.contains("://") || text.to_lowercase().contains("www.") || text.to_lowercase().contains("gh-1")
}

#[test]
fn the_property_below_can_fail() {
    assert_eq!(active("[a](b) <i>c</i> <https://x.y>").len(), 4);
    assert!(has_reference("x @joe") && has_reference("fixes #1") && has_reference("www.x.y"));
    assert!(!has_reference("x @\u{200b}joe a@b"));
}

proptest! {
    #[test]
    fn other_peoples_text_stays_in_its_place(
        text in "(?s)(.|[`|\\\\\n\r@#!<>*_ \\[\\]():/-]|@joe|#1|http://|www\\.|GH-1|<b>|\\]\\(x\\)|a: ){0,30}"
    ) {
        let mut request = request(&text);
        request.source_environment = Some(text.clone());
        request.previous_revision = Some(text.clone());
        let changes = [change(&text, 1, &text, &text)];

        let usual = body(&request, &changes, LIMITS, false).unwrap();
        prop_assert_eq!(usual.lines().count(), 7, "{}", usual);
        let bars = usual.lines().nth(4).unwrap().matches('|').count();
        prop_assert_eq!(bars, 5, "{}", usual);

        request.templates.body = Some(
            "{{ revision }}{{ revision }}\n\n{{ title }}\n\n{{ changes }}\n\n`{{ revision }}` it`s {{ revision }}\n\n\
            ```\n{{ revision }}\n```\n{% for change in changes %}\n- {{ change.old }}{{ change.new ~ change.path }}\n\
            {% endfor %}\n*{{ environment }} {{ revision | urlencode }} {{ revision | upper }}\n"
                .parse()
                .unwrap(),
        );
        let own = body(&request, &changes, LIMITS, false).unwrap();
        let title = title(&request, LIMITS.title).unwrap();
        let message = commit_message(&request, &changes, None, false).unwrap();
        prop_assert!(!title.contains(['\n', '\r']));
        prop_assert_eq!(message.lines().count(), 5, "{}", message);
        for text in [&usual, &own, &title, &message] {
            prop_assert_eq!(active(text), Vec::<String>::new(), "{}", text);
            prop_assert_eq!(referring(text), None, "{}", text);
        }
        for text in [&usual, &own, &message] {
            prop_assert!(is_of(text, request.key.id()));
        }
        prop_assert!(!has_reference(&title) && !has_reference(&message), "{message}");
    }
}

#[test]
fn a_trace_is_named_beside_the_promotion() {
    let request = request("6.3.0");
    let (id, trace) = (request.key.id(), request.key.traceparent());
    assert_eq!(trace.len(), 55);
    let parts: Vec<&str> = trace.split('-').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("00", id.simple().to_string().as_str(), "01"));
    assert!(parts[1].ends_with(parts[2]));
    let trailers = format!("\n\nTraceparent: {trace}\nPromotion-Id: {id}\n");
    let texts = [commit_message(&request, &[], None, true).unwrap(), body(&request, &[], LIMITS, true).unwrap()];
    for text in texts {
        assert!(text.ends_with(&trailers) && is_of(&text, id), "{text}");
    }
    assert!(!body(&request, &[], LIMITS, false).unwrap().contains("Traceparent"));
}
