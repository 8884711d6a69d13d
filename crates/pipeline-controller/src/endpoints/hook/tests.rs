use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::super::fake::waking;
use super::super::{Legacy, MAX_BODY, Rate, router};
use super::*;
use crate::context::Looks;
use crate::fixtures::pipeline;
use crate::hooks::Hooks;
use crate::leader::Leader;
use crate::observe::followers::PipelineMeta;

const SECRET: &str = "canary-of-the-hooks";

/// Endpoints in front of an API server that gives this one answer.
fn endpoints(rate: Rate, status: u16, answer: Value) -> (Endpoints, mpsc::Receiver<ObjectRef<PipelineMeta>>) {
    let service = tower::service_fn(move |_request: Request<kube::client::Body>| {
        let body = kube::client::Body::from(answer.to_string().into_bytes());
        async move { Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()) }
    });
    let client = Client::new(service, "default");
    let (wake, woken) = waking(client.clone(), Leader::alone());
    let hooks = Arc::new(Hooks::new(Looks::default()));
    hooks.follow(&pipeline("dev prod"));
    let (legacy, seen, metrics) = (Legacy::default(), Arc::default(), Arc::default());
    (Endpoints { client, namespace: None, hooks, wake, rate, legacy, seen, metrics }, woken)
}

/// With the Secret of the pipeline.
fn ready() -> (Endpoints, mpsc::Receiver<ObjectRef<PipelineMeta>>) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fleet", "namespace": "default"},
        "stringData": {"webhook-secret": SECRET, "token": "t"},
    });
    endpoints(PLENTY, 200, secret)
}

const PLENTY: Rate = Rate { requests: 1000, interval: Duration::from_secs(30) };

async fn post(endpoints: &Endpoints, path: &str, signature: &str, body: impl Into<Body>) -> (u16, String) {
    let request = Request::post(path).header("x-hub-signature-256", signature).body(body.into()).unwrap();
    let response = router(endpoints.clone()).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn sign(body: &str) -> String {
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
    signature.as_ref().iter().fold("sha256=".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn delivery(repository: &str, head: &str) -> String {
    json!({
        "action": "closed",
        "repository": {"full_name": repository},
        "pull_request": {"number": 7, "merged": true, "head": {"ref": head}},
    })
    .to_string()
}

#[tokio::test]
async fn a_signed_delivery_wakes_its_pipeline_once() {
    let (endpoints, mut woken) = ready();
    let body = delivery("acme/fleet", "promotion/default/podinfo/prod/6.1.0-0a1b2c3d");
    assert_eq!(post(&endpoints, "/hooks/github", &sign(&body), body.clone()).await.0, 202);
    let name = woken.try_recv().unwrap();
    assert_eq!((name.namespace.as_deref(), name.name.as_str()), (Some("default"), pipeline("dev").name_any().as_str()));
    let again = post(&endpoints, "/hooks/github", &sign(&body), body.clone()).await;
    assert_eq!(again, (409, "the delivery was received before\n".to_owned()));
    assert!(woken.try_recv().is_err());

    for other in [delivery("acme/fleet", "feature"), json!({"repository": {"full_name": "acme/fleet"}}).to_string()] {
        assert_eq!(post(&endpoints, "/hooks/github", &sign(&other), other).await.0, 202);
        assert!(woken.try_recv().is_err());
    }
}

#[tokio::test]
async fn nobody_else_wakes_it() {
    let (ready, mut woken) = ready();
    let body = delivery("acme/fleet", "promotion/default/podinfo/prod/6.1.0-0a1b2c3d");
    let unauthorized = (401, "unauthorized\n".to_owned());
    let elsewhere = delivery("acme/other", "promotion/default/podinfo/prod/6.1.0-0a1b2c3d");
    for (path, signature, body) in [
        ("/hooks/github", "sha256=00".to_owned(), body.clone()),
        ("/hooks/github", String::new(), body.clone()),
        ("/hooks/github", sign("other"), body.clone()),
        ("/hooks/github", sign(&elsewhere), elsewhere),
        ("/hooks/gitea", sign(&body), body.clone()),
    ] {
        assert_eq!(post(&ready, path, &signature, body).await, unauthorized, "{path} {signature}");
    }
    assert_eq!(post(&ready, "/hooks/svn", &sign(&body), body.clone()).await.0, 404);
    assert_eq!(post(&ready, "/hooks/github/x", &sign(&body), body.clone()).await.0, 404);
    assert_eq!(post(&ready, "/hooks/github", "", "payload=x").await.0, 400);
    assert_eq!(post(&ready, "/hooks/github", "", vec![b' '; MAX_BODY + 1]).await.0, 413);
    assert!(woken.try_recv().is_err());

    let (missing, _woken) = endpoints(PLENTY, 404, json!({"kind": "Status", "code": 404, "reason": "NotFound"}));
    assert_eq!(post(&missing, "/hooks/github", &sign(&body), body.clone()).await, unauthorized);
    let (broken, _woken) = endpoints(PLENTY, 500, json!({"kind": "Status", "code": 500, "reason": "InternalError"}));
    let answer = post(&broken, "/hooks/github", &sign(&body), body).await;
    assert_eq!(answer.0, 503);
    assert!(!answer.1.contains(SECRET));
}
