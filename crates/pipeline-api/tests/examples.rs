//! The manifests under `examples/manifests` are valid.

#![cfg(test)]

use std::{fs, path::Path};

use k8s_openapi::api::core::v1::Secret;
use pipeline_api::Pipeline;
use serde_json::Value;

#[test]
fn manifests_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/manifests");
    let mut pipelines = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for document in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            match document["apiVersion"].as_str() {
                Some("pipelines.weave.works/v1alpha1") => {
                    pipelines += 1;
                    let pipeline: Pipeline = serde_json::from_value(document.clone()).unwrap();
                    assert_eq!(pipeline.validate_cel(), Ok(()), "{}", path.display());
                    assert_eq!(pipeline.invalid(), [], "{}", path.display());
                    for environment in pipeline.spec.environments.iter().skip(1) {
                        assert!(matches!(pipeline.promotion(&environment.name), Ok(Some(_))), "{}", path.display());
                    }
                    assert_eq!(
                        serde_json::to_value(&pipeline).unwrap(),
                        document,
                        "{}: a field is unknown",
                        path.display()
                    );
                }
                Some("v1") => {
                    let secret: Secret = serde_json::from_value(document).unwrap();
                    assert!(secret.string_data.is_some_and(|data| !data.is_empty()), "{}", path.display());
                }
                other => panic!("{}: {other:?}", path.display()),
            }
        }
    }
    assert!(pipelines >= 4);
}
