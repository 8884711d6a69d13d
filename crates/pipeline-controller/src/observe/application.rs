//! What an application object says of itself: its revision, and whether that revision is live and healthy. Pure.

use kube::api::DynamicObject;
use serde_json::Value;

use crate::observed::Application;

/// Reads revision and health from an application object.
///
/// Ready means: not being deleted, not suspended, the current generation observed, `Ready` True, neither `Reconciling` nor
/// `Stalled`, and a revision reported. A missing `Ready` is not ready, other than in
/// [kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md): an object that nothing has
/// looked at yet must not be promoted.
///
/// - HelmRelease: the chart version of the newest deployed entry of
///   [`status.history`](https://fluxcd.io/flux/components/helm/helmreleases/#history), which has to be the one that was
///   attempted last; before helm-controller wrote a history, `status.lastAppliedRevision`.
/// - Kustomization and unknown kinds: `status.lastAppliedRevision`.
pub(crate) fn read(object: &DynamicObject) -> Application {
    let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
    let status = object.data.get("status").unwrap_or(&Value::Null);
    let revision = match kind {
        "HelmRelease" => helm_release_revision(status),
        _ => text(status, "lastAppliedRevision"),
    };
    let message = not_ready(object, status)
        .or_else(|| (kind == "HelmRelease").then(|| helm_release_not_deployed(status, revision?)).flatten())
        .or_else(|| revision.is_none().then(|| "no revision was applied yet".to_owned()));
    Application {
        ready: message.is_none(),
        revision: revision.map(str::to_owned),
        message: message.unwrap_or_default(),
    }
}

fn helm_release_revision(status: &Value) -> Option<&str> {
    let Some(history) = status.get("history").and_then(Value::as_array) else {
        return text(status, "lastAppliedRevision");
    };
    history
        .iter()
        .filter(|release| text(release, "status") == Some("deployed"))
        .max_by_key(|release| release.get("version").and_then(Value::as_i64))
        .and_then(|release| text(release, "chartVersion"))
}

fn helm_release_not_deployed(status: &Value, revision: &str) -> Option<String> {
    let attempted = text(status, "lastAttemptedRevision")?;
    (attempted != revision).then(|| format!("{attempted} was attempted, {revision} is deployed"))
}

fn not_ready(object: &DynamicObject, status: &Value) -> Option<String> {
    if object.metadata.deletion_timestamp.is_some() {
        return Some("is being deleted".to_owned());
    }
    if object.data.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return Some("is suspended".to_owned());
    }
    let observed = status.get("observedGeneration").and_then(Value::as_i64);
    if observed != object.metadata.generation {
        return Some("its controller has not observed the current generation yet".to_owned());
    }
    for blocking in ["Stalled", "Reconciling"] {
        if let Some(condition) =
            condition(status, blocking).filter(|condition| text(condition, "status") == Some("True"))
        {
            return Some(explain(blocking, condition));
        }
    }
    match condition(status, "Ready") {
        Some(ready) if text(ready, "status") == Some("True") => None,
        Some(ready) => Some(explain("not Ready", ready)),
        None => Some("has no Ready condition yet".to_owned()),
    }
}

pub(super) fn condition<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    status.get("conditions")?.as_array()?.iter().find(|condition| text(condition, "type") == Some(type_))
}

pub(super) fn explain(state: &str, condition: &Value) -> String {
    let words = [text(condition, "reason"), text(condition, "message")];
    let why: Vec<&str> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    if why.is_empty() { state.to_owned() } else { format!("{state}: {}", why.join(": ")) }
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn application(kind: &str, extra: Value, status: &Value) -> Application {
        let mut object = json!({
            "apiVersion": "example.io/v1", "kind": kind,
            "metadata": {"name": "podinfo", "namespace": "dev", "generation": 3},
            "spec": {}, "status": status,
        });
        merge(&mut object, extra);
        read(&serde_json::from_value(object).unwrap())
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

    fn healthy(extra: Value) -> Value {
        let mut status =
            json!({"observedGeneration": 3, "conditions": [{"type": "Ready", "status": "True", "reason": "Done"}]});
        merge(&mut status, extra);
        status
    }

    #[test]
    fn revisions() {
        let check = |kind: &str, status: Value, expected: Option<&str>| {
            assert_eq!(
                application(kind, json!({}), &healthy(status.clone())).revision.as_deref(),
                expected,
                "{kind} {status}"
            );
        };
        check("Kustomization", json!({"lastAppliedRevision": "main@sha1:1a2b"}), Some("main@sha1:1a2b"));
        check("Kustomization", json!({}), None);
        check("Kustomization", json!({"lastAppliedRevision": ""}), None);
        check("Anything", json!({"lastAppliedRevision": "7"}), Some("7"));
        check("HelmRelease", json!({"lastAppliedRevision": "6.0.0"}), Some("6.0.0"));
        check(
            "HelmRelease",
            json!({"history": [{"version": 2, "status": "deployed", "chartVersion": "6.1.0"}]}),
            Some("6.1.0"),
        );
        let upgraded = json!({"history": [
            {"version": 9, "status": "superseded", "chartVersion": "6.0.0"},
            {"version": 10, "status": "deployed", "chartVersion": "6.1.0"},
        ]});
        check("HelmRelease", upgraded, Some("6.1.0"));
        let failed = json!({"history": [
            {"version": 3, "status": "failed", "chartVersion": "6.2.0"},
            {"version": 2, "status": "deployed", "chartVersion": "6.1.0"},
        ]});
        check("HelmRelease", failed, Some("6.1.0"));
        check("HelmRelease", json!({"history": [], "lastAppliedRevision": "stale"}), None);
    }

    #[test]
    fn readiness() {
        let applied = |extra: Value| healthy(json!({"lastAppliedRevision": "1"})).also(extra);
        let check = |extra: Value, status: Value, expected: &str| {
            let application = application("Kustomization", extra, &status);
            assert_eq!(application.message, expected);
            assert_eq!(application.ready, expected.is_empty());
        };
        check(json!({}), applied(json!({})), "");
        check(
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            applied(json!({})),
            "is being deleted",
        );
        check(json!({"spec": {"suspend": true}}), applied(json!({})), "is suspended");
        check(
            json!({}),
            applied(json!({"observedGeneration": 2})),
            "its controller has not observed the current generation yet",
        );
        check(json!({}), applied(json!({"conditions": []})), "has no Ready condition yet");
        check(json!({}), json!({}), "its controller has not observed the current generation yet");
        check(
            json!({}),
            applied(
                json!({"conditions": [{"type": "Ready", "status": "False", "reason": "Failed", "message": "no such chart"}]}),
            ),
            "not Ready: Failed: no such chart",
        );
        check(
            json!({}),
            applied(json!({"conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "Reconciling", "status": "True", "message": "upgrading"},
            ]})),
            "Reconciling: upgrading",
        );
        check(json!({}), healthy(json!({})), "no revision was applied yet");
    }

    #[test]
    fn a_helm_release_that_was_rolled_back_is_not_ready() {
        let status = healthy(json!({
            "lastAttemptedRevision": "6.2.0",
            "history": [{"version": 4, "status": "deployed", "chartVersion": "6.1.0"}],
        }));
        let application = application("HelmRelease", json!({}), &status);
        assert!(!application.ready);
        assert_eq!(application.message, "6.2.0 was attempted, 6.1.0 is deployed");
    }

    #[test]
    fn odd_shapes_are_not_ready() {
        for status in
            [json!(null), json!(7), json!([]), json!({"conditions": 7, "history": "x", "observedGeneration": "3"})]
        {
            assert!(!application("HelmRelease", json!({}), &status).ready);
        }
    }

    trait Also {
        fn also(self, extra: Value) -> Value;
    }

    impl Also for Value {
        fn also(mut self, extra: Value) -> Value {
            merge(&mut self, extra);
            self
        }
    }
}
