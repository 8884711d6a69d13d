//! What `pipelinectl promote` says when it cannot, with which exit code; and that it shows no secret.

use std::net::TcpListener;

use anyhow::Result;
use serde_json::{Value, json};
use testbed::git_server::TOKEN;

use crate::run::run;
use crate::world::{LOOPBACK, World, pipeline, secret};

struct Case {
    pipeline: Value,
    secret: Value,
    code: i32,
    said: &'static [&'static str],
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn each_cause_is_named() -> Result<()> {
    let world = World::start().await?;
    world.git.create_repo("team/bare", &[("app.yaml", "version: 1\n")]).await?;
    let good = secret(&json!({"token": TOKEN}));
    let with = |field: &str, value: Value| {
        let mut promotion = world.pull_request();
        promotion["pullRequest"][field] = value;
        pipeline(&promotion)
    };
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let right = pipeline(&world.pull_request());
    let mut suspended = right.clone();
    suspended["spec"]["suspend"] = json!(true);
    let mut none = right.clone();
    none["spec"].as_object_mut().unwrap().remove("promotion");
    let mut unnamed = with("provider", Value::Null);
    unnamed["spec"]["promotion"]["pullRequest"]["apiUrl"] = Value::Null;
    let case = |pipeline: Value, secret: &Value, code: i32, said: &'static [&'static str]| Case {
        pipeline,
        secret: secret.clone(),
        code,
        said,
    };

    let cases = [
        case(right.clone(), &secret(&json!({"token": "hunter2"})), 1, &["401", "team/fleet"]),
        case(with("url", json!(world.git.url("team/absent"))), &good, 1, &["404", "team/absent"]),
        case(
            with("url", json!(world.git.url("team/bare"))),
            &good,
            3,
            &["team/bare", "the marker `default:podinfo:prod`"],
        ),
        case(with("branch", json!("release")), &good, 1, &["release", "team/fleet"]),
        case(with("apiUrl", json!(format!("https://{nobody}/api/v3"))), &good, 1, &["127.0.0.1", "may succeed later"]),
        case(unnamed, &good, 1, &["set `provider` to one of"]),
        case(with("provider", json!("gitlab")), &good, 1, &["404", "team/fleet"]),
        case(
            with("updates", json!([{"file": "*.yaml", "path": "spec.version"}])),
            &good,
            1,
            &["the update leads to no scalar: no file matches `*.yaml`"],
        ),
        case(
            with("url", json!("http://github.com/a/b")),
            &good,
            1,
            &["spec.promotion.pullRequest.url: url must begin with"],
        ),
        case(with("url", json!("https://me:hunter2@github.com/a/b")), &good, 1, &["url must not hold credentials"]),
        case(with("colour", json!("red")), &good, 1, &["spec.promotion.pullRequest.colour: is not a field"]),
        case(suspended, &good, 1, &["spec.suspend"]),
        case(none, &good, 1, &["spec.promotion: is missing"]),
        case(json!({"kind": "Pipeline"}), &good, 1, &["pipeline.yaml: holds no Pipeline"]),
        case(right.clone(), &secret(&json!({"password": "hunter2"})), 1, &["default/fleet", "`username`"]),
        case(right.clone(), &secret(&json!({"token": 17})), 1, &["stringData.token: is not a string"]),
        case(right.clone(), &json!({"kind": "hunter2"}), 1, &["secretRef", "Secret default/fleet", "holds no Secret"]),
        case(right.clone(), &json!("hunter2"), 1, &["secretRef", "holds no Secret"]),
    ];
    for Case { pipeline, secret, code, said } in cases {
        let flags = world.files.flags(&pipeline, &secret);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let ran = run(&[&["promote", "-r", "6.3.0"], flags.as_slice()].concat()).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{said:?} {ran:?}");
        assert!(ran.stderr.contains("error:"), "{ran:?}");
        for said in said {
            assert!(ran.stderr.contains(said), "{said:?} was expected, but there is {ran:?}");
        }
        assert!(!ran.stderr.contains("hunter2") && !ran.stderr.contains(TOKEN), "{ran:?}");
    }
    assert_eq!(world.repo.branches().await?.len(), 1);
    assert!(world.github.pulls("team/fleet").await?.is_empty());
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_authority_that_is_not_known_is_named() -> Result<()> {
    let world = World::start().await?;
    let file = world.files.write("pipeline.yaml", &pipeline(&world.pull_request()).to_string());
    let secret = world.files.write("secret.yaml", &secret(&json!({"token": TOKEN})).to_string());
    let args = ["promote", "-f", &file, "--secret", &secret, "-e", "prod", "-r", "6.3.0"];
    let ran = run(&args).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("127.0.0.1 is a loopback address; only the operator can allow it"), "{ran:?}");
    let args = [args.as_slice(), &LOOPBACK].concat();
    let ran = run(&args).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("certificate"), "{ran:?}");

    let bad = world.files.write("ca.pem", "no certificate");
    let ran = run(&[args.as_slice(), &["--ca-file", &bad]].concat()).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("--ca-file"), "{ran:?}");

    Ok(())
}
