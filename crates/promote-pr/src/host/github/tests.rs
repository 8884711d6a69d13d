use bytes::Bytes;
use egress::{Client, Egress, Policy};
use http::{Method, Response};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::build::{
    add_labels, api_of, ask_reviews, assign, close, comment, comments, create, delete_branch, events, find, list_open,
    milestones, set_milestone, update,
};
use super::*;
use crate::host::Accounts;

fn open(repository: &str, api_url: Option<&str>, token: Option<&str>) -> Result<GitHub, Error> {
    let client = Egress::new(Policy::default()).unwrap().client(&egress::Identity::default()).unwrap();
    let credentials = Credentials { token: token.map(SecretString::from), ..Credentials::default() };
    let api_url = api_url.map(|url| url.parse().unwrap());
    GitHub::open(&repository.parse().unwrap(), api_url.as_ref(), &credentials, line(client))
}

fn line(client: Client) -> Line {
    Line::new(client, Accounts::default().account(Provider::GitHub, "", ""), "default/podinfo")
}

fn site() -> Site {
    let repository = "https://github.com/fleet/config.git".parse().unwrap();
    let api = Url::parse("https://api.github.com").unwrap();
    Site::new(Provider::GitHub, &repository, ("fleet", "config"), &api, SecretString::from("t")).unwrap()
}

fn answer(status: u16, body: &Value) -> Answer {
    let response = Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap();
    site().answer(&Ask::get("test", "/".to_owned()), response)
}

fn pull(state: &str, merged_at: Option<&str>, head_repository: &Value) -> Value {
    json!({
        "number": 7, "html_url": "https://github.com/fleet/config/pull/7", "state": state, "title": "t", "body": null,
        "merged_at": merged_at, "merge_commit_sha": "0123456789012345678901234567890123456789", "mergeable_state": "new",
        "head": {"ref": "promotion/a", "sha": "1123456789012345678901234567890123456789", "repo": head_repository},
        "base": {"ref": "main", "sha": "2123456789012345678901234567890123456789", "repo": {"full_name": "fleet/config"}},
    })
}

#[tokio::test]
async fn opening_needs_a_repository_and_a_token() {
    let check = |repository: &str, api_url: Option<&str>, token: Option<&str>, expect: &str| {
        let error = open(repository, api_url, token).map(drop).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    assert!(open("https://github.com/fleet/config.git", None, Some("ghp_x\n")).is_ok());
    assert!(open("https://ghe.example.com/fleet/config", Some("https://ghe.example.com/api/v3/"), Some("x")).is_ok());
    check("https://github.com/fleet/config.git", None, None, "the credentials for github.com hold no token");
    check("https://github.com/fleet/config.git", None, Some("a\nb"), "characters that no token has");
    check("https://github.com/config.git", None, Some("x"), "is no repository of `github`");
    check("https://github.com/a/b/c.git", None, Some("x"), "is no repository of `github`");
}

#[test]
fn the_api_is_beside_the_repository() {
    let check = |repository: &str, expect: &str| assert_eq!(api_of(&repository.parse().unwrap()), expect);
    check("https://github.com/fleet/config.git", "https://api.github.com");
    check("ssh://git@github.com/fleet/config.git", "https://api.github.com");
    check("https://ghe.example.com:8443/fleet/config.git", "https://ghe.example.com:8443/api/v3");
    check("ssh://git@ghe.example.com:2222/fleet/config.git", "https://ghe.example.com/api/v3");
}

#[test]
fn requests_are_as_documented() {
    let branch = |name: &str| name.parse::<BranchName>().unwrap();
    let new = NewPullRequest {
        head: branch("promotion/a"),
        base: branch("main"),
        title: "t".to_owned(),
        body: "b".to_owned(),
        draft: false,
    };
    let check = |ask: Ask, method: Method, path: &str, body: Option<Value>| {
        assert_eq!((ask.method, ask.path.as_str(), ask.body), (method, path, body));
    };
    check(
        find(&site(), &branch("promotion/a"), &branch("release/1"), 2),
        Method::GET,
        "/repos/fleet/config/pulls?state=all&head=fleet%3Apromotion%2Fa&base=release%2F1&sort=created&direction=desc&per_page=100&page=2",
        None,
    );
    check(
        list_open(&site(), 1),
        Method::GET,
        "/repos/fleet/config/pulls?state=open&sort=created&direction=asc&per_page=100&page=1",
        None,
    );
    check(
        create(&site(), &new),
        Method::POST,
        "/repos/fleet/config/pulls",
        Some(json!({"head": "promotion/a", "base": "main", "title": "t", "body": "b", "draft": false})),
    );
    check(
        update(&site(), 7, "t", "b"),
        Method::PATCH,
        "/repos/fleet/config/pulls/7",
        Some(json!({"title": "t", "body": "b"})),
    );
    check(close(&site(), 7), Method::PATCH, "/repos/fleet/config/pulls/7", Some(json!({"state": "closed"})));
    check(comments(&site(), 7, 2), Method::GET, "/repos/fleet/config/issues/7/comments?per_page=100&page=2", None);
    check(comment(&site(), 7, "c"), Method::POST, "/repos/fleet/config/issues/7/comments", Some(json!({"body": "c"})));
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    check(
        create(&site(), &NewPullRequest { draft: true, ..new }),
        Method::POST,
        "/repos/fleet/config/pulls",
        Some(json!({"head": "promotion/a", "base": "main", "title": "t", "body": "b", "draft": true})),
    );
    check(
        add_labels(&site(), 7, &names(&["promotion"])),
        Method::POST,
        "/repos/fleet/config/issues/7/labels",
        Some(json!({"labels": ["promotion"]})),
    );
    check(events(&site(), 7, 1), Method::GET, "/repos/fleet/config/issues/7/events?per_page=100&page=1", None);
    check(
        ask_reviews(&site(), 7, &names(&["ann"]), &names(&["platform"])),
        Method::POST,
        "/repos/fleet/config/pulls/7/requested_reviewers",
        Some(json!({"reviewers": ["ann"], "team_reviewers": ["platform"]})),
    );
    check(
        assign(&site(), 7, &names(&["bob"])),
        Method::POST,
        "/repos/fleet/config/issues/7/assignees",
        Some(json!({"assignees": ["bob"]})),
    );
    check(milestones(&site(), 1), Method::GET, "/repos/fleet/config/milestones?state=all&per_page=100&page=1", None);
    check(set_milestone(&site(), 7, 3), Method::PATCH, "/repos/fleet/config/issues/7", Some(json!({"milestone": 3})));
    check(
        delete_branch(&site(), &branch("promotion/a#1")),
        Method::DELETE,
        "/repos/fleet/config/git/refs/heads/promotion/a%231",
        None,
    );
}

#[test]
fn states_are_told_apart() {
    let check = |state: &str, merged_at: Option<&str>, expect: PullRequestState| {
        let body = json!([pull(state, merged_at, &json!({"full_name": "Fleet/Config"}))]);
        let found = parse::list(&answer(200, &body)).unwrap().remove(0);
        assert_eq!(found.state, expect);
        assert_eq!(found.merged_commit.is_some(), expect == PullRequestState::Merged);
        assert_eq!((found.number, found.head.as_str(), found.body.as_str()), (7, "promotion/a", ""));
        assert!(found.head_commit.is_some());
    };
    check("open", None, PullRequestState::Open);
    check("closed", None, PullRequestState::Closed);
    check("closed", Some("2026-11-23T10:00:00Z"), PullRequestState::Merged);
    check("brand new", None, PullRequestState::Open);
}

#[test]
fn attributes_are_seen() {
    let mut body = pull("open", None, &json!({"full_name": "fleet/config"}));
    body["draft"] = true.into();
    body["labels"] = json!([{"name": "promotion"}]);
    body["requested_reviewers"] = json!([{"login": "ann"}]);
    body["requested_teams"] = json!([{"slug": "platform"}]);
    body["assignees"] = json!([{"login": "bob"}]);
    body["milestone"] = json!({"number": 3, "title": "Q4"});
    let names = |name: &str| vec![name.to_owned()];
    let seen = Attributes {
        labels: names("promotion"),
        reviewers: names("ann"),
        team_reviewers: names("platform"),
        assignees: names("bob"),
        milestone: Some("Q4".to_owned()),
        draft: true,
    };
    assert_eq!(parse::list(&answer(200, &json!([body]))).unwrap()[0].attributes, seen);
}

#[test]
fn the_same_review_is_not_asked_for_twice() {
    let events = json!([
        {"event": "labeled"},
        {"event": "review_requested", "requested_reviewer": {"login": "Ann"}},
        {"event": "review_requested", "requested_team": {"slug": "platform"}},
        {"event": "review_request_removed", "requested_team": {"slug": "platform"}},
    ]);
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let wanted =
        Attributes { reviewers: names(&["ann", "bob"]), team_reviewers: names(&["platform"]), ..Attributes::default() };
    let events = parse::events(&answer(200, &events)).unwrap();
    let left = events.into_iter().fold(wanted, |left, event| left.missing_in(&event.asked()));
    assert_eq!((left.reviewers, left.team_reviewers), (names(&["bob"]), names(&[])));
}

#[test]
fn forks_are_not_seen() {
    let body = json!([pull("open", None, &json!({"full_name": "mallory/config"})), pull("open", None, &Value::Null)]);
    assert_eq!(parse::list(&answer(200, &body)).unwrap(), []);
}

#[test]
fn created_or_not() {
    let refused = |message: &str| json!({"message": "Validation Failed", "errors": [{"message": message}]});
    let created = parse::created(&site(), answer(201, &pull("open", None, &Value::Null))).unwrap();
    assert!(matches!(created, Created::Done(pull) if pull.number == 7));
    let exists = refused("A pull request already exists for fleet:promotion/a.");
    assert!(matches!(parse::created(&site(), answer(422, &exists)).unwrap(), Created::Exists));
    let invalid = json!({"message": "Validation Failed", "errors": [{"field": "head", "code": "invalid"}]});
    assert!(matches!(parse::created(&site(), answer(422, &invalid)).unwrap(), Created::HeadUnknown));
    let behind = refused("No commits between main and promotion/a");
    assert!(matches!(parse::created(&site(), answer(422, &behind)).unwrap(), Created::HeadUnknown));
    let invalid = json!({"message": "Validation Failed", "errors": [{"field": "base", "code": "invalid"}]});
    let error = parse::created(&site(), answer(422, &invalid)).unwrap_err();
    assert!(error.to_string().ends_with("422: Validation Failed: base is invalid"), "{error}");
}

#[test]
fn deleted_or_not() {
    assert!(parse::deleted(answer(204, &Value::Null)).unwrap());
    assert!(!parse::deleted(answer(422, &json!({"message": "Reference does not exist"}))).unwrap());
    assert!(parse::deleted(answer(422, &json!({"message": "Cannot delete this protected branch"}))).is_err());
    assert!(parse::deleted(answer(404, &json!({"message": "Not Found"}))).is_err());
}
