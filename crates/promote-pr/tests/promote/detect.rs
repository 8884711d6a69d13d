//! Requests that do not say which software serves the repository.

use anyhow::{Context as _, Result};
use egress::Retry;
use http::header::AUTHORIZATION;
use promote_pr::{Error, State};
use testbed::forge::Kind;

use crate::world::{Place, World};

/// Requests that came to the host without credentials, and those that came in all.
fn seen(world: &World) -> (Vec<String>, usize) {
    fn count<S>(requests: &[testbed::recorded::RecordedRequest<S>]) -> (Vec<String>, usize) {
        let open = requests.iter().filter(|request| !request.headers.contains_key(AUTHORIZATION));
        let api = open.filter(|request| request.path.contains("/api/")).map(|request| request.path.clone());
        (api.collect(), requests.len())
    }
    match &world.place {
        Place::Gitea { .. } => (Vec::new(), 0),
        Place::GitHub(place) => count(&place.github.requests()),
        Place::Forge(place) => count(&place.forge.requests()),
    }
}

async fn is_recognised(world: World, questions: &[&str]) -> Result<()> {
    let mut request = world.request("6.3.0");
    (request.provider, request.api_url) = (None, None);
    match &world.place {
        Place::Gitea { .. } => {}
        Place::GitHub(place) => request.repository = place.github.url(&place.repo.name).as_str().parse()?,
        Place::Forge(place) => request.repository = place.forge.url(&place.repo.name).as_str().parse()?,
    }
    for _ in 0..2 {
        let promotion = world.promoter.promote(&request, &world.credentials).await?;
        assert_eq!(promotion.state, State::Open);
        promotion.pull_request.context("no pull request")?;
    }
    assert_eq!(world.open_pulls().await?.len(), 1);
    assert_eq!(seen(&world).0, questions, "asked without credentials, and once");
    Ok(())
}

macro_rules! recognised {
    ($($name:ident: $world:expr, $questions:expr;)+) => {
        $(
            #[tokio::test]
            #[ignore = "needs the test bed: run `cargo xtask test`"]
            async fn $name() -> Result<()> {
                is_recognised($world, &$questions).await
            }
        )+
    };
}

recognised![
    gitea_is_recognised: World::gitea().await?, [];
    github_is_recognised: World::github().await?, ["/api/v4/version"];
    gitlab_is_recognised: World::forge(Kind::GitLab).await?, ["/api/v4/version"];
    bitbucket_server_is_recognised: World::forge(Kind::BitbucketServer).await?,
        ["/api/v4/version", "/api/v1/version", "/api/v3/meta", "/rest/api/1.0/application-properties"];
    azure_devops_is_recognised_by_its_url: World::forge(Kind::AzureDevOps).await?, [];
];

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_host_that_does_not_tell_is_for_a_person() -> Result<()> {
    let world = World::github().await?;
    let mut request = world.request("6.3.0");
    (request.provider, request.api_url) = (None, None);
    let error = world.promoter.promote(&request, &world.credentials).await.unwrap_err();
    assert!(matches!(error, Error::ProviderUnknown { .. }), "{error:?}");
    assert!(error.to_string().contains("set `provider` to one of github, gitlab"), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(world.branches().await?, ["main"]);
    Ok(())
}
