//! Pipelines shared out among processes, by a hash of their names and by their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use pipeline_api::conditions::{ConditionType, condition};
use pipeline_api::{Phase, Pipeline};
use pipeline_controller::shard::Shard;
use serde_json::{Value, json};
use testbed::Receiver;

use crate::endpoints::{KEY, now, standard};
use crate::replicas::{Replica, SHORT, leases};
use crate::world::{PATIENCE, World};

const PIPELINES: usize = 12;

struct Stage {
    world: World,
    receiver: Receiver,
}

impl Stage {
    /// Pipelines over the same application, each of them promoted by webhook.
    async fn set() -> Result<Self> {
        let world = World::without_controller().await?;
        let receiver = Receiver::start(&world.bed.ca).await?;
        world.secret("receiver", json!({"token": KEY})).await?;
        world.helm_releases("6.0.0").await?;
        let stage = Self { world, receiver };
        for n in 0..PIPELINES {
            stage.pipeline(&format!("app-{n}"), if n % 2 == 0 { "a" } else { "b" }).await?;
        }
        Ok(stage)
    }

    async fn pipeline(&self, name: &str, team: &str) -> Result<()> {
        let World { namespace, dev, prod, .. } = &self.world;
        self.world
            .apply(json!({
                "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline",
                "metadata": {"name": name, "namespace": namespace, "labels": {"team": team}},
                "spec": {
                    "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                    "environments": [
                        {"name": "dev", "targets": [{"namespace": dev}]}, {"name": "prod", "targets": [{"namespace": prod}]},
                    ],
                    "promotion": {"webhook": {"url": self.receiver.url(), "secretRef": "receiver"}},
                },
            }))
            .await
    }

    /// Each process with a lease of its own.
    async fn shards(&self, round: &str, of: u32) -> Result<Vec<Replica>> {
        let mut replicas = Vec::new();
        for index in 0..of {
            let shard = format!("{index}/{of}");
            replicas.push(Replica::start(&self.world, &format!("{round}-{index}"), SHORT, &["--shard", &shard]).await?);
        }
        Ok(replicas)
    }

    fn api(&self) -> Api<Pipeline> {
        Api::namespaced(self.world.client.clone(), &self.world.namespace)
    }

    /// The Pipelines of which the status says that `version` is promoted.
    async fn promoted(&self, version: &str) -> Result<BTreeSet<String>> {
        let is_promoted = |pipeline: &Pipeline| {
            let promotion = pipeline.status.as_ref().and_then(crate::world::promotion);
            promotion.is_some_and(|record| record.revision == version && record.phase == Phase::Delivered)
        };
        let all = self.api().list(&ListParams::default()).await?;
        Ok(all.items.into_iter().filter(is_promoted).filter_map(|pipeline| pipeline.metadata.name).collect())
    }

    async fn until_promoted(&self, version: &str, expect: &BTreeSet<String>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let promoted = self.promoted(version).await?;
            if promoted == *expect {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{version}: {promoted:?} and not {expect:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How often each promotion was delivered, by Pipeline and version.
    fn deliveries(&self) -> Result<BTreeMap<(String, String), usize>> {
        let mut deliveries = BTreeMap::new();
        for received in self.receiver.received() {
            let event: Value = serde_json::from_slice(&received.body)?;
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            let name = text("/involvedObject/name").context("an event of nothing")?;
            *deliveries.entry((name, text("/metadata/version").unwrap_or_default())).or_default() += 1;
        }
        Ok(deliveries)
    }
}

fn all() -> BTreeSet<String> {
    (0..PIPELINES).map(|n| format!("app-{n}")).collect()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn each_pipeline_is_reconciled_by_its_shard() -> Result<()> {
    let mut stage = Stage::set().await?;
    let mut replicas = stage.shards("first", 2).await?;
    stage.world.dev_is_at("6.1.0").await?;
    stage.until_promoted("6.1.0", &all()).await?;
    let names: Vec<_> = leases(&stage.world).list(&ListParams::default()).await?.items;
    let names: Vec<_> = names.into_iter().filter_map(|lease| lease.metadata.name).collect();
    assert!(
        names.len() == 2 && names[0].ends_with("-shard-0-of-2") && names[1].ends_with("-shard-1-of-2"),
        "{names:?}"
    );

    // Without the second one, its Pipelines wait, and nobody else's.
    drop(replicas.pop());
    let first = Shard { index: 0, of: 2 };
    let is_first = |name: &String| first.contains(&stage.world.namespace, name);
    let of_first: BTreeSet<String> = all().into_iter().filter(is_first).collect();
    assert!(!of_first.is_empty() && of_first.len() < PIPELINES, "{of_first:?}");
    stage.world.dev_is_at("6.2.0").await?;
    stage.until_promoted("6.2.0", &of_first).await?;

    // What the first one is told of another's Pipeline is seen when that one's process is back.
    let other = all().into_iter().find(|name| !is_first(name)).context("all are of the first shard")?;
    let second = Replica::start(&stage.world, "second-1", SHORT, &["--shard", "1/2"]).await?;
    stage.until_promoted("6.2.0", &all()).await?;
    let promotion = stage.api().get(&other).await?.status.context("no status")?;
    let id = crate::world::promotion(&promotion).context("no promotion")?.id.clone();
    stage.world.hooks = replicas[0].hooks;
    let report = json!({"promotionId": id, "state": "succeeded"}).to_string();
    let headers = standard(KEY, "1", now().as_second(), &report)?;
    let path = format!("/promotion-status/{}/{other}/prod", stage.world.namespace);
    assert_eq!(stage.world.send("POST", &path, &headers, &report).await?.status, 202);
    let mut rest = all();
    rest.remove(&other);
    stage.until_promoted("6.2.0", &rest).await?;
    assert_eq!(stage.deliveries()?.into_values().collect::<BTreeSet<_>>(), BTreeSet::from([1]));
    drop(second);
    Ok(())
}

/// From one process to three and to two, in the middle of promotions: all of them happen, and each once.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn sharing_out_anew_loses_and_repeats_nothing() -> Result<()> {
    let stage = Stage::set().await?;
    stage.receiver.always(testbed::Fault::Delay(Duration::from_millis(100)));
    let mut replicas = stage.shards("start", 1).await?;
    for (round, (of, version)) in [(3, "6.1.0"), (2, "6.2.0"), (1, "6.3.0"), (4, "6.4.0")].into_iter().enumerate() {
        let before = stage.receiver.received().len();
        stage.world.dev_is_at(version).await?;
        stage.receiver.wait_for(before + 1, PATIENCE).await?;
        for replica in &mut replicas {
            replica.process.signal("TERM")?;
        }
        for replica in &mut replicas {
            assert_eq!(replica.ended().await?, 0);
        }
        replicas = stage.shards(&format!("round-{round}"), of).await?;
        stage.until_promoted(version, &all()).await?;
    }
    let deliveries = stage.deliveries()?;
    assert_eq!(deliveries.len(), 4 * PIPELINES);
    assert!(deliveries.values().all(|times| *times == 1), "{deliveries:?}");
    Ok(())
}

/// A Pipeline goes to another process with its label.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn each_pipeline_is_reconciled_by_who_selects_its_label() -> Result<()> {
    let stage = Stage::set().await?;
    let a = Replica::start(&stage.world, "a", SHORT, &["--watch-label-selector", "team=a"]).await?;
    let of_a: BTreeSet<String> = (0..PIPELINES).step_by(2).map(|n| format!("app-{n}")).collect();
    stage.world.dev_is_at("6.1.0").await?;
    stage.until_promoted("6.1.0", &of_a).await?;
    let b = Replica::start(&stage.world, "b", SHORT, &["--watch-label-selector", "team=b"]).await?;
    stage.until_promoted("6.1.0", &all()).await?;

    drop(a);
    let label = json!({"metadata": {"labels": {"team": "b"}}});
    stage.api().patch("app-0", &PatchParams::default(), &Patch::Merge(label)).await?;
    stage.world.dev_is_at("6.2.0").await?;
    let mut of_b: BTreeSet<String> = all().difference(&of_a).cloned().collect();
    of_b.insert("app-0".to_owned());
    stage.until_promoted("6.2.0", &of_b).await?;
    assert_eq!(stage.deliveries()?.into_values().collect::<BTreeSet<_>>(), BTreeSet::from([1]));
    drop(b);
    Ok(())
}

/// Two Pipelines that promote to one field hear of each other, whoever reconciles them.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_conflict_between_shards_is_told() -> Result<()> {
    let stage = Stage::set().await?;
    let replicas = stage.shards("one", 2).await?;
    let namespace = &stage.world.namespace;
    let first = Shard { index: 0, of: 2 };
    let (one, two): (Vec<_>, Vec<_>) = all().into_iter().partition(|name| first.contains(namespace, name));
    let pair = [one.first().context("the first shard is empty")?, two.first().context("the second shard is empty")?];
    for name in pair {
        let promotion = json!({"webhook": null, "pullRequest": {
            "url": "https://github.com/acme/fleet", "branch": "main", "secretRef": "fleet",
            "updates": [{"file": "apps/prod.yaml", "path": "spec.version"}],
        }});
        let patch = Patch::Merge(json!({"spec": {"promotion": promotion}}));
        stage.api().patch(name, &PatchParams::default(), &patch).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    for (name, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
        let told = async || -> Result<bool> {
            let status = stage.api().get(name).await?.status.unwrap_or_default();
            let conflict = condition(&status.conditions, ConditionType::Conflicting);
            Ok(conflict.is_some_and(|condition| condition.message.contains(&format!("{namespace}/{other}"))))
        };
        while !told().await? {
            ensure!(Instant::now() < deadline, "{name} is not told of {other}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    drop(replicas);
    Ok(())
}
