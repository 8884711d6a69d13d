//! What the receiver of a webhook says of its promotion.

use serde_json::json;

use super::*;

const ID: &str = "00000000-0000-0000-0000-000000000000";
const LINK: &str = "https://ci.example/7";

/// prod is promoted by webhook, and is in `phase`; its receiver reports `state` of promotion `id`.
fn reported(phase: &str, id: &str, state: &str, reason: Option<&str>) -> Pipeline {
    let webhook = json!({"spec": {"promotion": {
        "pullRequest": null, "webhook": {"url": "https://ci.example/hook", "secretRef": "ci"},
    }}});
    let promoting = promoting(with(pipeline("dev prod"), webhook), "2", phase, json!({}));
    let report = json!({"promotionId": id, "state": state, "url": LINK, "reason": reason, "time": NOW});
    with(promoting, json!({"status": {"environments": {"prod": {"report": report}}}}))
}

#[test]
fn a_report_tells_more_than_the_delivery() {
    check(
        &reported("Delivered", ID, "Running", None),
        "dev=2 prod=1",
        None,
        &[
            "Delivered",
            "Ready=True ReconciliationSucceeded: prod: 2 is expected to arrive: the receiver reports that it is running at \
             https://ci.example/7",
            "! PromotionRunning: prod: promotion of 2: the receiver reports that it is running https://ci.example/7",
            "again in 600s",
        ],
    );
    check(
        &reported("Delivered", ID, "Succeeded", None),
        "dev=2 prod=1",
        None,
        &[
            "Succeeded finished",
            "Ready=True ReconciliationSucceeded: prod: 2 is expected to arrive: the receiver reports success at \
             https://ci.example/7",
            "! PromotionSucceeded: prod: promotion of 2: the receiver reports success",
            "again in 600s",
        ],
    );
    check(
        &reported("Delivered", ID, "Failed", Some("tests are red")),
        "dev=2 prod=1",
        None,
        &[
            "Failed finished",
            "Ready=False PromotionFailed: prod: promotion of 2 failed: the receiver reports failure: tests are red",
            "Stalled=True PromotionFailed: prod: promotion of 2 failed: the receiver reports failure: tests are red",
            "! PromotionFailed: prod: promotion of 2 failed: the receiver reports failure: tests are red",
            "again in 300s",
        ],
    );
}

#[test]
fn reported_success_has_a_deadline_until_the_targets_show_it() {
    let said = report(&reported("Delivered", ID, "Succeeded", None), "dev=2 prod=1", None);
    let arriving = said.status.environments["prod"].arriving.clone().unwrap();
    assert_eq!((arriving.revision.as_str(), arriving.since.0.to_string().as_str()), ("2", NOW));
    let shown = report(&reported("Delivered", ID, "Succeeded", None), "dev=2 prod=2", None);
    assert_eq!(shown.status.environments["prod"].arriving, None);
}

#[test]
fn a_report_proves_that_an_event_arrived_whatever_the_attempt_came_to() {
    let running = report(&reported("Pending", ID, "Running", None), "dev=2 prod=1", None);
    let promotion = running.status.environments["prod"].promotion.clone().unwrap();
    assert_eq!((promotion.phase, promotion.next_attempt_time, promotion.attempts), (Phase::Delivered, None, 0));
    let running = report(&reported("Failed", ID, "Running", None), "dev=2 prod=1", None);
    let promotion = running.status.environments["prod"].promotion.clone().unwrap();
    assert_eq!((promotion.phase, promotion.finished_time), (Phase::Delivered, None));
}

#[test]
fn what_the_targets_say_is_final() {
    for state in ["Running", "Failed"] {
        let live = report(&reported("Delivered", ID, state, None), "dev=2 prod=2", None);
        let promotion = live.status.environments["prod"].promotion.clone().unwrap();
        assert_eq!((promotion.phase, promotion.message), (Phase::Succeeded, None), "{state}");
        let left = report(&reported("Succeeded", ID, state, None), "dev=2 prod=1", None);
        let promotion = left.status.environments["prod"].promotion.clone().unwrap();
        assert_eq!((promotion.phase, promotion.message), (Phase::Succeeded, None), "{state}");
    }
}

#[test]
fn a_report_of_another_promotion_is_dropped() {
    let other = "11111111-1111-1111-1111-111111111111";
    let dropped = report(&reported("Delivered", other, "Failed", None), "dev=2 prod=1", None);
    let prod = &dropped.status.environments["prod"];
    assert_eq!((prod.promotion.as_ref().unwrap().phase, prod.report.as_ref()), (Phase::Delivered, None));
    let kept = report(&reported("Delivered", ID, "Running", None), "dev=2 prod=1", None);
    assert!(kept.status.environments["prod"].report.is_some());
}

#[test]
fn a_second_look_at_a_report_changes_nothing() {
    for state in ["Running", "Succeeded", "Failed"] {
        let before = reported("Delivered", ID, state, Some("why"));
        let first = report(&before, "dev=2 prod=1", None);
        let after = Pipeline { status: Some(first.status.clone()), ..before };
        let second = report(&after, "dev=2 prod=1", None);
        assert_eq!(second.status, first.status, "{state}");
        assert!(second.transitions.is_empty(), "{:?}", second.transitions);
    }
}

#[test]
fn an_attempt_that_waits_for_its_turn_changes_nothing() {
    let waiting = promoting(pipeline("dev prod"), "2", "Pending", json!({"attempts": 3}));
    let looked = report(&waiting, "dev=2 prod=1", Some(failed(Next::Turn)));
    let before = waiting.status.unwrap().environments["prod"].promotion.clone();
    assert_eq!(looked.status.environments["prod"].promotion, before);
    assert_eq!(looked.requeue, Duration::from_secs(1));
}
