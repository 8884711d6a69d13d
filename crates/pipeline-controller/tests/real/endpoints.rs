//! Requests to the controller as its clients send them.

use std::fmt::Write as _;

use anyhow::Result;
use aws_lc_rs::hmac;
use jiff::Timestamp;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::world::World;

pub const KEY: &str = "a key that both sides know";

/// What the controller answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub text: String,
    pub location: Option<String>,
}

impl Answer {
    pub fn is(&self, status: u16, text: &str) -> bool {
        (self.status, self.text.as_str()) == (status, text)
    }
}

impl World {
    /// The Secret with the key, and what names it in the shape of today.
    pub async fn key(&self) -> Result<()> {
        self.secret("hmac", json!({"hmac-key": KEY})).await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, String)], body: &str) -> Result<Answer> {
        let url = format!("http://127.0.0.1:{}{path}", self.hooks);
        let mut request = self.http.request(method.parse()?, url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await?;
        let location = answer.headers().get("location").and_then(|url| url.to_str().ok()).map(str::to_owned);
        Ok(Answer { status: answer.status().as_u16(), location, text: answer.text().await? })
    }

    /// The path of an environment below `/promotion`.
    pub fn place(&self, environment: &str) -> String {
        format!("/promotion/{}/podinfo/{environment}", self.namespace)
    }

    /// A Flux event of the HelmRelease in dev, as helm-controller sends it of an upgrade.
    pub fn event(&self, revision: &str) -> Value {
        json!({
            "involvedObject": {
                "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": self.dev, "name": "podinfo",
            },
            "severity": "info", "timestamp": at(0), "reason": "UpgradeSucceeded",
            "message": format!("Helm upgrade succeeded for release {}/podinfo.v2 with chart podinfo@{revision}", self.dev),
            "metadata": {"revision": revision}, "reportingController": "helm-controller", "reportingInstance": "helm-controller-0",
        })
    }

    /// An event for dev as Flux' generic-hmac sends it.
    pub async fn tell(&self, event: &Value) -> Result<Answer> {
        self.tell_of("dev", event).await
    }

    pub async fn tell_of(&self, environment: &str, event: &Value) -> Result<Answer> {
        let body = event.to_string();
        self.send("POST", &self.place(environment), &[("X-Signature", flux(KEY, &body))], &body).await
    }

    pub fn approval_path(&self, environment: &str, revision: &str) -> String {
        format!("/approval/{}/podinfo/{environment}/{revision}", self.namespace)
    }

    /// An approval as docs/endpoints.md tells to sign it, by the reference library.
    pub async fn approve(&self, id: &str, environment: &str, revision: &str) -> Result<Answer> {
        let body = json!({
            "namespace": self.namespace, "pipeline": "podinfo", "environment": environment, "revision": revision,
            "approvedBy": "ann@example.com",
        })
        .to_string();
        let headers = standard(KEY, id, now().as_second(), &body)?;
        self.send("POST", &self.approval_path(environment, revision), &headers, &body).await
    }
}

/// `X-Signature` of a body.
pub fn flux(key: &str, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), body.as_bytes());
    tag.as_ref().iter().fold("sha256=".to_owned(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The headers of Standard Webhooks.
pub fn standard(key: &str, id: &str, time: i64, body: &str) -> Result<[(&'static str, String); 3]> {
    let signature = Webhook::from_bytes(key.as_bytes().to_vec())?.sign(id, time, body.as_bytes())?;
    Ok([("webhook-id", id.to_owned()), ("webhook-timestamp", time.to_string()), ("webhook-signature", signature)])
}

#[expect(clippy::disallowed_methods, reason = "signatures are of a time")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// So many seconds from now, as Flux writes times.
pub fn at(seconds: i64) -> String {
    (now() + jiff::SignedDuration::from_secs(seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
