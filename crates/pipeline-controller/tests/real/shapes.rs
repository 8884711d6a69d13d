//! The shapes of a Pipeline: the original one, the one that the first pipeline-controller shipped, and those that are refused.

use anyhow::Result;
use pipeline_api::Phase;
use pipeline_api::conditions::ConditionType;
use serde_json::json;
use testbed::Receiver;

use crate::world::{World, told};

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_shipped_shape_promotes_the_same() -> Result<()> {
    let world = World::new().await?;
    let hosts = world.github("6.0.0").await?;
    let github = &hosts.github;
    world.helm_releases("6.0.0").await?;
    world
        .secret(
            "fleet",
            json!({
                "username": testbed::git_server::USERNAME,
                "password": testbed::git_server::PASSWORD,
                "token": testbed::git_server::TOKEN,
            }),
        )
        .await?;
    world
        .pipeline(json!({"strategy": {"pull-request": {
            "type": "github", "url": github.url("acme/fleet"), "baseBranch": "main", "secretRef": {"name": "fleet"},
        }}}))
        .await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Open).await?;
    assert_eq!(github.pulls("acme/fleet").await?.len(), 1);
    Ok(())
}

/// The original design's manifests, word for word but for addresses and namespaces that only a test can know. Their targets
/// are on clusters that GitopsClusters name.
struct Original {
    world: World,
    yaml: String,
}

impl Original {
    /// Clusters dev and prod are the bed's second API server; podinfo runs there, in a namespace for each.
    async fn of(manifest: &str) -> Result<Self> {
        let mut world = World::without_controller().await?;
        world.start(&["--remote-interval", "1s"]).await?;
        let remote = &world.bed.remote;
        let kubeconfig = std::fs::read_to_string(&remote.kubeconfig)?;
        let mut yaml = manifest.replace("namespace: default", &format!("namespace: {}", world.namespace));
        for (cluster, namespace) in [("dev", &world.dev), ("prod", &world.prod)] {
            remote.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n")).await?;
            remote
                .apply(&format!(
                    "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: podinfo, namespace: {namespace}}}\nspec: {{}}\n"
                ))
                .await?;
            remote.set_helm_release_ready(namespace, "podinfo", "6.0.0").await?;
            world.secret(&format!("{cluster}-kubeconfig"), json!({"value": kubeconfig})).await?;
            world
                .apply(json!({
                    "apiVersion": "gitops.weave.works/v1alpha1",
                    "kind": "GitopsCluster",
                    "metadata": {"name": cluster, "namespace": world.namespace},
                    "spec": {"secretRef": {"name": format!("{cluster}-kubeconfig")}},
                }))
                .await?;
            let target =
                "- namespace: podinfo\n          clusterRef:\n            kind: GitopsCluster\n            name: ";
            let theirs = format!("{target}{cluster}");
            assert!(yaml.contains(&theirs), "the manifest has no target on cluster {cluster}");
            yaml = yaml.replace(&theirs, &theirs.replace("namespace: podinfo", &format!("namespace: {namespace}")));
        }
        Ok(Self { world, yaml })
    }

    fn replace(&mut self, theirs: &str, ours: &str) {
        assert!(self.yaml.contains(theirs), "the manifest does not hold {theirs}");
        self.yaml = self.yaml.replace(theirs, ours);
    }

    async fn dev_is_at(&self, version: &str) -> Result<()> {
        self.world.bed.remote.set_helm_release_ready(&self.world.dev, "podinfo", version).await
    }

    async fn prod_is_at(&self, version: &str) -> Result<()> {
        self.world.bed.remote.set_helm_release_ready(&self.world.prod, "podinfo", version).await
    }
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_original_manifest_promotes_by_pull_request() -> Result<()> {
    let mut original = Original::of(include_str!("../../../../examples/manifests/pull-request.yaml")).await?;
    let (world, gitea) = (&original.world, &original.world.bed.gitea);
    let files = world.manifests("6.0.0");
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let repo = gitea.create_repo("fleet", &files).await?;
    let token = gitea.token.clone();
    // The provider of a Gitea cannot be known from its name.
    original.replace(
        "url: https://github.com/organisation/gitops-configuration-monorepo.git",
        &format!("url: {}\n      provider: gitea", repo.clone_url),
    );
    original.replace("token: replace-me", &format!("token: {token}"));
    original.world.cluster.apply(&original.yaml).await?;
    original.dev_is_at("6.1.0").await?;
    original.world.promotion("6.1.0", Phase::Open).await?;
    let gitea = &original.world.bed.gitea;
    let pulls = gitea.pulls(&repo).await?;
    assert_eq!(pulls.len(), 1);
    gitea.merge(&repo, pulls[0].number).await?;
    original.world.promotion("6.1.0", Phase::Delivered).await?;
    original.prod_is_at("6.1.0").await?;
    original.world.promotion("6.1.0", Phase::Succeeded).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_original_manifest_promotes_by_webhook() -> Result<()> {
    let mut original = Original::of(include_str!("../../../../examples/manifests/webhook.yaml")).await?;
    let receiver = Receiver::start(&original.world.bed.ca).await?;
    original.replace("https://my-jenkins.prod/webhooks/XoLZfgK", receiver.url().as_str());
    // The rest of the Secret is about a Jenkins and a proxy that are not there.
    let end = original.yaml.find("---").unwrap_or(original.yaml.len());
    original.yaml.truncate(end);
    let key = "a key that both sides know";
    receiver.require_signature(key);
    original.world.secret("my-jenkins-promotion-secret", json!({"token": key})).await?;
    original.world.cluster.apply(&original.yaml).await?;
    original.dev_is_at("6.1.0").await?;
    original.world.promotion("6.1.0", Phase::Delivered).await?;
    receiver.received()[0].verify(key)?;
    original.prod_is_at("6.1.0").await?;
    original.world.promotion("6.1.0", Phase::Succeeded).await?;
    assert_eq!(receiver.received().len(), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_cluster_that_is_missing_is_named() -> Result<()> {
    let world = World::new().await?;
    world
        .apply(json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "podinfo", "namespace": world.namespace},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": [{"name": "dev", "targets": [
                    {"namespace": "podinfo", "clusterRef": {"kind": "GitopsCluster", "name": "nowhere"}},
                ]}],
            },
        }))
        .await?;
    let status = world.until_not_ready(&["dev", "nowhere"]).await?;
    assert_eq!(told(&status, ConditionType::Ready), "False TargetClusterNotFound");
    Ok(())
}

/// As objects are that were stored before the API server knew today's rules.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_object_that_cannot_be_understood_is_told_and_holds_no_other() -> Result<()> {
    let bed = testbed::shared().await?;
    bed.remote.apply(WITHOUT_RULES).await?;
    let mut world = World::on(bed, &bed.remote).await?;
    let receiver = Receiver::start(&bed.ca).await?;
    world.helm_releases("6.0.0").await?;
    world
        .apply(json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "broken", "namespace": world.namespace},
            "spec": {"appRef": "podinfo", "environments": {"dev": []}},
        }))
        .await?;
    world.start(&[]).await?;
    world.pipeline(json!({"webhook": {"url": receiver.url()}})).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    let broken = world.cluster.kubectl(&["get", "pipeline", "broken", "-n", &world.namespace, "-o", "yaml"]).await?;
    assert!(broken.contains("cannot be understood") && broken.contains("InvalidSpec"), "{broken}");
    Ok(())
}

const WITHOUT_RULES: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pipelines.pipelines.weave.works}
spec:
  group: pipelines.weave.works
  names: {plural: pipelines, singular: pipeline, kind: Pipeline}
  scope: Namespaced
  versions:
    - name: v1alpha1
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";
