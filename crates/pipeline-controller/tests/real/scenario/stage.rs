//! What a scenario plays on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kube::Api;
use pipeline_api::{Pipeline, PipelineStatus};
use serde_json::{Value, json};
use testbed::git_server::TOKEN;
use testbed::gitea::Repo;
use testbed::{GitHub, GitServer, Receiver};

use crate::world::{Hosts, PATIENCE, World};

/// How long a world has to stay as it is before it is believed.
const STILL: Duration = Duration::from_millis(2500);

pub(super) struct Stage {
    pub(super) world: World,
    pub(super) means: Means,
    /// The namespaces of each environment's targets.
    pub(super) targets: BTreeMap<String, Vec<String>>,
    /// Every revision that the scenario spoke of.
    pub(super) revisions: BTreeSet<String>,
    pub(super) start: String,
    pub(super) manifest: Value,
}

/// By what is promoted.
pub(super) enum Means {
    GitHub(Hosts),
    Gitea(Repo),
    Webhook(Receiver),
    Hand,
}

impl Stage {
    pub(super) async fn set(given: &str) -> Result<Self> {
        let (given, spec) = match given.split_once(" with ") {
            Some((given, spec)) => (given, serde_json::from_str(spec)?),
            None => (given, json!({})),
        };
        let words: Vec<&str> = given.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "at").context("given … at a version")?;
        let [names, ["at", start, "by", means]] = <[&[&str]; 2]>::from(words.split_at(at)) else {
            bail!("given <environments> at <version> by <means>");
        };
        let world = World::without_controller().await?;
        let means = match *means {
            "webhook" => Means::Webhook(Receiver::start(&world.bed.ca).await?),
            "hand" => Means::Hand,
            "github" => {
                let git = GitServer::start(&world.bed.ca).await?;
                let github = GitHub::start(&world.bed.ca, &git).await?;
                let repo = git.create_repo("acme/fleet", &[("README.md", "The fleet.\n".as_bytes())]).await?;
                world.secret("fleet", json!({"token": TOKEN})).await?;
                Means::GitHub(Hosts { git, github, repo })
            }
            "gitea" => {
                world.secret("fleet", json!({"token": world.bed.gitea.token})).await?;
                Means::Gitea(world.bed.gitea.create_repo("fleet", &[("README.md", "The fleet.\n")]).await?)
            }
            other => bail!("no such means: {other}"),
        };
        let mut stage = Self {
            world,
            means,
            targets: BTreeMap::new(),
            revisions: BTreeSet::from([(*start).to_owned()]),
            start: (*start).to_owned(),
            manifest: Value::Null,
        };
        for name in names {
            stage.environment(name).await?;
        }
        let names: Vec<&str> = names.iter().map(|name| name.split('*').next().unwrap_or(name)).collect();
        let mut manifest = json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "podinfo", "namespace": stage.world.namespace},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": stage.environments(&names),
                "promotion": stage.promotion("fleet"),
            },
        });
        merge(&mut manifest["spec"], spec);
        if let Means::Hand = stage.means {
            manifest["spec"].as_object_mut().context("a spec")?.remove("promotion");
        }
        stage.world.apply(manifest.clone()).await?;
        stage.manifest = manifest;
        stage.restart().await?;
        Ok(stage)
    }

    /// Starts the controller, after it was killed if one runs.
    pub(super) async fn restart(&mut self) -> Result<()> {
        let _none_ran_before = self.world.kill().await;
        self.world.start(&["--promotion-retry-threshold", "3"]).await
    }

    /// Makes an environment, `prod` or with two targets `prod*2`: namespaces, applications and manifests.
    pub(super) async fn environment(&mut self, words: &str) -> Result<()> {
        let (name, count) = words.split_once('*').unwrap_or((words, "1"));
        let mut namespaces = Vec::new();
        for _ in 0..count.parse::<usize>()? {
            let namespace = self.world.cluster.namespace(name).await?;
            self.world
                .cluster
                .apply(&format!(
                    "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: podinfo, namespace: {namespace}}}\nspec: {{}}\n"
                ))
                .await?;
            self.world.cluster.set_helm_release_ready(&namespace, "podinfo", &self.start).await?;
            namespaces.push(namespace);
        }
        self.targets.insert(name.to_owned(), namespaces);
        self.commit(name, &self.start.clone()).await
    }

    /// Writes a version into the environment's manifest on the base branch.
    pub(super) async fn commit(&self, environment: &str, version: &str) -> Result<()> {
        let path = format!("envs/{environment}.yaml");
        let marker = format!(r#"{{"$promotion": "{}:podinfo:{environment}"}}"#, self.world.namespace);
        let text = format!("# {environment}\nversion: '{version}' # {marker}\n");
        let message = format!("{environment} at {version}");
        match &self.means {
            Means::GitHub(hosts) => drop(hosts.repo.commit("main", &[(path.as_str(), text.as_str())], &message).await?),
            Means::Gitea(repo) => {
                self.world.bed.gitea.commit(repo, "main", &[(path.as_str(), text.as_str())], &message).await?;
            }
            Means::Webhook(_) | Means::Hand => {}
        }
        Ok(())
    }

    pub(super) fn environments(&self, names: &[&str]) -> Value {
        let environment = |name: &&str| {
            let namespaces = self.targets.get(*name).into_iter().flatten();
            let targets: Vec<Value> = namespaces.map(|namespace| json!({"namespace": namespace})).collect();
            json!({"name": name, "targets": targets})
        };
        names.iter().map(environment).collect()
    }

    /// The promotion by this scenario's means, into a repository of that name.
    pub(super) fn promotion(&self, repository: &str) -> Value {
        match &self.means {
            Means::GitHub(hosts) => hosts.promotion(&format!("acme/{repository}")),
            Means::Gitea(repo) => json!({"pullRequest": {
                "url": repo.clone_url, "branch": "main", "provider": "gitea", "secretRef": "fleet",
            }}),
            Means::Webhook(receiver) => json!({"webhook": {"url": receiver.url()}}),
            Means::Hand => Value::Null,
        }
    }

    pub(super) fn token(&self) -> &str {
        match &self.means {
            Means::Gitea(_) => &self.world.bed.gitea.token,
            _ => TOKEN,
        }
    }

    pub(super) fn namespaces(&self, environment: &str) -> Result<&[String]> {
        let namespaces = self.targets.get(environment).with_context(|| format!("no environment {environment}"))?;
        Ok(namespaces)
    }

    /// `None`: there is no Pipeline any more.
    pub(super) async fn status(&self) -> Result<Option<PipelineStatus>> {
        let api: Api<Pipeline> = Api::namespaced(self.world.client.clone(), &self.world.namespace);
        Ok(api.get_opt("podinfo").await?.map(|pipeline| pipeline.status.unwrap_or_default()))
    }

    pub(super) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let all: Vec<&str> = arguments.iter().copied().chain(["--namespace", &self.world.namespace]).collect();
        self.world.cluster.kubectl(&all).await
    }

    /// Waits until the world looks so.
    pub(super) async fn until(&mut self, claim: &str) -> Result<()> {
        self.note(claim);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(why) = self.looks(claim).await? else { return Ok(()) };
            if Instant::now() > deadline {
                let status = serde_json::to_string_pretty(&self.status().await?)?;
                let log = self.world.log();
                let tail: Vec<&str> = log.lines().rev().take(30).collect();
                bail!("{why}\nstatus: {status}\nlog, newest first:\n{}", tail.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn stays(&mut self, claims: &[&str]) -> Result<()> {
        tokio::time::sleep(STILL).await;
        for claim in claims {
            if let Err(why) = self.looks(claim).await? {
                bail!("{claim}, and then no longer: {why}");
            }
        }
        Ok(())
    }

    /// Remembers the revisions that a step speaks of: pull requests are told apart by them.
    pub(super) fn note(&mut self, step: &str) {
        let words = step.split(|c: char| c.is_whitespace() || matches!(c, '/' | ',' | '=' | '#'));
        let revisions = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
        self.revisions.extend(revisions.map(str::to_owned));
    }
}

pub(super) fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
