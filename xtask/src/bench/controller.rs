//! The controller with many Pipelines on a real API server: how long the first pass takes, what it costs to be idle, and
//! how soon a webhook follows an application that became ready.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use pipeline_api::Pipeline;
use serde_json::{Value, json};
use testbed::{Process, Receiver, Testbed};

use super::Times;
use crate::root;

/// Changes that are made at the same time.
const HANDS: usize = 48;
const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];
const PAGE: u32 = 500;
const SCRAPES: usize = 21;
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

#[derive(clap::Args)]
pub struct Args {
    /// Numbers of Pipelines, one round each
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    pipelines: Vec<usize>,
    /// How long being idle is measured
    #[arg(long, default_value_t = 30)]
    idle_seconds: u64,
    /// Promotions whose way is timed
    #[arg(long, default_value_t = 50)]
    promotions: usize,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    let program = build()?;
    for pipelines in &args.pipelines {
        round(&program, *pipelines, args).await?;
    }
    Ok(())
}

async fn round(program: &Path, pipelines: usize, args: &Args) -> anyhow::Result<()> {
    println!("\n{pipelines} Pipelines with {} targets each", ENVIRONMENTS.len());
    let bed = Testbed::start().await?;
    let receiver = Receiver::start(&bed.ca).await?;
    let stage = Stage { client: bed.control_plane.client().await?, receiver };
    define(&bed).await?;
    let started = Instant::now();
    stage.make(pipelines).await?;
    println!("  made in {:.1?}", started.elapsed());

    let folder = tempfile::tempdir()?;
    let metrics = format!("127.0.0.1:{}", testbed::ports::free()?);
    let (controller, first_pass) = stage.first_pass(program, &bed, folder.path(), pipelines, &metrics).await?;
    println!("  first pass: {first_pass:.2?}");

    // What was allocated for the first pass is given back within a moment.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let versions = stage.versions().await?;
    let (cpu, began) = (processor_time(controller.pid())?, Instant::now());
    tokio::time::sleep(Duration::from_secs(args.idle_seconds)).await;
    let busy = (processor_time(controller.pid())? - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let written = stage.versions().await?.iter().filter(|(name, version)| versions.get(*name) != Some(version)).count();
    println!(
        "  idle for {} s: {} MB resident, {:.2} % of one processor, {written} statuses written",
        args.idle_seconds,
        resident(controller.pid())? / 1_000_000,
        busy * 100.0
    );
    println!("  {}", scrape(&metrics).await?);

    let mut times = Vec::new();
    for n in 0..args.promotions.min(pipelines) {
        let name = name(n * (pipelines / args.promotions.min(pipelines)));
        let before = stage.receiver.received().len();
        let ready = Instant::now();
        stage.is_at("dev", &name, "6.1.0").await?;
        while stage.receiver.received().len() == before {
            ensure!(ready.elapsed() < PATIENCE, "no event of {name} came\n{}", controller.log_tail());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(ready.elapsed());
    }
    println!("  from ready in dev to the webhook, {} promotions: {}", times.len(), Times::from(times));
    println!(
        "  then {} MB resident, at most {} MB",
        resident(controller.pid())? / 1_000_000,
        peak(controller.pid())? / 1_000_000
    );
    Ok(())
}

pub(super) struct Stage {
    pub(super) client: Client,
    pub(super) receiver: Receiver,
}

impl Stage {
    /// Applications that are ready at 6.0.0 everywhere, and their Pipelines.
    pub(super) async fn make(&self, pipelines: usize) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in ENVIRONMENTS {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            namespaces.patch(name, &PatchParams::apply("bench"), &Patch::Apply(namespace)).await?;
        }
        let made = stream::iter((0..pipelines).map(async |n| {
            let name = name(n);
            for namespace in ENVIRONMENTS {
                let release = json!({
                    "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
                    "metadata": {"name": name, "namespace": namespace}, "spec": {},
                });
                let api = self.releases(namespace);
                api.patch(&name, &PatchParams::apply("bench"), &Patch::Apply(release)).await?;
                self.is_at(namespace, &name, "6.0.0").await?;
            }
            let pipeline = json!({
                "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": name},
                    "environments": ENVIRONMENTS.map(|name| json!({"name": name, "targets": [{"namespace": name}]})),
                    "promotion": {"webhook": {"url": self.receiver.url()}},
                },
            });
            let api: Api<Pipeline> = Api::namespaced(self.client.clone(), "default");
            api.patch(&name, &PatchParams::apply("bench"), &Patch::Apply(pipeline)).await?;
            anyhow::Ok(())
        }));
        made.buffer_unordered(HANDS).try_collect().await
    }

    fn releases(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = ApiResource {
            group: "helm.toolkit.fluxcd.io".to_owned(),
            version: "v2".to_owned(),
            api_version: "helm.toolkit.fluxcd.io/v2".to_owned(),
            kind: "HelmRelease".to_owned(),
            plural: "helmreleases".to_owned(),
        };
        Api::namespaced_with(self.client.clone(), namespace, &kind)
    }

    /// As helm-controller writes it.
    async fn is_at(&self, namespace: &str, name: &str, version: &str) -> anyhow::Result<()> {
        let status = json!({"status": {
            "observedGeneration": 1,
            "lastAttemptedRevision": version,
            "history": [{"version": 1, "status": "deployed", "chartVersion": version, "chartName": name, "name": name, "namespace": namespace}],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "InstallSucceeded", "message": "Helm install succeeded",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
            }],
        }});
        self.releases(namespace).patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    /// Starts the controller; the time until every Pipeline has been told how it is.
    async fn first_pass(
        &self,
        program: &Path,
        bed: &Testbed,
        folder: &Path,
        pipelines: usize,
        metrics: &str,
    ) -> anyhow::Result<(Process, Duration)> {
        let mut command = command(program, bed, &folder.join("cache"), testbed::ports::free()?)?;
        command.args(["--metrics-bind-address", metrics]);
        let started = Instant::now();
        let mut controller = Process::start(&command, &folder.join("controller.log"))?;
        let first_pass = self.seen(&mut [&mut controller], pipelines, started).await?;
        Ok((controller, first_pass))
    }

    /// The time since `started` until every Pipeline has been told how it is.
    pub(super) async fn seen(
        &self,
        controllers: &mut [&mut Process],
        pipelines: usize,
        started: Instant,
    ) -> anyhow::Result<Duration> {
        loop {
            for controller in controllers.iter_mut() {
                ensure!(controller.exit_code()?.is_none(), "a controller ended:\n{}", controller.log_tail());
                ensure!(started.elapsed() < PATIENCE, "not all Pipelines were seen:\n{}", controller.log_tail());
            }
            // Each look costs the API server something, which the pass is not to wait for.
            tokio::time::sleep(Duration::from_millis(if pipelines > 1000 { 1000 } else { 100 })).await;
            let seen =
                self.list().await?.iter().filter(|pipeline| pipeline.pointer("/status/conditions").is_some()).count();
            if seen == pipelines {
                return Ok(started.elapsed());
            }
        }
    }

    /// Takes all statuses away, as if no controller had been there.
    pub(super) async fn forget(&self, pipelines: usize) -> anyhow::Result<()> {
        let api: Api<Pipeline> = Api::namespaced(self.client.clone(), "default");
        let nothing = Patch::Merge(json!({"status": null}));
        let parameters = PatchParams::default();
        let forgotten = stream::iter((0..pipelines).map(async |n| {
            api.patch_status(&name(n), &parameters, &nothing).await?;
            anyhow::Ok(())
        }));
        forgotten.buffer_unordered(HANDS).try_collect().await
    }

    async fn versions(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let text = |pipeline: &Value, pointer: &str| {
            pipeline.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let all = self.list().await?;
        Ok(all.iter().map(|one| (text(one, "/metadata/name"), text(one, "/metadata/resourceVersion"))).collect())
    }

    async fn list(&self) -> anyhow::Result<Vec<Value>> {
        let api: Api<Pipeline> = Api::namespaced(self.client.clone(), "default");
        let mut all = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = api.list(&page).await?;
            let values = list.items.iter().map(serde_json::to_value);
            all.extend(values.collect::<Result<Vec<_>, _>>()?);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(all),
            }
        }
    }
}

/// What a scrape costs whoever waits for it: the median of some.
async fn scrape(address: &str) -> anyhow::Result<String> {
    let policy = egress::Policy {
        guard: egress::Guard { allow: vec!["127.0.0.0/8".parse()?], ..egress::Guard::default() },
        allow_http: true,
        ..egress::Policy::default()
    };
    let client = egress::Egress::new(policy)?.client(&egress::Identity::default())?;
    let (mut times, mut text) = (Vec::new(), String::new());
    for _ in 0..SCRAPES {
        let request = http::Request::get(format!("http://{address}/metrics")).body(bytes::Bytes::new())?;
        let began = Instant::now();
        let answer = client.send(request).await?;
        times.push(began.elapsed());
        text = String::from_utf8(answer.into_body().into())?;
    }
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    Ok(format!("scrape: {}, {} bytes, {series} series", Times::from(times), text.len()))
}

fn name(n: usize) -> String {
    format!("app-{n}")
}

/// Defines Pipelines.
pub(super) async fn define(bed: &Testbed) -> anyhow::Result<()> {
    let definition = fs::read_to_string(root().join("deploy/crds/pipelines.weave.works.yaml"))?;
    bed.control_plane.apply(&definition).await.map(drop)
}

/// A controller of all Pipelines, with its probes on the port `health`.
pub(super) fn command(program: &Path, bed: &Testbed, cache: &Path, health: u16) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(&bed.control_plane.kubeconfig);
    command.arg("--ca-file").arg(bed.ca.certificate_path()).arg("--cache-dir").arg(cache);
    command.args(["--health-probe-bind-address", &format!("127.0.0.1:{health}")]);
    command.args(["--promotion-hook-bind-address", &format!("127.0.0.1:{}", testbed::ports::free()?)]);
    command.args(["--egress-allow", "127.0.0.0/8", "--metrics-bind-address", "0"]);
    Ok(command)
}

pub(super) fn build() -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "--bin", "pipeline-controller"]).current_dir(root());
    ensure!(cargo.status()?.success(), "cannot build the controller");
    let folder = std::env::current_exe()?.parent().context("xtask stands in no folder")?.to_owned();
    Ok(folder.join("pipeline-controller"))
}

/// User and system time of a process so far, in hundredths of seconds.
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
pub(super) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<u64> = after_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}

pub(super) fn resident(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmRSS:")
}

pub(super) fn peak(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmHWM:")
}

/// In bytes. <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
fn memory(pid: u32, line: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|text| text.strip_prefix(line)).with_context(|| format!("no {line}"))?;
    let kib: u64 = found.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
