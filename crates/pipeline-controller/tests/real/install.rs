//! What people install: the chart and kustomize's manifests under `deploy`.

mod flags;
mod promotes;
mod rendered;
mod server;

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context as _, Result};
use serde_json::Value;
use testbed::Helm;

const NAMESPACE: &str = "flux-system";

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

fn chart() -> PathBuf {
    deploy("helm/pipeline-controller")
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(deploy(path)).with_context(|| path.to_owned())
}

fn objects(yaml: &str) -> Result<Vec<Value>> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// The sets of values that come with the chart.
fn value_sets() -> Result<Vec<PathBuf>> {
    let entries: io::Result<Vec<_>> = fs::read_dir(chart().join("ci"))?.collect();
    let mut paths: Vec<_> = entries?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

async fn render(values: &Path) -> Result<String> {
    let values = values.to_string_lossy();
    let helm = Helm::find().await?;
    helm.template(&chart(), "pipeline-controller", NAMESPACE, &["--values", &values]).await
}

async fn render_set(name: &str) -> Result<Vec<Value>> {
    objects(&render(&chart().join(format!("ci/{name}-values.yaml"))).await?)
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it).with_context(|| format!("there is no {kind} {name}"))
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
