use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use axum::{Router, routing::any};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use egress::{Egress, Guard, Identity, Policy, Retry};
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

const TOKEN: &str = "canary-token";

fn event() -> Event {
    Event {
        pipeline: Pipeline {
            api_version: "pipelines.weave.works/v1alpha1".into(),
            namespace: "default".into(),
            name: "podinfo".into(),
            uid: Some("7d1b1c84-7c4d-4b0a-9f0e-0d1c0f6f0a11".into()),
        },
        promotion_id: "0b9f0c3e-8f1a-5a77-9d57-5a1f6b0f3c55".parse().unwrap(),
        environment: "prod".into(),
        source_environment: Some("dev".into()),
        version: "6.1.0".into(),
        previous_version: Some("6.0.3".into()),
        app_kind: "HelmRelease".into(),
        app_name: "podinfo".into(),
        timestamp: "2024-02-29T12:00:00.123456789Z".parse().unwrap(),
    }
}

fn delivery(url: &str) -> Delivery {
    let headers = vec![
        ("authorization".parse().unwrap(), HeaderValue::from_static("Bearer canary-bearer")),
        ("x-team".parse().unwrap(), HeaderValue::from_static("a")),
        ("webhook-id".parse().unwrap(), HeaderValue::from_static("forged")),
        ("x-signature".parse().unwrap(), HeaderValue::from_static("forged")),
    ];
    Delivery {
        url: url.parse().unwrap(),
        format: Format::Generic,
        keys: Some(Keys { current: TOKEN.into(), previous: None }),
        headers,
        timeout: TIMEOUT,
        event: event(),
    }
}

fn now() -> Timestamp {
    "2024-02-29T12:00:05Z".parse().unwrap()
}

fn client() -> Client {
    let guard = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], ..Guard::default() };
    let policy = Policy { guard, allow_http: true, ..Policy::default() };
    Egress::new(policy).unwrap().client(&Identity::default()).unwrap()
}

/// Method, path, headers and body of each request.
type Seen = Arc<Mutex<Vec<(Method, Uri, HeaderMap, Bytes)>>>;

/// A receiver that answers with this status, headers and a body that is nobody's business.
async fn receiver(status: u16, headers: &[(&str, &str)]) -> (String, Seen) {
    let seen = Seen::default();
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect();
    let answer = (StatusCode::from_u16(status).unwrap(), headers, "canary-answer");
    let log = Arc::clone(&seen);
    let handler = any(async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        log.lock().unwrap().push((method, uri, headers, body));
        answer
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/canary-path?token=canary-query", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });
    (url, seen)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[test]
fn the_body_is_a_flux_event() {
    let body = event().flux().unwrap();
    let body: serde_json::Value = serde_json::from_str(body.get()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap(), @r#"
    {
      "involvedObject": {
        "apiVersion": "pipelines.weave.works/v1alpha1",
        "kind": "Pipeline",
        "name": "podinfo",
        "namespace": "default",
        "uid": "7d1b1c84-7c4d-4b0a-9f0e-0d1c0f6f0a11"
      },
      "message": "Promote pipeline default/podinfo to prod with version 6.1.0",
      "metadata": {
        "appKind": "HelmRelease",
        "appName": "podinfo",
        "environment": "prod",
        "pipeline": "podinfo",
        "previousVersion": "6.0.3",
        "promotionId": "0b9f0c3e-8f1a-5a77-9d57-5a1f6b0f3c55",
        "sourceEnvironment": "dev",
        "version": "6.1.0"
      },
      "reason": "Promote",
      "reportingController": "pipeline-controller",
      "severity": "info",
      "timestamp": "2024-02-29T12:00:00Z"
    }
    "#);
}

#[test]
fn what_is_not_known_is_left_out() {
    let mut event = event();
    event.pipeline.uid = None;
    event.source_environment = None;
    event.previous_version = None;
    insta::assert_snapshot!(event.flux().unwrap().get(), @r#"{"involvedObject":{"kind":"Pipeline","namespace":"default","name":"podinfo","apiVersion":"pipelines.weave.works/v1alpha1"},"severity":"info","timestamp":"2024-02-29T12:00:00Z","message":"Promote pipeline default/podinfo to prod with version 6.1.0","reason":"Promote","metadata":{"appKind":"HelmRelease","appName":"podinfo","environment":"prod","pipeline":"podinfo","promotionId":"0b9f0c3e-8f1a-5a77-9d57-5a1f6b0f3c55","version":"6.1.0"},"reportingController":"pipeline-controller"}"#);
}

#[test]
fn the_request_of_one_attempt() {
    let request = request::build(&delivery("https://a.example/x?token=1"), now()).unwrap();
    let mut lines: Vec<_> = request.headers().iter().map(|(k, v)| format!("{k}: {}", v.to_str().unwrap())).collect();
    lines.sort();
    lines.insert(0, format!("{} {}", request.method(), request.uri()));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    POST https://a.example/x?token=1
    authorization: Bearer canary-bearer
    ce-id: 0b9f0c3e-8f1a-5a77-9d57-5a1f6b0f3c55
    ce-source: /apis/pipelines.weave.works/v1alpha1/namespaces/default/pipelines/podinfo
    ce-specversion: 1.0
    ce-time: 2024-02-29T12:00:00Z
    ce-type: works.weave.pipelines.promotion.v1
    content-type: application/json
    gotk-component: pipeline-controller
    webhook-id: 0b9f0c3e-8f1a-5a77-9d57-5a1f6b0f3c55
    webhook-signature: v1,yTIKGwJ6zUPMDDhT7kB6L9r8bf/8SlVVcFGwDzFx66g=
    webhook-timestamp: 1709208005
    x-hub-signature-256: sha256=57b1c8612a895d9776a5c1ada5140363d9ab6f93d62f9ebc798d1e1f8638c36b
    x-signature: sha256=57b1c8612a895d9776a5c1ada5140363d9ab6f93d62f9ebc798d1e1f8638c36b
    x-team: a
    "#);
}

#[test]
fn a_repository_dispatch() {
    let delivery = Delivery {
        format: Format::GitHubDispatch,
        headers: vec![("authorization".parse().unwrap(), HeaderValue::from_static("Bearer canary"))],
        ..delivery("https://github.com/acme/fleet")
    };
    let request = request::build(&delivery, now()).unwrap();
    assert_eq!(request.uri(), "https://api.github.com/repos/acme/fleet/dispatches");
    let headers = request.headers();
    assert_eq!(text(headers, "accept"), "application/vnd.github+json");
    assert_eq!(text(headers, "content-type"), "application/json");
    assert_eq!(text(headers, "authorization"), "Bearer canary");
    assert!(!headers.contains_key("ce-id"));
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["event_type"], "Pipeline/podinfo.default");
    assert_eq!(body["client_payload"]["metadata"]["version"], "6.1.0");
    assert_eq!(body.as_object().unwrap().len(), 2);
    assert!(body["client_payload"].as_object().unwrap().len() <= 10);
}

#[test]
fn a_structured_cloud_event() {
    let delivery = Delivery { format: Format::CloudEvents, headers: Vec::new(), ..delivery("https://a.example/") };
    let request = request::build(&delivery, now()).unwrap();
    assert_eq!(text(request.headers(), "content-type"), "application/cloudevents+json");
    assert!(!request.headers().contains_key("ce-id"));
    let mut body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    let data = body.as_object_mut().unwrap().remove("data").unwrap();
    assert_eq!(data, serde_json::from_str::<serde_json::Value>(event().flux().unwrap().get()).unwrap());
    insta::assert_snapshot!(body, @r#"{"datacontenttype":"application/json","id":"0b9f0c3e-8f1a-5a77-9d57-5a1f6b0f3c55","source":"/apis/pipelines.weave.works/v1alpha1/namespaces/default/pipelines/podinfo","specversion":"1.0","time":"2024-02-29T12:00:00Z","type":"works.weave.pipelines.promotion.v1"}"#);
}

#[test]
fn attempts_differ_in_time_alone() {
    let delivery = delivery("https://a.example/");
    let [first, second] = [now(), now() + Duration::from_secs(60)].map(|now| request::build(&delivery, now).unwrap());
    assert_eq!(first.body(), second.body());
    for (name, value) in first.headers() {
        let same = second.headers()[name] == *value;
        assert_eq!(same, !matches!(name.as_str(), "webhook-timestamp" | "webhook-signature"), "{name}");
    }
}

#[test]
fn without_a_token_nothing_claims_to_be_signed() {
    let delivery = Delivery { keys: None, headers: Vec::new(), ..delivery("https://a.example/") };
    let request = request::build(&delivery, now()).unwrap();
    for name in ["x-signature", "x-hub-signature-256", "webhook-signature"] {
        assert!(!request.headers().contains_key(name), "{name}");
    }
    assert_eq!(text(request.headers(), "webhook-id"), delivery.event.promotion_id.to_string());
}

#[tokio::test]
async fn a_receiver_can_verify_what_it_gets() {
    let (url, seen) = receiver(202, &[]).await;
    let delivered = deliver(&client(), &delivery(&url), now()).await.unwrap();
    assert_eq!(delivered.status, 202);

    let [(method, uri, headers, body)] = &seen.lock().unwrap()[..] else { panic!("one request") };
    assert_eq!((method, uri.to_string().as_str()), (&Method::POST, "/hooks/canary-path?token=canary-query"));
    assert_eq!(text(headers, "authorization"), "Bearer canary-bearer");
    assert_eq!(text(headers, "content-type"), "application/json");
    assert!(!format!("{headers:?}").contains(TOKEN));

    let key = hmac::Key::new(hmac::HMAC_SHA256, TOKEN.as_bytes());
    for name in ["x-signature", "x-hub-signature-256"] {
        let value = text(headers, name);
        let hex = value.strip_prefix("sha256=").unwrap();
        let digits: Vec<_> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
        let tag: Vec<_> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        hmac::verify(&key, body, &tag).unwrap();
    }
    let value = text(headers, "webhook-signature");
    let tag = BASE64_STANDARD.decode(value.strip_prefix("v1,").unwrap()).unwrap();
    let signed = format!("{}.{}.", text(headers, "webhook-id"), text(headers, "webhook-timestamp"));
    hmac::verify(&key, &[signed.as_bytes(), body].concat(), &tag).unwrap();
}

#[tokio::test]
async fn answers_are_classified_and_never_quoted() {
    let check = async |status, headers: &[(&str, &str)], expect: Retry| {
        let (url, seen) = receiver(status, headers).await;
        let error = deliver(&client(), &delivery(&url), now()).await.unwrap_err();
        assert_eq!(error.retry(), expect, "{status}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        assert_eq!(seen.lock().unwrap().len(), 1);
    };
    check(410, &[], Retry::Never).await;
    check(404, &[("retry-after", "7")], Retry::Never).await;
    check(503, &[], Retry::Later).await;
    check(429, &[("retry-after", "7")], Retry::After(Duration::from_secs(7))).await;
    check(503, &[("retry-after", "Thu, 29 Feb 2024 12:01:05 GMT")], Retry::After(Duration::from_secs(60))).await;
}

#[tokio::test]
async fn nothing_follows_a_redirect() {
    let (elsewhere, other) = receiver(200, &[]).await;
    for status in [301, 303, 307, 308] {
        let (url, _) = receiver(status, &[("location", &elsewhere)]).await;
        let error = deliver(&client(), &delivery(&url), now()).await.unwrap_err();
        assert!(matches!(error, Error::Redirected { .. }), "{error:?}");
        assert_eq!(error.retry(), Retry::Never);
    }
    assert!(other.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_that_never_ends_does_not_hold_a_delivery() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx").await.unwrap();
        std::future::pending::<()>().await;
    });
    assert_eq!(deliver(&client(), &delivery(&url), now()).await.unwrap(), Delivered { status: 200 });
}

#[tokio::test]
async fn no_receiver_is_tried_again_and_a_bad_address_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/canary", listener.local_addr().unwrap());
    drop(listener);
    let error = deliver(&client(), &delivery(&url), now()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later);
    assert!(!format!("{error} {error:?}").contains("canary"));
    let error = deliver(&client(), &delivery("https://canary:canary@a.example/canary"), now()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never);
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[test]
fn debug_shows_no_secret() {
    let text = format!("{:?}", delivery("https://a.example/canary?canary"));
    assert!(text.contains("https://a.example") && !text.contains("canary"), "{text}");
}
