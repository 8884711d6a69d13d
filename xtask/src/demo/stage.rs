//! The servers, the controller and the words of the demo.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use pipeline_api::{Phase, Pipeline, PromotionStatus};
use serde_json::json;
use testbed::{Process, Receiver, Testbed};

use super::PATIENCE;
use crate::root;

pub struct Stage {
    pub bed: Testbed,
    pub client: Client,
    pub receiver: Receiver,
    controller: Process,
    log: PathBuf,
    _folder: tempfile::TempDir,
    started: Instant,
}

impl Stage {
    /// Starts everything and tells so.
    pub async fn set() -> anyhow::Result<Self> {
        let program = build()?;
        let started = Instant::now();
        say(started, "starting etcd, kube-apiserver and Gitea");
        let bed = Testbed::start().await?;
        let client = bed.control_plane.client().await?;
        say(started, &format!("control plane at {}, Gitea at {}", bed.control_plane.url, bed.gitea.url));
        let definition = fs::read_to_string(root().join("deploy/crds/pipelines.weave.works.yaml"))?;
        bed.control_plane.apply(&definition).await?;
        for namespace in ["dev", "prod"] {
            bed.control_plane
                .apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"))
                .await?;
        }
        say(started, "applied deploy/crds/pipelines.weave.works.yaml, made namespaces dev and prod");
        let receiver = Receiver::start(&bed.ca).await?;

        let folder = tempfile::tempdir()?;
        let log = folder.path().join("controller.log");
        let port = testbed::ports::free()?;
        let mut command = Command::new(&program);
        command
            .arg("--kubeconfig")
            .arg(&bed.control_plane.kubeconfig)
            .arg("--ca-file")
            .arg(bed.ca.certificate_path())
            .arg("--cache-dir")
            .arg(folder.path().join("cache"))
            .args(["--health-probe-bind-address", &format!("127.0.0.1:{port}"), "--metrics-bind-address", "0"])
            .args(["--promotion-hook-bind-address", &format!("127.0.0.1:{}", testbed::ports::free()?)])
            .args(["--egress-allow", "127.0.0.0/8", "--pull-request-interval", "1s", "--log-encoding", "console"]);
        let mut controller = Process::start(&command, &log)?;
        let probe = format!("http://127.0.0.1:{port}/readyz");
        let http = bed.ca.http_client()?;
        controller
            .ready(PATIENCE, async || http.get(&probe).send().await.is_ok_and(|answer| answer.status().is_success()))
            .await?;
        say(started, &format!("controller is ready (process {})", controller.pid()));
        Ok(Self { bed, client, receiver, controller, log, _folder: folder, started })
    }

    /// The controller's process.
    pub fn pid(&self) -> u32 {
        self.controller.pid()
    }

    pub fn say(&self, words: &str) {
        say(self.started, words);
    }

    /// Prints `text`, indented, below what was said last.
    pub fn show(&self, text: &str) {
        for line in text.lines() {
            println!("           {line}");
        }
    }

    pub fn headline(&self, words: &str) {
        println!("\n{words}\n{}", "-".repeat(words.len()));
    }

    /// An example with other addresses in the place of its own, applied.
    pub async fn apply_example(&self, path: &str, replacements: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut yaml = fs::read_to_string(root().join(path)).with_context(|| path.to_owned())?;
        for (from, to) in replacements {
            ensure!(yaml.contains(from), "{path} does not name {from}");
            yaml = yaml.replace(from, to);
        }
        self.bed.control_plane.apply(&yaml).await?;
        self.say(&format!("applied {path}"));
        Ok(())
    }

    pub async fn secret(&self, name: &str, values: serde_json::Value) -> anyhow::Result<()> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), "default");
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values});
        api.patch(name, &PatchParams::apply("demo").force(), &Patch::Apply(secret)).await?;
        Ok(())
    }

    /// The promotion of `pipeline` to prod, once it is in one of `phases`.
    pub async fn promotion(&self, pipeline: &str, phases: &[Phase]) -> anyhow::Result<PromotionStatus> {
        let api: Api<Pipeline> = Api::namespaced(self.client.clone(), "default");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = api.get(pipeline).await?.status.unwrap_or_default();
            let promotion = status.environments.get("prod").and_then(|environment| environment.promotion.clone());
            match promotion {
                Some(promotion) if phases.contains(&promotion.phase) => return Ok(promotion),
                promotion if Instant::now() > deadline => {
                    let conditions: Vec<_> =
                        status.conditions.iter().map(|c| format!("{}: {}", c.type_, c.message)).collect();
                    bail!(
                        "pipeline {pipeline} did not get to {phases:?} within {} s: {promotion:?}; {}\n{}",
                        PATIENCE.as_secs(),
                        conditions.join("; "),
                        self.controller.log_tail(),
                    );
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// How to reach what is left running.
    pub fn explain(&self) {
        let bed = &self.bed;
        println!(
            "\nEverything is left running until Ctrl-C.\n\n  \
             export KUBECONFIG={}\n  \
             alias kubectl={}\n  \
             kubectl get pipelines -o wide\n  \
             kubectl get pipeline podinfo -o yaml\n  \
             kubectl describe pipeline podinfo\n  \
             kubectl get events.events.k8s.io\n\n  \
             Gitea:      {} (user {}, password {})\n  \
             controller: tail -f {}\n",
            bed.control_plane.kubeconfig.display(),
            bed.control_plane.kubectl.display(),
            bed.gitea.url,
            bed.gitea.username,
            bed.gitea.password,
            self.log.display(),
        );
    }
}

fn say(started: Instant, words: &str) {
    println!("[{:6.2} s] {words}", started.elapsed().as_secs_f32());
}

/// The controller's program, built from this checkout.
fn build() -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--bin", "pipeline-controller"]).current_dir(root());
    ensure!(cargo.status()?.success(), "cannot build the controller");
    let folder = std::env::current_exe()?.parent().context("xtask stands in no folder")?.to_owned();
    Ok(folder.join("pipeline-controller"))
}
