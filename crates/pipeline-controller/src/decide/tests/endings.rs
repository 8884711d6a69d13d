//! Promotions that nothing asks for any more, and revisions that go back.

use super::*;

fn allowed(pipeline: Pipeline) -> Pipeline {
    with(pipeline, serde_json::json!({"spec": {"allowDowngrade": true}}))
}

fn past(revisions: &[(&str, &str)]) -> serde_json::Value {
    let history: Vec<_> = revisions
        .iter()
        .map(|(revision, phase)| {
            serde_json::json!({"id": revision, "revision": revision, "sequence": 1, "phase": phase, "attempts": 0})
        })
        .collect();
    serde_json::json!({"status": {"environments": {"prod": {"history": history}}}})
}

#[test]
fn an_older_version_is_promoted_only_where_it_may() {
    let pair = pipeline("dev prod");
    let blocked = r#"prod: Blocked(Downgrade { from: "6.1.0" })"#;
    check(&pair, "dev=6.0.0 prod=6.1.0", &["dev: Source", blocked]);
    check(&pair, "dev=6.0.0 prod=6.0.0-rc.1,6.1.0", &["dev: Source", blocked]);
    check(&allowed(pair), "dev=6.0.0 prod=6.1.0", &["dev: Source", "prod: Promoting 6.0.0#1 Pending starts"]);
}

#[test]
fn what_ran_before_is_older_where_versions_do_not_tell() {
    let lived = past(&[("main@sha1:aa", "Succeeded"), ("main@sha1:bb", "Succeeded")]);
    let pair = with(pipeline("dev prod"), lived);
    let blocked = r#"prod: Blocked(Downgrade { from: "main@sha1:bb" })"#;
    check(&pair, "dev=main@sha1:aa prod=main@sha1:bb", &["dev: Source", blocked]);
    check(
        &pair,
        "dev=main@sha1:cc prod=main@sha1:bb",
        &["dev: Source", "prod: Promoting main@sha1:cc#1 Pending starts"],
    );
    check(
        &allowed(pair),
        "dev=main@sha1:aa prod=main@sha1:bb",
        &["dev: Source", "prod: Promoting main@sha1:aa#2 Pending starts"],
    );
}

#[test]
fn a_downgrade_that_is_under_way_goes_on() {
    let open = promoting(pipeline("dev prod"), "6.0.0", "Open", serde_json::json!({}));
    check(&open, "dev=6.0.0 prod=6.1.0", &["dev: Source", "prod: Promoting 6.0.0#1 Open -> 6.0.0 from dev#1"]);
}

#[test]
fn a_rollback_in_dev_closes_the_pull_request_of_what_was_rolled_back() {
    let open = promoting(pipeline("dev prod"), "6.1.0", "Open", serde_json::json!({}));
    let closes = "6.1.0#1 Superseded closing: 6.0.0 is what dev has now";
    check(&open, "dev=6.0.0 prod=6.0.0", &["dev: Source", &format!("prod: Live {closes}")]);
    check(&open, "dev=6.0.0 prod=6.0.0!", &["dev: Source", &format!("prod: Progressing {closes}")]);
    let blocked = format!(r#"prod: Blocked(Downgrade {{ from: "6.0.5" }}) {closes}"#);
    check(&open, "dev=6.0.0 prod=6.0.5", &["dev: Source", &blocked]);
}

#[test]
fn an_attempt_whose_answer_was_lost_is_closed_too() {
    let pending = promoting(pipeline("dev prod"), "2", "Pending", serde_json::json!({"attempts": 1}));
    check(&pending, "dev=1 prod=1", &["dev: Source", "prod: Live 2#1 Superseded closing: 1 is what dev has now"]);
}

#[test]
fn what_cannot_be_open_ends_at_once() {
    for phase in ["AwaitingApproval", "Delivered"] {
        let ended = promoting(pipeline("dev prod"), "2", phase, serde_json::json!({}));
        check(&ended, "dev=1 prod=1", &["dev: Source", "prod: Live 2#1 Superseded"]);
    }
    let webhook =
        serde_json::json!({"spec": {"promotion": {"pullRequest": null, "webhook": {"url": "https://x.example"}}}});
    let webhook = promoting(with(pipeline("dev prod"), webhook), "2", "Pending", serde_json::json!({}));
    check(&webhook, "dev=1 prod=1", &["dev: Source", "prod: Live 2#1 Superseded"]);
}

fn closing(more: &serde_json::Value) -> Pipeline {
    let fleet = serde_json::json!({"url": "https://github.com/acme/fleet.git", "branch": "main", "secretRef": "fleet"});
    let closing = serde_json::json!({"repository": fleet, "message": "why", "url": "https://x.example/1"});
    let closing = promoting(pipeline("dev prod"), "2", "Superseded", closing);
    with(closing, serde_json::json!({"status": {"environments": {"prod": {"promotion": more}}}}))
}

#[test]
fn what_is_on_record_as_closing_is_closed_whatever_happens_meanwhile() {
    let on_record = closing(&serde_json::json!({}));
    let closes = "2#1 Superseded closing: why -> closes 2#1";
    check(&on_record, "dev=1 prod=1", &["dev: Source", &format!("prod: Live {closes}")]);
    check(&on_record, "dev=2 prod=1", &["dev: Source", &format!("prod: Withdrawing {closes}")]);
    let pending = "pending: environment dev: target dev is not ready: upgrading";
    check(&on_record, "dev=3! prod=1", &[pending, "dev: Source", &format!("prod: NotReached {closes}")]);
    let plan = check(&on_record, "dev=1 prod=1", &["dev: Source", &format!("prod: Live {closes}")]);
    assert_eq!(plan.withdrawals[0].reason, "why");
}

#[test]
fn a_withdrawal_that_failed_waits_for_its_time() {
    let later = closing(&serde_json::json!({"attempts": 1, "nextAttemptTime": "2026-01-01T12:00:01Z"}));
    check(&later, "dev=1 prod=1", &["dev: Source", "prod: Live 2#1 Superseded closing: why"]);
}

#[test]
fn once_it_is_closed_the_revision_may_be_promoted_anew() {
    let closed = closing(&serde_json::json!({"finishedTime": NOW}));
    check(&closed, "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#2 Pending starts"]);
}

#[test]
fn a_revision_that_returns_after_it_was_superseded_gets_a_pull_request_of_its_own() {
    let superseded = promoting(pipeline("dev prod"), "2", "Superseded", serde_json::json!({}));
    check(&superseded, "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#2 Pending starts"]);
    let replaced = promoting(pipeline("dev prod"), "3", "Open", serde_json::json!({}));
    let replaced = with(replaced, past(&[("2", "Superseded")]));
    check(&replaced, "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#2 Pending starts"]);
}
