//! What the CRD refuses, and with what words: by its rules without a cluster, by Rust for objects that were stored before
//! the rules were there, and by a real API server.

#![cfg(test)]

use std::{fs, path::Path};

use kube::{
    CustomResourceExt as _,
    api::{Api, ApiResource, DynamicObject, PostParams},
};
use pipeline_api::Pipeline;
use serde_json::{Value, json};

/// A change to a good manifest that makes it bad.
struct Bad {
    pointer: &'static str,
    value: Value,
    /// The field that the message stands at.
    field: &'static str,
    message: &'static str,
    by: By,
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    /// A CEL rule, and the same check in Rust.
    Rule,
    /// The schema: only an API server checks it.
    Schema,
}

const PROMOTION: &str = "/spec/promotion";
const URL: &str = "/spec/promotion/pullRequest/url";
const BRANCH: &str = "/spec/promotion/pullRequest/branch";
const UPDATES: &str = "/spec/promotion/pullRequest/updates";
const NAME: &str = "/spec/environments/0/name";

fn good() -> Value {
    json!({
        "apiVersion": "pipelines.weave.works/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "podinfo", "namespace": "default"},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo",
                "observe": {
                    "revision": r".metadata.labels.app\.kubernetes\.io/version", "ready": {"path": r#".status.conditions[?(@.type=="Released")].status"#, "value": "True"},
                },
            },
            "environments": [
                {"name": "dev", "targets": [{"namespace": "podinfo"}]},
                {"name": "prod", "targets": [
                    {"namespace": "podinfo", "clusterRef": {"kind": "GitopsCluster", "name": "prod"}}
                ], "promotion": {"webhook": {"url": "https://ci.example.com/hook"}}},
            ],
            "promotion": {"pullRequest": {
                "url": "https://github.com/org/fleet.git", "branch": "main", "secretRef": "git",
                "apiUrl": "https://github.com/api/v3",
            }},
        }
    })
}

fn bad(pointer: &'static str, value: Value, field: &'static str, message: &'static str) -> Bad {
    Bad { pointer, value, field, message, by: By::Rule }
}

fn bad_for_schema(pointer: &'static str, value: Value, field: &'static str, message: &'static str) -> Bad {
    Bad { pointer, value, field, message, by: By::Schema }
}

fn bad_cases() -> Vec<Bad> {
    const ONE: &str =
        "promotion needs exactly one of pullRequest, webhook, strategy.pull-request and strategy.notification";
    const SHAPES: &str =
        "promotion mixes two shapes: use pullRequest or webhook (with hmacSecretRef), or strategy alone";
    const LABEL: &str =
        "must be a DNS label: at most 63 lower-case letters, digits and '-', with a letter or digit at both ends";
    const OBJECT: &str = "must be the name of an object: at most 253 lower-case letters, digits, '-' and '.', with a letter or digit at both ends";
    const PATH: &str = "must be the path of a field in JSONPath, such as .status.version";
    const NAMES: &str = "must be names without blanks at their ends, on one line";
    const ONE_FIELD: &str = "an update needs exactly one of path, kustomizeImage and helmValues";
    const SCHEME: &str = "url must begin with https:// or ssh:// and a host, or be user@host:path, without blanks";
    const CREDENTIALS: &str = "must not hold credentials: put them into the Secret that secretRef names";

    let git = json!({"url": "https://github.com/org/fleet.git", "secretRef": "git"});
    let shipped_git = json!({
        "type": "github", "url": "https://github.com/org/fleet", "baseBranch": "main", "secretRef": {"name": "git"}
    });
    let hook = json!({"url": "https://ci.example.com/hook"});
    let shipped = |field: &str, value: &str| {
        let mut pull_request = shipped_git.clone();
        pull_request[field] = value.into();
        json!({"strategy": {"pull-request": pull_request}})
    };
    let many = |count: usize, one: Value| Value::Array(vec![one; count]);
    let environments = |count: usize| {
        Value::Array((0..count).map(|index| json!({"name": format!("e{index}"), "targets": []})).collect())
    };

    let mut cases = vec![
        bad(PROMOTION, json!({}), "spec.promotion", ONE),
        bad(PROMOTION, json!({"manual": true}), "spec.promotion", ONE),
        bad(PROMOTION, json!({"strategy": {}}), "spec.promotion", ONE),
        bad(PROMOTION, json!({"strategy": {"secretRef": {"name": "hmac"}}}), "spec.promotion", ONE),
        bad(PROMOTION, json!({"pullRequest": git, "webhook": hook}), "spec.promotion", ONE),
        bad(PROMOTION, json!({"strategy": {"pull-request": shipped_git, "notification": {}}}), "spec.promotion", ONE),
        bad("/spec/environments/1/promotion", json!({"manual": false}), "spec.environments[1].promotion", ONE),
        bad(
            PROMOTION,
            json!({"pullRequest": git, "strategy": {"secretRef": {"name": "hmac"}}}),
            "spec.promotion",
            SHAPES,
        ),
        bad(PROMOTION, json!({"webhook": hook, "strategy": {"notification": {}}}), "spec.promotion", SHAPES),
        bad(PROMOTION, json!({"hmacSecretRef": "hmac", "strategy": {"notification": {}}}), "spec.promotion", SHAPES),
        bad(NAME, json!("prod"), "spec.environments", "environments must have different names"),
        bad(
            "/spec/environments/0/targets/0/namespace",
            json!("kube_system"),
            "spec.environments[0].targets[0].namespace",
            LABEL,
        ),
        bad(
            "/spec/environments/1/targets/0/clusterRef/name",
            json!("../prod"),
            "spec.environments[1].targets[0].clusterRef.name",
            OBJECT,
        ),
        bad(
            "/spec/progressDeadline",
            json!("soon"),
            "spec.progressDeadline",
            "progressDeadline must be a positive duration",
        ),
        bad(
            "/spec/progressDeadline",
            json!("-5m"),
            "spec.progressDeadline",
            "progressDeadline must be a positive duration",
        ),
        bad_for_schema("/spec/deletionPolicy", json!("Forget"), "spec.deletionPolicy", "Unsupported value"),
        bad("/spec/appRef/name", json!("../../secrets/podinfo"), "spec.appRef.name", OBJECT),
        bad("/spec/appRef/observe", json!({"revision": "status.version"}), "spec.appRef.observe.revision", PATH),
        bad("/spec/appRef/observe", json!({"revision": ".status..version"}), "spec.appRef.observe.revision", PATH),
        bad("/spec/appRef/observe", json!({"revision": ".status.versions[x]"}), "spec.appRef.observe.revision", PATH),
        bad("/spec/appRef/observe", json!({"revision": "{.status.version}"}), "spec.appRef.observe.revision", PATH),
        bad(
            "/spec/appRef/observe",
            json!({"ready": {"path": ".status[?(@.type=='Ready')]", "value": "True"}}),
            "spec.appRef.observe.ready.path",
            PATH,
        ),
        bad("/spec/promotion/pullRequest/secretRef", json!("a/b"), "spec.promotion.pullRequest.secretRef", OBJECT),
        bad(PROMOTION, json!({"pullRequest": git, "hmacSecretRef": "A"}), "spec.promotion.hmacSecretRef", OBJECT),
        bad(PROMOTION, json!({"webhook": {}}), "spec.promotion.webhook", "webhook needs url, or secretRef"),
        bad(
            PROMOTION,
            json!({"webhook": {"url": "https://ci.example.com/hook", "timeout": "0s"}}),
            "spec.promotion.webhook.timeout",
            "timeout must be a time from 1s to 2m",
        ),
        bad(
            PROMOTION,
            json!({"webhook": {"url": "https://ci.example.com/hook", "timeout": "2m1s"}}),
            "spec.promotion.webhook.timeout",
            "timeout must be a time from 1s to 2m",
        ),
        bad(
            PROMOTION,
            json!({"webhook": {"url": "https://ci.example.com/hook", "timeout": "500ms"}}),
            "spec.promotion.webhook.timeout",
            "timeout must be a time from 1s to 2m",
        ),
        bad(
            PROMOTION,
            json!({"webhook": {"url": "https://ci.example.com/hook", "timeout": "1h"}}),
            "spec.promotion.webhook.timeout",
            "timeout must be a time from 1s to 2m",
        ),
        bad(
            PROMOTION,
            json!({"webhook": {"url": "https://ci.example.com/hook", "timeout": "soon"}}),
            "spec.promotion.webhook.timeout",
            "timeout must be a time from 1s to 2m",
        ),
        bad(
            PROMOTION,
            json!({"webhook": {"url": "https://ci.example.com/hook", "certSecretRef": "../other"}}),
            "spec.promotion.webhook.certSecretRef",
            "certSecretRef must be the name of an object",
        ),
        bad(
            PROMOTION,
            json!({"webhook": {"url": "https://ci.example.com/hook", "proxySecretRef": "../other"}}),
            "spec.promotion.webhook.proxySecretRef",
            "proxySecretRef must be the name of an object",
        ),
        bad(
            PROMOTION,
            json!({"webhook": {"url": "http://ci.example.com/hook"}}),
            "spec.promotion.webhook.url",
            "url must begin with https:// and a host",
        ),
        bad(
            PROMOTION,
            json!({"webhook": {"url": "https://user:pass@ci.example.com"}}),
            "spec.promotion.webhook.url",
            CREDENTIALS,
        ),
        bad(
            "/spec/promotion/pullRequest/apiUrl",
            json!("http://github.com/api"),
            "spec.promotion.pullRequest.apiUrl",
            "apiUrl must begin with https:// and a host",
        ),
        bad(
            "/spec/promotion/pullRequest/apiUrl",
            json!("https://token@github.com/api"),
            "spec.promotion.pullRequest.apiUrl",
            CREDENTIALS,
        ),
        bad(
            PROMOTION,
            shipped("url", "https://user:pass@github.com/org/fleet"),
            "spec.promotion.strategy.pull-request.url",
            CREDENTIALS,
        ),
        bad(
            PROMOTION,
            shipped("url", "http://github.com/org/fleet"),
            "spec.promotion.strategy.pull-request.url",
            SCHEME,
        ),
        bad(
            PROMOTION,
            shipped("baseBranch", "a b"),
            "spec.promotion.strategy.pull-request.baseBranch",
            "must be the name of a branch",
        ),
        bad_for_schema(
            PROMOTION,
            shipped("type", "subversion"),
            "spec.promotion.strategy.pull-request.type",
            "Unsupported value",
        ),
        bad_for_schema(
            "/spec/environments/1/targets/0/clusterRef/kind",
            json!("Cluster"),
            "spec.environments[1].targets[0].clusterRef.kind",
            "Unsupported value",
        ),
        bad_for_schema(
            "/spec/environments/0/targets/0/observe",
            json!("Guess"),
            "spec.environments[0].targets[0].observe",
            "Unsupported value",
        ),
        bad_for_schema(
            "/spec/environments/0/promoteWhen",
            json!("Never"),
            "spec.environments[0].promoteWhen",
            "Unsupported value",
        ),
        bad_for_schema(
            "/spec/promotion/pullRequest/provider",
            json!("svn"),
            "spec.promotion.pullRequest.provider",
            "Unsupported value",
        ),
        bad_for_schema("/spec/environments", json!([]), "spec.environments", "should have at least 1 items"),
        bad_for_schema("/spec/environments", environments(33), "spec.environments", "must have at most 32 items"),
        bad_for_schema(
            "/spec/environments/0/targets",
            many(101, json!({"namespace": "podinfo"})),
            "spec.environments[0].targets",
            "must have at most 100 items",
        ),
        bad_for_schema(
            "/spec/promotion/pullRequest/updates",
            many(33, json!({"file": "a.yaml", "path": "a"})),
            "spec.promotion.pullRequest.updates",
            "must have at most 32 items",
        ),
        bad(UPDATES, json!([{"file": "a.yaml"}]), "spec.promotion.pullRequest.updates[0]", ONE_FIELD),
        bad(
            UPDATES,
            json!([{"file": "a.yaml", "path": "a", "helmValues": {"path": "a"}}]),
            "spec.promotion.pullRequest.updates[0]",
            ONE_FIELD,
        ),
        bad(
            UPDATES,
            json!([{"file": "a.yaml", "helmValues": {"path": "a"}, "document": {"kind": "A"}}]),
            "spec.promotion.pullRequest.updates[0]",
            "document goes with path only",
        ),
        bad(
            UPDATES,
            json!([{"file": "a.yaml", "kustomizeImage": {"name": "a]b"}}]),
            "spec.promotion.pullRequest.updates[0].kustomizeImage.name",
            "must be the name of an image",
        ),
        bad("/spec/promotion/pullRequest/labels", json!(["a", " b"]), "spec.promotion.pullRequest.labels", NAMES),
        bad("/spec/promotion/pullRequest/reviewers", json!(["a\nb"]), "spec.promotion.pullRequest.reviewers", NAMES),
        bad(
            "/spec/promotion/pullRequest/teamReviewers",
            json!(["b "]),
            "spec.promotion.pullRequest.teamReviewers",
            NAMES,
        ),
        bad("/spec/promotion/pullRequest/assignees", json!([" "]), "spec.promotion.pullRequest.assignees", NAMES),
        bad(
            "/spec/promotion/pullRequest/links",
            json!({"source": "http://example.com/{{ tag }}"}),
            "spec.promotion.pullRequest.links.source",
            "must begin with https:// and a host",
        ),
        bad(
            PROMOTION,
            json!({"pullRequest": {"url": "https://github.com/org/fleet", "secretRef": "git", "draft": true, "merge": "Auto"}}),
            "spec.promotion.pullRequest",
            "a draft is not merged",
        ),
        bad("/spec/environments/1/merge", json!("Auto"), "spec", "goes with a promotion by pull request only"),
        bad_for_schema(
            "/spec/promotion/pullRequest/merge",
            json!("Always"),
            "spec.promotion.pullRequest.merge",
            "Unsupported value",
        ),
        bad_for_schema(
            "/spec/promotion/pullRequest/labels",
            many(51, json!("a")),
            "spec.promotion.pullRequest.labels",
            "must have at most 50 items",
        ),
        bad_for_schema(
            "/spec/promotion/pullRequest/title",
            json!("a".repeat(1025)),
            "spec.promotion.pullRequest.title",
            "may not be more than 1024 bytes",
        ),
        bad_for_schema(NAME, json!("a".repeat(64)), "spec.environments[0].name", "may not be more than 63 bytes"),
        bad_for_schema(
            URL,
            json!(format!("https://github.com/{}", "a".repeat(2048))),
            "spec.promotion.pullRequest.url",
            "may not be more than 2048 bytes",
        ),
    ];
    cases.extend(["/a", "a/", "../a", "a/../b", "./a", "a//b"].map(|file| {
        let update = json!([{"file": file, "path": "a"}]);
        bad(UPDATES, update, "spec.promotion.pullRequest.updates[0].file", "from the root of the repository")
    }));
    cases.extend(
        ["Dev", "a.b", "-a", "a-", "a_b", "a/b"].map(|name| bad(NAME, json!(name), "spec.environments[0].name", LABEL)),
    );
    cases.extend(
        [
            "http://github.com/org/fleet",
            "git://github.com/org/fleet",
            "file:///srv/fleet",
            "/srv/fleet",
            "github.com/org/fleet",
            "ext::sh -c true",
        ]
        .map(|url| bad(URL, json!(url), "spec.promotion.pullRequest.url", SCHEME)),
    );
    cases.extend(
        [
            "https://user:pass@github.com/org/fleet",
            "https://token@github.com/org/fleet",
            "ssh://git:pass@github.com/org/fleet",
        ]
        .map(|url| bad(URL, json!(url), "spec.promotion.pullRequest.url", CREDENTIALS)),
    );
    cases.extend(
        [
            "a..b", "-a", "a b", "a.lock", "a.lock/b", "/a", "a/", "a//b", "a/.b", ".a", "a.", "a~1", "a^", "a:b",
            "a?", "a*", "a[b", "a\\b", "a@{b", "@", "a\tb",
        ]
        .map(|name| bad(BRANCH, json!(name), "spec.promotion.pullRequest.branch", "must be the name of a branch")),
    );
    cases
}

fn good_cases() -> Vec<Value> {
    let with = |pointer: &str, value: Value| changed(pointer, value);
    let mut cases = examples();
    cases.extend([
        good(),
        with(PROMOTION, json!({"strategy": {"notification": {}}, "manual": true})),
        with(PROMOTION, json!({"strategy": {"notification": {}, "secretRef": {"name": "hmac"}}})),
        with(PROMOTION, json!({"webhook": {"secretRef": "ci"}, "hmacSecretRef": "hmac"})),
        with("/spec/environments/0/merge", json!("Auto")),
        with(
            PROMOTION,
            json!({"pullRequest": {
                "url": "https://github.com/org/fleet", "branch": "main", "secretRef": "git",
                "title": "{{ pipeline }}", "body": "{{ changes }}", "commitMessage": "{{ title }}",
                "links": {"source": "https://example.com/{{ tag }}", "pipeline": "https://ui.example.com"},
                "labels": ["kind/promotion", "needs review"], "reviewers": ["joe"], "teamReviewers": ["org/ops"],
                "assignees": ["ann"], "milestone": "1.0", "draft": false, "merge": "Immediate",
            }}),
        ),
        with("/spec/environments/0/targets", json!([])),
        with(
            "/spec/promotion/pullRequest/updates",
            json!([{
                "file": "apps/*/release.yaml",
                "document": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "podinfo",
                    "name": "podinfo", "index": 0},
                "path": "spec.chart.spec.version",
                "value": "v{{ revision }}",
            }, {
                "file": "apps/prod/kustomization.yaml",
                "kustomizeImage": {"name": "ghcr.io/stefanprodan/podinfo", "field": "digest"},
            }, {
                "file": "**/values-prod.yaml",
                "helmValues": {"path": "image.tag"},
            }]),
        ),
    ]);
    cases.extend(
        ["ssh://git@github.com/org/fleet.git", "git@github.com:org/fleet.git", "https://git.example.com:8443/a/b/c"]
            .map(|url| with(URL, json!(url))),
    );
    cases.extend(
        ["main", "release/1.2", "feature/a.b-c_d", "a@b", "v1", "ünïcode", "{a}"].map(|name| with(BRANCH, json!(name))),
    );
    cases
}

/// The Pipelines under `examples/manifests`.
fn examples() -> Vec<Value> {
    fn texts(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .flat_map(|path| if path.is_dir() { texts(&path) } else { vec![fs::read_to_string(&path).unwrap()] })
            .collect()
    }
    let texts = texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/manifests"));
    let documents = texts.iter().flat_map(|text| serde_saphyr::from_multiple::<Value>(text).unwrap());
    documents.filter(|document| document["kind"] == "Pipeline").collect()
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut manifest = good();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = manifest.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        parent => parent[key] = value,
    }
    manifest
}

#[test]
fn rules_refuse_what_is_bad() {
    for case in bad_cases().into_iter().filter(|case| case.by == By::Rule) {
        let manifest = changed(case.pointer, case.value);
        let pipeline: Pipeline = serde_json::from_value(manifest.clone()).unwrap();

        let errors = pipeline.validate_cel().expect_err(&manifest.to_string());
        let named = errors.iter().any(|e| e.field_path == case.field && e.message.contains(case.message));
        assert!(named, "{}: {}\nwas expected for {manifest}\nbut there is {errors}", case.field, case.message);

        let invalid = pipeline.invalid();
        let named = invalid.iter().any(|invalid| invalid.field.starts_with(case.field));
        assert!(named, "{} was expected for {manifest}\nbut there is {invalid:?}", case.field);
    }
}

#[test]
fn rules_accept_what_is_good() {
    for manifest in good_cases() {
        let pipeline: Pipeline = serde_json::from_value(manifest.clone()).unwrap();
        pipeline.validate_cel().unwrap_or_else(|errors| panic!("{manifest}: {errors}"));
        assert_eq!(pipeline.invalid(), [], "{manifest}");
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_api_server_refuses_what_is_bad_and_keeps_what_is_good() -> anyhow::Result<()> {
    let control_plane = &testbed::shared().await?.control_plane;
    control_plane.apply(&serde_json::to_string(&Pipeline::crd())?).await?;
    let client = control_plane.client().await?;
    let api: Api<DynamicObject> = Api::default_namespaced_with(client, &ApiResource::erase::<Pipeline>(&()));
    let dry_run = PostParams { dry_run: true, field_manager: None };

    for case in bad_cases() {
        let manifest = changed(case.pointer, case.value);
        let refused = api.create(&dry_run, &serde_json::from_value(manifest.clone())?).await;
        let message = refused.expect_err(&manifest.to_string()).to_string();
        let named = message.contains(&format!("{}: ", case.field)) && message.contains(case.message);
        assert!(named, "{}: {}\nwas expected for {manifest}\nbut there is {message}", case.field, case.message);
    }
    for manifest in good_cases() {
        let kept = api.create(&dry_run, &serde_json::from_value(manifest.clone())?).await?;
        assert_eq!(kept.data["spec"], manifest["spec"]);
    }
    Ok(())
}
