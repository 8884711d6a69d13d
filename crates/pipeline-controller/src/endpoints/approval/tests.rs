use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::super::fake::{KEY, World, sign, signed};
use super::super::{Endpoints, Legacy, MAX_BODY};
use crate::fixtures::{pipeline, with};

const PROD: &str = "/approval/default/podinfo/prod/6.1.0";
const UNAUTHORIZED: (u16, &str) = (401, "unauthorized\n");

fn approval() -> Value {
    json!({"namespace": "default", "pipeline": "podinfo", "environment": "prod", "revision": "6.1.0", "approvedBy": "ann"})
}

/// As the reference library signs.
fn signed_by(key: &str, id: &str, age: i64, path: &str, body: &str) -> Request<Body> {
    let time = Endpoints::now().as_second() - age;
    let signature = Webhook::from_bytes(key.as_bytes().to_vec()).unwrap().sign(id, time, body.as_bytes()).unwrap();
    Request::post(path)
        .header("webhook-id", id)
        .header("webhook-timestamp", time)
        .header("webhook-signature", signature)
        .body(body.to_owned().into())
        .unwrap()
}

fn post(id: &str, path: &str, body: &Value) -> Request<Body> {
    signed_by(KEY, id, 0, path, &body.to_string())
}

async fn check(world: &World, request: Request<Body>, expect: (u16, &str)) {
    let what = format!("{} {}", request.method(), request.uri());
    let (status, text) = world.send(request).await;
    assert_eq!((status, text.as_str()), expect, "{what}");
}

#[tokio::test]
async fn an_approval_becomes_the_annotation() {
    let world = World::new(Some(signed()));
    world.refuses(&[409, 409]);
    check(&world, post("1", PROD, &approval()), (202, "")).await;
    let patched = world.patched();
    let [(path, patch)] = patched.as_slice() else { panic!("{patched:?}") };
    assert!(path.ends_with("/namespaces/default/pipelines/podinfo"), "{path}");
    let annotations = json!({
        "pipelines.weave.works/approve": "prod=6.1.0#2", "pipelines.weave.works/approved-by": "ann",
    });
    assert_eq!(*patch, json!({"metadata": {"resourceVersion": "7", "annotations": annotations}}));

    let mut nameless = approval();
    nameless["approvedBy"] = json!(null);
    check(&world, post("2", PROD, &nameless), (202, "")).await;
    assert_eq!(
        world.patched()[0].1["metadata"]["annotations"]["pipelines.weave.works/approved-by"],
        "approval endpoint"
    );
}

#[tokio::test]
async fn the_order_of_the_checks() {
    let world = World::new(Some(signed()));
    let good = approval().to_string();
    assert_eq!(world.send(post("a", "/approval/default/podinfo/prod", &approval())).await.0, 404);
    assert_eq!(world.send(post("b", &format!("{PROD}/more"), &approval())).await.0, 404);
    check(&world, Request::get(PROD).body(Body::empty()).unwrap(), (405, "")).await;
    assert_eq!(world.send(Request::post(PROD).body(vec![b' '; MAX_BODY + 1].into()).unwrap()).await.0, 413);

    check(&world, Request::post(PROD).body(good.clone().into()).unwrap(), UNAUTHORIZED).await;
    check(&world, signed_by("other", "c", 0, PROD, &good), UNAUTHORIZED).await;
    check(&world, signed_by(KEY, "d", 301, PROD, &good), UNAUTHORIZED).await;
    check(&world, signed_by(KEY, "e", -310, PROD, &good), UNAUTHORIZED).await;
    // What the first pipeline-controller took, and the signature of an event.
    for body in ["", good.as_str()] {
        let request = Request::post(PROD).header("X-Signature", sign(KEY, body.as_bytes()));
        check(&world, request.body(good.clone().into()).unwrap(), UNAUTHORIZED).await;
    }

    for (id, body) in [("f", ""), ("g", "no JSON"), ("h", "{}")] {
        let (status, text) = world.send(signed_by(KEY, id, 0, PROD, body)).await;
        assert_eq!((status, text.starts_with("the body is no approval: ")), (400, true), "{body}: {text}");
    }
    for (id, by) in [("i", "x".repeat(254)), ("j", "ann\nbob".to_owned())] {
        let mut odd = approval();
        odd["approvedBy"] = json!(by);
        assert_eq!(world.send(post(id, PROD, &odd)).await.0, 400);
    }
    for field in ["namespace", "pipeline", "environment", "revision"] {
        let mut other = approval();
        other[field] = json!("other");
        let why = "failed approving promotion: the body approves something else than the path names";
        check(&world, post(field, PROD, &other), (422, why)).await;
    }
    assert!(world.patched().is_empty());
}

#[tokio::test]
async fn it_counts_for_what_waits_alone() {
    let world = World::new(Some(signed()));
    let of = |environment: &str, revision: &str| {
        let mut approval = approval();
        (approval["environment"], approval["revision"]) = (json!(environment), json!(revision));
        (format!("/approval/default/podinfo/{environment}/{}", revision.replace('/', "%2F")), approval)
    };
    let check = async |id: &str, environment: &str, revision: &str, why: &str| {
        let (path, approval) = of(environment, revision);
        check(&world, post(id, &path, &approval), (422, why)).await;
    };
    check("1", "qa", "6.1.0", "app default/podinfo has no environment qa defined").await;
    check(
        "2",
        "prod",
        "6.0.9",
        "failed approving promotion: in environment \"prod\", 6.1.0 waits for approval, not 6.0.9",
    )
    .await;
    check("3", "dev", "6.1.0", "failed approving promotion: nothing waits for approval in environment \"dev\"").await;
    // A newer one has taken its place while the patch was on its way.
    world.refuses(&[409]);
    world.holds(Some(with(signed(), json!({"status": {"environments": {"prod": {"waitingApproval": null}}}}))));
    check("4", "prod", "6.1.0", "failed approving promotion: nothing waits for approval in environment \"prod\"").await;
    assert!(world.patched().is_empty());

    let revision = "refs/heads/main@sha1:1a2b";
    let waiting = json!({"waitingApproval": {"revision": revision}, "promotion": {"revision": revision}});
    world.holds(Some(with(signed(), json!({"status": {"environments": {"prod": waiting}}}))));
    world.refuses(&[]);
    let (path, approval) = of("prod", revision);
    assert_eq!(world.send(post("5", &path, &approval)).await, (202, String::new()));
    assert_eq!(world.patched().len(), 1);
}

#[tokio::test]
async fn it_counts_once() {
    let world = World::new(Some(signed()));
    let again = (409, "the approval was received before");
    check(&world, post("1", PROD, &approval()), (202, "")).await;
    check(&world, post("1", PROD, &approval()), again).await;
    // One that was refused cannot wait for its time either.
    world.holds(Some(pipeline_that_waits_for_nothing()));
    assert_eq!(world.send(post("2", PROD, &approval())).await.0, 422);
    world.holds(Some(signed()));
    check(&world, post("2", PROD, &approval()), again).await;
    // What came to nothing may be sent again, and nobody unsigned uses up an id.
    world.refuses(&[500]);
    assert_eq!(world.send(post("3", PROD, &approval())).await.0, 503);
    check(&world, post("3", PROD, &approval()), (202, "")).await;
    check(&world, signed_by("other", "4", 0, PROD, &approval().to_string()), UNAUTHORIZED).await;
    check(&world, post("4", PROD, &approval()), (202, "")).await;
}

fn pipeline_that_waits_for_nothing() -> pipeline_api::Pipeline {
    with(signed(), json!({"status": null}))
}

#[tokio::test]
async fn nobody_approves_without_a_key() {
    let world = World::new(Some(with(signed(), json!({"spec": {"promotion": {"hmacSecretRef": null}}}))));
    check(&world, post("1", PROD, &approval()), UNAUTHORIZED).await;
    for pipeline in [None, Some(pipeline("dev prod"))] {
        world.holds(pipeline);
        check(&world, post("1", PROD, &approval()), UNAUTHORIZED).await;
    }
    world.holds(Some(signed()));
    world.has_secret(None);
    check(&world, post("1", PROD, &approval()), UNAUTHORIZED).await;
}

#[tokio::test]
async fn as_the_first_controller_took_them() {
    let mut world = World::new(Some(signed()));
    world.endpoints.legacy = Legacy { codes: false, approval: true };
    let legacy =
        |key: &str, path: &str| Request::post(path).header("X-Signature", sign(key, b"")).body(Body::empty()).unwrap();
    check(&world, legacy(KEY, PROD), (202, "")).await;
    assert_eq!(world.patched()[0].1["metadata"]["annotations"]["pipelines.weave.works/approve"], "prod=6.1.0#2");
    check(&world, legacy("other", PROD), UNAUTHORIZED).await;
    check(&world, Request::post(PROD).body(Body::empty()).unwrap(), UNAUTHORIZED).await;
    assert_eq!(world.send(legacy(KEY, "/approval/default/podinfo/prod/6.0.9")).await.0, 422);
    // Whoever signs better is held to it.
    let mut both = signed_by("other", "1", 0, PROD, &approval().to_string());
    both.headers_mut().insert("X-Signature", sign(KEY, b"").parse().unwrap());
    check(&world, both, UNAUTHORIZED).await;

    world.endpoints.legacy.codes = true;
    let answer = world.answer(post("2", PROD, &approval())).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("location")), (201, None));
}
