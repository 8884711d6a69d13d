use std::convert::Infallible;
use std::pin::pin;

use futures::StreamExt;
use http::{Request, Response};
use kube::api::PartialObjectMeta;
use kube::{Client, ResourceExt};
use pipeline_api::Pipeline;
use serde_json::json;

use super::*;

/// As an API server without the feature WatchList answers, at which it is off by default in 1.28 to 1.31 and in 1.33:
/// <https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/>
fn without_streaming_lists(request: &Request<kube::client::Body>) -> (u16, serde_json::Value) {
    let query = request.uri().query().unwrap_or_default();
    if query.contains("sendInitialEvents=true") {
        let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch \
                       unless the WatchList feature gate is enabled";
        let refused = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422, "message": message,
        });
        return (422, refused);
    }
    let item = |name: &str| json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": "7"}});
    let list = |items: &[&str], next: &str| {
        let items: Vec<_> = items.iter().map(|name| item(name)).collect();
        json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": "9", "continue": next}, "items": items,
        })
    };
    if query.contains("continue=") { (200, list(&["c"], "")) } else { (200, list(&["a", "b"], "more")) }
}

#[tokio::test]
async fn who_cannot_stream_lists_is_asked_for_pages() {
    let service = tower::service_fn(|request: Request<kube::client::Body>| async move {
        let (status, answer) = without_streaming_lists(&request);
        let body = kube::client::Body::from(answer.to_string().into_bytes());
        Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
    });
    let api: Api<PartialObjectMeta<Pipeline>> = Api::all(Client::new(service, "default"));
    let mut told = Vec::new();
    let mut events = pin!(watch(api, Config::default()));
    loop {
        match events.next().await.unwrap().unwrap() {
            Event::Init => told.clear(),
            Event::InitApply(pipeline) => told.push(pipeline.name_any()),
            Event::InitDone => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, ["a", "b", "c"]);
}
