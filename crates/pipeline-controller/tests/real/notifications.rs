//! Flux events of transitions, for `--events-addr`.

use std::time::Duration;

use anyhow::Result;
use pipeline_api::Phase;
use serde_json::{Value, json};
use testbed::Receiver;

use crate::world::World;

async fn promoted(events: &str) -> Result<World> {
    let mut world = World::without_controller().await?;
    world.start(&["--events-addr", events]).await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    Ok(world)
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn transitions_are_sent_as_flux_events() -> Result<()> {
    let bed = testbed::shared().await?;
    let controller = Receiver::start(&bed.ca).await?;
    // What fails at first is sent again.
    controller.script([testbed::Fault::status(http::StatusCode::SERVICE_UNAVAILABLE)]);
    let world = promoted(controller.url().as_str()).await?;
    let expect = ["PromotionStarted", "PromotionDelivered", "PromotionSucceeded"];
    let mut events: Vec<Value> = Vec::new();
    for _ in 0..100 {
        let taken =
            controller.received().into_iter().filter(|event| event.status.is_some_and(|status| status.is_success()));
        events = taken.map(|event| serde_json::from_slice(&event.body)).collect::<Result<_, _>>()?;
        if events.len() >= expect.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let reasons: Vec<&str> = events.iter().filter_map(|event| event["reason"].as_str()).collect();
    assert_eq!(reasons, expect);
    for event in events {
        assert_eq!(event["involvedObject"]["kind"], "Pipeline");
        assert_eq!(event["involvedObject"]["namespace"], json!(world.namespace));
        assert_eq!(event["severity"], "info");
        assert_eq!(event["metadata"]["pipelines.weave.works/revision"], "6.1.0");
        assert_eq!(event["metadata"]["pipelines.weave.works/environment"], "prod");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn whoever_does_not_listen_holds_nothing_up() -> Result<()> {
    // Accepts, and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    promoted(&format!("http://{}/", silent.local_addr()?)).await?;
    promoted("http://notification-controller.invalid/").await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_promotion_by_notification_is_handed_to_flux() -> Result<()> {
    let mut world = World::without_controller().await?;
    let controller = Receiver::start(&world.bed.ca).await?;
    // The event of the promotion's beginning, and the first try of its own.
    controller.script([
        testbed::Fault::status(http::StatusCode::OK),
        testbed::Fault::status(http::StatusCode::SERVICE_UNAVAILABLE),
    ]);
    world.start(&["--events-addr", controller.url().as_str()]).await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"strategy": {"notification": {}}})).await?;
    world.dev_is_at("6.1.0").await?;
    let delivered = world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;

    let taken =
        controller.received().into_iter().filter(|event| event.status.is_some_and(|status| status.is_success()));
    let events = taken.map(|event| serde_json::from_slice(&event.body)).collect::<Result<Vec<Value>, _>>()?;
    let promote: Vec<&Value> = events.iter().filter(|event| event["reason"] == "Promote").collect();
    let [promote] = promote.as_slice() else { anyhow::bail!("{events:?}") };
    let message = format!("Promote pipeline {}/podinfo to prod with version 6.1.0", world.namespace);
    assert_eq!(promote["message"], json!(message));
    let metadata = |key: &str| &promote["metadata"][format!("pipelines.weave.works/{key}")];
    assert_eq!(metadata("promotionId"), &json!(delivered.id));
    for (key, value) in [
        ("pipeline", "podinfo"),
        ("environment", "prod"),
        ("sourceEnvironment", "dev"),
        ("version", "6.1.0"),
        ("previousVersion", "6.0.0"),
        ("appKind", "HelmRelease"),
        ("appName", "podinfo"),
    ] {
        assert_eq!(metadata(key), value, "{key}");
    }
    Ok(())
}
