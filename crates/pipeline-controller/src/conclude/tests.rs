mod reports;

use pipeline_api::conditions::{ConditionType, condition};

use super::*;
use crate::decide::decide;
use crate::fixtures::{NOW, pipeline, policy, promoting, with, world};

const URL: &str = "https://git.example.com/acme/fleet/pulls/7";

fn done(result: Done) -> Result<Done, Failure> {
    Ok(result)
}

fn failed(next: Next) -> Result<Done, Failure> {
    Err(Failure { message: "the host answered 500".to_owned(), next, nothing_matched: false })
}

fn report(pipeline: &Pipeline, world_text: &str, result: Option<Result<Done, Failure>>) -> Report {
    let observed = world(world_text);
    let now = NOW.parse().unwrap();
    let plan = decide(pipeline, &observed, &policy(), now);
    let outcome = |result| Outcome { environment: "prod".to_owned(), result, secret_version: Some("7".to_owned()) };
    conclude(pipeline, &observed, &plan, result.map(outcome).into_iter().collect(), &policy(), now)
}

/// Phase, attempts, time of the next try and message of prod's promotion; then the conditions; then the transitions.
fn told(report: &Report) -> String {
    let mut lines = Vec::new();
    let prod = report.status.environments.get("prod");
    if let Some(promotion) = prod.and_then(|environment| environment.promotion.as_ref()) {
        let mut line = format!("{:?}", promotion.phase);
        if promotion.attempts > 0 {
            line += &format!(" attempts={}", promotion.attempts);
        }
        if let Some(next) = &promotion.next_attempt_time {
            line += &format!(" next={}s", next.0.duration_since(NOW.parse().unwrap()).as_secs());
        }
        if promotion.finished_time.is_some() {
            line += " finished";
        }
        lines.push(line);
    }
    for condition in &report.status.conditions {
        lines.push(format!("{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message));
    }
    for transition in &report.transitions {
        lines.push(format!("! {}: {}", transition.reason, transition.note));
    }
    lines.push(format!("again in {}s", report.requeue.as_secs()));
    lines.join("\n")
}

#[track_caller]
fn check(pipeline: &Pipeline, world_text: &str, result: Option<Result<Done, Failure>>, expected: &[&str]) {
    assert_eq!(told(&report(pipeline, world_text, result)), expected.join("\n"));
}

#[test]
fn a_pull_request_from_opening_to_the_end() {
    let pair = promoting(pipeline("dev prod"), "2", "Pending", serde_json::json!({}));
    check(
        &pipeline("dev prod"),
        "dev=2 prod=1",
        None,
        &[
            "Pending",
            "Ready=True ReconciliationSucceeded: prod: 2 is being promoted",
            "Reconciling=True Progressing: prod: promotion of 2 is due",
            "! PromotionStarted: prod: promotion of 2 was decided",
            "again in 0s",
        ],
    );
    check(
        &pair,
        "dev=2 prod=1",
        Some(done(Done::Open { url: URL.to_owned(), held_up: None })),
        &[
            "Open",
            "Ready=True PullRequestOpen: prod: 2 waits for the merge of https://git.example.com/acme/fleet/pulls/7",
            "! PullRequestOpened: prod: https://git.example.com/acme/fleet/pulls/7 promotes 2",
            "again in 30s",
        ],
    );
    let open = promoting(pair, "2", "Open", serde_json::json!({"url": URL}));
    check(
        &open,
        "dev=2 prod=1",
        Some(done(Done::Merged { url: URL.to_owned() })),
        &[
            "Delivered",
            "Ready=True ReconciliationSucceeded: prod: 2 is delivered and expected to arrive",
            "! PullRequestMerged: prod: https://git.example.com/acme/fleet/pulls/7 is merged, 2 is expected",
            "again in 600s",
        ],
    );
    check(
        &open,
        "dev=2 prod=1",
        Some(done(Done::Closed { url: URL.to_owned() })),
        &[
            "Closed finished",
            "Ready=True PullRequestClosed: prod: 2 is not promoted: https://git.example.com/acme/fleet/pulls/7 was closed \
             without a merge",
            "! PullRequestClosed: prod: https://git.example.com/acme/fleet/pulls/7 was closed without a merge",
            "again in 600s",
        ],
    );
    let delivered = promoting(pipeline("dev prod"), "2", "Delivered", serde_json::json!({"url": URL}));
    check(
        &delivered,
        "dev=2 prod=2",
        None,
        &[
            "Succeeded finished",
            "Ready=True ReconciliationSucceeded: every environment is at 2",
            "! PromotionSucceeded: prod: 2 is live",
            "again in 600s",
        ],
    );
}

#[test]
fn looking_at_an_open_pull_request_changes_no_status() {
    let open = promoting(pipeline("dev prod"), "2", "Open", serde_json::json!({"url": URL}));
    let first = report(&open, "dev=2 prod=1", Some(done(Done::Open { url: URL.to_owned(), held_up: None })));
    let open = with(open, serde_json::json!({"status": serde_json::to_value(&first.status).unwrap()}));
    let second = report(&open, "dev=2 prod=1", Some(done(Done::Open { url: URL.to_owned(), held_up: None })));
    assert_eq!(second.status, first.status);
    assert!(second.transitions.is_empty());
}

#[test]
fn a_failed_try_is_tried_again_ever_later() {
    let pair = promoting(pipeline("dev prod"), "2", "Pending", serde_json::json!({}));
    check(
        &pair,
        "dev=2 prod=1",
        Some(failed(Next::Backoff { at_least: Duration::ZERO })),
        &[
            "Pending attempts=1 next=2s",
            "Ready=False PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "Reconciling=True Progressing: prod: promotion of 2 is tried again",
            "! PromotionRetried: prod: promotion of 2 is tried again: the host answered 500",
            "again in 2s",
        ],
    );
    let tried = promoting(pair, "2", "Pending", serde_json::json!({"attempts": 7, "message": "the host answered 500"}));
    check(
        &tried,
        "dev=2 prod=1",
        Some(failed(Next::Backoff { at_least: Duration::ZERO })),
        &[
            "Pending attempts=8 next=256s",
            "Ready=False PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "Stalled=True PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "again in 256s",
        ],
    );
    check(
        &tried,
        "dev=2 prod=1",
        Some(failed(Next::Backoff { at_least: Duration::from_secs(500) })),
        &[
            "Pending attempts=8 next=500s",
            "Ready=False PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "Stalled=True PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "again in 500s",
        ],
    );
}

#[test]
fn what_a_person_must_mend_is_stalled() {
    let pair = promoting(pipeline("dev prod"), "2", "Pending", serde_json::json!({}));
    check(
        &pair,
        "dev=2 prod=1",
        Some(failed(Next::Review)),
        &[
            "Failed attempts=1 next=300s finished",
            "Ready=False PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "Stalled=True PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "! PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "again in 300s",
        ],
    );
    check(
        &pair,
        "dev=2 prod=1",
        Some(failed(Next::Never)),
        &[
            "Failed attempts=1 finished",
            "Ready=False PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "Stalled=True PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "! PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "again in 300s",
        ],
    );
    let mended =
        promoting(pair, "2", "Failed", serde_json::json!({"attempts": 3, "message": "x", "nextAttemptTime": NOW}));
    check(
        &mended,
        "dev=2 prod=1",
        Some(done(Done::Open { url: URL.to_owned(), held_up: None })),
        &[
            "Open",
            "Ready=True PullRequestOpen: prod: 2 waits for the merge of https://git.example.com/acme/fleet/pulls/7",
            "! PullRequestOpened: prod: https://git.example.com/acme/fleet/pulls/7 promotes 2",
            "again in 30s",
        ],
    );
}

#[test]
fn a_webhook_is_delivered_and_then_awaited() {
    let pair = promoting(pipeline("dev prod"), "2", "Pending", serde_json::json!({}));
    check(
        &pair,
        "dev=2 prod=1",
        Some(done(Done::Delivered)),
        &[
            "Delivered",
            "Ready=True ReconciliationSucceeded: prod: 2 is delivered and expected to arrive",
            "! PromotionDelivered: prod: the receiver accepted the promotion of 2",
            "again in 600s",
        ],
    );
    check(
        &pair,
        "dev=2 prod=1",
        Some(failed(Next::After(Duration::from_secs(5)))),
        &[
            "Pending attempts=1 next=5s",
            "Ready=False PromotionFailed: prod: promotion of 2 failed: the host answered 500",
            "Reconciling=True Progressing: prod: promotion of 2 is tried again",
            "! PromotionRetried: prod: promotion of 2 is tried again: the host answered 500",
            "again in 5s",
        ],
    );
}

#[test]
fn an_environment_that_is_not_ready_keeps_the_promotion_pending() {
    check(
        &pipeline("dev prod"),
        "dev=2! prod=1",
        None,
        &[
            "Ready=True ReconciliationSucceeded: waiting: environment dev: target dev is not ready: upgrading",
            "PromotionPending=True EnvironmentNotReady: environment dev: target dev is not ready: upgrading",
            "again in 600s",
        ],
    );
}

#[test]
fn a_target_that_cannot_be_read_is_told() {
    check(
        &promoting(pipeline("dev prod"), "2", "Pending", serde_json::json!({})),
        "dev=2 prod=?",
        Some(done(Done::Open { url: URL.to_owned(), held_up: None })),
        &[
            "Open",
            "Ready=False TargetNotReadable: prod: not found",
            "! PullRequestOpened: prod: https://git.example.com/acme/fleet/pulls/7 promotes 2",
            "! TargetNotReadable: prod: not found",
            "again in 30s",
        ],
    );
}

#[test]
fn all_that_is_invalid_is_told() {
    let spec = serde_json::json!({"spec": {"appRef": {"name": "../x"}, "promotion": {"pullRequest": null}}});
    let report = report(&with(pipeline("dev prod"), spec), "", None);
    let ready = condition(&report.status.conditions, ConditionType::Ready).unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "InvalidSpec"));
    assert!(ready.message.contains("spec.appRef.name: ") && ready.message.contains("spec.promotion: "), "{ready:?}");
    assert!(condition(&report.status.conditions, ConditionType::Stalled).is_some());
}

#[test]
fn a_request_to_look_is_answered() {
    let asked = serde_json::json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "t1"}}});
    let report = report(&with(pipeline("dev prod"), asked), "dev=1 prod=1", None);
    assert_eq!(report.status.last_handled_reconcile_at.as_deref(), Some("t1"));
    assert_eq!(report.status.observed_generation, Some(1));
}

#[test]
fn a_suspended_pipeline_keeps_what_was_known() {
    let open = promoting(pipeline("dev prod"), "2", "Open", serde_json::json!({"url": URL}));
    let suspended = with(open, serde_json::json!({"spec": {"suspend": true}}));
    check(
        &suspended,
        "dev=3 prod=1",
        None,
        &["Open", "Ready=Unknown Suspended: spec.suspend is set: nothing is promoted or followed", "again in 600s"],
    );
}

#[test]
fn the_same_world_gives_the_same_report() {
    let failing =
        promoting(pipeline("dev prod"), "2", "Pending", serde_json::json!({"attempts": 2, "nextAttemptTime": NOW}));
    let reports = [(); 2].map(|()| {
        format!("{:?}", report(&failing, "dev=2 prod=1", Some(failed(Next::Backoff { at_least: Duration::ZERO }))))
    });
    assert_eq!(reports[0], reports[1]);
}

mod endings;
