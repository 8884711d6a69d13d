//! The workloads of Kubernetes itself, healthy as
//! [kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/status/core.go) has it.

use serde_json::Value;

use super::{Object, Reading, condition, explain, not_observed, text};

/// Label of [the version of an application](https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
const VERSION: &str = "app.kubernetes.io/version";

pub(super) const GROUP: &str = "apps";
pub(super) const NO_REVISION: &str = "tells no version: give it one container, or one of its own name, whose image has a tag or \
    digest, or the label app.kubernetes.io/version, or set appRef.observe.revision";

pub(super) fn deployment(object: &Object<'_>) -> Reading {
    let rollout = || {
        let paused = object.data.pointer("/spec/paused").and_then(Value::as_bool) == Some(true);
        if paused {
            return Some("its rollout is paused".to_owned());
        }
        if let Some(progressing) = condition(object.status, "Progressing") {
            match text(progressing, "reason") {
                Some("NewReplicaSetAvailable") => {}
                Some("ProgressDeadlineExceeded") => return Some(explain("its rollout failed", progressing)),
                _ => return Some(explain("its rollout is under way", progressing)),
            }
        }
        let wanted = wanted(object);
        let counts = [("updated", "updatedReplicas"), ("ready", "readyReplicas"), ("available", "availableReplicas")];
        if let Some(few) = counts.iter().find_map(|(word, field)| few(object.status, word, field, wanted)) {
            return Some(few);
        }
        if count(object.status, "replicas") > count(object.status, "updatedReplicas") {
            return Some("replicas of an older version are still there".to_owned());
        }
        match condition(object.status, "Available") {
            Some(available) if text(available, "status") == Some("True") => None,
            Some(available) => Some(explain("not Available", available)),
            None => Some("has no Available condition yet".to_owned()),
        }
    };
    reading(object, rollout)
}

pub(super) fn stateful_set(object: &Object<'_>) -> Reading {
    let rollout = || {
        let wanted = wanted(object);
        let counts = [("ready", "readyReplicas"), ("updated", "updatedReplicas")];
        if let Some(few) = counts.iter().find_map(|(word, field)| few(object.status, word, field, wanted)) {
            return Some(few);
        }
        if count(object.status, "replicas") > wanted {
            return Some("replicas that are not wanted any more are still there".to_owned());
        }
        // While a rollout runs, and for good where a part of it is held back.
        let partial = text(object.status, "currentRevision") != text(object.status, "updateRevision");
        partial.then(|| "its rollout is under way".to_owned())
    };
    reading(object, rollout)
}

pub(super) fn daemon_set(object: &Object<'_>) -> Reading {
    let rollout = || {
        let Some(wanted) = object.status.get("desiredNumberScheduled").and_then(Value::as_i64) else {
            return Some("was not scheduled yet".to_owned());
        };
        let counts = [
            ("scheduled", "currentNumberScheduled"),
            ("updated", "updatedNumberScheduled"),
            ("available", "numberAvailable"),
            ("ready", "numberReady"),
        ];
        counts.iter().find_map(|(word, field)| few(object.status, word, field, wanted))
    };
    reading(object, rollout)
}

fn reading(object: &Object<'_>, rollout: impl FnOnce() -> Option<String>) -> Reading {
    Reading { revision: revision(object), not_ready: not_observed(object).or_else(rollout) }
}

fn wanted(object: &Object<'_>) -> i64 {
    object.data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

fn count(status: &Value, field: &str) -> i64 {
    status.get(field).and_then(Value::as_i64).unwrap_or(0)
}

fn few(status: &Value, word: &str, field: &str, wanted: i64) -> Option<String> {
    let there = count(status, field);
    (there < wanted).then(|| format!("{there} of {wanted} replicas are {word}"))
}

/// The tag, else the digest, of the image of the only container or of that which is named as the object; else the label.
fn revision(object: &Object<'_>) -> Option<String> {
    let image = || {
        let containers = object.data.pointer("/spec/template/spec/containers")?.as_array()?;
        let own = containers.iter().find(|container| text(container, "name") == object.metadata.name.as_deref());
        let only = match containers.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        version_of(text(own.or(only)?, "image")?)
    };
    let label = || object.metadata.labels.as_ref()?.get(VERSION).filter(|label| !label.is_empty());
    image().map(str::to_owned).or_else(|| label().cloned())
}

/// [The tag of an image](https://kubernetes.io/docs/concepts/containers/images/#image-names), else its digest.
fn version_of(image: &str) -> Option<&str> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    tag.or(digest).filter(|version| !version.is_empty())
}
