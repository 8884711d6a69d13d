//! What Flux tells on `/promotion`: the old controller's answers, one test for each of its own, and targets that report by event.

use anyhow::{Context as _, Result};
use http::StatusCode;
use pipeline_api::{Phase, PipelineStatus};
use serde_json::{Value, json};
use testbed::{Fault, Receiver};

use crate::endpoints::{KEY, at, flux};
use crate::world::World;

/// dev and prod at 6.0.0 with a key, promoting by webhook.
async fn world(flags: &[&str], more: Value) -> Result<(World, Receiver)> {
    let mut world = World::without_controller().await?;
    world.start(flags).await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.key().await?;
    let mut promotion = json!({"hmacSecretRef": "hmac", "webhook": {"url": receiver.url()}});
    for (key, value) in more.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(promotion.as_object_mut().context("an object")?.remove(key)),
            value => promotion[key] = value.clone(),
        }
    }
    world.pipeline(promotion).await?;
    world.until("a first look", |status| status.observed_generation.is_some()).await?;
    Ok((world, receiver))
}

/// Pipeline podinfo over these environments.
async fn pipeline(world: &World, environments: Value, promotion: Option<Value>) -> Result<()> {
    let mut pipeline = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "podinfo", "namespace": world.namespace},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": environments,
        },
    });
    if let Some(promotion) = promotion {
        pipeline["spec"]["promotion"] = promotion;
    }
    world.apply(pipeline).await
}

/// An environment of the old controller's tests, without targets, at the end.
async fn no_targets(world: &World, receiver: &Receiver) -> Result<()> {
    let environments =
        json!([{"name": "dev", "targets": [{"namespace": world.dev}]}, {"name": "no-targets", "targets": []}]);
    pipeline(world, environments, Some(json!({"hmacSecretRef": "hmac", "webhook": {"url": receiver.url()}}))).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn another_method_than_post_is_405() -> Result<()> {
    let (world, _receiver) = world(&[], json!({})).await?;
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(world.send(method, &world.place("dev"), &[], "").await?.status, 405);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn another_path_is_404() -> Result<()> {
    let (world, _receiver) = world(&[], json!({})).await?;
    // The old controller took what followed the environment for nothing.
    for path in ["/", "/promotion", "/promotion/default/podinfo", &format!("{}/more", world.place("dev"))] {
        assert_eq!(world.send("POST", path, &[], "").await?.status, 404, "{path}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_empty_body_is_400() -> Result<()> {
    let (world, _receiver) = world(&[], json!({})).await?;
    let answer = world.send("POST", &world.place("dev"), &[("X-Signature", flux(KEY, ""))], "").await?;
    assert_eq!(answer.status, 400, "{answer:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_body_that_is_no_json_is_400() -> Result<()> {
    let (world, _receiver) = world(&[], json!({"hmacSecretRef": null})).await?;
    let answer = world.send("POST", &world.place("dev"), &[], "invalid").await?;
    assert_eq!(answer.status, 400, "{answer:?}");
    Ok(())
}

/// The old controller told it apart, by 404.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_unknown_pipeline_is_as_a_wrong_signature() -> Result<()> {
    let (world, _receiver) = world(&[], json!({})).await?;
    let body = world.event("6.1.0").to_string();
    let unknown = world.place("dev").replace("/podinfo/", "/other/");
    let unknown = world.send("POST", &unknown, &[("X-Signature", flux(KEY, &body))], &body).await?;
    let wrong = world.send("POST", &world.place("dev"), &[("X-Signature", flux("other", &body))], &body).await?;
    assert_eq!(unknown, wrong);
    assert!(wrong.is(401, "unauthorized\n"), "{wrong:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_good_signature_is_accepted() -> Result<()> {
    let (world, _receiver) = world(&[], json!({})).await?;
    let answer = world.tell(&world.event("6.1.0")).await?;
    assert!(answer.is(202, ""), "{answer:?}");
    let alias = world.place("dev").replace("/promotion/", "/pipelines/promotions/");
    let body = world.event("6.1.0").to_string();
    assert!(world.send("POST", &alias, &[("X-Signature", flux(KEY, &body))], &body).await?.is(202, ""));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_wrong_or_missing_signature_is_401() -> Result<()> {
    let (world, _receiver) = world(&[], json!({})).await?;
    let body = world.event("6.1.0").to_string();
    for headers in [vec![], vec![("X-Signature", flux("other", &body))], vec![("X-Signature", flux(KEY, "{}"))]] {
        let answer = world.send("POST", &world.place("dev"), &headers, &body).await?;
        assert!(answer.is(401, "unauthorized\n"), "{answer:?}");
    }
    // Nor does the log help whoever reads it to the right one.
    assert!(!world.log().contains(flux(KEY, &body).trim_start_matches("sha256=")));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn another_involved_object_is_422() -> Result<()> {
    let (world, _receiver) = world(&[], json!({})).await?;
    let others =
        [("name", "other"), ("namespace", "other"), ("apiVersion", "other.example/v1"), ("kind", "Kustomization")];
    for (field, value) in others {
        let mut event = world.event("6.1.0");
        event["involvedObject"][field] = json!(value);
        let answer = world.tell(&event).await?;
        assert!(answer.is(422, "involved object does not match Pipeline definition"), "{field}: {answer:?}");
    }
    // A version of the same group is no other object: the old controller refused everything after Flux' upgrade.
    let mut event = world.event("6.1.0");
    event["involvedObject"]["apiVersion"] = json!("helm.toolkit.fluxcd.io/v2beta1");
    assert!(world.tell(&event).await?.is(202, ""));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_last_environment_is_422() -> Result<()> {
    let (world, receiver) = world(&[], json!({})).await?;
    no_targets(&world, &receiver).await?;
    let answer = world.tell_of("no-targets", &world.event("6.1.0")).await?;
    assert!(answer.is(422, "cannot promote beyond last environment no-targets"), "{answer:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_next_environment_without_targets_is_422() -> Result<()> {
    let (world, receiver) = world(&[], json!({})).await?;
    no_targets(&world, &receiver).await?;
    let answer = world.tell(&world.event("6.1.0")).await?;
    assert!(answer.is(422, "environment no-targets has no targets"), "{answer:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_unknown_environment_is_422() -> Result<()> {
    let (world, _receiver) = world(&[], json!({})).await?;
    let answer = world.tell_of("foo", &world.event("6.1.0")).await?;
    assert!(answer.is(422, &format!("app {}/podinfo has no environment foo defined", world.namespace)), "{answer:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn no_revision_in_the_metadata_is_422_before_all_else() -> Result<()> {
    let (world, _receiver) = world(&[], json!({})).await?;
    let mut event = world.event("6.1.0");
    event.as_object_mut().unwrap().remove("metadata");
    let answer = world.tell_of("foo", &event).await?;
    assert!(answer.is(422, "event has no 'revision' in the metadata field."), "{answer:?}");
    Ok(())
}

/// 201 of the old controller came with the URL of the pull request that it had opened meanwhile.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn success_promotes_to_the_next_environment_and_tells_where() -> Result<()> {
    let mut world = World::without_controller().await?;
    world.start(&["--legacy-status-codes"]).await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.key().await?;
    let mut promotion = hosts.promotion("acme/fleet");
    promotion["hmacSecretRef"] = json!("hmac");
    world.pipeline(promotion).await?;
    world.dev_is_at("6.1.0").await?;
    let first = world.tell(&world.event("6.1.0")).await?;
    assert!(first.is(201, ""), "{first:?}");
    let open = world.promotion("6.1.0", Phase::Open).await?;
    let again = world.tell(&world.event("6.1.0")).await?;
    assert!(again.is(201, ""), "{again:?}");
    assert_eq!(again.location, open.url);
    assert_eq!(hosts.github.pulls("acme/fleet").await?.len(), 1);
    Ok(())
}

/// The old controller answered 500 and promoted again when Flux sent the event again.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_promotion_that_fails_is_no_failure_of_the_event() -> Result<()> {
    let (world, receiver) = world(&[], json!({})).await?;
    receiver.always(Fault::status(StatusCode::FORBIDDEN));
    world.dev_is_at("6.1.0").await?;
    let answer = world.tell(&world.event("6.1.0")).await?;
    assert!(answer.is(202, ""), "{answer:?}");
    world.promotion("6.1.0", Phase::Failed).await?;
    assert!(world.tell(&world.event("6.1.0")).await?.is(202, ""));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn without_a_location_the_old_code_is_204() -> Result<()> {
    let (world, _receiver) = world(&["--legacy-status-codes"], json!({})).await?;
    let answer = world.tell(&world.event("6.1.0")).await?;
    assert!(answer.is(204, "") && answer.location.is_none(), "{answer:?}");
    Ok(())
}

/// The old controller called that an error of its own, 500.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn without_a_promotion_it_is_422_and_nothing_is_promoted() -> Result<()> {
    let (world, receiver) = world(&[], json!({})).await?;
    let environments = json!([{"name": "dev", "targets": [{"namespace": world.dev}]}, {"name": "prod", "targets": [{"namespace": world.prod}]}]);
    pipeline(&world, environments, None).await?;
    world.dev_is_at("6.1.0").await?;
    let body = world.event("6.1.0").to_string();
    let answer = world.send("POST", &world.place("dev"), &[], &body).await?;
    assert!(answer.is(422, "no promotion configured in Pipeline resource"), "{answer:?}");
    assert_eq!(receiver.received().len(), 0);
    Ok(())
}

/// The old controller answered 500 to a promotion without a strategy it knew.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_strategy_that_lacks_a_flag_is_told_in_the_status_and_not_to_flux() -> Result<()> {
    let (world, _receiver) =
        world(&[], json!({"hmacSecretRef": null, "webhook": null, "strategy": {"notification": {}}})).await?;
    world.dev_is_at("6.1.0").await?;
    let body = world.event("6.1.0").to_string();
    let answer = world.send("POST", &world.place("dev"), &[], &body).await?;
    assert!(answer.is(202, ""), "{answer:?}");
    world.until_not_ready(&["strategy.notification", "--events-addr"]).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_manual_promotion_is_204_and_waits() -> Result<()> {
    let (world, receiver) = world(&["--legacy-status-codes"], json!({"manual": true})).await?;
    world.dev_is_at("5.0.0").await?;
    world.prod_is_at("4.0.0").await?;
    let answer = world.tell(&world.event("5.0.0")).await?;
    assert!(answer.is(204, ""), "{answer:?}");
    let waits = |status: &PipelineStatus| {
        let waiting = status.environments.get("prod").and_then(|prod| prod.waiting_approval.as_ref());
        waiting.is_some_and(|waiting| waiting.revision == "5.0.0")
    };
    world.until("5.0.0 waits", waits).await?;
    assert_eq!(receiver.received().len(), 0);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn no_event_promotes_what_is_not_there() -> Result<()> {
    let (world, receiver) = world(&[], json!({})).await?;
    // dev is at 6.0.0, whatever is said of it.
    assert!(world.tell(&world.event("6.6.6")).await?.is(202, ""));
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    let bodies: Vec<String> =
        receiver.received().iter().map(|received| String::from_utf8_lossy(&received.body).into_owned()).collect();
    assert_eq!(bodies.len(), 1);
    assert!(bodies[0].contains("6.1.0"), "{bodies:?}");
    Ok(())
}

/// Where dev cannot be reached, and says so itself.
async fn by_event(hmac: Option<&str>) -> Result<(World, Receiver)> {
    let world = World::new().await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.key().await?;
    let mut promotion = json!({"webhook": {"url": receiver.url()}});
    if let Some(hmac) = hmac {
        promotion["hmacSecretRef"] = json!(hmac);
    }
    let environments = json!([
        {"name": "dev", "targets": [{
            "namespace": world.dev, "observe": "Event", "clusterRef": {"kind": "GitopsCluster", "name": "edge"},
        }]},
        {"name": "prod", "targets": [{"namespace": world.prod}]},
    ]);
    pipeline(&world, environments, Some(promotion)).await?;
    world.until("a first look", |status| status.observed_generation.is_some()).await?;
    Ok((world, receiver))
}

fn dev(status: &PipelineStatus) -> Option<(String, bool)> {
    let target = status.environments.get("dev")?.targets.first()?;
    Some((target.revision.clone()?, target.ready))
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_target_that_cannot_be_reached_reports_by_signed_event() -> Result<()> {
    let (mut world, receiver) = by_event(Some("hmac")).await?;
    assert!(world.tell(&world.event("6.1.0")).await?.is(202, ""));
    world.promotion("6.1.0", Phase::Delivered).await?;
    // Who and when stand in the status, and outlive what the controller writes there itself, and the controller.
    let check = async |world: &World| -> Result<()> {
        let status = world.status().await?;
        let event = status.environments["dev"].events.values().next().unwrap().clone();
        assert_eq!((event.revision.as_str(), event.ready), ("6.1.0", true));
        assert_eq!(event.reported_by.as_deref(), Some("helm-controller"));
        assert_eq!(dev(&status), Some(("6.1.0".to_owned(), true)));
        Ok(())
    };
    check(&world).await?;
    world.kill().await?;
    world.prod_is_at("6.1.0").await?;
    world.start(&[]).await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    check(&world).await?;
    assert_eq!(receiver.received().len(), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_unsigned_event_is_no_report() -> Result<()> {
    for hmac in [Some("hmac"), None] {
        let (world, receiver) = by_event(hmac).await?;
        let body = world.event("6.1.0").to_string();
        let answer = world.send("POST", &world.place("dev"), &[], &body).await?;
        assert!(answer.is(401, "unauthorized\n"), "{answer:?}");
        let status = world.status().await?;
        assert!(status.environments["dev"].events.is_empty() && dev(&status).is_none());
        assert_eq!(receiver.received().len(), 0);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_failed_or_early_event_is_no_report() -> Result<()> {
    let (world, receiver) = by_event(Some("hmac")).await?;
    assert!(world.tell(&world.event("6.0.0")).await?.is(202, ""));
    world.until("6.0.0", |status| dev(status) == Some(("6.0.0".to_owned(), true))).await?;
    for (severity, reason) in [("error", "UpgradeFailed"), ("info", "Progressing"), ("trace", "UpgradeSucceeded")] {
        let mut event = world.event("6.1.0");
        (event["severity"], event["reason"], event["timestamp"]) = (json!(severity), json!(reason), json!(at(2)));
        assert!(world.tell(&event).await?.is(202, ""));
    }
    // What was well and fails is not passed on, nor when a rollback has put something else there.
    let mut event = world.event("6.0.0");
    (event["severity"], event["reason"], event["timestamp"]) = (json!("error"), json!("TestFailed"), json!(at(3)));
    assert!(world.tell(&event).await?.is(202, ""));
    world.until("6.0.0 fails", |status| dev(status) == Some(("6.0.0".to_owned(), false))).await?;
    assert_eq!(receiver.received().len(), 0);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_replayed_event_takes_nothing_back() -> Result<()> {
    let (world, receiver) = by_event(Some("hmac")).await?;
    let old = {
        let mut event = world.event("6.1.0");
        event["timestamp"] = json!(at(-60));
        event
    };
    assert!(world.tell(&old).await?.is(202, ""));
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    assert!(world.tell(&world.event("6.2.0")).await?.is(202, ""));
    world.promotion("6.2.0", Phase::Delivered).await?;
    world.prod_is_at("6.2.0").await?;
    world.promotion("6.2.0", Phase::Succeeded).await?;
    assert!(world.tell(&old).await?.is(202, ""));
    let status = world.status().await?;
    assert_eq!(status.environments["dev"].events.values().next().unwrap().revision, "6.2.0");
    assert_eq!(dev(&status), Some(("6.2.0".to_owned(), true)));
    assert_eq!(receiver.received().len(), 2);

    // One from the future would shut out all others.
    let mut future = world.event("6.3.0");
    future["timestamp"] = json!(at(3600));
    assert_eq!(world.tell(&future).await?.status, 422);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_a_target_reported_is_forgotten_with_it() -> Result<()> {
    let (world, receiver) = by_event(Some("hmac")).await?;
    assert!(world.tell(&world.event("6.0.0")).await?.is(202, ""));
    world.until("6.0.0", |status| dev(status) == Some(("6.0.0".to_owned(), true))).await?;
    world.pipeline(json!({"hmacSecretRef": "hmac", "webhook": {"url": receiver.url()}})).await?;
    world
        .until("nothing kept", |status| status.environments.get("dev").is_some_and(|dev| dev.events.is_empty()))
        .await?;
    Ok(())
}
