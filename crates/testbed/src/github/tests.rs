//! The imitation of GitHub as a client sees it, and the repository below it.

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    faults::{Hold, Location},
    git_server::{RepoHandle, TOKEN},
};

const REPO: &str = "team/fleet";

struct Bed {
    _folder: TempDir,
    git: GitServer,
    repo: RepoHandle,
    github: GitHub,
    client: reqwest::Client,
}

impl Bed {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::generate(folder.path()).unwrap();
        let git = GitServer::start(&ca).await.unwrap();
        let repo = git.create_repo(REPO, &[("app.yaml", "version: 1\n")]).await.unwrap();
        let github = GitHub::start(&ca, &git).await.unwrap();
        let bed = Self { git, repo, github, client: ca.http_client().unwrap(), _folder: folder };
        bed.branch("feature/x", "version: 2\n").await;
        bed
    }

    async fn branch(&self, name: &str, content: &str) -> String {
        self.repo.set_branch(name, "main").await.unwrap();
        self.repo.commit(name, &[("app.yaml", content)], "Change").await.unwrap()
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}/repos/{REPO}{path}", self.github.api_url())).bearer_auth(TOKEN)
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let answer = self.request(method, path).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn create(&self, head: &str) -> (u16, Value) {
        self.send(Method::POST, "/pulls", json!({"title": "Promote", "head": head, "base": "main", "body": "text"}))
            .await
    }
}

fn reason(body: &Value) -> String {
    let error = &body["errors"][0];
    match error["message"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("{} {}", error["field"].as_str().unwrap_or("?"), error["code"].as_str().unwrap_or("?")),
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_pull_request_is_created_found_and_merged() {
    let bed = Bed::start().await;
    let head = bed.repo.rev_parse("feature/x").await.unwrap();
    let (status, pull) = bed.create("feature/x").await;
    assert_eq!(
        (status, &pull["number"], &pull["state"], &pull["merged"]),
        (201, &json!(1), &json!("open"), &json!(false))
    );
    assert_eq!((&pull["head"]["sha"], &pull["head"]["label"]), (&json!(head), &json!("team:feature/x")));

    let (status, found) = bed.get("/pulls?head=team:feature/x&state=all").await;
    assert_eq!((status, found.as_array().unwrap().len(), &found[0]["number"]), (200, 1, &json!(1)));
    assert_eq!(bed.get("/pulls?head=team:other&state=all").await.1, json!([]));
    assert_eq!(bed.get("/pulls/1").await.1["mergeable_state"], "clean");

    let other = "0".repeat(40);
    assert_eq!(bed.send(Method::PUT, "/pulls/1/merge", json!({"sha": other})).await.0, 409);
    let (status, merged) = bed.send(Method::PUT, "/pulls/1/merge", json!({"sha": head})).await;
    assert_eq!((status, &merged["merged"]), (200, &json!(true)));
    assert_eq!(bed.send(Method::PUT, "/pulls/1/merge", json!({})).await.0, 405);
    assert_eq!(bed.repo.show("main:app.yaml").await.unwrap(), b"version: 2\n");
    let commit = &bed.repo.log("main").await.unwrap()[0];
    assert_eq!(commit.id, merged["sha"].as_str().unwrap());
    assert_eq!(commit.message, "Merge pull request #1 from team/feature/x\n\nPromote\n");
    assert_eq!(commit.parents.len(), 2);
    bed.repo.fsck().await.unwrap();

    assert_eq!(bed.send(Method::DELETE, "/git/refs/heads/feature/x", json!({})).await.0, 204);
    let (status, gone) = bed.send(Method::DELETE, "/git/refs/heads/feature/x", json!({})).await;
    assert_eq!((status, gone["message"].as_str()), (422, Some("Reference does not exist")));
    let pull = bed.get("/pulls/1").await.1;
    assert_eq!((&pull["state"], &pull["merged"]), (&json!("closed"), &json!(true)));
    assert!(pull["merged_at"].is_string());
    assert_eq!(bed.github.pull(REPO, 1).await.unwrap().state, PullState::Merged);
    assert_eq!(bed.send(Method::PATCH, "/pulls/1", json!({"state": "open"})).await.0, 422);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_client_library_for_the_real_github_reads_the_answers() {
    let bed = Bed::start().await;
    let created = bed.create("feature/x").await.1;
    let pull: octocrab::models::pulls::PullRequest = serde_json::from_value(created).unwrap();
    assert_eq!((pull.number, pull.merged), (1, Some(false)));
    let comment = bed.send(Method::POST, "/issues/1/comments", json!({"body": "text"})).await.1;
    serde_json::from_value::<octocrab::models::issues::Comment>(comment).unwrap();
    let labels = bed.send(Method::POST, "/issues/1/labels", json!({"labels": ["promotion"]})).await.1;
    serde_json::from_value::<Vec<octocrab::models::Label>>(labels).unwrap();
    bed.github.merge(REPO, 1).await.unwrap();
    let pulls = bed.get("/pulls?state=all").await.1;
    let pulls: Vec<octocrab::models::pulls::PullRequest> = serde_json::from_value(pulls).unwrap();
    assert!(pulls[0].merged_at.is_some());
    serde_json::from_value::<octocrab::models::Repository>(bed.get("").await.1).unwrap();
    serde_json::from_value::<octocrab::models::repos::Ref>(bed.get("/git/ref/heads/main").await.1).unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_github_refuses_is_refused() {
    let bed = Bed::start().await;
    bed.repo.set_branch("same", "main").await.unwrap();
    assert_eq!(bed.create("team:feature/x").await.0, 201);
    let long = "x".repeat(257);
    for (body, expect) in [
        (
            json!({"title": "t", "head": "feature/x", "base": "main"}),
            "A pull request already exists for team:feature/x.",
        ),
        (json!({"title": "t", "head": "same", "base": "main"}), "No commits between main and same"),
        (json!({"title": "t", "head": "absent", "base": "main"}), "head invalid"),
        (json!({"title": "t", "head": "other:feature/x", "base": "main"}), "head invalid"),
        (json!({"title": "t", "head": "feature/x", "base": "absent"}), "base invalid"),
        (json!({"title": " ", "head": "feature/x", "base": "main"}), "title missing_field"),
        (json!({"title": long, "head": "feature/x", "base": "main"}), "title is too long (maximum is 256 characters)"),
        (json!({"title": "t", "head": "feature/x"}), "? ?"),
    ] {
        let (status, answer) = bed.send(Method::POST, "/pulls", body).await;
        assert_eq!((status, reason(&answer).as_str()), (422, expect));
    }
    assert_eq!(bed.github.pulls(REPO).await.unwrap().len(), 1);
    assert_eq!(bed.request(Method::POST, "/pulls").body("{").send().await.unwrap().status(), 400);
    assert_eq!(bed.send(Method::PATCH, "/pulls/1", json!({"state": "merged"})).await.0, 422);
    assert_eq!(bed.get("/pulls?state=bogus").await.0, 422);
    assert_eq!(bed.get("/pulls/9").await.0, 404);
    assert_eq!(bed.get("/unknown").await.0, 404);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn pull_requests_are_updated_closed_and_reopened() {
    let bed = Bed::start().await;
    bed.create("feature/x").await;
    let change = json!({"title": "New", "body": "new", "state": "closed"});
    let (status, pull) = bed.send(Method::PATCH, "/pulls/1", change).await;
    assert_eq!(
        (status, &pull["title"], &pull["state"], &pull["merged_at"]),
        (200, &json!("New"), &json!("closed"), &json!(null))
    );
    assert_eq!(bed.send(Method::PATCH, "/pulls/1", json!({"state": "open"})).await.0, 200);
    assert_eq!(bed.github.pull(REPO, 1).await.unwrap().state, PullState::Open);
    bed.github.close(REPO, 1).await.unwrap();
    bed.github.close(REPO, 1).await.unwrap_err();
    bed.repo.delete_branch("feature/x").await.unwrap();
    let (status, answer) = bed.send(Method::PATCH, "/pulls/1", json!({"state": "open"})).await;
    assert_eq!(status, 422);
    assert!(reason(&answer).contains("has been deleted"), "{answer}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn pushes_show_on_open_pull_requests() {
    let bed = Bed::start().await;
    bed.create("feature/x").await;
    let tip = bed.branch("feature/x", "version: 3\n").await;
    assert_eq!(bed.get("/pulls/1").await.1["head"]["sha"], json!(tip));
    bed.repo.commit("main", &[("app.yaml", "version: 9\n")], "Meanwhile").await.unwrap();
    assert_eq!(bed.get("/pulls/1").await.1["mergeable_state"], "dirty");
    assert_eq!(bed.send(Method::PUT, "/pulls/1/merge", json!({})).await.0, 405);
    bed.repo.delete_branch("feature/x").await.unwrap();
    assert_eq!(bed.github.pull(REPO, 1).await.unwrap().state, PullState::Closed);

    bed.branch("feature/y", "version: 4\n").await;
    bed.create("feature/y").await;
    bed.repo.set_branch("main", "feature/y").await.unwrap();
    let pull = bed.github.pull(REPO, 2).await.unwrap();
    assert_eq!((pull.state, pull.merge_commit), (PullState::Merged, Some(pull.head_sha)));

    bed.branch("feature/z", "version: 5\n").await;
    bed.create("feature/z").await;
    let commit = bed.github.merge(REPO, 3).await.unwrap();
    assert_eq!(bed.repo.rev_parse("main").await.unwrap(), commit);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn lists_are_filtered_sorted_and_paged() {
    let bed = Bed::start().await;
    for n in 1..=5 {
        bed.branch(&format!("promotion/{n}"), &format!("version: {n}{n}\n")).await;
        bed.create(&format!("promotion/{n}")).await;
    }
    bed.github.close(REPO, 2).await.unwrap();
    let numbers = async |query: &str| {
        let (status, list) = bed.get(&format!("/pulls?{query}")).await;
        assert_eq!(status, 200);
        list.as_array().unwrap().iter().map(|pull| pull["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers("").await, [5, 4, 3, 1]);
    assert_eq!(numbers("state=closed").await, [2]);
    assert_eq!(numbers("state=all&sort=created&direction=asc").await, [1, 2, 3, 4, 5]);
    assert_eq!(numbers("state=all&sort=updated&direction=desc").await[0], 2);
    assert!(numbers("state=all&base=other").await.is_empty());
    assert_eq!(numbers("head=not-a-filter").await, [5, 4, 3, 1]);
    assert_eq!(numbers("state=all&per_page=2&page=2").await, [3, 2]);
    assert!(numbers("state=all&per_page=2&page=9").await.is_empty());

    let answer = bed.request(Method::GET, "/pulls?state=all&per_page=2&page=2").send().await.unwrap();
    let link = answer.headers()["link"].to_str().unwrap().to_owned();
    let relations: Vec<_> = link.split(", ").map(|part| part.split("rel=").nth(1).unwrap()).collect();
    assert_eq!(relations, ["\"prev\"", "\"next\"", "\"last\"", "\"first\""]);
    let next = link.split(", ").nth(1).unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
    let page: Value = bed.client.get(next).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!((page.as_array().unwrap().len(), &page[0]["number"]), (1, &json!(1)));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn comments_and_labels_are_kept() {
    let bed = Bed::start().await;
    bed.create("feature/x").await;
    assert_eq!(bed.send(Method::POST, "/issues/1/comments", json!({"body": "superseded"})).await.0, 201);
    assert_eq!(bed.send(Method::POST, "/issues/1/comments", json!({"body": ""})).await.0, 422);
    assert_eq!(bed.send(Method::POST, "/issues/9/comments", json!({"body": "x"})).await.0, 404);
    assert_eq!(bed.get("/issues/1/comments").await.1[0]["body"], "superseded");
    assert_eq!(bed.github.comments(REPO, 1).await.unwrap().len(), 1);
    bed.send(Method::POST, "/issues/1/labels", json!({"labels": ["promotion", "promotion"]})).await;
    assert_eq!(bed.get("/pulls/1").await.1["labels"][0]["name"], "promotion");
    assert_eq!(bed.github.pull(REPO, 1).await.unwrap().labels.len(), 1);
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn tokens_see_what_they_may() {
    let bed = Bed::start().await;
    bed.git.create_repo("team/secret", &[("a", "b")]).await.unwrap();
    bed.github.add_token("narrow", &[REPO]);
    let get = async |path: &str, authorization: Option<&str>| {
        let mut request = bed.client.get(format!("{}{path}", bed.github.api_url()));
        if let Some(value) = authorization {
            request = request.header("Authorization", value);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.headers().contains_key("x-ratelimit-remaining"));
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap()["message"].as_str().unwrap_or_default().to_owned())
    };
    let everything = format!("Bearer {TOKEN}");
    for (path, authorization, expect) in [
        ("/repos/team/fleet", Some("token narrow"), (200, "")),
        ("/repos/team/secret", Some("Bearer narrow"), (404, "Not Found")),
        ("/repos/team/secret", Some(everything.as_str()), (200, "")),
        ("/repos/team/absent", Some(everything.as_str()), (404, "Not Found")),
        ("/repos/team/fleet", Some("Bearer wrong"), (401, "Bad credentials")),
        ("/repos/team/fleet", None, (404, "Not Found")),
        ("/user", None, (401, "Requires authentication")),
        ("/user", Some("Bearer narrow"), (200, "")),
    ] {
        let (status, message) = get(path, authorization).await;
        assert_eq!((status, message.as_str()), expect, "{path} {authorization:?}");
    }
    bed.github.revoke_token("narrow");
    assert_eq!(get("/user", Some("Bearer narrow")).await.0, 401);
    let repo = bed.get("").await.1;
    assert_eq!(repo["clone_url"], bed.git.url(REPO).as_str());
    let requests = bed.github.requests();
    let refused = requests.iter().find(|request| !request.authorized).unwrap();
    assert_eq!((refused.step, refused.status), (Some(Call::Repo), Some(StatusCode::UNAUTHORIZED)));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_pushed_head_may_show_later() {
    let bed = Bed::start().await;
    bed.github.delay_heads(REPO, 2).await.unwrap();
    assert_eq!(bed.get("/branches/feature%2Fx").await.0, 200, "it was there before");
    let tip = bed.branch("late", "version: 7\n").await;
    assert_eq!(bed.get("/branches/late").await.0, 404);
    let (status, answer) = bed.create("late").await;
    assert_eq!((status, reason(&answer).as_str()), (422, "head invalid"));
    assert_eq!(bed.create("late").await.0, 201);
    assert_eq!(bed.get("/branches/late").await.1["commit"]["sha"], json!(tip));
    assert_eq!(bed.get("/git/ref/heads/late").await.1["object"]["sha"], json!(tip));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn faults_come_before_the_effect_or_after_it() {
    let bed = Bed::start().await;
    let other = GitServer::start(&Ca::load(bed._folder.path()).unwrap()).await.unwrap();
    let inject = |fault| bed.github.inject(Rule::once(fault).on(Call::CreatePull).repo(REPO));
    for (fault, status) in [
        (server_error(StatusCode::BAD_GATEWAY, When::Before), 502),
        (secondary_rate_limit(Duration::from_secs(60)), 403),
        (primary_rate_limit(now()), 403),
        (Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, Duration::from_secs(1)), 429),
        (Fault::Redirect(StatusCode::TEMPORARY_REDIRECT, Location::Origin(other.origin().clone())), 307),
        (Fault::html(), 200),
        (Fault::Huge(10_000), 200),
    ] {
        inject(fault);
        assert_eq!(bed.create("feature/x").await.0, status);
    }
    assert!(bed.github.pulls(REPO).await.unwrap().is_empty());

    inject(Fault::Drop(When::After));
    let lost = bed.request(Method::POST, "/pulls").json(&json!({"title": "t", "head": "feature/x", "base": "main"}));
    lost.send().await.unwrap_err();
    assert_eq!(bed.github.pulls(REPO).await.unwrap().len(), 1);
    assert_eq!(bed.create("feature/x").await.0, 422);

    bed.branch("feature/y", "version: 3\n").await;
    let hold = Hold::new();
    inject(Fault::Hold(When::After, hold.clone()));
    let ((status, _), ()) = tokio::join!(bed.create("feature/y"), async {
        hold.reached().await.unwrap();
        assert_eq!(bed.github.pulls(REPO).await.unwrap().len(), 2);
        hold.release();
    });
    assert_eq!(status, 201);
    let body: Value = serde_json::from_slice(&bed.github.requests().last().unwrap().body).unwrap();
    assert_eq!(body["head"], "feature/y");
}
