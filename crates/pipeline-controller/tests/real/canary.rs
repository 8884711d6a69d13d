//! A value in every key of every Secret, looked for everywhere but where it belongs.

use std::collections::BTreeSet;

use anyhow::Result;
use http::StatusCode;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use pipeline_api::{Phase, Pipeline};
use serde_json::json;
use testbed::git_server::TOKEN;
use testbed::{Fault, Receiver};

use crate::endpoints::{flux, now, standard};
use crate::world::World;

/// All that anybody without access to Secrets can read.
async fn shown(world: &World) -> Result<String> {
    let pipelines: Api<Pipeline> = Api::namespaced(world.client.clone(), &world.namespace);
    let events: Api<Event> = Api::namespaced(world.client.clone(), &world.namespace);
    let mut text = world.log();
    for pipeline in pipelines.list(&ListParams::default()).await? {
        text += &serde_json::to_string(&pipeline.status)?;
        text += &serde_json::to_string(&pipeline.metadata)?;
    }
    text += &serde_json::to_string(&events.list(&ListParams::default()).await?.items)?;
    Ok(text)
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn of_a_webhook() -> Result<()> {
    let world = World::new().await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    let mut address = receiver.url();
    address.set_path("/canary-path");
    address.set_query(Some("token=canary-query"));
    let values = json!({
        "address": address,
        "token": "canary-token",
        "token.previous": "canary-previous",
        "headers": "Authorization: Bearer canary-bearer\nX-Canary: canary-header\n",
        "hmac-key": "canary-hmac",
        "unknown": "canary-unknown",
    });
    world.secret("receiver", values.clone()).await?;
    world.pipeline(json!({"webhook": {"secretRef": "receiver", "timeout": "2s"}})).await?;

    // What comes back is no better than what goes out.
    let echo = |status| {
        let mut answer = testbed::faults::Answer::text(status);
        answer.body = "canary-answer canary-token".into();
        Fault::Answer(testbed::When::Before, answer)
    };
    receiver.script([echo(StatusCode::SERVICE_UNAVAILABLE)]);
    world.dev_is_at("6.1.0").await?;
    world.until_not_ready(&["503"]).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    receiver.script([echo(StatusCode::FORBIDDEN)]);
    world.dev_is_at("6.2.0").await?;
    world.promotion("6.2.0", Phase::Failed).await?;

    let received = receiver.received();
    let last = received.last().unwrap();
    assert_eq!(last.header("authorization"), Some("Bearer canary-bearer"));
    let on_the_wire = format!("{:?} {}", last.headers, String::from_utf8_lossy(&last.body));
    for unsent in ["canary-token", "canary-previous", "canary-hmac", "canary-unknown"] {
        assert!(!on_the_wire.contains(unsent), "{unsent} was sent");
    }

    // Each way to be wrong gives its own error, none of which quotes the value.
    let wrong = [
        ("address", json!("https://canary-user:canary-password@a.example/")),
        ("address", json!("canary address")),
        ("proxy", json!("http://canary-user:canary-password@127.0.0.1:9/canary")),
        ("proxy", json!("canary://canary")),
        ("token", json!("whsec_canary!")),
        ("headers", json!("X-A: [canary]")),
        ("headers", json!("X-A: \"canary\\ncanary\"")),
        ("ca.crt", json!("canary")),
        ("tls.key", json!("canary")),
    ];
    let mut messages = BTreeSet::new();
    for (index, (key, value)) in wrong.iter().enumerate() {
        let mut values = values.clone();
        values[*key] = value.clone();
        let secret = format!("broken-{index}");
        world.secret(&secret, values).await?;
        world.pipeline(json!({"webhook": {"secretRef": secret, "timeout": "2s"}})).await?;
        world.dev_is_at(&format!("6.3.{index}")).await?;
        let revision = format!("6.3.{index}");
        let status = world
            .until(&format!("{key} is told"), |status| {
                status.environments["prod"]
                    .promotion
                    .as_ref()
                    .is_some_and(|record| record.revision == revision && record.message.is_some())
            })
            .await?;
        messages.insert(status.environments["prod"].promotion.clone().unwrap().message.unwrap());
    }
    assert_eq!(messages.len(), wrong.len(), "{messages:?}");
    let shown = shown(&world).await?;
    let lines: Vec<&str> = shown.lines().filter(|line| line.contains("canary")).collect();
    assert!(lines.is_empty(), "a value is shown: {lines:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn of_a_pull_request() -> Result<()> {
    let world = World::new().await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.secret("fleet", json!({"token": TOKEN, "unknown": "canary-unknown"})).await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await?;
    let mut shown = shown(&world).await?;
    for pull in hosts.github.pulls("acme/fleet").await? {
        shown += &format!("{pull:?} {:?}", hosts.repo.log(&pull.head).await?);
    }
    for value in [TOKEN, "canary"] {
        assert!(!shown.contains(value), "{value} is shown");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn of_the_endpoints() -> Result<()> {
    const KEY: &str = "canary-hmac";
    let mut world = World::without_controller().await?;
    world.start(&["--allow-legacy-approval"]).await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.secret("hmac", json!({"hmac-key": KEY})).await?;
    world.pipeline(json!({"hmacSecretRef": "hmac", "manual": true, "webhook": {"url": receiver.url()}})).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::AwaitingApproval).await?;
    let mut answers = Vec::new();
    let good = world.event("6.1.0").to_string();
    let approval = world.approval_path("prod", "6.1.0");
    for (path, body) in
        [(world.place("dev"), good.as_str()), (world.place("qa"), &good), (approval.clone(), ""), (approval, &good)]
    {
        for key in [KEY, "other"] {
            let mut headers = standard(key, &format!("{key} {path}"), now().as_second(), body)?.to_vec();
            answers.push(world.send("POST", &path, &headers, body).await?);
            headers = vec![("X-Signature", flux(key, body))];
            answers.push(world.send("POST", &path, &headers, body).await?);
        }
    }
    world.promotion("6.1.0", Phase::Delivered).await?;
    // Neither the key, nor what it makes of what was sent: with that in the log, its readers could forge.
    let shown = shown(&world).await? + &format!("{answers:?}");
    for value in ["canary", &flux(KEY, &good), &flux(KEY, "")] {
        let value = value.trim_start_matches("sha256=");
        let lines: Vec<&str> = shown.lines().filter(|line| line.contains(value)).collect();
        assert!(lines.is_empty(), "{value} is shown: {lines:?}");
    }
    Ok(())
}
