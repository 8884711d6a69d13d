//! From a Pipeline to a Flux event, for notification-controller to pass on: `strategy.notification` of the first
//! pipeline-controller.

use std::time::Duration;

use egress::{Client, Limits};
use http::{Request, header};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use pipeline_api::Pipeline;
use serde_json::{Map, Value, json};
use url::Url;

use super::{Network, operators_client, refused};
use crate::causes::explain;
use crate::key;
use crate::outcome::{Done, Failure, Next};
use crate::plan::Effect;
use crate::record::MANAGER;

/// As Flux' own [recorder](https://github.com/fluxcd/pkg/blob/main/runtime/events/recorder.go).
const DEADLINE: Duration = Duration::from_secs(15);

/// Who takes Flux events: what `--events-addr` names.
#[derive(Clone, Debug)]
pub struct EventsReceiver {
    client: Client,
    address: Url,
}

impl EventsReceiver {
    /// The address is the operator's own: it may be any, within the cluster too, and plain http.
    ///
    /// # Errors
    /// The operator's certificate authorities cannot be used.
    pub fn open(address: Url, network: &Network) -> anyhow::Result<Self> {
        let client = operators_client(network)?;
        Ok(Self { client: client.with_limits(Limits { deadline: DEADLINE, body: 64 << 10 }), address })
    }

    /// Sends `event` once.
    ///
    /// # Errors
    /// Why it was not taken, for people.
    pub(crate) async fn send(&self, event: &Value) -> Result<(), String> {
        let request = Request::post(self.address.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .body(event.to_string().into_bytes().into())
            .map_err(|error| explain(&error))?;
        match self.client.stream(request).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("answered {}", answer.status())),
            Err(error) => Err(explain(&error)),
        }
    }
}

/// Sends the promotion's event, once.
pub(super) async fn run(
    receiver: Option<&EventsReceiver>,
    pipeline: &Pipeline,
    effect: &Effect,
) -> Result<Done, Failure> {
    let backoff = Next::Backoff { at_least: Duration::ZERO };
    let Some(receiver) = receiver else {
        let message = "strategy.notification needs the flag --events-addr, which says where its event goes";
        return Err(refused(message, backoff));
    };
    let sent = receiver.send(&promote(pipeline, effect)).await;
    sent.map(|()| Done::Delivered).map_err(|why| refused(format!("--events-addr: {why}"), backoff))
}

/// What is to be promoted, in the first pipeline-controller's words and with a webhook's facts.
fn promote(pipeline: &Pipeline, effect: &Effect) -> Value {
    let key = key::of(pipeline, &effect.environment, &effect.revision, effect.sequence);
    let id = key.id().to_string();
    let facts = [
        ("pipeline", Some(key.pipeline.as_str())),
        ("environment", Some(effect.environment.as_str())),
        ("sourceEnvironment", Some(effect.source_environment.as_str())),
        ("version", Some(effect.revision.as_str())),
        ("previousVersion", effect.previous_revision.as_deref()),
        ("appKind", Some(pipeline.spec.app_ref.kind.as_str())),
        ("appName", Some(pipeline.spec.app_ref.name.as_str())),
        ("promotionId", Some(id.as_str())),
    ];
    let message = format!(
        "Promote pipeline {}/{} to {} with version {}",
        pipeline.namespace().unwrap_or_default(),
        pipeline.name_any(),
        effect.environment,
        effect.revision
    );
    flux_event(pipeline, "info", "Promote", &message, &facts, effect.started)
}

/// A Flux [Event v1beta1](https://github.com/fluxcd/pkg/blob/main/apis/event/v1beta1/event.go). Its metadata has the prefix of the
/// Pipeline's group, without which notification-controller drops it.
pub(crate) fn flux_event(
    pipeline: &Pipeline,
    severity: &str,
    reason: &str,
    message: &str,
    facts: &[(&str, Option<&str>)],
    now: Timestamp,
) -> Value {
    let metadata: Map<String, Value> = facts
        .iter()
        .filter_map(|(key, value)| Some((format!("{}/{key}", Pipeline::group(&())), json!((*value)?))))
        .collect();
    json!({
        "involvedObject": pipeline.object_ref(&()),
        "severity": severity,
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "message": message,
        "reason": reason,
        "metadata": metadata,
        "reportingController": MANAGER,
    })
}
