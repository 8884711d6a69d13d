//! The rights that the controller is installed with: enough, as all other tests show, and no more.

use anyhow::{Context as _, Result};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use pipeline_api::Phase;
use serde_json::json;
use testbed::Receiver;

use crate::world::World;

/// Whoever holds the controller's token.
async fn as_the_controller(world: &World) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(&world.kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

/// What the API server says: `get secrets`, `patch pipelines.pipelines.weave.works/status`.
async fn may(client: &Client, namespace: &str, what: &str) -> Result<bool> {
    let (verb, resource) = what.split_once(' ').context("a verb and a resource")?;
    let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(name, sub)| (name, Some(sub)));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let attributes = ResourceAttributes {
        verb: Some(verb.to_owned()),
        resource: Some(resource.to_owned()),
        group: Some(group.to_owned()),
        subresource: subresource.map(str::to_owned),
        namespace: Some(namespace.to_owned()),
        name: Some("podinfo".to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let answer = Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.context("the API server did not say")?.allowed)
}

const VERBS: [&str; 9] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate"];

/// All verbs on all kinds, but for what is granted.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn no_more_is_granted_than_is_used() -> Result<()> {
    let world = World::without_controller().await?;
    let client = as_the_controller(&world).await?;
    let reads = ["get", "list", "watch"].as_slice();
    for (resource, granted) in [
        ("secrets", ["get"].as_slice()),
        ("configmaps", &[]),
        ("pods", &[]),
        ("pods/exec", &[]),
        ("serviceaccounts/token", &[]),
        ("events", &[]),
        ("events.events.k8s.io", &["create", "patch"]),
        ("pipelines.pipelines.weave.works", &["get", "list", "watch", "patch"]),
        ("pipelines.pipelines.weave.works/status", &["patch"]),
        ("helmreleases.helm.toolkit.fluxcd.io", reads),
        ("helmreleases.helm.toolkit.fluxcd.io/status", &[]),
        ("kustomizations.kustomize.toolkit.fluxcd.io", reads),
        ("gitopsclusters.gitops.weave.works", reads),
        ("deployments.apps", reads),
        ("deployments.apps/scale", &[]),
        ("leases.coordination.k8s.io", &["get", "create", "update"]),
        ("clusterroles.rbac.authorization.k8s.io", &[]),
        ("rolebindings.rbac.authorization.k8s.io", &[]),
        ("customresourcedefinitions.apiextensions.k8s.io", &[]),
    ] {
        for verb in VERBS {
            let expected = granted.contains(&verb);
            assert_eq!(
                may(&client, &world.namespace, &format!("{verb} {resource}")).await?,
                expected,
                "{verb} {resource}"
            );
        }
    }
    Ok(())
}

/// Secrets are granted in one namespace: promotions there work, and Secrets elsewhere stay closed.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn secrets_are_granted_namespace_by_namespace() -> Result<()> {
    let mut world = World::without_controller().await?;
    let account = format!("{}-controller", world.namespace);
    let subject = json!([{"kind": "ServiceAccount", "name": account, "namespace": world.namespace}]);
    let role = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let binding = |kind: &str, name: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": account, "namespace": world.namespace},
            "roleRef": role(name), "subjects": subject,
        })
    };
    let mut everywhere = binding("ClusterRoleBinding", "pipeline-controller");
    everywhere["metadata"]["namespace"] = serde_json::Value::Null;
    for object in [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": world.namespace}}),
        everywhere,
        binding("RoleBinding", "pipeline-controller-secrets"),
    ] {
        world.apply(object).await?;
    }
    world.cluster.service_account(&world.namespace, &account, &world.kubeconfig).await?;
    let client = as_the_controller(&world).await?;
    for (namespace, what, expected) in [
        (world.namespace.as_str(), "get secrets", true),
        (&world.namespace, "list secrets", false),
        (&world.namespace, "watch secrets", false),
        (&world.dev, "get secrets", false),
        ("kube-system", "get secrets", false),
    ] {
        assert_eq!(may(&client, namespace, what).await?, expected, "{what} in {namespace}");
    }

    world.start(&[]).await?;
    let receiver = Receiver::start(&world.bed.ca).await?;
    world.secret("ci", json!({"token": "hunter2"})).await?;
    world.helm_releases("6.0.0").await?;
    world.pipeline(json!({"webhook": {"url": receiver.url(), "secretRef": "ci"}})).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    receiver.received().first().context("no event")?.verify("hunter2")?;
    Ok(())
}
