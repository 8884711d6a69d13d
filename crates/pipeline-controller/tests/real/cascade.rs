//! A revision on its way through three environments on a real git host, while the controller is killed again and again:
//! the end is that of a cascade that nobody disturbs.
//!
//! `cargo xtask soak kills` kills it a hundred times.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use pipeline_api::Phase;
use serde_json::json;
use testbed::gitea::Repo;

use crate::world::{PATIENCE, World};

/// How often the controller is killed while one revision is on its way.
const KILLS_EACH: usize = 5;

/// A kill comes this soon after the start, or sooner.
const LONGEST_LIFE: Duration = Duration::from_millis(1500);

pub struct Cascade {
    pub world: World,
    repo: Repo,
    /// Where the environments behind the first one run.
    namespaces: BTreeMap<&'static str, String>,
}

/// What is left when a revision has arrived everywhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Head and state of each pull request for the revision.
    pulls: Vec<String>,
    branches: Vec<String>,
    manifests: BTreeMap<&'static str, String>,
    promotions: BTreeMap<&'static str, Option<(String, Phase)>>,
}

impl Cascade {
    pub async fn set() -> Result<Self> {
        let world = World::without_controller().await?;
        let staging = world.cluster.namespace("staging").await?;
        let namespaces = BTreeMap::from([("staging", staging.clone()), ("prod", world.prod.clone())]);
        let files: Vec<(String, String)> =
            namespaces.keys().map(|name| (path(name), manifest(&world.namespace, name, "6.0.0"))).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let repo = world.bed.gitea.create_repo("cascade", &files).await?;
        world.secret("fleet", json!({"token": world.bed.gitea.token})).await?;
        world.helm_releases("6.0.0").await?;
        world
            .apply(json!({
                "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
                "metadata": {"name": "podinfo", "namespace": staging}, "spec": {},
            }))
            .await?;
        world.cluster.set_helm_release_ready(&staging, "podinfo", "6.0.0").await?;
        world
            .apply(json!({
                "apiVersion": "pipelines.weave.works/v1alpha1",
                "kind": "Pipeline",
                "metadata": {"name": "podinfo", "namespace": world.namespace},
                "spec": {
                    "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                    "environments": [
                        {"name": "dev", "targets": [{"namespace": world.dev}]},
                        {"name": "staging", "targets": [{"namespace": staging}]},
                        {"name": "prod", "targets": [{"namespace": world.prod}]},
                    ],
                    "promotion": {"pullRequest": {
                        "url": repo.clone_url, "branch": "main", "provider": "gitea", "secretRef": "fleet",
                    }},
                },
            }))
            .await?;
        Ok(Self { world, repo, namespaces })
    }

    /// What people and Flux do meanwhile: they merge what is open, and install what is merged.
    pub async fn meanwhile(&self) -> Result<()> {
        let gitea = &self.world.bed.gitea;
        for pull in gitea.pulls(&self.repo).await?.iter().filter(|pull| pull.state == "open") {
            // A branch that was pushed a moment ago cannot be merged yet, as on every Gitea.
            gitea.merge(&self.repo, pull.number).await.ok();
        }
        for (name, namespace) in &self.namespaces {
            let text = self.manifest(name).await?;
            let version = text.split('\'').nth(1).unwrap_or_default();
            let status = self.world.status().await?;
            let targets = status.environments.get(*name).map(|environment| environment.targets.as_slice());
            if targets.and_then(<[_]>::first).is_none_or(|target| target.revision.as_deref() != Some(version)) {
                self.world.cluster.set_helm_release_ready(namespace, "podinfo", version).await?;
            }
        }
        Ok(())
    }

    async fn manifest(&self, environment: &str) -> Result<String> {
        self.world.bed.gitea.file(&self.repo, "main", &path(environment)).await
    }

    /// Lets the revision arrive, without further kills.
    pub async fn arrives(&self, version: &str) -> Result<Outcome> {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            self.meanwhile().await?;
            let outcome = self.outcome(version).await?;
            let expected = Some((version.to_owned(), Phase::Succeeded));
            if outcome.promotions.values().all(|promotion| *promotion == expected) {
                return Ok(outcome);
            }
            if Instant::now() > deadline {
                bail!("{version} does not arrive: {outcome:#?}\n{}", self.world.log());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn outcome(&self, version: &str) -> Result<Outcome> {
        let status = self.world.status().await?;
        let mut outcome = Outcome {
            pulls: Vec::new(),
            branches: self.world.bed.gitea.branches(&self.repo).await?,
            manifests: BTreeMap::new(),
            promotions: BTreeMap::new(),
        };
        for pull in self.world.bed.gitea.pulls(&self.repo).await? {
            if pull.title.contains(version) {
                outcome.pulls.push(format!("{} {} merged: {}", pull.title, pull.state, pull.merged));
            }
        }
        outcome.pulls.sort();
        for name in self.namespaces.keys() {
            outcome.manifests.insert(name, self.manifest(name).await?);
            let promotion = status.environments.get(*name).and_then(|environment| environment.promotion.as_ref());
            outcome.promotions.insert(name, promotion.map(|promotion| (promotion.revision.clone(), promotion.phase)));
        }
        Ok(outcome)
    }
}

fn path(environment: &str) -> String {
    format!("envs/{environment}.yaml")
}

fn manifest(namespace: &str, environment: &str, version: &str) -> String {
    format!("version: '{version}' # {{\"$promotion\": \"{namespace}:podinfo:{environment}\"}}\n")
}

/// Moments of which each seed gives others.
pub struct Moments(pub u64);

impl Moments {
    /// [SplitMix64](https://prng.di.unimi.it/splitmix64.c)
    pub fn next(&mut self) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let thousandths = u32::try_from((z ^ (z >> 31)) % 1000).unwrap_or_default();
        LONGEST_LIFE * thousandths / 1000
    }
}

pub fn variable<T: std::str::FromStr>(name: &str, default: T) -> T {
    #[expect(clippy::disallowed_methods, reason = "how `cargo xtask soak` asks for more")]
    let value = std::env::var(name);
    value.ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn killed_at_any_moment_it_ends_as_if_nobody_had_disturbed_it() -> Result<()> {
    let kills = variable("SOAK_KILLS", 10);
    let seed = variable("SOAK_SEED", RandomState::new().hash_one(std::process::id()));
    let mut moments = Moments(seed);
    let mut cascade = Cascade::set().await?;

    cascade.world.start(&[]).await?;
    cascade.world.dev_is_at("6.1.0").await?;
    let undisturbed = format!("{:#?}", cascade.arrives("6.1.0").await?);
    cascade.world.kill().await?;
    assert_eq!(undisturbed.matches("merged: true").count(), 2, "{undisturbed}");

    for (round, from) in (0..kills).step_by(KILLS_EACH).enumerate() {
        let version = format!("6.{}.0", round + 2);
        cascade.world.dev_is_at(&version).await?;
        for _ in from..kills.min(from + KILLS_EACH) {
            cascade.world.start(&[]).await?;
            let end = Instant::now() + moments.next();
            while Instant::now() < end {
                cascade.meanwhile().await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            cascade.world.kill().await?;
        }
        cascade.world.start(&[]).await?;
        let outcome = format!("{:#?}", cascade.arrives(&version).await?);
        assert_eq!(outcome.replace(&version, "6.1.0"), undisturbed, "SOAK_SEED={seed}, kills {from} and later");
        cascade.world.kill().await?;
        println!("{version} arrived; {} kills so far", kills.min(from + KILLS_EACH));
    }
    Ok(())
}
