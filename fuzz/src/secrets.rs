//! What holds for every `headers` of a Secret.

/// The module as it stands in pipeline-secrets: without Kubernetes it builds in seconds.
#[path = "../../crates/pipeline-secrets/src/headers.rs"]
mod headers;

/// The fuzz target `headers`: the input is the value of the key. A panic is a finding.
pub fn check(input: &[u8]) {
    let Ok(yaml) = std::str::from_utf8(input) else { return };
    match headers::parse(yaml) {
        Ok(headers) => {
            for (index, (name, value)) in headers.iter().enumerate() {
                assert!(value.is_sensitive(), "{name} could be logged");
                assert!(
                    value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')),
                    "{name} cannot be sent"
                );
                assert!(!["host", "content-length", "transfer-encoding", "x-signature"].contains(&name.as_str()));
                assert!(!name.as_str().starts_with("webhook-") && !name.as_str().starts_with("ce-"));
                assert!(headers.iter().skip(index + 1).all(|(other, _)| other != name), "{name} is there twice");
            }
        }
        // A problem may name a header, which is short, and never a value.
        Err(problem) => assert!(!problem.contains("canary") || !yaml.contains(": canary"), "{problem}"),
    }
}
