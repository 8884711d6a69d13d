//! Webhooks that a real Gitea delivers to the controller.

use anyhow::{Context as _, Result, bail};
use http::Method;
use pipeline_api::Phase;
use serde_json::{Value, json};
use testbed::gitea::Repo;

use crate::world::World;

const SECRET: &str = "canary-webhook-secret";

/// A controller that looks at an open pull request once an hour, and a repository whose webhook is signed with `secret`.
async fn open(secret: &str) -> Result<(World, Repo)> {
    let mut world = World::without_controller().await?;
    world.start(&["--pull-request-interval", "1h"]).await?;
    let gitea = &world.bed.gitea;
    let files = world.manifests("6.0.0");
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let repo = gitea.create_repo("hooks", &files).await?;
    let hook = json!({
        "type": "gitea",
        "active": true,
        "events": ["pull_request"],
        "config": {"url": format!("http://127.0.0.1:{}/hooks/gitea", world.hooks), "content_type": "json", "secret": secret},
    });
    let path = format!("repos/{}/{}/hooks", repo.owner, repo.name);
    let (status, answer) = gitea.api(Method::POST, &path, Some(&hook)).await?;
    assert_eq!(status, 201, "{answer}");
    world.helm_releases("6.0.0").await?;
    world.secret("fleet", json!({"token": gitea.token, "webhook-secret": SECRET})).await?;
    world
        .pipeline(json!({"pullRequest": {
            "url": repo.clone_url, "branch": "main", "provider": "gitea", "secretRef": "fleet",
        }}))
        .await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await?;
    Ok((world, repo))
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_merge_is_noticed_because_the_host_tells() -> Result<()> {
    let (world, repo) = open(SECRET).await?;
    world.bed.gitea.merge(&repo, 1).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    assert!(!world.log().contains(SECRET));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_close_is_noticed_because_the_host_tells() -> Result<()> {
    let (world, repo) = open(SECRET).await?;
    world.bed.gitea.close(&repo, 1).await?;
    world.promotion("6.1.0", Phase::Closed).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_delivery_with_another_secret_is_refused() -> Result<()> {
    let (world, repo) = open("another-secret").await?;
    world.bed.gitea.merge(&repo, 1).await?;
    let refused = async || -> Result<()> {
        let deadline = std::time::Instant::now() + crate::world::PATIENCE;
        while !world.log().contains("the delivery is not of who it says") {
            if std::time::Instant::now() > deadline {
                bail!("no delivery was refused; log:\n{}", world.log());
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Ok(())
    };
    refused().await?;
    let open = world.promotion("6.1.0", Phase::Open).await?;
    assert!(open.finished_time.is_none());

    // Whoever cannot sign can do nothing else either.
    let delivery: Value = json!({
        "action": "closed",
        "repository": {"full_name": format!("{}/{}", repo.owner, repo.name)},
        "pull_request": {"number": 1, "merged": true, "head": {"ref": "promotion/x"}},
    });
    let http = world.bed.ca.http_client()?;
    for sender in ["github", "gitlab", "gitea", "bitbucket", "azure"] {
        let answer =
            http.post(format!("http://127.0.0.1:{}/hooks/{sender}", world.hooks)).json(&delivery).send().await?;
        assert!(matches!(answer.status().as_u16(), 400 | 401), "{sender}: {}", answer.status());
    }
    open.url.context("the page of the pull request stays")?;
    Ok(())
}
