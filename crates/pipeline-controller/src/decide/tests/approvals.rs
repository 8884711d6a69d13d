//! Revisions that a person has to approve.

use pipeline_api::metadata::{APPROVE, APPROVED_BY};

use super::*;

fn manual() -> Pipeline {
    with(pipeline("dev prod"), serde_json::json!({"spec": {"promotion": {"manual": true}}}))
}

fn waiting(revision: &str) -> Pipeline {
    let waits = promoting(manual(), revision, "AwaitingApproval", serde_json::json!({}));
    with(waits, serde_json::json!({"status": {"environments": {"prod": {"waitingApproval": {"revision": revision}}}}}))
}

fn approved(pipeline: Pipeline, approval: &str) -> Pipeline {
    with(pipeline, serde_json::json!({"metadata": {"annotations": {APPROVE: approval, APPROVED_BY: "ann"}}}))
}

#[test]
fn an_approval_releases_the_revision_and_says_who_gave_it() {
    let plan = check(
        &approved(waiting("2"), "prod=2"),
        "dev=2 prod=1",
        &["dev: Source", "prod: Promoting 2#1 Pending starts"],
    );
    let record = plan.environments["prod"].promotion.as_ref().unwrap();
    assert_eq!(record.approved_by.as_deref(), Some("ann"));
    assert_eq!(record.approved_time.as_ref().unwrap().0.to_string(), NOW);
}

#[test]
fn what_was_approved_goes_on_without_further_approvals() {
    let given = serde_json::json!({"approvedBy": "ann"});
    for (phase, expected) in [("Pending", "Pending -> 2 from dev#1"), ("Open", "Open -> 2 from dev#1")] {
        let running = promoting(manual(), "2", phase, given.clone());
        check(&running, "dev=2 prod=1", &["dev: Source", &format!("prod: Promoting 2#1 {expected}")]);
    }
}

#[test]
fn a_superseded_approval_never_applies() {
    check(
        &approved(waiting("2"), "prod=2"),
        "dev=3 prod=1",
        &["dev: Source", "prod: AwaitingApproval 3#1 AwaitingApproval waits(3)"],
    );
    check(
        &approved(waiting("3"), "prod=2"),
        "dev=3 prod=1",
        &[
            "dev: Source",
            "prod: AwaitingApproval 3#1 AwaitingApproval waits(3)",
            r#"refused: in environment "prod", 3 waits for approval, not 2"#,
        ],
    );
}

#[test]
fn an_approval_counts_once() {
    let used = with(approved(waiting("2"), "prod=2"), serde_json::json!({"status": {"lastHandledApproval": "prod=2"}}));
    check(&used, "dev=2 prod=1", &["dev: Source", "prod: AwaitingApproval 2#1 AwaitingApproval waits(2)"]);
}

#[test]
fn nothing_is_approved_in_advance() {
    check(
        &approved(manual(), "prod=2"),
        "dev=2 prod=1",
        &[
            "dev: Source",
            "prod: AwaitingApproval 2#1 AwaitingApproval waits(2)",
            r#"refused: nothing waits for approval in environment "prod""#,
        ],
    );
}

#[test]
fn what_is_open_is_closed_before_a_newer_revision_waits() {
    let open = promoting(manual(), "2", "Open", serde_json::json!({"approvedBy": "ann"}));
    check(
        &open,
        "dev=3 prod=1",
        &["dev: Source", "prod: Withdrawing 2#1 Superseded closing: 3 has to be approved first"],
    );
}

#[test]
fn a_promotion_that_failed_waits_once_approvals_are_asked_for() {
    let webhook =
        serde_json::json!({"spec": {"promotion": {"pullRequest": null, "webhook": {"url": "https://x.example"}}}});
    let failed = promoting(with(manual(), webhook), "2", "Failed", serde_json::json!({"attempts": 1}));
    check(&failed, "dev=2 prod=1", &["dev: Source", "prod: AwaitingApproval 2#1 AwaitingApproval waits(2)"]);
    let failed = promoting(manual(), "2", "Failed", serde_json::json!({"attempts": 1}));
    check(
        &failed,
        "dev=2 prod=1",
        &["dev: Source", "prod: Withdrawing 2#1 Superseded closing: 2 has to be approved first"],
    );
}

#[test]
fn what_is_open_needs_no_approval_that_is_asked_for_later() {
    let open = promoting(manual(), "2", "Open", serde_json::json!({}));
    check(&open, "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Open -> 2 from dev#1"]);
}

#[test]
fn a_revision_goes_on_waiting_while_dev_is_not_ready() {
    let pending = "pending: environment dev: target dev is not ready: upgrading";
    check(&waiting("2"), "dev=2! prod=1", &[pending, "dev: Source", "prod: NotReached 2#1 AwaitingApproval waits(2)"]);
    check(
        &approved(waiting("2"), "prod=2"),
        "dev=2! prod=1",
        &[pending, "dev: Source", "prod: NotReached 2#1 Pending starts"],
    );
}
