//! What `examples/kind` puts into its cluster, on the test bed's: Flux is played by the test, the rest is real.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pipeline_api::Phase;
use serde_json::json;

use crate::world::World;

/// Where the example's git host and repository are.
const URL: &str = "https://gitea.gitea.svc.cluster.local:3000/demo/fleet.git";

fn example(path: &str) -> Result<String> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/kind").join(path);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// A folder's objects but for the sources, which only Flux reads.
fn without_sources(manifests: &str) -> String {
    let documents = manifests.split("---\n").filter(|document| !document.contains("source.toolkit.fluxcd.io/v1\n"));
    documents.collect::<Vec<_>>().join("---\n")
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_example_promotes() -> Result<()> {
    let mut world = World::without_controller().await?;
    let [dev, prod] = ["dev", "prod"].map(|environment| example(&format!("fleet/{environment}/podinfo.yaml")));
    let files = [("dev/podinfo.yaml", dev?), ("prod/podinfo.yaml", prod?)];
    world.namespace = "default".to_owned();
    [world.dev, world.prod] = ["podinfo-dev", "podinfo-prod"].map(str::to_owned);
    let old = ["-n", "default", "delete", "pipelines.pipelines.weave.works", "podinfo", "--ignore-not-found"];
    world.cluster.kubectl(&old).await?;

    let repo =
        world.bed.gitea.create_repo("fleet", &files.each_ref().map(|(path, text)| (*path, text.as_str()))).await?;
    for (_, manifests) in &files {
        world.cluster.apply(&without_sources(manifests)).await?;
    }
    world.dev_is_at("6.9.0").await?;
    world.prod_is_at("6.9.0").await?;
    // As up.sh makes it.
    let token = &world.bed.gitea.token;
    let ca = fs::read_to_string(world.bed.ca.certificate_path())?;
    world.secret("fleet", json!({"username": "demo", "password": token, "token": token, "ca.crt": ca})).await?;
    world.start(&[]).await?;
    let pipeline = example("pipeline.yaml")?;
    assert!(pipeline.contains(URL) && example("flux.yaml")?.contains(URL));
    world.cluster.apply(&pipeline.replace(URL, repo.clone_url.as_str())).await?;

    world.dev_is_at("6.9.1").await?;
    let open = world.promotion("6.9.1", Phase::Open).await?;
    let number = open.url.as_deref().and_then(|url| url.rsplit('/').next()).context("no pull request")?.parse()?;
    world.bed.gitea.merge(&repo, number).await?;
    let prod = world.bed.gitea.file(&repo, "main", "prod/podinfo.yaml").await?;
    assert_eq!(prod, files[1].1.replace("version: 6.9.0 #", "version: 6.9.1 #"));
    world.prod_is_at("6.9.1").await?;
    world.promotion("6.9.1", Phase::Succeeded).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_examples_other_objects_are_valid() -> Result<()> {
    let world = World::without_controller().await?;
    world.cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: gitea}}").await?;
    let folder = tempfile::tempdir()?;
    for (name, manifests) in [("gitea", example("gitea.yaml")?), ("flux", without_sources(&example("flux.yaml")?))] {
        let path = folder.path().join(name);
        fs::write(&path, manifests)?;
        let path = path.to_str().context("a path that is text")?;
        world.cluster.kubectl(&["apply", "--server-side", "--dry-run=server", "-f", path]).await?;
    }
    Ok(())
}

/// What bash and the example's own files say of the scripts; nothing here can create a cluster.
#[test]
fn the_scripts_can_be_read() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/kind");
    for script in ["up.sh", "promote.sh", "down.sh", "common.sh"] {
        let checked = std::process::Command::new("bash").arg("-n").arg(folder.join(script)).status()?;
        assert!(checked.success(), "{script}");
    }
    let readme = example("README.md")?;
    for script in ["up.sh", "promote.sh", "down.sh"] {
        assert!(readme.contains(&format!("./{script}")), "{script}");
    }
    Ok(())
}
