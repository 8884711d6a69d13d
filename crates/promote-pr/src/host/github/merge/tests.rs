use bytes::Bytes;
use http::Response;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::host::{Provider, PullRequestState};
use crate::request::Attributes;

const HEAD: &str = "1123456789012345678901234567890123456789";

fn site() -> Site {
    let repository = "https://github.com/fleet/config.git".parse().unwrap();
    let api = Url::parse("https://api.github.com").unwrap();
    Site::new(Provider::GitHub, &repository, ("fleet", "config"), &api, SecretString::from("t")).unwrap()
}

fn answer(status: u16, body: &Value) -> Answer {
    let response = Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap();
    site().answer(&Ask::get("merge a pull request", "/".to_owned()), response)
}

fn pull() -> PullRequest {
    PullRequest {
        number: 7,
        url: String::new(),
        state: PullRequestState::Open,
        head: "promotion/a".to_owned(),
        base: "main".to_owned(),
        title: String::new(),
        body: String::new(),
        head_commit: HEAD.parse().ok(),
        merged_commit: None,
        attributes: Attributes::default(),
    }
}

fn seen(status: &str, more: &Value) -> View {
    let mut repository = json!({
        "autoMergeAllowed": true, "viewerDefaultMergeMethod": "SQUASH", "mergeQueue": null,
        "pullRequest": {"id": "PR_7", "state": "OPEN", "headRefOid": HEAD, "mergeStateStatus": status,
            "reviewDecision": null, "isInMergeQueue": false, "autoMergeRequest": null},
    });
    for (key, value) in more.as_object().unwrap() {
        match repository.get(key) {
            Some(_) => repository[key] = value.clone(),
            None => repository["pullRequest"][key] = value.clone(),
        }
    }
    parse_view(answer(200, &json!({"data": {"repository": repository}}))).unwrap()
}

#[test]
fn the_host_decides_what_is_next() {
    use Merge::{Auto, Immediate};
    let not_yet = |text: &str| Step::Known(Merged::NotYet(text.to_owned()));
    let check = |how, status, more: Value, expect: Step| {
        assert_eq!(decide(&pull(), how, &seen(status, &more)), expect, "{how:?} {status} {more}");
    };
    let queue = || json!({"mergeQueue": {"id": "MQ_1"}});
    check(Immediate, "CLEAN", json!({}), Step::Now);
    check(Immediate, "UNSTABLE", json!({}), Step::Now);
    check(Immediate, "BLOCKED", json!({}), not_yet("the base branch's rules are not met"));
    let review = json!({"reviewDecision": "REVIEW_REQUIRED"});
    check(Immediate, "BLOCKED", review, not_yet("the base branch's rules ask for a review"));
    check(Immediate, "DIRTY", json!({}), not_yet("the pull request conflicts with its base branch"));
    check(Auto, "DIRTY", json!({}), not_yet("the pull request conflicts with its base branch"));
    check(Auto, "CLEAN", json!({}), Step::Now);
    check(Auto, "BLOCKED", json!({}), Step::Schedule);
    check(Auto, "BLOCKED", json!({"autoMergeRequest": {"enabledAt": "x"}}), Step::Known(Merged::Scheduled));
    check(Auto, "CLEAN", json!({"isInMergeQueue": true, "mergeQueue": {"id": "MQ_1"}}), Step::Known(Merged::Scheduled));
    check(Auto, "CLEAN", queue(), Step::Schedule);
    check(Auto, "BLOCKED", queue(), Step::Schedule);
    check(
        Immediate,
        "CLEAN",
        queue(),
        not_yet("the base branch takes changes through its merge queue only: use the merge policy `auto`"),
    );
    check(
        Auto,
        "BLOCKED",
        json!({"autoMergeAllowed": false}),
        not_yet("the base branch's rules are not met; the repository's settings do not allow auto-merge"),
    );
    check(Auto, "CLEAN", json!({"state": "MERGED"}), Step::Known(Merged::Done));
    check(Immediate, "CLEAN", json!({"headRefOid": "other"}), not_yet("the head branch has just moved"));
    check(Immediate, "SOMETHING_NEW", json!({}), not_yet("the base branch's rules are not met"));
}

#[test]
fn requests_are_pinned_to_the_head() {
    let ask = now(&site(), &pull(), &seen("CLEAN", &json!({})));
    assert_eq!((ask.method.as_str(), ask.path.as_str()), ("PUT", "/repos/fleet/config/pulls/7/merge"));
    assert_eq!(ask.body.unwrap(), json!({"sha": HEAD, "merge_method": "squash"}));
    let ask = schedule(&pull(), &seen("BLOCKED", &json!({})));
    let variables = json!({"id": "PR_7", "head": HEAD, "method": "SQUASH"});
    assert_eq!(ask.body.unwrap(), json!({"query": ENABLE, "variables": variables}));
    let queue = json!({"mergeQueue": {"id": "MQ_1"}});
    let ask = schedule(&pull(), &seen("CLEAN", &queue));
    assert_eq!(ask.body.unwrap(), json!({"query": ENQUEUE, "variables": {"id": "PR_7", "head": HEAD}}));
    assert_eq!(schedule(&pull(), &seen("BLOCKED", &queue)).body.unwrap()["query"], ENABLE);
}

#[test]
fn errors_come_with_success() {
    let failed = |kind: &str, message: &str| json!({"data": null, "errors": [{"type": kind, "message": message}]});
    let error = parse_view(answer(200, &failed("NOT_FOUND", "Could not resolve to a Repository"))).unwrap_err();
    assert_eq!(error.retry(), Retry::Never);
    assert!(error.to_string().ends_with("200: Could not resolve to a Repository"), "{error}");
    let error = parse_view(answer(200, &failed("RATE_LIMITED", "API rate limit exceeded"))).unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(60)));
    let error = parse_view(answer(200, &json!({"data": null}))).unwrap_err();
    assert_eq!(error.retry(), Retry::Later);
    assert!(parse_view(answer(502, &json!({}))).is_err());

    let clean = failed("UNPROCESSABLE", "Pull request Pull request is in clean status");
    assert_eq!(parse_scheduled(answer(200, &clean)).unwrap(), Scheduled::MergeNow);
    let denied = failed("FORBIDDEN", "viewer may not enable auto-merge");
    assert_eq!(parse_scheduled(answer(200, &denied)).unwrap_err().retry(), Retry::Never);
    assert_eq!(parse_scheduled(answer(200, &json!({"data": {}}))).unwrap(), Scheduled::Done);
}

#[test]
fn merged_or_not() {
    assert_eq!(parse_merged(answer(200, &json!({"merged": true}))).unwrap(), Merged::Done);
    for status in [405, 409] {
        let not_yet = Merged::NotYet("Base branch was modified".to_owned());
        assert_eq!(parse_merged(answer(status, &json!({"message": "Base branch was modified"}))).unwrap(), not_yet);
    }
    assert!(parse_merged(answer(403, &json!({"message": "Resource not accessible"}))).is_err());
}
