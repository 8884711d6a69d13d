//! Every request that GitHub gets is valid by GitHub's own descriptions, of github.com and of Enterprise Server.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use egress::{Egress, Identity, Policy};
use http::{Method, Request, header};
use promote_pr::{Attributes, Credentials, GitHubApp, Installation, MergePolicy};
use secrecy::SecretString;
use testbed::github::{MILESTONE, PERSON, TEAM};
use testbed::github_schema::{Description, Prism, check_graphql, is_available};

use crate::world::{World, loopback};

/// Method, path below the API, query and body.
type Asked = (String, String, Option<String>, Vec<u8>);

/// A life with everything in it: opened, dressed, rewritten, superseded, merged in all ways, withdrawn, as an App too.
async fn requests() -> Result<Vec<Asked>> {
    let mut all = BTreeMap::new();
    let names = |name: &str| vec![name.to_owned()];
    let attributes = Attributes {
        labels: names("promotion"),
        reviewers: names(PERSON),
        team_reviewers: names(TEAM),
        assignees: names(PERSON),
        milestone: Some(MILESTONE.to_owned()),
        draft: false,
    };
    for queue in [false, true] {
        let mut world = World::github().await?;
        let github = &world.github_place().github;
        let app = github.add_app("fleet")?;
        let app = |installation| {
            let private_key = SecretString::from(app.private_key.as_str());
            GitHubApp { app_id: app.id.clone(), installation, private_key, api_url: Some(github.api_url()) }
        };
        let app = if queue { app(Installation::Owner("fleet".to_owned())) } else { app(Installation::Id(7)) };
        github.block("fleet/config", true).await?;
        if queue {
            github.set_queue("fleet/config").await?;
        }
        world.credentials = Credentials { token: None, app: Some(app), ..world.credentials };

        let mut old = world.request("6.3.0");
        old.attributes.draft = true;
        let number = world.promoter.promote(&old, &world.credentials).await?.pull_request.context("none")?.number;
        world.rewrite(number, "Mine", "Nothing").await.ok();
        world.promoter.promote(&old, &world.credentials).await?;

        let mut new = world.request("6.4.0");
        (new.attributes, new.merge) = (attributes.clone(), MergePolicy::Auto);
        world.promoter.promote(&new, &world.credentials).await?;
        world.github_place().github.block("fleet/config", false).await?;
        world.promoter.promote(&new, &world.credentials).await?;

        let mut last = world.request("6.5.0");
        last.merge = if queue { MergePolicy::Auto } else { MergePolicy::Immediate };
        world.promoter.promote(&last, &world.credentials).await?;
        world.promoter.withdraw(&world.request("6.6.0"), &world.credentials, "the end").await?;
        for request in world.github_place().github.requests() {
            let Some(path) = request.path.strip_prefix("/api/") else { continue };
            let asked = (request.method.to_string(), path.to_owned(), request.query, request.body);
            all.insert(asked, ());
        }
    }
    Ok(all.into_keys().collect())
}

/// A reference's slashes are no ends of segments to Prism.
fn one_segment(path: &str) -> String {
    match path.split_once("/git/refs/") {
        Some((repository, reference)) => format!("{repository}/git/refs/{}", reference.replace('/', "%2F")),
        None => path.to_owned(),
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn every_request_is_valid_by_githubs_own_descriptions() -> Result<()> {
    if !is_available() {
        eprintln!("nothing is checked: there is no `node` with `npm` on PATH");
        return Ok(());
    }
    let requests = requests().await?;
    let graphql: Vec<_> =
        requests.iter().filter(|(_, path, ..)| path == "graphql").map(|(.., body)| body.clone()).collect();
    assert!(graphql.len() >= 3, "the question, auto-merge and the queue: {}", graphql.len());
    check_graphql(&graphql).await?;
    let wrong = br#"{"query": "query { repository(owner: \"a\", name: \"b\") { nothing } }"}"#.to_vec();
    let error = check_graphql(&[wrong]).await.unwrap_err().to_string();
    assert!(error.contains("Cannot query field"), "{error}");

    let client = Egress::new(Policy { allow_http: true, ..loopback() })?.client(&Identity::default())?;
    for description in Description::ALL {
        let prism = Prism::start(description).await?;
        let send = async |method: &str, path: &str, query: Option<&str>, body: &[u8]| {
            let mut url = prism.url.join(path)?;
            url.set_query(query);
            let mut request = Request::builder().method(method).uri(url.as_str());
            request = request.header(header::AUTHORIZATION, "Bearer x").header(header::ACCEPT, "application/json");
            if !body.is_empty() {
                request = request.header(header::CONTENT_TYPE, "application/json");
            }
            let answer = client.send(request.body(Bytes::copy_from_slice(body))?).await?;
            anyhow::Ok((answer.status(), String::from_utf8_lossy(answer.body()).into_owned()))
        };
        let mut operations = std::collections::BTreeSet::new();
        for (method, path, query, body) in requests.iter().filter(|(_, path, ..)| path != "graphql") {
            // The test's own look at the branches of others is not part of it.
            let path = one_segment(path.strip_prefix("v3/").context("a path of the REST API")?);
            let (status, text) = send(method, &path, query.as_deref(), body).await?;
            assert!(status.is_success(), "{description:?}: {method} {path} {query:?}: {status} {text}");
            let shape: Vec<_> =
                path.split('/').filter(|part| part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).collect();
            operations.insert(format!("{method} {}", shape.join("/")));
        }
        assert!(operations.len() >= 14, "{operations:?}");

        let pulls = "repos/fleet/config/pulls";
        for (method, path, query, body) in [
            (Method::POST, pulls, None, r#"{"title": "t", "base": "main"}"#),
            (Method::POST, pulls, None, r#"{"title": "t", "base": "main", "head": "a", "reviewer": "ann"}"#),
            (Method::GET, pulls, Some("state=bogus"), ""),
            (Method::PUT, "repos/fleet/config/pulls/7/merge", None, r#"{"merge_method": "fast-forward"}"#),
            (Method::GET, "repos/fleet/config/nothing", None, ""),
        ] {
            let (status, text) = send(method.as_str(), path, query, body.as_bytes()).await?;
            assert!(
                status.is_client_error(),
                "{description:?} lets this pass: {method} {path} {body}: {status} {text}"
            );
        }
    }
    Ok(())
}
