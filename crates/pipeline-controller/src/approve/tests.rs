use super::*;
use crate::fixtures::{NOW, pipeline, promoting, with};

fn waiting(annotations: &serde_json::Value) -> Pipeline {
    let waits = promoting(pipeline("dev prod"), "6.1.0", "AwaitingApproval", serde_json::json!({"sequence": 2}));
    let waits = with(
        waits,
        serde_json::json!({"status": {"environments": {"prod": {"waitingApproval": {"revision": "6.1.0"}}}}}),
    );
    with(waits, serde_json::json!({"metadata": {"annotations": annotations}}))
}

fn approval(environment: &str, revision: &str) -> Approval {
    Approval {
        environment: environment.to_owned(),
        revision: revision.to_owned(),
        sequence: None,
        by: "ann".to_owned(),
    }
}

#[test]
fn an_approval_is_bound_to_what_waits() {
    let pipeline = waiting(&serde_json::json!({}));
    let now = NOW.parse().unwrap();
    let check = |approval: Approval, expected: Result<Phase, &str>| {
        let got = approve(&pipeline, &approval, now).map(|record| record.phase).map_err(|refusal| refusal.to_string());
        assert_eq!(got, expected.map_err(str::to_owned));
    };
    check(approval("prod", "6.1.0"), Ok(Phase::Pending));
    check(Approval { sequence: Some(2), ..approval("prod", "6.1.0") }, Ok(Phase::Pending));
    check(
        Approval { sequence: Some(1), ..approval("prod", "6.1.0") },
        Err(r#"in environment "prod", 6.1.0#2 waits for approval, not 6.1.0#1"#),
    );
    check(approval("prod", "6.0.0"), Err(r#"in environment "prod", 6.1.0 waits for approval, not 6.0.0"#));
    check(approval("dev", "6.1.0"), Err(r#"nothing waits for approval in environment "dev""#));
    check(approval("qa", "6.1.0"), Err(r#"the Pipeline has no environment "qa""#));
    let record = approve(&pipeline, &approval("prod", "6.1.0"), now).unwrap();
    assert_eq!((record.approved_by.as_deref(), record.approved_time), (Some("ann"), Some(Time(now))));
}

#[test]
fn what_was_approved_cannot_be_approved_again() {
    let approved = promoting(pipeline("dev prod"), "6.1.0", "Pending", serde_json::json!({"approvedBy": "ann"}));
    let again = approve(&approved, &approval("prod", "6.1.0"), NOW.parse().unwrap());
    assert_eq!(again, Err(Refusal::NothingWaits("prod".to_owned())));
}

#[test]
fn annotations_say_what_is_approved_and_by_whom() {
    let check = |annotations: serde_json::Value, handled: Option<&str>, expected: &[&str]| {
        let pipeline = with(waiting(&annotations), serde_json::json!({"status": {"lastHandledApproval": handled}}));
        let told: Vec<String> = given(&pipeline)
            .into_iter()
            .map(|a| format!("{} {} {:?} by {}", a.environment, a.revision, a.sequence, a.by))
            .collect();
        assert_eq!(told, expected);
    };
    let one = || serde_json::json!({APPROVE: "prod=6.1.0", APPROVED_BY: "ann"});
    check(one(), None, &["prod 6.1.0 None by ann"]);
    check(one(), Some("prod=6.1.0"), &[]);
    check(one(), Some("prod=6.0.0"), &["prod 6.1.0 None by ann"]);
    check(serde_json::json!({APPROVE: "prod=6.1.0#2"}), Some("prod=6.1.0"), &["prod 6.1.0 Some(2) by unknown"]);
    check(
        serde_json::json!({APPROVE: " staging=1\n prod=a=b,c  nonsense =x y= "}),
        Some("staging=1"),
        &["prod a=b,c None by unknown"],
    );
    check(serde_json::json!({APPROVE: "x".repeat(ANNOTATION_MAX + 1)}), None, &[]);
}

#[test]
fn the_field_manager_stands_in_for_a_name() {
    let managed = serde_json::json!({"metadata": {"managedFields": [
        {"manager": "helm", "time": "2026-01-01T11:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "kubectl-annotate", "time": "2026-01-01T11:30:00Z",
         "fieldsV1": {"f:metadata": {"f:annotations": {(format!("f:{APPROVE}")): {}}}}},
    ]}});
    let annotated = with(waiting(&serde_json::json!({APPROVE: "prod=6.1.0"})), managed);
    assert_eq!(given(&annotated)[0].by, "kubectl-annotate");
}

#[test]
fn an_approval_from_elsewhere_becomes_annotations_that_count() {
    let pipeline = waiting(&serde_json::json!({APPROVE: "staging=5.0.0 prod=6.0.0 qa=1"}));
    let pipeline = with(pipeline, serde_json::json!({"status": {"lastHandledApproval": "staging=5.0.0"}}));
    let written = annotations(&pipeline, &approval("prod", "6.1.0"), NOW.parse().unwrap()).unwrap();
    assert_eq!(written[APPROVE], "qa=1 prod=6.1.0#2");
    assert_eq!(written[APPROVED_BY], "ann");
    let annotated = with(pipeline, serde_json::json!({"metadata": {"annotations": written}}));
    let given = given(&annotated);
    let for_prod = given.iter().find(|approval| approval.environment == "prod").unwrap();
    assert!(approve(&annotated, for_prod, NOW.parse().unwrap()).is_ok());
}
