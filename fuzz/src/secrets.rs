//! What holds for every `headers` and every `address` of a Secret.

/// The modules as they stand in pipeline-secrets: without Kubernetes they build in seconds.
#[path = "../../crates/pipeline-secrets/src/address.rs"]
mod address;
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

/// The fuzz target `addresses`: the input is the value of the key. A panic is a finding.
pub fn check_address(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match address::of_webhook(text) {
        Ok(url) => {
            assert!(matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty()));
            assert!(url.username().is_empty() && url.password().is_none());
            let uri: http::Uri = url.as_str().parse().expect("what is accepted can be called");
            assert_eq!(uri.host(), url.host_str(), "another host would be called than the one that was checked");
            assert_eq!(url::Url::parse(url.as_str()).as_ref(), Ok(&url), "{url} is read in two ways");
        }
        Err(problem) => assert!(!problem.contains("canary"), "{problem}"),
    }
}
