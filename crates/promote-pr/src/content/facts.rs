//! What templates can show. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};

use super::inert::{code, length, quote, target};
use super::template::Place;
use crate::request::{FileChange, Key, Links, Request};
use crate::value::{Part, Parts};

/// Most changes that a text lists; the pull request's diff has them all.
const MAX_ROWS: usize = 50;

/// The variables of one promotion by their names. What is not known is not there.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts(BTreeMap<&'static str, Value>);

impl Facts {
    /// What a promotion's key tells.
    pub(super) fn of_key(key: &Key, source_environment: Option<&str>) -> Self {
        let mut facts = Self::default();
        facts.set("namespace", &key.namespace);
        facts.set("pipeline", &key.pipeline);
        facts.set("environment", &key.environment);
        facts.set("revision", &key.revision);
        facts.0.extend(source_environment.map(|name| ("source_environment", Value::from(name))));
        facts.set_parts(&Parts::of(&key.revision));
        facts.0.insert("promotion_id", Value::from_safe_string(key.id().to_string()));
        facts
    }

    /// What is known once the changes are.
    pub(super) fn of_promotion(request: &Request, changes: Changes) -> Self {
        let mut facts = Self::of_key(&request.key, request.source_environment.as_deref());
        facts.set("repository", request.repository.as_str());
        facts.set("base", request.base.as_str());
        facts
            .0
            .extend(request.previous_revision.as_deref().map(|revision| ("previous_revision", Value::from(revision))));
        facts.set_changes(changes, &request.links);
        facts
    }

    /// The title, once it is made.
    pub(super) fn with_title(mut self, title: &str) -> Self {
        self.0.insert("title", Value::from_safe_string(title.to_owned()));
        self
    }

    /// Everything that a template of `place` can ever show, or, unless `all`, what it can always show.
    pub(super) fn sample(place: Place, all: bool) -> Self {
        let key = Key {
            namespace: "default".to_owned(),
            pipeline: "podinfo".to_owned(),
            environment: "prod".to_owned(),
            revision: "v6.3.0+1@sha256:ab".to_owned(),
            sequence: 1,
        };
        let mut facts = Self::of_key(&key, Some("staging"));
        let part = |text: &str| Some(text.to_owned());
        facts.set_parts(&Parts {
            tag: part("v6.3.0"),
            branch: part("main"),
            commit: part("0123456789abcdef0123456789abcdef01234567"),
            digest: part("sha256:ab"),
            semver: part("6.3.0"),
            build: part("1"),
        });
        if matches!(place, Place::Body | Place::Message) {
            let change = FileChange {
                path: "apps/prod/podinfo.yaml".to_owned(),
                line: 12,
                old: "6.2.0".to_owned(),
                new: "6.3.0".to_owned(),
            };
            let url = || "https://example.com".parse().ok().filter(|_| all);
            facts.set("repository", "https://example.com/fleet.git");
            facts.set("base", "main");
            facts.0.extend(all.then(|| ("previous_revision", Value::from("6.2.0"))));
            facts.set_changes(
                Changes::new(&[change], place, usize::MAX),
                &Links { source: url(), pipeline: url(), previous: url() },
            );
            facts = facts.with_title("Promote");
        }
        facts
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    /// Whether there is a value of this name, as in `revision` and `links.source`.
    pub(super) fn know(&self, name: &str) -> bool {
        let (name, attribute) = name.split_once('.').unwrap_or((name, ""));
        self.0.get(name).is_some_and(|value| {
            name != "links"
                || attribute.is_empty()
                || value.get_attr(attribute).is_ok_and(|value| !value.is_undefined())
        })
    }

    pub(super) fn into_value(self) -> Value {
        Value::from(self.0)
    }

    fn set(&mut self, name: &'static str, text: &str) {
        self.0.insert(name, Value::from(text));
    }

    fn set_parts(&mut self, parts: &Parts) {
        self.0.extend(Part::ALL.iter().filter_map(|&part| Some((part.as_str(), Value::from(parts.get(part)?)))));
    }

    fn set_changes(&mut self, changes: Changes, links: &Links) {
        self.0.insert("change_count", Value::from(changes.count));
        self.0.insert("changes", Value::from_object(changes));
        let links = [("source", &links.source), ("pipeline", &links.pipeline), ("previous", &links.previous)];
        let links = links
            .into_iter()
            .filter_map(|(name, url)| Some((name, Value::from_safe_string(target(url.as_ref()?.as_str())))));
        self.0.insert("links", Value::from(links.collect::<BTreeMap<_, _>>()));
    }
}

/// The changed fields: a list to go through, and a table or list to print.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    rows: Vec<Value>,
    text: String,
    count: usize,
}

impl Changes {
    /// For a text of at most `limit` characters.
    pub(super) fn new(changes: &[FileChange], place: Place, limit: usize) -> Self {
        let rows = changes.iter().take(MAX_ROWS).map(|change| {
            let line = u64::try_from(change.line).unwrap_or(u64::MAX);
            Value::from(BTreeMap::from([
                ("path", Value::from(change.path.as_str())),
                ("line", Value::from(line)),
                ("old", Value::from(change.old.as_str())),
                ("new", Value::from(change.new.as_str())),
            ]))
        });
        let text = if place == Place::Body { table(changes, limit) } else { list(changes) };
        Self { rows: rows.collect(), text, count: changes.len() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Object for Changes {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.rows.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.rows.len())
    }
}

/// One change a line.
fn list(changes: &[FileChange]) -> String {
    let mut list = String::new();
    for change in changes.iter().take(MAX_ROWS) {
        let [path, old, new] = [&change.path, &change.old, &change.new].map(|text| quote(text));
        let _ = writeln!(list, "- {path}:{}: {old} -> {new}", change.line);
    }
    if let Some(more) = changes.len().checked_sub(MAX_ROWS).filter(|more| *more > 0) {
        let _ = writeln!(list, "- and {more} more changes");
    }
    list.trim_end().to_owned()
}

/// One change a row.
fn table(changes: &[FileChange], limit: usize) -> String {
    const NOTE: usize = 80;
    let mut table = "| File | Line | Old | New |\n| --- | ---: | --- | --- |\n".to_owned();
    let mut rows = 0;
    for change in changes.iter().take(MAX_ROWS) {
        let [path, old, new] = [&change.path, &change.old, &change.new].map(|text| code(text));
        let row = format!("| {path} | {} | {old} | {new} |\n", change.line);
        if length(&table) + length(&row) + NOTE > limit {
            break;
        }
        table.push_str(&row);
        rows += 1;
    }
    if rows == 0 {
        table.clear();
    }
    if rows < changes.len() {
        let _ = write!(table, "\n… and {} more changes, all of them in the diff.", changes.len() - rows);
    }
    table.trim().to_owned()
}
