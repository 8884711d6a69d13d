use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const PAGE: &str = include_str!("../../../../../docs/applications.md");

fn kind_of(group: &str, kind: &str) -> Kind {
    Kind {
        api_version: if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") },
        kind: kind.to_owned(),
        observe: None,
    }
}

/// What `podinfo` of that kind says, with these fields besides its name.
fn application(kind: &Kind, fields: Value) -> Application {
    let mut object = json!({"metadata": {"name": "podinfo", "namespace": "dev", "generation": 3}, "spec": {}});
    merge(&mut object, fields);
    read(kind, &serde_json::from_value(object).unwrap())
}

/// Changes at pointers; `null` takes away.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match value {
                    Value::Null => drop(into.remove(&key)),
                    value => merge(into.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (into, from) => *into = from,
    }
}

/// A healthy object, and how it becomes another: each change with the message that follows, empty for ready.
fn check(kind: &Kind, healthy: &Value, revision: &str, changes: &[(Value, &str)]) {
    let found = application(kind, healthy.clone());
    assert_eq!((found.message.as_str(), found.revision.as_deref()), ("", Some(revision)), "{}", kind.kind);
    assert!(found.ready);
    for (change, message) in changes {
        let mut object = healthy.clone();
        merge(&mut object, change.clone());
        let found = application(kind, object);
        assert_eq!((found.message.as_str(), found.ready), (*message, message.is_empty()), "{} {change}", kind.kind);
    }
}

fn ready(extra: Value) -> Value {
    let mut status =
        json!({"observedGeneration": 3, "conditions": [{"type": "Ready", "status": "True", "reason": "Done"}]});
    merge(&mut status, extra);
    json!({"status": status})
}

const NOT_OBSERVED: &str = "its controller has not observed the current generation yet";

/// What holds for every kind that follows Flux' conventions.
fn by_convention() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), "is being deleted"),
        (json!({"spec": {"suspend": true}}), "is suspended"),
        (json!({"spec": {"suspend": false}}), ""),
        (json!({"status": {"observedGeneration": 2}}), NOT_OBSERVED),
        (json!({"status": {"observedGeneration": -1}}), NOT_OBSERVED),
        (json!({"status": null}), NOT_OBSERVED),
        (json!({"status": {"conditions": []}}), "has no Ready condition yet"),
        (
            json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Failed", "message": "no chart"}]}}),
            "not Ready: Failed: no chart",
        ),
        (
            json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown", "message": "running"}]}}),
            "not Ready: running",
        ),
        (
            json!({"status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Reconciling", "status": "True", "message": "upgrading"},
            ]}}),
            "Reconciling: upgrading",
        ),
        (
            json!({"status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "True", "reason": "Broken"},
            ]}}),
            "Stalled: Broken",
        ),
    ]
}

#[test]
fn kustomizations_and_kinds_that_nobody_knows() {
    let healthy = ready(json!({"lastAppliedRevision": "main@sha1:1a2b", "lastAttemptedRevision": "main@sha1:1a2b"}));
    for (group, kind) in
        [("kustomize.toolkit.fluxcd.io", "Kustomization"), ("example.io", "Anything"), ("", "ConfigMap")]
    {
        let mut changes = by_convention();
        changes.push((json!({"status": {"lastAppliedRevision": null}}), "no revision was applied yet"));
        changes.push((json!({"status": {"lastAppliedRevision": ""}}), "no revision was applied yet"));
        check(&kind_of(group, kind), &healthy, "main@sha1:1a2b", &changes);
    }
}

#[test]
fn helm_releases() {
    let helm = kind_of("helm.toolkit.fluxcd.io", "HelmRelease");
    let before_history = ready(json!({"lastAppliedRevision": "6.0.0", "lastAttemptedRevision": "6.0.0"}));
    check(&helm, &before_history, "6.0.0", &by_convention());

    let release = |version: i64, status: &str, chart: &str| json!({"version": version, "status": status, "chartVersion": chart, "name": "podinfo", "digest": "sha256:1"});
    let history = ready(json!({
        "lastAttemptedRevision": "6.1.0",
        "history": [release(9, "superseded", "6.0.0"), release(10, "deployed", "6.1.0")],
    }));
    let mut changes = by_convention();
    changes.extend([
        (json!({"status": {"history": []}}), "no revision was applied yet"),
        (json!({"status": {"history": [], "lastAppliedRevision": "6.1.0"}}), "no revision was applied yet"),
        // Rolled back.
        (json!({"status": {"lastAttemptedRevision": "6.2.0"}}), "6.2.0 was attempted, 6.1.0 is deployed"),
        (
            json!({"status": {"lastAttemptedRevision": "6.2.0", "history": [
                release(11, "failed", "6.2.0"), release(10, "deployed", "6.1.0"),
            ]}}),
            "6.2.0 was attempted, 6.1.0 is deployed",
        ),
    ]);
    check(&helm, &history, "6.1.0", &changes);
}

#[test]
fn sources() {
    let healthy = ready(json!({"artifact": {"revision": "6.1.0@sha256:aa", "digest": "sha256:bb"}}));
    for kind in ["OCIRepository", "GitRepository", "HelmChart", "Bucket"] {
        let mut changes = by_convention();
        changes.push((json!({"status": {"artifact": null}}), "no revision was applied yet"));
        check(&kind_of("source.toolkit.fluxcd.io", kind), &healthy, "6.1.0@sha256:aa", &changes);
    }

    let external = json!({"status": {
        "artifact": {"revision": "v1"}, "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 3}],
    }});
    let seen = |generation: Value| json!({"status": {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": generation}]}});
    let changes = [
        (seen(json!(2)), NOT_OBSERVED),
        (seen(Value::Null), ""),
        (json!({"status": {"conditions": null}}), "has no Ready condition yet"),
        (json!({"spec": {"suspend": true}}), "is suspended"),
    ];
    check(&kind_of("source.toolkit.fluxcd.io", "ExternalArtifact"), &external, "v1", &changes);
}

#[test]
fn terraform() {
    let terraform = kind_of("infra.contrib.fluxcd.io", "Terraform");
    let applied = ready(json!({"lastAppliedRevision": "main@sha1:1", "plan": {"lastApplied": "plan-main-1"}}));
    let mut changes = by_convention();
    let pending = json!({"status": {"plan": {"pending": "plan-main-2"}}});
    changes
        .extend([(pending, "plan plan-main-2 waits for approval"), (json!({"status": {"plan": {"pending": ""}}}), "")]);
    check(&terraform, &applied, "main@sha1:1", &changes);

    let unchanged = ready(json!({
        "lastAppliedRevision": "main@sha1:1", "lastPlannedRevision": "main@sha1:2",
        "conditions": [{"type": "Ready", "status": "True", "reason": "PlannedNoChanges"}],
    }));
    check(&terraform, &unchanged, "main@sha1:2", &[]);
}

#[test]
fn argo_cd() {
    let healthy = json!({
        "spec": {"source": {"repoURL": "https://git.example.com/fleet.git", "targetRevision": "main", "path": "podinfo"}},
        "status": {
            "sync": {"status": "Synced", "revision": "1a2b", "comparedTo": {
                "destination": {"namespace": "podinfo"},
                "source": {"repoURL": "https://git.example.com/fleet.git", "targetRevision": "main", "path": "podinfo"},
            }},
            "health": {"status": "Healthy"},
            "operationState": {"phase": "Succeeded", "finishedAt": "2026-01-01T00:00:00Z"},
            "reconciledAt": "2026-01-01T00:00:01Z",
        },
    });
    let changes = [
        (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), "is being deleted"),
        (json!({"status": null}), "is not Synced: not compared yet"),
        (json!({"status": {"sync": {"status": "OutOfSync"}}}), "is not Synced: OutOfSync"),
        (json!({"spec": {"source": {"targetRevision": "v2"}}}), "Argo CD has not compared the current source yet"),
        (json!({"status": {"health": null}}), "is not Healthy: not looked at yet"),
        (
            json!({"status": {"health": {"status": "Degraded", "message": "CrashLoopBackOff"}}}),
            "is not Healthy: Degraded: CrashLoopBackOff",
        ),
        (json!({"status": {"health": {"status": "Progressing"}}}), "is not Healthy: Progressing"),
        (json!({"operation": {"sync": {"revision": "3c"}}}), "a sync is about to begin"),
        (json!({"status": {"operationState": {"phase": "Running", "finishedAt": null}}}), "its last sync: Running"),
        (
            json!({"status": {"operationState": {"phase": "Failed", "message": "hook failed"}}}),
            "its last sync: Failed: hook failed",
        ),
        (json!({"status": {"reconciledAt": "2025-12-31T23:59:59Z"}}), "Argo CD has not compared since its last sync"),
        (json!({"status": {"reconciledAt": null}}), "Argo CD has not compared since its last sync"),
        (json!({"status": {"operationState": null}}), ""),
        (
            json!({"status": {"conditions": [{"type": "ComparisonError", "message": "no such path"}]}}),
            "ComparisonError: no such path",
        ),
        (json!({"status": {"conditions": [{"type": "SharedResourceWarning", "message": "twice"}]}}), ""),
        (json!({"status": {"sync": {"revision": ""}}}), "no revision was applied yet"),
    ];
    let argo = kind_of("argoproj.io", "Application");
    check(&argo, &healthy, "1a2b", &changes);

    let sources = json!([{"repoURL": "https://a"}, {"repoURL": "https://b"}]);
    let several = json!({
        "spec": {"sources": sources},
        "status": {
            "sync": {"status": "Synced", "revisions": ["1a", "6.1.0"], "comparedTo": {"sources": sources}},
            "health": {"status": "Healthy"},
        },
    });
    check(&argo, &several, "1a,6.1.0", &[]);
}

fn workload(kind_of: Value) -> Value {
    let mut object = json!({
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "app", "image": "ghcr.io/podinfo:6.1.0"}]}}},
        "status": {"observedGeneration": 3},
    });
    merge(&mut object, kind_of);
    object
}

#[test]
fn deployments() {
    let deployment = kind_of("apps", "Deployment");
    let healthy = workload(json!({"status": {
        "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        "conditions": [
            {"type": "Available", "status": "True"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        ],
    }}));
    let progressing = |reason: &str| json!({"status": {"conditions": [{"type": "Progressing", "reason": reason, "message": "3 of 4"}]}});
    let changes = [
        (json!({"status": {"observedGeneration": 2}}), NOT_OBSERVED),
        (json!({"spec": {"paused": true}}), "its rollout is paused"),
        (json!({"status": {"updatedReplicas": 1}}), "1 of 2 replicas are updated"),
        (json!({"status": {"readyReplicas": null}}), "0 of 2 replicas are ready"),
        (json!({"status": {"availableReplicas": 1}}), "1 of 2 replicas are available"),
        (json!({"status": {"replicas": 3}}), "replicas of an older version are still there"),
        (json!({"spec": {"replicas": 0}, "status": {"replicas": 0, "updatedReplicas": 0}}), ""),
        (progressing("ReplicaSetUpdated"), "its rollout is under way: ReplicaSetUpdated: 3 of 4"),
        (progressing("ProgressDeadlineExceeded"), "its rollout failed: ProgressDeadlineExceeded: 3 of 4"),
        (
            json!({"status": {"conditions": [{"type": "Available", "status": "False", "reason": "Few"}]}}),
            "not Available: Few",
        ),
        (json!({"status": {"conditions": []}}), "has no Available condition yet"),
    ];
    check(&deployment, &healthy, "6.1.0", &changes);

    let revision = |fields: Value| {
        let mut object = healthy.clone();
        merge(&mut object, fields);
        application(&deployment, object).revision
    };
    let containers = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let image = |image: &str| revision(containers(json!([{"name": "app", "image": image}])));
    assert_eq!(image("registry:5000/podinfo:6.1.0@sha256:ab").as_deref(), Some("6.1.0"));
    assert_eq!(image("registry:5000/podinfo@sha256:ab").as_deref(), Some("sha256:ab"));
    assert_eq!(image("registry:5000/podinfo"), None);
    assert_eq!(image(""), None);
    let two = json!([{"name": "proxy", "image": "envoy:1"}, {"name": "podinfo", "image": "podinfo:2"}]);
    assert_eq!(revision(containers(two)).as_deref(), Some("2"));
    let two = containers(json!([{"name": "proxy", "image": "envoy:1"}, {"name": "app", "image": "podinfo:2"}]));
    assert_eq!(revision(two.clone()), None);
    let mut labelled = two.clone();
    merge(&mut labelled, json!({"metadata": {"labels": {"app.kubernetes.io/version": "2.0"}}}));
    assert_eq!(revision(labelled).as_deref(), Some("2.0"));
    let mut unknown = healthy.clone();
    merge(&mut unknown, two);
    assert_eq!(application(&deployment, unknown).message, workload::NO_REVISION);
}

#[test]
fn other_workloads() {
    let stateful = workload(json!({"status": {
        "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "currentRevision": "app-1", "updateRevision": "app-1",
    }}));
    let changes = [
        (json!({"status": {"observedGeneration": 2}}), NOT_OBSERVED),
        (json!({"status": {"readyReplicas": 1}}), "1 of 2 replicas are ready"),
        (json!({"status": {"updatedReplicas": 1}}), "1 of 2 replicas are updated"),
        (json!({"status": {"updateRevision": "app-2"}}), "its rollout is under way"),
        (json!({"spec": {"replicas": 1}}), "replicas that are not wanted any more are still there"),
    ];
    check(&kind_of("apps", "StatefulSet"), &stateful, "6.1.0", &changes);

    let daemon = workload(json!({"status": {
        "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2,
        "numberReady": 2,
    }}));
    let changes = [
        (json!({"status": {"observedGeneration": 2}}), NOT_OBSERVED),
        (json!({"status": {"desiredNumberScheduled": null}}), "was not scheduled yet"),
        (json!({"status": {"updatedNumberScheduled": 1}}), "1 of 2 replicas are updated"),
        (json!({"status": {"numberReady": 1}}), "1 of 2 replicas are ready"),
    ];
    check(&kind_of("apps", "DaemonSet"), &daemon, "6.1.0", &changes);
}

#[test]
fn paths_of_the_pipelines_own() {
    let observed = |observe: Value| {
        let mut app = kind_of("example.io", "Widget");
        app.observe = Some(serde_json::from_value(observe).unwrap());
        app
    };
    let both = observed(json!({
        "revision": ".status.version", "ready": {"path": ".status.phase", "value": "Running"},
    }));
    let healthy = json!({"status": {"version": 7, "phase": "Running"}});
    let changes = [
        (json!({"spec": {"suspend": true}}), "is suspended"),
        (json!({"status": {"version": null}}), "has no .status.version yet"),
        (json!({"status": {"version": {"a": 1}}}), "has no .status.version yet"),
        (json!({"status": {"phase": "Failed"}}), ".status.phase is \"Failed\", not \"Running\""),
        (json!({"status": null}), "has no .status.phase yet"),
        (json!({"status": {"observedGeneration": 2}}), NOT_OBSERVED),
        (json!({"status": {"observedGeneration": 3}}), ""),
    ];
    check(&both, &healthy, "7", &changes);

    let label = observed(json!({"revision": r".metadata.labels.app\.kubernetes\.io/version"}));
    let mut healthy = ready(json!({}));
    merge(&mut healthy, json!({"metadata": {"labels": {"app.kubernetes.io/version": "1.2"}}}));
    check(&label, &healthy, "1.2", &by_convention());

    let condition =
        observed(json!({"ready": {"path": ".status.conditions[?(@.type==\"Healthy\")].status", "value": "True"}}));
    let healthy =
        json!({"status": {"lastAppliedRevision": "1", "conditions": [{"type": "Healthy", "status": "True"}]}});
    check(&condition, &healthy, "1", &[]);
}

#[test]
fn the_page_lists_the_kinds_that_have_a_rule() {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeSet<(&str, &str)> = rows
        .flat_map(|row| {
            let mut cells = row.split('|').skip(1);
            let kinds = cells.next().unwrap_or_default().split('`').skip(1).step_by(2);
            let group = cells.next().unwrap_or_default().trim().trim_matches('`');
            kinds.map(move |kind| (group, kind))
        })
        .collect();
    assert_eq!(documented, KINDS.iter().map(|(group, kind, _)| (*group, *kind)).collect());
}

const WORDS: &[&str] =
    &["True", "False", "Ready", "Synced", "Healthy", "deployed", "Succeeded", "2026-01-01T00:00:00Z", ""];

const KEYS: &[&str] = &[
    "observedGeneration",
    "conditions",
    "type",
    "status",
    "reason",
    "history",
    "version",
    "chartVersion",
    "revision",
    "artifact",
    "plan",
    "pending",
    "lastAppliedRevision",
    "sync",
    "revisions",
    "health",
    "operationState",
    "phase",
    "replicas",
    "updatedReplicas",
    "comparedTo",
    "source",
    "sources",
    "containers",
    "image",
    "name",
];

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (2_i64..4).prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(KEYS).prop_map(str::to_owned), inner, 0..8)
                .prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn odd_shapes_do_no_harm(
        (group, kind, _) in prop::sample::select(KINDS), spec in any_value(), status in any_value(), operation in any_value(),
    ) {
        let found = application(&kind_of(group, kind), json!({"spec": spec, "status": status, "operation": operation}));
        prop_assert_eq!(found.ready, found.message.is_empty());
        prop_assert!(!found.ready || found.revision.is_some_and(|revision| !revision.is_empty()));
    }
}
