//! Targets on other clusters, which hang, go away and come back.

use anyhow::{Context as _, Result};
use pipeline_api::Phase;
use pipeline_api::conditions::ConditionType;
use serde_json::{Value, json};
use testbed::TcpProxy;
use testbed::tcp_proxy::{Cut, Then};

use crate::world::{World, told};

/// A way to the bed's second API server that can be cut.
async fn way(world: &World) -> Result<TcpProxy> {
    let port = world.bed.remote.url.port().context("the API server has a port")?;
    TcpProxy::start(port, Cut { down: usize::MAX, up: usize::MAX, then: Then::Close }).await
}

/// GitopsCluster `name`, which the second API server stands for, at this port.
async fn cluster(world: &World, name: &str, port: u16) -> Result<()> {
    let mut kubeconfig: Value = serde_json::from_str(&std::fs::read_to_string(&world.bed.remote.kubeconfig)?)?;
    kubeconfig["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{port}"));
    world.secret(name, json!({"value": kubeconfig.to_string()})).await?;
    world
        .apply(json!({
            "apiVersion": "gitops.weave.works/v1alpha1", "kind": "GitopsCluster",
            "metadata": {"name": name, "namespace": world.namespace}, "spec": {"secretRef": {"name": name}},
        }))
        .await
}

/// A Pipeline from dev on a cluster to prod on this one.
fn pipeline(world: &World, name: &str, cluster: &str, promotion: &Value) -> Value {
    json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [
                {"name": "dev", "targets": [
                    {"namespace": world.dev, "clusterRef": {"kind": "GitopsCluster", "name": cluster}},
                ]},
                {"name": "prod", "targets": [{"namespace": world.prod}]},
            ],
            "promotion": promotion,
        },
    })
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_cluster_that_goes_away_and_comes_back_promotes_again_while_others_hang() -> Result<()> {
    let mut world = World::without_controller().await?;
    // Fewer workers than Pipelines that wait.
    world.start(&["--remote-interval", "1s", "--concurrent", "2"]).await?;
    let hosts = world.github("6.0.0").await?;
    world.helm_releases("6.0.0").await?;
    let (remote, dev) = (&world.bed.remote, &world.dev);
    remote.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {dev}}}\n")).await?;
    let release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec: {}\n";
    remote.apply(&format!("{release}metadata: {{name: podinfo, namespace: {dev}}}\n")).await?;
    remote.set_helm_release_ready(dev, "podinfo", "6.0.0").await?;

    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    cluster(&world, "hanging", hanging.local_addr()?.port()).await?;
    let promotion = hosts.promotion("acme/fleet");
    for n in 0..4 {
        world.apply(pipeline(&world, &format!("hanging-{n}"), "hanging", &promotion)).await?;
    }
    let first = way(&world).await?;
    cluster(&world, "edge", first.port).await?;
    world.apply(pipeline(&world, "podinfo", "edge", &promotion)).await?;
    world.until("Ready", |status| told(status, ConditionType::Ready).starts_with("True")).await?;

    first.cut();
    drop(first);
    let status = world.until_not_ready(&["GitopsCluster", "edge", "since 2"]).await?;
    assert_eq!(told(&status, ConditionType::Ready), "False TargetClusterNotReady");

    remote.set_helm_release_ready(dev, "podinfo", "6.1.0").await?;
    let second = way(&world).await?;
    cluster(&world, "edge", second.port).await?;
    world.promotion("6.1.0", Phase::Open).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_cluster_of_another_namespace_is_refused_on_request() -> Result<()> {
    let mut world = World::without_controller().await?;
    world.start(&["--no-cross-namespace-refs"]).await?;
    let mut pipeline = pipeline(&world, "podinfo", "edge", &json!({"webhook": {"url": "https://example.com"}}));
    pipeline["spec"]["environments"][0]["targets"][0]["clusterRef"]["namespace"] = json!("fleet");
    world.apply(pipeline).await?;
    let status = world.until_not_ready(&["GitopsCluster fleet/edge", "--no-cross-namespace-refs"]).await?;
    assert_eq!(told(&status, ConditionType::Ready), "False AccessDenied");
    Ok(())
}
