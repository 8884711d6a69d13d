//! What a pull request gets beside its text, and how it is merged: on the real Gitea and on the imitated GitHub.

use anyhow::{Context as _, Result};
use egress::Retry;
use http::{Method, StatusCode};
use promote_pr::{Attributes, Error, MergePolicy, Request, State};
use serde_json::{Value, json};
use testbed::gitea::{Gitea, Repo};
use testbed::github::{Call, MILESTONE, PERSON, TEAM, server_error};
use testbed::{Fault, Rule, When};

use crate::world::{Place, World};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn merging(world: &World, merge: MergePolicy) -> Request {
    Request { merge, ..world.request("6.3.0") }
}

/// What GitHub was asked since `from`: the calls and how they were answered.
fn asked(world: &World, from: usize) -> Vec<(Call, u16)> {
    let requests = world.github_place().github.requests().split_off(from);
    let api = requests.into_iter().filter_map(|request| Some((request.step?, request.status?.as_u16())));
    api.collect()
}

fn on_gitea(world: &World) -> (&'static Gitea, &Repo) {
    match &world.place {
        Place::Gitea { gitea, repo } => (gitea, repo),
        _ => panic!("this test is for Gitea"),
    }
}

/// As the administrator, below the repository.
async fn gitea(world: &World, method: Method, path: &str, body: Value) -> Result<Value> {
    let (gitea, repo) = on_gitea(world);
    let path = format!("repos/{}/{}/{path}", repo.owner, repo.name);
    let (status, answer) = gitea.api(method, &path, (!body.is_null()).then_some(&body)).await?;
    anyhow::ensure!((200..300).contains(&status), "{path}: {status} {answer}");
    Ok(answer)
}

fn texts(list: &Value, key: &str) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|item| Some(item.get(key)?.as_str()?.to_owned())).collect()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn github_shows_what_was_asked_for() -> Result<()> {
    let mut world = World::github().await?;
    let mut request = world.request("6.3.0");
    let number = world.promoter.promote(&request, &world.credentials).await?.pull_request.context("none")?.number;
    request.attributes = Attributes {
        labels: names(&["promotion", "prod"]),
        reviewers: names(&[PERSON]),
        team_reviewers: names(&[TEAM]),
        assignees: names(&[PERSON]),
        milestone: Some(MILESTONE.to_owned()),
        draft: false,
    };
    let promotion = world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!(promotion.state, State::Open);
    let place = world.github_place();
    let pull = place.github.pull("fleet/config", number).await?;
    let shown = |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>();
    assert_eq!(shown(&pull.labels), names(&["prod", "promotion"]));
    assert_eq!((shown(&pull.reviewers), shown(&pull.teams)), (names(&[PERSON]), names(&[TEAM])));
    assert_eq!((shown(&pull.assignees), pull.milestone.as_deref()), (names(&[PERSON]), Some(MILESTONE)));

    // What is in order is looked at with one request, which is free of charge as long as nothing changes.
    world.promoter.promote(&request, &world.credentials).await?;
    let from = world.github_place().github.requests().len();
    world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!(asked(&world, from), [(Call::ListPulls, 304)]);

    // Who reviewed it is not asked again, also by a process that knows nothing.
    world.github_place().github.review("fleet/config", number).await?;
    world.restart()?;
    world.promoter.promote(&request, &world.credentials).await?;
    let pull = world.github_place().github.pull("fleet/config", number).await?;
    assert_eq!((pull.asked.len(), pull.reviewers.len(), pull.teams.len()), (2, 0, 0));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn gitea_shows_what_was_asked_for() -> Result<()> {
    let mut world = World::gitea().await?;
    let ann = on_gitea(&world).0.create_user_token(&["write:repository"]).await?.username;
    let bob = on_gitea(&world).0.create_user_token(&["write:repository"]).await?.username;
    for person in [&ann, &bob] {
        on_gitea(&world).0.add_collaborator(on_gitea(&world).1, person, "write").await?;
    }
    for label in ["promotion", "prod"] {
        gitea(&world, Method::POST, "labels", json!({"name": label, "color": "#00aabb"})).await?;
    }
    gitea(&world, Method::POST, "milestones", json!({"title": "2026-11"})).await?;

    let mut request = world.request("6.3.0");
    let number = world.promoter.promote(&request, &world.credentials).await?.pull_request.context("none")?.number;
    gitea(&world, Method::PATCH, &format!("pulls/{number}"), json!({"assignees": [bob]})).await?;
    request.attributes = Attributes {
        labels: names(&["promotion", "prod"]),
        reviewers: names(&[&ann]),
        assignees: names(&[&ann]),
        milestone: Some("2026-11".to_owned()),
        ..Attributes::default()
    };
    for _ in 0..2 {
        world.promoter.promote(&request, &world.credentials).await?;
        world.restart()?;
        let pull = gitea(&world, Method::GET, &format!("pulls/{number}"), Value::Null).await?;
        let mut labels = texts(&pull["labels"], "name");
        labels.sort();
        assert_eq!(labels, names(&["prod", "promotion"]));
        assert_eq!(texts(&pull["requested_reviewers"], "login"), [ann.as_str()]);
        let mut assignees = texts(&pull["assignees"], "login");
        assignees.sort();
        let mut both = [ann.clone(), bob.clone()];
        both.sort();
        assert_eq!(assignees, both, "the one that a person set stays");
        assert_eq!(pull["milestone"]["title"], "2026-11");
    }

    let lacks = async |attributes: Attributes, expect: &str| {
        let request = Request { attributes, ..world.request("6.4.0") };
        let error = world.promoter.promote(&request, &world.credentials).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Never, "{error:?}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    lacks(Attributes { labels: names(&["nothing"]), ..Attributes::default() }, "no label `nothing`").await;
    let milestone = Some("never".to_owned());
    lacks(Attributes { milestone, ..Attributes::default() }, "no milestone `never`").await;
    lacks(Attributes { reviewers: names(&["nobody-at-all"]), ..Attributes::default() }, "nobody-at-all").await;
    lacks(Attributes { assignees: names(&["nobody-at-all"]), ..Attributes::default() }, "nobody-at-all").await;
    let teams = names(&["platform"]);
    lacks(Attributes { team_reviewers: teams, ..Attributes::default() }, "platform").await;
    assert_eq!(world.open_pulls().await?.len(), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn names_that_github_does_not_know_are_told() -> Result<()> {
    let world = World::github().await?;
    let lacks = async |attributes: Attributes, expect: &str| {
        let request = Request { attributes, ..world.request("6.3.0") };
        let error = world.promoter.promote(&request, &world.credentials).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Never, "{error:?}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    lacks(Attributes { assignees: names(&["nobody"]), ..Attributes::default() }, "no assignee `nobody`").await;
    lacks(Attributes { milestone: Some("never".to_owned()), ..Attributes::default() }, "no milestone `never`").await;
    let reviewers = names(&["nobody"]);
    lacks(Attributes { reviewers, ..Attributes::default() }, "only be requested from collaborators").await;
    assert_eq!(world.open_pulls().await?.len(), 1);
    Ok(())
}

async fn a_draft_waits(world: World) -> Result<()> {
    let mut request = merging(&world, MergePolicy::Immediate);
    request.attributes.draft = true;
    for _ in 0..2 {
        let promotion = world.promoter.promote(&request, &world.credentials).await?;
        assert_eq!(promotion.state, State::Open);
        assert_eq!(promotion.held_up.as_deref(), Some("the pull request is a draft"));
        let pull = promotion.pull_request.context("none")?;
        assert!(pull.attributes.draft);
        assert_eq!(pull.title, "Promote default/podinfo to 6.3.0 in prod");
    }
    let pull = world.pulls().await?.remove(0);
    world.rewrite(pull.number, &pull.title, "Nothing to see").await?;
    let pull = world.promoter.promote(&request, &world.credentials).await?.pull_request.context("none")?;
    assert!(pull.attributes.draft && pull.body.contains("Promotion-Id"), "{pull:?}");
    Ok(())
}

async fn it_is_merged_at_once(mut world: World) -> Result<()> {
    let request = merging(&world, MergePolicy::Immediate);
    let mut promotion = world.promoter.promote(&request, &world.credentials).await?;
    // Hosts need a moment to see whether a new pull request conflicts with its base.
    for _ in 0..50 {
        if promotion.state == State::Merged {
            break;
        }
        assert!(promotion.held_up.is_some(), "{promotion:?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        promotion = world.promoter.promote(&request, &world.credentials).await?;
    }
    assert_eq!(promotion.state, State::Merged);
    assert!(promotion.pull_request.context("none")?.merged_commit.is_some());
    world.restart()?;
    assert_eq!(world.promoter.promote(&request, &world.credentials).await?.state, State::Merged);
    assert_eq!(world.branches().await?, ["main"]);
    assert_eq!(world.git(&["show", "main:apps/prod/podinfo.yaml"]).await?, crate::world::manifest("6.3.0"));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn drafts_wait() -> Result<()> {
    a_draft_waits(World::github().await?).await?;
    a_draft_waits(World::gitea().await?).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn immediate_merges_at_once() -> Result<()> {
    it_is_merged_at_once(World::github().await?).await?;
    it_is_merged_at_once(World::gitea().await?).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn github_merges_by_its_rules() -> Result<()> {
    for queue in [false, true] {
        let world = World::github().await?;
        let github = &world.github_place().github;
        github.block("fleet/config", true).await?;
        if queue {
            github.set_queue("fleet/config").await?;
        }
        let promotion = world.promoter.promote(&merging(&world, MergePolicy::Immediate), &world.credentials).await?;
        let reason = promotion.held_up.context("merged")?;
        assert!(reason.contains(if queue { "merge queue only" } else { "ask for a review" }), "{reason}");

        let request = merging(&world, MergePolicy::Auto);
        let promotion = world.promoter.promote(&request, &world.credentials).await?;
        assert_eq!((promotion.state, promotion.held_up), (State::Open, None));
        let number = promotion.pull_request.context("none")?.number;
        assert!(github.pull("fleet/config", number).await?.auto_merge);
        world.promoter.promote(&request, &world.credentials).await?;
        let from = github.requests().len();
        world.promoter.promote(&request, &world.credentials).await?;
        assert_eq!(asked(&world, from), [(Call::ListPulls, 304)]);

        github.block("fleet/config", false).await?;
        let promotion = world.promoter.promote(&request, &world.credentials).await?;
        assert_eq!(promotion.state, State::Merged);
        assert_eq!(world.branches().await?, ["main"]);
    }
    // With all rules met there is nothing to wait for, but for a queue's own turn.
    let world = World::github().await?;
    let promotion = world.promoter.promote(&merging(&world, MergePolicy::Auto), &world.credentials).await?;
    assert_eq!(promotion.state, State::Merged);
    let world = World::github().await?;
    world.github_place().github.set_queue("fleet/config").await?;
    let promotion = world.promoter.promote(&merging(&world, MergePolicy::Auto), &world.credentials).await?;
    assert_eq!((promotion.state, promotion.held_up), (State::Open, None));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn gitea_merges_by_its_rules() -> Result<()> {
    let world = World::gitea().await?;
    let rule = json!({"rule_name": "main", "enable_status_check": true, "status_check_contexts": ["ci"]});
    gitea(&world, Method::POST, "branch_protections", rule).await?;
    let attempt = async |merge| {
        let request = merging(&world, merge);
        for _ in 0..50 {
            let promotion = world.promoter.promote(&request, &world.credentials).await?;
            match &promotion.held_up {
                Some(reason) if reason.contains("still checking") => {
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
                _ => return anyhow::Ok(promotion),
            }
        }
        anyhow::bail!("Gitea checks the pull request for ten seconds")
    };
    let reason = attempt(MergePolicy::Immediate).await?.held_up.context("merged")?;
    assert!(reason.contains("status checks"), "{reason}");
    for _ in 0..2 {
        let promotion = attempt(MergePolicy::Auto).await?;
        assert_eq!((promotion.state, promotion.held_up), (State::Open, None));
    }
    let head = world.request("6.3.0").key.branch();
    let commit = world.git(&["rev-parse", head.as_str()]).await?;
    let status = json!({"state": "success", "context": "ci"});
    gitea(&world, Method::POST, &format!("statuses/{}", commit.trim()), status).await?;
    for _ in 0..50 {
        if attempt(MergePolicy::Auto).await?.state == State::Merged {
            assert_eq!(world.branches().await?, ["main"]);
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    anyhow::bail!("Gitea does not merge what it was asked to")
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_archived_repository_is_told() -> Result<()> {
    let world = World::github().await?;
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
    world.github_place().github.archive("fleet/config").await?;
    let error = world.promoter.promote(&world.request("6.4.0"), &world.credentials).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never);
    assert!(error.to_string().contains("archived so is read-only.; unarchive the repository"), "{error}");

    let world = World::gitea().await?;
    world.promoter.promote(&world.request("6.3.0"), &world.credentials).await?;
    let (gitea, repo) = on_gitea(&world);
    let path = format!("repos/{}/{}", repo.owner, repo.name);
    gitea.api(Method::PATCH, &path, Some(&json!({"archived": true}))).await?;
    let error = world.promoter.promote(&world.request("6.4.0"), &world.credentials).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error:?}");
    assert!(error.to_string().contains("archived"), "{error}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_base_that_is_gone_or_renamed_is_named() -> Result<()> {
    let world = World::gitea().await?;
    world.branch("release/1", "main").await?;
    let mut request = world.request("6.3.0");
    request.base = "release/1".parse()?;
    world.promoter.promote(&request, &world.credentials).await?;
    gitea(&world, Method::DELETE, "branches/release%2F1", Value::Null).await?;
    // Gitea leaves open what goes into a branch that is gone.
    let promotion = world.promoter.promote(&request, &world.credentials).await?;
    assert_eq!(promotion.state, State::Open);
    request.key.revision = "6.4.0".to_owned();
    let error = world.promoter.promote(&request, &world.credentials).await.unwrap_err();
    assert!(error.to_string().contains("there is no branch `release/1`"), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_merged_branch_that_may_not_go_is_no_failure() -> Result<()> {
    let world = World::github().await?;
    let request = world.request("6.3.0");
    let number = world.promoter.promote(&request, &world.credentials).await?.pull_request.context("none")?.number;
    world.merge(number).await?;
    let github = &world.github_place().github;
    github.inject(Rule::once(server_error(StatusCode::BAD_GATEWAY, When::Before)).on(Call::DeleteRef));
    let error = world.promoter.promote(&request, &world.credentials).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later);
    github.inject(Rule::once(Fault::status(StatusCode::FORBIDDEN)).on(Call::DeleteRef));
    assert_eq!(world.promoter.promote(&request, &world.credentials).await?.state, State::Merged);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn what_a_host_cannot_do_is_said_before_anything_is_pushed() -> Result<()> {
    let world = World::forge(testbed::forge::Kind::BitbucketCloud).await?;
    let mut request = world.request("6.3.0");
    request.attributes.labels = names(&["promotion"]);
    let error = world.promoter.promote(&request, &world.credentials).await.unwrap_err();
    assert!(matches!(error, Error::NotSupported { what: "labels", .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!((world.branches().await?.len(), world.pulls().await?.len()), (1, 0));
    Ok(())
}
