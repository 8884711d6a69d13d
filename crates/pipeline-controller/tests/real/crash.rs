//! The controller is killed, at every point where something has just taken effect and at any moment; the one that is started
//! after it leaves exactly one branch and one pull request, or one event's worth of deliveries.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pipeline_api::Phase;
use serde_json::json;
use testbed::git_server::Step;
use testbed::github::{Call, PullState};
use testbed::{Fault, Hold, Receiver, Rule, When};

use crate::world::{Hosts, PATIENCE, World};

struct Scene {
    world: World,
    hosts: Hosts,
}

impl Scene {
    /// Everything is ready for 6.1.0 to be promoted; no controller runs yet.
    async fn set() -> Result<Self> {
        let world = World::without_controller().await?;
        let hosts = world.github("6.0.0").await?;
        world.helm_releases("6.0.0").await?;
        world.pipeline(hosts.promotion("acme/fleet")).await?;
        world.dev_is_at("6.1.0").await?;
        Ok(Self { world, hosts })
    }

    async fn ends_well(&self) -> Result<()> {
        self.world.promotion("6.1.0", Phase::Open).await?;
        let Hosts { github, repo, .. } = &self.hosts;
        let pulls = github.pulls("acme/fleet").await?;
        assert_eq!(pulls.len(), 1, "{pulls:?}");
        let branches = repo.branches().await?;
        assert_eq!(branches.len(), 2, "{branches:?}");
        assert_eq!(repo.diff("main", &pulls[0].head).await?.matches("\n+ ").count(), 1);
        repo.fsck().await?;
        Ok(())
    }

    /// The pull request for `version` is the only open one of so many, and so is its branch.
    async fn is_alone(&self, version: &str, pulls: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.hosts.github.pulls("acme/fleet").await?;
            let open: Vec<_> = all.iter().filter(|pull| pull.state == PullState::Open).collect();
            let branches = self.hosts.repo.branches().await?;
            ensure!(all.len() <= pulls, "a pull request too many: {all:?}");
            if matches!(open.as_slice(), [pull] if pull.title.contains(version)) && branches.len() == 2 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{open:?} {branches:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Kills the controller while it waits for the answer to a request whose effect has happened, or has not.
async fn killed_at(inject: impl FnOnce(&Hosts, Hold)) -> Result<()> {
    let mut scene = Scene::set().await?;
    let hold = Hold::new();
    inject(&scene.hosts, hold.clone());
    scene.world.start(&[]).await?;
    hold.reached().await?;
    scene.world.kill().await?;
    hold.break_off();
    scene.world.start(&[]).await?;
    scene.ends_well().await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn while_it_fetches() -> Result<()> {
    killed_at(|hosts, hold| hosts.git.inject(Rule::once(Fault::Hold(When::Before, hold)).on(Step::Fetch))).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn before_the_push_takes_effect() -> Result<()> {
    killed_at(|hosts, hold| hosts.git.inject(Rule::once(Fault::Hold(When::Before, hold)).on(Step::Push))).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn after_the_push_took_effect() -> Result<()> {
    killed_at(|hosts, hold| hosts.git.inject(Rule::once(Fault::Hold(When::After, hold)).on(Step::Push))).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn before_the_pull_request_is_created() -> Result<()> {
    killed_at(|hosts, hold| hosts.github.inject(Rule::once(Fault::Hold(When::Before, hold)).on(Call::CreatePull))).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn after_the_pull_request_was_created() -> Result<()> {
    killed_at(|hosts, hold| hosts.github.inject(Rule::once(Fault::Hold(When::After, hold)).on(Call::CreatePull))).await
}

/// Every request that changes something while a newer revision takes the place of an open one.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn at_every_effect_of_superseding() -> Result<()> {
    let mut scene = Scene::set().await?;
    scene.world.start(&[]).await?;
    scene.ends_well().await?;
    let (mut minor, mut pulls) = (1, 1);
    for when in [When::Before, When::After] {
        for call in [Call::CreatePull, Call::CreateComment, Call::DeleteRef, Call::UpdatePull] {
            (minor, pulls) = (minor + 1, pulls + 1);
            let (version, hold) = (format!("6.{minor}.0"), Hold::new());
            scene.hosts.github.inject(Rule::once(Fault::Hold(when, hold.clone())).on(call));
            scene.world.dev_is_at(&version).await?;
            hold.reached().await?;
            scene.world.kill().await?;
            hold.break_off();
            scene.world.start(&[]).await?;
            scene.world.promotion(&version, Phase::Open).await?;
            scene.is_alone(&version, pulls).await.with_context(|| format!("killed {when:?} {call:?}"))?;
        }
    }
    scene.hosts.repo.fsck().await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_answer_is_lost_after_the_pull_request_was_created() -> Result<()> {
    let mut scene = Scene::set().await?;
    scene.hosts.github.inject(Rule::once(Fault::Drop(When::After)).on(Call::CreatePull));
    scene.world.start(&[]).await?;
    scene.ends_well().await
}

/// As after a cluster was built anew from git.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn with_the_status_lost_what_was_done_is_found_on_the_host() -> Result<()> {
    let mut scene = Scene::set().await?;
    for restored in [false, true] {
        scene.world.start(&[]).await?;
        let promotion = scene.world.promotion("6.1.0", Phase::Open).await?;
        assert!(promotion.url.is_some_and(|url| url.ends_with("/pull/1")), "after the loss: {restored}");
        scene.is_alone("6.1.0", 1).await?;
        scene.world.kill().await?;
        scene.world.forget_status().await?;
    }
    // Who closed it is not known any more: it may have been the controller, for a Pipeline that was deleted and made again.
    scene.hosts.github.close("acme/fleet", 1).await?;
    scene.world.start(&[]).await?;
    scene.world.promotion("6.1.0", Phase::Open).await?;
    scene.is_alone("6.1.0", 2).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn at_any_moment() -> Result<()> {
    let mut scene = Scene::set().await?;
    for moment in [0, 15, 30, 60, 90, 130, 180, 250, 350] {
        scene.world.start(&[]).await?;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        scene.world.kill().await?;
    }
    scene.world.start(&[]).await?;
    scene.ends_well().await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn after_an_event_was_received_and_before_that_was_recorded() -> Result<()> {
    let mut world = World::without_controller().await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    world.dev_is_at("6.1.0").await?;
    let hold = Hold::new();
    receiver.script([Fault::Hold(When::After, hold.clone())]);
    world.start(&[]).await?;
    hold.reached().await?;
    world.kill().await?;
    hold.break_off();
    world.start(&[]).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    let received = receiver.received();
    let ids: std::collections::BTreeSet<_> = received.iter().map(|event| event.header("webhook-id")).collect();
    assert_eq!((received.len(), ids.len()), (2, 1), "one event, sent again with the id that tells the receiver so");
    assert_eq!(received[0].body, received[1].body);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_event_at_any_moment() -> Result<()> {
    let mut world = World::without_controller().await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    receiver.always(Fault::Delay(Duration::from_millis(40)));
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    world.dev_is_at("6.1.0").await?;
    for moment in [0, 15, 30, 45, 60, 80, 100, 130, 160, 200, 250] {
        world.start(&[]).await?;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        world.kill().await?;
    }
    world.start(&[]).await?;
    let delivered = world.promotion("6.1.0", Phase::Delivered).await?;
    let received = receiver.received();
    assert!(!received.is_empty());
    for event in &received {
        assert_eq!(event.header("webhook-id"), Some(delivered.id.as_str()), "another id for the same promotion");
        assert_eq!(event.body, received[0].body);
    }
    let before = received.len();
    world.kill().await?;
    world.start(&[]).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(receiver.received().len(), before, "what was recorded as delivered was sent again");
    Ok(())
}
