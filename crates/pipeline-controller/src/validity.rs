//! What is wrong with a Pipeline, before anything is tried. Pure.

use std::collections::BTreeSet;

use pipeline_api::Pipeline;
use pipeline_api::normalized::Strategy;

use crate::strategies::pull_request;

/// Everything that is wrong, each with its field: what the API server refuses as well, and then what it cannot check, such
/// as templates, paths and globs.
pub fn problems(pipeline: &Pipeline) -> Vec<String> {
    let invalid = pipeline.invalid();
    if !invalid.is_empty() {
        return invalid.iter().map(ToString::to_string).collect();
    }
    let names = pipeline.spec.environments.iter().map(|environment| environment.name.as_str());
    let promotions = names.filter_map(|name| pipeline.promotion(name).ok().flatten());
    let problems = promotions.filter_map(|promotion| match promotion.strategy {
        Strategy::PullRequest(spec) => pull_request::check(&spec).err(),
        Strategy::Webhook(_) | Strategy::Notification => None,
    });
    // Environments share a promotion, and then its problems.
    problems.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(field: &str, value: Value, expect: &[&str]) {
        let mut pull_request = json!({"url": "https://github.com/org/fleet", "secretRef": "git"});
        pull_request[field] = value;
        let pipeline: Pipeline = serde_json::from_value(json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "podinfo"},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": [{"name": "dev", "targets": []}, {"name": "prod", "targets": []}],
                "promotion": {"pullRequest": pull_request},
            }
        }))
        .unwrap();
        assert_eq!(problems(&pipeline), expect);
    }

    #[test]
    fn each_template_is_checked_and_named() {
        check("title", json!("{{ pipeline }} {{ revision }}"), &[]);
        check(
            "title",
            json!("{{ pipline }}"),
            &["spec.promotion.pullRequest.title: `pipline` does not exist; there are branch, build, commit, digest, \
               environment, namespace, pipeline, promotion_id, revision, semver, source_environment, tag"],
        );
        check(
            "body",
            json!("{{ links.source }}"),
            &[
                "spec.promotion.pullRequest.body: `links.source` is not always known: test it with {% if … %} before it \
               is shown",
            ],
        );
        check(
            "commitMessage",
            json!("\n"),
            &["spec.promotion.pullRequest.commitMessage: it must have 1 to 4096 bytes"],
        );
        check(
            "links",
            json!({"source": "https://{{ environment"}),
            &[
                "spec.promotion.pullRequest.links.source: syntax error: unexpected end of input, expected end of variable \
               block (line 1)",
            ],
        );
        check(
            "updates",
            json!([{"file": "a.yaml", "path": "a", "value": "{{ x }}"}]),
            &[
                "spec.promotion.pullRequest.updates[0].value: the template \"{{ x }}\" names \"x\", which does not exist; \
               there are revision, tag, branch, commit, digest, semver, build",
            ],
        );
    }
}
