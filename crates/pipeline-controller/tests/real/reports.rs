//! What a receiver reports back.

use anyhow::Result;
use jiff::Timestamp;
use pipeline_api::{Phase, ReportState};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use testbed::Receiver;

use crate::world::{PATIENCE, World};

const KEY: &str = "a key that both sides know";

struct Job {
    world: World,
    receiver: Receiver,
}

impl Job {
    /// A promotion to 6.1.0 that the receiver has taken, and its id.
    async fn delivered() -> Result<(Self, String)> {
        let world = World::new().await?;
        let receiver = Receiver::start(&world.bed.ca).await?;
        world.helm_releases("6.0.0").await?;
        world.secret("receiver", json!({"token": KEY})).await?;
        world.pipeline(json!({"webhook": {"url": receiver.url(), "secretRef": "receiver"}})).await?;
        world.dev_is_at("6.1.0").await?;
        let delivered = world.promotion("6.1.0", Phase::Delivered).await?;
        Ok((Self { world, receiver }, delivered.id))
    }

    /// Reports as the reference library of Standard Webhooks signs; the answer's status.
    async fn report(&self, report: &Value) -> Result<u16> {
        self.report_as(KEY, now(), report).await
    }

    async fn report_as(&self, key: &str, time: i64, report: &Value) -> Result<u16> {
        let body = report.to_string();
        let signature = Webhook::from_bytes(key.as_bytes().to_vec())?.sign("msg_1", time, body.as_bytes())?;
        let World { hooks, namespace, .. } = &self.world;
        let answer = self
            .world
            .http
            .post(format!("http://127.0.0.1:{hooks}/promotion-status/{namespace}/podinfo/prod"))
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", time)
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await?;
        Ok(answer.status().as_u16())
    }
}

#[expect(clippy::disallowed_methods, reason = "signatures are of a time")]
fn now() -> i64 {
    Timestamp::now().as_second()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_receiver_reports_how_it_goes() -> Result<()> {
    let (job, id) = Job::delivered().await?;
    let link = "https://ci.example/jobs/7";
    assert_eq!(job.report(&json!({"promotionId": id, "state": "running", "url": link})).await?, 202);
    let status = job
        .world
        .until("the link", |status| {
            status.environments["prod"].promotion.as_ref().is_some_and(|record| record.url.as_deref() == Some(link))
        })
        .await?;
    let prod = &status.environments["prod"];
    assert_eq!(prod.report.as_ref().map(|report| report.state), Some(ReportState::Running));
    assert_eq!(prod.promotion.as_ref().map(|record| record.phase), Some(Phase::Delivered));
    assert!(status.conditions.iter().any(|condition| condition.message.contains(link)), "{status:?}");

    assert_eq!(job.report(&json!({"promotionId": id, "state": "succeeded", "url": link})).await?, 202);
    let record = job.world.promotion("6.1.0", Phase::Succeeded).await?;
    assert_eq!(record.message.as_deref(), Some("the receiver reports success"));
    job.world.prod_is_at("6.1.0").await?;
    job.world
        .until("live", |status| {
            status.environments["prod"].promotion.as_ref().is_some_and(|record| record.message.is_none())
        })
        .await?;
    let events = job.world.events().await?;
    for reason in ["PromotionDelivered", "PromotionRunning", "PromotionSucceeded"] {
        assert!(events.iter().any(|event| event == reason), "{reason}: {events:?}");
    }
    assert_eq!(job.receiver.received().len(), 1);

    // The report goes with its promotion.
    job.world.dev_is_at("6.2.0").await?;
    job.world.promotion("6.2.0", Phase::Delivered).await?;
    job.world.until("no report", |status| status.environments["prod"].report.is_none()).await?;
    assert_eq!(job.report(&json!({"promotionId": id, "state": "failed"})).await?, 422);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_failure_is_told_and_another_try_has_another_id() -> Result<()> {
    let (mut job, id) = Job::delivered().await?;
    assert_eq!(job.report(&json!({"promotionId": id, "state": "failed", "reason": "tests are red"})).await?, 202);
    let failed = job.world.promotion("6.1.0", Phase::Failed).await?;
    assert_eq!(failed.message.as_deref(), Some("the receiver reports failure: tests are red"));
    job.world.until_not_ready(&["prod", "tests are red"]).await?;
    job.world.kill().await?;
    job.world.start(&[]).await?;
    assert_eq!(job.world.promotion("6.1.0", Phase::Failed).await?.id, id);
    assert_eq!(job.receiver.received().len(), 1, "a failed promotion was sent again");

    let namespace = &job.world.namespace;
    let request = ["annotate", "pipeline", "podinfo", "-n", namespace, "reconcile.fluxcd.io/requestedAt=now"];
    job.world.cluster.kubectl(&request).await?;
    let received = job.receiver.wait_for(2, PATIENCE).await?;
    let anew = job.world.promotion("6.1.0", Phase::Delivered).await?;
    assert_ne!(anew.id, id);
    assert_eq!(received[1].header("webhook-id"), Some(anew.id.as_str()));
    assert_eq!(job.report(&json!({"promotionId": id, "state": "succeeded"})).await?, 422);
    assert_eq!(job.report(&json!({"promotionId": anew.id, "state": "running"})).await?, 202);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn nobody_else_reports() -> Result<()> {
    let (job, id) = Job::delivered().await?;
    let report = json!({"promotionId": id, "state": "failed"});
    let before = job.world.status().await?;
    assert_eq!(job.report_as("another key", now(), &report).await?, 401);
    assert_eq!(job.report_as(KEY, now() - 400, &report).await?, 401);
    assert_eq!(job.report(&json!({"state": "failed"})).await?, 400);
    assert_eq!(
        job.report(&json!({"promotionId": "7d1b1c84-7c4d-4b0a-9f0e-0d1c0f6f0a11", "state": "failed"})).await?,
        422
    );
    assert_eq!(job.world.status().await?, before);

    // While the key is being replaced, both are good, and what is older does not take the place of what is newer.
    job.world.secret("receiver", json!({"token": "new", "token.previous": KEY})).await?;
    let time = now();
    assert_eq!(job.report_as("new", time, &json!({"promotionId": id, "state": "running"})).await?, 202);
    assert_eq!(job.report_as(KEY, time - 60, &report).await?, 202);
    let status = job.world.status().await?;
    let report = status.environments["prod"].report.as_ref().map(|report| report.state);
    assert_eq!(report, Some(ReportState::Running));
    Ok(())
}
