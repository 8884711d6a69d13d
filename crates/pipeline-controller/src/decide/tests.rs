use super::*;
use crate::fixtures::{NOW, pipeline, policy, promoting, with, world};

mod approvals;
mod changes;
mod endings;

/// One line an environment: step, promotion with its sequence and phase, `->` when it is acted upon.
fn told(pipeline: &Pipeline, plan: &Plan) -> String {
    let mut lines = Vec::new();
    lines.extend(plan.pending.as_ref().map(|why| format!("pending: {why}")));
    for environment in &pipeline.spec.environments {
        let Some(planned) = plan.environments.get(&environment.name) else {
            continue;
        };
        let mut line = format!("{}: {:?}", environment.name, planned.step);
        if let Some(promotion) = &planned.promotion {
            line += &format!(" {}#{} {:?}", promotion.revision, promotion.sequence, promotion.phase);
        }
        if let Some(waiting) = &planned.waiting_approval {
            line += &format!(" waits({})", waiting.revision);
        }
        if plan.starts && planned.promotion.as_ref().is_some_and(|promotion| promotion.phase == Phase::Pending) {
            line += " starts";
        }
        for effect in plan.effects.iter().filter(|effect| effect.environment == environment.name) {
            line += &format!(" -> {} from {}#{}", effect.revision, effect.source_environment, effect.sequence);
        }
        if let Some(closing) = planned.promotion.as_ref().filter(|promotion| records::is_closing(promotion)) {
            line += &format!(" closing: {}", closing.message.as_deref().unwrap_or_default());
        }
        for withdrawal in plan.withdrawals.iter().filter(|withdrawal| withdrawal.environment == environment.name) {
            line += &format!(" -> closes {}#{}", withdrawal.revision, withdrawal.sequence);
        }
        lines.push(line);
    }
    lines.extend(plan.refused.iter().map(|(_, why)| format!("refused: {why}")));
    lines.join("\n")
}

#[track_caller]
fn check(pipeline: &Pipeline, world_text: &str, expected: &[&str]) -> Plan {
    check_observed(pipeline, &world(world_text), expected)
}

#[track_caller]
fn check_observed(pipeline: &Pipeline, observed: &Observed, expected: &[&str]) -> Plan {
    let plan = decide(pipeline, observed, &policy(), NOW.parse().unwrap());
    assert_eq!(told(pipeline, &plan), expected.join("\n"));
    plan
}

#[test]
fn a_revision_goes_to_the_first_environment_that_lacks_it() {
    let cascade = pipeline("dev staging prod");
    check(&cascade, "dev=1 staging=1 prod=1", &["dev: Source", "staging: Live", "prod: Live"]);
    check(
        &cascade,
        "dev=2 staging=1 prod=1",
        &["dev: Source", "staging: Promoting 2#1 Pending starts", "prod: NotReached"],
    );
    check(&cascade, "dev=2 staging=2 prod=1", &["dev: Source", "staging: Live", "prod: Promoting 2#1 Pending starts"]);
    check(&cascade, "dev=2 staging=2! prod=1", &["dev: Source", "staging: Progressing", "prod: NotReached"]);
    check(&pipeline("dev"), "dev=1", &["dev: Source"]);
}

#[test]
fn a_promotion_is_put_on_record_before_it_is_acted_upon() {
    check(&pipeline("dev prod"), "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Pending starts"]);
    let recorded =
        promoting(pipeline("dev prod"), "2", "Pending", serde_json::json!({"startedTime": "2026-01-01T11:59:59Z"}));
    let plan = check(&recorded, "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Pending -> 2 from dev#1"]);
    let effect = plan.effects.first().unwrap();
    assert_eq!(effect.started.to_string(), "2026-01-01T11:59:59Z");
    assert_eq!(effect.previous_revision.as_deref(), Some("1"));
}

#[test]
fn nothing_leaves_the_first_environment_unless_it_is_ready() {
    let pair = pipeline("dev prod");
    check(
        &pair,
        "dev=2! prod=1",
        &["pending: environment dev: target dev is not ready: upgrading", "dev: Source", "prod: NotReached"],
    );
    check(
        &pair,
        "dev=? prod=1",
        &["pending: environment dev: target dev cannot be read: not found", "dev: Source", "prod: NotReached"],
    );
    check(
        &pair,
        "dev=2,3 prod=1",
        &[
            "pending: environment dev: its targets report different revisions, 2 and 3",
            "dev: Source",
            "prod: NotReached",
        ],
    );
    check(&pair, "dev= prod=1", &["pending: environment dev: it has no targets", "dev: Source", "prod: NotReached"]);
}

#[test]
fn any_ready_target_is_enough_where_the_environment_says_so() {
    let any = with(
        pipeline("dev prod"),
        serde_json::json!({"spec": {"environments": [
            {"name": "dev", "targets": [{"namespace": "a"}, {"namespace": "b"}], "promoteWhen": "AnyTargetReady"},
            {"name": "prod", "targets": [{"namespace": "a"}, {"namespace": "b"}], "promoteWhen": "AnyTargetReady"},
        ]}}),
    );
    check(&any, "dev=2,2! prod=1,1", &["dev: Source", "prod: Promoting 2#1 Pending starts"]);
    check(&any, "dev=2,? prod=2,1", &["dev: Source", "prod: Live"]);
    check(
        &any,
        "dev=2,3 prod=1,1",
        &[
            "pending: environment dev: its targets report different revisions, 2 and 3",
            "dev: Source",
            "prod: NotReached",
        ],
    );
    check(
        &any,
        "dev=2!,2! prod=1,1",
        &["pending: environment dev: target dev is not ready: upgrading", "dev: Source", "prod: NotReached"],
    );
}

#[test]
fn a_target_that_has_the_revision_is_waited_for() {
    let pair = pipeline("dev prod");
    check(&pair, "dev=2 prod=2,1", &["dev: Source", "prod: Progressing"]);
    check(&pair, "dev=2 prod=2!", &["dev: Source", "prod: Progressing"]);
}

#[test]
fn what_cannot_be_promoted_is_said() {
    let no_promotion = with(pipeline("dev prod"), serde_json::json!({"spec": {"promotion": null}}));
    check(&no_promotion, "dev=2 prod=1", &["dev: Source", "prod: Blocked(NoPromotion)"]);
    check(&pipeline("dev prod"), "dev=2 prod=", &["dev: Source", "prod: Blocked(NoTargets)"]);
}

#[test]
fn a_pipeline_with_anything_invalid_is_left_alone() {
    let open = promoting(pipeline("dev prod"), "2", "Open", serde_json::json!({}));
    let untouched = ["dev: NotReached", "prod: NotReached 2#1 Open"];
    let no_strategy = serde_json::json!({"spec": {"promotion": {"pullRequest": null}}});
    check(&with(open.clone(), no_strategy), "dev=2 prod=1", &untouched);
    let path = serde_json::json!({"spec": {"appRef": {"name": "../../secrets/x"}}});
    check(&with(open, path), "dev=2 prod=1", &untouched);
}

#[test]
fn a_revision_that_no_branch_or_header_can_hold_is_refused() {
    let check = |revision: &str, fits: bool| assert_eq!(check_revision(revision).is_ok(), fits, "{revision:?}");
    check("6.3.0+abc", true);
    check("main@sha1:1a2b", true);
    check(&"x".repeat(253), true);
    check(&"x".repeat(254), false);
    check("", false);
    check("a b", false);
    check("a\nb", false);
    check("é", false);
}

#[test]
fn the_promotion_of_the_environment_wins() {
    let own = with(
        pipeline("dev prod"),
        serde_json::json!({"spec": {"environments": [
            {"name": "dev", "targets": [{"namespace": "dev"}]},
            {"name": "prod", "targets": [{"namespace": "prod"}], "promotion": {"webhook": {"url": "https://ci.example.com/hook"}}},
        ]}}),
    );
    let own = promoting(own, "2", "Pending", serde_json::json!({}));
    let plan = decide(&own, &world("dev=2 prod=1"), &policy(), NOW.parse().unwrap());
    assert!(matches!(plan.effects.first().unwrap().strategy, Strategy::Webhook(_)));
}

#[test]
fn a_manual_promotion_waits_for_its_approval() {
    let manual = with(pipeline("dev prod"), serde_json::json!({"spec": {"promotion": {"manual": true}}}));
    check(&manual, "dev=2 prod=1", &["dev: Source", "prod: AwaitingApproval 2#1 AwaitingApproval waits(2)"]);
    let no_longer = promoting(pipeline("dev prod"), "2", "AwaitingApproval", serde_json::json!({}));
    check(&no_longer, "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Pending starts"]);
}

#[test]
fn a_suspended_pipeline_rests() {
    let suspended = with(pipeline("dev prod"), serde_json::json!({"spec": {"suspend": true}}));
    let plan = check(&suspended, "dev=2 prod=1", &[]);
    assert!(plan.suspended);
}

#[test]
fn a_failed_try_waits_for_its_time() {
    let later = serde_json::json!({"attempts": 1, "nextAttemptTime": "2026-01-01T12:00:01Z"});
    let due = serde_json::json!({"attempts": 1, "nextAttemptTime": NOW});
    let pair = || pipeline("dev prod");
    check(
        &promoting(pair(), "2", "Pending", later.clone()),
        "dev=2 prod=1",
        &["dev: Source", "prod: Promoting 2#1 Pending"],
    );
    check(
        &promoting(pair(), "2", "Pending", due.clone()),
        "dev=2 prod=1",
        &["dev: Source", "prod: Promoting 2#1 Pending -> 2 from dev#1"],
    );
    check(&promoting(pair(), "2", "Failed", later), "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Failed"]);
    check(
        &promoting(pair(), "2", "Failed", due),
        "dev=2 prod=1",
        &["dev: Source", "prod: Promoting 2#1 Failed -> 2 from dev#1"],
    );
}

#[test]
fn a_terminal_failure_is_released_by_whatever_a_person_can_change() {
    let webhook = serde_json::json!({"spec": {"promotion": {"pullRequest": null, "webhook": {"url": "https://x.example", "secretRef": "s"}}}});
    let failed = promoting(
        with(pipeline("dev prod"), webhook),
        "2",
        "Failed",
        serde_json::json!({"attempts": 1, "secretVersion": "7"}),
    );
    let rests = ["dev: Source", "prod: Promoting 2#1 Failed"];
    let acts = ["dev: Source", "prod: Promoting 2#1 Failed -> 2 from dev#1"];
    let mut observed = world("dev=2 prod=1");
    check_observed(&failed, &observed, &rests);
    observed.secret_versions.insert("prod".to_owned(), "7".to_owned());
    check_observed(&failed, &observed, &rests);
    observed.secret_versions.insert("prod".to_owned(), "8".to_owned());
    check_observed(&failed, &observed, &acts);
    observed.secret_versions.clear();
    check_observed(&with(failed.clone(), serde_json::json!({"metadata": {"generation": 2}})), &observed, &acts);
    let asked = serde_json::json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "t1"}}});
    let asked = with(failed, asked);
    check_observed(&asked, &observed, &acts);
    let handled = with(asked, serde_json::json!({"status": {"lastHandledReconcileAt": "t1"}}));
    check_observed(&handled, &observed, &rests);
}

#[test]
fn an_open_pull_request_is_looked_at_now_and_then() {
    let open = promoting(pipeline("dev prod"), "2", "Open", serde_json::json!({"url": "https://x.example/1"}));
    let mut observed = world("dev=2 prod=1");
    let looks = ["dev: Source", "prod: Promoting 2#1 Open -> 2 from dev#1"];
    check_observed(&open, &observed, &looks);
    observed.looked_at.insert("prod".to_owned(), "2026-01-01T11:59:31Z".parse().unwrap());
    check_observed(&open, &observed, &["dev: Source", "prod: Promoting 2#1 Open"]);
    observed.looked_at.insert("prod".to_owned(), "2026-01-01T11:59:30Z".parse().unwrap());
    check_observed(&open, &observed, &looks);
}

#[test]
fn an_open_pull_request_is_followed_whatever_happens_upstream() {
    let open = promoting(pipeline("dev staging prod"), "2", "Open", serde_json::json!({}));
    check(
        &open,
        "dev=3 staging=2 prod=1",
        &["dev: Source", "staging: Promoting 3#1 Pending starts", "prod: NotReached 2#1 Open -> 2 from staging#1"],
    );
    check(
        &open,
        "dev=3! staging=2 prod=1",
        &[
            "pending: environment dev: target dev is not ready: upgrading",
            "dev: Source",
            "staging: NotReached",
            "prod: NotReached 2#1 Open -> 2 from staging#1",
        ],
    );
    check(
        &promoting(pipeline("dev prod"), "2", "Open", serde_json::json!({})),
        "dev=2 prod=2",
        &["dev: Source", "prod: Live 2#1 Open -> 2 from dev#1"],
    );
}

#[test]
fn a_newer_revision_supersedes_an_unfinished_one() {
    for phase in ["Pending", "Open", "Delivered", "Failed", "AwaitingApproval"] {
        let pipeline = promoting(pipeline("dev prod"), "2", phase, serde_json::json!({}));
        let plan = check(&pipeline, "dev=3 prod=1", &["dev: Source", "prod: Promoting 3#1 Pending starts"]);
        let past: Vec<_> = plan.environments["prod"].history.iter().map(|p| (p.revision.as_str(), p.phase)).collect();
        assert_eq!(past, [("2", Phase::Superseded)], "{phase}");
    }
}

#[test]
fn what_ended_is_remembered_as_it_ended() {
    for (phase, expected) in [("Succeeded", Phase::Succeeded), ("Closed", Phase::Closed)] {
        let pipeline = promoting(pipeline("dev prod"), "2", phase, serde_json::json!({}));
        let plan = check(&pipeline, "dev=3 prod=2", &["dev: Source", "prod: Promoting 3#1 Pending starts"]);
        assert_eq!(plan.environments["prod"].history.first().unwrap().phase, expected);
    }
}

#[test]
fn what_a_person_closed_stays_closed_until_asked_for_anew() {
    let closed = promoting(pipeline("dev prod"), "2", "Closed", serde_json::json!({}));
    check(&closed, "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Closed"]);
    let asked = serde_json::json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "t1"}}});
    check(&with(closed, asked), "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#2 Pending starts"]);
}

#[test]
fn an_environment_that_was_taken_back_by_hand_is_left_there() {
    let succeeded = promoting(pipeline("dev prod"), "2", "Succeeded", serde_json::json!({}));
    check(&succeeded, "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Succeeded"]);
}

#[test]
fn a_revision_that_returns_after_another_was_live_is_a_new_promotion() {
    let past = |phase: &str| {
        serde_json::json!({"status": {"environments": {"prod": {"history": [
            {"id": "a", "revision": "1", "sequence": 1, "phase": "Succeeded", "attempts": 0},
            {"id": "b", "revision": "2", "sequence": 1, "phase": phase, "attempts": 0},
        ]}}}})
    };
    let allowed = with(pipeline("dev prod"), serde_json::json!({"spec": {"allowDowngrade": true}}));
    check(&with(allowed, past("Succeeded")), "dev=1 prod=2", &["dev: Source", "prod: Promoting 1#2 Pending starts"]);
    check(
        &with(pipeline("dev prod"), past("Closed")),
        "dev=1 prod=0",
        &["dev: Source", "prod: Promoting 1#2 Pending starts"],
    );
}

#[test]
fn ten_promotions_are_remembered() {
    let history: Vec<_> = (0..10)
        .map(|n| serde_json::json!({"id": "a", "revision": n.to_string(), "sequence": 1, "phase": "Succeeded", "attempts": 0}))
        .collect();
    let full = with(
        promoting(pipeline("dev prod"), "10", "Succeeded", serde_json::json!({})),
        serde_json::json!({"status": {"environments": {"prod": {"history": history}}}}),
    );
    let plan = check(&full, "dev=11 prod=10", &["dev: Source", "prod: Promoting 11#1 Pending starts"]);
    let past: Vec<_> = plan.environments["prod"].history.iter().map(|p| p.revision.as_str()).collect();
    assert_eq!(past, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
}

#[test]
fn the_same_world_gives_the_same_plan() {
    let pipeline = pipeline("dev staging prod");
    let observed = world("dev=2 staging=2 prod=1");
    let plans = [(); 2].map(|()| format!("{:?}", decide(&pipeline, &observed, &policy(), NOW.parse().unwrap())));
    assert_eq!(plans[0], plans[1]);
}

#[test]
fn any_pipeline_has_a_plan() {
    let empty = with(pipeline(""), serde_json::json!({}));
    assert!(decide(&empty, &Observed::default(), &policy(), NOW.parse().unwrap()).effects.is_empty());
    check(
        &pipeline("dev prod"),
        "",
        &["pending: environment dev: it has no targets", "dev: Source", "prod: NotReached"],
    );
}

#[test]
fn what_the_receiver_has_acted_on_is_not_sent_again() {
    let webhook = serde_json::json!({"spec": {"promotion": {
        "pullRequest": null, "webhook": {"url": "https://ci.example/hook"},
    }}});
    let reported = |phase: &str, state: &str| {
        let report = serde_json::json!({
            "promotionId": "00000000-0000-0000-0000-000000000000", "state": state, "time": NOW,
        });
        let by_webhook = with(pipeline("dev prod"), webhook.clone());
        let promoting = promoting(by_webhook, "2", phase, serde_json::json!({}));
        with(promoting, serde_json::json!({"status": {"environments": {"prod": {"report": report}}}}))
    };
    check(&reported("Pending", "Running"), "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Pending"]);
    let failed = reported("Failed", "Failed");
    check(&failed, "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Failed"]);
    for mended in [
        serde_json::json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}),
        serde_json::json!({"metadata": {"generation": 2}}),
    ] {
        check(&with(failed.clone(), mended), "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#2 Pending starts"]);
    }
}
