//! `pipelinectl plan` shows what `promote` pushes, and writes nothing.

use anyhow::Result;
use serde_json::json;
use testbed::{GitServer, git_server};

use crate::run::run;
use crate::world::{DIFFERENCE, FILES, World, pipeline};

fn str_args(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn a_checkout_needs_no_network() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir_all(folder.join("fleet/apps")).unwrap();
    for (path, content) in FILES {
        std::fs::write(folder.join("fleet").join(path), content).unwrap();
    }
    let promotion =
        json!({"pullRequest": {"url": "https://github.com/org/fleet.git", "branch": "main", "secretRef": "fleet"}});
    let file = folder.join("pipeline.yaml");
    std::fs::write(&file, pipeline(&promotion).to_string()).unwrap();
    let (file, dir) = (file.to_str().unwrap(), folder.join("fleet"));
    let plan = async |environment: &str, revision: &str, more: &[&str]| {
        let dir = dir.to_str().unwrap();
        run(&[&["plan", "-f", file, "-e", environment, "-r", revision, "--dir", dir], more].concat()).await
    };

    let ran = plan("prod", "6.3.0+1a2b3c", &[]).await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, DIFFERENCE, ""));
    let ran = plan("prod", "6.2.0", &[]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert!(ran.stderr.starts_with("nothing to change: "), "{ran:?}");
    let ran = plan("prod", "6.3.0", &["-o", "yaml"]).await;
    assert!(ran.stdout.contains("path: apps/prod.yaml"), "{ran:?}");

    let ran = plan("staging", "6.3.0", &[]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("spec.environments: there is no environment \"staging\""), "{ran:?}");
    let ran = plan("dev", "6.3.0", &[]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("dev is the first environment"), "{ran:?}");

    std::fs::remove_file(dir.join("apps/prod.yaml")).unwrap();
    let ran = plan("prod", "6.3.0", &[]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    assert!(ran.stderr.contains("carries the marker \"default:podinfo:prod\""), "{ran:?}");
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_repository_is_read_and_not_written() -> Result<()> {
    let world = World::start().await?;
    let flags = world.flags();
    let plan =
        async |revision: &str| run(&[&["plan", "--revision", revision], str_args(&flags).as_slice()].concat()).await;
    let ran = plan("6.3.0").await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, DIFFERENCE, ""));
    assert_eq!(world.repo.branches().await?.len(), 1);
    assert!(
        world
            .git
            .requests()
            .iter()
            .all(|request| { matches!(request.step, Some(git_server::Step::FetchRefs | git_server::Step::Fetch)) })
    );
    assert!(world.github.requests().is_empty());

    world.promote("6.3.0", &[]).await;
    let pushed = world.repo.diff("main", &world.github.pulls(crate::world::REPO).await?[0].head).await?;
    assert!(pushed.ends_with(DIFFERENCE.split_once("@@ -1").unwrap().1), "{pushed}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_webhook_has_no_difference() -> Result<()> {
    let world = World::start().await?;
    let hook = json!({"webhook": {"url": GitServer::url(&world.git, "x/y")}});
    let file = world.files.write("hook.yaml", &pipeline(&hook).to_string());
    let ran = run(&["plan", "-f", &file, "-e", "prod", "-r", "6.3.0"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("not promoted to by pull request"), "{ran:?}");
    Ok(())
}
