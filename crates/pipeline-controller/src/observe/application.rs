//! What an application object says of itself: its revision, and whether that revision is live and healthy. Pure.

use kube::api::{DynamicObject, ObjectMeta};
use pipeline_api::{AppRef, ObserveApplication, text as cut};
use serde_json::Value;

use crate::observed::Application;

mod argo;
mod flux;
mod paths;
mod workload;

#[cfg(test)]
mod tests;

/// The kinds with a rule of their own: API group, kind, and where revision and health stand. `docs/applications.md` has the same list.
const KINDS: &[(&str, &str, Rule)] = &[
    ("helm.toolkit.fluxcd.io", "HelmRelease", flux::helm_release),
    ("kustomize.toolkit.fluxcd.io", "Kustomization", flux::convention),
    ("source.toolkit.fluxcd.io", "OCIRepository", flux::source),
    ("source.toolkit.fluxcd.io", "GitRepository", flux::source),
    ("source.toolkit.fluxcd.io", "HelmChart", flux::source),
    ("source.toolkit.fluxcd.io", "Bucket", flux::source),
    ("source.toolkit.fluxcd.io", "ExternalArtifact", flux::external_artifact),
    ("infra.contrib.fluxcd.io", "Terraform", flux::terraform),
    ("argoproj.io", "Application", argo::application),
    ("apps", "Deployment", workload::deployment),
    ("apps", "StatefulSet", workload::stateful_set),
    ("apps", "DaemonSet", workload::daemon_set),
];

/// A kind of application, and how it is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub api_version: String,
    pub kind: String,
    pub observe: Option<ObserveApplication>,
}

impl Kind {
    pub(crate) fn of(app_ref: &AppRef) -> Self {
        let AppRef { api_version, kind, observe, name: _ } = app_ref;
        Self { api_version: api_version.clone(), kind: kind.clone(), observe: observe.clone() }
    }

    /// Empty for the core group.
    pub(crate) fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

type Rule = fn(&Object<'_>) -> Reading;

/// What is looked at of an application object.
struct Object<'a> {
    metadata: &'a ObjectMeta,
    /// Everything but kind and metadata.
    data: &'a Value,
    status: &'a Value,
}

/// What an object reports by the rule of its kind.
struct Reading {
    revision: Option<String>,
    /// Why the revision is not live and healthy, as far as is known.
    not_ready: Option<String>,
}

/// Reads revision and health from an application object of this kind.
///
/// Ready means: not being deleted, not suspended, healthy by the rule of its kind, and a revision reported. Kinds that have no rule
/// are read as Flux' are: the current generation observed, `Ready` True, neither `Reconciling` nor `Stalled`, the revision in
/// `status.lastAppliedRevision`. A missing `Ready` is not ready, other than in
/// [kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md): an object that nothing has
/// looked at yet must not be promoted. What `observe` says goes before the rule of the kind.
pub(crate) fn read(kind: &Kind, object: &DynamicObject) -> Application {
    let status = object.data.get("status").unwrap_or(&Value::Null);
    let object = Object { metadata: &object.metadata, data: &object.data, status };
    let mut reading = rule(kind)(&object);
    if let Some(observe) = &kind.observe {
        reading = paths::read(observe, &object, reading);
    }
    let Reading { revision, not_ready } = reading;
    let message = stopped(&object).or(not_ready).or_else(|| revision.is_none().then(|| no_revision(kind))).map(cut);
    Application { ready: message.is_none(), revision, message: message.unwrap_or_default() }
}

fn rule(kind: &Kind) -> Rule {
    let own = KINDS.iter().find(|(group, name, _)| *group == kind.group() && *name == kind.kind);
    own.map_or(flux::convention, |(_, _, rule)| *rule)
}

fn no_revision(kind: &Kind) -> String {
    match kind.observe.as_ref().and_then(|observe| observe.revision.as_ref()) {
        Some(path) => format!("has no {path} yet"),
        None if kind.group() == workload::GROUP => workload::NO_REVISION.to_owned(),
        None => "no revision was applied yet".to_owned(),
    }
}

/// What holds for every kind.
fn stopped(object: &Object<'_>) -> Option<String> {
    if object.metadata.deletion_timestamp.is_some() {
        return Some("is being deleted".to_owned());
    }
    let suspended = object.data.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true);
    suspended.then(|| "is suspended".to_owned())
}

/// Whether the object's controller has seen its current generation.
fn not_observed(object: &Object<'_>) -> Option<String> {
    let observed = object.status.get("observedGeneration").and_then(Value::as_i64);
    let stale = observed.is_none() || observed != object.metadata.generation;
    stale.then(|| "its controller has not observed the current generation yet".to_owned())
}

/// The conditions of kstatus, and `Ready`, which has to be there.
fn not_ready(status: &Value) -> Option<String> {
    for blocking in ["Stalled", "Reconciling"] {
        if let Some(condition) =
            condition(status, blocking).filter(|condition| text(condition, "status") == Some("True"))
        {
            return Some(explain(blocking, condition));
        }
    }
    match condition(status, "Ready") {
        Some(ready) if text(ready, "status") == Some("True") => None,
        Some(ready) => Some(explain("not Ready", ready)),
        None => Some("has no Ready condition yet".to_owned()),
    }
}

pub(super) fn condition<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    status.get("conditions")?.as_array()?.iter().find(|condition| text(condition, "type") == Some(type_))
}

pub(super) fn explain(state: &str, condition: &Value) -> String {
    let words = [text(condition, "reason"), text(condition, "message")];
    let why: Vec<&str> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    if why.is_empty() { state.to_owned() } else { format!("{state}: {}", why.join(": ")) }
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn owned(value: &Value, key: &str) -> Option<String> {
    text(value, key).map(str::to_owned)
}
