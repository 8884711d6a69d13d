//! Second act: dev to prod by webhook.

use anyhow::{Context as _, ensure};
use pipeline_api::Phase;
use serde_json::{Value, json};

use super::PATIENCE;
use super::stage::Stage;

const KEY: &str = "a key that both sides know";
const OLD: &str = "main@sha1:5394cb7f48332b2de7c17dd8b8384bbc84b7e738";
const NEW: &str = "main@sha1:0647aea75b85755411b007a290b9321668370be5";

pub async fn play(stage: &Stage) -> anyhow::Result<()> {
    let (cluster, receiver) = (&stage.bed.control_plane, &stage.receiver);
    stage.headline("By webhook: shop goes from dev to prod");
    for namespace in ["dev", "prod"] {
        cluster
            .apply(&format!(
                "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: shop, namespace: {namespace}}}\nspec: {{}}\n"
            ))
            .await?;
        cluster.set_kustomization_ready(namespace, "shop", OLD).await?;
    }
    stage.say("Kustomization shop is ready at the same commit in dev and prod");
    receiver.require_signature(KEY);
    stage.secret("receiver", json!({"token": KEY})).await?;
    stage
        .apply_example(
            "examples/demo/webhook.yaml",
            &[("https://receiver.example.com/webhooks/promotion", receiver.url().as_str())],
        )
        .await?;

    cluster.set_kustomization_ready("dev", "shop", NEW).await?;
    stage.say(&format!("dev is ready at {NEW}"));
    let received = receiver.wait_for(1, PATIENCE).await?;
    let event = received.first().context("nothing was received")?;
    event.verify(KEY)?;
    stage.say(&format!("{} {} received, signature verified, answered 202", event.method, event.path));
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature", "x-signature"] {
        stage.show(&format!("{name}: {}", event.header(name).with_context(|| format!("no {name}"))?));
    }
    let body: Value = serde_json::from_slice(&event.body)?;
    stage.show(&serde_json::to_string_pretty(&body)?);
    let delivered = stage.promotion("shop", &[Phase::Delivered]).await?;
    ensure!(event.header("webhook-id") == Some(delivered.id.as_str()), "another promotion was delivered");
    stage.say("the controller has it on record as Delivered");

    cluster.set_kustomization_ready("prod", "shop", NEW).await?;
    stage.say("prod is ready at the same commit (the demo imitates the receiver's work)");
    stage.promotion("shop", &[Phase::Succeeded]).await?;
    ensure!(receiver.received().len() == 1, "the event was sent more than once");
    stage.say("status: Succeeded; the event was sent exactly once");
    stage.show(&cluster.kubectl(&["get", "pipeline", "shop"]).await?);
    Ok(())
}
