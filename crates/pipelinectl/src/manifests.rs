//! Pipelines and Secrets from files.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context as _, anyhow, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use pipeline_api::Pipeline;
use pipeline_secrets::SecretValues;
use serde_json::{Map, Value};

/// The objects of one file. Whatever is neither a Pipeline nor a Secret is left alone.
pub(crate) struct Manifests {
    /// The file, for messages.
    pub(crate) from: String,
    /// What it holds.
    pub(crate) text: String,
    objects: Vec<Value>,
}

/// All that is wrong with an object, a field on each line.
struct Invalid {
    from: String,
    object: String,
    problems: Vec<String>,
}

impl Manifests {
    /// Reads a file of YAML documents or JSON; `-` is standard input.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).context("standard input")?;
            return Self::parse("<stdin>".to_owned(), bytes);
        }
        let from = path.display().to_string();
        let bytes = fs::read(path).with_context(|| from.clone())?;
        Self::parse(from, bytes)
    }

    fn parse(from: String, bytes: Vec<u8>) -> anyhow::Result<Self> {
        let Ok(text) = String::from_utf8(bytes) else {
            bail!("{from}: is not UTF-8 text: convert it");
        };
        // Without the lines around the error: they may hold a credential.
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).map_err(|error| anyhow!("{from}: {}", error.without_snippet()))?;
        let objects = documents.into_iter().flat_map(items).collect();
        Ok(Self { from, text, objects })
    }

    /// The one Pipeline of the file, checked. One whose manifest names no namespace is in `namespace`.
    pub(crate) fn pipeline(&self, namespace: Option<&str>) -> anyhow::Result<Pipeline> {
        let pipelines: Vec<&Value> = self.objects.iter().filter(|object| is_pipeline(object)).collect();
        let object = match pipelines.as_slice() {
            [one] => *one,
            [] => bail!("{}: holds no Pipeline of {}", self.from, Pipeline::api_version(&())),
            more => {
                let names: Vec<_> = more.iter().map(|object| text(object, "/metadata/name")).collect();
                bail!("{}: holds {} Pipelines ({}): give one of them alone", self.from, more.len(), names.join(", "));
            }
        };
        let invalid = |problems| Invalid {
            from: self.from.clone(),
            object: format!("Pipeline {}", text(object, "/metadata/name")),
            problems,
        };
        let mut pipeline = parse(object).map_err(|problems| anyhow!(invalid(problems).to_string()))?;
        let given = namespace.unwrap_or("default");
        let own = pipeline.metadata.namespace.get_or_insert_with(|| given.to_owned());
        if namespace.is_some() && own != given {
            bail!("{}: metadata.namespace: is {own:?}, but --namespace is {given:?}", self.from);
        }
        let problems = problems(&pipeline);
        if problems.is_empty() { Ok(pipeline) } else { bail!(invalid(problems).to_string()) }
    }

    /// The Secret of this name. One whose manifest names no namespace is in `namespace`.
    pub(crate) fn secret(&self, namespace: &str, name: &str) -> anyhow::Result<Option<SecretValues>> {
        let object = self.objects.iter().find(|object| {
            is_secret(object)
                && text(object, "/metadata/name") == name
                && ["", namespace].contains(&text(object, "/metadata/namespace"))
        });
        let Some(object) = object else { return Ok(None) };
        match secret(object, namespace, name) {
            Ok(secret) => Ok(Some(SecretValues::from_secret(&secret))),
            Err(problem) => bail!("{}: Secret {namespace}/{name}: {problem}", self.from),
        }
    }

    /// Which Secrets the file holds, for messages.
    pub(crate) fn secrets(&self) -> String {
        let names: Vec<String> = self
            .objects
            .iter()
            .filter(|object| is_secret(object))
            .map(|object| match text(object, "/metadata/namespace") {
                "" => text(object, "/metadata/name").to_owned(),
                namespace => format!("{namespace}/{}", text(object, "/metadata/name")),
            })
            .collect();
        if names.is_empty() {
            format!("{} holds no Secret", self.from)
        } else {
            format!("{} holds {}", self.from, names.join(", "))
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is not valid:", self.from, self.object)?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// The objects of a document: itself, or the items of a list as kubectl prints it.
fn items(document: Value) -> Vec<Value> {
    match document {
        Value::Null => Vec::new(),
        Value::Object(mut list) if list.get("kind").and_then(Value::as_str) == Some("List") => {
            match list.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            }
        }
        document => vec![document],
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn is_pipeline(object: &Value) -> bool {
    text(object, "/kind") == "Pipeline" && text(object, "/apiVersion") == Pipeline::api_version(&())
}

fn is_secret(object: &Value) -> bool {
    text(object, "/kind") == "Secret" && text(object, "/apiVersion") == "v1"
}

/// Reads a Pipeline, as strictly as `kubectl apply`: a field that is not known is a mistake.
fn parse(object: &Value) -> Result<Pipeline, Vec<String>> {
    let mut object = object.clone();
    if let Value::Object(fields) = &mut object {
        // Known already, and not read.
        for field in ["apiVersion", "kind", "status"] {
            fields.remove(field);
        }
    }
    if text(&object, "/metadata/name").is_empty() {
        return Err(vec!["metadata.name: is missing".to_owned()]);
    }
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(object, &mut track);
    let parsed = serde_ignored::deserialize(deserializer, |path| {
        unknown.push(format!("{}: is not a field of a Pipeline: remove or rename it", field(&path)));
    });
    match parsed {
        Ok(pipeline) if unknown.is_empty() => Ok(pipeline),
        Ok(_) => Err(unknown),
        Err(error) => {
            unknown.push(format!("{}: {error}", track.path()));
            Err(unknown)
        }
    }
}

/// A path as manifests' messages have it: `spec.environments[0].name`.
fn field(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", field(parent)),
        Path::Map { parent, key } => match field(parent).as_str() {
            "" => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => field(parent),
    }
}

/// What the API server would refuse, and what is wrong beyond that.
fn problems(pipeline: &Pipeline) -> Vec<String> {
    let mut problems = Vec::new();
    let mut fields = Vec::new();
    if let Err(errors) = pipeline.validate_cel() {
        for error in errors.iter() {
            problems.push(format!("{}: {}", error.field_path, error.message));
            fields.push(error.field_path.clone());
        }
    }
    for invalid in pipeline.invalid() {
        let known = |field: &String| invalid.field.starts_with(field.as_str()) || field.starts_with(&invalid.field);
        if !fields.iter().any(known) {
            problems.push(invalid.to_string());
        }
    }
    problems
}

/// Reads a Secret; the error never holds a value.
fn secret(object: &Value, namespace: &str, name: &str) -> Result<Secret, String> {
    if object.get("sops").is_some() {
        return Err("is encrypted: hand on what `sops decrypt` prints with `--secret -`".to_owned());
    }
    let data = entries(object, "data", |value| {
        serde_json::from_value::<ByteString>(value.clone())
            .map_err(|_error| "is not base64: put plain text under stringData")
    })?;
    let string_data = entries(object, "stringData", |value| {
        let text = value.as_str().map(ToOwned::to_owned);
        text.ok_or("is not a string: put it in quotes")
    })?;
    Ok(Secret {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        string_data: Some(string_data),
        ..Secret::default()
    })
}

fn entries<T, C: FromIterator<(String, T)>>(
    object: &Value,
    field: &str,
    read: impl Fn(&Value) -> Result<T, &'static str>,
) -> Result<C, String> {
    let none = Map::new();
    let entries = match object.get(field) {
        None | Some(Value::Null) => &none,
        Some(Value::Object(entries)) => entries,
        Some(_) => return Err(format!("{field}: is not a map")),
    };
    entries
        .iter()
        .map(|(key, value)| match read(value) {
            Ok(value) => Ok((key.clone(), value)),
            Err(problem) => Err(format!("{field}.{key}: {problem}")),
        })
        .collect()
}

#[cfg(test)]
mod tests;
