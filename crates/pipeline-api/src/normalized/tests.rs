use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn pipeline(promotion: &Value) -> Pipeline {
    serde_json::from_value(json!({
        "apiVersion": "pipelines.weave.works/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "podinfo"},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [{"name": "dev", "targets": []}, {"name": "prod", "targets": []}],
            "promotion": promotion,
        }
    }))
    .unwrap()
}

fn pull_request(url: &str) -> PullRequest {
    PullRequest {
        field: "spec.promotion.pullRequest".into(),
        url: url.parse().unwrap(),
        branch: "main".into(),
        secret: "git".into(),
        provider: Some(Provider::GitHub),
        api_url: None,
        updates: vec![],
        text: Text::default(),
        attributes: Attributes::default(),
        merge: MergePolicy::None,
    }
}

fn shipped(url: &str) -> PullRequest {
    PullRequest { field: "spec.promotion.strategy.pull-request".into(), ..pull_request(url) }
}

#[test]
fn both_shapes_become_one() {
    #[track_caller]
    fn check(promotion: &Value, manual: bool, strategy: Strategy, hmac_secret: Option<&str>) {
        let expect = Promotion {
            field: "spec.promotion".into(),
            manual,
            strategy,
            hmac_secret: hmac_secret.map(ToOwned::to_owned),
        };
        assert_eq!(pipeline(promotion).promotion("prod"), Ok(Some(expect)));
    }

    let url = "https://github.com/org/fleet.git";
    check(
        &json!({"pullRequest": {"url": url, "branch": "main", "secretRef": "git", "provider": "github"}}),
        false,
        Strategy::PullRequest(Box::new(pull_request(url))),
        None,
    );
    check(
        &json!({"strategy": {"pull-request": {
            "type": "github", "url": url, "baseBranch": "main", "secretRef": {"name": "git"}
        }}}),
        false,
        Strategy::PullRequest(Box::new(shipped(url))),
        None,
    );
    check(
        &json!({
            "manual": true,
            "hmacSecretRef": "hmac",
            "pullRequest": {"url": url, "secretRef": "git", "provider": "github"}
        }),
        true,
        Strategy::PullRequest(Box::new(pull_request(url))),
        Some("hmac"),
    );
    check(
        &json!({"manual": true, "strategy": {
            "pull-request": {"type": "github", "url": url, "baseBranch": "main", "secretRef": {"name": "git"}},
            "secretRef": {"name": "hmac"}
        }}),
        true,
        Strategy::PullRequest(Box::new(shipped(url))),
        Some("hmac"),
    );
    check(
        &json!({"webhook": {"url": "https://ci.example.com/hook", "secretRef": "ci"}}),
        false,
        match ci_webhook() {
            Strategy::Webhook(webhook) => {
                Strategy::Webhook(Webhook { url: Some("https://ci.example.com/hook".parse().unwrap()), ..webhook })
            }
            other => other,
        },
        None,
    );
    check(&json!({"webhook": {"secretRef": "ci"}}), false, ci_webhook(), None);
    check(&json!({"strategy": {"notification": {}}}), false, Strategy::Notification, None);
}

#[test]
fn repository_addresses() {
    #[track_caller]
    fn check(url: &str, expect: Result<&str, &str>) {
        let got = repository_url("url", url).map(String::from).map_err(|error| error.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), expect);
    }

    check("https://github.com/org/fleet.git", Ok("https://github.com/org/fleet.git"));
    check("https://git.example.com:8443/sub/path/fleet", Ok("https://git.example.com:8443/sub/path/fleet"));
    check("ssh://git@github.com/org/fleet.git", Ok("ssh://git@github.com/org/fleet.git"));
    check("ssh://git@github.com:2222/org/fleet.git", Ok("ssh://git@github.com:2222/org/fleet.git"));
    check("git@github.com:org/fleet.git", Ok("ssh://git@github.com/org/fleet.git"));
    check("git@github.com:/org/fleet.git", Ok("ssh://git@github.com/org/fleet.git"));

    let credentials = Err("url: must not hold credentials; put them into the Secret that secretRef names");
    check("https://user@github.com/org/fleet.git", credentials);
    check("https://user:pass@github.com/org/fleet.git", credentials);
    check("https://:pass@github.com/org/fleet.git", credentials);
    check("ssh://git:pass@github.com/org/fleet.git", credentials);

    let scheme = Err("url: must begin with https:// or ssh://, or be user@host:path");
    check("http://github.com/org/fleet.git", scheme);
    check("file:///srv/fleet.git", scheme);
    check("git://github.com/org/fleet.git", scheme);
    check("ext::sh -c true", scheme);
    check("user:pass@github.com:org/fleet.git", scheme);

    check("ssh:///org/fleet.git", Err("url: names no host; write it as https://host/path"));
    check(
        "github.com/org/fleet",
        Err("url: is not a URL (relative URL without a base); write it as https://host/path"),
    );
    check("", Err("url: is not a URL (relative URL without a base); write it as https://host/path"));
}

#[test]
fn the_environments_own_promotion_wins_as_a_whole() {
    let mut pipeline = pipeline(&json!({"manual": true, "hmacSecretRef": "hmac", "strategy": null,
        "pullRequest": {"url": "https://github.com/org/fleet", "secretRef": "git"}}));
    pipeline.spec.environments[1].promotion =
        Some(serde_json::from_value(json!({"webhook": {"secretRef": "ci"}})).unwrap());

    let own = pipeline.promotion("prod").unwrap().unwrap();
    assert_eq!(own.field, "spec.environments[1].promotion");
    assert_eq!((own.manual, own.hmac_secret), (false, None));
    assert_eq!(own.strategy, ci_webhook());
    // … but an unsigned request is not let in by a promotion that says nothing of signatures.
    assert_eq!(["prod", "dev", "qa"].map(|name| pipeline.hmac_secret(name)), [Some("hmac"); 3]);
    let shared = pipeline.promotion("dev").unwrap().unwrap();
    assert_eq!((shared.field.as_str(), shared.manual), ("spec.promotion", true));
}

#[test]
fn no_promotion_and_no_environment() {
    let mut pipeline = pipeline(&json!({"strategy": {"notification": {}}}));
    pipeline.spec.promotion = None;
    assert_eq!(pipeline.promotion("prod"), Ok(None));
    assert_eq!(
        pipeline.promotion("moon").unwrap_err().to_string(),
        r#"spec.environments: there is no environment "moon"; name one of spec.environments"#
    );
}

#[test]
fn errors_never_show_the_value() {
    let promotion = json!({"webhook": {"url": "https://user:hunter2@ci.example.com/hunter2"}});
    let error = pipeline(&promotion).promotion("prod").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn an_environment_has_its_own_merge_policy() {
    let check = |merge: Value, promotion: Value| {
        let mut pipeline = json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "podinfo"},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": [{"name": "dev", "targets": []}, {"name": "prod", "targets": []}],
                "promotion": promotion,
            }
        });
        if !merge.is_null() {
            pipeline["spec"]["environments"][1]["merge"] = merge;
        }
        let pipeline: Pipeline = serde_json::from_value(pipeline).unwrap();
        let invalid: Vec<_> = pipeline.invalid().iter().map(ToString::to_string).collect();
        match pipeline.promotion("prod") {
            Ok(promotion) => match promotion.unwrap().strategy {
                Strategy::PullRequest(pull_request) => {
                    assert_eq!(invalid, Vec::<String>::new());
                    Ok(pull_request.merge)
                }
                other => panic!("{other:?}"),
            },
            Err(error) => {
                assert_eq!(invalid, [error.to_string()]);
                Err(error.to_string())
            }
        }
    };
    let git = |field: &str, value: Value| {
        let mut pull_request = json!({"url": "https://github.com/org/fleet", "secretRef": "git"});
        pull_request[field] = value;
        json!({"pullRequest": pull_request})
    };
    let shipped = json!({"strategy": {"pull-request": {
        "type": "github", "url": "https://github.com/org/fleet", "baseBranch": "main", "secretRef": {"name": "git"}
    }}});
    assert_eq!(check(Value::Null, git("merge", json!("Auto"))), Ok(MergePolicy::Auto));
    assert_eq!(check(json!("None"), git("merge", json!("Auto"))), Ok(MergePolicy::None));
    assert_eq!(check(json!("Immediate"), shipped), Ok(MergePolicy::Immediate));
    let refused = |result: Result<MergePolicy, String>, expect: &str| assert_eq!(result.unwrap_err(), expect);
    let draft = "a draft is not merged: take draft away, or set merge to None";
    refused(check(json!("Auto"), git("draft", json!(true))), &format!("spec.environments[1].merge: {draft}"));
    refused(
        check(json!("Auto"), json!({"webhook": {"secretRef": "ci"}})),
        "spec.environments[1].merge: goes with a promotion by pull request only",
    );
}

fn ci_webhook() -> Strategy {
    Strategy::Webhook(Webhook {
        url: None,
        secret: Some("ci".into()),
        format: WebhookFormat::Generic,
        timeout: Duration::from_secs(15),
        cert_secret: None,
        proxy_secret: None,
    })
}

#[test]
fn webhooks_with_all_their_fields() {
    let check = |timeout: &str, expect: Option<u64>| {
        let spec = Spec {
            webhook: Some(crate::WebhookSpec {
                url: Some("https://ci.example/hook".into()),
                format: Some(WebhookFormat::GitHubDispatch),
                timeout: Some(timeout.into()),
                cert_secret_ref: Some("certificates".into()),
                proxy_secret_ref: Some("proxy".into()),
                ..crate::WebhookSpec::default()
            }),
            ..Spec::default()
        };
        match (normalize("spec.promotion", &spec), expect) {
            (Ok(promotion), Some(seconds)) => {
                let Strategy::Webhook(webhook) = promotion.strategy else { panic!("no webhook") };
                assert_eq!(webhook.timeout, Duration::from_secs(seconds), "{timeout}");
                assert_eq!(webhook.format, WebhookFormat::GitHubDispatch);
                assert_eq!(webhook.cert_secret.as_deref(), Some("certificates"));
                assert_eq!(webhook.proxy_secret.as_deref(), Some("proxy"));
            }
            (Err(invalid), None) => {
                assert_eq!(invalid, super::invalid("spec.promotion.webhook.timeout", Problem::NotTimeout), "{timeout}");
            }
            (result, _) => panic!("{timeout}: {result:?}"),
        }
    };
    check("1s", Some(1));
    check("90s", Some(90));
    check("1m30s", Some(90));
    check("2m", Some(120));
    for text in ["0s", "121s", "2m1s", "5", "s", "1h", "-5s", "500ms", "5 s", "1e3s", ""] {
        check(text, None);
    }
}
