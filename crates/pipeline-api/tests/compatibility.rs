//! Objects as the first pipeline-controller left them in clusters: they are read, and written again with nothing lost.

#![cfg(test)]

use pipeline_api::{Pipeline, normalized::Strategy};
use serde_json::{Value, json};

fn stored(status: &Value) -> Value {
    json!({
        "apiVersion": "pipelines.weave.works/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "podinfo", "namespace": "flux-system", "generation": 3},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2beta1", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [
                {"name": "dev", "targets": [
                    {"namespace": "podinfo-dev"},
                    {"namespace": "podinfo", "clusterRef": {
                        "apiVersion": "gitops.weave.works/v1alpha1", "kind": "GitopsCluster", "name": "dev",
                        "namespace": "clusters"
                    }},
                ]},
                {"name": "staging", "targets": []},
                {"name": "prod", "targets": [{"namespace": "podinfo-prod"}], "promotion": {
                    "manual": true, "strategy": {"notification": {}}
                }},
            ],
            "promotion": {"strategy": {
                "pull-request": {
                    "type": "bitbucket-server", "url": "https://bitbucket.example.com/scm/org/fleet.git",
                    "baseBranch": "main", "secretRef": {"name": "git"}
                },
                "secretRef": {"name": "hmac"},
            }},
        },
        "status": status,
    })
}

fn read(object: &Value) -> Pipeline {
    serde_json::from_value(object.clone()).unwrap()
}

#[test]
fn a_stored_object_is_written_as_it_was_read() {
    let object = stored(&json!({
        "observedGeneration": 3,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": "All clusters checked",
            "lastTransitionTime": "2023-10-01T12:00:00Z", "observedGeneration": 3,
        }],
        "environments": {
            "dev": {"targets": [
                {"ready": true, "revision": "6.3.0", "clusterAppRef": {
                    "apiVersion": "helm.toolkit.fluxcd.io/v2beta1", "kind": "HelmRelease", "name": "podinfo",
                }},
                {"ready": false, "error": "not found", "clusterAppRef": {
                    "apiVersion": "helm.toolkit.fluxcd.io/v2beta1", "kind": "HelmRelease", "name": "podinfo",
                    "clusterRef": {"kind": "GitopsCluster", "name": "dev", "namespace": "clusters"},
                }},
            ]},
            "prod": {"waitingApproval": {"revision": "6.3.0"}},
        },
    }));
    let pipeline = read(&object);

    assert_eq!(serde_json::to_value(&pipeline).unwrap(), object);
    assert_eq!(pipeline.validate_cel(), Ok(()));
    assert_eq!(pipeline.invalid(), []);
    assert_eq!(pipeline.promotion("prod").unwrap().unwrap().strategy, Strategy::Notification);
}

#[test]
fn what_go_writes_for_nothing_reads_as_nothing() {
    #[track_caller]
    fn check(status: &Value, expect: &Value) {
        let pipeline = read(&stored(status));
        assert_eq!(serde_json::to_value(pipeline.status.unwrap()).unwrap(), *expect);
    }

    check(&json!({"observedGeneration": -1}), &json!({"observedGeneration": -1}));
    check(&json!({"environments": null, "conditions": null}), &json!({}));
    check(&json!({"environments": {"dev": null}}), &json!({"environments": {"dev": {}}}));
    check(
        &json!({"environments": {"dev": {"waitingApproval": {"revision": ""}, "targets": null}}}),
        &json!({"environments": {"dev": {}}}),
    );
}

#[test]
fn null_is_absent_in_a_spec() {
    let mut object = stored(&json!({}));
    object["spec"]["promotion"] = json!({
        "pullRequest": null, "webhook": null, "manual": null, "hmacSecretRef": null, "strategy": {"notification": {}}
    });
    assert_eq!(read(&object).promotion("dev").unwrap().unwrap().strategy, Strategy::Notification);
}
