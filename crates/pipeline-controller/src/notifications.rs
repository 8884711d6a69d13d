//! Transitions as Flux events, for whoever takes those of Flux' controllers: notification-controller, at `--events-addr`.
//!
//! Telling never holds a reconcile: what cannot be sent in time is dropped, and stands in the log and as a Kubernetes Event.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use egress::{Client, Egress, Guard, Identity, IpNet, Limits};
use http::{Request, header};
use jiff::Timestamp;
use kube::Resource;
use pipeline_api::{Pipeline, PipelineStatus};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use url::Url;

use crate::causes::explain;
use crate::conclude::Transition;
use crate::record::MANAGER;
use crate::strategies::{Network, extra_ca};

/// Events that may wait to be sent.
const QUEUE: usize = 1024;
/// As Flux' own [recorder](https://github.com/fluxcd/pkg/blob/main/runtime/events/recorder.go).
const DEADLINE: Duration = Duration::from_secs(15);
/// Before each try.
const DELAYS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(4)];

/// Where transitions are told; nowhere without an address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notifications(Option<mpsc::Sender<Value>>);

impl Notifications {
    /// Notifications to `address`, and the part that sends them until there are no more.
    ///
    /// The address is the operator's own: it may be any, within the cluster too, and plain http.
    ///
    /// # Errors
    /// The operator's certificate authorities cannot be used.
    pub(crate) fn open(address: Url, network: &Network) -> anyhow::Result<(Self, impl Future<Output = ()> + use<>)> {
        let everywhere = [IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0)?, IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0)?];
        let policy = egress::Policy {
            guard: Guard { allow: everywhere.into(), ..Guard::default() },
            allow_http: true,
            extra_ca: extra_ca(network)?,
            system_proxy: true,
            ..egress::Policy::default()
        };
        let client = Egress::new(policy)?.client(&Identity::default())?;
        let client = client.with_limits(Limits { deadline: DEADLINE, body: 64 << 10 });
        let (queue, mut waiting) = mpsc::channel::<Value>(QUEUE);
        let send = async move {
            while let Some(event) = waiting.recv().await {
                deliver(&client, &address, &event).await;
            }
        };
        Ok((Self(Some(queue)), send))
    }

    /// Tells a transition to `status`, unless too many others wait.
    pub(crate) fn tell(&self, pipeline: &Pipeline, status: &PipelineStatus, transition: &Transition, now: Timestamp) {
        let Some(queue) = &self.0 else { return };
        if queue.try_send(event(pipeline, status, transition, now)).is_err() {
            tracing::warn!(reason = transition.reason, "an event is not sent to --events-addr: too many wait");
        }
    }
}

async fn deliver(client: &Client, address: &Url, event: &Value) {
    let mut why = String::new();
    for delay in DELAYS {
        tokio::time::sleep(delay).await;
        let request = Request::post(address.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .body(event.to_string().into_bytes().into());
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                why = explain(&error);
                break;
            }
        };
        match client.stream(request).await {
            Ok(answer) if answer.status().is_success() => return,
            Ok(answer) => {
                why = format!("answered {}", answer.status());
                if answer.status().is_client_error() {
                    break;
                }
            }
            Err(error) => why = explain(&error),
        }
    }
    let reason = event.get("reason").and_then(|reason| reason.as_str());
    tracing::warn!(reason, "an event was not sent to --events-addr: {why}");
}

/// A Flux [Event v1beta1](https://github.com/fluxcd/pkg/blob/main/apis/event/v1beta1/event.go). Its metadata has the prefix of the
/// Pipeline's group, without which notification-controller drops it.
fn event(pipeline: &Pipeline, status: &PipelineStatus, transition: &Transition, now: Timestamp) -> Value {
    let id = transition.promotion.as_deref();
    let promoted = status.environments.iter().find_map(|(name, environment)| {
        let promotion = environment.promotion.as_ref().filter(|promotion| Some(promotion.id.as_str()) == id)?;
        Some((name.as_str(), promotion))
    });
    let facts = [
        ("promotionId", id),
        ("environment", promoted.map(|(name, _)| name)),
        ("revision", promoted.map(|(_, promotion)| promotion.revision.as_str())),
        ("url", promoted.and_then(|(_, promotion)| promotion.url.as_deref())),
    ];
    let metadata: BTreeMap<String, &str> = facts
        .into_iter()
        .filter_map(|(key, value)| Some((format!("{}/{key}", Pipeline::group(&())), value?)))
        .collect();
    json!({
        "involvedObject": pipeline.object_ref(&()),
        "severity": if transition.warning { "error" } else { "info" },
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "message": transition.note,
        "reason": transition.reason,
        "metadata": metadata,
        "reportingController": MANAGER,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, pipeline, promoting, with};

    fn opened() -> (Pipeline, Transition) {
        let pipeline = with(pipeline("dev prod"), json!({"metadata": {"uid": "u-1"}}));
        let pipeline = promoting(pipeline, "6.1.0", "Open", json!({"url": "https://github.com/acme/fleet/pull/7"}));
        let transition = Transition {
            warning: false,
            reason: "PullRequestOpened",
            note: "prod: it is open".to_owned(),
            promotion: Some("00000000-0000-0000-0000-000000000000".to_owned()),
        };
        (pipeline, transition)
    }

    #[test]
    fn an_event_is_as_flux_wants_it() {
        let (pipeline, transition) = opened();
        let status = pipeline.status.clone().unwrap();
        let now = NOW.parse().unwrap();
        let expect = json!({
            "involvedObject": {
                "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "namespace": "default", "name": "podinfo",
                "uid": "u-1",
            },
            "severity": "info",
            "timestamp": NOW,
            "message": "prod: it is open",
            "reason": "PullRequestOpened",
            "metadata": {
                "pipelines.weave.works/promotionId": "00000000-0000-0000-0000-000000000000",
                "pipelines.weave.works/environment": "prod",
                "pipelines.weave.works/revision": "6.1.0",
                "pipelines.weave.works/url": "https://github.com/acme/fleet/pull/7",
            },
            "reportingController": "pipeline-controller",
        });
        assert_eq!(event(&pipeline, &status, &transition, now), expect);

        let failing = Transition { warning: true, promotion: None, ..transition };
        let event = event(&pipeline, &status, &failing, now);
        assert_eq!((&event["severity"], &event["metadata"]), (&json!("error"), &json!({})));
    }

    #[tokio::test]
    async fn telling_waits_for_nobody() {
        let (pipeline, transition) = opened();
        let status = pipeline.status.clone().unwrap();
        let address = "http://127.0.0.1:9/".parse().unwrap();
        let (notifications, send) = Notifications::open(address, &Network::default()).unwrap();
        // Nothing is sent, and all return at once: what is too much is dropped.
        for _ in 0..2 * QUEUE {
            notifications.tell(&pipeline, &status, &transition, NOW.parse().unwrap());
        }
        let queue = notifications.0.unwrap();
        assert_eq!((queue.capacity(), queue.max_capacity()), (0, QUEUE));
        drop(send);
        Notifications::default().tell(&pipeline, &status, &transition, NOW.parse().unwrap());
    }
}
