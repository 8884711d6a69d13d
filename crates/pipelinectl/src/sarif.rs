//! Findings as [SARIF 2.1.0](https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html). Pure.

use std::collections::BTreeSet;

use promote_pr::edit::Note;
use serde_json::{Value, json};

use crate::lint::severity;

/// A log with one run.
pub(crate) fn log(notes: &[Note]) -> Value {
    let codes: BTreeSet<_> = notes.iter().map(|note| note.code).collect();
    let rules: Vec<_> =
        codes.into_iter().map(|code| json!({"id": code.as_str(), "shortDescription": {"text": code.text()}})).collect();
    let results: Vec<_> = notes
        .iter()
        .map(|note| {
            json!({
                "ruleId": note.code.as_str(),
                "level": severity(note.code),
                "message": {"text": note.text},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": uri(&note.path)},
                    "region": {"startLine": note.line, "startColumn": note.column},
                }}],
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "pipelinectl lint",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// A path as a relative reference ([RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-4.2)).
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(uri("apps/a b:ü.yaml"), "apps/a%20b%3A%C3%BC.yaml");
    }
}
