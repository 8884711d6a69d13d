//! What a cluster does to its controllers: the end is as it should be all the same.

use std::time::{Duration, Instant};

use anyhow::Result;
use pipeline_api::Phase;
use serde_json::json;
use testbed::git_server::{Step, TOKEN};
use testbed::{Fault, Hold, Receiver, Rule, Testbed, When};
use tokio::sync::{Mutex, MutexGuard};

use crate::world::{DEFINITION, PATIENCE, World};

/// A bed whose servers may be disturbed, for one test at a time.
async fn apart() -> Result<(&'static Testbed, MutexGuard<'static, Option<&'static Testbed>>)> {
    static APART: Mutex<Option<&'static Testbed>> = Mutex::const_new(None);
    let mut turn = APART.lock().await;
    let bed = match *turn {
        Some(bed) => bed,
        None => {
            let bed: &Testbed = Box::leak(Box::new(Testbed::start().await?));
            bed.control_plane.apply(DEFINITION).await?;
            bed
        }
    };
    *turn = Some(bed);
    Ok((bed, turn))
}

/// 6.1.0 was delivered and runs.
async fn promoted_once(bed: &'static Testbed) -> Result<(World, Receiver)> {
    let mut world = World::on(bed, &bed.control_plane).await?;
    let receiver = Receiver::start(&bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.start(&[]).await?;
    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    Ok((world, receiver))
}

/// Each promotion was delivered once, in their order.
fn delivered(receiver: &Receiver, promotions: usize) {
    let received = receiver.received();
    let ids: std::collections::BTreeSet<_> = received.iter().map(|event| event.header("webhook-id")).collect();
    assert_eq!((received.len(), ids.len()), (promotions, promotions));
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_api_server_restarts() -> Result<()> {
    let (bed, _turn) = apart().await?;
    let (world, receiver) = promoted_once(bed).await?;
    for (signal, version) in [("TERM", "6.2.0"), ("KILL", "6.3.0")] {
        world.dev_is_at(version).await?;
        bed.control_plane.restart(signal).await?;
        world.promotion(version, Phase::Delivered).await?;
        world.prod_is_at(version).await?;
        world.promotion(version, Phase::Succeeded).await?;
    }
    delivered(&receiver, 3);
    Ok(())
}

/// While the controller hangs, the API server forgets what its watches would have to be told.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_past_of_a_watch_is_gone() -> Result<()> {
    let (bed, _turn) = apart().await?;
    let (mut world, receiver) = promoted_once(bed).await?;
    world.signal("STOP")?;
    world.dev_is_at("6.2.0").await?;
    bed.forget_history().await?;
    bed.control_plane.restart("TERM").await?;
    world.signal("CONT")?;
    world.promotion("6.2.0", Phase::Delivered).await?;
    delivered(&receiver, 2);
    // What was delivered may have been seen by one watch while another, of which the past was needed, still waits.
    let expired = |log: &str| log.contains("410") || log.contains("too old resource version");
    let deadline = Instant::now() + PATIENCE;
    while !expired(&world.log()) {
        assert!(Instant::now() < deadline, "no watch had expired: {}", world.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn etcd_hangs_for_a_while() -> Result<()> {
    let (bed, _turn) = apart().await?;
    let (world, receiver) = promoted_once(bed).await?;
    receiver.script([Fault::Delay(Duration::from_secs(1))]);
    world.dev_is_at("6.2.0").await?;
    bed.signal_etcd("STOP")?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    bed.signal_etcd("CONT")?;
    world.promotion("6.2.0", Phase::Delivered).await?;
    world.prod_is_at("6.2.0").await?;
    world.promotion("6.2.0", Phase::Succeeded).await?;
    let ids: std::collections::BTreeSet<_> =
        receiver.received().iter().map(|event| event.header("webhook-id").map(str::to_owned)).collect();
    assert_eq!(ids.len(), 2, "a delivery that could not be recorded is sent again with its id");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn two_controllers_by_mistake_open_one_pull_request() -> Result<()> {
    let mut world = World::new().await?;
    let (_another, _) = world.spawn("another", &[]).await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    for version in ["6.1.0", "6.2.0", "6.3.0"] {
        world.dev_is_at(version).await?;
        world.promotion(version, Phase::Open).await?;
    }
    let open = async || -> Result<Vec<_>> {
        let mut pulls = hosts.github.pulls("acme/fleet").await?;
        assert_eq!(pulls.len(), 3, "one for each revision: {pulls:?}");
        pulls.retain(|pull| pull.state == testbed::github::PullState::Open);
        Ok(pulls)
    };
    let deadline = Instant::now() + PATIENCE;
    while open().await?.len() > 1 || hosts.repo.branches().await?.len() > 2 {
        assert!(Instant::now() < deadline, "{:?}", open().await?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(open().await?[0].title.contains("6.3.0"));
    hosts.repo.fsck().await?;
    world.kill().await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn two_controllers_by_mistake_send_events_of_one_id() -> Result<()> {
    let world = World::new().await?;
    let (_another, _) = world.spawn("another", &[]).await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    for version in ["6.1.0", "6.2.0"] {
        world.dev_is_at(version).await?;
        let delivered = world.promotion(version, Phase::Delivered).await?;
        let received = receiver.received();
        let of_version: Vec<_> =
            received.iter().filter(|event| String::from_utf8_lossy(&event.body).contains(version)).collect();
        assert!(matches!(of_version.len(), 1 | 2), "{}", of_version.len());
        for event in of_version {
            assert_eq!(event.header("webhook-id"), Some(delivered.id.as_str()));
        }
        world.prod_is_at(version).await?;
        world.promotion(version, Phase::Succeeded).await?;
    }
    Ok(())
}

/// More promotions than the controller has places all go to a host that takes their requests and never answers.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_host_that_hangs_holds_no_other() -> Result<()> {
    let mut world = World::without_controller().await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    let hosts = world.github("6.0.0").await?;
    hosts.github.inject(Rule::always(Fault::Delay(Duration::from_secs(3600))));
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    for n in 0..24 {
        let mut pipeline = json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": format!("hangs-{n}"), "namespace": world.namespace},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": [
                    {"name": "dev", "targets": [{"namespace": world.dev}]},
                    {"name": "prod", "targets": [{"namespace": world.prod}]},
                ],
            },
        });
        pipeline["spec"]["promotion"] = hosts.promotion("acme/fleet");
        world.apply(pipeline).await?;
    }
    world.start(&["--concurrent", "16"]).await?;
    for version in ["6.1.0", "6.2.0"] {
        world.dev_is_at(version).await?;
        // Half as long as the host's deadline.
        tokio::time::timeout(PATIENCE / 2, world.promotion(version, Phase::Delivered)).await??;
        world.prod_is_at(version).await?;
    }
    Ok(())
}

/// Told to stop, the controller finishes the push that it began, records it, and ends well.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_was_begun_is_finished_before_it_stops() -> Result<()> {
    let mut world = World::new().await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    let hold = Hold::new();
    hosts.git.inject(Rule::once(Fault::Hold(When::Before, hold.clone())).on(Step::Push));
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    hold.reached().await?;
    world.signal("TERM")?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    hold.release();
    assert_eq!(world.ended().await?, 0);
    world.promotion("6.1.0", Phase::Open).await?;
    assert_eq!(hosts.github.pulls("acme/fleet").await?.len(), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_webhook_that_is_answered_late() -> Result<()> {
    let world = World::new().await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    receiver.script([Fault::Delay(Duration::from_secs(2)), Fault::Delay(Duration::from_secs(3))]);
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"webhook": {"url": receiver.url(), "timeout": "10s"}})).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    delivered(&receiver, 1);
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;

    // Too late: the answer is not waited for, and the event comes again under its id.
    world.pipeline(json!({"webhook": {"url": receiver.url(), "timeout": "1s"}})).await?;
    world.dev_is_at("6.2.0").await?;
    let promotion = world.promotion("6.2.0", Phase::Delivered).await?;
    let received = receiver.received();
    let again: Vec<_> = received.iter().skip(1).filter_map(|event| event.header("webhook-id")).collect();
    assert!(!again.is_empty() && again.iter().all(|id| *id == promotion.id), "{again:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_secret_is_deleted_and_restored() -> Result<()> {
    let world = World::new().await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.cluster.kubectl(&["delete", "secret", "fleet", "--namespace", &world.namespace]).await?;
    world.dev_is_at("6.1.0").await?;
    world.until_not_ready(&["fleet", "does not exist"]).await?;
    assert_eq!(hosts.github.pulls("acme/fleet").await?, []);
    world.secret("fleet", json!({"token": TOKEN})).await?;
    world.promotion("6.1.0", Phase::Open).await?;
    assert_eq!(hosts.github.pulls("acme/fleet").await?.len(), 1);
    Ok(())
}
