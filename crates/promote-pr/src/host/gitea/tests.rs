use bytes::Bytes;
use egress::{Client, Egress, Policy};
use http::{Method, Response};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::build::{
    authorization, branch, comment, comments, create, delete_branch, edit, find, list_all, list_open, marked, merge,
    milestones, reviews, settings,
};
use super::*;
use crate::host::Accounts;

fn open(repository: &str, api_url: Option<&str>, token: Option<&str>) -> Result<Gitea, Error> {
    let client = Egress::new(Policy::default()).unwrap().client(&egress::Identity::default()).unwrap();
    let credentials = Credentials { token: token.map(SecretString::from), ..Credentials::default() };
    let api_url = api_url.map(|url| url.parse().unwrap());
    Gitea::open(Provider::Gitea, &repository.parse().unwrap(), api_url.as_ref(), &credentials, line(client))
}

fn line(client: Client) -> Line {
    Line::new(client, Accounts::default().account(Provider::GitHub, "", ""), "default/podinfo")
}

fn site() -> Site {
    let repository = "https://git.example.com/fleet/config.git".parse().unwrap();
    let api = Url::parse("https://git.example.com/api/v1").unwrap();
    Site::new(Provider::Gitea, &repository, ("fleet", "config"), &api, SecretString::from("t")).unwrap()
}

fn answer(status: u16, body: &Value) -> Answer {
    let response = Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap();
    site().answer(&Ask::get("test", "/".to_owned()), response)
}

fn pull(state: &str, merged: bool, head_repository: i64) -> Value {
    json!({
        "number": 7, "html_url": "https://git.example.com/fleet/config/pulls/7", "state": state, "title": "t", "body": "",
        "merged": merged, "merge_commit_sha": "0123456789012345678901234567890123456789",
        "head": {"label": "promotion/a", "ref": "refs/pull/7/head", "sha": "1123456789012345678901234567890123456789", "repo_id": head_repository},
        "base": {"label": "main", "ref": "main", "sha": "2123456789012345678901234567890123456789", "repo_id": 3},
    })
}

#[test]
fn opening_needs_a_repository_and_a_token() {
    let check = |repository: &str, api_url: Option<&str>, token: Option<&str>, expect: &str| {
        let error = open(repository, api_url, token).map(drop).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    assert!(open("https://git.example.com/fleet/config.git", None, Some("abc\n")).is_ok());
    assert!(open("https://git.example.com/fleet/config", Some("https://api.example.com/v1/"), Some("x")).is_ok());
    check("https://git.example.com/fleet/config.git", None, None, "the credentials for git.example.com hold no token");
    check("https://git.example.com/fleet/config.git", None, Some("a\nb"), "characters that no token has");
    check("https://git.example.com/config.git", None, Some("x"), "is no repository of `gitea`");
}

#[test]
fn the_api_is_beside_the_repository() {
    let check = |repository: &str, expect: &str| {
        let gitea = open(repository, None, Some("x")).unwrap();
        assert_eq!((gitea.api.as_str(), gitea.site.path().as_str()), (expect, "/repos/fleet/config"));
    };
    check("https://git.example.com/fleet/config.git", "https://git.example.com/api/v1");
    check("https://git.example.com:3000/fleet/config.git", "https://git.example.com:3000/api/v1");
    check("https://example.com/tools/git/fleet/config", "https://example.com/tools/git/api/v1");
    check("ssh://git@git.example.com:2222/fleet/config.git", "https://git.example.com/api/v1");
}

#[test]
fn passwords_go_with_their_user() {
    let secret = || Some(SecretString::from("hunter2"));
    let user = || Some("ann".to_owned());
    let check = |credentials: Credentials, expect: &str| {
        let token = wire::token(&credentials).unwrap();
        let value = authorization(&credentials, &token).unwrap();
        assert_eq!(value.to_str().unwrap(), expect);
        assert!(value.is_sensitive());
    };
    check(Credentials { token: secret(), ..Credentials::default() }, "token hunter2");
    check(Credentials { token: secret(), username: user(), ..Credentials::default() }, "token hunter2");
    check(Credentials { password: secret(), ..Credentials::default() }, "token hunter2");
    check(Credentials { password: secret(), username: user(), ..Credentials::default() }, "Basic YW5uOmh1bnRlcjI=");
}

#[test]
fn requests_are_as_documented() {
    let branch_name = |name: &str| name.parse::<BranchName>().unwrap();
    let new = NewPullRequest {
        head: branch_name("promotion/a"),
        base: branch_name("main"),
        title: "t".to_owned(),
        body: "b".to_owned(),
        draft: false,
    };
    let check = |ask: Ask, method: Method, path: &str, body: Option<Value>| {
        assert_eq!((ask.method, ask.path.as_str(), ask.body), (method, path, body));
    };
    check(
        find(&site(), &branch_name("promotion/a"), &branch_name("release/1")),
        Method::GET,
        "/repos/fleet/config/pulls/release%2F1/promotion/a",
        None,
    );
    check(
        list_all(&site(), &branch_name("release/1"), 2),
        Method::GET,
        "/repos/fleet/config/pulls?state=all&base_branch=release%2F1&sort=recentupdate&limit=50&page=2",
        None,
    );
    check(list_open(&site(), 1), Method::GET, "/repos/fleet/config/pulls?state=open&sort=oldest&limit=50&page=1", None);
    check(branch(&site(), &branch_name("promotion/a")), Method::GET, "/repos/fleet/config/branches/promotion/a", None);
    check(
        create(&site(), &new),
        Method::POST,
        "/repos/fleet/config/pulls",
        Some(json!({"head": "promotion/a", "base": "main", "title": "t", "body": "b"})),
    );
    check(
        edit(&site(), "update a pull request", 7, json!({"title": "t", "body": "b"})),
        Method::PATCH,
        "/repos/fleet/config/pulls/7",
        Some(json!({"title": "t", "body": "b"})),
    );
    check(
        create(&site(), &NewPullRequest { draft: true, ..new }),
        Method::POST,
        "/repos/fleet/config/pulls",
        Some(json!({"head": "promotion/a", "base": "main", "title": "WIP: t", "body": "b"})),
    );
    check(
        milestones(&site(), "Q4 & more", 1),
        Method::GET,
        "/repos/fleet/config/milestones?state=all&name=Q4%20%26%20more&limit=50&page=1",
        None,
    );
    check(reviews(&site(), 7, 1), Method::GET, "/repos/fleet/config/pulls/7/reviews?limit=50&page=1", None);
    check(settings(&site()), Method::GET, "/repos/fleet/config", None);
    let open = PullRequest::from(serde_json::from_value::<parse::Pull>(pull("open", false, 3)).unwrap());
    check(
        merge(&site(), &open, Merge::Auto, "squash"),
        Method::POST,
        "/repos/fleet/config/pulls/7/merge",
        Some(json!({
            "Do": "squash",
            "merge_when_checks_succeed": true,
            "head_commit_id": "1123456789012345678901234567890123456789",
        })),
    );
    check(comments(&site(), 7), Method::GET, "/repos/fleet/config/issues/7/comments", None);
    check(comment(&site(), 7, "c"), Method::POST, "/repos/fleet/config/issues/7/comments", Some(json!({"body": "c"})));
    check(
        delete_branch(&site(), &branch_name("promotion/a#1")),
        Method::DELETE,
        "/repos/fleet/config/branches/promotion/a%231",
        None,
    );
}

#[test]
fn states_are_told_apart() {
    let check = |state: &str, merged: bool, expect: PullRequestState| {
        let found = parse::list(&answer(200, &json!([pull(state, merged, 3)]))).unwrap().remove(0);
        assert_eq!(found.state, expect);
        assert_eq!(found.merged_commit.is_some(), expect == PullRequestState::Merged);
        assert_eq!((found.number, found.head.as_str(), found.body.as_str()), (7, "promotion/a", ""));
        assert!(found.head_commit.is_some());
    };
    check("open", false, PullRequestState::Open);
    check("closed", false, PullRequestState::Closed);
    check("closed", true, PullRequestState::Merged);
    check("brand new", false, PullRequestState::Open);
}

#[test]
fn drafts_are_marked_titles() {
    let mut body = pull("open", false, 3);
    for (title, draft, expect) in
        [("WIP: Promote", true, "Promote"), ("[WIP] Promote", true, "Promote"), ("WIP: Promote", false, "WIP: Promote")]
    {
        body["title"] = title.into();
        body["draft"] = draft.into();
        let seen = parse::list(&answer(200, &json!([body]))).unwrap().remove(0);
        assert_eq!((seen.title.as_str(), seen.attributes.draft), (expect, draft));
    }
    assert_eq!(marked("Promote", true), "WIP: Promote");
}

#[test]
fn merged_or_not() {
    let check = |status: u16, message: &str, expect: Merged| {
        assert_eq!(parse::merged(answer(status, &json!({"message": message}))).unwrap(), expect);
    };
    check(200, "", Merged::Done);
    check(201, "", Merged::Scheduled);
    check(409, "pull request is already scheduled to auto merge when checks succeed [pull_id: 7]", Merged::Scheduled);
    check(405, "The PR is already merged", Merged::Done);
    check(409, "head out of date", Merged::NotYet("head out of date".to_owned()));
    let approvals = "not ready to merge: Does not have enough approvals";
    check(405, approvals, Merged::NotYet(approvals.to_owned()));
    assert!(matches!(parse::merged(answer(405, &json!({"message": "Please try again later"}))), Ok(Merged::NotYet(_))));
    for (status, message) in [(405, "User not allowed to merge PR"), (404, "not found"), (423, "archived")] {
        let error = parse::merged(answer(status, &json!({"message": message}))).unwrap_err();
        assert_eq!(error.retry(), Retry::Never, "{error}");
    }
}

#[test]
fn forks_are_not_seen() {
    let body = json!([pull("open", false, 4), pull("open", false, -1)]);
    assert_eq!(parse::list(&answer(200, &body)).unwrap(), []);
}

#[test]
fn found_or_not() {
    assert_eq!(parse::found(answer(404, &json!({"message": "not found"}))).unwrap(), None);
    assert!(parse::found(answer(200, &pull("open", false, 3))).unwrap().is_some());
    assert!(parse::found(answer(403, &Value::Null)).is_err());
}

#[test]
fn created_or_not() {
    let created = parse::created(answer(201, &pull("open", false, 3))).unwrap();
    assert!(matches!(created, Created::Done(pull) if pull.number == 7));
    let exists = json!({"message": "pull request already exists for these targets [id: 1]"});
    assert!(matches!(parse::created(answer(409, &exists)).unwrap(), Created::Exists));
    let error = parse::created(answer(404, &json!({"message": "not found"}))).unwrap_err();
    assert!(error.to_string().contains("404: not found"), "{error}");
}

#[test]
fn closed_or_not() {
    assert!(parse::closed(answer(201, &pull("closed", false, 3))).is_ok());
    assert!(parse::closed(answer(500, &json!({"message": "the issue is already changed"}))).is_ok());
    assert!(parse::closed(answer(500, &json!({"message": "the database is locked"}))).is_err());
}

#[test]
fn deleted_or_not() {
    assert!(parse::deleted(answer(204, &Value::Null)).unwrap());
    assert!(!parse::deleted(answer(404, &json!({"message": "branch does not exist"}))).unwrap());
    assert!(parse::deleted(answer(403, &json!({"message": "branch protected"}))).is_err());
}
