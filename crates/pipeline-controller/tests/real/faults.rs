//! What a team gets wrong, and what breaks on the way: each gives a condition that names the cause, and no storm of retries.

use std::time::Duration;

use anyhow::Result;
use http::StatusCode;
use pipeline_api::Phase;
use pipeline_api::conditions::ConditionType;
use serde_json::json;
use testbed::git_server::TOKEN;
use testbed::{Fault, Rule};

use crate::world::{Hosts, World, promotion, told};

fn requests(hosts: &Hosts) -> usize {
    hosts.git.requests().len() + hosts.github.requests().len()
}

/// A world in which 6.1.0 is about to be promoted by pull request on GitHub.
async fn world(token: &str) -> Result<(World, Hosts)> {
    let world = World::new().await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.secret("fleet", json!({"token": token})).await?;
    Ok((world, hosts))
}

/// Waits for the failure, checks that it is told well, and that little is asked of the hosts from then on.
async fn fails(world: &World, hosts: &Hosts, words: &[&str]) -> Result<()> {
    world.dev_is_at("6.1.0").await?;
    let status = world.until_not_ready(words).await?;
    assert_eq!(told(&status, ConditionType::Ready), "False PromotionFailed");
    let message = promotion(&status).and_then(|promotion| promotion.message.clone()).unwrap_or_default();
    assert!(words.iter().all(|word| message.contains(word) || *word == "prod"), "{message}");
    assert!(!serde_json::to_string(&status)?.contains(TOKEN) && !world.log().contains(TOKEN), "the token is shown");
    let before = requests(hosts);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let more = requests(hosts) - before;
    assert!(more <= 12, "{more} requests within five seconds after the failure");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_bad_token_is_named_and_a_good_one_mends_it() -> Result<()> {
    let (world, hosts) = world("wrong").await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    fails(&world, &hosts, &["prod", "401", "acme/fleet"]).await?;
    let status = world.status().await?;
    assert_eq!(told(&status, ConditionType::Stalled), "True PromotionFailed");
    world.secret("fleet", json!({"token": TOKEN})).await?;
    world.promotion("6.1.0", Phase::Open).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_missing_secret_is_named_and_waited_for() -> Result<()> {
    let (world, hosts) = world(TOKEN).await?;
    let mut promotion = hosts.promotion("acme/fleet");
    promotion["pullRequest"]["secretRef"] = json!("elsewhere");
    world.pipeline(promotion).await?;
    fails(&world, &hosts, &["prod", "elsewhere"]).await?;
    world.secret("elsewhere", json!({"token": TOKEN})).await?;
    world.promotion("6.1.0", Phase::Open).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_secret_without_a_usable_key_is_named() -> Result<()> {
    let (world, hosts) = world(TOKEN).await?;
    world.secret("keyless", json!({"tokn": TOKEN})).await?;
    let mut promotion = hosts.promotion("acme/fleet");
    promotion["pullRequest"]["secretRef"] = json!("keyless");
    world.pipeline(promotion).await?;
    fails(&world, &hosts, &["prod", "keyless", "token"]).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_absent_repository_is_named() -> Result<()> {
    let (world, hosts) = world(TOKEN).await?;
    world.pipeline(hosts.promotion("acme/nowhere")).await?;
    fails(&world, &hosts, &["prod", "acme/nowhere", "404"]).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_absent_marker_is_named_and_nothing_is_pushed() -> Result<()> {
    let (world, hosts) = world(TOKEN).await?;
    let repo = hosts.git.create_repo("acme/bare", &[("prod.yaml", "version: 6.0.0\n")]).await?;
    world.pipeline(hosts.promotion("acme/bare")).await?;
    fails(&world, &hosts, &["prod", &format!("{}:podinfo:prod", world.namespace), "acme/bare"]).await?;
    assert_eq!(repo.branches().await?.len(), 1);
    assert!(hosts.github.pulls("acme/bare").await?.is_empty());

    let marked = format!("version: 6.0.0 # {{\"$promotion\": \"{}:podinfo:prod\"}}\n", world.namespace);
    repo.commit("main", &[("prod.yaml", marked.as_str())], "Mark the version").await?;
    world.promotion("6.1.0", Phase::Open).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_unreachable_host_is_named_and_tried_again() -> Result<()> {
    let (world, hosts) = world(TOKEN).await?;
    let port = testbed::ports::free()?;
    let mut promotion = hosts.promotion("acme/fleet");
    promotion["pullRequest"]["url"] = json!(format!("https://127.0.0.1:{port}/acme/fleet.git"));
    promotion["pullRequest"]["apiUrl"] = json!(format!("https://127.0.0.1:{port}/api/v3"));
    world.pipeline(promotion).await?;
    fails(&world, &hosts, &["prod", &port.to_string()]).await?;
    let status = world.status().await?;
    let attempts = status.environments["prod"].promotion.as_ref().map(|promotion| promotion.attempts);
    assert!(attempts.is_some_and(|attempts| (2..=6).contains(&attempts)), "{attempts:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_host_that_fails_for_a_while_is_waited_for() -> Result<()> {
    let (world, hosts) = world(TOKEN).await?;
    hosts.github.inject(Rule::times(3, Fault::status(StatusCode::BAD_GATEWAY)));
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    world.until_not_ready(&["prod", "502"]).await?;
    world.promotion("6.1.0", Phase::Open).await?;
    assert_eq!(hosts.github.pulls("acme/fleet").await?.len(), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_limit_of_a_host_is_respected() -> Result<()> {
    let (world, hosts) = world(TOKEN).await?;
    let wait = Duration::from_secs(4);
    hosts.github.inject(Rule::once(Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, wait)));
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    world.until_not_ready(&["prod", "429"]).await?;
    let limited = hosts.github.requests().len();
    world.promotion("6.1.0", Phase::Open).await?;
    let requests = hosts.github.requests();
    let [first, second] = [&requests[limited - 1], &requests[limited]].map(|request| request.time);
    assert!(second.duration_since(first).as_secs() >= 4, "asked again after {}", second.duration_since(first));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn one_bad_pipeline_does_not_hold_the_others() -> Result<()> {
    let (world, hosts) = world(TOKEN).await?;
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = hanging.local_addr()?;
    for n in 0..8 {
        world
            .apply(json!({
                "apiVersion": "pipelines.weave.works/v1alpha1",
                "kind": "Pipeline",
                "metadata": {"name": format!("hanging-{n}"), "namespace": world.namespace},
                "spec": {
                    "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                    "environments": [
                        {"name": "dev", "targets": [{"namespace": world.dev}]},
                        {"name": "prod", "targets": [{"namespace": world.prod}]},
                    ],
                    "promotion": {"webhook": {"url": format!("https://{address}/{n}")}},
                },
            }))
            .await?;
    }
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_kind_that_is_not_installed_is_named() -> Result<()> {
    let (world, hosts) = world(TOKEN).await?;
    world
        .apply(json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "podinfo", "namespace": world.namespace},
            "spec": {
                "appRef": {"apiVersion": "apps.example.com/v1", "kind": "Widget", "name": "podinfo"},
                "environments": [{"name": "dev", "targets": [{"namespace": world.dev}]}],
                "promotion": hosts.promotion("acme/fleet"),
            },
        }))
        .await?;
    let status = world.until_not_ready(&["Widget", "apps.example.com"]).await?;
    assert_eq!(told(&status, ConditionType::Ready), "False TargetNotReadable");
    Ok(())
}
