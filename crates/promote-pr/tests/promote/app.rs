//! Promotions with the tokens of a GitHub App.

use anyhow::{Context as _, Result};
use egress::Retry;
use http::StatusCode;
use promote_pr::{Credentials, Error, GitHubApp, Installation, State};
use secrecy::SecretString;
use testbed::github::{Call, Installed};
use testbed::{Fault, Rule};

use crate::world::{GitHubPlace, World};

/// A repository that nothing but the tokens of an App opens.
async fn world(installation: Installation) -> Result<(World, GitHubApp)> {
    let mut world = World::github().await?;
    let place = world.github_place();
    let app = place.github.add_app("fleet")?;
    place.github.revoke_token(testbed::git_server::TOKEN);
    place.git.set_token("nobody knows this one");
    let app = GitHubApp {
        app_id: app.id,
        installation,
        private_key: SecretString::from(app.private_key),
        api_url: Some(place.github.api_url()),
    };
    world.credentials = Credentials { token: None, app: Some(app.clone()), ..world.credentials };
    Ok((world, app))
}

fn tokens(place: &GitHubPlace) -> usize {
    place.github.app_tokens().len()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn one_token_opens_api_and_git() -> Result<()> {
    for installation in [Installation::Id(7), Installation::Owner("fleet".to_owned())] {
        let (world, _) = world(installation).await?;
        let (old, new) = (world.request("6.3.0"), world.request("6.4.0"));
        world.promoter.promote(&old, &world.credentials).await?;
        let promotion = world.promoter.promote(&new, &world.credentials).await?;
        assert_eq!((promotion.state, promotion.superseded.len()), (State::Open, 1));
        assert_eq!(tokens(world.github_place()), 1);
        world.promoter.withdraw(&new, &world.credentials, "the end").await?;
        assert_eq!(tokens(world.github_place()), 1);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn those_who_come_at_once_share_a_token() -> Result<()> {
    let (world, _) = world(Installation::Id(7)).await?;
    let request = world.request("6.3.0");
    let plans = (0..5).map(|_| world.promoter.plan(&request, &world.credentials));
    for plan in futures::future::join_all(plans).await {
        assert_eq!(plan?.matched, 1);
    }
    assert_eq!(tokens(world.github_place()), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_token_is_renewed_before_it_ends() -> Result<()> {
    let (world, _) = world(Installation::Id(7)).await?;
    let (place, request) = (world.github_place(), world.request("6.3.0"));
    place.github.set_token_lifetime(300);
    for minted in [1, 2] {
        world.promoter.promote(&request, &world.credentials).await?;
        assert_eq!(tokens(place), minted);
    }
    place.github.set_token_lifetime(3600);
    for _ in 0..2 {
        world.promoter.promote(&request, &world.credentials).await?;
        assert_eq!(tokens(place), 3);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_token_that_ends_in_the_middle_is_replaced() -> Result<()> {
    let (world, _) = world(Installation::Id(7)).await?;
    let (place, request) = (world.github_place(), world.request("6.3.0"));
    place.github.inject(Rule::once(Fault::status(StatusCode::UNAUTHORIZED)).on(Call::CreatePull));
    let promotion = world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!((promotion.state, tokens(place), world.pulls().await?.len()), (State::Open, 2, 1));

    let token = place.github.app_tokens().pop().context("none")?;
    place.github.revoke_token(&token);
    let promotion = world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!((promotion.state, tokens(place), world.pulls().await?.len()), (State::Open, 3, 1));

    place.git.set_token("the git server has another one");
    let promotion = world.promoter.promote(&world.request("6.4.0"), &world.credentials).await?;
    assert_eq!((promotion.state, tokens(place)), (State::Open, 4));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn another_clock_is_no_obstacle() -> Result<()> {
    for seconds in [-7200, -90, 90, 7200] {
        let (world, _) = world(Installation::Id(7)).await?;
        let place = world.github_place();
        place.github.set_clock(seconds);
        for _ in 0..2 {
            let promotion = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
            assert_eq!((promotion.state, tokens(place)), (State::Open, 1), "{seconds}");
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_is_wrong_with_an_app_is_told() -> Result<()> {
    let (mut world, app) = world(Installation::Id(7)).await?;
    let request = world.request("6.3.0");
    world.promoter.promote(&request, &world.credentials).await?;
    let host = world.github_place().github.api_url();
    let host = format!("127.0.0.1:{}", host.port().unwrap_or_default());
    let lost = async |world: &World, app: &GitHubApp, expect: &str| {
        let credentials = Credentials { app: Some(app.clone()), ..world.credentials.clone() };
        let error = world.promoter.promote(&request, &credentials).await.unwrap_err();
        assert!(matches!(error, Error::App { .. }), "{error:?}");
        assert_eq!(error.retry(), Retry::Never);
        let text = error.to_string();
        assert!(text.starts_with(&format!("GitHub App {} cannot be used on {host}: {expect}", app.app_id)), "{text}");
        assert!(!format!("{error:?}").contains("PRIVATE KEY"), "{error:?}");
    };
    let other = |installation| GitHubApp { installation, ..app.clone() };
    lost(&world, &other(Installation::Id(8)), "there is no installation 8: it was removed").await;
    lost(&world, &other(Installation::Owner("nobody".to_owned())), "it is not installed for `nobody`").await;
    let stranger = GitHubApp { app_id: "99".to_owned(), ..app.clone() };
    lost(&world, &stranger, "the host does not accept its id and private key (401)").await;

    // It works no more in the middle of its life: the token that is known is refused first.
    for (installed, expect) in [
        (Installed::Removed, "there is no installation 7: it was removed, so install the App again"),
        (Installed::Suspended, "installation 7 is suspended: This installation has been suspended"),
    ] {
        let place = world.github_place();
        place.github.set_installed(installed);
        for token in place.github.app_tokens() {
            place.github.revoke_token(&token);
        }
        lost(&world, &app, expect).await;
        place.github.set_installed(Installed::Yes);
        world.promoter.promote(&request, &world.credentials).await?;
    }
    world.restart()?;
    assert_eq!(world.promoter.promote(&request, &world.credentials).await?.state, State::Open);
    Ok(())
}
