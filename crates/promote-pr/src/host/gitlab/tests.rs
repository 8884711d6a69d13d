use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::host::tests::{HEAD, MERGED, answer, branch, check, line, new, password, shown, token};

fn open(repository: &str, api_url: Option<&str>) -> Result<GitLab, Error> {
    let api_url = api_url.map(|url| url.parse().unwrap());
    GitLab::open(&repository.parse().unwrap(), api_url.as_ref(), &token("glpat-x"), line(&egress::Identity::default()))
}

fn site() -> Site {
    open("https://gitlab.com/group/sub/config.git", None).unwrap().rest.site
}

fn pull(state: &str, source_project: u64) -> Value {
    json!({
        "iid": 7, "web_url": "https://gitlab.com/7", "state": state, "title": "Draft: t", "description": null,
        "source_branch": "promotion/a", "target_branch": "main",
        "source_project_id": source_project, "target_project_id": 3,
        "sha": HEAD, "merge_commit_sha": MERGED, "squash_commit_sha": null, "draft": true, "labels": ["prod"],
        "reviewers": [{"id": 11, "username": "ann"}], "assignees": [], "milestone": {"id": 5, "title": "11"},
        "merge_when_pipeline_succeeds": false, "detailed_merge_status": "brand_new_status",
    })
}

#[test]
fn projects_are_found_under_groups_and_sub_paths() {
    let check = |repository: &str, api_url: Option<&str>, api: &str, path: &str| {
        let gitlab = open(repository, api_url).unwrap();
        assert_eq!((gitlab.rest.api(), gitlab.rest.site.path().as_str()), (api, path));
    };
    check("https://gitlab.com/org/config.git", None, "https://gitlab.com/api/v4", "/projects/org%2Fconfig");
    check("https://gitlab.com/a/b/c/config", None, "https://gitlab.com/api/v4", "/projects/a%2Fb%2Fc%2Fconfig");
    check(
        "ssh://git@git.example.com:2222/a/config.git",
        None,
        "https://git.example.com/api/v4",
        "/projects/a%2Fconfig",
    );
    let api = "https://example.com/tools/gitlab/api/v4";
    check("https://example.com/tools/gitlab/a/b/config", Some(api), api, "/projects/a%2Fb%2Fconfig");
    let error = open("https://gitlab.com/config.git", None).map(drop).unwrap_err().to_string();
    assert!(error.contains("is no repository of `gitlab`"), "{error}");
}

#[test]
fn each_token_has_its_header() {
    let check = |credentials: Credentials, name: &str, value: &str| {
        let token = wire::token(&credentials).unwrap();
        let header = authorization(&credentials, &token).unwrap();
        assert_eq!((header.0.as_str(), header.1.to_str().unwrap()), (name, value));
        assert!(header.1.is_sensitive());
    };
    check(token("glpat-x"), "authorization", "Bearer glpat-x");
    check(token("gloas-x"), "authorization", "Bearer gloas-x");
    check(password("oauth2", "glpat-x"), "authorization", "Bearer glpat-x");
    check(token("glcbt-64_x"), "job-token", "glcbt-64_x");
    check(password("gitlab-ci-token", "x"), "job-token", "x");
}

#[test]
fn requests_are_as_documented() {
    const PROJECT: &str = "/projects/group%2Fsub%2Fconfig";
    let site = &site();
    let path = |rest: &str| format!("{PROJECT}{rest}");
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let found = build::on_page(&build::find(site, &branch("promotion/a#1"), &branch("release/1")).unwrap(), 2);
    let query = "source_branch=promotion%2Fa%231&target_branch=release%2F1&order_by=created_at&sort=desc";
    check(found, get.clone(), &path(&format!("/merge_requests?{query}&per_page=100&page=2")), None);
    check(
        build::list_open(site).unwrap(),
        get.clone(),
        &path("/merge_requests?state=opened&order_by=created_at&sort=asc"),
        None,
    );
    check(build::branch(site, &branch("a/b#1")).unwrap(), get.clone(), &path("/repository/branches/a%2Fb%231"), None);
    let body = json!({"source_branch": "promotion/a#1", "target_branch": "release/1", "title": "Draft: t", "description": "b"});
    check(build::create(site, &new(true)).unwrap(), post.clone(), &path("/merge_requests"), Some(body));
    let body = json!({"title": "t", "description": "b"});
    check(build::update(site, &shown(false), "t", "b").unwrap(), put.clone(), &path("/merge_requests/7"), Some(body));
    let body = json!({"title": "Draft: t", "description": "b"});
    check(build::update(site, &shown(true), "t", "b").unwrap(), put.clone(), &path("/merge_requests/7"), Some(body));
    check(build::user(site, "ann").unwrap(), get.clone(), "/users?username=ann", None);
    check(build::milestone(site, "a b"), get.clone(), &path("/milestones?title=a%20b&include_ancestors=true"), None);
    let missing = Attributes {
        labels: vec!["x".to_owned(), "y".to_owned()],
        reviewers: vec!["ann".to_owned()],
        ..Attributes::default()
    };
    let ids = Ids { reviewers: vec![11, 12], assignees: vec![13], milestone: Some(5) };
    let body = json!({"add_labels": "x,y", "milestone_id": "5", "reviewer_ids": ["11", "12"]});
    check(build::dress(site, 7, &missing, &ids).unwrap(), put.clone(), &path("/merge_requests/7"), Some(body));
    let body = json!({"sha": HEAD});
    check(build::merge(site, &shown(false), false).unwrap(), put.clone(), &path("/merge_requests/7/merge"), Some(body));
    let body = json!({"sha": HEAD, "merge_when_pipeline_succeeds": "true"});
    check(build::merge(site, &shown(false), true).unwrap(), put.clone(), &path("/merge_requests/7/merge"), Some(body));
    check(build::on_train(site, 7), get.clone(), &path("/merge_trains/merge_requests/7"), None);
    let body = json!({"sha": HEAD, "auto_merge": true, "when_pipeline_succeeds": true});
    check(build::board_train(site, &shown(false)), post.clone(), &path("/merge_trains/merge_requests/7"), Some(body));
    check(build::close(site, 7).unwrap(), put, &path("/merge_requests/7"), Some(json!({"state_event": "close"})));
    check(build::comments(site, 7).unwrap(), get, &path("/merge_requests/7/notes?per_page=100&page=1"), None);
    check(build::comment(site, 7, "c").unwrap(), post, &path("/merge_requests/7/notes"), Some(json!({"body": "c"})));
    check(
        build::delete_branch(site, &branch("a/b#1")).unwrap(),
        Method::DELETE,
        &path("/repository/branches/a%2Fb%231"),
        None,
    );
}

#[test]
fn states_are_told_apart() {
    let check = |state: &str, expect: PullRequestState| {
        let found = parse::list(&answer(&site(), 200, &json!([pull(state, 3)])), 1).unwrap().pulls.remove(0);
        assert_eq!((found.state, found.title.as_str(), found.attributes.draft), (expect, "t", true));
        assert_eq!(found.merged_commit.is_some(), expect == PullRequestState::Merged);
        assert_eq!(found.attributes.reviewers, ["ann"]);
    };
    check("opened", PullRequestState::Open);
    check("locked", PullRequestState::Open);
    check("closed", PullRequestState::Closed);
    check("merged", PullRequestState::Merged);
    check("brand new", PullRequestState::Open);
}

#[test]
fn forks_are_not_seen() {
    let page = parse::list(&answer(&site(), 200, &json!([pull("opened", 4)])), 1).unwrap();
    assert_eq!((page.pulls, page.next), (Vec::new(), None));
}

#[test]
fn created_or_not() {
    let of = |status, body: &Value| parse::created(answer(&site(), status, body));
    assert!(matches!(of(201, &pull("opened", 3)), Ok(Created::Done(pull)) if pull.number == 7));
    let exists = json!({"message": ["Another open merge request already exists for this source branch: !7"]});
    assert!(matches!(of(409, &exists), Ok(Created::Exists)));
    let check = |status, body: Value, expect: &str| {
        let error = of(status, &body).unwrap_err().to_string();
        assert!(error.ends_with(expect), "{error}");
    };
    check(400, json!({"message": {"title": ["is too long"]}}), "400: title is too long");
    check(
        401,
        json!({"error": "invalid_token", "error_description": "Token was revoked."}),
        "invalid_token; Token was revoked.; renew the credential",
    );
    check(403, json!({"message": "403 Forbidden"}), "403: 403 Forbidden; give the credential the right to do that");
}

#[test]
fn merged_or_not() {
    let of = |status, body: &Value, why: &str| parse::merged(answer(&site(), status, body), why);
    assert_eq!(of(200, &pull("merged", 3), "").unwrap(), Merged::Done);
    assert_eq!(of(200, &pull("opened", 3), "").unwrap(), Merged::Scheduled);
    let not_allowed = json!({"message": "405 Method Not Allowed"});
    assert_eq!(of(405, &not_allowed, "not_approved").unwrap(), Merged::NotYet("not approved".to_owned()));
    assert_eq!(of(405, &not_allowed, "<b>").unwrap(), Merged::NotYet("405 Method Not Allowed".to_owned()));
    assert!(of(401, &json!({"message": "401 Unauthorized"}), "").is_err());
    assert_eq!(parse::boarded(answer(&site(), 202, &json!([])), "").unwrap(), Merged::Scheduled);
    assert!(!parse::on_train(answer(&site(), 404, &Value::Null)).unwrap());
}

#[test]
fn deleted_or_not() {
    assert!(parse::deleted(answer(&site(), 204, &Value::Null)).unwrap());
    assert!(!parse::deleted(answer(&site(), 404, &json!({"message": "404 Branch Not Found"}))).unwrap());
    assert!(parse::deleted(answer(&site(), 403, &json!({"message": "403 Forbidden"}))).is_err());
}
