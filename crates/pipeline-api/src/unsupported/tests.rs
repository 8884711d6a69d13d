use serde_json::{Value, json};

use super::*;

#[test]
fn names_each_field_that_is_not_acted_on() {
    #[track_caller]
    fn check(promotion: &Value, target: &Value, expect: &[&str]) {
        let pipeline: Pipeline = serde_json::from_value(json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "podinfo"},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": [
                    {"name": "dev", "targets": []},
                    {"name": "prod", "targets": [target], "promotion": promotion, "promoteWhen": "AnyTargetReady"},
                ],
                "suspend": true,
            }
        }))
        .unwrap();
        let fields: Vec<_> = unsupported(&pipeline).into_iter().map(|found| found.field).collect();
        let expect: Vec<_> = expect.iter().map(|field| format!("spec.environments[1].{field}")).collect();
        assert_eq!(fields, expect);
    }

    let local = json!({"namespace": "podinfo", "observe": "Watch"});
    let hook = json!({"webhook": {"url": "https://ci.example.com/hook", "secretRef": "ci"}, "manual": false});
    let git = |field: &str, value: Value| {
        let mut pull_request = json!({"url": "https://git.example.com/org/fleet", "secretRef": "git"});
        pull_request[field] = value;
        json!({"pullRequest": pull_request})
    };
    let shipped = |type_: &str, url: &str| {
        json!({"strategy": {"pull-request": {
            "type": type_, "url": url, "baseBranch": "main", "secretRef": {"name": "git"}
        }}})
    };

    check(&hook, &local, &[]);
    for provider in ["github", "gitlab", "gitea", "forgejo", "bitbucket-server", "bitbucket-cloud", "azure-devops"] {
        check(&git("provider", json!(provider)), &local, &[]);
    }
    check(&git("updates", json!([{"file": "a.yaml", "path": "a"}])), &local, &[]);
    check(&git("url", json!("git@github.com:org/fleet")), &local, &[]);
    check(&git("url", json!("ssh://git@github.com/org/fleet")), &local, &[]);

    check(&shipped("github", "https://github.com/org/fleet"), &local, &[]);
    check(&shipped("gitlab", "https://gitlab.com/org/fleet"), &local, &[]);
    check(&shipped("bitbucket-server", "https://git.example.com/scm/org/fleet"), &local, &[]);
    check(&shipped("github", "git@github.com:org/fleet"), &local, &[]);
    check(
        &json!({"strategy": {"notification": {}, "secretRef": {"name": "hmac"}}}),
        &local,
        &["promotion.strategy.notification"],
    );
    check(&json!({"manual": true, "hmacSecretRef": "hmac", "webhook": {"secretRef": "ci"}}), &local, &[]);

    check(&hook, &json!({"namespace": "podinfo", "clusterRef": {"kind": "GitopsCluster", "name": "prod"}}), &[]);
    check(
        &hook,
        &json!({"namespace": "podinfo", "clusterRef": {"kind": "GitopsCluster", "name": "prod"}, "observe": "Event"}),
        &[],
    );
}
