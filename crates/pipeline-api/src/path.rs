use std::str::FromStr;

use serde_json::Value;

/// The path of a field, in the part of Kubernetes'
/// [JSONPath](https://kubernetes.io/docs/reference/kubectl/jsonpath/) that names one field: `.status.version`,
/// `.metadata.labels.app\.kubernetes\.io/version`, `.status.versions[0]`, `.status.conditions[?(@.type=="Available")].status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    /// The first item in which the field at these keys is this text.
    Item(Vec<String>, String),
}

/// A text is not the path of a field.
#[derive(thiserror::Error, Clone, Copy, Debug, PartialEq, Eq)]
#[error("{}", crate::rules::FIELD_PATH)]
pub struct NotFieldPath;

impl FromStr for FieldPath {
    type Err = NotFieldPath;

    fn from_str(text: &str) -> Result<Self, NotFieldPath> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or(NotFieldPath)?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() { Err(NotFieldPath) } else { Ok(Self(steps)) }
    }
}

impl FieldPath {
    /// The value at this path of `value`; none when there is none.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(value, |value, step| match step {
            Step::Field(key) => value.get(key),
            Step::Index(index) => value.as_array()?.get(*index),
            Step::Item(keys, text) => value.as_array()?.iter().find(|item| {
                let found = keys.iter().try_fold(*item, |item, key| item.get(key));
                found.and_then(Value::as_str) == Some(text)
            }),
        })
    }

    /// The path in the field `first`, when this path leads there.
    #[must_use]
    pub fn strip(&self, first: &str) -> Option<Self> {
        match self.0.split_first() {
            Some((Step::Field(key), rest)) if key == first => Some(Self(rest.to_vec())),
            _ => None,
        }
    }
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let (key, rest) = key(rest, true)?;
        return Some((Step::Field(key), rest));
    }
    if let Some(filter) = text.strip_prefix("[?(@") {
        let (filter, rest) = filter.split_once("\")]")?;
        let (keys, wanted) = filter.split_once("==\"")?;
        let mut names = Vec::new();
        let mut keys = keys;
        while !keys.is_empty() {
            let (name, after) = key(keys.strip_prefix('.')?, false)?;
            names.push(name);
            keys = after;
        }
        let right = !names.is_empty() && !wanted.contains('"');
        return right.then(|| (Step::Item(names, wanted.to_owned()), rest));
    }
    let (index, rest) = text.strip_prefix('[')?.split_once(']')?;
    let digits = (1..=4).contains(&index.len()) && index.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| index.parse().ok()).flatten().map(|index| (Step::Index(index), rest))
}

/// The key at the start of `text`, and what follows it.
fn key(text: &str, escapes: bool) -> Option<(String, &str)> {
    let mut key = String::new();
    let mut rest = text;
    loop {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || escapes && c == '/';
        let end = rest.find(|c| !plain(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(end)?;
        key.push_str(run);
        match after.strip_prefix("\\.").filter(|_| escapes) {
            Some(after) => {
                key.push('.');
                rest = after;
            }
            None => return (!key.is_empty()).then_some((key, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds() {
        let object = json!({
            "metadata": {"labels": {"app.kubernetes.io/version": "1.2.3"}},
            "status": {
                "version": "6.1.0", "versions": ["a", "b"],
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Available", "status": "False"}],
            },
        });
        let check = |path: &str, expected: Option<&str>| {
            let path: FieldPath = path.parse().unwrap();
            assert_eq!(path.find(&object).and_then(Value::as_str), expected, "{path:?}");
        };
        check(".status.version", Some("6.1.0"));
        check(".status.versions[1]", Some("b"));
        check(".status.versions[2]", None);
        check(".status.version[0]", None);
        check(".status.version.more", None);
        check(r".metadata.labels.app\.kubernetes\.io/version", Some("1.2.3"));
        check(r#".status.conditions[?(@.type=="Available")].status"#, Some("False"));
        check(r#".status.conditions[?(@.type=="Stalled")].status"#, None);
        check(r#".status[?(@.type=="Ready")].status"#, None);
    }
}
