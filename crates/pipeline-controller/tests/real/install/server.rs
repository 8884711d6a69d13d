//! The API server takes what the chart renders, and would run its Pods where only restricted ones may.

use std::process::Command;

use anyhow::{Context as _, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use serde_json::{Value, json};
use testbed::{ControlPlane, Helm};

use super::{chart, objects, render, value_sets};

/// A definition of a kind that the Prometheus operator defines, with the schema of what the chart sets in its spec.
fn of_operator(kind: &str, spec: &str) -> Result<String> {
    let singular = kind.to_lowercase();
    let spec: Value = serde_saphyr::from_str(spec)?;
    let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": spec}});
    Ok(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{singular}s.monitoring.coreos.com")},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": kind, "plural": format!("{singular}s"), "singular": singular},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
    .to_string())
}

/// <https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.ServiceMonitorSpec>
const SERVICE_MONITOR: &str = r"
type: object
required: [endpoints, selector]
properties:
  selector:
    type: object
    properties: {matchLabels: {type: object, additionalProperties: {type: string}}}
  endpoints:
    type: array
    items:
      type: object
      properties:
        port: {type: string}
        path: {type: string}
        interval: {type: string, pattern: '^([0-9]+(ms|s|m|h))+$'}
        scrapeTimeout: {type: string, pattern: '^([0-9]+(ms|s|m|h))+$'}
";

/// <https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.PrometheusRuleSpec>
const PROMETHEUS_RULE: &str = r"
type: object
properties:
  groups:
    type: array
    items:
      type: object
      required: [name]
      properties:
        name: {type: string, minLength: 1}
        rules:
          type: array
          items:
            type: object
            required: [expr]
            properties:
              alert: {type: string}
              expr: {x-kubernetes-int-or-string: true}
              for: {type: string, pattern: '^([0-9]+(ms|s|m|h))+$'}
              labels: {type: object, additionalProperties: {type: string}}
              annotations: {type: object, additionalProperties: {type: string}}
";

async fn dry_run(cluster: &ControlPlane, yaml: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("objects.yaml");
    std::fs::write(&file, yaml)?;
    let file = file.to_string_lossy();
    // Warnings are those of the API server: deprecated or unknown fields.
    let flags = ["--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--warnings-as-errors"];
    cluster.kubectl(&[&["apply", "--filename", &file], flags.as_slice()].concat()).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_api_server_takes_every_set_of_values() -> Result<()> {
    let cluster = &testbed::shared().await?.control_plane;
    cluster.apply(&of_operator("ServiceMonitor", SERVICE_MONITOR)?).await?;
    cluster.apply(&of_operator("PrometheusRule", PROMETHEUS_RULE)?).await?;
    for namespace in ["flux-system", "apps", "dev", "prod", "fleet"] {
        cluster.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).await?;
    }
    let sets = value_sets()?;
    assert!(sets.len() > 5);
    for values in sets {
        let yaml = render(&values).await?;
        let told = dry_run(cluster, &yaml).await.with_context(|| values.display().to_string())?;
        assert_eq!(told.lines().count(), objects(&yaml)?.len(), "{told}");
    }
    Ok(())
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn pods_are_restricted() -> Result<()> {
    let cluster = &testbed::shared().await?.control_plane;
    let namespace = cluster.namespace("restricted").await?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "namespace", &namespace, label]).await?;
    let pod = |template: &Value| {
        let spec = &template["spec"];
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "namespace": namespace}, "spec": spec})
    };
    for values in value_sets()? {
        for object in objects(&render(&values).await?)?.iter().filter(|object| object["kind"] == "Deployment") {
            let mut pod = pod(&object["spec"]["template"]);
            dry_run(cluster, &pod.to_string()).await.with_context(|| values.display().to_string())?;

            pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
            let refused = dry_run(cluster, &pod.to_string()).await.err().context("nothing is restricted here")?;
            assert!(refused.to_string().contains("violates PodSecurity"), "{refused:#}");
        }
    }
    Ok(())
}

/// On the other cluster, where nobody needs the definition.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_upgrade_of_the_release_upgrades_the_definition() -> Result<()> {
    let cluster = &testbed::shared().await?.remote;
    let namespace = cluster.namespace("upgrade").await?;
    let folder = tempfile::tempdir()?;
    let older = folder.path().join("older");
    assert!(Command::new("cp").arg("-r").arg(chart()).arg(&older).status()?.success());
    let file = older.join("files/pipelines.weave.works.yaml");
    let definition = std::fs::read_to_string(&file)?;
    std::fs::write(&file, definition.replace("    shortNames:\n    - pl\n", "    shortNames:\n    - older\n"))?;

    let (helm, release) = (Helm::find().await?, format!("r{}", testbed::unique()));
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client().await?);
    let short_names = async || {
        let definition = definitions.get("pipelines.pipelines.weave.works").await?;
        anyhow::Ok(definition.spec.names.short_names.unwrap_or_default())
    };
    for (chart, expected) in [(&older, "older"), (&chart(), "pl")] {
        let chart = chart.to_string_lossy();
        let arguments = ["upgrade", "--install", &release, &chart, "--namespace", &namespace, "--take-ownership"];
        helm.run(&arguments, Some(cluster)).await?;
        assert_eq!(short_names().await?, [expected]);
    }
    helm.run(&["uninstall", &release, "--namespace", &namespace], Some(cluster)).await?;
    assert_eq!(short_names().await?, ["pl"]);
    Ok(())
}
