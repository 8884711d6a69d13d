use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::host::tests::{HEAD, MERGED, answer, branch, check, line, new, password, token};

fn open(repository: &str, api_url: Option<&str>) -> Result<BitbucketServer, Error> {
    let api_url = api_url.map(|url| url.parse().unwrap());
    BitbucketServer::open(
        &repository.parse().unwrap(),
        api_url.as_ref(),
        &token("x"),
        line(&egress::Identity::default()),
    )
}

fn site() -> Site {
    open("https://git.example.com/scm/prj/config.git", None).unwrap().rest.site
}

fn pull(state: &str, source_repository: u64) -> Value {
    let side = |name: &str, repository: u64| json!({"id": format!("refs/heads/{name}"), "latestCommit": HEAD, "repository": {"id": repository}});
    json!({
        "id": 7, "version": 4, "title": "t", "state": state, "draft": true,
        "fromRef": side("promotion/a", source_repository), "toRef": side("main", 3),
        "reviewers": [{"user": {"name": "bob", "slug": "bob"}}],
        "links": {"self": [{"href": "https://git.example.com/7"}]},
        "properties": {"mergeCommit": {"id": MERGED}},
    })
}

fn seen() -> Pull {
    serde_json::from_value(pull("OPEN", 3)).unwrap()
}

#[test]
fn repositories_are_found_under_context_paths() {
    let check = |repository: &str, api_url: Option<&str>, api: &str, path: &str| {
        let host = open(repository, api_url).unwrap();
        assert_eq!((host.rest.api(), host.rest.site.path().as_str()), (api, path));
    };
    let path = "/projects/prj/repos/config";
    check("https://git.example.com/scm/prj/config.git", None, "https://git.example.com/rest", path);
    check("https://example.com/bitbucket/scm/prj/config", None, "https://example.com/bitbucket/rest", path);
    check(
        "https://git.example.com/scm/~ann/config.git",
        None,
        "https://git.example.com/rest",
        "/projects/~ann/repos/config",
    );
    check("ssh://git@git.example.com:7999/prj/config.git", None, "https://git.example.com/rest", path);
    let given = [
        "https://git.example.com:7990/b/rest/api/1.0",
        "https://git.example.com:7990/b/rest/api/latest/",
        "https://git.example.com:7990/b/rest",
        "https://git.example.com:7990/b",
    ];
    for api in given {
        check("https://git.example.com/scm/prj/config.git", Some(api), "https://git.example.com:7990/b/rest", path);
    }
    for bad in [
        "https://git.example.com/prj/x/config.git",
        "https://git.example.com/scm/prj/a%2fb.git",
        "https://git.example.com/config",
    ] {
        let error = open(bad, None).map(drop).unwrap_err().to_string();
        assert!(error.contains("is no repository of `bitbucket-server`"), "{error}");
    }
}

#[test]
fn passwords_go_with_their_user() {
    let check = |credentials: Credentials, value: &str| {
        let token = wire::token(&credentials).unwrap();
        assert_eq!(authorization(&credentials, &token).unwrap().1.to_str().unwrap(), value);
    };
    check(token("x"), "Bearer x");
    check(password("ann", "hunter2"), "Basic YW5uOmh1bnRlcjI=");
}

#[test]
fn requests_are_as_documented() {
    let site = &site();
    let path = |rest: &str| format!("/api/1.0/projects/prj/repos/config{rest}");
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let query = "state=ALL&direction=OUTGOING&at=refs%2Fheads%2Fa%2Fb%231&order=NEWEST&limit=100&start=100";
    check(build::find(site, &branch("a/b#1"), 100), get.clone(), &path(&format!("/pull-requests?{query}")), None);
    let query = "state=OPEN&direction=OUTGOING&order=OLDEST&limit=100&start=0";
    check(build::list_open(site, 0), get.clone(), &path(&format!("/pull-requests?{query}")), None);
    check(build::read(site, 7), get.clone(), &path("/pull-requests/7"), None);
    check(build::properties(), get.clone(), "/api/1.0/application-properties", None);
    let query = "filterText=a%2Fb%231&boostMatches=true&limit=100";
    check(build::branch(site, &branch("a/b#1")), get.clone(), &path(&format!("/branches?{query}")), None);
    let repository = json!({"slug": "config", "project": {"key": "prj"}});
    let body = json!({
        "title": "t", "description": "b", "draft": true,
        "fromRef": {"id": "refs/heads/promotion/a#1", "repository": repository},
        "toRef": {"id": "refs/heads/release/1", "repository": repository},
    });
    check(build::create(site, &new(true)), post.clone(), &path("/pull-requests"), Some(body));
    let bob = json!([{"user": {"name": "bob"}}]);
    let body = json!({"version": 4, "title": "t", "description": "b", "reviewers": bob});
    check(build::update(site, &seen(), "t", "b"), put.clone(), &path("/pull-requests/7"), Some(body));
    let missing = Attributes { reviewers: vec!["ann".to_owned(), "Bob".to_owned()], ..Attributes::default() };
    let both = json!([{"user": {"name": "bob"}}, {"user": {"name": "ann"}}]);
    let body = json!({"version": 4, "title": "t", "description": "", "reviewers": both});
    check(build::dress(site, &seen(), &missing), put, &path("/pull-requests/7"), Some(body));
    let merge = path("/pull-requests/7/merge?version=4");
    check(build::merge(site, &seen(), Merge::Auto), post.clone(), &merge, Some(json!({"autoMerge": true})));
    check(build::merge(site, &seen(), Merge::Immediate), post.clone(), &merge, Some(json!({})));
    check(build::close(site, &seen()), post.clone(), &path("/pull-requests/7/decline?version=4"), Some(json!({})));
    check(build::comments(site, 7), get, &path("/pull-requests/7/activities?limit=100"), None);
    check(build::comment(site, 7, "c"), post, &path("/pull-requests/7/comments"), Some(json!({"text": "c"})));
    let body = json!({"name": "refs/heads/a", "dryRun": false});
    let path = "/branch-utils/1.0/projects/prj/repos/config/branches";
    check(build::delete_branch(site, &branch("a")), Method::DELETE, path, Some(body));
}

#[test]
fn states_are_told_apart() {
    let check = |state: &str, expect: PullRequestState| {
        let body = json!({"values": [pull(state, 3)], "isLastPage": false, "nextPageStart": 42});
        let mut page = parse::list(&answer(&site(), 200, &body), 0).unwrap();
        let found = page.pulls.remove(0);
        assert_eq!((found.state, page.next, found.head.as_str()), (expect, Some(42), "promotion/a"));
        assert_eq!(found.merged_commit.is_some(), expect == PullRequestState::Merged);
        assert_eq!((found.attributes.reviewers, found.attributes.draft), (vec!["bob".to_owned()], true));
    };
    check("OPEN", PullRequestState::Open);
    check("MERGED", PullRequestState::Merged);
    check("DECLINED", PullRequestState::Closed);
    check("BRAND_NEW", PullRequestState::Open);
}

#[test]
fn forks_are_not_seen() {
    let body = json!({"values": [pull("OPEN", 4)], "isLastPage": true, "nextPageStart": null});
    let page = parse::list(&answer(&site(), 200, &body), 0).unwrap();
    assert_eq!((page.pulls, page.next), (Vec::new(), None));
}

fn errors(kind: &str, message: &str) -> Value {
    json!({"errors": [{"context": null, "message": message, "exceptionName": format!("com.atlassian.bitbucket.pull.{kind}")}]})
}

#[test]
fn created_or_not() {
    let of = |status, body: &Value| parse::created(answer(&site(), status, body));
    assert!(matches!(of(201, &pull("OPEN", 3)), Ok(Created::Done(pull)) if pull.number == 7));
    assert!(matches!(of(409, &errors("DuplicatePullRequestException", "Only one")), Ok(Created::Exists)));
    let error = of(409, &errors("EmptyPullRequestException", "main is up-to-date")).unwrap_err().to_string();
    assert!(error.ends_with("409: main is up-to-date"), "{error}");
    assert!(parse::is_out_of_date(&answer(&site(), 409, &errors("PullRequestOutOfDateException", "stale"))));
}

#[test]
fn merged_or_not() {
    let of = |status, body: &Value| parse::merged(answer(&site(), status, body));
    assert_eq!(of(200, &pull("MERGED", 3)).unwrap(), Merged::Done);
    assert_eq!(of(200, &pull("OPEN", 3)).unwrap(), Merged::Scheduled);
    let mut vetoed = errors("PullRequestMergeVetoedException", "vetoed");
    vetoed["errors"][0]["vetoes"] = json!([{"summaryMessage": "Not all required builds are green"}]);
    assert_eq!(of(409, &vetoed).unwrap(), Merged::NotYet("Not all required builds are green".to_owned()));
    assert_eq!(of(409, &errors("Other", "conflicts")).unwrap(), Merged::NotYet("conflicts".to_owned()));
    assert!(of(401, &errors("Other", "no")).is_err());
}

#[test]
fn branches_are_told_from_those_that_hold_their_name() {
    let of = |id: &str| parse::branch(answer(&site(), 200, &json!({"values": [{"id": id}]})), &branch("a")).unwrap();
    assert!(of("refs/heads/a"));
    assert!(!of("refs/heads/a/b"));
}

#[test]
fn versions_are_compared_by_number() {
    assert_eq!(parse::version("8.19.1"), Some((8, 19)));
    assert!(parse::version("10.2") > parse::version("9.18.0"));
    assert_eq!(parse::version("latest"), None);
}
