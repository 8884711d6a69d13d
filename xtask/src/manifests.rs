//! `cargo xtask manifests`: what is derived of the definition, the roles, the monitoring and the chart's values.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use testbed::Helm;

use crate::root;

const CHART: &str = "deploy/helm/pipeline-controller";

/// Writes the chart's copies and table, and what kustomize takes from the chart. With `check`, writes them too and fails if one
/// was stale.
pub(crate) async fn run(check: bool) -> anyhow::Result<()> {
    let mut files = derived()?;
    files.extend(rendered().await?);
    write(files, check)
}

/// A file below the root, and what it has to hold.
type File = (PathBuf, String);

/// What needs no program.
fn derived() -> anyhow::Result<Vec<File>> {
    let copy = |from: &str| anyhow::Ok((in_chart("files").join(name_of(from)), read(from)?));
    let readme = format!("{CHART}/README.md");
    Ok(vec![
        // A chart cannot name files outside of its folder.
        copy("deploy/crds/pipelines.weave.works.yaml")?,
        copy("deploy/rbac/roles.yaml")?,
        copy("deploy/monitoring/alerts.yaml")?,
        copy("deploy/monitoring/dashboard.json")?,
        (PathBuf::from(&readme), with_table(&read(&readme)?, &table(&read(&format!("{CHART}/values.yaml"))?)?)?),
    ])
}

/// What Helm renders for kustomize.
async fn rendered() -> anyhow::Result<Vec<File>> {
    let helm = Helm::find().await?;
    let mut files = Vec::new();
    for (folder, values) in [("base", "default"), ("overlays/namespaced", "namespaced")] {
        let values = format!("{CHART}/ci/{values}-values.yaml");
        let path = root().join(&values);
        let further = ["--set", "crds.install=false", "--values", &path.to_string_lossy()];
        let text = helm.template(&root().join(CHART), "pipeline-controller", "flux-system", &further).await?;
        let kept = text.lines().filter(|line| !is_helms_own(line)).fold(String::new(), |text, line| text + line + "\n");
        let head =
            format!("# Rendered by `cargo xtask manifests` from {CHART} with ci/{}; do not edit.\n", name_of(&values));
        files.push((PathBuf::from(format!("deploy/kustomize/{folder}/pipeline-controller.yaml")), head + &kept));
    }
    Ok(files)
}

fn is_helms_own(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("# Source: ")
        || line.starts_with("helm.sh/chart: ")
        || line == "app.kubernetes.io/managed-by: Helm"
}

fn in_chart(path: &str) -> PathBuf {
    PathBuf::from(CHART).join(path)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

fn write(files: Vec<File>, check: bool) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for (path, fresh) in files {
        let full = root().join(&path);
        if fs::read_to_string(&full).ok().as_ref() != Some(&fresh) {
            fs::write(&full, fresh).with_context(|| format!("cannot write {}", path.display()))?;
            stale.push(path.display().to_string());
        }
    }
    ensure!(!check || stale.is_empty(), "{} was stale and is written anew: commit it", stale.join(", "));
    Ok(())
}

const BEGIN: &str = "<!-- values: written by `cargo xtask manifests` -->\n";
const END: &str = "<!-- end of values -->\n";

fn with_table(readme: &str, table: &str) -> anyhow::Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("the chart's README.md has no place for the values")?;
    let (_, after) = rest.split_once(END).context("the chart's README.md has no end of the values")?;
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

/// The values as a table, from the comments `# -- …` above them.
///
/// # Errors
/// A value has no such comment, neither of its own nor of the mapping around it.
fn table(values: &str) -> anyhow::Result<String> {
    let defaults: Value = serde_saphyr::from_str(values).context("values.yaml is no YAML")?;
    let mut table = String::from("| value | default | |\n|---|---|---|\n");
    let mut described = Vec::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut description: Option<String> = None;
    for line in values.lines() {
        let text = line.trim_start();
        if let Some(first) = text.strip_prefix("# -- ") {
            description = Some(first.to_owned());
        } else if let (Some(next), Some(description)) = (text.strip_prefix("# "), description.as_mut()) {
            let _ = write!(description, " {next}");
        } else if let Some((key, _)) = text.split_once(':') {
            let indent = line.len() - text.len();
            path.retain(|(outer, _)| *outer < indent);
            path.push((indent, key));
            if let Some(description) = description.take() {
                let keys: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
                let default = defaults.pointer(&format!("/{}", keys.join("/"))).context("a comment above no value")?;
                let _ = writeln!(table, "| `{}` | `{default}` | {description} |", keys.join("."));
                described.push(keys.join("/"));
            }
        } else {
            description = None;
        }
    }
    let mut leaves = Vec::new();
    collect_leaves(&defaults, String::new(), &mut leaves);
    for leaf in leaves {
        if !described.iter().any(|path| leaf == *path || leaf.starts_with(&format!("{path}/"))) {
            bail!("values.yaml: {} has no description", leaf.replace('/', "."));
        }
    }
    Ok(table)
}

fn collect_leaves(value: &Value, path: String, leaves: &mut Vec<String>) {
    match value.as_object().filter(|object| !object.is_empty()) {
        Some(object) => object.iter().for_each(|(key, value)| {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}/{key}") };
            collect_leaves(value, inner, leaves);
        }),
        None => leaves.push(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_the_table_of_values_are_fresh() {
        write(derived().unwrap(), true).unwrap();
    }

    #[tokio::test]
    #[ignore = "needs Helm: run `cargo xtask test`"]
    async fn what_kustomize_takes_from_the_chart_is_fresh() {
        write(rendered().await.unwrap(), true).unwrap();
    }

    #[test]
    fn a_value_without_a_description_is_told() {
        let error = table("# -- Outer.\na: {b: 1}\nc:\n  # -- Inner\n  # goes on.\n  d: 2\n  e: 3\n").unwrap_err();
        assert_eq!(error.to_string(), "values.yaml: c.e has no description");
    }

    #[test]
    fn values_become_rows() {
        let table = table("# -- Outer.\na: {b: 1}\nc:\n  # -- Inner\n  # goes on.\n  d: [x]\n").unwrap();
        assert_eq!(
            table,
            "| value | default | |\n|---|---|---|\n| `a` | `{\"b\":1}` | Outer. |\n| `c.d` | `[\"x\"]` | Inner goes on. |\n"
        );
    }
}
