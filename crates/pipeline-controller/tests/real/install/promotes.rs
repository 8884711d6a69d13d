//! The controller under exactly the service account, rights and flags that Helm installs.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use pipeline_api::Phase;
use serde_json::{Value, json};
use testbed::{Helm, Process};

use super::chart;
use crate::world::{PATIENCE, World};

/// A release in the namespace of the world's Pipeline.
struct Installed {
    helm: Helm,
    release: String,
    deployment: Deployment,
}

impl Installed {
    async fn new(world: &World, mut values: Value) -> Result<Self> {
        for (name, value) in [
            ("watchNamespace", json!(world.namespace)),
            ("caBundle", json!({"configMap": "ca"})),
            ("egress", json!({"allow": ["127.0.0.0/8"]})),
            ("log", json!({"level": "trace", "encoding": "console"})),
            ("extraArgs", json!(["--pull-request-interval=1s", "--promotion-retry-delay=1s"])),
        ] {
            values[name] = value;
        }
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("values.yaml");
        std::fs::write(&file, values.to_string())?;
        let (helm, release) = (Helm::find().await?, format!("r{}", testbed::unique()));
        let (chart, file) = (chart(), file.to_string_lossy());
        // Other tests have defined Pipelines before, as another controller's chart may have.
        let arguments = ["install", &release, &chart.to_string_lossy(), "--take-ownership", "--values", &file];
        let namespace = ["--namespace", &world.namespace];
        helm.run(&[arguments.as_slice(), &namespace].concat(), Some(world.cluster)).await?;
        let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &world.namespace);
        let deployment = deployments.get(&format!("{release}-pipeline-controller")).await?;
        Ok(Self { helm, release, deployment })
    }

    async fn uninstall(self, world: &World) -> Result<()> {
        let arguments = ["uninstall", &self.release, "--namespace", &world.namespace];
        self.helm.run(&arguments, Some(world.cluster)).await.map(drop)
    }

    /// Runs what the Deployment says; only the addresses and the paths of volumes are those of this machine.
    async fn run(&self, world: &World) -> Result<(Process, tempfile::TempDir)> {
        testbed::ports::retry_in_use(async || {
            let folder = tempfile::tempdir()?;
            let pod = self.deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).context("no Pod")?;
            let container = pod.containers.first().context("no container")?;
            let account = pod.service_account_name.as_deref().context("no service account")?;
            world.cluster.service_account(&world.namespace, account, &world.kubeconfig).await?;

            let health = testbed::ports::free()?;
            let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline-controller"));
            for arg in container.args.iter().flatten() {
                let (flag, value) = arg.trim_start_matches("--").split_once('=').unwrap_or((arg, ""));
                let here = match flag {
                    "health-probe-bind-address" => Some(format!("127.0.0.1:{health}")),
                    "metrics-bind-address" | "promotion-hook-bind-address" => {
                        Some(format!("127.0.0.1:{}", testbed::ports::free()?))
                    }
                    "ca-file" if value.ends_with("/ca/ca.crt") => {
                        Some(world.bed.ca.certificate_path().display().to_string())
                    }
                    "cache-dir" => Some(folder.path().display().to_string()),
                    _ => None,
                };
                command.arg(here.map_or_else(|| arg.clone(), |here| format!("--{flag}={here}")));
            }
            for variable in container.env.iter().flatten() {
                command.env(&variable.name, variable.value.as_deref().unwrap_or(&world.namespace));
            }
            // Nothing but the cache can be written in the image.
            command.env("HOME", "/nonexistent").env("TMPDIR", "/nonexistent");
            command.env("PIPELINE_CONTROLLER_KUBECONFIG", &world.kubeconfig);
            let mut process = Process::start(&command, &folder.path().join("controller.log"))?;
            let probe = format!("http://127.0.0.1:{health}/readyz");
            let is_ready =
                async || world.http.get(&probe).send().await.is_ok_and(|answer| answer.status().is_success());
            process.ready(PATIENCE, is_ready).await?;
            Ok((process, folder))
        })
        .await
    }
}

async fn promotes(world: &World, installed: &Installed) -> Result<()> {
    let (process, _folder) = installed.run(world).await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(hosts.promotion("acme/fleet")).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await.with_context(|| process.log().unwrap_or_default())?;
    // Told once the status is written.
    let deadline = Instant::now() + PATIENCE;
    while !world.events().await?.contains(&"PullRequestOpened".to_owned()) {
        ensure!(Instant::now() < deadline, "no Event tells of the pull request:\n{}", process.log()?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = process.log()?;
    assert!(!log.to_lowercase().contains("forbidden"), "a right is missing:\n{log}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_chart_as_installed_promotes() -> Result<()> {
    let world = World::without_controller().await?;
    let installed = Installed::new(&world, json!({})).await?;
    promotes(&world, &installed).await?;

    installed.uninstall(&world).await?;
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &world.namespace);
    assert!(deployments.list(&Default::default()).await?.items.is_empty());
    // And with it the Pipelines.
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    definitions.get("pipelines.pipelines.weave.works").await?;
    world.status().await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_chart_promotes_without_a_right_beyond_its_namespaces() -> Result<()> {
    let world = World::without_controller().await?;
    let rbac = json!({"scope": "namespaces", "namespaces": [world.dev, world.prod], "aggregateToView": false});
    let installed = Installed::new(&world, json!({"rbac": rbac, "crds": {"install": false}})).await?;
    promotes(&world, &installed).await?;
    installed.uninstall(&world).await
}
