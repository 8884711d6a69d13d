//! Three processes, one of which acts: whatever becomes of it, another one goes on, and never two.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use pipeline_api::{Phase, Pipeline};
use serde_json::json;
use testbed::git_server::Step;
use testbed::github::Call;
use testbed::{Fault, Hold, Receiver, Rule, When};

use crate::endpoints::{KEY, now, standard};
use crate::replicas::{Replica, SHORT, delivered_once, leader, leases, take_leader};
use crate::world::{Hosts, PATIENCE, World};

/// The replicas of a controller, and the receiver of what they promote.
async fn three() -> Result<(World, Vec<Replica>, Receiver)> {
    let world = World::without_controller().await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.secret("receiver", json!({"token": KEY})).await?;
    world.pipeline(json!({"webhook": {"url": receiver.url(), "secretRef": "receiver"}})).await?;
    let mut replicas = Vec::new();
    for name in ["a", "b", "c"] {
        replicas.push(Replica::start(&world, name, SHORT, &[]).await?);
    }
    Ok((world, replicas, receiver))
}

async fn promotes(world: &World, version: &str) -> Result<()> {
    world.dev_is_at(version).await?;
    world.promotion(version, Phase::Delivered).await.map(drop)
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn who_is_told_to_stop_ends_its_work_and_hands_over() -> Result<()> {
    let (world, mut replicas, receiver) = three().await?;
    let mut first = take_leader(&mut replicas).await?;
    promotes(&world, "6.1.0").await?;

    let hold = Hold::new();
    receiver.script([Fault::Hold(When::Before, hold.clone())]);
    world.dev_is_at("6.2.0").await?;
    hold.reached().await?;
    first.process.signal("TERM")?;
    // Longer than the lease would last if it was not renewed.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!replicas[0].leads()? && !replicas[1].leads()?, "while the first one was at work");
    hold.release();
    assert_eq!(first.ended().await?, 0);
    assert!(first.process.log()?.contains("the Lease is released"));

    let second = take_leader(&mut replicas).await?;
    promotes(&world, "6.3.0").await?;
    delivered_once(&receiver, 3);
    drop(second);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_leader_that_is_killed_is_replaced() -> Result<()> {
    let (world, mut replicas, receiver) = three().await?;
    for (killed, version) in [(false, "6.1.0"), (true, "6.2.0"), (true, "6.3.0")] {
        if killed {
            take_leader(&mut replicas).await?.process.signal("KILL")?;
        }
        promotes(&world, version).await?;
        delivered_once(&receiver, usize::from(version.as_bytes()[2] - b'0'));
    }
    let lease = leases(&world).list(&Default::default()).await?.items.pop().context("no Lease")?;
    assert_eq!(lease.spec.context("an empty Lease")?.lease_transitions, Some(2));
    Ok(())
}

/// It stands still in the middle of its work, which another one does meanwhile, and finds when it goes on that it may not.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_leader_that_stood_still_does_nothing_any_more() -> Result<()> {
    let world = World::without_controller().await?;
    let hosts = world.github("6.0.0").await?;
    let Hosts { git, github, repo } = &hosts;
    world.helm_releases("6.0.0").await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    let mut replicas = Vec::new();
    for name in ["a", "b", "c"] {
        replicas.push(Replica::start(&world, name, SHORT, &[]).await?);
    }
    let count = |step: Step| git.requests().iter().filter(|request| request.step == Some(step)).count();
    let created = || github.requests().iter().filter(|request| request.step == Some(Call::CreatePull)).count();

    // Before it pushes.
    let hold = Hold::new();
    git.inject(Rule::once(Fault::Hold(When::Before, hold.clone())).on(Step::Fetch));
    let mut first = take_leader(&mut replicas).await?;
    world.dev_is_at("6.1.0").await?;
    hold.reached().await?;
    first.process.signal("STOP")?;
    world.promotion("6.1.0", Phase::Open).await?;
    let (pushes, pulls) = (count(Step::Push), created());
    hold.release();
    tokio::time::sleep(Duration::from_millis(200)).await;
    first.process.signal("CONT")?;
    assert_ne!(first.ended().await?, 0);
    assert!(first.process.log()?.contains("is lost: "), "{}", first.process.log_tail());
    assert_eq!((count(Step::Push), created()), (pushes, pulls), "it pushed or opened something");

    // After it pushed, before it opens the pull request.
    let hold = Hold::new();
    git.inject(Rule::once(Fault::Hold(When::After, hold.clone())).on(Step::Push));
    let mut second = take_leader(&mut replicas).await?;
    world.dev_is_at("6.2.0").await?;
    hold.reached().await?;
    second.process.signal("STOP")?;
    world.promotion("6.2.0", Phase::Open).await?;
    let pulls = created();
    hold.release();
    tokio::time::sleep(Duration::from_millis(200)).await;
    second.process.signal("CONT")?;
    assert_ne!(second.ended().await?, 0);
    assert_eq!(created(), pulls, "it opened a pull request");
    assert_eq!(github.pulls("acme/fleet").await?.len(), 2);
    repo.fsck().await
}

/// What becomes ready while it stands still is not its own to promote, whether or not another one has done it.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_leader_that_stood_still_begins_nothing() -> Result<()> {
    let (world, mut replicas, receiver) = three().await?;
    let mut first = take_leader(&mut replicas).await?;
    promotes(&world, "6.1.0").await?;
    let calls = first.calls()?.context("it called nobody")?;
    first.process.signal("STOP")?;
    promotes(&world, "6.2.0").await?;

    let mut second = take_leader(&mut replicas).await?;
    second.process.signal("STOP")?;
    world.dev_is_at("6.3.0").await?;
    first.process.signal("CONT")?;
    assert_ne!(first.ended().await?, 0);
    assert_eq!(first.calls()?.context("it called nobody")?, calls);

    world.promotion("6.3.0", Phase::Delivered).await?;
    second.process.signal("CONT")?;
    assert_ne!(second.ended().await?, 0);
    delivered_once(&receiver, 3);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_leader_that_is_cut_off_ends_before_another_one_leads() -> Result<()> {
    let (world, mut replicas, receiver) = three().await?;
    promotes(&world, "6.1.0").await?;
    let mut first = take_leader(&mut replicas).await?;
    first.way.hang(true);
    assert_ne!(first.ended().await?, 0);
    assert!(first.process.log()?.contains("is lost: it could not be renewed in time"), "{}", first.process.log_tail());
    assert!(!replicas[0].leads()? && !replicas[1].leads()?, "the lease lasts longer than its holder trusts in it");
    promotes(&world, "6.2.0").await?;

    let mut second = take_leader(&mut replicas).await?;
    let Replica { way, mut process, .. } = second;
    drop(way);
    assert_ne!(process.wait(PATIENCE).await?, 0);
    promotes(&world, "6.3.0").await?;
    delivered_once(&receiver, 3);
    second = replicas.pop().context("one is left")?;
    assert!(second.leads()?);
    Ok(())
}

/// Times that a Lease says are nobody's: neither an old one makes it free, nor does one to come keep it.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn wrong_clocks_make_no_second_leader() -> Result<()> {
    let world = World::without_controller().await?;
    let first = Replica::start(&world, "a", SHORT, &[]).await?;
    leader(std::slice::from_ref(&first)).await?;
    let leases = leases(&world);
    let lease = leases.list(&Default::default()).await?.items.pop().context("no Lease")?;
    let name = lease.metadata.name.context("the Lease has no name")?;
    drop(first);
    leases.delete(&name, &Default::default()).await?;

    let at = |time: Timestamp| LeaseSpec {
        holder_identity: Some("ghost".to_owned()),
        lease_duration_seconds: Some(3),
        acquire_time: Some(MicroTime(time)),
        renew_time: Some(MicroTime(time)),
        ..LeaseSpec::default()
    };
    let long_ago = Timestamp::UNIX_EPOCH;
    let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    leases.create(&PostParams::default(), &Lease { metadata, spec: Some(at(long_ago)) }).await?;
    let second = Replica::start(&world, "b", SHORT, &[]).await?;
    for renewal in 1..=20 {
        let spec = at(long_ago + SignedDuration::from_secs(renewal));
        leases.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!second.leads()?, "somebody else renews the Lease");
    }
    let spec = at("2999-01-01T00:00:00Z".parse()?);
    leases.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await?;
    leader(std::slice::from_ref(&second)).await.map(drop)
}

/// What is told to one that does not act reaches the one that does.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn who_follows_takes_reports() -> Result<()> {
    let (mut world, mut replicas, _receiver) = three().await?;
    let _leader = take_leader(&mut replicas).await?;
    promotes(&world, "6.1.0").await?;
    let id = world.promotion("6.1.0", Phase::Delivered).await?.id;
    world.hooks = replicas[0].hooks;
    let report = json!({"promotionId": id, "state": "succeeded"}).to_string();
    let headers = standard(KEY, "1", now().as_second(), &report)?;
    let path = format!("/promotion-status/{}/podinfo/prod", world.namespace);
    let answer = world.send("POST", &path, &headers, &report).await?;
    assert_eq!(answer.status, 202, "{answer:?}");
    world.promotion("6.1.0", Phase::Succeeded).await.map(drop)
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn who_follows_takes_events_and_approvals() -> Result<()> {
    let (mut world, mut replicas, receiver) = three().await?;
    let _leader = take_leader(&mut replicas).await?;
    world.key().await?;
    world
        .apply(json!({
            "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline",
            "metadata": {"name": "podinfo", "namespace": world.namespace},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": [
                    {"name": "dev", "targets": [{"namespace": world.dev, "observe": "Event"}]},
                    {"name": "prod", "targets": [{"namespace": world.prod}]},
                ],
                "promotion": {"hmacSecretRef": "hmac", "manual": true, "webhook": {"url": receiver.url()}},
            },
        }))
        .await?;
    world.hooks = replicas[0].hooks;
    let answer = world.tell(&world.event("6.1.0")).await?;
    assert_eq!(answer.status, 202, "{answer:?}");
    world.promotion("6.1.0", Phase::AwaitingApproval).await?;
    let answer = world.approve("1", "prod", "6.1.0").await?;
    assert_eq!(answer.status, 202, "{answer:?}");
    world.promotion("6.1.0", Phase::Delivered).await?;
    assert_eq!(receiver.received().len(), 1);
    Ok(())
}

/// A host's webhook reaches one that does not act, and the pull request is looked at all the same.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn who_follows_takes_what_hosts_tell() -> Result<()> {
    let world = World::without_controller().await?;
    let gitea = &world.bed.gitea;
    let files = world.manifests("6.0.0");
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let repo = gitea.create_repo("followed", &files).await?;
    world.helm_releases("6.0.0").await?;
    world.secret("fleet", json!({"token": gitea.token, "webhook-secret": KEY})).await?;
    let promotion =
        json!({"pullRequest": {"url": repo.clone_url, "branch": "main", "provider": "gitea", "secretRef": "fleet"}});
    world.pipeline(promotion).await?;
    let mut replicas = Vec::new();
    for name in ["a", "b"] {
        replicas.push(Replica::start(&world, name, SHORT, &["--pull-request-interval", "1h"]).await?);
    }
    let leader = take_leader(&mut replicas).await?;
    let url = format!("http://127.0.0.1:{}/hooks/gitea", replicas[0].hooks);
    let hook = json!({
        "type": "gitea", "active": true, "events": ["pull_request"],
        "config": {"url": url, "content_type": "json", "secret": KEY},
    });
    let path = format!("repos/{}/{}/hooks", repo.owner, repo.name);
    assert_eq!(gitea.api(http::Method::POST, &path, Some(&hook)).await?.0, 201);
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await?;
    gitea.merge(&repo, 1).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    assert!(replicas[0].process.log()?.contains("the host tells of the pull request"));
    assert!(!leader.process.log()?.contains("the host tells of the pull request"));
    let pipelines: kube::Api<Pipeline> = kube::Api::namespaced(world.client.clone(), &world.namespace);
    let annotations = pipelines.get("podinfo").await?.metadata.annotations.unwrap_or_default();
    assert!(annotations.contains_key(pipeline_api::metadata::TOLD_AT), "{annotations:?}");
    Ok(())
}
