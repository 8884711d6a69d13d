use std::convert::Infallible;
use std::sync::Mutex;

use http_body_util::BodyExt as _;
use jiff::ToSpan as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::reflector::ObjectRef;
use pipeline_api::{ReportState, ReportStatus};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::*;
use crate::leader::Leader;
use crate::observe::followers::PipelineMeta;

type Woken = mpsc::Receiver<ObjectRef<PipelineMeta>>;

/// Endpoints in front of an API server that answers 404 to everything, and how many requests it saw.
fn endpoints(rate: Rate) -> (Endpoints, Arc<Mutex<Vec<String>>>, Woken) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        log.lock().unwrap().push(request.uri().to_string());
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"});
        let body = kube::client::Body::from(status.to_string().into_bytes());
        async move { Ok::<_, Infallible>(Response::builder().status(404).body(body).unwrap()) }
    });
    let client = Client::new(service, "default");
    let (wake, woken) = fake::waking(client.clone(), Leader::alone());
    let hooks = Arc::new(Hooks::new(crate::context::Looks::default()));
    (
        Endpoints {
            client,
            namespace: None,
            hooks,
            wake,
            rate,
            legacy: Legacy::default(),
            seen: Arc::default(),
            metrics: Arc::default(),
        },
        asked,
        woken,
    )
}

const PLENTY: Rate = Rate { requests: 1000, interval: Duration::from_secs(30) };

async fn answer(method: &str, path: &str, body: impl Into<Body>) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    let response = router(endpoints(PLENTY).0).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn what_is_checked_first() {
    let path = "/promotion-status/default/podinfo/prod";
    assert_eq!(answer("POST", "/", "").await.0, 404);
    assert_eq!(answer("POST", "/promotion-status/default/podinfo", "").await.0, 404);
    assert_eq!(answer("POST", &format!("{path}/"), "").await.0, 404);
    assert_eq!(answer("GET", path, "").await.0, 405);
    assert_eq!(answer("POST", path, vec![b' '; MAX_BODY + 1]).await.0, 413);
    let unknown = answer("POST", path, "").await;
    assert_eq!(unknown, (401, "unauthorized\n".to_owned()));
    assert_eq!(answer("POST", path, vec![b' '; MAX_BODY]).await, unknown);
    for odd in ["/promotion-status/default/..%2fother/prod", "/promotion-status/%2e%2e/podinfo/prod"] {
        assert_eq!(answer("POST", odd, "").await, unknown);
    }
}

#[tokio::test]
async fn no_name_leaves_its_place_in_a_path() {
    let (endpoints, asked, _woken) = endpoints(PLENTY);
    for (namespace, name) in [("..", "a"), ("a/b", "c"), ("a", "b?c"), ("", "a"), ("a", "B"), ("a", "b\n")] {
        assert!(endpoints.pipeline(namespace, name).await.unwrap().is_none());
    }
    let elsewhere = Endpoints { namespace: Some("team".into()), ..endpoints.clone() };
    assert!(elsewhere.pipeline("other", "podinfo").await.unwrap().is_none());
    assert!(asked.lock().unwrap().is_empty());
    assert!(endpoints.pipeline("default", "podinfo").await.unwrap().is_none());
    assert_eq!(asked.lock().unwrap().len(), 1);
}

async fn start(rate: Rate) -> (SocketAddr, CancellationToken, Woken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (endpoints, _, woken) = endpoints(rate);
    tokio::spawn(serve(listener, endpoints, stop.clone()));
    (address, stop, woken)
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have had enough before all is sent.
    stream.write_all(request.as_bytes()).await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

const REQUEST: &str =
    "POST /promotion-status/a/b/c HTTP/1.1\r\nHost: x\r\nX-Real-IP: 192.0.2.7\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn peers_are_told_apart_by_their_sockets() {
    let (address, stop, _woken) = start(Rate { requests: 2, interval: Duration::from_secs(30) }).await;
    for expect in ["401", "401", "429"] {
        let answer = exchange(address, REQUEST).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expect} ")), "{answer}");
        assert_eq!(answer.to_lowercase().contains("retry-after: "), expect == "429", "{answer}");
    }
    let other = REQUEST.replace("192.0.2.7", "192.0.2.8");
    assert!(exchange(address, &other).await.starts_with("HTTP/1.1 429 "));
    stop.cancel();
}

#[tokio::test]
async fn headers_are_bounded() {
    let (address, stop, _woken) = start(PLENTY).await;
    let long = REQUEST.replace("192.0.2.7", &"x".repeat(2 * MAX_HEADERS));
    let answer = exchange(address, &long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(exchange(address, REQUEST).await.starts_with("HTTP/1.1 401 "));
    stop.cancel();
}

#[tokio::test]
async fn a_chunked_body_is_bounded() {
    let (address, stop, _woken) = start(PLENTY).await;
    let head = "POST /promotion-status/a/b/c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{MAX_BODY:x}\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(MAX_BODY));
    let answer = exchange(address, &format!("{head}{chunk}")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    stop.cancel();
}

#[tokio::test]
async fn who_is_being_answered_is_not_cut_off_by_a_stop() {
    let (address, stop, _woken) = start(PLENTY).await;
    let answer = tokio::spawn(async move { exchange(address, REQUEST).await });
    // A refusal takes a quarter of a second.
    tokio::time::sleep(REFUSAL / 2).await;
    stop.cancel();
    assert!(answer.await.unwrap().starts_with("HTTP/1.1 401 "));
}

#[test]
fn the_later_report_holds() {
    let now: Timestamp = "2024-02-29T12:00:00Z".parse().unwrap();
    let report = |id: &str, state: ReportState, seconds: i64| ReportStatus {
        promotion_id: id.to_owned(),
        state,
        url: None,
        reason: None,
        time: Time(now + seconds.seconds()),
    };
    let check = |known: Option<(&str, ReportState, i64)>, new: (&str, ReportState, i64), expect: bool| {
        let known = known.map(|(id, state, seconds)| report(id, state, seconds));
        assert_eq!(report::is_newer(known.as_ref(), &report(new.0, new.1, new.2)), expect, "{known:?} {new:?}");
    };
    use ReportState::{Failed, Running, Succeeded};
    check(None, ("a", Running, 0), true);
    check(Some(("a", Running, 0)), ("a", Running, 1), true);
    check(Some(("a", Running, 0)), ("a", Succeeded, 0), true);
    check(Some(("a", Running, 0)), ("a", Running, 0), false);
    check(Some(("a", Succeeded, 0)), ("a", Running, 0), false);
    check(Some(("a", Succeeded, 0)), ("a", Failed, 0), false);
    check(Some(("a", Failed, 5)), ("a", Running, 4), false);
    check(Some(("a", Failed, 5)), ("a", Running, 6), true);
    check(Some(("a", Failed, 5)), ("b", Running, 0), true);
}
