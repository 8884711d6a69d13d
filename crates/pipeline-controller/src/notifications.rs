//! Transitions as Flux events, for whoever takes those of Flux' controllers: notification-controller, at `--events-addr`.
//!
//! Telling never holds a reconcile: what cannot be sent in time is dropped, and stands in the log and as a Kubernetes Event.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pipeline_api::{Pipeline, PipelineStatus};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::conclude::Transition;
use crate::metrics::{Metrics, Notified};
use crate::strategies::notification::{EventsReceiver, flux_event};

/// Events that may wait to be sent.
const QUEUE: usize = 1024;
/// Before each try.
const DELAYS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(4)];

/// Where transitions are told; nowhere without an address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notifications(Option<Queue>);

#[derive(Clone, Debug)]
struct Queue {
    events: mpsc::Sender<Value>,
    metrics: Arc<Metrics>,
}

impl Notifications {
    /// Notifications to `receiver`, and the part that sends them until there are no more.
    pub(crate) fn open(receiver: EventsReceiver, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + use<>) {
        let (events, mut waiting) = mpsc::channel::<Value>(QUEUE);
        let counted = Arc::clone(&metrics);
        let send = async move {
            while let Some(event) = waiting.recv().await {
                counted.notified(deliver(&receiver, &event).await);
            }
        };
        (Self(Some(Queue { events, metrics })), send)
    }

    /// Tells a transition to `status`, unless too many others wait.
    pub(crate) fn tell(&self, pipeline: &Pipeline, status: &PipelineStatus, transition: &Transition, now: Timestamp) {
        let Some(queue) = &self.0 else { return };
        if queue.events.try_send(event(pipeline, status, transition, now)).is_err() {
            queue.metrics.notified(Notified::Dropped);
            tracing::warn!(reason = transition.reason, "an event is not sent to --events-addr: too many wait");
        }
    }
}

async fn deliver(receiver: &EventsReceiver, event: &Value) -> Notified {
    let mut why = String::new();
    for delay in DELAYS {
        tokio::time::sleep(delay).await;
        match receiver.send(event).await {
            Ok(()) => return Notified::Sent,
            Err(error) => why = error,
        }
    }
    let reason = event.get("reason").and_then(|reason| reason.as_str());
    tracing::warn!(reason, "an event was not sent to --events-addr: {why}");
    Notified::Failed
}

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
    let severity = if transition.warning { "error" } else { "info" };
    flux_event(pipeline, severity, transition.reason, &transition.note, &facts, now)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{NOW, pipeline, promoting, with};
    use crate::strategies::Network;

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
        let receiver = EventsReceiver::open(address, &Network::default()).unwrap();
        let (notifications, send) = Notifications::open(receiver, Arc::default());
        // Nothing is sent, and all return at once: what is too much is dropped.
        for _ in 0..2 * QUEUE {
            notifications.tell(&pipeline, &status, &transition, NOW.parse().unwrap());
        }
        let queue = notifications.0.unwrap().events;
        assert_eq!((queue.capacity(), queue.max_capacity()), (0, QUEUE));
        drop(send);
        Notifications::default().tell(&pipeline, &status, &transition, NOW.parse().unwrap());
    }
}
