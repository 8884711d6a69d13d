//! Promotions that end without having succeeded, and those that are late.

use pipeline_api::metadata::{APPROVE, APPROVED_BY};
use serde_json::json;

use super::*;

/// A promotion to prod that has given way, and whose pull request is still to be closed.
fn closing(more: &serde_json::Value) -> Pipeline {
    let fleet = json!({"url": "https://github.com/acme/fleet.git", "branch": "main", "secretRef": "fleet"});
    let closing =
        promoting(pipeline("dev prod"), "2", "Superseded", json!({"repository": fleet, "message": "why", "url": URL}));
    with(closing, json!({"status": {"environments": {"prod": {"promotion": more}}}}))
}

fn message(report: &Report) -> Option<&str> {
    report.status.environments["prod"].promotion.as_ref()?.message.as_deref()
}

#[test]
fn a_pull_request_that_was_closed_is_told_and_what_follows_is_done_at_once() {
    let expected = [
        "Superseded finished",
        "Ready=True ReconciliationSucceeded: every environment is at 1",
        "! PromotionWithdrawn: prod: promotion of 2 closed: why",
        "again in 0s",
    ];
    check(&closing(&json!({})), "dev=1 prod=1", Some(done(Done::Withdrawn)), &expected);
}

#[test]
fn a_pull_request_that_cannot_be_closed_now_is_tried_again() {
    let backoff = || failed(Next::Backoff { at_least: Duration::ZERO });
    let tried = report(&closing(&json!({})), "dev=1 prod=1", Some(backoff()));
    assert_eq!(
        told(&tried),
        [
            "Superseded attempts=1 next=2s",
            "Ready=True ReconciliationSucceeded: every environment is at 1",
            "Reconciling=True Progressing: prod: the pull request of 2 is being closed",
            "! PullRequestUnreachable: prod: https://git.example.com/acme/fleet/pulls/7 is to be closed: why; not closed yet: \
             the host answered 500",
            "again in 2s",
        ]
        .join("\n")
    );
    assert_eq!(reason(message(&tried).unwrap()), "why", "the reason is kept");
}

#[test]
fn a_pull_request_that_cannot_be_closed_is_left_to_people_in_the_end() {
    let left = "! PullRequestLeftOpen: prod: https://git.example.com/acme/fleet/pulls/7 promotes 2 and was left open, it could \
                not be closed: the host answered 500";
    for (pipeline, next) in [
        (closing(&json!({})), Next::Review),
        (closing(&json!({})), Next::Never),
        (closing(&json!({"attempts": 7})), Next::Backoff { at_least: Duration::ZERO }),
    ] {
        let text = told(&report(&pipeline, "dev=1 prod=1", Some(failed(next))));
        assert!(text.contains(left) && text.contains("finished"), "{text}");
    }
}

#[test]
fn what_nobody_saw_open_is_looked_for_once() {
    let unseen =
        report(&closing(&json!({"url": null})), "dev=1 prod=1", Some(failed(Next::After(Duration::from_secs(5)))));
    assert!(told(&unseen).starts_with("Superseded attempts=1 finished\n"), "{}", told(&unseen));
    assert!(unseen.transitions.is_empty() && message(&unseen).is_none());
}

#[test]
fn a_pipeline_is_held_while_something_may_be_open() {
    let policy = json!({"spec": {"deletionPolicy": "Close"}});
    let open = promoting(pipeline("dev prod"), "2", "Open", json!({"url": URL}));
    let look = || Some(done(Done::Open { url: URL.to_owned(), held_up: None }));
    assert!(!report(&open, "dev=2 prod=1", look()).holds);
    let open = with(open, policy.clone());
    assert!(report(&open, "dev=2 prod=1", look()).holds);
    assert!(!report(&open, "dev=2 prod=1", Some(done(Done::Merged { url: URL.to_owned() }))).holds);
    let deleted = |pipeline| with(pipeline, json!({"metadata": {"deletionTimestamp": NOW}}));
    assert!(report(&deleted(open), "", None).holds);
    let closing = deleted(with(closing(&json!({})), policy));
    assert!(!report(&closing, "", Some(done(Done::Withdrawn))).holds);
}

#[test]
fn a_pull_request_from_before_the_record_makes_room_for_a_new_one() {
    let anew = promoting(pipeline("dev prod"), "2", "Pending", json!({"approvedBy": "ann"}));
    let report = report(&anew, "dev=2 prod=1", Some(done(Done::Closed { url: URL.to_owned() })));
    let record = report.status.environments["prod"].promotion.clone().unwrap();
    assert_eq!((record.sequence, record.phase, record.url), (2, Phase::Pending, None));
    assert_eq!(record.approved_by.as_deref(), Some("ann"));
    assert_eq!(report.requeue, Duration::ZERO);
}

#[test]
fn an_approval_given_while_the_spec_is_wrong_counts_once_it_is_mended() {
    let waits = promoting(pipeline("dev prod"), "2", "AwaitingApproval", json!({}));
    let waits = with(
        waits,
        json!({
            "metadata": {"annotations": {"pipelines.weave.works/approve": "prod=2"}},
            "spec": {"promotion": {"manual": true, "pullRequest": {"title": "{{ nothing }}"}}},
            "status": {"environments": {"prod": {"waitingApproval": {"revision": "2"}}}},
        }),
    );
    let wrong = report(&waits, "dev=2 prod=1", None);
    assert_eq!(wrong.status.last_handled_approval, None);
    let mended = with(waits, json!({"spec": {"promotion": {"pullRequest": {"title": "{{ revision }}"}}}}));
    let mended = Pipeline { status: Some(wrong.status), ..mended };
    let approved = report(&mended, "dev=2 prod=1", None);
    assert_eq!(approved.status.last_handled_approval.as_deref(), Some("prod=2"));
    assert!(approved.status.environments["prod"].promotion.as_ref().unwrap().approved_by.is_some());
}

#[test]
fn what_was_delivered_has_a_deadline() {
    let arriving = |since: &str| {
        let delivered = promoting(pipeline("dev prod"), "2", "Delivered", json!({"url": URL}));
        with(delivered, json!({"status": {"environments": {"prod": {"arriving": {"revision": "2", "since": since}}}}}))
    };
    let first = report(&promoting(pipeline("dev prod"), "2", "Delivered", json!({"url": URL})), "dev=2 prod=1", None);
    let known = first.status.environments["prod"].arriving.clone().unwrap();
    assert_eq!((known.revision.as_str(), known.since.0.to_string().as_str()), ("2", NOW));

    let soon = report(&arriving("2026-01-01T11:30:05Z"), "dev=2 prod=1", None);
    assert_eq!(soon.requeue.as_secs(), 5, "the pipeline is looked at when the deadline is over");
    check(
        &arriving("2026-01-01T11:30:00Z"),
        "dev=2 prod=1",
        None,
        &[
            "Delivered",
            "Ready=False EnvironmentNotProgressing: prod: 2 was delivered and is not ready after 30 min: target prod is at 1",
            "Stalled=True EnvironmentNotProgressing: prod: 2 was delivered and is not ready after 30 min: target prod is at 1",
            "! EnvironmentNotProgressing: prod: 2 was delivered and is not ready after 30 min: target prod is at 1",
            "again in 600s",
        ],
    );
    let longer = with(arriving("2026-01-01T11:30:00Z"), json!({"spec": {"progressDeadline": "1h"}}));
    assert!(told(&report(&longer, "dev=2 prod=1", None)).contains("Ready=True"));
    let half = report(&arriving("2026-01-01T11:00:00Z"), "dev=2 prod=2!", None);
    assert!(told(&half).contains("target prod is at 2: upgrading"), "{}", told(&half));
    let there = report(&arriving("2026-01-01T11:00:00Z"), "dev=2 prod=2", None);
    assert_eq!(there.status.environments["prod"].arriving, None);
}

#[test]
fn a_downgrade_that_is_not_allowed_is_told() {
    check(
        &pipeline("dev prod"),
        "dev=6.0.0 prod=6.1.0",
        None,
        &[
            "Ready=True DowngradeNotAllowed: prod: 6.0.0 is older than 6.1.0, which runs there: set spec.allowDowngrade to \
             promote it",
            "again in 600s",
        ],
    );
}

#[test]
fn approvals_are_told_whether_they_count_or_not() {
    let manual = with(pipeline("dev prod"), json!({"spec": {"promotion": {"manual": true}}}));
    let waits = promoting(manual, "2", "AwaitingApproval", json!({}));
    let waits = with(waits, json!({"status": {"environments": {"prod": {"waitingApproval": {"revision": "2"}}}}}));
    let approved =
        |word: &str| with(waits.clone(), json!({"metadata": {"annotations": {APPROVE: word, APPROVED_BY: "ann"}}}));
    let counted = report(&approved("prod=2"), "dev=2 prod=1", None);
    assert_eq!(counted.transitions[0].note, "prod: ann approved 2");
    assert_eq!(counted.status.last_handled_approval.as_deref(), Some("prod=2"));
    assert_eq!(counted.requeue, Duration::ZERO);
    let refused = report(&approved("prod=1"), "dev=2 prod=1", None);
    assert_eq!(refused.transitions.len(), 1);
    assert_eq!(refused.transitions[0].reason, "ApprovalRefused");
    assert_eq!(refused.status.last_handled_approval.as_deref(), Some("prod=1"));
}

#[test]
fn fields_that_are_shared_are_told() {
    let shared = Observed { conflicts: vec!["prod: shared".to_owned()], ..world("dev=1 prod=1") };
    let (pair, now) = (pipeline("dev prod"), NOW.parse().unwrap());
    let plan = decide(&pair, &shared, &policy(), now);
    let report = conclude(&pair, &shared, &plan, Vec::new(), &policy(), now);
    let told = condition(&report.status.conditions, ConditionType::Conflicting).unwrap();
    assert_eq!((told.reason.as_str(), told.message.as_str()), ("FieldShared", "prod: shared"));
}
