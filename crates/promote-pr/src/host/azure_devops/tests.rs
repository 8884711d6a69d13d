use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::host::tests::{HEAD, MERGED, answer, branch, check, line, new, password, shown, token};

fn open(repository: &str, api_url: Option<&str>) -> Result<AzureDevOps, Error> {
    let api_url = api_url.map(|url| url.parse().unwrap());
    AzureDevOps::open(&repository.parse().unwrap(), api_url.as_ref(), &token("x"), line(&egress::Identity::default()))
}

fn site() -> Site {
    open("https://dev.azure.com/org/My%20Project/_git/config", None).unwrap().rest.site
}

fn pull(status: &str) -> Value {
    json!({
        "pullRequestId": 7, "status": status, "title": "t", "isDraft": true,
        "sourceRefName": "refs/heads/promotion/a", "targetRefName": "refs/heads/main",
        "lastMergeSourceCommit": {"commitId": HEAD}, "lastMergeCommit": {"commitId": MERGED},
        "labels": [{"name": "prod", "active": true}], "reviewers": [{"id": "bob", "vote": 0}],
    })
}

#[test]
fn repositories_are_found_in_organizations_and_collections() {
    let check = |repository: &str, api_url: Option<&str>, api: &str, path: &str| {
        let host = open(repository, api_url).unwrap();
        assert_eq!((host.rest.api(), host.rest.site.path().as_str()), (api, path));
    };
    let of = |project: &str| format!("/{project}/_apis/git/repositories/config");
    let service = "https://dev.azure.com/org";
    check("https://dev.azure.com/org/fleet/_git/config", None, service, &of("fleet"));
    check("https://dev.azure.com/org/My%20Project/_git/config", None, service, &of("My%20Project"));
    check("https://dev.azure.com/org/_git/config", None, service, &of("config"));
    check("ssh://git@ssh.dev.azure.com/v3/org/fleet/config", None, service, &of("fleet"));
    check("https://org.visualstudio.com/fleet/_git/config", None, "https://org.visualstudio.com", &of("fleet"));
    check("https://org.visualstudio.com/_git/config", None, "https://org.visualstudio.com", &of("config"));
    let collection = "https://org.visualstudio.com/DefaultCollection";
    check(&format!("{collection}/fleet/_git/config"), None, collection, &of("fleet"));
    check(
        "https://tfs.example.com:8080/tfs/Main/fleet/_git/config",
        None,
        "https://tfs.example.com:8080/tfs/Main",
        &of("fleet"),
    );
    let api = "https://api.example.com/tfs/Main";
    check("https://tfs.example.com/tfs/Main/fleet/_git/config", Some(api), api, &of("fleet"));
    for bad in [
        "https://dev.azure.com/org/fleet/config",
        "https://dev.azure.com/org/a/b/_git/config",
        "https://dev.azure.com/org/%2e%2e%2fx/_git/config",
    ] {
        let error = open(bad, None).map(drop).unwrap_err().to_string();
        assert!(error.contains("is no repository of `azure-devops`"), "{error}");
    }
}

#[test]
fn tokens_are_the_password_of_nobody() {
    let check = |credentials: Credentials, value: &str| {
        let token = wire::token(&credentials).unwrap();
        assert_eq!(authorization(&credentials, &token).unwrap().1.to_str().unwrap(), value);
    };
    check(token("hunter2"), "Basic Omh1bnRlcjI=");
    check(password("ann", "hunter2"), "Basic YW5uOmh1bnRlcjI=");
}

#[test]
fn requests_are_as_documented() {
    let site = &site();
    let path = |rest: &str| format!("/My%20Project/_apis/git/repositories/config{rest}api-version=7.0");
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);
    let query = "searchCriteria.sourceRefName=refs%2Fheads%2Fa%2Fb%231&searchCriteria.targetRefName=refs%2Fheads%2Fmain\
                 &searchCriteria.status=all&$top=100&$skip=100&";
    let found = build::find(site, &branch("a/b#1"), &branch("main"), 100);
    check(found, get.clone(), &path(&format!("/pullrequests?{query}")), None);
    let query = "searchCriteria.status=active&$top=100&$skip=0&";
    check(build::list_open(site, 0), get.clone(), &path(&format!("/pullrequests?{query}")), None);
    check(build::read(site, 7), get.clone(), &path("/pullrequests/7?"), None);
    check(build::branch(site, &branch("a/b")), get.clone(), &path("/refs?filter=heads%2Fa%2Fb&"), None);
    let body = json!({
        "sourceRefName": "refs/heads/promotion/a#1", "targetRefName": "refs/heads/release/1",
        "title": "t", "description": "b", "isDraft": true,
    });
    check(build::create(site, &new(true)), post.clone(), &path("/pullrequests?"), Some(body));
    let body = json!({"title": "t", "description": "b"});
    check(build::update(site, 7, "t", "b"), patch.clone(), &path("/pullrequests/7?"), Some(body));
    check(build::add_label(site, 7, "x"), post.clone(), &path("/pullRequests/7/labels?"), Some(json!({"name": "x"})));
    let id = "3b5f0a4c-2f0e-4d4e-9d59-1d3d1c4ec0aa";
    let reviewer = path(&format!("/pullRequests/7/reviewers/{id}?"));
    check(build::add_reviewer(site, 7, id).unwrap(), Method::PUT, &reviewer, Some(json!({"vote": 0})));
    assert!(build::add_reviewer(site, 7, "../ann").is_err());
    check(build::connection(), get.clone(), "/_apis/connectionData?api-version=7.0-preview", None);
    let body = json!({"autoCompleteSetBy": {"id": "me"}});
    check(build::complete_later(site, 7, "me"), patch.clone(), &path("/pullrequests/7?"), Some(body));
    let body = json!({"status": "completed", "lastMergeSourceCommit": {"commitId": HEAD}});
    check(build::complete(site, &shown(false)), patch.clone(), &path("/pullrequests/7?"), Some(body));
    check(build::close(site, 7), patch, &path("/pullrequests/7?"), Some(json!({"status": "abandoned"})));
    check(build::comments(site, 7), get, &path("/pullRequests/7/threads?"), None);
    let comment = json!({"parentCommentId": 0, "content": "c", "commentType": "text"});
    let body = json!({"comments": [comment], "status": "closed"});
    check(build::comment(site, 7, "c"), post.clone(), &path("/pullRequests/7/threads?"), Some(body));
    let zero = "0000000000000000000000000000000000000000";
    let body = json!([{"name": "refs/heads/a", "oldObjectId": HEAD, "newObjectId": zero}]);
    check(build::delete_branch(site, &branch("a"), HEAD), post, &path("/refs?"), Some(body));
}

#[test]
fn states_are_told_apart() {
    let check = |status: &str, expect: PullRequestState| {
        let body = json!({"value": [pull(status)]});
        let page = parse::list(&answer(&site(), 200, &body), 0, |pull| pull.shown("https://x".to_owned()));
        let mut page = page.unwrap();
        let found = page.pulls.remove(0);
        assert_eq!((found.state, page.next, found.head.as_str()), (expect, None, "promotion/a"));
        assert_eq!(found.merged_commit.is_some(), expect == PullRequestState::Merged);
        assert_eq!((found.attributes.labels, found.attributes.draft), (vec!["prod".to_owned()], true));
    };
    check("active", PullRequestState::Open);
    check("completed", PullRequestState::Merged);
    check("abandoned", PullRequestState::Closed);
    check("notSet", PullRequestState::Open);
}

#[test]
fn forks_are_not_seen() {
    let mut fork = pull("active");
    fork["forkSource"] = json!({"name": "refs/heads/promotion/a"});
    let many = vec![fork; PAGE_SIZE];
    let page =
        parse::list(&answer(&site(), 200, &json!({"value": many})), 100, |pull| pull.shown(String::new())).unwrap();
    assert_eq!((page.pulls, page.next), (Vec::new(), Some(200)));
}

#[test]
fn created_or_not() {
    let of = |status, body: &Value| parse::created(answer(&site(), status, body));
    assert!(of(201, &pull("active")).unwrap().is_some());
    let exists = json!({"message": "TF401179: An active pull request already exists.", "typeKey": "GitPullRequestExistsException"});
    assert!(of(409, &exists).unwrap().is_none());
    let error = of(404, &json!({"message": "TF401019: no such repository"})).map(drop).unwrap_err().to_string();
    assert!(error.contains("404: TF401019: no such repository"), "{error}");
}

#[test]
fn merged_or_not() {
    let of = |status, body: &Value| parse::merged(answer(&site(), status, body));
    assert_eq!(of(200, &pull("completed")).unwrap(), Merged::Done);
    assert_eq!(of(200, &pull("active")).unwrap(), Merged::Scheduled);
    let policy = json!({"message": "TF402455: Pushes to this branch are not permitted"});
    assert!(matches!(of(403, &policy), Ok(Merged::NotYet(why)) if why.starts_with("TF402455")));
    assert!(of(403, &json!({"message": "TF401027: You need permission"})).is_err());
}

#[test]
fn deleted_or_not() {
    let of = |success: bool, status: &str| {
        let body = json!({"value": [{"name": "refs/heads/a", "success": success, "updateStatus": status}]});
        parse::deleted(answer(&site(), 200, &body))
    };
    assert!(of(true, "succeeded").unwrap());
    let error = of(false, "forcePushRequired").unwrap_err().to_string();
    assert!(error.ends_with("forcePushRequired"), "{error}");
}
