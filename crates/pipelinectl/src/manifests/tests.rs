use super::*;

const PIPELINE: &str = "
apiVersion: pipelines.weave.works/v1alpha1
kind: Pipeline
metadata: {name: podinfo}
spec:
  appRef: {apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, name: podinfo}
  environments:
    - {name: dev, targets: [{namespace: dev}]}
    - {name: prod, targets: [{namespace: prod}]}
  promotion:
    pullRequest: {url: 'https://github.com/org/fleet.git', branch: main, secretRef: fleet}
";

fn parsed(text: &str) -> anyhow::Result<Manifests> {
    Manifests::parse("file.yaml".to_owned(), text.as_bytes().to_vec())
}

fn pipeline_error(text: &str, namespace: Option<&str>) -> String {
    match parsed(text).and_then(|manifests| manifests.pipeline(namespace)) {
        Ok(_) => "fine".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn pipelines_that_are_refused() {
    let check = |from: &str, to: &str, expect: &str| {
        let text = PIPELINE.replacen(from, to, 1);
        assert_ne!(text, PIPELINE);
        let error = pipeline_error(&text, None);
        assert!(error.contains(expect), "{expect:?} was expected of {text}\nbut there is {error}");
    };
    check("v1alpha1", "v1", "file.yaml: holds no Pipeline of pipelines.weave.works/v1alpha1");
    check("name: podinfo}", "}", "metadata.name: is missing");
    check("targets: [{namespace: dev}]", "targets: dev", "\n  spec.environments[0].targets: invalid type");
    check("environments:", "environment:", "\n  spec.environment: is not a field of a Pipeline");
    check(
        "targets: [{namespace: prod}]",
        "targets: [{namespace: prod, nmspace: x}]",
        "\n  spec.environments[1].targets[0].nmspace: is not",
    );
    check("secretRef: fleet", "secretRef: {name: fleet}", "\n  spec.promotion.pullRequest.secretRef: invalid type");
    check("https://", "http://", "\n  spec.promotion.pullRequest.url: url must begin with https://");
    check("https://", "https://me:hunter2@", "spec.promotion.pullRequest.url: url must not hold credentials");
    check("name: prod", "name: dev", "\n  spec.environments: environments must have different names");
    check("kind: Pipeline", "kind: [Pipeline", "file.yaml: ");
}

#[test]
fn every_fault_is_listed() {
    let text =
        PIPELINE.replace("name: prod", "name: Prod").replace("https:", "ftp:").replace("branch: main", "branch: 'a b'");
    insta::assert_snapshot!(pipeline_error(&text, None), @"
    file.yaml: Pipeline podinfo is not valid:
      spec.environments[1].name: name must be a DNS label: at most 63 lower-case letters, digits and '-', with a letter or digit at both ends
      spec.promotion.pullRequest.branch: branch must be the name of a branch, without refs/heads/
      spec.promotion.pullRequest.url: url must begin with https:// or ssh:// and a host, or be user@host:path, without blanks
    ");
}

#[test]
fn no_value_of_a_pipeline_url_is_shown() {
    let error = pipeline_error(&PIPELINE.replace("https://", "https://me:hunter2@"), None);
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn namespaces() {
    let check = |text: &str, given: Option<&str>, expect: Option<&str>| {
        let got = parsed(text).unwrap().pipeline(given).ok();
        assert_eq!(got.and_then(|pipeline| pipeline.metadata.namespace).as_deref(), expect);
    };
    let own = PIPELINE.replace("{name: podinfo}", "{name: podinfo, namespace: apps}");
    check(PIPELINE, None, Some("default"));
    check(PIPELINE, Some("shop"), Some("shop"));
    check(&own, None, Some("apps"));
    check(&own, Some("apps"), Some("apps"));
    check(&own, Some("shop"), None);
}

#[test]
fn one_pipeline_among_other_objects() {
    let check = |text: &str, expect: &str| assert_eq!(pipeline_error(text, None), expect);
    check(&format!("kind: Other\n---\n{PIPELINE}---\n# nothing\n"), "fine");
    check(
        &format!("{PIPELINE}---{PIPELINE}"),
        "file.yaml: holds 2 Pipelines (podinfo, podinfo): give one of them alone",
    );
    check("", "file.yaml: holds no Pipeline of pipelines.weave.works/v1alpha1");
    let object: Value = serde_saphyr::from_str(PIPELINE).unwrap();
    check(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [object]}).to_string(), "fine");
}

fn secret_error(fields: &str) -> String {
    let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: fleet}}\n{fields}");
    match parsed(&text).and_then(|manifests| manifests.secret("default", "fleet")) {
        Ok(Some(secret)) => match secret.repository() {
            Ok(_) => "fine".to_owned(),
            Err(error) => error.to_string(),
        },
        Ok(None) => "none".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn secrets() {
    let check = |fields: &str, expect: &str| {
        let got = secret_error(fields);
        assert!(got.contains(expect), "{expect:?} was expected, but there is {got}");
        assert!(!got.contains("hunter2"), "{got}");
    };
    check("stringData: {token: hunter2}", "fine");
    check("data: {token: aHVudGVyMg==}", "fine");
    check("data: {token: 'hunter2 '}", "file.yaml: Secret default/fleet: data.token: is not base64");
    check("data: {token: 17}", "data.token: is not base64");
    check("stringData: {token: 17}", "stringData.token: is not a string");
    check("stringData: hunter2", "stringData: is not a map");
    check("stringData: {other: hunter2}", "Secret default/fleet has no credentials");
    check("stringData: {token: ENC}\nsops: {version: 3}", "sops decrypt");
    check("stringData: {token: hunter2", "file.yaml: ");
    check("stringData:\n  token: \"hunter2\n", "file.yaml: ");
}

#[test]
fn secrets_are_found_by_name_and_namespace() {
    let secret =
        |metadata: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {metadata}\nstringData: {{token: x}}\n");
    let check = |metadata: &str, found: bool| {
        let manifests = parsed(&secret(metadata)).unwrap();
        assert_eq!(manifests.secret("apps", "fleet").unwrap().is_some(), found, "{metadata}");
    };
    check("{name: fleet, namespace: apps}", true);
    check("{name: fleet}", true);
    check("{name: fleet, namespace: other}", false);
    check("{name: other, namespace: apps}", false);
    assert_eq!(parsed("kind: Other").unwrap().secrets(), "file.yaml holds no Secret");
    assert_eq!(parsed(&secret("{name: a, namespace: b}")).unwrap().secrets(), "file.yaml holds b/a");
}
