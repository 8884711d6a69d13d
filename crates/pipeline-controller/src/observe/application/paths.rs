//! Where a Pipeline says itself what its application reports: `spec.appRef.observe`.

use pipeline_api::{FieldPath, ObserveApplication};
use serde_json::Value;

use super::{Object, Reading, not_observed};

/// Puts what `observe` names in the place of what the rule of the kind found.
pub(super) fn read(observe: &ObserveApplication, object: &Object<'_>, by_kind: Reading) -> Reading {
    let Reading { mut revision, mut not_ready } = by_kind;
    if let Some(path) = &observe.revision {
        revision = find(path, object).filter(|revision| !revision.is_empty());
    }
    if let Some(ready) = &observe.ready {
        let generation = || object.status.get("observedGeneration").and_then(|_| not_observed(object));
        not_ready = match find(&ready.path, object) {
            Some(found) if found == ready.value => generation(),
            Some(found) => Some(format!("{} is {found:?}, not {:?}", ready.path, ready.value)),
            None => Some(format!("has no {} yet", ready.path)),
        };
    }
    Reading { revision, not_ready }
}

fn find(path: &str, object: &Object<'_>) -> Option<String> {
    let path: FieldPath = path.parse().ok()?;
    let found = match path.strip("metadata") {
        Some(rest) => rest.find(&serde_json::to_value(object.metadata).ok()?).cloned(),
        None => path.find(object.data).cloned(),
    };
    match found? {
        Value::String(text) => Some(text),
        scalar @ (Value::Bool(_) | Value::Number(_)) => Some(scalar.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
