//! What goes wrong on the way, on each imitated host: the end is one branch and one pull request, or an error that
//! says what to do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use egress::Retry;
use http::StatusCode;
use promote_pr::{Error, State};
use testbed::faults::Location;
use testbed::forge::Kind;
use testbed::git_server::Step;
use testbed::github::{secondary_rate_limit, server_error};
use testbed::{Fault, Hold, Rule, When};

use crate::world::{Deed, Fake, World};

/// Makes of each fault one test on a host.
macro_rules! on_fake {
    ($host:ident, $fake:expr, $($scenario:ident),+) => {
        mod $host {
            use super::*;

            $(
                #[tokio::test]
                #[ignore = "needs the test bed: run `cargo xtask test`"]
                async fn $scenario() -> Result<()> {
                    super::$scenario($fake).await
                }
            )+
        }
    };
}

/// Makes of each fault one test on every imitated host.
macro_rules! on_all_fakes {
    ($($scenario:ident),+ $(,)?) => {
        on_fake!(on_github, Fake::GitHub, $($scenario),+);
        on_fake!(on_gitlab, Fake::Forge(Kind::GitLab), $($scenario),+);
        on_fake!(on_bitbucket_server, Fake::Forge(Kind::BitbucketServer), $($scenario),+);
        on_fake!(on_bitbucket_cloud, Fake::Forge(Kind::BitbucketCloud), $($scenario),+);
        on_fake!(on_azure_devops, Fake::Forge(Kind::AzureDevOps), $($scenario),+);
    };
}

on_all_fakes![
    answers_that_are_lost_do_no_harm,
    an_answer_that_comes_too_late_does_no_harm,
    superseding_survives_lost_answers,
    a_right_that_is_lost_midway_is_told,
    no_credential_follows_a_redirect,
    a_kill_at_any_point_leaves_one_promotion,
    a_branch_without_a_pull_request_is_swept,
    a_base_that_moves_after_the_push_is_followed,
    a_head_that_the_host_does_not_know_yet_is_awaited,
    faults_say_what_to_do,
    a_push_that_is_refused_opens_nothing,
];

/// One promotion is there, and nothing else.
async fn assert_one(world: &World, revision: &str) -> Result<()> {
    let head = world.request(revision).key.branch();
    let open = world.open_pulls().await?;
    assert_eq!(open.iter().map(|pull| pull.head.as_str()).collect::<Vec<_>>(), [head.as_str()]);
    assert_eq!(world.branches().await?, ["main", head.as_str()]);
    world.repo().fsck().await
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

async fn answers_that_are_lost_do_no_harm(fake: Fake) -> Result<()> {
    let faults =
        || [Fault::Drop(When::After), server_error(StatusCode::BAD_GATEWAY, When::After), Fault::CutAnswer(10)];
    for deed in [Deed::List, Deed::Create] {
        for fault in faults() {
            let world = World::fake(fake).await?;
            world.inject(1, fault, deed);
            recovers(&world, "6.3.0").await?;
            assert_eq!(world.pulls().await?.len(), 1);
        }
    }
    for step in [Step::FetchRefs, Step::Fetch, Step::PushRefs, Step::Push] {
        let world = World::fake(fake).await?;
        world.git_server().inject(Rule::once(Fault::Drop(When::After)).on(step));
        recovers(&world, "6.3.0").await?;
        assert_eq!(world.pulls().await?.len(), 1);
    }
    Ok(())
}

async fn an_answer_that_comes_too_late_does_no_harm(fake: Fake) -> Result<()> {
    for deed in [Deed::List, Deed::Create] {
        let mut world = World::fake(fake).await?;
        world.wait_at_most(Duration::from_secs(2))?;
        let hold = Hold::new();
        world.inject(1, Fault::Hold(When::After, hold.clone()), deed);
        recovers(&world, "6.3.0").await?;
        hold.reached().await?;
        hold.release();
        assert_eq!(world.pulls().await?.len(), 1, "{deed:?}");
    }
    Ok(())
}

/// After the push, the credential may no longer do what is left to do.
async fn a_right_that_is_lost_midway_is_told(fake: Fake) -> Result<()> {
    for deed in [Deed::Create, Deed::Comment, Deed::DeleteBranch, Deed::Close] {
        let world = World::fake(fake).await?;
        world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
        world.inject(1, Fault::status(StatusCode::FORBIDDEN), deed);
        let error = world.promoter.promote(&world.request("6.4.0"), &world.credentials).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Never, "{deed:?}: {error:?}");
        let text = error.to_string();
        for named in ["127.0.0.1", "fleet/config", "403"] {
            assert!(text.contains(named), "{deed:?}: {text}");
        }
        recovers(&world, "6.4.0").await?;
    }
    Ok(())
}

async fn no_credential_follows_a_redirect(fake: Fake) -> Result<()> {
    for status in [StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT] {
        for deed in [Deed::List, Deed::Create] {
            let (world, elsewhere) = (World::fake(fake).await?, World::fake(fake).await?);
            world.inject(1, Fault::Redirect(status, Location::Origin(elsewhere.api_origin())), deed);
            world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
            assert_eq!(elsewhere.asked(), 0, "{status} {deed:?}");
            recovers(&world, "6.3.0").await?;
        }
    }
    Ok(())
}

async fn superseding_survives_lost_answers(fake: Fake) -> Result<()> {
    for deed in [Deed::ReadComments, Deed::Comment, Deed::DeleteBranch, Deed::Close] {
        for when in [When::Before, When::After] {
            let world = World::fake(fake).await?;
            let old = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
            world.inject(1, Fault::Drop(when), deed);
            recovers(&world, "6.4.0").await?;
            let comments = world.comments(old.pull_request.context("none")?.number).await?;
            assert_eq!(comments.len(), 1, "{deed:?} {when:?}: {comments:?}");
        }
    }
    Ok(())
}

/// The process ends while a request is under way, or after it took effect; another one goes on.
async fn a_kill_at_any_point_leaves_one_promotion(fake: Fake) -> Result<()> {
    for when in [When::Before, When::After] {
        for step in [Step::Fetch, Step::PushRefs, Step::Push] {
            let mut world = World::fake(fake).await?;
            let hold = Hold::new();
            world.git_server().inject(Rule::once(Fault::Hold(when, hold.clone())).on(step));
            killed(&mut world, "6.3.0", &hold).await?;
            recovers(&world, "6.3.0").await?;
            assert_eq!(world.pulls().await?.len(), 1, "{step:?} {when:?}");
        }
        for deed in [Deed::List, Deed::Create, Deed::Comment, Deed::DeleteBranch, Deed::Close] {
            let mut world = World::fake(fake).await?;
            world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
            let hold = Hold::new();
            world.inject(1, Fault::Hold(when, hold.clone()), deed);
            killed(&mut world, "6.4.0", &hold).await?;
            recovers(&world, "6.4.0").await?;
            assert_eq!(world.pulls().await?.len(), 2, "{deed:?} {when:?}");
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
async fn a_branch_without_a_pull_request_is_swept(fake: Fake) -> Result<()> {
    let world = World::fake(fake).await?;
    world.inject(1, Fault::Drop(When::Before), Deed::Create);
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    assert_eq!(world.branches().await?.len(), 2);
    let prefix = world.request("6.3.0").key.branch_prefix();
    world.branch(&format!("{prefix}by-hand"), "main").await?;
    world.promoter.promote(&world.request("6.4.0"), &world.credentials).await?;
    let head = world.request("6.4.0").key.branch().to_string();
    assert_eq!(world.branches().await?, ["main", &head, &format!("{prefix}by-hand")]);
    Ok(())
}

async fn a_base_that_moves_after_the_push_is_followed(fake: Fake) -> Result<()> {
    let world = World::fake(fake).await?;
    world.inject(1, Fault::Drop(When::Before), Deed::Create);
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    let head = world.request("6.3.0").key.branch();
    let before = world.git(&["rev-parse", head.as_str()]).await?;
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
    assert_eq!(world.git(&["rev-parse", head.as_str()]).await?, before);

    let world = World::fake(fake).await?;
    world.inject(1, Fault::Drop(When::Before), Deed::Create);
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    world.commit("main", "README.md", "# Fleet\n").await?;
    recovers(&world, "6.3.0").await?;
    let parent = world.git(&["rev-parse", &format!("{head}^")]).await?;
    assert_eq!(parent, world.git(&["rev-parse", "main"]).await?);
    Ok(())
}

async fn a_head_that_the_host_does_not_know_yet_is_awaited(fake: Fake) -> Result<()> {
    let world = World::fake(fake).await?;
    world.delay_heads(3).await?;
    recovers(&world, "6.3.0").await?;

    let world = World::fake(fake).await?;
    world.delay_heads(1000).await?;
    let error = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    assert!(matches!(error, Error::HeadNotKnownYet { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
    world.delay_heads(0).await?;
    recovers(&world, "6.3.0").await
}

async fn faults_say_what_to_do(fake: Fake) -> Result<()> {
    let elsewhere = || Location::Url("https://elsewhere.example.com/".parse().unwrap());
    let mut cases = vec![
        (Fault::status(StatusCode::INTERNAL_SERVER_ERROR), Retry::Later, "500"),
        (Fault::status(StatusCode::FORBIDDEN), Retry::Never, "403"),
        (
            Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, Duration::from_secs(7)),
            Retry::After(Duration::from_secs(7)),
            "429",
        ),
        (Fault::Redirect(StatusCode::MOVED_PERMANENTLY, elsewhere()), Retry::Never, "renamed or moved"),
        (Fault::html(), Retry::Later, "cannot be understood"),
        (
            Fault::Huge(64 << 20),
            Retry::Never,
            "cannot look for the promotion's pull request in fleet/config on 127.0.0.1",
        ),
        (Fault::Drop(When::Before), Retry::Later, "cannot look for the promotion's pull request"),
    ];
    if fake == Fake::GitHub {
        let pause = Duration::from_secs(9);
        cases.push((secondary_rate_limit(pause), Retry::After(pause), "secondary rate limit"));
    }
    for (fault, retry, text) in cases {
        let world = World::fake(fake).await?;
        let label = format!("{fault:?}");
        world.inject(usize::MAX, fault, Deed::List);
        let error = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
        assert_eq!(error.retry(), retry, "{label}: {error:?}");
        assert!(error.to_string().contains(text), "{label}: {error}");
        assert_eq!(world.branches().await?, ["main"]);
    }
    Ok(())
}

async fn a_push_that_is_refused_opens_nothing(fake: Fake) -> Result<()> {
    let world = World::fake(fake).await?;
    world.repo().refuse_pushes(testbed::git_server::Hook::PreReceive, "frozen until Monday")?;
    let error = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error:?}");
    assert!(error.to_string().contains("frozen until Monday"), "{error}");
    assert_eq!(world.pulls().await?, []);
    Ok(())
}
