//! Promotion by pull request, on Gitea and on imitated hosts.

use anyhow::Result;
use pipeline_api::Phase;
use pipeline_api::conditions::ConditionType;
use serde_json::{Value, json};
use testbed::forge::Kind;
use testbed::gitea::Repo;

use crate::world::{Hosts, World, promotion, told};

async fn repo_on_gitea(world: &World, version: &str) -> Result<Repo> {
    let files = world.manifests(version);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    world.bed.gitea.create_repo("fleet", &files).await
}

fn to_gitea(repo: &Repo) -> Value {
    json!({"pullRequest": {"url": repo.clone_url, "branch": "main", "provider": "gitea", "secretRef": "fleet"}})
}

async fn world_with_open_pull_request() -> Result<(World, Repo)> {
    let world = World::new().await?;
    let repo = repo_on_gitea(&world, "6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.secret("fleet", json!({"token": world.bed.gitea.token})).await?;
    world.pipeline(to_gitea(&repo)).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await?;
    Ok((world, repo))
}

fn promotion_message(status: &pipeline_api::PipelineStatus) -> String {
    promotion(status).and_then(|promotion| promotion.message.clone()).unwrap_or_default()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_pull_request_changes_the_marked_bytes_and_nothing_else() -> Result<()> {
    let (world, repo) = world_with_open_pull_request().await?;
    let pulls = world.bed.gitea.pulls(&repo).await?;
    assert_eq!(pulls.len(), 1);
    assert_eq!(pulls[0].base.name, "main");
    let open = world.promotion("6.1.0", Phase::Open).await?;
    assert_eq!(open.url.as_deref(), Some(pulls[0].html_url.as_str()));
    assert!(pulls[0].body.contains(&format!("Promotion-Id: {}", open.id)), "{}", pulls[0].body);

    let changed = repo.git(&["diff", "--name-only", "main", &pulls[0].head.name]).await?;
    assert_eq!(String::from_utf8(changed)?, "apps/prod/podinfo.yaml\n");
    let before = repo.git(&["show", "main:apps/prod/podinfo.yaml"]).await?;
    let after = repo.git(&["show", &format!("{}:apps/prod/podinfo.yaml", pulls[0].head.name)]).await?;
    assert_eq!(String::from_utf8(after)?, String::from_utf8(before)?.replace("'6.0.0'", "'6.1.0'"));
    let parents = repo.git(&["log", "--format=%H", &format!("main..{}", pulls[0].head.name)]).await?;
    assert_eq!(String::from_utf8(parents)?.lines().count(), 1);
    repo.git(&["fsck", "--strict"]).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_merged_pull_request_succeeds_once_prod_shows_the_revision() -> Result<()> {
    let (world, repo) = world_with_open_pull_request().await?;
    assert_eq!(told(&world.status().await?, ConditionType::Ready), "True PullRequestOpen");
    world.bed.gitea.merge(&repo, 1).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    let done = world.promotion("6.1.0", Phase::Succeeded).await?;
    assert!(done.started_time.is_some() && done.finished_time.is_some());
    assert_eq!(told(&world.status().await?, ConditionType::Ready), "True ReconciliationSucceeded");
    assert_eq!(world.bed.gitea.branches(&repo).await?, ["main"]);
    let events = world.events().await?;
    for reason in ["PullRequestOpened", "PullRequestMerged", "PromotionSucceeded"] {
        assert_eq!(events.iter().filter(|event| *event == reason).count(), 1, "{reason} in {events:?}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_newer_revision_supersedes_an_open_pull_request() -> Result<()> {
    let (world, repo) = world_with_open_pull_request().await?;
    world.dev_is_at("6.2.0").await?;
    world.promotion("6.2.0", Phase::Open).await?;
    let pulls = world.bed.gitea.pulls(&repo).await?;
    let states: Vec<_> = pulls.iter().map(|pull| (pull.number, pull.state.as_str())).collect();
    assert_eq!(pulls.len(), 2);
    assert!(states.contains(&(1, "closed")) && states.contains(&(2, "open")), "{states:?}");
    let comments = world.bed.gitea.comments(&repo, 1).await?;
    assert!(comments.iter().any(|comment| comment.contains("pulls/2") || comment.contains("#2")), "{comments:?}");
    assert_eq!(world.bed.gitea.branches(&repo).await?.len(), 2);
    let status = world.status().await?;
    let history = &status.environments["prod"].history;
    assert_eq!(history.last().map(|past| (past.revision.as_str(), past.phase)), Some(("6.1.0", Phase::Superseded)));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_same_flow_on_github() -> Result<()> {
    let world = World::new().await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await?;
    let Hosts { github, repo, .. } = &hosts;
    let pulls = github.pulls("acme/fleet").await?;
    assert_eq!(pulls.len(), 1);
    let diff = repo.git(&["diff", "--numstat", "main", &pulls[0].head]).await?;
    assert_eq!(diff.trim_end(), "1\t1\tapps/prod/podinfo.yaml");
    github.merge("acme/fleet", pulls[0].number).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    repo.fsck().await?;
    assert_eq!(repo.branches().await?.len(), 1);
    Ok(())
}

/// In the shape of the first pipeline-controller, whose `type` names the host.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_same_flow_on_gitlab() -> Result<()> {
    let world = World::new().await?;
    let (gitlab, repo, _git) = world.forge(Kind::GitLab, "6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    let promotion = json!({"strategy": {"pull-request": {
        "type": "gitlab", "url": gitlab.url("acme/fleet"), "baseBranch": "main", "secretRef": {"name": "fleet"},
    }}});
    world.pipeline(promotion).await?;
    world.dev_is_at("6.1.0").await?;
    let open = world.promotion("6.1.0", Phase::Open).await?;
    let pulls = gitlab.pulls("acme/fleet").await?;
    assert_eq!(pulls.len(), 1);
    assert!(open.url.is_some_and(|url| url.ends_with("/acme/fleet/-/merge_requests/1")));
    let diff = repo.git(&["diff", "--numstat", "main", &pulls[0].head]).await?;
    assert_eq!(diff.trim_end(), "1\t1\tapps/prod/podinfo.yaml");
    gitlab.merge("acme/fleet", pulls[0].number).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    repo.fsck().await?;
    assert_eq!(repo.branches().await?.len(), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn updates_promote_without_a_marker() -> Result<()> {
    let world = World::new().await?;
    let files = [
        ("apps/prod/release.yaml", "kind: HelmRelease\nspec: {chart: {spec: {version: '6.0.0'}}} # as it is\n"),
        ("apps/prod/kustomization.yaml", "images:\n- name: podinfo\n  newTag: 6.0.0\n- name: other\n  newTag: 6.0.0\n"),
        ("apps/prod/values.yaml.txt", "image: {tag: v6.0.0}\n"),
        ("apps/dev/release.yaml", "kind: HelmRelease\nspec: {chart: {spec: {version: '6.0.0'}}}\n"),
    ];
    let repo = world.bed.gitea.create_repo("fleet", &files).await?;
    world.helm_releases("6.0.0").await?;
    world.secret("fleet", json!({"token": world.bed.gitea.token})).await?;
    let mut promotion = to_gitea(&repo);
    let updates = |field: &str| {
        json!([
            {"file": "apps/prod/*.yaml", "document": {"kind": "HelmRelease"}, "path": field},
            {"file": "apps/prod/kustomization.yaml", "kustomizeImage": {"name": "podinfo"}},
            {"file": "apps/prod/values.yaml.txt", "helmValues": {"path": "image.tag"}, "value": "v{{ revision | semver }}"},
        ])
    };
    promotion["pullRequest"]["updates"] = updates("spec.chart.version");
    world.pipeline(promotion.clone()).await?;
    world.dev_is_at("6.1.0+1a2b3c4d5e6f").await?;
    let failed = |status: &_| told(status, ConditionType::Ready).starts_with("False");
    let status = world.until("a refused promotion", failed).await?;
    let message = promotion_message(&status);
    assert!(message.contains("none of the 2 files that match `apps/prod/*.yaml`"), "{message}");
    assert_eq!(world.bed.gitea.branches(&repo).await?, ["main"]);

    promotion["pullRequest"]["updates"] = updates("spec.chart.spec.version");
    world.pipeline(promotion).await?;
    world.promotion("6.1.0+1a2b3c4d5e6f", Phase::Open).await?;
    let pulls = world.bed.gitea.pulls(&repo).await?;
    assert_eq!(pulls.len(), 1);
    let changed = repo.git(&["diff", "--unified=0", "main", &pulls[0].head.name]).await?;
    let changed = String::from_utf8(changed)?;
    let lines: Vec<_> = changed.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++")).collect();
    let expect = ["+  newTag: 6.1.0", "+spec: {chart: {spec: {version: '6.1.0'}}} # as it is", "+image: {tag: v6.1.0}"];
    assert_eq!(lines, expect, "{changed}");
    Ok(())
}
