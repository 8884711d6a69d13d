//! Versions, image, flags and ports are said in several places, and are the same.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use pipeline_controller::args::Args;
use serde_json::Value;

use super::{find, objects, read, render_set, strings};

/// What the chart has no use for: a Pod reaches its API server as its service account.
const NOT_FOR_PODS: [&str; 3] = ["help", "kubeconfig", "version"];

fn values() -> Result<Value> {
    Ok(serde_saphyr::from_str(&read("helm/pipeline-controller/values.yaml")?)?)
}

/// The names of the flags in the chart's Deployment.
fn chart_flags() -> Result<BTreeSet<String>> {
    let template = read("helm/pipeline-controller/templates/deployment.yaml")?;
    let flags = template.lines().filter_map(|line| line.trim().strip_prefix("- --"));
    Ok(flags.map(|flag| flag.split('=').next().unwrap_or(flag).to_owned()).collect())
}

fn default_of(flag: &str) -> Option<String> {
    let command = Args::command();
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(flag))?;
    arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned())
}

#[test]
fn every_flag_of_the_chart_is_one_of_the_binary() -> Result<()> {
    let command = Args::command();
    let known: BTreeSet<&str> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
    for flag in chart_flags()? {
        assert!(known.contains(flag.as_str()), "--{flag}");
    }
    Ok(())
}

/// `extraArgs` takes each flag that has no value of its own, and no other.
#[test]
fn the_schema_knows_every_other_flag() -> Result<()> {
    let schema: Value = serde_json::from_str(&read("helm/pipeline-controller/values.schema.json")?)?;
    let pattern =
        schema.pointer("/properties/extraArgs/items/pattern").and_then(Value::as_str).context("no pattern")?;
    let (mut valued, mut switches) = (Vec::new(), Vec::new());
    let command = Args::command();
    let of_the_chart = chart_flags()?;
    for arg in command.get_arguments() {
        let Some(flag) = arg.get_long() else { continue };
        if of_the_chart.contains(flag) || NOT_FOR_PODS.contains(&flag) || arg.is_hide_set() {
            continue;
        }
        let is_switch = arg.get_num_args().is_some_and(|values| values.min_values() == 0);
        if is_switch { switches.push(flag) } else { valued.push(flag) }
    }
    valued.sort_unstable();
    switches.sort_unstable();
    assert_eq!(pattern, format!("^--(({})=.+|({})(=(true|false))?)$", valued.join("|"), switches.join("|")));
    Ok(())
}

#[test]
fn the_charts_defaults_are_the_flags() -> Result<()> {
    let values = values()?;
    for (value, flag) in [
        ("/concurrent", "concurrent"),
        ("/promotion/rateLimit", "promotion-hook-rate-limit"),
        ("/promotion/rateLimitInterval", "promotion-hook-rate-limit-interval"),
        ("/log/level", "log-level"),
        ("/log/encoding", "log-encoding"),
        ("/leaderElection/leaseDuration", "leader-election-lease-duration"),
        ("/leaderElection/renewDeadline", "leader-election-renew-deadline"),
        ("/leaderElection/retryPeriod", "leader-election-retry-period"),
    ] {
        let default = default_of(flag).with_context(|| format!("--{flag} has no default"))?;
        let value = values.pointer(value).with_context(|| value.to_owned())?;
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(value, default, "--{flag}");
    }
    assert_eq!(default_of("metrics-bind-address"), Some(format!(":{}", values["metrics"]["port"])));
    Ok(())
}

#[test]
fn the_volume_has_room_for_the_cache() -> Result<()> {
    let cache = &values()?["cache"];
    let limit = cache["sizeLimit"].as_str().and_then(|limit| limit.strip_suffix("Gi")).context("not in Gi")?;
    assert!(limit.parse::<u64>()? << 30 > cache["maxBytes"].as_u64().context("no number")?);
    Ok(())
}

#[test]
fn versions_and_the_image_are_the_same_everywhere() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let about: Value = serde_saphyr::from_str(&read("helm/pipeline-controller/Chart.yaml")?)?;
    assert_eq!((about["version"].as_str(), about["appVersion"].as_str()), (Some(version), Some(version)));
    let values = values()?;
    let image = values["image"]["repository"].as_str().context("no image")?;
    let mut controllers = 0;
    for path in ["base", "overlays/namespaced"] {
        for object in objects(&read(&format!("kustomize/{path}/pipeline-controller.yaml"))?)? {
            if let Some(container) = object.pointer("/spec/template/spec/containers/0") {
                assert_eq!(container["image"], format!("{image}:{version}"));
                controllers += 1;
            }
        }
    }
    assert_eq!(controllers, 2);
    assert_eq!(values["image"]["tag"], "", "the tag is the chart's appVersion");
    let guide = read("../docs/install.md")?;
    for line in guide.lines().filter(|line| line.contains("version:") || line.contains("--version")) {
        let told = line.split(['"', ' ']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        assert!(told.is_none_or(|told| told == version), "docs/install.md: {line}");
    }
    assert!(
        guide.contains(&format!("{image}:{version}")),
        "docs/install.md names another image than {image}:{version}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs Helm: run `cargo xtask test`"]
async fn ports_and_paths_of_the_flags_are_those_of_the_pod() -> Result<()> {
    let objects = render_set("full").await?;
    let pod = &find(&objects, "Deployment", "pipelines")?["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let args = strings(&container["args"]);
    let flag =
        |name: &str| args.iter().find_map(|arg| arg.strip_prefix(&format!("--{name}="))).context(name.to_owned());
    for (name, port) in [
        ("metrics-bind-address", "metrics"),
        ("health-probe-bind-address", "health"),
        ("promotion-hook-bind-address", "promotion"),
    ] {
        let ports = container["ports"].as_array().context("no ports")?;
        let port = ports.iter().find(|found| found["name"] == port).context("no such port")?;
        assert_eq!(flag(name)?, format!(":{}", port["containerPort"]), "--{name}");
        assert_eq!(Some(flag(name)?), default_of(name).as_deref(), "--{name}");
    }
    for (name, volume) in [("cache-dir", "cache"), ("ca-file", "ca")] {
        let mounts = container["volumeMounts"].as_array().context("no mounts")?;
        let mount = mounts.iter().find(|mount| mount["name"] == volume).context("no such mount")?;
        let path = mount["mountPath"].as_str().context("no path")?;
        assert!(flag(name)?.starts_with(path), "--{name} is not on {path}");
        let volumes = pod["volumes"].as_array().context("no volumes")?;
        assert!(volumes.iter().any(|found| found["name"] == volume), "{volume} is no volume");
    }
    Ok(())
}
