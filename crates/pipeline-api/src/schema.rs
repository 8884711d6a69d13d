//! Schema transforms.

use schemars::{Schema, transform::transform_subschemas};
use serde_json::Value;

/// Makes optional fields absent rather than nullable: the API server then prunes `null`, and `has()` in a rule means
/// that there is a value.
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting-and-nullable>
pub(crate) fn null_is_absent(schema: &mut Schema) {
    transform_subschemas(&mut null_is_absent, schema);
    let Some(object) = schema.as_object_mut() else { return };

    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(mut alternatives)) = object.remove("anyOf") {
        alternatives.retain(|alternative| alternative.get("type").is_none_or(|name| name != "null"));
        match alternatives.as_slice() {
            [Value::Object(only)] => {
                for (key, value) in only {
                    object.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            _ => {
                object.insert("anyOf".into(), Value::Array(alternatives));
            }
        }
    }
}

/// The same for the status, without rules: what is reported about a faulty spec must not be refused for its faults.
pub(crate) fn null_is_absent_and_no_rules(schema: &mut Schema) {
    null_is_absent(schema);
    remove_rules(schema);
}

fn remove_rules(schema: &mut Schema) {
    transform_subschemas(&mut remove_rules, schema);
    schema.remove("x-kubernetes-validations");
}

/// Reads `null` as the default: Go writes empty lists and maps so.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de> + Default,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}

/// The schema of `status.conditions`:
/// [`Condition`](https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.33/#condition-v1-meta) with its bounds,
/// one of each type.
pub(crate) fn conditions(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "type": "string", "format": "date-time",
                    "description": "When the status last changed."
                },
                "message": {
                    "type": "string", "maxLength": 32768,
                    "description": "Details for people."
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The generation of the Pipeline that this was found for."
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why the condition has this status, for programs."
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "True, False or Unknown."
                },
                "type": {
                    "type": "string", "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                    "description": "What the condition is about."
                }
            }
        }
    })
}
