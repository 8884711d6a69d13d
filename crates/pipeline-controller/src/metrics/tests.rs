use std::collections::{BTreeMap, BTreeSet};

use pipeline_api::Pipeline;
use serde_json::json;

use super::table::{Row, TABLE, Values};
use super::*;
use crate::fixtures::{NOW, pipeline, promoting, with};

/// Labels and value of every sample, by name.
fn samples(text: &str) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()).map(|label| {
            let (name, value) = label.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        });
        (name.to_owned(), labels.collect(), value.parse().unwrap())
    });
    samples.collect()
}

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
    line.map(|value| value.parse().unwrap())
}

fn row(sample: &str) -> &'static Row {
    TABLE.iter().find(|row| row.is_named(sample)).unwrap_or_else(|| panic!("{sample} is not documented"))
}

/// A Pipeline of which prod is in `phase`, and the status before.
fn at(n: usize, phase: &str) -> Pipeline {
    let repository = json!({"url": format!("https://git-{n}.example/acme/fleet"), "branch": "main", "secretRef": "s"});
    let pipeline = with(pipeline("dev prod"), json!({"metadata": {"name": format!("app-{n}")}}));
    promoting(pipeline, "6.1.0", phase, json!({"repository": repository, "startedTime": "2026-01-01T00:00:00Z"}))
}

fn record(metrics: &Metrics, before: &Pipeline, after: &Pipeline) {
    metrics.recorded(before, after.status.as_ref().unwrap(), NOW.parse().unwrap());
}

#[test]
fn gauges_follow_what_is_recorded() {
    let metrics = Metrics::default();
    let [pending, open] = ["Pending", "Open"].map(|phase| at(1, phase));
    let count = |phase: &str| {
        let series =
            format!(r#"pipeline_controller_promotions{{phase="{phase}",strategy="pull-request",provider="unknown"}}"#);
        value(&metrics, &series)
    };
    record(&metrics, &pending, &pending);
    record(&metrics, &pending, &pending);
    assert_eq!((count("Pending"), count("Open")), (Some(1.0), None));
    record(&metrics, &pending, &open);
    assert_eq!((count("Pending"), count("Open")), (Some(0.0), Some(1.0)));
    assert_eq!(value(&metrics, "pipeline_controller_pipelines"), Some(1.0));
    let opened = "pipeline_controller_promotion_transitions_total{phase=\"Open\",strategy=\"pull-request\",provider=\"unknown\"}";
    assert_eq!(value(&metrics, opened), Some(1.0));
    let lead_time = "pipeline_controller_promotion_lead_time_seconds_count{milestone=\"opened\",strategy=\"pull-request\",approval=\"none\"}";
    assert_eq!(value(&metrics, lead_time), Some(1.0));

    // After a restart, what is there already is no transition.
    let metrics = Metrics::default();
    record(&metrics, &open, &open);
    assert_eq!((value(&metrics, opened), value(&metrics, lead_time)), (None, None));
    metrics.forget("default", "app-1");
    metrics.forget("default", "app-1");
    assert_eq!(value(&metrics, "pipeline_controller_pipelines"), Some(0.0));
}

#[test]
fn a_provider_is_known_once_its_host_told() {
    let metrics = Metrics::default();
    let open = at(1, "Open");
    record(&metrics, &open, &open);
    promote_pr::Observer::provider(&metrics, "git-1.example", promote_pr::host::Provider::Gitea);
    record(&metrics, &open, &open);
    let of = |provider: &str| {
        let series =
            format!(r#"pipeline_controller_promotions{{phase="Open",strategy="pull-request",provider="{provider}"}}"#);
        value(&metrics, &series)
    };
    assert_eq!((of("unknown"), of("gitea")), (Some(0.0), Some(1.0)));
}

#[test]
fn series_are_bounded_whatever_pipelines_hold() {
    let metrics = Metrics::default();
    let phases = ["Pending", "Open", "Delivered", "Succeeded", "Failed"];
    for n in 0..10_000 {
        let pipeline = at(n, phases[n % phases.len()]);
        record(&metrics, &at(n, "AwaitingApproval"), &pipeline);
        let peer = format!("https://git-{n}.example");
        let call =
            egress::Call { peer: &peer, outcome: egress::Outcome::ALL[n % 10], elapsed: Duration::from_millis(1) };
        egress::Observer::called(&metrics, &call);
        metrics.answered(
            endpoint(&format!("/{n}/")),
            StatusCode::from_u16(100 + u16::try_from(n % 500).unwrap()).unwrap(),
        );
    }
    let text = metrics.render();
    let samples = samples(&text);
    assert!(samples.len() < 2500, "{} series", samples.len());
    assert!(!text.contains("app-"), "a Pipeline's name is in a label");
    let mut hosts = BTreeSet::new();
    for (name, labels, _) in &samples {
        let row = row(name);
        let known: BTreeSet<&str> = row.labels.iter().map(|label| label.name).collect();
        let told: BTreeSet<&str> = labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
        assert_eq!(told, known, "{name}");
        for label in row.labels {
            let value = labels[label.name].as_str();
            match label.values {
                Values::These(values) => assert!(values().contains(&value), "{name}: {} {value}", label.name),
                Values::Hosts => drop(hosts.insert(value.to_owned())),
                Values::Own(_) => {}
            }
        }
    }
    assert_eq!(hosts.len(), hosts::MAX + 1);
    let pipelines = samples.iter().find(|(name, ..)| name == "pipeline_controller_pipelines").unwrap();
    assert!((pipelines.2 - 10_000.0).abs() < 0.5);
}

#[test]
fn a_reconcile_that_is_given_up_is_no_longer_active() {
    let metrics = Metrics::default();
    let active = || value(&metrics, "controller_runtime_active_workers{controller=\"pipeline\"}");
    let running = metrics.reconcile("default", "app");
    assert_eq!(active(), Some(1.0));
    running.end(Ended::Again(Duration::from_secs(1)));
    assert_eq!(active(), Some(0.0));
    drop(metrics.reconcile("default", "app"));
    let of = |result: &str| {
        value(&metrics, &format!("controller_runtime_reconcile_total{{controller=\"pipeline\",result=\"{result}\"}}"))
    };
    assert_eq!((of("requeue_after"), of("success"), of("error")), (Some(1.0), Some(1.0), Some(0.0)));
}

#[test]
fn a_pipeline_waits_once_until_its_reconcile_begins() {
    let metrics = Metrics::default();
    let depth = || value(&metrics, "workqueue_depth{name=\"pipeline\"}");
    let waited = || value(&metrics, "workqueue_queue_duration_seconds_count{name=\"pipeline\"}");
    for name in ["a", "b", "a", "c"] {
        metrics.queued("default", name);
    }
    assert_eq!((depth(), waited()), (Some(3.0), None));
    drop(metrics.reconcile("default", "a"));
    // Its time had come.
    drop(metrics.reconcile("default", "d"));
    metrics.forget("default", "b");
    assert_eq!((depth(), waited()), (Some(1.0), Some(1.0)));
}

#[test]
fn of_two_credentials_the_one_that_ends_first_is_shown() {
    let metrics = Metrics::default();
    let quota =
        |limit, remaining| promote_pr::Quota { host: "api.example".to_owned(), graphql: false, limit, remaining };
    metrics.quotas(vec![quota(5000, 100), quota(60, 59)]);
    let remaining = "pipeline_controller_host_quota_remaining{host=\"api.example\",api=\"rest\"}";
    assert_eq!(value(&metrics, remaining), Some(100.0));
    metrics.quotas(Vec::new());
    assert_eq!(value(&metrics, remaining), None);
}
