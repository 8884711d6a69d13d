//! Whole promotions against a real Gitea, and against an imitation of GitHub on top of the real `git http-backend`.

#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod app;
mod detect;
mod faults;
mod lifecycle;
mod schema;
mod world;

use anyhow::{Context as _, Result};
use egress::Retry;
use promote_pr::{Error, State, git};
use secrecy::SecretString;

use testbed::forge::Kind;

use world::{PATH, World, manifest};

/// Makes of each scenario one test on a host, for which `$world` is what it starts with.
macro_rules! on_host {
    ($host:ident, $world:expr, $($scenario:ident),+) => {
        mod $host {
            use super::*;

            $(
                #[tokio::test]
                #[ignore = "needs the test bed: run `cargo xtask test`"]
                async fn $scenario() -> Result<()> {
                    super::$scenario($world).await
                }
            )+
        }
    };
}

/// Makes of each scenario one test on every host.
macro_rules! on_all_hosts {
    ($($scenario:ident),+ $(,)?) => {
        on_host!(on_gitea, World::gitea().await?, $($scenario),+);
        on_host!(on_github, World::github().await?, $($scenario),+);
        on_host!(on_gitlab, World::forge(Kind::GitLab).await?, $($scenario),+);
        on_host!(on_bitbucket_server, World::forge(Kind::BitbucketServer).await?, $($scenario),+);
        on_host!(on_bitbucket_cloud, World::forge(Kind::BitbucketCloud).await?, $($scenario),+);
        on_host!(on_azure_devops, World::forge(Kind::AzureDevOps).await?, $($scenario),+);
    };
}

on_all_hosts![
    a_promotion_opens_one_pull_request,
    a_rerun_adds_nothing,
    a_merged_pull_request_ends_it,
    a_closed_pull_request_stays_closed,
    an_open_one_wins_over_a_closed_one,
    a_newer_revision_supersedes_an_older_one,
    neighbours_are_left_alone,
    the_next_sequence_is_another_promotion,
    a_value_that_is_there_needs_no_pull_request,
    an_absent_marker_is_named,
    a_field_that_cannot_be_changed_stops_all,
    a_missing_base_is_named,
    an_absent_repository_is_named,
    a_bad_token_is_for_a_person,
    a_foreign_branch_is_not_overwritten,
    another_base_moves_the_branch,
    lost_text_is_written_again,
    a_withdrawn_environment_leaves_nothing,
    a_plan_pushes_nothing,
];

on_host!(lists_on_github, World::github().await?, long_lists_are_read_to_their_end);
on_host!(lists_on_gitlab, World::forge(Kind::GitLab).await?, long_lists_are_read_to_their_end);
on_host!(lists_on_bitbucket_server, World::forge(Kind::BitbucketServer).await?, long_lists_are_read_to_their_end);
on_host!(lists_on_bitbucket_cloud, World::forge(Kind::BitbucketCloud).await?, long_lists_are_read_to_their_end);
on_host!(lists_on_azure_devops, World::forge(Kind::AzureDevOps).await?, long_lists_are_read_to_their_end);

async fn a_promotion_opens_one_pull_request(world: World) -> Result<()> {
    let request = world.request("6.3.0");
    let promotion = world.promoter.promote(&request, &world.credentials).await?;

    assert_eq!(promotion.state, State::Open);
    let pull = promotion.pull_request.context("no pull request")?;
    let seen = world.pulls().await?;
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].number, seen[0].open, seen[0].head.as_str()), (pull.number, true, promotion.head.as_str()));
    assert_eq!(seen[0].title, "Promote default/podinfo to 6.3.0 in prod");
    assert!(seen[0].body.contains("| `apps/prod/podinfo.yaml` | 5 | `6.2.0` | `6.3.0` |"), "{}", seen[0].body);
    assert!(seen[0].body.contains(&format!("Promotion-Id: {}", request.key.id())), "{}", seen[0].body);
    assert_eq!(promotion.changes.len(), 1);

    let head = promotion.head.as_str();
    assert_eq!(world.branches().await?, ["main", head]);
    let pushed = world.git(&["show", &format!("{head}:{PATH}")]).await?;
    assert_eq!(pushed, manifest("6.3.0"));
    let changed = world.git(&["diff", "--numstat", "main", head]).await?;
    assert_eq!(changed.trim(), format!("1\t1\t{PATH}"));
    let trailer = world.git(&["log", "-1", "--format=%(trailers:key=Promotion-Id,valueonly)", head]).await?;
    assert_eq!(trailer.trim(), request.key.id().to_string());
    assert_eq!(
        pull.head_commit.map(|id| id.to_string()),
        Some(world.git(&["rev-parse", head]).await?.trim().to_owned())
    );
    Ok(())
}

async fn a_rerun_adds_nothing(mut world: World) -> Result<()> {
    let request = world.request("6.3.0");
    let first = world.promoter.promote(&request, &world.credentials).await?;
    let before = (world.pulls().await?, world.git(&["show-ref", "--heads"]).await?);
    world.restart()?;
    for _ in 0..2 {
        let again = world.promoter.promote(&request, &world.credentials).await?;
        assert_eq!((again.state, &again.pull_request), (State::Open, &first.pull_request));
        assert_eq!((again.changes.as_slice(), again.superseded.as_slice()), ([].as_slice(), [].as_slice()));
    }
    assert_eq!((world.pulls().await?, world.git(&["show-ref", "--heads"]).await?), before);
    Ok(())
}

async fn a_merged_pull_request_ends_it(mut world: World) -> Result<()> {
    let request = world.request("6.3.0");
    let number = world.promoter.promote(&request, &world.credentials).await?.pull_request.context("none")?.number;
    world.merge(number).await?;
    world.restart()?;
    for _ in 0..2 {
        let promotion = world.promoter.promote(&request, &world.credentials).await?;
        assert_eq!(promotion.state, State::Merged);
        let pull = promotion.pull_request.context("none")?;
        assert_eq!((pull.number, pull.head.as_str()), (number, promotion.head.as_str()));
        assert!(pull.merged_commit.is_some());
        assert_eq!(world.branches().await?, ["main"]);
    }
    assert_eq!(world.git(&["show", &format!("main:{PATH}")]).await?, manifest("6.3.0"));
    assert_eq!(world.pulls().await?.len(), 1);
    Ok(())
}

async fn a_closed_pull_request_stays_closed(mut world: World) -> Result<()> {
    let request = world.request("6.3.0");
    let number = world.promoter.promote(&request, &world.credentials).await?.pull_request.context("none")?.number;
    world.close(number).await?;
    world.restart()?;
    for _ in 0..2 {
        let promotion = world.promoter.promote(&request, &world.credentials).await?;
        assert_eq!(promotion.state, State::Closed);
        assert_eq!(promotion.pull_request.context("none")?.number, number);
    }
    assert_eq!(world.pulls().await?.len(), 1);
    assert_eq!(world.open_pulls().await?, []);
    Ok(())
}

/// A person closes the pull request and opens another from the same branch.
async fn an_open_one_wins_over_a_closed_one(world: World) -> Result<()> {
    let request = world.request("6.3.0");
    let first = world.promoter.promote(&request, &world.credentials).await?.pull_request.context("none")?;
    world.close(first.number).await?;
    world.open_by_hand(&first.head).await?;
    let second = world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!(second.state, State::Open);
    let pull = second.pull_request.context("none")?;
    assert_ne!(pull.number, first.number);
    let open = world.open_pulls().await?;
    assert_eq!((open.len(), open[0].title.as_str()), (1, first.title.as_str()));
    assert!(open[0].body.contains("| `6.2.0` | `6.3.0` |"), "{}", open[0].body);
    Ok(())
}

async fn a_newer_revision_supersedes_an_older_one(mut world: World) -> Result<()> {
    let old = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
    let old_number = old.pull_request.context("none")?.number;
    world.restart()?;
    let new = world.promoter.promote(&world.request("6.4.0"), &world.credentials).await?;
    let new_pull = new.pull_request.context("none")?;
    assert_eq!(new.superseded.iter().map(|pull| pull.number).collect::<Vec<_>>(), [old_number]);

    let again = world.promoter.promote(&world.request("6.4.0"), &world.credentials).await?;
    assert_eq!(again.superseded, []);
    assert_eq!(world.open_pulls().await?.iter().map(|pull| pull.number).collect::<Vec<_>>(), [new_pull.number]);
    assert_eq!(world.branches().await?, ["main", new.head.as_str()]);
    let comments = world.comments(old_number).await?;
    assert_eq!(
        comments.iter().filter(|text| text.contains(&format!("#{}", new_pull.number))).count(),
        1,
        "{comments:?}"
    );
    Ok(())
}

async fn neighbours_are_left_alone(world: World) -> Result<()> {
    let marker = |name: &str| format!("version: 1.0.0 # {{\"$promotion\": \"default:{name}\"}}\n");
    world.commit("main", "other/prod-eu.yaml", &marker("podinfo:prod-eu")).await?;
    world.commit("main", "other/app.yaml", &marker("podinfo-2:prod")).await?;
    let mut eu = world.request("6.3.0");
    eu.key.environment = "prod-eu".to_owned();
    eu.updates[0].target = promote_pr::edit::Target::Marker("default:podinfo:prod-eu".to_owned());
    let mut other = world.request("6.3.0");
    other.key.pipeline = "podinfo-2".to_owned();
    other.updates[0].target = promote_pr::edit::Target::Marker("default:podinfo-2:prod".to_owned());
    for request in [&eu, &other, &world.request("6.3.0")] {
        let promotion = world.promoter.promote(request, &world.credentials).await?;
        assert_eq!((promotion.state, promotion.superseded.len()), (State::Open, 0));
    }
    assert_eq!(world.open_pulls().await?.len(), 3);
    Ok(())
}

async fn the_next_sequence_is_another_promotion(world: World) -> Result<()> {
    let mut request = world.request("6.3.0");
    let first = world.promoter.promote(&request, &world.credentials).await?.pull_request.context("none")?;
    world.close(first.number).await?;
    request.key.sequence = 2;
    let second = world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!(second.state, State::Open);
    assert_ne!(second.pull_request.context("none")?.number, first.number);
    assert_eq!(world.branches().await?, ["main", second.head.as_str()]);
    Ok(())
}

async fn a_value_that_is_there_needs_no_pull_request(world: World) -> Result<()> {
    let older = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
    world.commit("main", PATH, &manifest("6.4.0")).await?;
    let promotion = world.promoter.promote(&world.request("6.4.0"), &world.credentials).await?;
    assert_eq!((promotion.state, &promotion.pull_request), (State::AlreadyApplied, &None));
    assert_eq!(world.branches().await?, ["main"]);
    assert_eq!(world.open_pulls().await?, []);
    let comments = world.comments(older.pull_request.context("none")?.number).await?;
    assert!(comments.iter().any(|text| text.contains("`main` holds revision `6.4.0` already")), "{comments:?}");
    Ok(())
}

async fn an_absent_marker_is_named(world: World) -> Result<()> {
    let mut request = world.request("6.3.0");
    request.updates[0].target = promote_pr::edit::Target::Marker("default:podinfo:nowhere".to_owned());
    let error = world.promoter.promote(&request, &world.credentials).await.unwrap_err();
    assert!(matches!(error, Error::NoMatch { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    assert!(error.to_string().contains("the marker `default:podinfo:nowhere`"), "{error}");
    assert!(error.to_string().contains("branch `main`"), "{error}");
    assert_eq!((world.branches().await?.len(), world.pulls().await?.len()), (1, 0));
    Ok(())
}

async fn a_field_that_cannot_be_changed_stops_all(world: World) -> Result<()> {
    let block = "a: |- # {\"$promotion\": \"default:podinfo:prod\"}\n  one\n  two\n";
    world.commit("main", "apps/prod/notes.yaml", block).await?;
    let error = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await.unwrap_err();
    assert!(matches!(error, Error::NotEditable { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    assert!(error.to_string().contains("apps/prod/notes.yaml:1:"), "{error}");
    assert_eq!((world.branches().await?.len(), world.pulls().await?.len()), (1, 0));
    Ok(())
}

async fn a_missing_base_is_named(world: World) -> Result<()> {
    let mut request = world.request("6.3.0");
    request.base = "release/1".parse()?;
    let error = world.promoter.promote(&request, &world.credentials).await.unwrap_err();
    assert!(matches!(error, Error::Git(git::Error::BranchNotFound { .. })), "{error:?}");
    assert!(error.to_string().contains("`release/1`"), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    Ok(())
}

async fn an_absent_repository_is_named(world: World) -> Result<()> {
    let mut request = world.request("6.3.0");
    request.repository = request.repository.as_str().replace("config", "nothing").parse()?;
    let error = world.promoter.promote(&request, &world.credentials).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error:?}");
    assert!(error.to_string().contains("nothing"), "{error}");
    assert!(error.to_string().contains("404"), "{error}");
    Ok(())
}

async fn a_bad_token_is_for_a_person(world: World) -> Result<()> {
    let mut credentials = world.credentials.clone();
    credentials.token = Some(SecretString::from("not-the-token-at-all"));
    let error = world.promoter.promote(&world.request("6.3.0"), &credentials).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error:?}");
    assert!(error.to_string().contains("401"), "{error}");
    assert!(!format!("{error:?}").contains("not-the-token-at-all"), "{error:?}");
    assert_eq!((world.branches().await?.len(), world.pulls().await?.len()), (1, 0));
    Ok(())
}

async fn a_foreign_branch_is_not_overwritten(world: World) -> Result<()> {
    let request = world.request("6.3.0");
    let head = request.key.branch();
    world.branch(head.as_str(), "main").await?;
    let before = world.git(&["rev-parse", head.as_str()]).await?;
    let error = world.promoter.promote(&request, &world.credentials).await.unwrap_err();
    assert!(matches!(error, Error::BranchTaken { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(world.git(&["rev-parse", head.as_str()]).await?, before);
    assert_eq!(world.pulls().await?.len(), 0);
    Ok(())
}

/// The pipeline names another base than when the branch was pushed.
async fn another_base_moves_the_branch(world: World) -> Result<()> {
    let mut request = world.request("6.3.0");
    let first = world.promoter.promote(&request, &world.credentials).await?;
    let first_number = first.pull_request.context("none")?.number;
    let head = first.head.as_str();

    request.base = "release/1".parse()?;
    world.branch("release/1", "main").await?;
    world.commit("release/1", "README.md", "# Release\n").await?;
    let second = world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!(second.state, State::Open);
    assert_eq!(second.superseded.iter().map(|pull| pull.number).collect::<Vec<_>>(), [first_number]);
    let parent = world.git(&["rev-parse", &format!("{head}^")]).await?;
    assert_eq!(parent, world.git(&["rev-parse", "release/1"]).await?);
    let again = world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!(again.pull_request, second.pull_request);
    assert_eq!(world.open_pulls().await?.len(), 1);
    assert_eq!(world.branches().await?, ["main", head, "release/1"]);
    Ok(())
}

/// Hosts give at most a hundred on a page.
async fn long_lists_are_read_to_their_end(world: World) -> Result<()> {
    world.branch("work", "main").await?;
    world.commit("work", "README.md", "# Work\n").await?;
    for number in 1..=100 {
        let branch = format!("work-{number}");
        world.branch(&branch, "work").await?;
        world.open_by_hand(&branch).await?;
    }
    let old = world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
    let old_number = old.pull_request.context("none")?.number;
    let new = world.promoter.promote(&world.request("6.4.0"), &world.credentials).await?;
    assert_eq!(new.superseded.iter().map(|pull| pull.number).collect::<Vec<_>>(), [old_number]);
    Ok(())
}

/// As when Gitea is interrupted in a push: git has the branch, and Gitea's own list of branches does not.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_branch_that_gitea_has_missed_is_pushed_again() -> Result<()> {
    let world = World::gitea().await?;
    let request = world.request("6.3.0");
    world.branch("work", "main").await?;
    world.commit("work", PATH, &manifest("6.3.0")).await?;
    let message = format!("Promote\n\nPromotion-Id: {}", request.key.id());
    let author = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
    let commit = [&author[..], &["commit-tree", "work^{tree}", "-p", "main", "-m", &message]].concat();
    let commit = world.git(&commit).await?;
    let head = request.key.branch();
    world.git(&["update-ref", &format!("refs/heads/{head}"), commit.trim()]).await?;

    let promotion = world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!(promotion.state, State::Open);
    assert_eq!(world.open_pulls().await?.len(), 1);
    assert_eq!(world.branches().await?, ["main", head.as_str(), "work"]);
    Ok(())
}

/// Pages are followed by this header alone, because Gitea's settings may make them shorter than was asked for.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn gitea_links_its_pages() -> Result<()> {
    let world = World::gitea().await?;
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
    world.branch("work", "main").await?;
    world.commit("work", "README.md", "# Work\n").await?;
    world.open_by_hand("work").await?;
    for (page, more) in [(1, true), (2, false)] {
        let link = world.link(&format!("pulls?state=open&limit=1&page={page}")).await?;
        assert_eq!(link.contains("rel=\"next\""), more, "{link}");
    }
    Ok(())
}

async fn lost_text_is_written_again(world: World) -> Result<()> {
    let request = world.request("6.3.0");
    let pull = world.promoter.promote(&request, &world.credentials).await?.pull_request.context("none")?;

    world.rewrite(pull.number, "My title", "Nothing to see").await?;
    world.promoter.promote(&request, &world.credentials).await?;
    let seen = world.pulls().await?.remove(0);
    assert_eq!((seen.title.as_str(), seen.body.trim()), (pull.title.as_str(), pull.body.trim()));

    let note = format!("Please test this first.\n\n{}", pull.body);
    world.rewrite(pull.number, &pull.title, &note).await?;
    world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!(world.pulls().await?.remove(0).body.trim(), note.trim());
    Ok(())
}

async fn a_withdrawn_environment_leaves_nothing(world: World) -> Result<()> {
    let request = world.request("6.3.0");
    let promotion = world.promoter.promote(&request, &world.credentials).await?;
    let number = promotion.pull_request.context("none")?.number;
    let gone = world.promoter.withdraw(&request, &world.credentials, "the pipeline was deleted").await?;
    assert_eq!(gone.pull_requests.iter().map(|pull| pull.number).collect::<Vec<_>>(), [number]);
    assert_eq!(gone.branches, [promotion.head]);
    assert_eq!(world.branches().await?, ["main"]);
    assert_eq!(world.open_pulls().await?, []);
    assert_eq!(
        world.comments(number).await?.iter().filter(|text| text.contains("the pipeline was deleted")).count(),
        1
    );

    let again = world.promoter.withdraw(&request, &world.credentials, "the pipeline was deleted").await?;
    assert_eq!((again.pull_requests.len(), again.branches.len()), (0, 0));
    Ok(())
}

async fn a_plan_pushes_nothing(world: World) -> Result<()> {
    let edited = world.promoter.plan(&world.request("6.3.0"), &world.credentials).await?;
    assert_eq!((edited.matched, edited.files.len()), (1, 1));
    assert_eq!(edited.files[0].content, manifest("6.3.0").into_bytes());
    assert_eq!((world.branches().await?.len(), world.pulls().await?.len()), (1, 0));
    Ok(())
}
