//! The manifests under `examples/manifests` are valid and complete.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use pipeline_api::Pipeline;
use serde_json::Value;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The names under keys that name a Secret.
fn referenced(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = value.as_str().or_else(|| value["name"].as_str());
                match name.filter(|_| key.to_lowercase().ends_with("secretref")) {
                    Some(name) => drop(names.insert(name.to_owned())),
                    None => referenced(value, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| referenced(item, names)),
        _ => {}
    }
}

fn check(pipeline: &Value) {
    let parsed: Pipeline = serde_json::from_value(pipeline.clone()).unwrap();
    assert_eq!(parsed.validate_cel(), Ok(()));
    assert_eq!(parsed.invalid(), []);
    for environment in parsed.spec.environments.iter().skip(1) {
        assert!(matches!(parsed.promotion(&environment.name), Ok(Some(_))));
    }
    assert_eq!(&serde_json::to_value(&parsed).unwrap(), pipeline, "a field is unknown");
}

#[test]
fn manifests_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/manifests");
    let mut pipelines = 0;
    for path in files(&folder) {
        println!("{}", path.display());
        let text = fs::read_to_string(&path).unwrap();
        let (mut named, mut there) = (BTreeSet::new(), BTreeSet::new());
        for document in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            referenced(&document, &mut named);
            match document["apiVersion"].as_str() {
                Some("pipelines.weave.works/v1alpha1") => {
                    pipelines += 1;
                    check(&document);
                }
                Some("gitops.weave.works/v1alpha1") => {}
                Some("v1") => {
                    let secret: Secret = serde_json::from_value(document).unwrap();
                    assert!(secret.string_data.is_some_and(|data| !data.is_empty()));
                    there.insert(secret.metadata.name.unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(there, named, "Secrets that are there, and that are named");
    }
    assert!(pipelines >= 18, "{pipelines}");
}
