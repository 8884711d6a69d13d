//! Small worlds for table tests.

use std::time::Duration;

use pipeline_api::conditions::Reason;
use pipeline_api::normalized::Strategy;
use pipeline_api::{Pipeline, Repository};

use crate::observed::{Application, Observed, ObservedEnvironment, ObservedTarget, Unreadable};
use crate::policy::Policy;

pub const NOW: &str = "2026-01-01T12:00:00Z";

/// A pipeline of these environments, each with one target, promoted by pull request.
pub fn pipeline(environments: &str) -> Pipeline {
    let environments: Vec<_> = environments
        .split_whitespace()
        .map(|name| serde_json::json!({"name": name, "targets": [{"namespace": name}]}))
        .collect();
    serde_json::from_value(serde_json::json!({
        "apiVersion": "pipelines.weave.works/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "podinfo", "namespace": "default", "generation": 1},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": environments,
            "promotion": {"pullRequest": {"url": "https://github.com/acme/fleet.git", "branch": "main", "secretRef": "fleet"}},
        },
    }))
    .unwrap()
}

pub fn with(mut pipeline: Pipeline, patch: serde_json::Value) -> Pipeline {
    let mut value = serde_json::to_value(&pipeline).unwrap();
    merge(&mut value, patch);
    pipeline = serde_json::from_value(value).unwrap();
    pipeline
}

fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
    match (into, from) {
        (serde_json::Value::Object(into), serde_json::Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// `prod` promoting `revision`, in `phase`.
pub fn promoting(pipeline: Pipeline, revision: &str, phase: &str, more: serde_json::Value) -> Pipeline {
    let mut promotion = serde_json::json!({
        "id": "00000000-0000-0000-0000-000000000000", "revision": revision, "sequence": 1, "phase": phase, "attempts": 0,
        "observedGeneration": 1,
    });
    if matches!(phase, "Closed" | "Failed" | "Succeeded" | "AlreadyApplied") {
        merge(&mut promotion, serde_json::json!({"finishedTime": "2026-01-01T11:00:00Z"}));
    }
    let strategy = pipeline.promotion("prod").ok().flatten().map(|promotion| promotion.strategy);
    if let (Some(Strategy::PullRequest(pull_request)), "Pending" | "Open" | "Failed") = (strategy, phase) {
        merge(&mut promotion, serde_json::json!({"repository": Repository::of(&pull_request)}));
    }
    merge(&mut promotion, more);
    with(pipeline, serde_json::json!({"status": {"environments": {"prod": {"promotion": promotion}}}}))
}

/// `dev=2 prod=1,1!` is a ready target of dev at 2, and two of prod at 1, the second of them not ready; `?` is not readable.
pub fn world(text: &str) -> Observed {
    let mut observed = Observed::default();
    for environment in text.split_whitespace() {
        let (name, targets) = environment.split_once('=').unwrap();
        let targets = targets.split(',').filter(|target| !target.is_empty()).map(|target| {
            let revision = target.trim_end_matches('!');
            let application = match revision {
                "?" => Err(Unreadable { reason: Reason::TargetNotReadable, message: "not found".to_owned() }),
                revision => Ok(Application {
                    ready: !target.ends_with('!'),
                    revision: Some(revision.to_owned()),
                    message: if target.ends_with('!') { "upgrading".to_owned() } else { String::new() },
                }),
            };
            ObservedTarget { namespace: name.to_owned(), cluster_ref: None, application }
        });
        observed.environments.insert(name.to_owned(), ObservedEnvironment { targets: targets.collect() });
    }
    observed
}

pub fn policy() -> Policy {
    Policy {
        pull_request_interval: Duration::from_secs(30),
        retry_delay: Duration::from_secs(2),
        retry_max_delay: Duration::from_secs(300),
        retry_threshold: 8,
        resync: Duration::from_secs(600),
        unreadable: Duration::from_secs(30),
    }
}
