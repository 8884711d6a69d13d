use std::convert::Infallible;

use http::{Request, Response};
use kube::client::{Body, ClientBuilder};
use serde_json::{Value, json};

use super::*;

fn helm_release() -> Kind {
    Kind { api_version: "helm.toolkit.fluxcd.io/v2".to_owned(), kind: "HelmRelease".to_owned(), observe: None }
}

/// A server that gives this answer to everything.
fn answering(code: u16, answer: &str) -> Client {
    let answer = answer.to_owned();
    let server = tower::service_fn(move |_request: Request<Body>| {
        let answer = Response::builder().status(code).body(Body::from(answer.clone().into_bytes()));
        std::future::ready(Ok::<_, Infallible>(answer.unwrap()))
    });
    ClientBuilder::new(server, "default").build()
}

#[tokio::test]
async fn quotes_only_what_an_api_server_says() {
    let check = async |code: u16, answer: &str, expected: Failure| {
        assert_eq!(discover(&answering(code, answer), &helm_release()).await, Err(expected), "{code} {answer}");
    };
    let server = |why: &str| Failure::Server(format!("cannot discover group helm.toolkit.fluxcd.io: {why}"));
    let status = |code: u16, reason: &str| {
        let status: Value = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
            "message": "its words",
        });
        status.to_string()
    };

    check(
        403,
        &status(403, "Forbidden"),
        Failure::Forbidden("cannot discover group helm.toolkit.fluxcd.io: its words".to_owned()),
    )
    .await;
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
    check(200, r#"{"kind": "APIGroupList", "groups": []}"#, Failure::NotThere(no_kind.to_owned())).await;
}

#[tokio::test]
async fn waits_no_longer_than_the_deadline() {
    let expected = Failure::Server("the API server did not answer within 20ms".to_owned());
    let hanging = std::future::pending::<Result<(), Failure>>();
    assert_eq!(in_time(Duration::from_millis(20), hanging).await, Err(expected));
}
