//! Runs each program as its documentation says.

#![cfg(test)]

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Result;
use http::StatusCode;
use tempfile::TempDir;
use testbed::{Ca, Fault, Receiver};
use tokio::process::Command;

async fn run(program: &str, args: &[&str], token: &str) -> Output {
    let mut command = Command::new(program);
    command.args(args).env("TOKEN", token).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
}

async fn prints(program: &str, args: &[&str], token: &str) -> String {
    let output = run(program, args, token).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn read_pipeline() {
    let check = async |manifest: &str, expect: &str| {
        let path = format!("examples/manifests/{manifest}.yaml");
        assert_eq!(prints(env!("CARGO_BIN_EXE_read_pipeline"), &[&path], "").await, expect, "{manifest}");
    };
    let github = "https://github.com/organisation/gitops-configuration-monorepo";
    check("strategy", &format!("to prod: a pull request to main of {github}\n")).await;
    check("pull-request", &format!("to prod: a pull request to main of {github}.git\n")).await;
    check("updates", &format!("to prod: a pull request to main of {github}.git\n")).await;
    check("webhook", "to prod: an event to https://my-jenkins.prod\n").await;
    check(
        "environments",
        "to staging: a pull request to main of https://gitea.example.com/platform/fleet.git\n\
         to prod: a pull request to release of https://gitea.example.com/platform/fleet-prod.git\n",
    )
    .await;
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn open_pull_request() -> Result<()> {
    let bed = testbed::shared().await?;
    let marked = "version: 6.2.0 # {\"$promotion\": \"default:podinfo:prod\"}\n";
    let repo = bed.gitea.create_repo("fleet", &[("prod.yaml", marked)]).await?;
    let ca = bed.ca.certificate_path();
    let args = [
        repo.clone_url.as_str(),
        "main",
        "default",
        "podinfo",
        "prod",
        "6.3.0",
        "--provider",
        "gitea",
        "--ca-file",
        ca.to_str().unwrap(),
        "--egress-allow",
        "127.0.0.0/8",
    ];
    let first = prints(env!("CARGO_BIN_EXE_open_pull_request"), &args, &bed.gitea.token).await;
    let pulls = bed.gitea.pulls(&repo).await?;
    let [pull] = pulls.as_slice() else { panic!("{pulls:?}") };
    assert_eq!(first, format!("Open\nprod.yaml:1: 6.2.0 -> 6.3.0\n{}\n", pull.html_url));
    let again = prints(env!("CARGO_BIN_EXE_open_pull_request"), &args, &bed.gitea.token).await;
    assert_eq!(again, format!("Open\n{}\n", pull.html_url));
    assert_eq!(bed.gitea.pulls(&repo).await?.len(), 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn deliver_webhook() -> Result<()> {
    let folder = TempDir::new()?;
    let ca = Ca::generate(folder.path())?;
    let receiver = Receiver::start(&ca).await?;
    receiver.script([Fault::status(StatusCode::SERVICE_UNAVAILABLE)]);
    let (url, ca) = (receiver.url(), ca.certificate_path());
    let args = [url.as_str(), "default", "podinfo", "prod", "6.3.0", "--ca-file", ca.to_str().unwrap()];
    let args = [args.as_slice(), &["--egress-allow", "127.0.0.0/8"]].concat();
    let printed = prints(env!("CARGO_BIN_EXE_deliver_webhook"), &args, "a key to sign with").await;
    assert!(printed.starts_with("attempt 1: ") && printed.ends_with("delivered in attempt 2: 202\n"), "{printed}");
    let received = receiver.wait_for(2, Duration::from_secs(5)).await?;
    for request in &received {
        request.verify("a key to sign with")?;
    }
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    Ok(())
}
