//! Argo CD's [Application](https://argo-cd.readthedocs.io/en/stable/operator-manual/application.yaml).

use jiff::Timestamp;
use serde_json::Value;

use super::{Object, Reading, explain, owned, text};

/// What Argo CD compared with the cluster, if both are the same; of several sources, their revisions with commas between.
pub(super) fn application(object: &Object<'_>) -> Reading {
    let sync = object.status.get("sync").unwrap_or(&Value::Null);
    Reading { revision: revision(sync), not_ready: not_ready(object, sync) }
}

fn revision(sync: &Value) -> Option<String> {
    let revisions = sync.get("revisions").and_then(Value::as_array).filter(|revisions| !revisions.is_empty());
    let Some(revisions) = revisions else { return owned(sync, "revision") };
    let revisions: Option<Vec<&str>> = revisions.iter().map(Value::as_str).collect();
    revisions.map(|revisions| revisions.join(",")).filter(|revisions| !revisions.is_empty())
}

fn not_ready(object: &Object<'_>, sync: &Value) -> Option<String> {
    if object.data.pointer("/operation/sync").is_some_and(|operation| !operation.is_null()) {
        return Some("a sync is about to begin".to_owned());
    }
    let status = object.status;
    if let Some(error) = conditions(status).find(|condition| text(condition, "type").is_some_and(is_error)) {
        return Some(explain(text(error, "type").unwrap_or_default(), error));
    }
    match text(sync, "status") {
        Some("Synced") => {}
        state => return Some(format!("is not Synced: {}", state.unwrap_or("not compared yet"))),
    }
    if !same_sources(object.data, sync) {
        return Some("Argo CD has not compared the current source yet".to_owned());
    }
    let health = status.get("health").unwrap_or(&Value::Null);
    match text(health, "status") {
        Some("Healthy") => operation(status),
        state => Some(explain(&format!("is not Healthy: {}", state.unwrap_or("not looked at yet")), health)),
    }
}

/// Why the last operation stands in the way: it runs, it failed, or what is compared is older than its end.
fn operation(status: &Value) -> Option<String> {
    let operation = status.get("operationState").filter(|operation| !operation.is_null())?;
    match text(operation, "phase") {
        Some("Succeeded") => {}
        phase => return Some(explain(&format!("its last sync: {}", phase.unwrap_or("not begun yet")), operation)),
    }
    let time = |value: &Value, key: &str| text(value, key)?.parse::<Timestamp>().ok();
    let (finished, compared) = (time(operation, "finishedAt"), time(status, "reconciledAt"));
    let compared_since = finished.zip(compared).is_some_and(|(finished, compared)| compared >= finished);
    (!compared_since).then(|| "Argo CD has not compared since its last sync".to_owned())
}

/// Argo CD writes no `observedGeneration`, but which sources it compared; by that it knows itself
/// whether to compare anew.
fn same_sources(data: &Value, sync: &Value) -> bool {
    const FIELDS: [&str; 4] = ["repoURL", "targetRevision", "path", "chart"];
    let Some(compared) = sync.get("comparedTo") else { return true };
    let null = &Value::Null;
    let spec = data.get("spec").unwrap_or(null);
    let list = |value: &Value| -> Vec<[String; 4]> {
        let sources = value.get("sources").and_then(Value::as_array).filter(|sources| !sources.is_empty());
        let fields = |source: &Value| FIELDS.map(|field| owned(source, field).unwrap_or_default());
        match sources {
            Some(sources) => sources.iter().map(fields).collect(),
            None => vec![fields(value.get("source").unwrap_or(null))],
        }
    };
    list(spec) == list(compared)
}

fn conditions(status: &Value) -> impl Iterator<Item = &Value> {
    status.get("conditions").and_then(Value::as_array).into_iter().flatten()
}

fn is_error(type_: &str) -> bool {
    matches!(type_, "ComparisonError" | "InvalidSpecError" | "SyncError" | "UnknownError")
}
