//! Updates and their presets in one form.

use super::{Invalid, Problem, Update, invalid};
use crate::{DocumentSelector, ImageField, Update as Spec, rules};

pub(super) fn normalize(field: &str, specs: &[Spec]) -> Result<Vec<Update>, Invalid> {
    specs.iter().enumerate().map(|(index, spec)| one(format!("{field}[{index}]"), spec)).collect()
}

fn one(field: String, spec: &Spec) -> Result<Update, Invalid> {
    if !rules::is_file(&spec.file) {
        return Err(invalid(format!("{field}.file"), Problem::NotFile));
    }
    if spec.document.is_some() && spec.path.is_none() {
        return Err(invalid(format!("{field}.document"), Problem::DocumentOfPreset));
    }
    let (document, path, usual) = match (&spec.path, &spec.kustomize_image, &spec.helm_values) {
        (Some(path), None, None) => (spec.document.clone().unwrap_or_default(), path.clone(), None),
        (None, Some(image), None) => {
            if !rules::is_image_name(&image.name) {
                return Err(invalid(format!("{field}.kustomizeImage.name"), Problem::NotImageName));
            }
            let (name, template) = match image.field.unwrap_or_default() {
                ImageField::NewTag => ("newTag", "{{ tag }}"),
                ImageField::Digest => ("digest", "{{ digest }}"),
            };
            (DocumentSelector::default(), format!("images[name={}].{name}", image.name), Some(template))
        }
        (None, None, Some(values)) => {
            (DocumentSelector { index: Some(0), ..DocumentSelector::default() }, values.path.clone(), Some("{{ tag }}"))
        }
        _ => return Err(invalid(field, Problem::NotOneField)),
    };
    let value = spec.value.clone().or_else(|| usual.map(str::to_owned));
    Ok(Update { field, file: spec.file.clone(), document, path, value })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(update: Value) -> Result<Update, Invalid> {
        normalize("updates", &[serde_json::from_value(update).unwrap()]).map(|mut updates| updates.remove(0))
    }

    #[test]
    fn presets_become_paths() {
        let check = |update: Value, path: &str, index: Option<i32>, value: Option<&str>| {
            let got = run(update).unwrap();
            assert_eq!((got.path.as_str(), got.document.index, got.value.as_deref()), (path, index, value));
        };
        check(json!({"file": "a", "path": "a.b"}), "a.b", None, None);
        check(json!({"file": "a", "path": "a.b", "document": {"index": 1}, "value": "x"}), "a.b", Some(1), Some("x"));
        let image = |field: &str| json!({"file": "a", "kustomizeImage": {"name": "ghcr.io/x/y", "field": field}});
        check(image("newTag"), "images[name=ghcr.io/x/y].newTag", None, Some("{{ tag }}"));
        check(image("digest"), "images[name=ghcr.io/x/y].digest", None, Some("{{ digest }}"));
        let image = json!({"file": "a", "kustomizeImage": {"name": "x"}, "value": "v{{ tag }}"});
        check(image, "images[name=x].newTag", None, Some("v{{ tag }}"));
        check(json!({"file": "a", "helmValues": {"path": "image.tag"}}), "image.tag", Some(0), Some("{{ tag }}"));
    }

    #[test]
    fn what_is_wrong() {
        let check = |update: Value, field: &str| assert_eq!(run(update).unwrap_err().field, field);
        check(json!({"file": "a"}), "updates[0]");
        check(json!({"file": "a", "path": "b", "helmValues": {"path": "b"}}), "updates[0]");
        check(json!({"file": "a", "helmValues": {"path": "b"}, "document": {}}), "updates[0].document");
        check(json!({"file": "a", "kustomizeImage": {"name": "a]"}}), "updates[0].kustomizeImage.name");
        for file in ["/a", "a/", "../a", "a/./b", "a//b"] {
            check(json!({"file": file, "path": "b"}), "updates[0].file");
        }
    }
}
