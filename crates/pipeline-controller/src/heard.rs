//! What Flux events say of an application: which target they mean, and what they report of one with `observe: Event`. Pure.
//!
//! An event is a hint and no more where the application can be looked at. Where it cannot, an event of severity info stands for
//! a look; what Flux sends before an application is healthy, or after it was rolled back, does not.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use pipeline_api::{Environment, EventStatus, Observe, Pipeline, Target};
use serde::Deserialize;

use crate::observed::Application;

#[cfg(test)]
mod tests;

/// A Flux [Event v1beta1](https://github.com/fluxcd/pkg/blob/main/apis/event/v1beta1/event.go), as far as it is read.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Event {
    involved_object: InvolvedObject,
    severity: String,
    timestamp: Option<Time>,
    reason: String,
    metadata: Option<BTreeMap<String, String>>,
    reporting_controller: String,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct InvolvedObject {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Meant<'a> {
    /// A target that is looked at; its revisions go on to this environment.
    Watched(&'a Environment),
    /// A target of which nothing is known but what events say.
    Told(&'a Target),
}

/// Why an event is not taken. The first six are the words of the first pipeline-controller.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    #[error("event has no 'revision' in the metadata field.")]
    NoRevision,
    #[error("app {pipeline} has no environment {environment} defined")]
    UnknownEnvironment { pipeline: String, environment: String },
    #[error("involved object does not match Pipeline definition")]
    OtherObject,
    #[error("cannot promote beyond last environment {0}")]
    LastEnvironment(String),
    #[error("environment {0} has no targets")]
    NoTargets(String),
    #[error("no promotion configured in Pipeline resource")]
    NoPromotion,
    #[error(
        "several targets of environment {0} are in the involved object's namespace: put the name of the target's clusterRef into the event's metadata, as cluster"
    )]
    Ambiguous(String),
    #[error("event has no timestamp: it cannot be told from an older one")]
    NoTime,
    #[error("the event's timestamp is more than five minutes ahead of this clock")]
    Future,
    #[error("the event's revision is no printable ASCII without blanks of at most 253 bytes")]
    OddRevision,
}

impl Event {
    /// The revision that it speaks of; empty if there is none.
    pub(crate) fn revision(&self) -> &str {
        self.metadata("revision").unwrap_or_default()
    }

    /// The value of a key of the metadata, bare or with the prefix of the involved object's group, as
    /// [notification-controller](https://fluxcd.io/flux/components/notification/events/) takes it away.
    fn metadata(&self, key: &str) -> Option<&str> {
        let metadata = self.metadata.as_ref()?;
        let prefixed = || metadata.get(&format!("{}/{key}", group(&self.involved_object.api_version)));
        metadata.get(key).or_else(prefixed).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn is_about(&self, target: &Target) -> bool {
        target.namespace == self.involved_object.namespace
    }

    fn is_from(&self, target: &Target) -> bool {
        let cluster = target.cluster_ref.as_ref().map(|cluster| cluster.name.as_str());
        self.metadata("cluster").is_none_or(|name| cluster == Some(name))
    }
}

/// What `event`, sent for `environment`, is about.
///
/// # Errors
/// The first of the refusals, in their order.
pub(crate) fn meant<'a>(pipeline: &'a Pipeline, environment: &str, event: &Event) -> Result<Meant<'a>, Refusal> {
    event.metadata("revision").ok_or(Refusal::NoRevision)?;
    let environments = &pipeline.spec.environments;
    let (index, source) =
        environments.iter().enumerate().find(|(_, candidate)| candidate.name == environment).ok_or_else(|| {
            let pipeline = format!("{}/{}", pipeline.namespace().unwrap_or_default(), pipeline.name_any());
            Refusal::UnknownEnvironment { pipeline, environment: environment.to_owned() }
        })?;
    let (app, object) = (&pipeline.spec.app_ref, &event.involved_object);
    let here: Vec<&Target> = source.targets.iter().filter(|target| event.is_about(target)).collect();
    if group(&app.api_version) != group(&object.api_version)
        || (&app.kind, &app.name) != (&object.kind, &object.name)
        // One without targets has no namespace to match: what it lacks is told below.
        || (here.is_empty() && !source.targets.is_empty())
    {
        return Err(Refusal::OtherObject);
    }
    let told = |target: &Target| target.observe == Some(Observe::Event);
    if here.iter().any(|target| told(target)) {
        let named: Vec<&Target> = here.into_iter().filter(|target| event.is_from(target)).collect();
        match named.as_slice() {
            [] => return Err(Refusal::OtherObject),
            [target] if told(target) => return Ok(Meant::Told(target)),
            [_] => {}
            _ => return Err(Refusal::Ambiguous(environment.to_owned())),
        }
    }
    let next = environments.get(index + 1).ok_or_else(|| Refusal::LastEnvironment(environment.to_owned()))?;
    if let Some(empty) = [source, next].into_iter().find(|environment| environment.targets.is_empty()) {
        return Err(Refusal::NoTargets(empty.name.clone()));
    }
    if next.promotion.is_none() && pipeline.spec.promotion.is_none() {
        return Err(Refusal::NoPromotion);
    }
    Ok(Meant::Watched(next))
}

/// What `event` reports of its target, of which `known` was reported before; `None` if it changes nothing.
///
/// *Idempotency*: an event that is sent again, or comes after a later one, reports nothing.
///
/// # Errors
/// Time or revision of the event cannot be used.
pub(crate) fn report(
    known: Option<&EventStatus>,
    event: &Event,
    now: Timestamp,
) -> Result<Option<EventStatus>, Refusal> {
    let revision = event.metadata("revision").ok_or(Refusal::NoRevision)?;
    if revision.len() > 253 || !revision.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::OddRevision);
    }
    // Events have no finer time, and neither has what the API server keeps.
    let time = event.timestamp.as_ref().and_then(|time| Timestamp::from_second(time.0.as_second()).ok()).map(Time);
    let time = time.ok_or(Refusal::NoTime)?;
    if now.checked_add(5.minutes()).is_ok_and(|latest| time.0 > latest) {
        return Err(Refusal::Future);
    }
    let Some(ready) = is_ready(known, event, revision) else { return Ok(None) };
    // Of two within a second, the bad one holds.
    if known.is_some_and(|known| (time.0, !ready) <= (known.time.0, !known.ready)) {
        return Ok(None);
    }
    let text = |text: &str, max: usize| {
        let text: String = text.chars().filter(|c| !c.is_control()).take(max).collect();
        Some(text).filter(|text| !text.is_empty())
    };
    Ok(Some(EventStatus {
        revision: revision.to_owned(),
        ready,
        reason: text(&event.reason, 128),
        reported_by: text(&event.reporting_controller, 253),
        time,
    }))
}

/// Whether the revision is healthy; `None` if the event does not say.
fn is_ready(known: Option<&EventStatus>, event: &Event, revision: &str) -> Option<bool> {
    match (event.severity.as_str(), event.reason.as_str()) {
        // A release or reconciliation that failed never counts, but for the revision that was well before.
        ("error", _) => known.filter(|known| known.revision == revision).map(|_| false),
        // Sent with the new revision before it is healthy:
        // https://github.com/fluxcd/kustomize-controller/blob/main/internal/controller/kustomization_controller.go
        ("info", "Progressing" | "DependencyNotReady" | "DriftDetected") => None,
        // https://github.com/fluxcd/helm-controller/blob/main/internal/reconcile/rollback_remediation.go
        ("info", "RollbackSucceeded" | "UninstallSucceeded") => Some(false),
        ("info", _) => Some(true),
        _ => None,
    }
}

/// The targets of `environment` that report by event and what is known of them; of others nothing is kept.
pub(crate) fn kept(pipeline: &Pipeline, environment: &str) -> BTreeMap<String, EventStatus> {
    let spec = pipeline.spec.environments.iter().find(|candidate| candidate.name == environment);
    let targets = spec.into_iter().flat_map(|environment| &environment.targets);
    let told = targets.filter(|target| target.observe == Some(Observe::Event)).map(key);
    told.filter_map(|key| Some((key.clone(), known(pipeline, environment, &key)?.clone()))).collect()
}

/// The application of a target as events report it.
pub(crate) fn application(pipeline: &Pipeline, environment: &str, target: &Target) -> Application {
    let Some(event) = known(pipeline, environment, &key(target)) else {
        let message = match pipeline.hmac_secret(environment) {
            Some(_) => "no signed event was received yet",
            None => "it reports by event, and events have to be signed: name the Secret with the key in hmacSecretRef",
        };
        return Application { ready: false, revision: None, message: message.to_owned() };
    };
    let reason = event.reason.as_deref().unwrap_or("no reason");
    let message = if event.ready { String::new() } else { format!("an event reports that it is not ready: {reason}") };
    Application { ready: event.ready, revision: Some(event.revision.clone()), message }
}

/// What tells a target from the others of its environment, whatever their order.
pub(crate) fn key(target: &Target) -> String {
    let namespace = &target.namespace;
    match &target.cluster_ref {
        None => namespace.clone(),
        Some(cluster) => match &cluster.namespace {
            None => format!("{}/{namespace}", cluster.name),
            Some(of_cluster) => format!("{of_cluster}/{}/{namespace}", cluster.name),
        },
    }
}

pub(crate) fn known<'a>(pipeline: &'a Pipeline, environment: &str, key: &str) -> Option<&'a EventStatus> {
    pipeline.status.as_ref()?.environments.get(environment)?.events.get(key)
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}
