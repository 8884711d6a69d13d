//! A controller of its own for each test, in a namespace of its own, on the servers that all tests share.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use pipeline_api::conditions::{ConditionType, condition};
use pipeline_api::{Phase, Pipeline, PipelineStatus, PromotionStatus};
use serde_json::json;
use testbed::git_server::TOKEN;
use testbed::{ControlPlane, Forge, GitHub, GitServer, Process, RepoHandle, Testbed};
use tokio::sync::{Mutex, OnceCell};

/// Longest time that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const DEFINITION: &str = include_str!("../../../../deploy/crds/pipelines.weave.works.yaml");

/// What the controller may do, as it is installed for all namespaces.
pub const RIGHTS: &str = concat!(
    "{apiVersion: v1, kind: Namespace, metadata: {name: flux-system}}\n---\n",
    include_str!("../../../../deploy/rbac/roles.yaml"),
    "---\n",
    include_str!("../../../../deploy/rbac/cluster.yaml"),
);

/// A pipeline's surroundings: the namespace it lives in, one namespace for each environment, and a controller.
pub struct World {
    pub bed: &'static Testbed,
    pub cluster: &'static ControlPlane,
    /// How the controller reaches the cluster: as its service account, with the rights that it is installed with.
    pub kubeconfig: PathBuf,
    pub client: Client,
    pub namespace: String,
    pub dev: String,
    pub prod: String,
    controller: Option<Process>,
    /// The port that takes what others tell the controller.
    pub hooks: u16,
    folder: tempfile::TempDir,
    pub http: reqwest::Client,
}

impl World {
    /// Everything but the controller.
    pub async fn without_controller() -> Result<Self> {
        static DEFINED: OnceCell<()> = OnceCell::const_new();
        let bed = testbed::shared().await?;
        DEFINED.get_or_try_init(|| async { bed.control_plane.apply(DEFINITION).await.map(drop) }).await?;
        Self::on(bed, &bed.control_plane).await
    }

    /// Everything but the controller, on a cluster on which Pipelines are defined somehow.
    pub async fn on(bed: &'static Testbed, cluster: &'static ControlPlane) -> Result<Self> {
        grant(cluster).await?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        cluster.service_account("flux-system", "pipeline-controller", &kubeconfig).await?;
        Ok(Self {
            bed,
            cluster,
            kubeconfig,
            client: cluster.client().await?,
            namespace: cluster.namespace("apps").await?,
            dev: cluster.namespace("dev").await?,
            prod: cluster.namespace("prod").await?,
            controller: None,
            hooks: 0,
            folder,
            http: bed.ca.http_client()?,
        })
    }

    /// With a controller that is ready and looks at open pull requests each second.
    pub async fn new() -> Result<Self> {
        let mut world = Self::without_controller().await?;
        world.start(&[]).await?;
        Ok(world)
    }

    /// Starts the controller with these further flags.
    pub async fn start(&mut self, flags: &[&str]) -> Result<()> {
        let (process, hooks) = self.spawn("controller", flags).await?;
        (self.controller, self.hooks) = (Some(process), hooks);
        Ok(())
    }

    /// Starts a controller that nobody keeps; what it remembers stands under its `name`.
    pub async fn spawn(&self, name: &str, flags: &[&str]) -> Result<(Process, u16)> {
        testbed::ports::retry_in_use(async || self.spawn_once(name, flags).await).await
    }

    async fn spawn_once(&self, name: &str, flags: &[&str]) -> Result<(Process, u16)> {
        let (port, hooks) = (testbed::ports::free()?, testbed::ports::free()?);
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline-controller"));
        command
            .args(["--namespace", &self.namespace])
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--ca-file")
            .arg(self.bed.ca.certificate_path())
            .arg("--cache-dir")
            .arg(self.folder.path().join(name))
            .args(["--egress-allow", "127.0.0.0/8"])
            .args(["--promotion-hook-bind-address", &format!("127.0.0.1:{hooks}")])
            .args(["--health-probe-bind-address", &format!("127.0.0.1:{port}"), "--metrics-bind-address", "0"])
            .args([
                "--pull-request-interval",
                "1s",
                "--promotion-retry-delay",
                "1s",
                "--promotion-retry-max-delay",
                "8s",
            ])
            .args(["--log-level", "trace", "--log-encoding", "console"])
            .args(flags);
        let mut process = Process::start(&command, &self.folder.path().join(format!("{name}.log")))?;
        let probe = format!("http://127.0.0.1:{port}/readyz");
        let is_ready = async || self.http.get(&probe).send().await.is_ok_and(|answer| answer.status().is_success());
        process.ready(PATIENCE, is_ready).await?;
        Ok((process, hooks))
    }

    /// Kills the controller at once, as a node that dies would.
    pub async fn kill(&mut self) -> Result<()> {
        let mut controller = self.controller.take().context("no controller runs")?;
        controller.signal("KILL")?;
        controller.wait(PATIENCE).await?;
        Ok(())
    }

    /// The exit code of a controller that ends by itself.
    pub async fn ended(&mut self) -> Result<i32> {
        self.controller.take().context("no controller runs")?.wait(PATIENCE).await
    }

    /// Sends the controller a signal by its name: `STOP`, `CONT`.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        self.controller.as_mut().context("no controller runs")?.signal(signal)
    }

    pub fn log(&self) -> String {
        self.controller.as_ref().and_then(|controller| controller.log().ok()).unwrap_or_default()
    }

    /// A HelmRelease podinfo, ready at `version`, in both environments.
    pub async fn helm_releases(&self, version: &str) -> Result<()> {
        for namespace in [&self.dev, &self.prod] {
            self.cluster
                .apply(&format!(
                    "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: podinfo, namespace: {namespace}}}\nspec: {{}}\n"
                ))
                .await?;
            self.cluster.set_helm_release_ready(namespace, "podinfo", version).await?;
        }
        Ok(())
    }

    pub async fn dev_is_at(&self, version: &str) -> Result<()> {
        self.cluster.set_helm_release_ready(&self.dev, "podinfo", version).await
    }

    pub async fn prod_is_at(&self, version: &str) -> Result<()> {
        self.cluster.set_helm_release_ready(&self.prod, "podinfo", version).await
    }

    /// Pipeline podinfo over dev and prod, with this `promotion`.
    pub async fn pipeline(&self, promotion: serde_json::Value) -> Result<()> {
        self.apply(json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "podinfo", "namespace": self.namespace},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": [
                    {"name": "dev", "targets": [{"namespace": self.dev}]},
                    {"name": "prod", "targets": [{"namespace": self.prod}]},
                ],
                "promotion": promotion,
            },
        }))
        .await
    }

    pub async fn apply(&self, object: serde_json::Value) -> Result<()> {
        self.cluster.apply(&serde_json::to_string(&object)?).await.map(drop)
    }

    pub async fn secret(&self, name: &str, values: serde_json::Value) -> Result<()> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values});
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(secret)).await?;
        Ok(())
    }

    /// The manifests of an application as a team has them: comments, quotes and spaces of its own, and a marker in prod.
    pub fn manifests(&self, version: &str) -> Vec<(&'static str, String)> {
        let marker = format!(r#"{{"$promotion": "{}:podinfo:prod"}}"#, self.namespace);
        vec![
            ("README.md", format!("The marker is # {marker}\n")),
            (
                "apps/dev/podinfo.yaml",
                "kind: HelmRelease\nspec:\n  chart: {spec: {chart: podinfo, version: '>=6'}}\n".to_owned(),
            ),
            (
                "apps/prod/podinfo.yaml",
                format!(
                    "# prod of podinfo\nkind:   HelmRelease\nspec:\n  chart:\n    spec:\n      version:   '{version}'   # {marker}\n\
                     \n\n  values: {{ a:   1 }}  # as it is\n"
                ),
            ),
            ("apps/prod/other.yaml", "version: 1 # {\"$promotion\": \"other:app:prod\"}\n".to_owned()),
        ]
    }

    /// A GitHub with the repository `acme/fleet`, which holds the application's manifests at `version`, and the Secret for it.
    pub async fn github(&self, version: &str) -> Result<Hosts> {
        let git = GitServer::start(&self.bed.ca).await?;
        let github = GitHub::start(&self.bed.ca, &git).await?;
        let files = self.manifests(version);
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
        let repo = git.create_repo("acme/fleet", &files).await?;
        self.secret("fleet", json!({"token": TOKEN})).await?;
        Ok(Hosts { git, github, repo })
    }

    /// As [`World::github`], on another kind of host.
    pub async fn forge(&self, kind: testbed::forge::Kind, version: &str) -> Result<(Forge, RepoHandle, GitServer)> {
        let git = GitServer::start(&self.bed.ca).await?;
        let forge = Forge::start(kind, &self.bed.ca, &git).await?;
        let files = self.manifests(version);
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
        let repo = git.create_repo("acme/fleet", &files).await?;
        self.secret("fleet", json!({"token": TOKEN})).await?;
        Ok((forge, repo, git))
    }

    pub async fn status(&self) -> Result<PipelineStatus> {
        let api: Api<Pipeline> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(api.get("podinfo").await?.status.unwrap_or_default())
    }

    /// Takes the pipeline's status away.
    pub async fn forget_status(&self) -> Result<()> {
        let api: Api<Pipeline> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch_status("podinfo", &PatchParams::default(), &Patch::Merge(json!({"status": null}))).await?;
        Ok(())
    }

    /// The pipeline's status once `seen` is true of it.
    pub async fn until(&self, what: &str, seen: impl Fn(&PipelineStatus) -> bool) -> Result<PipelineStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await?;
            if seen(&status) {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "not seen: {what}; status: {}\nlog:\n{}",
                    serde_json::to_string_pretty(&status)?,
                    tail(&self.log())
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The promotion of `revision` to prod once it is in `phase`.
    pub async fn promotion(&self, revision: &str, phase: Phase) -> Result<PromotionStatus> {
        let is_there = |promotion: &PromotionStatus| promotion.revision == revision && promotion.phase == phase;
        let status =
            self.until(&format!("{revision} {phase:?}"), |status| promotion(status).is_some_and(is_there)).await?;
        promotion(&status).cloned().context("no promotion")
    }

    /// The status once Ready is False with a message that holds all of `words`.
    pub async fn until_not_ready(&self, words: &[&str]) -> Result<PipelineStatus> {
        self.until(&format!("Ready=False with {words:?}"), |status| {
            condition(&status.conditions, ConditionType::Ready)
                .is_some_and(|ready| ready.status == "False" && words.iter().all(|word| ready.message.contains(word)))
        })
        .await
    }

    /// The reasons of the Kubernetes Events about the pipeline.
    pub async fn events(&self) -> Result<Vec<String>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events = api.list(&ListParams::default()).await?;
        Ok(events.items.into_iter().filter_map(|event| event.reason).collect())
    }
}

/// Gives the controller's service account its rights, once for each cluster.
async fn grant(cluster: &ControlPlane) -> Result<()> {
    static GRANTED: Mutex<BTreeSet<String>> = Mutex::const_new(BTreeSet::new());
    let mut granted = GRANTED.lock().await;
    if !granted.contains(cluster.url.as_str()) {
        cluster.apply(RIGHTS).await?;
        granted.insert(cluster.url.to_string());
    }
    Ok(())
}

/// Where repositories and pull requests live, with faults to order.
pub struct Hosts {
    pub git: GitServer,
    pub github: GitHub,
    pub repo: RepoHandle,
}

impl Hosts {
    /// A promotion by pull request in `repo`.
    pub fn promotion(&self, repo: &str) -> serde_json::Value {
        json!({"pullRequest": {
            "url": self.git.url(repo), "branch": "main", "provider": "github", "apiUrl": self.github.api_url(), "secretRef": "fleet",
        }})
    }
}

pub fn promotion(status: &PipelineStatus) -> Option<&PromotionStatus> {
    status.environments.get("prod")?.promotion.as_ref()
}

/// Status and reason of a condition, as `True PullRequestOpen`; empty when it is not there.
pub fn told(status: &PipelineStatus, type_: ConditionType) -> String {
    let mut text = String::new();
    if let Some(condition) = condition(&status.conditions, type_) {
        let _ = write!(text, "{} {}", condition.status, condition.reason);
    }
    text
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
