//! Many promotions by webhook at once, some of them to receivers that are dead or hang, by a real controller on a real API server.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Fault, Receiver};
use tokio::net::TcpListener;

use crate::demo::stage::Stage;

const PIPELINES: usize = 200;
const RECEIVERS: usize = 20;
/// The first of the receivers take a connection and never answer, the next ones refuse connections.
const HANGING: usize = 3;
const DEAD: usize = 2;
const PATIENCE: Duration = Duration::from_secs(120);
/// Changes that are made at the same time.
const HANDS: usize = 16;

/// First without sick receivers, so that it shows whether they delay the others.
pub async fn run() -> anyhow::Result<()> {
    round(0, 0).await?;
    round(HANGING, DEAD).await
}

async fn round(hanging_ones: usize, dead_ones: usize) -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let mut healthy = Vec::new();
    let mut hanging = Vec::new();
    let mut urls = Vec::new();
    for index in 0..RECEIVERS {
        if (hanging_ones..hanging_ones + dead_ones).contains(&index) {
            urls.push(format!("https://127.0.0.1:{}/", testbed::ports::free()?));
            continue;
        }
        let receiver = Receiver::start(&stage.bed.ca).await?;
        urls.push(receiver.url().to_string());
        if index < hanging_ones {
            receiver.always(Fault::Delay(Duration::from_secs(3600)));
            hanging.push(receiver);
        } else {
            healthy.push(receiver);
        }
    }
    // Connected, and not even TLS.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    if hanging_ones > 0 {
        urls.first_mut().context("no receiver")?.replace_range(.., &format!("https://{}/", silent.local_addr()?));
    }

    stage.headline(&format!(
        "{PIPELINES} promotions to {RECEIVERS} receivers, {hanging_ones} of them hanging and {dead_ones} dead"
    ));
    each(async |index| make(&stage, index, urls.get(index % RECEIVERS).map_or("", String::as_str)).await).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = memory(stage.pid())?;
    stage.say(&format!("the pipelines are at 6.0.0; the controller has {before} MiB"));

    let started = Instant::now();
    let changed = each(async |index| {
        stage.bed.control_plane.set_helm_release_ready("dev", &name(index), "6.1.0").await?;
        Ok((name(index), now()))
    });
    let changed: BTreeMap<String, Timestamp> = changed.await?.into_iter().collect();
    stage.say(&format!("all applications were ready at 6.1.0 after {:.1?}", started.elapsed()));
    let expected = PIPELINES / RECEIVERS * healthy.len();
    let mut peak = before;
    let arrived = || healthy.iter().map(|receiver| receiver.received().len()).sum::<usize>();
    while arrived() < expected {
        ensure!(started.elapsed() < PATIENCE, "only {} of {expected} events arrived", arrived());
        peak = peak.max(memory(stage.pid())?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let mut latencies = Vec::new();
    for event in healthy.iter().flat_map(Receiver::received) {
        let body: Value = serde_json::from_slice(&event.body)?;
        let ready = body.pointer("/metadata/pipeline").and_then(Value::as_str).and_then(|name| changed.get(name));
        let latency = event.time.duration_since(*ready.context("an event of no pipeline")?);
        latencies.push(Duration::try_from(latency).unwrap_or_default());
    }
    latencies.sort();
    let last = latencies.len().saturating_sub(1);
    stage.say(&format!(
        "{} events at {} healthy receivers, each since its application was ready:",
        last + 1,
        healthy.len()
    ));
    for percent in [0, 50, 90, 99, 100] {
        stage.show(&format!(
            "{percent:>3} %  {:>8.0?}",
            latencies.get(last * percent / 100).copied().unwrap_or_default()
        ));
    }
    stage.say(&format!("the controller has {} MiB, and had {peak} MiB at most", memory(stage.pid())?));
    Ok(())
}

/// Application and pipeline, both of one name.
async fn make(stage: &Stage, index: usize, url: &str) -> anyhow::Result<()> {
    let (cluster, name) = (&stage.bed.control_plane, name(index));
    for namespace in ["dev", "prod"] {
        let release = json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": name, "namespace": namespace}, "spec": {},
        });
        cluster.apply(&release.to_string()).await?;
        cluster.set_helm_release_ready(namespace, &name, "6.0.0").await?;
    }
    let pipeline = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": name},
            "environments": [
                {"name": "dev", "targets": [{"namespace": "dev"}]},
                {"name": "prod", "targets": [{"namespace": "prod"}]},
            ],
            "promotion": {"webhook": {"url": url}},
        },
    });
    cluster.apply(&pipeline.to_string()).await?;
    Ok(())
}

async fn each<T>(work: impl AsyncFn(usize) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
    stream::iter((0..PIPELINES).map(|index| work(index))).buffer_unordered(HANDS).try_collect().await
}

fn name(index: usize) -> String {
    format!("app-{index}")
}

#[expect(clippy::disallowed_methods, reason = "what is measured is time")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// What a process has in memory, in MiB. <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
fn memory(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024)
}
