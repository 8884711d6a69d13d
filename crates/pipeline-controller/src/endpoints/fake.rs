//! An API server that holds one Pipeline and the Secret of its key.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;

use aws_lc_rs::hmac;
use http_body_util::BodyExt as _;
use kube::core::PartialObjectMetaExt as _;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher;
use pipeline_api::Pipeline;
use serde_json::{Value, json};

use tokio::sync::mpsc;

use super::*;
use crate::fixtures::{pipeline, with};
use crate::leader::Leader;
use crate::observe::followers::PipelineMeta;

pub(super) const KEY: &str = "canary of the endpoints";
pub(super) const NAME: &str = "/promotion/default/podinfo";

#[derive(Default)]
struct Held {
    pipeline: Option<Pipeline>,
    secret: Option<Value>,
    /// Statuses of the next answers to patches, and to everything.
    patches: VecDeque<u16>,
    broken: Option<u16>,
    patched: Vec<(String, Value)>,
}

pub(super) struct World {
    held: Arc<Mutex<Held>>,
    pub(super) endpoints: Endpoints,
    woken: mpsc::Receiver<ObjectRef<PipelineMeta>>,
}

/// How a process wakes that would reconcile default/podinfo, and what it woke itself.
pub(super) fn waking(client: Client, leader: Leader) -> (Wake, mpsc::Receiver<ObjectRef<PipelineMeta>>) {
    let (pipelines, mut writer) = reflector::store();
    let podinfo = pipeline("dev prod").metadata.into_response_partial();
    writer.apply_watcher_event(&watcher::Event::Apply(podinfo));
    let (queue, woken) = mpsc::channel(8);
    (Wake { client, leader, pipelines, queue }, woken)
}

/// dev and prod, with a key; prod waits for an approval of 6.1.0.
pub(super) fn signed() -> Pipeline {
    let promotion = json!({
        "id": "00000000-0000-0000-0000-000000000000", "revision": "6.1.0", "sequence": 2, "phase": "AwaitingApproval", "attempts": 0,
    });
    let prod = json!({"waitingApproval": {"revision": "6.1.0"}, "promotion": promotion});
    with(
        pipeline("dev prod"),
        json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"promotion": {"hmacSecretRef": "hmac", "manual": true}},
            "status": {"environments": {"prod": prod}},
        }),
    )
}

impl World {
    pub(super) fn new(pipeline: Option<Pipeline>) -> Self {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hmac", "namespace": "default"},
            "stringData": {"hmac-key": KEY},
        });
        let held = Arc::new(Mutex::new(Held { pipeline, secret: Some(secret), ..Held::default() }));
        let server = Arc::clone(&held);
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = Arc::clone(&server);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (status, answer) = server.lock().unwrap().answer(head.method.as_str(), head.uri.path(), &body);
                let body = kube::client::Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            }
        });
        let client = Client::new(service, "default");
        let (wake, woken) = waking(client.clone(), Leader::alone());
        let endpoints = Endpoints {
            client,
            namespace: None,
            hooks: Arc::new(Hooks::new(crate::context::Looks::default())),
            wake,
            rate: Rate { requests: 1000, interval: Duration::from_secs(30) },
            legacy: Legacy::default(),
            seen: Arc::default(),
            metrics: Arc::default(),
        };
        Self { held, endpoints, woken }
    }

    pub(super) fn has_secret(&self, values: Option<Value>) {
        self.held.lock().unwrap().secret =
            values.map(|values| json!({"metadata": {"name": "hmac"}, "stringData": values}));
    }

    pub(super) fn holds(&self, pipeline: Option<Pipeline>) {
        self.held.lock().unwrap().pipeline = pipeline;
    }

    /// Answers everything so from now on.
    pub(super) fn breaks(&self, status: Option<u16>) {
        self.held.lock().unwrap().broken = status;
    }

    /// Answers the next patches so.
    pub(super) fn refuses(&self, statuses: &[u16]) {
        self.held.lock().unwrap().patches = statuses.iter().copied().collect();
    }

    /// The paths and bodies of the patches that were let through.
    pub(super) fn patched(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.held.lock().unwrap().patched)
    }

    /// Another process leads.
    pub(super) fn follows(&mut self) {
        (self.endpoints.wake, self.woken) = waking(self.endpoints.client.clone(), Leader::elected_later());
    }

    pub(super) fn is_woken(&mut self) -> bool {
        self.woken.try_recv().is_ok()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> (u16, String) {
        let response = self.answer(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(super) async fn answer(&self, request: Request<Body>) -> Response {
        router(self.endpoints.clone()).oneshot(request).await.unwrap()
    }
}

impl Held {
    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let failure = |code: u16| {
            let reason = match code {
                404 => "NotFound",
                409 => "Conflict",
                _ => "InternalError",
            };
            (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}))
        };
        if let Some(code) = self.broken {
            return failure(code);
        }
        let found = match path.contains("/secrets/") {
            true => self.secret.clone(),
            false => self.pipeline.as_ref().map(|pipeline| serde_json::to_value(pipeline).unwrap()),
        };
        if method == "PATCH" {
            if let Some(code) = self.patches.pop_front().filter(|code| *code != 200) {
                return failure(code);
            }
            self.patched.push((path.to_owned(), serde_json::from_slice(body).unwrap()));
        }
        found.map_or_else(|| failure(404), |found| (200, found))
    }
}

/// `X-Signature` of `body`.
pub(super) fn sign(key: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), body);
    tag.as_ref().iter().fold("sha256=".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
}
