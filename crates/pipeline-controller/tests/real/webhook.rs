//! Promotion by webhook.

use std::time::Duration;

use anyhow::Result;
use http::StatusCode;
use pipeline_api::Phase;
use pipeline_api::conditions::ConditionType;
use serde_json::{Value, json};
use testbed::{Fault, Receiver};

use crate::world::{PATIENCE, World, told};

const KEY: &str = "a key that both sides know";

async fn world_with_receiver() -> Result<(World, Receiver)> {
    let world = World::new().await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    receiver.require_signature(KEY);
    world.helm_releases("6.0.0").await?;
    world.secret("receiver", json!({"token": KEY, "headers": "Authorization: Bearer of-the-receiver\n"})).await?;
    world.pipeline(json!({"webhook": {"url": receiver.url(), "secretRef": "receiver"}})).await?;
    Ok((world, receiver))
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_event_is_signed_and_sent_once() -> Result<()> {
    let (world, receiver) = world_with_receiver().await?;
    world.dev_is_at("6.1.0").await?;
    let delivered = world.promotion("6.1.0", Phase::Delivered).await?;
    let received = receiver.wait_for(1, PATIENCE).await?;
    received[0].verify(KEY)?;
    assert_eq!(received[0].header("webhook-id"), Some(delivered.id.as_str()));
    assert_eq!(received[0].header("authorization"), Some("Bearer of-the-receiver"));
    let body: Value = serde_json::from_slice(&received[0].body)?;
    assert_eq!(body["involvedObject"]["kind"], "Pipeline");
    assert_eq!(body["metadata"]["version"], "6.1.0");
    assert_eq!(body["metadata"]["previousVersion"], "6.0.0");
    assert_eq!(body["metadata"]["environment"], "prod");
    assert_eq!(body["metadata"]["sourceEnvironment"], "dev");
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(receiver.received().len(), 1);
    assert!(!world.log().contains(KEY) && !world.log().contains("of-the-receiver"), "a secret is in the log");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_receiver_that_is_away_is_tried_again_with_the_same_id() -> Result<()> {
    let (world, receiver) = world_with_receiver().await?;
    receiver.script([Fault::status(StatusCode::SERVICE_UNAVAILABLE)]);
    world.dev_is_at("6.1.0").await?;
    let status = world.until_not_ready(&["prod", "503"]).await?;
    assert_eq!(told(&status, ConditionType::Reconciling), "True Progressing");
    world.promotion("6.1.0", Phase::Delivered).await?;
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    assert_eq!(received[0].body, received[1].body);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_refusal_is_final_until_the_secret_changes() -> Result<()> {
    let (mut world, receiver) = world_with_receiver().await?;
    world.secret("receiver", json!({"token": "another key"})).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Failed).await?;
    let status = world.until_not_ready(&["prod", "401"]).await?;
    assert_eq!(told(&status, ConditionType::Stalled), "True PromotionFailed");
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.kill().await?;
    world.start(&[]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.received().len(), 1, "a refused event was sent again");

    world.secret("receiver", json!({"token": KEY})).await?;
    world.cluster.kubectl(&["annotate", "pipeline", "podinfo", "-n", &world.namespace, "example.com/look=now"]).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_address_in_the_secret_wins() -> Result<()> {
    let (world, receiver) = world_with_receiver().await?;
    let mut address = receiver.url();
    address.set_path("/somewhere/secret");
    world.secret("receiver", json!({"token": KEY, "address": address})).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    assert_eq!(receiver.received()[0].path, "/somewhere/secret");
    let status = serde_json::to_string(&world.status().await?)?;
    assert!(!status.contains("somewhere") && !world.log().contains("somewhere"), "the address is shown");
    Ok(())
}
