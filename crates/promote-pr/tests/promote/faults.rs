//! What goes wrong on the way, on the imitated GitHub: the end is one branch and one pull request, or an error that
//! says what to do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use egress::Retry;
use http::StatusCode;
use promote_pr::{Error, State};
use testbed::faults::Location;
use testbed::git_server::Step;
use testbed::github::{Call, secondary_rate_limit, server_error};
use testbed::{Fault, Hold, Rule, When};

use crate::world::World;

/// One promotion is there, and nothing else.
async fn assert_one(world: &World, revision: &str) -> Result<()> {
    let head = world.request(revision).key.branch();
    let open = world.open_pulls().await?;
    assert_eq!(open.iter().map(|pull| pull.head.as_str()).collect::<Vec<_>>(), [head.as_str()]);
    assert_eq!(world.branches().await?, ["main", head.as_str()]);
    world.github_place().repo.fsck().await
}

/// After a fault, further attempts bring the promotion about.
async fn recovers(world: &World, revision: &str) -> Result<()> {
    let request = world.request(revision);
    for _ in 0..3 {
        match world.promoter.promote(&request, &world.credentials).await {
            Ok(promotion) => {
                assert_eq!(promotion.state, State::Open);
                return assert_one(world, revision).await;
            }
            Err(error) => assert_ne!(error.retry(), Retry::Never, "{error:?}"),
        }
    }
    anyhow::bail!("the promotion does not recover")
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn answers_that_are_lost_do_no_harm() -> Result<()> {
    let faults =
        || [Fault::Drop(When::After), server_error(StatusCode::BAD_GATEWAY, When::After), Fault::CutAnswer(10)];
    for call in [Call::ListPulls, Call::CreatePull] {
        for fault in faults() {
            let world = World::github().await?;
            world.github_place().github.inject(Rule::once(fault).on(call));
            recovers(&world, "6.3.0").await?;
            assert_eq!(world.pulls().await?.len(), 1);
        }
    }
    for step in [Step::FetchRefs, Step::Fetch, Step::PushRefs, Step::Push] {
        let world = World::github().await?;
        world.github_place().git.inject(Rule::once(Fault::Drop(When::After)).on(step));
        recovers(&world, "6.3.0").await?;
        assert_eq!(world.pulls().await?.len(), 1);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn superseding_survives_lost_answers() -> Result<()> {
    for call in [Call::ListComments, Call::CreateComment, Call::DeleteRef, Call::UpdatePull] {
        for when in [When::Before, When::After] {
            let world = World::github().await?;
            let old = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
            world.github_place().github.inject(Rule::once(Fault::Drop(when)).on(call));
            recovers(&world, "6.4.0").await?;
            let comments = world.comments(old.pull_request.context("none")?.number).await?;
            assert_eq!(comments.len(), 1, "{call:?} {when:?}: {comments:?}");
        }
    }
    Ok(())
}

/// The process ends while a request is under way, or after it took effect; another one goes on.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_kill_at_any_point_leaves_one_promotion() -> Result<()> {
    for when in [When::Before, When::After] {
        for step in [Step::Fetch, Step::PushRefs, Step::Push] {
            let mut world = World::github().await?;
            let hold = Hold::new();
            world.github_place().git.inject(Rule::once(Fault::Hold(when, hold.clone())).on(step));
            killed(&mut world, "6.3.0", &hold).await?;
            recovers(&world, "6.3.0").await?;
            assert_eq!(world.pulls().await?.len(), 1, "{step:?} {when:?}");
        }
        for call in [Call::ListPulls, Call::CreatePull, Call::CreateComment, Call::DeleteRef, Call::UpdatePull] {
            let mut world = World::github().await?;
            world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
            let hold = Hold::new();
            world.github_place().github.inject(Rule::once(Fault::Hold(when, hold.clone())).on(call));
            killed(&mut world, "6.4.0", &hold).await?;
            recovers(&world, "6.4.0").await?;
            assert_eq!(world.pulls().await?.len(), 2, "{call:?} {when:?}");
        }
    }
    Ok(())
}

/// Drops the promotion when its request reaches the hold, and starts anew.
async fn killed(world: &mut World, revision: &str, hold: &Hold) -> Result<()> {
    let request = world.request(revision);
    tokio::select! {
        ended = world.promoter.promote(&request, &world.credentials) => anyhow::bail!("it ended: {ended:?}"),
        reached = hold.reached() => reached?,
    }
    hold.break_off();
    world.restart()
}

/// A promotion that broke off after its push is overtaken by a newer revision.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_branch_without_a_pull_request_is_swept() -> Result<()> {
    let world = World::github().await?;
    world.github_place().github.inject(Rule::once(Fault::Drop(When::Before)).on(Call::CreatePull));
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    assert_eq!(world.branches().await?.len(), 2);
    let prefix = world.request("6.3.0").key.branch_prefix();
    world.branch(&format!("{prefix}by-hand"), "main").await?;
    world.promoter.promote(&world.request("6.4.0"), &world.credentials).await?;
    let head = world.request("6.4.0").key.branch().to_string();
    assert_eq!(world.branches().await?, ["main", &head, &format!("{prefix}by-hand")]);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_base_that_moves_after_the_push_is_followed() -> Result<()> {
    let world = World::github().await?;
    world.github_place().github.inject(Rule::once(Fault::Drop(When::Before)).on(Call::CreatePull));
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    let head = world.request("6.3.0").key.branch();
    let before = world.git(&["rev-parse", head.as_str()]).await?;
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
    assert_eq!(world.git(&["rev-parse", head.as_str()]).await?, before);

    let world = World::github().await?;
    world.github_place().github.inject(Rule::once(Fault::Drop(When::Before)).on(Call::CreatePull));
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    world.commit("main", "README.md", "# Fleet\n").await?;
    recovers(&world, "6.3.0").await?;
    let parent = world.git(&["rev-parse", &format!("{head}^")]).await?;
    assert_eq!(parent, world.git(&["rev-parse", "main"]).await?);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_head_that_the_host_does_not_know_yet_is_awaited() -> Result<()> {
    let world = World::github().await?;
    world.github_place().github.delay_heads("fleet/config", 3).await?;
    recovers(&world, "6.3.0").await?;

    let world = World::github().await?;
    world.github_place().github.delay_heads("fleet/config", 1000).await?;
    let error = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    assert!(matches!(error, Error::HeadNotKnownYet { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
    world.github_place().github.delay_heads("fleet/config", 0).await?;
    recovers(&world, "6.3.0").await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn faults_say_what_to_do() -> Result<()> {
    let elsewhere = || Location::Url("https://elsewhere.example.com/".parse().unwrap());
    let cases = [
        (Fault::status(StatusCode::INTERNAL_SERVER_ERROR), Retry::Later, "500"),
        (Fault::status(StatusCode::FORBIDDEN), Retry::Never, "403"),
        (
            Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, Duration::from_secs(7)),
            Retry::After(Duration::from_secs(7)),
            "429",
        ),
        (secondary_rate_limit(Duration::from_secs(9)), Retry::After(Duration::from_secs(9)), "secondary rate limit"),
        (Fault::Redirect(StatusCode::MOVED_PERMANENTLY, elsewhere()), Retry::Never, "renamed or moved"),
        (Fault::html(), Retry::Later, "cannot be understood"),
        (
            Fault::Huge(64 << 20),
            Retry::Never,
            "cannot look for the promotion's pull request in fleet/config on 127.0.0.1",
        ),
        (Fault::Drop(When::Before), Retry::Later, "cannot look for the promotion's pull request"),
    ];
    for (fault, retry, text) in cases {
        let world = World::github().await?;
        let label = format!("{fault:?}");
        world.github_place().github.inject(Rule::always(fault).on(Call::ListPulls));
        let error = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
        assert_eq!(error.retry(), retry, "{label}: {error:?}");
        assert!(error.to_string().contains(text), "{label}: {error}");
        assert_eq!(world.branches().await?, ["main"]);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_push_that_is_refused_opens_nothing() -> Result<()> {
    let world = World::github().await?;
    world.github_place().repo.refuse_pushes(testbed::git_server::Hook::PreReceive, "frozen until Monday")?;
    let error = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error:?}");
    assert!(error.to_string().contains("frozen until Monday"), "{error}");
    assert_eq!(world.pulls().await?, []);
    Ok(())
}
