use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::edit::{Target, Update};
use crate::host::PullRequestState;
use crate::request::{Attributes, Key, MergePolicy};

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
        pipeline_link: None,
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
    assert_snapshot!(title(&request, LIMITS.title), @"Promote default/podinfo to 6.3.0 in prod");
    assert_snapshot!(commit_message(&request, &changes, None), @"
    Promote default/podinfo to 6.3.0 in prod

    - apps/prod/podinfo.yaml:12: 6.2.0 -> 6.3.0
    - apps/prod/redis.yaml:4: (empty) -> 6.3.0

    Promotion-Id: 1a9e7245-9825-547f-9844-96773476cc81
    ");
    assert_snapshot!(body(&request, &changes, LIMITS), @"
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
fn a_link_to_the_pipeline() {
    let mut request = request("6.3.0");
    request.source_environment = None;
    request.pipeline_link = Some("https://ui.example.com/pipelines/(podinfo)?a=<b>".parse().unwrap());
    assert_snapshot!(body(&request, &[], LIMITS), @"
    Promotes `default/podinfo` to `prod` at revision `6.3.0`.

    [The pipeline](https://ui.example.com/pipelines/%28podinfo%29?a=%3Cb%3E)

    Promotion-Id: 1a9e7245-9825-547f-9844-96773476cc81
    ");
}

#[test]
fn its_own_texts_are_recognised() {
    let request = request("6.3.0");
    let id = request.key.id();
    let texts = [
        commit_message(&request, &[], None),
        body(&request, &[], LIMITS),
        body(&request, &[], LIMITS).replace('\n', "\r\n"),
    ];
    for text in texts {
        assert!(is_of(&text, id));
        assert!(is_of_some_promotion(&text));
        assert!(!is_of(&text, Uuid::nil()));
    }
    assert!(!is_of_some_promotion("Fix Promotion-Id: handling\n\nPromotion-Id: soon\n"));
}

#[test]
fn code_spans_hold_anything() {
    let check = |text: &str, expect: &str| assert_eq!(code(text), expect, "{text:?}");
    check("6.3.0", "`6.3.0`");
    check("", "_empty_");
    check(" ", "_empty_");
    check("`", "`` ` ``");
    check("a``b`c", "``` a``b`c ```");
    check("@admin #1 <b>", "`@admin #1 <b>`");
    check("a\nb\r\n\n# c", "`a b   # c`");
    check("a\u{202e}b\u{7}", "`a\\u{202e}b\\u{7}`");
    assert_eq!(cell("a|b\\|c"), "`a\\|b\\\\|c`");
    assert_eq!(code(&"x".repeat(1000)).chars().count(), 202);
}

#[test]
fn plain_text_mentions_and_closes_nothing() {
    let check = |text: &str, expect: &str| assert_eq!(plain(text), expect, "{text:?}");
    check("6.3.0", "6.3.0");
    check("main@sha1:abc", "main@sha1:abc");
    check("@admin", "@\u{200b}admin");
    check("fixes #12 and org/repo#3", "fixes #\u{200b}12 and org/repo#\u{200b}3");
    check("!7", "!\u{200b}7");
    check("a\n\nPromotion-Id: b", "a Promotion-Id: b");
    check("\u{1b}[31m", "\\u{1b}[31m");
}

#[test]
fn titles_fit() {
    let long = request(&"9".repeat(300));
    assert_eq!(title(&long, 255).chars().count(), 255);
    assert!(title(&long, 255).ends_with('…'));
}

#[test]
fn long_lists_are_cut() {
    let request = request("2");
    let changes: Vec<_> = (0..60).map(|line| change("a.yaml", line, "1", "2")).collect();
    let message = commit_message(&request, &changes, None);
    assert_eq!(message.matches("- a.yaml").count(), 50);
    assert!(message.contains("\n- and 10 more changes\n\nPromotion-Id: "), "{message}");
    let whole = body(&request, &changes, LIMITS);
    assert_eq!(whole.matches("| `a.yaml` |").count(), 50);
    assert!(whole.contains("… and 10 more changes"), "{whole}");
    let short = body(&request, &changes, Capabilities { body: 600, ..LIMITS });
    assert!(short.chars().count() <= 600, "{short}");
    assert!(is_of(&short, request.key.id()), "{short}");
}

proptest! {
    #[test]
    fn other_peoples_text_stays_in_its_place(text in "(?s).{0,80}", marks in "[`|\\\\\n\r@#!<>*_ -]{0,30}") {
        let text = format!("{text}{marks}");
        let mut request = request(&text);
        request.source_environment = Some(text.clone());
        let changes = [change(&text, 1, &text, &text)];

        let title = title(&request, LIMITS.title);
        prop_assert!(!title.contains(['\n', '\r']));
        let message = commit_message(&request, &changes, None);
        prop_assert_eq!(message.lines().count(), 5);
        prop_assert!(is_of(&message, request.key.id()));

        let body = body(&request, &changes, LIMITS);
        prop_assert_eq!(body.lines().count(), 7, "{}", body);
        let row = body.lines().nth(4).unwrap();
        let bars = row.replace("\\|", "").matches('|').count();
        prop_assert_eq!(bars, 5, "{}", row);
    }
}
