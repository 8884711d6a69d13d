use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use pipeline_api::Pipeline;
use pipeline_api::metadata::TOLD_AT;
use serde_json::{Value, json};

use super::super::fake::{KEY, NAME, World, sign, signed};
use super::super::{Legacy, MAX_BODY};
use crate::fixtures::{pipeline, with};

const DEV: &str = "/promotion/default/podinfo/dev";
const UNAUTHORIZED: (u16, &str) = (401, "unauthorized\n");

/// Of the application in dev.
fn event() -> Value {
    json!({
        "involvedObject": {
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev", "name": "podinfo",
        },
        "severity": "info", "timestamp": "2026-01-01T12:00:00Z", "reason": "UpgradeSucceeded", "message": "done",
        "metadata": {"revision": "6.1.0"}, "reportingController": "helm-controller",
    })
}

fn post(path: &str, signature: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path);
    let request = match signature {
        Some(signature) => request.header("X-Signature", signature),
        None => request,
    };
    request.body(body.into()).unwrap()
}

/// Signed with the right key.
fn told(path: &str, body: &str) -> Request<Body> {
    post(path, Some(&sign(KEY, body.as_bytes())), body.to_owned())
}

/// The same, with dev reporting by event.
fn by_event() -> Pipeline {
    let environments = json!([
        {"name": "dev", "targets": [{"namespace": "dev", "observe": "Event"}]},
        {"name": "prod", "targets": [{"namespace": "prod"}]},
    ]);
    with(signed(), json!({"spec": {"environments": environments}}))
}

async fn check(world: &World, request: Request<Body>, expect: (u16, &str)) {
    let what = format!("{} {}", request.method(), request.uri());
    let (status, text) = world.send(request).await;
    assert_eq!((status, text.as_str()), expect, "{what}");
}

#[tokio::test]
async fn the_order_of_the_checks() {
    let world = World::new(Some(signed()));
    let good = event().to_string();
    // Path, method, length …
    assert_eq!(world.send(told("/promotion/default/podinfo", &good)).await.0, 404);
    assert_eq!(world.send(told(&format!("{DEV}/more"), &good)).await.0, 404);
    assert_eq!(world.send(told("/pipelines/default/podinfo/dev", &good)).await.0, 404);
    check(&world, Request::get(DEV).body(Body::empty()).unwrap(), (405, "")).await;
    assert_eq!(world.send(post(DEV, None, vec![b' '; MAX_BODY + 1])).await.0, 413);
    // … signature, whatever else is wrong …
    for body in ["", "no JSON", "{}", &good] {
        check(&world, post(DEV, None, body.to_owned()), UNAUTHORIZED).await;
        check(&world, post(DEV, Some(&sign("other", body.as_bytes())), body.to_owned()), UNAUTHORIZED).await;
        check(&world, post(&format!("{NAME}/qa"), None, body.to_owned()), UNAUTHORIZED).await;
    }
    // … JSON …
    for body in ["", "no JSON", "7", "null", r#"{"metadata": {"revision": 7}}"#, r#"{"timestamp": "yesterday"}"#] {
        let (status, text) = world.send(told(DEV, body)).await;
        assert_eq!((status, text.starts_with("the body is no Flux event: ")), (400, true), "{body}: {text}");
    }
    // … and then what it says; `heard` has the rest.
    check(&world, told(DEV, "{}"), (422, "event has no 'revision' in the metadata field.")).await;
    check(&world, told(&format!("{NAME}/qa"), &good), (422, "app default/podinfo has no environment qa defined")).await;
    let mut other = event();
    other["involvedObject"]["name"] = json!("other");
    check(&world, told(DEV, &other.to_string()), (422, "involved object does not match Pipeline definition")).await;
    assert!(world.patched().is_empty());
}

#[tokio::test]
async fn a_pipeline_that_is_not_there_is_no_other_answer_than_a_wrong_signature() {
    let mut world = World::new(None);
    let good = event().to_string();
    check(&world, told(DEV, &good), UNAUTHORIZED).await;
    check(&world, post(DEV, None, good.clone()), UNAUTHORIZED).await;
    let unusable = [None, Some(json!({"token": "x"})), Some(json!({"hmac-key": " \n"}))];
    for secret in unusable {
        world.holds(Some(signed()));
        world.has_secret(secret);
        check(&world, told(DEV, &good), UNAUTHORIZED).await;
        // An empty key signs nothing.
        check(&world, post(DEV, Some(&sign("", good.as_bytes())), good.clone()), UNAUTHORIZED).await;
    }
    assert!(!world.is_woken());
    world.breaks(Some(500));
    check(&world, told(DEV, &good), (503, "the API server cannot be asked now\n")).await;
}

#[tokio::test]
async fn an_event_of_what_is_watched_wakes_and_nothing_else() {
    let good = event().to_string();
    let mut world = World::new(Some(signed()));
    for path in [DEV.to_owned(), DEV.replace("/promotion/", "/pipelines/promotions/")] {
        check(&world, told(&path, &good), (202, "")).await;
        assert!(world.is_woken());
    }
    let mut fails = event();
    fails["severity"] = json!("error");
    check(&world, told(DEV, &fails.to_string()), (202, "")).await;
    assert!(world.is_woken());
    // Without a key, everybody may say that something happened.
    world.holds(Some(pipeline("dev prod")));
    check(&world, post(DEV, None, good.clone()), (202, "")).await;
    check(&world, post(DEV, Some("sha256=00"), good), (202, "")).await;
    assert!(world.is_woken());
    check(&world, post(DEV, None, "{}"), (422, "event has no 'revision' in the metadata field.")).await;
    assert!(world.patched().is_empty());
}

#[tokio::test]
async fn an_event_of_what_reports_by_event_is_kept() {
    let mut world = World::new(Some(by_event()));
    world.refuses(&[409, 409]);
    check(&world, told(DEV, &event().to_string()), (202, "")).await;
    let kept = json!({"dev": {
        "revision": "6.1.0", "ready": true, "reason": "UpgradeSucceeded", "reportedBy": "helm-controller",
        "time": "2026-01-01T12:00:00Z",
    }});
    let patched = world.patched();
    let [(path, patch)] = patched.as_slice() else { panic!("{patched:?}") };
    assert!(path.ends_with("/namespaces/default/pipelines/podinfo/status"), "{path}");
    assert_eq!(patch["status"], json!({"environments": {"dev": {"events": kept}}}));
    assert_eq!(patch["metadata"], json!({"name": "podinfo", "resourceVersion": "7"}));
    assert!(world.is_woken());

    // Again, older, failed, or not healthy yet.
    world.holds(Some(with(by_event(), json!({"status": {"environments": {"dev": {"events": kept}}}}))));
    let mut older = event();
    older["timestamp"] = json!("2026-01-01T11:59:59Z");
    older["metadata"]["revision"] = json!("6.0.0");
    let mut fails = event();
    fails["severity"] = json!("error");
    fails["timestamp"] = json!("2026-01-01T12:00:01Z");
    fails["metadata"]["revision"] = json!("6.2.0");
    let mut early = event();
    early["reason"] = json!("Progressing");
    for event in [event(), older, fails, early] {
        check(&world, told(DEV, &event.to_string()), (202, "")).await;
    }
    assert!(world.patched().is_empty() && !world.is_woken());

    world.holds(Some(by_event()));
    world.refuses(&[409; 5]);
    check(&world, told(DEV, &event().to_string()), (503, "the API server cannot be asked now\n")).await;
}

/// Another process reconciles the Pipeline: it sees the annotation.
#[tokio::test]
async fn who_does_not_lead_leaves_word() {
    let mut world = World::new(Some(by_event()));
    world.follows();
    check(&world, told(DEV, &event().to_string()), (202, "")).await;
    let patched = world.patched();
    let [(status, events), (object, word)] = patched.as_slice() else { panic!("{patched:?}") };
    assert!(status.ends_with("/pipelines/podinfo/status") && events["status"]["environments"]["dev"].is_object());
    assert!(object.ends_with("/pipelines/podinfo") && word["metadata"]["annotations"][TOLD_AT].is_string(), "{word}");

    world.refuses(&[200, 500]);
    check(&world, told(DEV, &event().to_string()), (503, "the API server cannot be asked now\n")).await;
    // It was kept. Sent again, it is no news, and the word is left all the same.
    let kept = json!({"dev": world.patched()[0].1["status"]["environments"]["dev"]["events"]["dev"]});
    world.holds(Some(with(by_event(), json!({"status": {"environments": {"dev": {"events": kept}}}}))));
    check(&world, told(DEV, &event().to_string()), (202, "")).await;
    assert!(world.patched()[0].1["metadata"]["annotations"][TOLD_AT].is_string());

    // What is watched is watched by that process too.
    world.holds(Some(signed()));
    check(&world, told(DEV, &event().to_string()), (202, "")).await;
    assert!(world.patched().is_empty() && !world.is_woken());
}

#[tokio::test]
async fn an_unsigned_event_is_never_kept() {
    let mut world = World::new(Some(with(by_event(), json!({"spec": {"promotion": {"hmacSecretRef": null}}}))));
    let good = event().to_string();
    check(&world, post(DEV, None, good.clone()), UNAUTHORIZED).await;
    check(&world, told(DEV, &good), UNAUTHORIZED).await;
    world.holds(Some(by_event()));
    check(&world, post(DEV, None, good), UNAUTHORIZED).await;
    assert!(world.patched().is_empty() && !world.is_woken());
}

#[tokio::test]
async fn a_key_from_a_file_is_good_with_and_without_its_line_break() {
    let world = World::new(Some(signed()));
    let good = event().to_string();
    world.has_secret(Some(json!({"hmac-key": "key\n"})));
    for key in ["key", "key\n"] {
        check(&world, post(DEV, Some(&sign(key, good.as_bytes())), good.clone()), (202, "")).await;
    }
    check(&world, post(DEV, Some(&sign("key ", good.as_bytes())), good), UNAUTHORIZED).await;
}

#[tokio::test]
async fn the_old_codes() {
    let open = json!({
        "id": "00000000-0000-0000-0000-000000000000", "revision": "6.1.0", "sequence": 1, "phase": "Open", "attempts": 0,
        "url": "https://github.com/acme/fleet/pull/7",
    });
    let automatic = with(signed(), json!({"spec": {"promotion": {"manual": false}}, "status": null}));
    let opened = with(automatic.clone(), json!({"status": {"environments": {"prod": {"promotion": open}}}}));
    let webhook = json!({"pullRequest": null, "webhook": {"secretRef": "ci"}});
    let notified = with(automatic.clone(), json!({"spec": {"promotion": webhook}}));
    for (pipeline, expect, location) in [
        (automatic, 201, None),
        (opened, 201, Some("https://github.com/acme/fleet/pull/7")),
        (notified, 204, None),
        (signed(), 204, None),
        (by_event(), 204, None),
    ] {
        let mut world = World::new(Some(pipeline));
        world.endpoints.legacy = Legacy { codes: true, approval: false };
        let answer = world.answer(told(DEV, &event().to_string())).await;
        let found = answer.headers().get("location").map(|url| url.to_str().unwrap().to_owned());
        assert_eq!((answer.status().as_u16(), found.as_deref()), (expect, location));
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}
