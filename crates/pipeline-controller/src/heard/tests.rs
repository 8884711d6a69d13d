use serde_json::{Value, json};

use super::*;
use crate::fixtures::{NOW, pipeline, with};

/// dev is looked at, edge reports by event from two clusters and one namespace more, prod is looked at.
fn fleet() -> Pipeline {
    let edge = |name: &str, namespace: &str| json!({"namespace": namespace, "clusterRef": {"kind": "GitopsCluster", "name": name}, "observe": "Event"});
    let environments = json!([
        {"name": "dev", "targets": [{"namespace": "dev"}]},
        {"name": "edge", "targets": [edge("one", "edge"), edge("two", "edge"), edge("two", "other")]},
        {"name": "mixed", "targets": [{"namespace": "mixed"}, edge("one", "mixed")]},
        {"name": "prod", "targets": [{"namespace": "prod"}]},
    ]);
    with(pipeline("dev"), json!({"spec": {"environments": environments}}))
}

fn event(patch: Value) -> Event {
    let mut event = json!({
        "involvedObject": {
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev", "name": "podinfo",
        },
        "severity": "info", "timestamp": NOW, "reason": "UpgradeSucceeded", "reportingController": "helm-controller",
        "metadata": {"revision": "6.1.0"},
    });
    merge(&mut event, patch);
    serde_json::from_value(event).unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn object(field: &str, value: &str) -> Value {
    json!({"involvedObject": {field: value}})
}

#[test]
fn what_an_event_is_about() {
    let check = |pipeline: &Pipeline, environment: &str, patch: Value, expect: &str| {
        let found = match meant(pipeline, environment, &event(patch.clone())) {
            Ok(Meant::Watched(next)) => format!("to {}", next.name),
            Ok(Meant::Told(target)) => format!("told of {}", key(target)),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(found, expect, "{environment} {patch}");
    };
    let fleet = fleet();
    let other = "involved object does not match Pipeline definition";
    check(&fleet, "dev", json!({}), "to edge");
    // Flux' upgrades change the version, not what is meant.
    check(&fleet, "dev", object("apiVersion", "helm.toolkit.fluxcd.io/v2beta1"), "to edge");
    check(&fleet, "dev", object("apiVersion", "kustomize.toolkit.fluxcd.io/v1"), other);
    check(&fleet, "dev", object("apiVersion", ""), other);
    check(&fleet, "dev", object("kind", "Kustomization"), other);
    check(&fleet, "dev", object("name", "other"), other);
    check(&fleet, "dev", object("namespace", "prod"), other);
    check(&fleet, "qa", json!({}), "app default/podinfo has no environment qa defined");
    check(&fleet, "prod", object("namespace", "prod"), "cannot promote beyond last environment prod");
    // The revision comes first.
    let none = "event has no 'revision' in the metadata field.";
    for metadata in [json!(null), json!({"revision": ""}), json!({"revision": null, "other/revision": "7"})] {
        let event = serde_json::from_value::<Event>(json!({"metadata": metadata}));
        let Ok(event) = event else { continue };
        assert_eq!(meant(&fleet, "qa", &event).unwrap_err().to_string(), none, "{metadata}");
    }
    let prefixed: Event = serde_json::from_value(json!({
        "involvedObject": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev", "name": "podinfo"},
        "metadata": {"helm.toolkit.fluxcd.io/revision": "6.1.0"},
    }))
    .unwrap();
    assert_eq!(prefixed.revision(), "6.1.0");
    assert!(meant(&fleet, "dev", &prefixed).is_ok());

    let of = |namespace: &str, cluster: &str| json!({"involvedObject": {"namespace": namespace}, "metadata": {"cluster": cluster}});
    check(&fleet, "edge", object("namespace", "other"), "told of two/other");
    check(&fleet, "edge", of("edge", "one"), "told of one/edge");
    check(&fleet, "edge", of("edge", "two"), "told of two/edge");
    check(&fleet, "edge", of("edge", "three"), other);
    let several = "several targets of environment edge are in the involved object's namespace: put the name of the target's \
                   clusterRef into the event's metadata, as cluster";
    check(&fleet, "edge", object("namespace", "edge"), several);
    check(&fleet, "mixed", object("namespace", "mixed"), &several.replace("edge", "mixed"));
    check(&fleet, "mixed", of("mixed", "one"), "told of one/mixed");

    let empty = |name: &str| {
        let targets = |own: &str| if own == name { json!([]) } else { json!([{"namespace": own}]) };
        let environments: Value = ["dev", "prod"].map(|own| json!({"name": own, "targets": targets(own)})).into();
        with(pipeline("dev prod"), json!({"spec": {"environments": environments}}))
    };
    check(&empty("prod"), "dev", json!({}), "environment prod has no targets");
    check(&empty("dev"), "dev", json!({}), "environment dev has no targets");
    check(&empty("prod"), "prod", json!({}), "cannot promote beyond last environment prod");
    let nobody = with(pipeline("dev prod"), json!({"spec": {"promotion": null}}));
    check(&nobody, "dev", json!({}), "no promotion configured in Pipeline resource");
}

fn known(revision: &str, ready: bool, time: &str) -> EventStatus {
    let time = Time(time.parse().unwrap());
    EventStatus { revision: revision.to_owned(), ready, reason: None, reported_by: None, time }
}

#[test]
fn what_an_event_reports() {
    let before = "2026-01-01T11:00:00Z";
    let check = |known: Option<EventStatus>, patch: Value, expect: &str| {
        let found = match report(known.as_ref(), &event(patch.clone()), NOW.parse().unwrap()) {
            Ok(Some(status)) => format!("{} {}", status.revision, status.ready),
            Ok(None) => "nothing".to_owned(),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(found, expect, "{known:?} {patch}");
    };
    let because = |reason: &str| json!({"reason": reason});
    let at = |time: &str| json!({"timestamp": time});
    check(None, json!({}), "6.1.0 true");
    check(Some(known("6.0.0", true, before)), json!({}), "6.1.0 true");
    check(None, because("info"), "6.1.0 true");
    check(None, because("ReconciliationSucceeded"), "6.1.0 true");
    // New, and not healthy yet.
    check(None, because("Progressing"), "nothing");
    check(None, because("DependencyNotReady"), "nothing");
    check(None, because("RollbackSucceeded"), "6.1.0 false");
    // What fails is no revision to promote, and if it was well before, it is no longer.
    let fails = json!({"severity": "error", "reason": "UpgradeFailed"});
    check(None, fails.clone(), "nothing");
    check(Some(known("6.0.0", true, before)), fails.clone(), "nothing");
    check(Some(known("6.1.0", true, before)), fails.clone(), "6.1.0 false");
    for severity in ["trace", "", "INFO"] {
        check(None, json!({"severity": severity}), "nothing");
    }
    // Sent again, late, or within the same second.
    check(Some(known("6.1.0", true, NOW)), json!({}), "nothing");
    check(Some(known("6.2.0", true, NOW)), json!({}), "nothing");
    check(Some(known("6.2.0", true, "2026-01-01T12:00:01Z")), json!({}), "nothing");
    check(Some(known("6.2.0", true, NOW)), at("2026-01-01T12:00:00.9Z"), "nothing");
    check(Some(known("6.1.0", true, NOW)), fails, "6.1.0 false");
    check(Some(known("6.1.0", false, NOW)), json!({}), "nothing");
    check(None, at("2025-01-01T00:00:00Z"), "6.1.0 true");
    check(None, at("2026-01-01T12:05:00Z"), "6.1.0 true");
    check(None, at("2026-01-01T12:05:01Z"), "the event's timestamp is more than five minutes ahead of this clock");
    check(None, json!({"timestamp": null}), "event has no timestamp: it cannot be told from an older one");
    let odd = "the event's revision is no printable ASCII without blanks of at most 253 bytes";
    for revision in ["6.1.0 ", "6.1.0\n", "6.1.0\u{202e}", "\u{7f}"] {
        check(None, json!({"metadata": {"revision": revision}}), odd);
    }
    check(None, json!({"metadata": {"revision": "x".repeat(254)}}), odd);

    let status = report(None, &event(json!({"reason": "a\u{1b}b".repeat(99)})), NOW.parse().unwrap()).unwrap().unwrap();
    assert_eq!(status.reason.unwrap(), "ab".repeat(64));
    assert_eq!(status.reported_by.as_deref(), Some("helm-controller"));
}

#[test]
fn a_target_is_what_was_last_reported_of_it() {
    let target = |pipeline: &Pipeline| pipeline.spec.environments[1].targets[2].clone();
    let events = json!({
        "two/other": known("6.1.0", true, NOW), "one/edge": known("6.0.0", false, NOW), "gone/edge": known("5.0.0", true, NOW),
    });
    let fleet = fleet();
    let read = |pipeline: &Pipeline| application(pipeline, "edge", &target(pipeline));
    let not_ready = |revision: Option<&str>, message: &str| Application {
        ready: false,
        revision: revision.map(str::to_owned),
        message: message.to_owned(),
    };
    assert_eq!(
        read(&fleet),
        not_ready(
            None,
            "it reports by event, and events have to be signed: name the Secret with the key in hmacSecretRef"
        )
    );
    let signed = with(fleet, json!({"spec": {"promotion": {"hmacSecretRef": "hmac"}}}));
    assert_eq!(read(&signed), not_ready(None, "no signed event was received yet"));
    let heard =
        with(signed, json!({"status": {"environments": {"edge": {"events": events}, "dev": {"events": events}}}}));
    assert_eq!(read(&heard), Application { ready: true, revision: Some("6.1.0".to_owned()), message: String::new() });
    let one = application(&heard, "edge", &heard.spec.environments[1].targets[0]);
    assert_eq!(one, not_ready(Some("6.0.0"), "an event reports that it is not ready: no reason"));

    // Of targets that are gone, or are looked at, nothing is kept.
    assert_eq!(kept(&heard, "edge").into_keys().collect::<Vec<_>>(), ["one/edge", "two/other"]);
    assert!(kept(&heard, "dev").is_empty());
    assert!(kept(&heard, "qa").is_empty());
}

proptest::proptest! {
    #[test]
    fn in_whatever_order_they_come_the_latest_holds(
        seconds in proptest::collection::vec(0..20_i64, 1..20),
        order in proptest::collection::vec(proptest::prelude::any::<proptest::sample::Index>(), 1..60),
    ) {
        let start: Timestamp = NOW.parse().unwrap();
        let mut known: Option<EventStatus> = None;
        let mut latest = None;
        for index in order {
            let second = *index.get(&seconds);
            let time = (start - 60.seconds() + second.seconds()).to_string();
            let event = event(json!({"timestamp": time, "metadata": {"revision": format!("6.0.{second}")}}));
            known = report(known.as_ref(), &event, start).unwrap().or(known);
            latest = latest.max(Some(second));
        }
        assert_eq!(known.map(|known| known.revision), latest.map(|second| format!("6.0.{second}")));
    }
}
