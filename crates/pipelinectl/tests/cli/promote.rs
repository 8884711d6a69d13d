//! `pipelinectl promote` by pull request, on a real Gitea and an imitated GitHub.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::git_server::Step;
use testbed::github::{Call, PullState};
use testbed::{Fault, Hold, Rule, When};

use crate::run::{pipelinectl, run, run_with};
use crate::world::{FILES, Files, LOOPBACK, REPO, World, pipeline, secret};

fn str_args(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn gitea_gets_one_pull_request_however_often_it_is_asked() -> Result<()> {
    let bed = testbed::shared().await?;
    let repo = bed.gitea.create_repo("fleet", &FILES).await?;
    let files = Files::new(&bed.ca);
    let promotion = json!({"pullRequest": {
        "url": repo.clone_url, "branch": "main", "secretRef": "fleet", "provider": "gitea",
    }});
    let flags = files.flags(&pipeline(&promotion), &secret(&json!({"token": bed.gitea.token})));
    let promote = async || run(&[&["promote", "-r", "6.3.0"], str_args(&flags).as_slice()].concat()).await;

    let first = promote().await;
    assert_eq!((first.code, first.stderr.as_str()), (0, ""), "{first:?}");
    let pulls = bed.gitea.pulls(&repo).await?;
    let [pull] = pulls.as_slice() else { panic!("{pulls:?}") };
    assert_eq!(first.stdout, format!("The pull request for 6.3.0 to prod is open: {}\n", pull.html_url));
    assert_eq!(bed.gitea.file(&repo, &pull.head.name, "apps/prod.yaml").await?, FILES[0].1.replace("6.2.0", "6.3.0"));

    let again = promote().await;
    assert_eq!((again.code, &again.stdout), (0, &first.stdout));
    assert_eq!(bed.gitea.pulls(&repo).await?.len(), 1);
    assert_eq!(bed.gitea.pull(&repo, pull.number).await?.head.sha, pull.head.sha);
    assert_eq!(bed.gitea.branches(&repo).await?.len(), 2);

    bed.gitea.merge(&repo, pull.number).await?;
    let merged = promote().await;
    assert_eq!(merged.code, 0);
    assert!(merged.stdout.contains("is merged: "), "{merged:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn github_gets_one_pull_request_and_data_tells_of_it() -> Result<()> {
    let world = World::start().await?;
    let cache = world.files.folder.path().join("cache");
    let cache = ["-o", "json", "--cache-dir", cache.to_str().unwrap()];
    for _ in 0..2 {
        let ran = world.promote("6.3.0", &cache).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        let data: Value = serde_json::from_str(&ran.stdout)?;
        assert_eq!(
            (&data["namespace"], &data["pipeline"], &data["environment"], &data["revision"], &data["sequence"]),
            (&json!("default"), &json!("podinfo"), &json!("prod"), &json!("6.3.0"), &json!(1))
        );
        assert_eq!((&data["strategy"], &data["state"]), (&json!("PullRequest"), &json!("Open")));
        let pull = world.github.pull(REPO, 1).await?;
        assert!(pull.body.unwrap().contains(data["promotionId"].as_str().unwrap()));
        assert!(data["url"].as_str().unwrap().ends_with("/pull/1"));
        world.assert_one().await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn one_file_or_standard_input_holds_all() -> Result<()> {
    let world = World::start().await?;
    let token = secret(&json!({"token": testbed::git_server::TOKEN}));
    let both = format!("{}\n---\n{token}\n", pipeline(&world.pull_request()));
    let file = world.files.write("both.yaml", &both);
    let ca = world.files.ca.to_str().unwrap();
    for (file, stdin) in [(file.as_str(), ""), ("-", both.as_str())] {
        let args = ["promote", "-f", file, "--ca-file", ca, "-e", "prod", "-r", "6.3.0"];
        let args = [args.as_slice(), &LOOPBACK].concat();
        let ran = run_with(&args, stdin.as_bytes()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        world.assert_one().await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_newer_revision_a_closed_pull_request_and_a_sequence() -> Result<()> {
    let world = World::start().await?;
    assert_eq!(world.promote("6.3.0", &[]).await.code, 0);
    assert_eq!(world.promote("6.4.0", &[]).await.code, 0);
    assert_eq!(world.github.pull(REPO, 1).await?.state, PullState::Closed);

    world.github.close(REPO, 2).await?;
    let closed = world.promote("6.4.0", &[]).await;
    assert_eq!(closed.code, 1);
    assert!(closed.stdout.contains("is closed: ") && closed.stderr.contains("raise --sequence to 2"), "{closed:?}");
    assert_eq!(world.github.pulls(REPO).await?.len(), 2);

    assert_eq!(world.promote("6.4.0", &["--sequence", "2"]).await.code, 0);
    world.github.merge(REPO, 3).await?;
    let merged = world.promote("6.4.0", &["--sequence", "2"]).await;
    assert!(merged.code == 0 && merged.stdout.contains("is merged: "), "{merged:?}");
    let applied = world.promote("6.4.0", &["--sequence", "3"]).await;
    assert_eq!((applied.code, applied.stdout.as_str()), (0, "Nothing to change: prod has 6.4.0 already.\n"));
    Ok(())
}

enum Point {
    Git(Step),
    Api(Call),
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn killed_at_any_point_and_called_again() -> Result<()> {
    for point in
        [Point::Git(Step::Fetch), Point::Git(Step::Push), Point::Api(Call::ListPulls), Point::Api(Call::CreatePull)]
    {
        for when in [When::Before, When::After] {
            let world = World::start().await?;
            let hold = Hold::new();
            let fault = Fault::Hold(when, hold.clone());
            match point {
                Point::Git(step) => world.git.inject(Rule::once(fault).on(step)),
                Point::Api(call) => world.github.inject(Rule::once(fault).on(call)),
            }
            let flags = world.flags();
            let args = [&["promote", "-r", "6.3.0"], str_args(&flags).as_slice()].concat();
            // A killed process cannot remove its folder.
            let mut child = pipelinectl(&args).env("TMPDIR", world.files.folder.path()).spawn()?;
            hold.reached().await?;
            child.kill().await?;
            hold.break_off();

            let again = world.promote("6.3.0", &[]).await;
            assert_eq!(again.code, 0, "{again:?}");
            world.assert_one().await?;
        }
    }
    Ok(())
}
