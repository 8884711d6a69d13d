//! `docs/metrics.md` has all metrics, and dashboard and alerts use no others.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;

use pipeline_controller::metrics::table::{TABLE, page};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn read(path: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{path}")).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_metric_is_documented() {
    const ABOVE: &str = "the test of this page writes it anew -->\n\n";
    const BELOW: &str = "\n## Traces\n";
    let before = read("docs/metrics.md");
    let start = before.find(ABOVE).unwrap() + ABOVE.len();
    let end = before.find(BELOW).unwrap();
    let (head, tail) = (before.get(..start).unwrap(), before.get(end..).unwrap());
    let fresh = format!("{head}{}{tail}", page());
    fs::write(format!("{ROOT}/docs/metrics.md"), &fresh).unwrap();
    assert!(before == fresh, "docs/metrics.md was stale and is written anew: commit it");
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    let mut names = BTreeSet::new();
    for row in TABLE {
        assert!(names.insert(row.name), "{} is there twice", row.name);
        assert!(row.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", row.name);
        assert!(!row.help.ends_with('.'), "{}: the encoder adds the full stop", row.name);
        let is_counter = row.kind == pipeline_controller::metrics::table::Kind::Counter;
        assert_eq!(row.name.ends_with("_total"), is_counter, "{}", row.name);
    }
}

/// All expressions of the alerts and the dashboard.
fn expressions() -> Vec<String> {
    let rules: Value = serde_saphyr::from_str(&read("deploy/monitoring/alerts.yaml")).unwrap();
    let dashboard: Value = serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap();
    let mut found = Vec::new();
    collect(&rules, &mut found);
    collect(&dashboard, &mut found);
    assert!(found.len() > 30, "{}", found.len());
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("expr").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| collect(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[test]
fn dashboard_and_alerts_use_documented_metrics_alone() {
    let labels: BTreeSet<&str> = TABLE.iter().flat_map(|row| row.labels).map(|label| label.name).collect();
    for expression in expressions() {
        // What stands in braces are labels and their values.
        let (mut outside, mut depth) = (String::new(), 0);
        for c in expression.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                c if depth == 0 => outside.push(c),
                _ => {}
            }
        }
        let words = outside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$');
        let names: Vec<&str> = words.filter(|word| word.contains('_') && !word.starts_with('$')).collect();
        let metrics = names.iter().filter(|name| TABLE.iter().any(|row| row.is_named(name)));
        assert!(metrics.count() > 0, "{expression} uses no metric");
        for name in names {
            let known = TABLE.iter().any(|row| row.is_named(name))
                || labels.contains(name)
                || matches!(name, "histogram_quantile" | "group_left" | "label_replace" | "clamp_min");
            assert!(known, "{expression}: {name} is not documented");
        }
    }
}

#[test]
fn every_alert_has_a_page() {
    let rules: Value = serde_saphyr::from_str(&read("deploy/monitoring/alerts.yaml")).unwrap();
    let operator: Value = serde_saphyr::from_str(&read("deploy/monitoring/prometheusrule.yaml")).unwrap();
    assert_eq!(rules["groups"], operator["spec"]["groups"], "alerts.yaml and prometheusrule.yaml differ");
    let page = read("docs/operate.md");
    let (_, alerts) = page.split_once("\n## Alerts\n").unwrap();
    let alerts = alerts.split("\n## ").next().unwrap();
    let documented: BTreeSet<&str> = alerts.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut known = BTreeSet::new();
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let name = rule["alert"].as_str().unwrap();
        let runbook = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert!(runbook.ends_with(&format!("/docs/operate.md#{}", name.to_lowercase())), "{runbook}");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| !text.is_empty()), "{name}: {text}");
        }
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("warning" | "critical")), "{name}");
        known.insert(name);
    }
    assert_eq!(documented, known);
}
