//! Approvals on `/approval`: the old controller's answers, one test for each of its own, and what keeps them from being forged.

use anyhow::{Context as _, Result};
use pipeline_api::Phase;
use serde_json::json;
use testbed::Receiver;

use crate::endpoints::{KEY, flux, now, standard};
use crate::world::World;

/// 6.1.0 waits for an approval to enter prod.
async fn waiting(flags: &[&str]) -> Result<(World, Receiver)> {
    let mut world = World::without_controller().await?;
    world.start(flags).await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world.key().await?;
    world.pipeline(json!({"hmacSecretRef": "hmac", "manual": true, "webhook": {"url": receiver.url()}})).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::AwaitingApproval).await?;
    Ok((world, receiver))
}

async fn still_waits(world: &World, receiver: &Receiver) -> Result<()> {
    let status = world.status().await?;
    let waiting = status.environments["prod"].waiting_approval.as_ref();
    assert_eq!(waiting.map(|waiting| waiting.revision.as_str()), Some("6.1.0"));
    assert_eq!(receiver.received().len(), 0);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_get_of_an_approval_is_405() -> Result<()> {
    let (world, receiver) = waiting(&[]).await?;
    assert_eq!(world.send("GET", &world.approval_path("prod", "6.1.0"), &[], "").await?.status, 405);
    still_waits(&world, &receiver).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_path_without_a_revision_is_404() -> Result<()> {
    let (world, _receiver) = waiting(&[]).await?;
    for path in ["/approval", "/approval/default/podinfo/prod", &world.approval_path("prod", "6.1.0/more")] {
        assert_eq!(world.send("POST", path, &[], "").await?.status, 404, "{path}");
    }
    Ok(())
}

/// The old controller told it apart, by 404.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_unknown_pipeline_is_as_an_unsigned_approval() -> Result<()> {
    let (world, receiver) = waiting(&[]).await?;
    let known = world.approval_path("prod", "6.1.0");
    let unsigned = world.send("POST", &known, &[], "{}").await?;
    let headers = standard(KEY, "1", now().as_second(), "{}")?;
    let unknown = world.send("POST", &known.replace("/podinfo/", "/other/"), &headers, "{}").await?;
    assert_eq!(unknown, unsigned);
    assert!(unknown.is(401, "unauthorized\n"), "{unknown:?}");
    still_waits(&world, &receiver).await
}

/// By the flag alone: such a signature approves everything under its key, for ever.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_signature_of_an_empty_body_is_taken_by_flag_alone() -> Result<()> {
    let (mut world, receiver) = waiting(&["--legacy-status-codes"]).await?;
    let path = world.approval_path("prod", "6.1.0");
    let headers = [("X-Signature", flux(KEY, ""))];
    let refused = world.send("POST", &path, &headers, "").await?;
    assert!(refused.is(401, "unauthorized\n"), "{refused:?}");
    still_waits(&world, &receiver).await?;
    world.kill().await?;
    world.start(&["--allow-legacy-approval", "--legacy-status-codes"]).await?;
    // 201 came with the URL of a pull request, and this is a webhook.
    let taken = world.send("POST", &path, &headers, "").await?;
    assert!(taken.is(204, ""), "{taken:?}");
    world.promotion("6.1.0", Phase::Delivered).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_forged_approval_is_401() -> Result<()> {
    let (world, receiver) = waiting(&[]).await?;
    let path = world.approval_path("prod", "6.1.0");
    let body = json!({"namespace": world.namespace, "pipeline": "podinfo", "environment": "prod", "revision": "6.1.0"});
    let (body, time) = (body.to_string(), now().as_second());
    let forged = [
        standard("other", "1", time, &body)?,
        standard(KEY, "2", time - 310, &body)?,
        standard(KEY, "3", time + 310, &body)?,
        standard(KEY, "4", time, "{}")?,
    ];
    for headers in forged {
        let answer = world.send("POST", &path, &headers, &body).await?;
        assert!(answer.is(401, "unauthorized\n"), "{headers:?} {answer:?}");
    }
    still_waits(&world, &receiver).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_approval_of_what_does_not_wait_is_422() -> Result<()> {
    let (world, receiver) = waiting(&[]).await?;
    let answer = world.approve("1", "prod", "6.0.9").await?;
    assert_eq!(answer.status, 422);
    assert!(answer.text.starts_with("failed approving promotion"), "{answer:?}");
    let unknown = world.approve("2", "qa", "6.1.0").await?;
    assert!(unknown.is(422, &format!("app {}/podinfo has no environment qa defined", world.namespace)), "{unknown:?}");
    // One request's signature is good for no other path.
    let body = json!({"namespace": world.namespace, "pipeline": "podinfo", "environment": "prod", "revision": "6.0.9"});
    let headers = standard(KEY, "3", now().as_second(), &body.to_string())?;
    let moved = world.send("POST", &world.approval_path("prod", "6.1.0"), &headers, &body.to_string()).await?;
    assert_eq!(moved.status, 422);
    still_waits(&world, &receiver).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_approval_without_a_promotion_in_the_spec_is_422() -> Result<()> {
    let (world, receiver) = waiting(&[]).await?;
    // The key stays, at the environment that nothing is promoted to.
    world
        .apply(json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "podinfo", "namespace": world.namespace},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": [
                    {"name": "dev", "targets": [{"namespace": world.dev}], "promotion": {
                        "hmacSecretRef": "hmac", "webhook": {"url": receiver.url()},
                    }},
                    {"name": "prod", "targets": [{"namespace": world.prod}]},
                ],
            },
        }))
        .await?;
    world
        .cluster
        .kubectl(&[
            "patch",
            "pipeline",
            "podinfo",
            "-n",
            &world.namespace,
            "--type=merge",
            "-p",
            r#"{"spec":{"promotion":null}}"#,
        ])
        .await?;
    let answer = world.approve("1", "dev", "6.1.0").await?;
    assert_eq!(answer.status, 422);
    assert!(answer.text.starts_with("failed approving promotion: nothing waits"), "{answer:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_right_approval_promotes_once_and_records_who() -> Result<()> {
    let (world, receiver) = waiting(&[]).await?;
    let answer = world.approve("1", "prod", "6.1.0").await?;
    assert!(answer.is(202, ""), "{answer:?}");
    let delivered = world.promotion("6.1.0", Phase::Delivered).await?;
    assert_eq!(delivered.approved_by.as_deref(), Some("ann@example.com"));
    assert!(delivered.approved_time.is_some());
    // The same again, and anew.
    assert_eq!(world.approve("1", "prod", "6.1.0").await?.status, 409);
    assert_eq!(world.approve("2", "prod", "6.1.0").await?.status, 422);
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    assert_eq!(receiver.received().len(), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_approval_of_a_pull_request_is_201_by_flag() -> Result<()> {
    let mut world = World::without_controller().await?;
    world.start(&["--legacy-status-codes"]).await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.key().await?;
    let mut promotion = hosts.promotion("acme/fleet");
    (promotion["hmacSecretRef"], promotion["manual"]) = (json!("hmac"), json!(true));
    world.pipeline(promotion).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::AwaitingApproval).await?;
    let answer = world.approve("1", "prod", "6.1.0").await?;
    assert!(answer.is(201, ""), "{answer:?}");
    world.promotion("6.1.0", Phase::Open).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_approval_takes_away_what_waits() -> Result<()> {
    let (world, _receiver) = waiting(&[]).await?;
    assert_eq!(world.approve("1", "prod", "6.1.0").await?.status, 202);
    world.until("nothing waits", |status| status.environments["prod"].waiting_approval.is_none()).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_superseded_approval_by_request_never_applies() -> Result<()> {
    let (world, receiver) = waiting(&[]).await?;
    world.dev_is_at("6.2.0").await?;
    world.promotion("6.2.0", Phase::AwaitingApproval).await?;
    assert_eq!(world.approve("1", "prod", "6.1.0").await?.status, 422);
    let status = world.status().await?;
    assert_eq!(
        status.environments["prod"].waiting_approval.as_ref().map(|waiting| waiting.revision.as_str()),
        Some("6.2.0")
    );
    assert_eq!(receiver.received().len(), 0);
    Ok(())
}

/// What the id was noted in is gone with the process; what was approved is not.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_replay_after_a_restart_approves_nothing_more() -> Result<()> {
    let (mut world, receiver) = waiting(&[]).await?;
    assert_eq!(world.approve("1", "prod", "6.1.0").await?.status, 202);
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.kill().await?;
    world.start(&[]).await?;
    assert_eq!(world.approve("1", "prod", "6.1.0").await?.status, 422);
    assert_eq!(receiver.received().len(), 1);
    Ok(())
}

/// As `docs/endpoints.md` tells to do it from a shell.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_script_of_the_docs_approves() -> Result<()> {
    const PAGE: &str = include_str!("../../../../docs/endpoints.md");
    let (_, section) = PAGE.split_once("\n## Approvals\n").context("a section")?;
    let (_, block) = section.split_once("\n```sh\n").context("a script")?;
    let script = block.split_once("\n```").context("an end")?.0;
    let (world, _receiver) = waiting(&[]).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("approve.sh");
    std::fs::write(&file, script)?;
    let run = async |revision: &str| {
        let mut command = tokio::process::Command::new("sh");
        command.arg(&file).args(["prod", revision, "Ann Müller"]);
        command.env("CONTROLLER", format!("http://127.0.0.1:{}", world.hooks));
        command.env("NAMESPACE", &world.namespace).env("PIPELINE", "podinfo").env("HMAC_KEY", KEY);
        anyhow::Ok(command.output().await?)
    };
    let refused = run("refs/heads/main@sha1:1a2b").await?;
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!refused.status.success() && text.contains("failed approving promotion"), "{refused:?}");
    let taken = run("6.1.0").await?;
    assert!(taken.status.success(), "{taken:?}");
    let delivered = world.promotion("6.1.0", Phase::Delivered).await?;
    assert_eq!(delivered.approved_by.as_deref(), Some("Ann Müller"));
    Ok(())
}
