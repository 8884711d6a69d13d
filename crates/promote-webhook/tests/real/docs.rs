//! What `docs/receive-a-promotion.md` tells receivers to do, done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use egress::{Client, Egress, Guard, Identity, Policy, Retry};
use http::{HeaderMap, StatusCode};
use promote_webhook::{Format, Keys, Refusal, Report, State, acknowledge, deliver};
use serde_json::Value;
use testbed::{Process, Receiver};
use tokio::net::TcpStream;

use crate::world::{PATIENCE, ca, client, delivery, now};

const PAGE: &str = include_str!("../../../../docs/receive-a-promotion.md");

/// The first block in `language` after `heading`.
fn block<'a>(heading: &str, language: &str) -> &'a str {
    let (_, section) = PAGE.split_once(&format!("\n{heading}\n")).unwrap();
    let (_, block) = section.split_once(&format!("\n```{language}\n")).unwrap();
    block.split_once("\n```").unwrap().0
}

/// With and without the prefix that makes a key base64.
const TOKENS: [&str; 2] = ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "it's a $key that \"both\" sides know"];

fn plain() -> Result<Client> {
    let guard = Guard { allow: vec!["127.0.0.0/8".parse()?], ..Guard::default() };
    Ok(Egress::new(Policy { guard, allow_http: true, ..Policy::default() })?.client(&Identity::default())?)
}

/// Serves with `command` under both kinds of token, and tells it true and false events.
async fn receives(folder: &Path, mut command: impl FnMut() -> Command) -> Result<()> {
    for token in TOKENS {
        let port = testbed::ports::free()?;
        let mut command = command();
        command.env("PORT", port.to_string()).env("WEBHOOK_KEY", token);
        let mut process = Process::start(&command, &folder.join(format!("{port}.log")))?;
        process.ready(PATIENCE, async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await?;

        let client = plain()?;
        let mut delivery = delivery(format!("http://127.0.0.1:{port}/promotions").parse()?, Format::Generic);
        delivery.keys = Some(Keys { current: token.into(), previous: None });
        for _ in 0..2 {
            assert_eq!(deliver(&client, &delivery, now()).await?.status, 202);
        }
        delivery.keys = Some(Keys { current: "the next key".into(), previous: Some(token.into()) });
        assert_eq!(deliver(&client, &delivery, now()).await?.status, 202);

        let forged = deliver(&client, &delivery, now() - std::time::Duration::from_secs(400)).await.unwrap_err();
        assert!(forged.to_string().contains("401"), "{forged}");
        for keys in [None, Some(Keys { current: "another key".into(), previous: None })] {
            delivery.keys = keys;
            let forged = deliver(&client, &delivery, now()).await.unwrap_err();
            assert!(forged.to_string().contains("401"), "{forged}");
            assert_eq!(forged.retry(), Retry::Never);
        }
        assert_eq!(process.log()?.matches("promote prod 6.1.0").count(), 1, "{}", process.log()?);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn python() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("receive.py");
    fs::write(&file, block("### Python", "python"))?;
    receives(folder.path(), || {
        let mut command = Command::new("python3");
        command.arg(&file);
        command
    })
    .await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn node() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("receive.js");
    fs::write(&file, block("### Node", "js"))?;
    receives(folder.path(), || {
        let mut command = Command::new("node");
        command.arg(&file);
        command
    })
    .await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn go() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("main.go"), block("### Go", "go"))?;
    fs::write(folder.path().join("go.mod"), "module receive\n\ngo 1.22\n")?;
    let built = Command::new("go").args(["build", "-o", "receive", "."]).current_dir(folder.path()).output()?;
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    receives(folder.path(), || Command::new(folder.path().join("receive"))).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn shell() -> Result<()> {
    let (folder, ca) = ca()?;
    let script = script(folder.path(), "verify.sh", block("### Shell", "sh"))?;
    let receiver = Receiver::start(&ca).await?;
    for token in TOKENS {
        let mut delivery = delivery(receiver.url(), Format::Generic);
        delivery.keys = Some(Keys { current: "the next key".into(), previous: Some(token.into()) });
        deliver(&client(&ca)?, &delivery, now()).await?;
        let received = receiver.received().pop().context("nothing came")?;
        let header = |name: &str| received.header(name).unwrap().to_owned();
        let signatures = header("webhook-signature");
        let verify = async |key: &str, time: &str, signatures: &str, body: &[u8]| {
            let file = folder.path().join("body");
            fs::write(&file, body).unwrap();
            let mut command = Command::new(&script);
            command.args([&header("webhook-id"), time, signatures]).env("WEBHOOK_KEY", key);
            let status = command.stdin(fs::File::open(file).unwrap()).stderr(Stdio::null()).status();
            status.unwrap().success()
        };
        let time = header("webhook-timestamp");
        assert!(verify(token, &time, &signatures, &received.body).await);
        assert!(!verify("another key", &time, &signatures, &received.body).await);
        assert!(!verify(token, &time, &signatures, b"{}").await);
        assert!(!verify(token, "1700000000", &signatures, &received.body).await);
        assert!(!verify(token, "now", &signatures, &received.body).await);
        assert!(!verify(token, &time, "", &received.body).await);
        assert!(!verify(token, &time, "v1,", &received.body).await);
    }
    Ok(())
}

fn script(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    Command::new("chmod").arg("+x").arg(&path).status()?;
    Ok(path)
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_report_of_the_shell_is_taken() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let script = script(folder.path(), "report.sh", block("## Report back", "sh"))?;
    let id = delivery("https://a.example/".parse()?, Format::Generic).event.promotion_id;
    let taken: Arc<Mutex<Vec<Result<Report, Refusal>>>> = Arc::default();
    let (log, token) = (Arc::clone(&taken), Arc::new(Mutex::new(String::new())));
    let key = Arc::clone(&token);
    let handler = post(async move |headers: HeaderMap, body: Bytes| {
        let keys = Keys { current: key.lock().unwrap().as_str().into(), previous: None };
        let report = acknowledge(Some(&keys), Some(id), &headers, &body, now());
        let status = if report.is_ok() { StatusCode::ACCEPTED } else { StatusCode::UNAUTHORIZED };
        log.lock().unwrap().push(report);
        status
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let hook = format!("http://{}/promotion-status/default/podinfo/prod", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });

    for key in TOKENS {
        key.clone_into(&mut token.lock().unwrap());
        let report = async |key: &str, args: &[&str]| {
            let mut command = tokio::process::Command::new(&script);
            command.args(args).envs([("WEBHOOK_KEY", key), ("HOOK", &hook), ("PROMOTION_ID", &id.to_string())]);
            command.output().await.unwrap().status.success()
        };
        assert!(report(key, &["running", "https://ci.example/jobs/7"]).await);
        assert!(report(key, &["failed", "", "tests are \"red\""]).await);
        assert!(!report("another key", &["succeeded"]).await);
        let taken = std::mem::take(&mut *taken.lock().unwrap());
        let [Ok(running), Ok(failed), Err(Refusal::Unsigned)] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((running.state, running.url.as_ref().map(|url| url.path())), (State::Running, Some("/jobs/7")));
        assert_eq!((failed.state, failed.reason.as_deref()), (State::Failed, Some("tests are \"red\"")));
        assert_eq!((failed.url.as_ref(), running.reason.as_ref()), (None, None));
    }
    Ok(())
}

/// The fields that the examples for CI systems name are fields of what is sent.
#[tokio::test]
async fn fields_of_the_event() -> Result<()> {
    let (_folder, ca) = ca()?;
    let receiver = Receiver::start(&ca).await?;
    let sent = async |format| -> Result<Value> {
        deliver(&client(&ca)?, &delivery(receiver.url(), format), now()).await?;
        Ok(serde_json::from_slice(&receiver.received().pop().context("nothing came")?.body)?)
    };
    let (event, dispatch) = (sent(Format::Generic).await?, sent(Format::GitHubDispatch).await?);
    let fields = |text: &str, before: &str| -> Vec<String> {
        let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_'));
        let found =
            text.split(before).skip(1).map(|rest| rest.split(ends).next().unwrap().trim_matches('.').to_owned());
        found.collect()
    };
    let check = |of: &Value, fields: Vec<String>, count: usize| {
        assert_eq!(fields.len(), count, "{fields:?}");
        for field in fields {
            let pointer = format!("/{}", field.replace('.', "/"));
            assert!(of.pointer(&pointer).is_some_and(Value::is_string), "{field} in {of}");
        }
    };
    check(&event, fields(block("## Jenkins", "groovy"), "'$."), 4);
    check(&event, fields(block("## GitLab", "yaml"), "jq -r ."), 3);
    check(&dispatch, fields(block("## GitHub Actions", "yaml"), "github.event."), 4);
    assert!(block("## GitHub Actions", "yaml").contains(&format!("[{}]", dispatch["event_type"].as_str().unwrap())));

    let mut shown: Value = serde_json::from_str(block("## What arrives", "json"))?;
    shown["timestamp"] = event["timestamp"].clone();
    assert_eq!(shown, event);
    Ok(())
}

/// GitLab's own way to hand on the event: a file, and `jq`.
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn the_script_of_the_gitlab_job() -> Result<()> {
    let (folder, ca) = ca()?;
    let receiver = Receiver::start(&ca).await?;
    deliver(&client(&ca)?, &delivery(receiver.url(), Format::Generic), now()).await?;
    let payload = folder.path().join("payload.json");
    fs::write(&payload, &receiver.received()[0].body)?;
    let log = "#!/bin/sh\necho \"$0 $*\" >> log\n";
    script(folder.path(), "report.sh", log)?;
    script(folder.path(), "promote.sh", log)?;
    let job = block("## GitLab", "yaml");
    let lines = job.split_once("script:\n").unwrap().1.lines().map(|line| line.trim().trim_start_matches("- "));
    let shell = lines.collect::<Vec<_>>().join("\n");
    let mut command = Command::new("sh");
    command.args(["-euc", &shell]).env("TRIGGER_PAYLOAD", &payload).env("CI_JOB_URL", "https://gitlab.example/7");
    assert!(command.current_dir(folder.path()).status()?.success());
    assert_eq!(
        fs::read_to_string(folder.path().join("log"))?,
        "./report.sh running https://gitlab.example/7\n\
         ./promote.sh prod 6.1.0 0b9f0c3e-8f1a-5a77-9d57-5a1f6b0f3c55\n\
         ./report.sh succeeded https://gitlab.example/7\n"
    );
    Ok(())
}
