use std::convert::Infallible;

use http::{Request, Response};
use kube::client::{Body, ClientBuilder};
use serde_json::{Value, json};

use super::*;

fn podinfo() -> AppRef {
    AppRef {
        api_version: "helm.toolkit.fluxcd.io/v2".to_owned(),
        kind: "HelmRelease".to_owned(),
        name: "podinfo".to_owned(),
    }
}

/// A server that gives this answer to everything.
fn answering(code: u16, answer: &str) -> Reader {
    let answer = answer.to_owned();
    let server = tower::service_fn(move |_request: Request<Body>| {
        let answer = Response::builder().status(code).body(Body::from(answer.clone().into_bytes()));
        std::future::ready(Ok::<_, Infallible>(answer.unwrap()))
    });
    Reader::new(ClientBuilder::new(server, "default").build())
}

#[tokio::test]
async fn quotes_only_what_an_api_server_says() {
    let check = async |code: u16, answer: &str, expected: Failure| {
        assert_eq!(answering(code, answer).resource(&podinfo()).await, Err(expected), "{code} {answer}");
    };
    let application = |why: &str| Failure::Application(format!("cannot discover group helm.toolkit.fluxcd.io: {why}"));
    let server = |why: &str| Failure::Server(format!("cannot discover group helm.toolkit.fluxcd.io: {why}"));
    let status = |code: u16, reason: &str| {
        let status: Value = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
            "message": "its words",
        });
        status.to_string()
    };

    check(403, &status(403, "Forbidden"), application("its words")).await;
    check(401, &status(401, "Unauthorized"), server("its words")).await;
    check(503, &status(503, "ServiceUnavailable"), server("its words")).await;
    check(404, "canary", server("HTTP 404")).await;
    check(500, "<html>canary", server("HTTP 500")).await;
    let not_one = server("the answer is not one of a Kubernetes API server");
    check(403, r#"{"message": "canary"}"#, not_one.clone()).await;
    check(200, "canary", not_one.clone()).await;
    check(200, r#"{"groups": "canary"}"#, not_one).await;
    let no_kind = "the API server has no kind HelmRelease in group helm.toolkit.fluxcd.io: is its custom resource definition \
                   installed?";
    check(200, r#"{"kind": "APIGroupList", "groups": []}"#, Failure::Application(no_kind.to_owned())).await;
}

#[tokio::test]
async fn waits_no_longer_than_the_deadline() {
    let hanging =
        tower::service_fn(|_request: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let mut reader = Reader::new(ClientBuilder::new(hanging, "default").build());
    reader.deadline = Duration::from_millis(20);
    let expected = Failure::Server("the API server did not answer within 20ms".to_owned());
    assert_eq!(reader.resource(&podinfo()).await, Err(expected.clone()));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("helm.toolkit.fluxcd.io", "v2", "HelmRelease"));
    assert_eq!(reader.read(&resource, &podinfo(), "apps").await, Err(expected));
}
