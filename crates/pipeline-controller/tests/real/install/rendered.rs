//! What Helm and kustomize make of `deploy`.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testbed::Helm;

use super::{NAMESPACE, chart, deploy, find, objects, read, render, render_set, strings, value_sets};

#[tokio::test]
#[ignore = "needs Helm: run `cargo xtask test`"]
async fn helm_finds_nothing_to_mend() -> Result<()> {
    let helm = Helm::find().await?;
    let chart = chart();
    for values in value_sets()? {
        let told = helm
            .run(&["lint", "--strict", &chart.to_string_lossy(), "--values", &values.to_string_lossy()], None)
            .await?;
        assert!(told.contains("0 chart(s) failed") && !told.contains("WARNING"), "{told}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs Helm: run `cargo xtask test`"]
async fn wrong_values_are_refused() -> Result<()> {
    let helm = Helm::find().await?;
    for (value, told) in [
        ("replica=2", "replica"),
        ("leaderElection.enable=false", "enable"),
        ("replicas=two", "replicas"),
        ("rbac.scope=everywhere", "scope"),
        ("rbac.scope=namespaces", "name them in rbac.namespaces, or set watchNamespace"),
        ("replicas=2,leaderElection.enabled=false", "all of them would promote"),
        ("log.level=loud", "level"),
        ("watchNamespace=Apps", "watchNamespace"),
        ("cache.sizeLimit=much", "sizeLimit"),
        ("leaderElection.leaseDuration=15", "leaseDuration"),
        ("image.digest=latest", "digest"),
        ("egress.deny={everything}", "deny"),
        ("eventsAddress=notification-controller", "eventsAddress"),
        ("extraArgs={--git-timeot=1m}", "extraArgs"),
        ("extraArgs={--git-timeout}", "extraArgs"),
        ("extraArgs={--cache-dir=/}", "extraArgs"),
        ("extraArgs={--legacy-status-codes=yes}", "extraArgs"),
        ("promotion.ingress.enabled=true", "promotion.ingress.host is needed"),
        ("promotion.ingress.paths={/hook}", "paths"),
        ("metrics.enabled=false,metrics.serviceMonitor.enabled=true", "needs metrics.enabled"),
        ("metrics.enabled=false,metrics.prometheusRule.enabled=true", "needs metrics.enabled"),
        (
            "rbac.extraRules[0].apiGroups={x},rbac.extraRules[0].resources={secrets},rbac.extraRules[0].verbs={list}",
            "resources",
        ),
    ] {
        let answer = helm.template(&chart(), "pipeline-controller", NAMESPACE, &["--set", value]).await;
        let error = answer.err().with_context(|| format!("{value} is taken"))?.to_string();
        assert!(error.contains(told), "{value}: {error}");
    }
    Ok(())
}

/// What `promtool` and a real Prometheus have tried is what the chart installs.
#[tokio::test]
#[ignore = "needs Helm: run `cargo xtask test`"]
async fn the_charts_alerts_and_dashboard_are_those_of_monitoring() -> Result<()> {
    let rendered = render_set("full").await?;
    let alerts: Value = serde_saphyr::from_str(&read("monitoring/alerts.yaml")?)?;
    assert_eq!(find(&rendered, "PrometheusRule", "pipelines")?["spec"], alerts);
    let dashboard = &find(&rendered, "ConfigMap", "pipelines-dashboard")?["data"]["pipeline-controller.json"];
    let dashboard: Value = serde_json::from_str(dashboard.as_str().context("the dashboard is no text")?)?;
    assert_eq!(dashboard, serde_json::from_str::<Value>(&read("monitoring/dashboard.json")?)?);
    Ok(())
}

/// What docs/install.md shows can be done.
#[tokio::test]
#[ignore = "needs Helm: run `cargo xtask test`"]
async fn the_guides_values_are_taken() -> Result<()> {
    let guide = read("../docs/install.md")?;
    let folder = tempfile::tempdir()?;
    let mut releases = 0;
    for block in guide.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for release in objects(block)?.iter().filter(|object| object["kind"] == "HelmRelease") {
            let values = folder.path().join("values.yaml");
            std::fs::write(&values, release["spec"]["values"].to_string())?;
            let rendered = objects(&render(&values).await?)?;
            let replicas = &find(&rendered, "Deployment", "pipeline-controller")?["spec"]["replicas"];
            assert_eq!(*replicas, release["spec"]["values"]["replicas"]);
            releases += 1;
        }
    }
    assert_eq!(releases, 1);
    for set in guide.split('`').filter(|word| word.starts_with("ci/")) {
        assert!(chart().join(set).exists(), "there is no {set}");
    }
    Ok(())
}

/// The schema is closed, and names each value.
#[test]
fn the_schema_names_every_value_and_no_other() -> Result<()> {
    fn walk(schema: &Value, values: &Value, path: &str) {
        let Some(properties) = schema["properties"].as_object() else { return };
        assert_eq!(schema["additionalProperties"], false, "{path} is open");
        let named: BTreeSet<_> = properties.keys().filter(|name| *name != "global").collect();
        let there: BTreeSet<_> = values.as_object().into_iter().flatten().map(|(name, _)| name).collect();
        assert_eq!(named, there, "of {path:?}");
        for (name, schema) in properties {
            walk(schema, &values[name], &format!("{path}/{name}"));
        }
    }
    let schema: Value = serde_json::from_str(&read("helm/pipeline-controller/values.schema.json")?)?;
    let mut values: Value = serde_saphyr::from_str(&read("helm/pipeline-controller/values.yaml")?)?;
    // Kubernetes' own part: any of it may be left out.
    values["resources"] = json!({"requests": {}, "limits": {}});
    walk(&schema, &values, "");
    Ok(())
}

/// The rights of the other tests are those that are installed.
#[tokio::test]
#[ignore = "needs Helm: run `cargo xtask test`"]
async fn the_charts_rights_are_those_that_the_tests_run_under() -> Result<()> {
    let installed = render_set("default").await?;
    let mut compared = 0;
    for wanted in objects(&(read("rbac/roles.yaml")? + "\n---\n" + &read("rbac/cluster.yaml")?))? {
        let (kind, name) = (wanted["kind"].as_str(), wanted["metadata"]["name"].as_str());
        let found = find(&installed, kind.context("no kind")?, name.context("no name")?)?;
        for field in ["rules", "roleRef", "subjects"] {
            assert_eq!(found[field], wanted[field], "{field} of {kind:?} {name:?}");
        }
        assert_eq!(found["metadata"]["namespace"], wanted["metadata"]["namespace"]);
        compared += 1;
    }
    let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
    let all = installed.iter().filter(|object| strings(&json!(kinds)).contains(&object["kind"].as_str().unwrap_or("")));
    // The one for people who may view.
    assert_eq!(all.count(), compared + 1);
    Ok(())
}

/// Helm writes `0.0` as `0`.
fn with_one_kind_of_number(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(with_one_kind_of_number).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), with_one_kind_of_number(field))).collect()
        }
        other => other.clone(),
    }
}

#[tokio::test]
#[ignore = "needs Helm: run `cargo xtask test`"]
async fn the_charts_definition_is_the_generated_one() -> Result<()> {
    let wanted: Value = serde_saphyr::from_str(&read("crds/pipelines.weave.works.yaml")?)?;
    let installed = render_set("default").await?;
    let found = find(&installed, "CustomResourceDefinition", "pipelines.pipelines.weave.works")?;
    assert_eq!(with_one_kind_of_number(&found["spec"]), with_one_kind_of_number(&wanted["spec"]));
    assert_eq!(found["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    Ok(())
}

#[tokio::test]
#[ignore = "needs Helm: run `cargo xtask test`"]
async fn without_a_right_beyond_its_namespaces() -> Result<()> {
    let installed = render_set("namespaced").await?;
    assert!(
        !installed.iter().any(|object| object["kind"].as_str().is_some_and(|kind| kind.starts_with("ClusterRole")))
    );
    let secrets: Vec<_> = installed
        .iter()
        .filter(|object| object["kind"] == "Role" && object.to_string().contains("secrets"))
        .filter_map(|role| role["metadata"]["namespace"].as_str())
        .collect();
    assert_eq!(secrets, ["apps", "dev", "prod"]);
    let elsewhere = |namespace: &str| {
        let roles = installed.iter().filter(|object| object["kind"] == "Role");
        let here = roles.filter(|role| role["metadata"]["namespace"] == namespace);
        here.flat_map(|role| role["rules"].as_array().into_iter().flatten())
            .flat_map(|rule| strings(&rule["resources"]))
            .collect::<Vec<_>>()
    };
    assert_eq!((elsewhere(NAMESPACE), elsewhere("default")), (vec!["leases"], vec!["endpointslices"]));
    Ok(())
}

/// As text, so that a difference shows which: no order of keys, nothing that is Helm's own.
fn plain(mut objects: Vec<Value>) -> Vec<String> {
    for object in &mut objects {
        if let Some(labels) = object.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove("helm.sh/chart");
            labels.remove("app.kubernetes.io/managed-by");
        }
    }
    let mut texts: Vec<_> = objects.iter().map(|object| format!("{object:#}")).collect();
    texts.sort();
    texts
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn kustomize_and_the_chart_give_the_same() -> Result<()> {
    let bed = testbed::shared().await?;
    for (path, set) in [("base", "default"), ("overlays/ha", "ha"), ("overlays/namespaced", "namespaced")] {
        let folder = deploy("kustomize").join(path);
        let built = objects(&bed.control_plane.kubectl(&["kustomize", &folder.to_string_lossy()]).await?)?;
        let mut wanted = render_set(set).await?;
        for object in &mut wanted {
            if object["kind"] == "CustomResourceDefinition" {
                // Each keeps it in its own way.
                let annotations = json!({"kustomize.toolkit.fluxcd.io/prune": "disabled"});
                object["metadata"] = json!({"name": object["metadata"]["name"], "annotations": annotations});
            }
        }
        let (built, wanted) = (plain(built), plain(wanted));
        assert_eq!(built.len(), wanted.len(), "{path}");
        for (built, wanted) in built.iter().zip(&wanted) {
            assert!(built == wanted, "{path} and ci/{set}-values.yaml differ:\n{built}\n{wanted}");
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs Helm: run `cargo xtask test`"]
async fn shards_share_the_pipelines_and_the_service() -> Result<()> {
    let objects = objects(&render(&chart().join("ci/shards-values.yaml")).await?)?;
    let service = find(&objects, "Service", "pipeline-controller-promotion")?;
    let selected = service["spec"]["selector"].as_object().context("no selector")?;
    for shard in 0..4 {
        let deployment = find(&objects, "Deployment", &format!("pipeline-controller-shard-{shard}-of-4"))?;
        let args = strings(&deployment["spec"]["template"]["spec"]["containers"][0]["args"]);
        assert!(args.contains(&format!("--shard={shard}/4").as_str()), "{args:?}");
        let labels = deployment["spec"]["template"]["metadata"]["labels"].as_object().context("no labels")?;
        assert!(selected.iter().all(|(name, value)| labels.get(name) == Some(value)), "the Service leaves out {shard}");
        let own = &deployment["spec"]["selector"]["matchLabels"];
        assert_eq!(own["app.kubernetes.io/component"], format!("shard-{shard}-of-4"));
        let budget = find(&objects, "PodDisruptionBudget", &format!("pipeline-controller-shard-{shard}-of-4"))?;
        assert_eq!(budget["spec"]["selector"]["matchLabels"], *own);
    }
    Ok(())
}
