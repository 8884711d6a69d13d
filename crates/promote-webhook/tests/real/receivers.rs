use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use axum::Router;
use axum::extract::{Path, Query};
use axum::routing::post;
use cloudevents::binding::http::to_event;
use cloudevents::{AttributesReader as _, Data, Event};
use egress::{Egress, Guard, Identity, Policy, Retry};
use http::StatusCode;
use promote_webhook::{Format, Keys, deliver};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use testbed::{Process, Receiver};

use crate::world::{KEY, PATIENCE, ca, client, delivery, now, program};

#[tokio::test]
async fn the_reference_library_of_standard_webhooks_verifies() -> Result<()> {
    let (_folder, ca) = ca()?;
    let receiver = Receiver::start(&ca).await?;
    let mut delivery = delivery(receiver.url(), Format::Generic);
    delivery.keys = Some(Keys { current: KEY.into(), previous: Some("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into()) });
    deliver(&client(&ca)?, &delivery, now()).await?;
    let [received] = &receiver.received()[..] else { panic!("one request") };
    let [new, old] = [Webhook::from_bytes(KEY.into())?, Webhook::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")?];
    for verifier in [&new, &old] {
        verifier.verify(&received.body, &received.headers)?;
    }
    new.verify(b"{}", &received.headers).unwrap_err();
    Webhook::from_bytes(b"another".to_vec())?.verify(&received.body, &received.headers).unwrap_err();
    Ok(())
}

#[tokio::test]
async fn the_sdk_of_cloud_events_reads_both_modes() -> Result<()> {
    let (_folder, ca) = ca()?;
    let receiver = Receiver::start(&ca).await?;
    for format in [Format::Generic, Format::CloudEvents] {
        let delivery = delivery(receiver.url(), format);
        deliver(&client(&ca)?, &delivery, now()).await?;
        let received = receiver.received().pop().unwrap();
        let event: Event = to_event(&received.headers, received.body.clone())?;
        assert_eq!(event.id(), delivery.event.promotion_id.to_string(), "{format:?}");
        assert_eq!(event.ty(), "works.weave.pipelines.promotion.v1");
        assert_eq!(
            event.source().as_str(),
            "/apis/pipelines.weave.works/v1alpha1/namespaces/default/pipelines/podinfo"
        );
        assert_eq!(event.time().map(|time| time.timestamp()), Some(delivery.event.timestamp.as_second()));
        let data: Value = match event.data() {
            Some(Data::Json(value)) => value.clone(),
            Some(Data::Binary(bytes)) => serde_json::from_slice(bytes)?,
            other => panic!("{other:?}"),
        };
        assert_eq!(data["metadata"]["version"], "6.1.0");
        Webhook::from_bytes(KEY.into())?.verify(&received.body, &received.headers)?;
    }
    Ok(())
}

/// <https://github.com/adnanh/webhook/blob/master/docs/Hook-Rules.md#match-payload-hmac-sha256>
#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn adnanh_webhook_runs_its_command() -> Result<()> {
    let (folder, ca) = ca()?;
    let path = |name: &str| folder.path().join(name);
    fs::write(path("promote.sh"), "#!/bin/sh\necho \"$1 $2\" >> \"$(dirname \"$0\")/promoted\"\n")?;
    Command::new("chmod").arg("+x").arg(path("promote.sh")).status()?;
    let hook = |id: &str, header: &str| {
        json!({
            "id": id,
            "execute-command": path("promote.sh"),
            "include-command-output-in-response": true,
            "pass-arguments-to-command": [
                {"source": "payload", "name": "metadata.environment"},
                {"source": "payload", "name": "metadata.version"},
            ],
            // A wrong signature is a mismatch in an `or`, and an error of the server without.
            "trigger-rule": {"or": [{"match": {
                "type": "payload-hmac-sha256", "secret": KEY, "parameter": {"source": "header", "name": header},
            }}]},
            "trigger-rule-mismatch-http-response-code": 401,
            "trigger-signature-soft-failures": true,
        })
    };
    let hooks = json!([hook("flux", "X-Signature"), hook("github", "X-Hub-Signature-256")]);
    fs::write(path("hooks.json"), hooks.to_string())?;
    let port = testbed::ports::free()?;
    let mut command = Command::new(program("webhook")?);
    command.args(["-ip", "127.0.0.1", "-port", &port.to_string(), "-secure", "-hooks"]).arg(path("hooks.json"));
    command.arg("-cert").arg(ca.server_certificate_path()).arg("-key").arg(ca.server_key_path());
    let mut process = Process::start(&command, &path("webhook.log"))?;
    let http = ca.http_client()?;
    let root = format!("https://127.0.0.1:{port}/");
    process.ready(PATIENCE, async || http.get(&root).send().await.is_ok()).await?;

    for id in ["flux", "github"] {
        let mut delivery = delivery(format!("{root}hooks/{id}").parse()?, Format::Generic);
        deliver(&client(&ca)?, &delivery, now()).await?;
        delivery.keys = Some(Keys { current: "another key".into(), previous: None });
        let error = deliver(&client(&ca)?, &delivery, now()).await.unwrap_err();
        assert_eq!((error.retry(), error.to_string().contains("401")), (Retry::Never, true), "{error}");
    }
    assert_eq!(fs::read_to_string(path("promoted"))?, "prod 6.1.0\nprod 6.1.0\n");
    Ok(())
}

/// Jenkins' [Generic Webhook Trigger](https://plugins.jenkins.io/generic-webhook-trigger/) and GitLab's
/// [pipeline trigger](https://docs.gitlab.com/ci/triggers/) take a token in the URL, which is then the Secret's `address`.
#[tokio::test]
async fn a_url_with_its_token_is_called_as_it_is() -> Result<()> {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (jenkins, gitlab) = (Arc::clone(&seen), Arc::clone(&seen));
    type Token = Query<Vec<(String, String)>>;
    let is_token = |query: &Token| query.0 == [("token".to_owned(), "glptt canary&+%".to_owned())];
    let app = Router::new()
        .route(
            "/generic-webhook-trigger/invoke",
            post(async move |query: Token, body: String| {
                let body: Value = serde_json::from_str(&body).unwrap();
                jenkins.lock().unwrap().push(body["metadata"]["version"].to_string());
                // The plug-in answers 404 when no job has the token.
                if is_token(&query) { StatusCode::OK } else { StatusCode::NOT_FOUND }
            }),
        )
        .route(
            "/api/v4/projects/7/ref/{reference}/trigger/pipeline",
            post(async move |Path(reference): Path<String>, query: Token, body: String| {
                let body: Value = serde_json::from_str(&body).unwrap();
                gitlab.lock().unwrap().push(reference);
                // These would be taken for parameters of the API.
                let clash = ["ref", "token", "variables", "inputs"].iter().any(|name| body.get(name).is_some());
                match is_token(&query) && !clash {
                    true => StatusCode::CREATED,
                    false => StatusCode::BAD_REQUEST,
                }
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let root = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let guard = Guard { allow: vec!["127.0.0.0/8".parse()?], ..Guard::default() };
    let policy = Policy { guard, allow_http: true, ..Policy::default() };
    let client = Egress::new(policy)?.client(&Identity::default())?;
    for (path, status) in
        [("generic-webhook-trigger/invoke", 200), ("api/v4/projects/7/ref/release%2Fprod/trigger/pipeline", 201)]
    {
        let url = format!("{root}/{path}?token=glptt%20canary%26%2B%25");
        let delivered = deliver(&client, &delivery(url.parse()?, Format::Generic), now()).await?;
        assert_eq!(delivered.status, status);
        let wrong = format!("{root}/{path}?token=canary");
        let error = deliver(&client, &delivery(wrong.parse()?, Format::Generic), now()).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Never);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
    let expect = ["\"6.1.0\"", "\"6.1.0\"", "release/prod", "release/prod"];
    assert_eq!(*seen.lock().unwrap(), expect);
    Ok(())
}
