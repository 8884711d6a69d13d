//! First act: dev to prod by pull request.

use std::fs;

use anyhow::{Context as _, ensure};
use pipeline_api::Phase;
use serde_json::json;

use super::stage::Stage;
use crate::root;

const OLD: &str = "6.8.0";
const NEW: &str = "6.9.0";

pub async fn play(stage: &Stage) -> anyhow::Result<()> {
    let (cluster, gitea) = (&stage.bed.control_plane, &stage.bed.gitea);
    stage.headline("By pull request: podinfo goes from dev to prod");
    let dev = fs::read_to_string(root().join("examples/demo/fleet-dev.yaml"))?;
    let prod = fs::read_to_string(root().join("examples/demo/fleet-prod.yaml"))?;
    let repo = gitea.create_repo("fleet", &[("dev/podinfo.yaml", &dev), ("prod/podinfo.yaml", &prod)]).await?;
    stage.say(&format!("created the fleet repository {}", repo.clone_url));
    cluster.apply(&dev).await?;
    cluster.apply(&prod).await?;
    cluster.set_helm_release_ready("dev", "podinfo", OLD).await?;
    cluster.set_helm_release_ready("prod", "podinfo", OLD).await?;
    stage.say(&format!("HelmRelease podinfo is ready at {OLD} in dev and prod"));
    stage.secret("fleet", json!({"token": gitea.token})).await?;
    stage
        .apply_example(
            "examples/demo/pull-request.yaml",
            &[("https://gitea.example.com/platform/fleet.git", repo.clone_url.as_str())],
        )
        .await?;

    cluster.set_helm_release_ready("dev", "podinfo", NEW).await?;
    stage.say(&format!("dev is ready at {NEW}"));
    let decided = stage.promotion("podinfo", &[Phase::Pending, Phase::Open]).await?;
    stage.say(&format!("promotion {} of {} was decided", decided.id, decided.revision));
    let open = stage.promotion("podinfo", &[Phase::Open]).await?;

    let pulls = gitea.pulls(&repo).await?;
    ensure!(pulls.len() == 1, "{} pull requests instead of one", pulls.len());
    let pull = pulls.first().context("no pull request")?;
    let branches = gitea.branches(&repo).await?;
    ensure!(branches.contains(&pull.head.name), "branch {} is missing", pull.head.name);
    stage.say(&format!("branch {} was pushed", pull.head.name));
    ensure!(open.url.as_deref() == Some(pull.html_url.as_str()), "status names another pull request: {:?}", open.url);
    stage.say(&format!("pull request #{} is open: {}", pull.number, pull.html_url));
    stage.show(&pull.title);
    let diff = String::from_utf8(repo.git(&["diff", "--unified=1", &pull.base.name, &pull.head.name]).await?)?;
    ensure!(changed_lines(&diff) == (1, 1), "the pull request changes more than one line:\n{diff}");
    stage.show(&diff);

    gitea.merge(&repo, pull.number).await?;
    stage.say("merged through Gitea's API");
    stage.promotion("podinfo", &[Phase::Delivered]).await?;
    stage.say("the controller saw the merge and waits for prod");

    let merged = gitea.file(&repo, "main", "prod/podinfo.yaml").await?;
    ensure!(merged == prod.replace(OLD, NEW), "main holds something else:\n{merged}");
    cluster.apply(&merged).await?;
    cluster.set_helm_release_ready("prod", "podinfo", NEW).await?;
    stage.say(&format!("prod is ready at {NEW} (the demo imitates Flux: it applies what main holds)"));
    stage.promotion("podinfo", &[Phase::Succeeded]).await?;
    stage.say("status: Succeeded");
    stage.show(&cluster.kubectl(&["get", "pipeline", "podinfo"]).await?);
    Ok(())
}

/// How many lines a diff takes away and adds.
fn changed_lines(diff: &str) -> (usize, usize) {
    let count = |sign: char, header: &str| {
        diff.lines().filter(|line| line.starts_with(sign) && !line.starts_with(header)).count()
    };
    (count('-', "---"), count('+', "+++"))
}
