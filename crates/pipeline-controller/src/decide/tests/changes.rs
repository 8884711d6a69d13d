//! Specs that change while promotions are under way, and Pipelines that go.

use super::*;

fn open() -> Pipeline {
    promoting(pipeline("dev prod"), "2", "Open", serde_json::json!({"url": "https://x.example/1"}))
}

fn closing(pipeline: Pipeline) -> Pipeline {
    with(pipeline, serde_json::json!({"spec": {"deletionPolicy": "Close"}}))
}

fn with_environments(pipeline: Pipeline, names: &str) -> Pipeline {
    let environments = crate::fixtures::pipeline(names).spec.environments;
    with(pipeline, serde_json::json!({"spec": {"environments": environments}}))
}

#[test]
fn another_repository_gets_the_pull_request_once_the_first_is_closed() {
    let moved = with(
        open(),
        serde_json::json!({"spec": {"promotion": {"pullRequest": {"url": "https://github.com/acme/other.git"}}}}),
    );
    let plan = check(
        &moved,
        "dev=2 prod=1",
        &["dev: Source", "prod: Withdrawing 2#1 Superseded closing: the promotion goes to another place now"],
    );
    let recorded = plan.environments["prod"].promotion.as_ref().unwrap().repository.as_ref().unwrap();
    assert_eq!(recorded.url, "https://github.com/acme/fleet.git");
    assert!(plan.starts, "it is put on record before it is closed");
}

#[test]
fn another_strategy_takes_over_once_the_pull_request_is_closed() {
    let webhook =
        serde_json::json!({"spec": {"promotion": {"pullRequest": null, "webhook": {"url": "https://x.example"}}}});
    check(
        &with(open(), webhook),
        "dev=2 prod=1",
        &["dev: Source", "prod: Withdrawing 2#1 Superseded closing: the promotion goes to another place now"],
    );
}

#[test]
fn another_secret_goes_on_with_the_same_pull_request() {
    let rotated = with(open(), serde_json::json!({"spec": {"promotion": {"pullRequest": {"secretRef": "new"}}}}));
    let plan = check(&rotated, "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Open -> 2 from dev#1"]);
    let recorded = plan.environments["prod"].promotion.as_ref().unwrap().repository.as_ref().unwrap();
    assert_eq!(recorded.secret_ref, "new");
}

#[test]
fn a_mended_repository_gets_the_pull_request_after_a_look_at_the_wrong_one() {
    let failed = promoting(pipeline("dev prod"), "2", "Failed", serde_json::json!({"attempts": 3}));
    let mended = serde_json::json!({"metadata": {"generation": 2}, "spec": {"promotion": {"pullRequest": {"url": "https://github.com/acme/other.git"}}}});
    check(
        &with(failed, mended),
        "dev=2 prod=1",
        &["dev: Source", "prod: Withdrawing 2#1 Superseded closing: the promotion goes to another place now"],
    );
}

#[test]
fn a_mended_branch_is_put_on_record_before_it_is_used() {
    let failed = promoting(pipeline("dev prod"), "2", "Failed", serde_json::json!({"attempts": 3}));
    let mended =
        serde_json::json!({"metadata": {"generation": 2}, "spec": {"promotion": {"pullRequest": {"branch": "other"}}}});
    check(&with(failed, mended), "dev=2 prod=1", &["dev: Source", "prod: Promoting 2#1 Pending starts"]);
}

#[test]
fn an_environment_that_was_added_is_promoted_to_in_its_turn() {
    let done = promoting(pipeline("dev prod"), "2", "Succeeded", serde_json::json!({}));
    let added = with_environments(done, "dev staging prod");
    check(
        &added,
        "dev=2 staging=1 prod=2",
        &["dev: Source", "staging: Promoting 2#1 Pending starts", "prod: NotReached 2#1 Succeeded"],
    );
}

#[test]
fn an_environment_that_was_removed_leaves_or_closes_what_is_open() {
    let removed = with_environments(open(), "dev staging");
    let plan = check(&removed, "dev=2 staging=2", &["dev: Source", "staging: Live"]);
    assert!(plan.withdrawals.is_empty() && !plan.environments.contains_key("prod"));
    let plan = check(&closing(removed), "dev=2 staging=2", &["dev: Source", "staging: Live"]);
    let remembered = plan.environments["prod"].promotion.as_ref().unwrap();
    assert!(records::is_closing(remembered), "it is remembered until it is closed");
}

#[test]
fn an_environment_that_became_the_first_is_promoted_to_no_more() {
    let reordered = with_environments(open(), "prod dev");
    check(&reordered, "prod=1 dev=1", &["prod: Source 2#1 Superseded", "dev: Live"]);
    check(
        &closing(reordered),
        "prod=1 dev=1",
        &["prod: Source 2#1 Superseded closing: its environment is the first one now", "dev: Live"],
    );
}

#[test]
fn environments_that_changed_places_are_taken_in_their_new_order() {
    let open = promoting(pipeline("dev staging prod"), "2", "Open", serde_json::json!({}));
    let reordered = with_environments(open, "dev prod staging");
    check(
        &reordered,
        "dev=2 prod=1 staging=2",
        &["dev: Source", "prod: Promoting 2#1 Open -> 2 from dev#1", "staging: NotReached"],
    );
}

#[test]
fn a_promotion_that_was_taken_out_leaves_or_closes_what_is_open() {
    let by_hand = with(open(), serde_json::json!({"spec": {"promotion": null}}));
    check(&by_hand, "dev=2 prod=1", &["dev: Source", "prod: Blocked(NoPromotion) 2#1 Superseded"]);
    check(
        &closing(by_hand),
        "dev=2 prod=1",
        &["dev: Source", "prod: Blocked(NoPromotion) 2#1 Superseded closing: it has no promotion any more"],
    );
}

#[test]
fn a_deleted_pipeline_closes_what_is_open_if_it_says_so() {
    let deleted = with(open(), serde_json::json!({"metadata": {"deletionTimestamp": NOW}}));
    let plan = check(&deleted, "", &[]);
    assert!(plan.deleted && plan.withdrawals.is_empty());
    let plan = check(&closing(deleted), "", &["prod: Withdrawing 2#1 Superseded closing: the pipeline was deleted"]);
    assert!(plan.effects.is_empty());
}
