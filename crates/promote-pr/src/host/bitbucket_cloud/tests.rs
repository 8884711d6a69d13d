use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::host::tests::{HEAD, MERGED, answer, branch, check, line, new, password, token};

fn open(repository: &str, api_url: Option<&str>) -> Result<BitbucketCloud, Error> {
    let api_url = api_url.map(|url| url.parse().unwrap());
    BitbucketCloud::open(
        &repository.parse().unwrap(),
        api_url.as_ref(),
        &token("x"),
        line(&egress::Identity::default()),
    )
}

fn site() -> Site {
    open("https://bitbucket.org/team/config.git", None).unwrap().rest.site
}

fn pull(state: &str, source_repository: &str) -> Value {
    json!({
        "id": 7, "title": "t", "description": "", "state": state, "draft": true,
        "source": {"branch": {"name": "promotion/a"}, "commit": {"hash": HEAD}, "repository": {"full_name": source_repository}},
        "destination": {"branch": {"name": "main"}, "commit": {"hash": HEAD}, "repository": {"full_name": "team/config"}},
        "merge_commit": {"hash": MERGED},
        "reviewers": [{"uuid": "{bob}", "account_id": "557058:bob"}],
        "links": {"html": {"href": "https://bitbucket.org/7"}},
    })
}

fn seen() -> Pull {
    serde_json::from_value(pull("OPEN", "team/config")).unwrap()
}

#[test]
fn repositories_have_a_workspace() {
    let check = |repository: &str, api_url: Option<&str>, api: &str, path: &str| {
        let host = open(repository, api_url).unwrap();
        assert_eq!((host.rest.api(), host.rest.site.path().as_str()), (api, path));
    };
    let path = "/repositories/team/config";
    check("https://bitbucket.org/team/config.git", None, "https://api.bitbucket.org/2.0", path);
    check("ssh://git@bitbucket.org/team/config.git", None, "https://api.bitbucket.org/2.0", path);
    check(
        "https://bitbucket.org/team/config",
        Some("https://proxy.example.com/2.0/"),
        "https://proxy.example.com/2.0",
        path,
    );
    let error = open("https://bitbucket.org/a/b/config", None).map(drop).unwrap_err().to_string();
    assert!(error.contains("is no repository of `bitbucket-cloud`"), "{error}");
}

#[test]
fn passwords_go_with_their_user() {
    let check = |credentials: Credentials, value: &str| {
        let token = wire::token(&credentials).unwrap();
        assert_eq!(authorization(&credentials, &token).unwrap().1.to_str().unwrap(), value);
    };
    check(token("x"), "Bearer x");
    check(password("ann@example.com", "hunter2"), "Basic YW5uQGV4YW1wbGUuY29tOmh1bnRlcjI=");
}

#[test]
fn requests_are_as_documented() {
    let site = &site();
    let path = |rest: &str| format!("/repositories/team/config{rest}");
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let q = "source.branch.name%20%3D%20%22a%2Fb%22%20AND%20destination.branch.name%20%3D%20%22main%22";
    let query =
        format!("state=OPEN&state=MERGED&state=DECLINED&state=SUPERSEDED&q={q}&sort=-created_on&pagelen=50&page=2");
    check(
        build::find(site, &branch("a/b"), &branch("main"), 2),
        get.clone(),
        &path(&format!("/pullrequests?{query}")),
        None,
    );
    let query = "state=OPEN&sort=created_on&pagelen=50&page=1";
    check(build::list_open(site, 1), get.clone(), &path(&format!("/pullrequests?{query}")), None);
    check(build::read(site, 7), get.clone(), &path("/pullrequests/7"), None);
    check(build::read_commit(site, "0123"), get.clone(), &path("/commit/0123"), None);
    check(build::branch(site, &branch("a/b#1")), get.clone(), &path("/refs/branches/a/b%231"), None);
    let body = json!({
        "title": "t", "description": "b", "draft": true,
        "source": {"branch": {"name": "promotion/a#1"}}, "destination": {"branch": {"name": "release/1"}},
    });
    check(build::create(site, &new(true)), post.clone(), &path("/pullrequests"), Some(body));
    let body = json!({"title": "t", "description": "b", "reviewers": [{"uuid": "{bob}"}]});
    check(build::update(site, &seen(), "t", "b"), put.clone(), &path("/pullrequests/7"), Some(body));
    let missing = Attributes { reviewers: vec!["{ann}".to_owned(), "557058:eve".to_owned()], ..Attributes::default() };
    let reviewers = json!([{"uuid": "{bob}"}, {"uuid": "{ann}"}, {"account_id": "557058:eve"}]);
    let body = json!({"title": "t", "description": "", "reviewers": reviewers});
    check(build::dress(site, &seen(), &missing), put, &path("/pullrequests/7"), Some(body));
    check(build::merge(site, 7), post.clone(), &path("/pullrequests/7/merge"), Some(json!({"type": "pullrequest"})));
    check(build::close(site, 7), post.clone(), &path("/pullrequests/7/decline"), Some(json!({})));
    check(build::comments(site, 7), get, &path("/pullrequests/7/comments?sort=-created_on&pagelen=100"), None);
    let body = json!({"content": {"raw": "c"}});
    check(build::comment(site, 7, "c"), post, &path("/pullrequests/7/comments"), Some(body));
    check(build::delete_branch(site, &branch("a/b#1")), Method::DELETE, &path("/refs/branches/a/b%231"), None);
}

#[test]
fn states_are_told_apart() {
    let check = |state: &str, expect: PullRequestState| {
        let body = json!({"values": [pull(state, "Team/config")], "next": "https://api.bitbucket.org/2.0/x?page=2"});
        let mut page = parse::list(&answer(&site(), 200, &body), 1).unwrap();
        let found = page.pulls.remove(0);
        assert_eq!((found.state, page.next, found.attributes.draft), (expect, Some(2), true));
        assert_eq!(found.merged_commit.is_some(), expect == PullRequestState::Merged);
        assert_eq!(found.attributes.reviewers, ["{bob}", "557058:bob"]);
    };
    check("OPEN", PullRequestState::Open);
    check("MERGED", PullRequestState::Merged);
    check("DECLINED", PullRequestState::Closed);
    check("SUPERSEDED", PullRequestState::Closed);
    check("BRAND_NEW", PullRequestState::Open);
}

#[test]
fn forks_are_not_seen() {
    let page = parse::list(&answer(&site(), 200, &json!({"values": [pull("OPEN", "eve/config")]})), 1).unwrap();
    assert_eq!((page.pulls, page.next), (Vec::new(), None));
}

#[test]
fn created_or_not() {
    let of = |status, body: &Value| parse::created(answer(&site(), status, body));
    assert!(of(201, &pull("OPEN", "team/config")).unwrap().is_some());
    assert!(of(409, &Value::Null).unwrap().is_none());
    let refused = json!({"type": "error", "error": {"message": "Bad request", "fields": {"title": ["is required"]}}});
    let error = of(400, &refused).map(drop).unwrap_err().to_string();
    assert!(error.ends_with("400: Bad request; title is required"), "{error}");
}

#[test]
fn merged_or_not() {
    let of = |status, body: &Value| parse::merged(answer(&site(), status, body));
    assert_eq!(of(200, &Value::Null).unwrap(), Merged::Done);
    assert_eq!(of(202, &Value::Null).unwrap(), Merged::Scheduled);
    let refused = json!({"type": "error", "error": {"message": "1 approval is missing"}});
    assert_eq!(of(400, &refused).unwrap(), Merged::NotYet("1 approval is missing".to_owned()));
    assert!(of(403, &refused).is_err());
}

#[test]
fn deleted_or_not() {
    assert!(parse::deleted(answer(&site(), 204, &Value::Null)).unwrap());
    assert!(!parse::deleted(answer(&site(), 404, &Value::Null)).unwrap());
    assert!(parse::deleted(answer(&site(), 403, &Value::Null)).is_err());
}
