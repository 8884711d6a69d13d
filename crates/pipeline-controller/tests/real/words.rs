//! What a pull request says and shows, on Gitea, as the Pipeline asks for it.

use anyhow::{Context as _, Result};
use pipeline_api::Phase;
use pipeline_api::conditions::{ConditionType, condition};
use serde_json::{Value, json};
use testbed::gitea::Repo;

use crate::world::World;

async fn repo_on_gitea(world: &World) -> Result<Repo> {
    let files = world.manifests("6.0.0");
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let repo = world.bed.gitea.create_repo("words", &files).await?;
    world.helm_releases("6.0.0").await?;
    world.secret("fleet", json!({"token": world.bed.gitea.token})).await?;
    Ok(repo)
}

fn promotion(repo: &Repo, fields: Value) -> Value {
    let mut pull_request = json!({"url": repo.clone_url, "branch": "main", "provider": "gitea", "secretRef": "fleet"});
    if let (Some(into), Value::Object(fields)) = (pull_request.as_object_mut(), fields) {
        into.extend(fields);
    }
    json!({"pullRequest": pull_request})
}

/// The names in a list of a pull request: `labels`, `requested_reviewers`, `assignees`.
fn names(pull: &Value, list: &str, name: &str) -> Vec<String> {
    let items = pull[list].as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|item| item[name].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_pull_request_in_the_teams_own_words() -> Result<()> {
    let world = World::new().await?;
    let gitea = &world.bed.gitea;
    let repo = repo_on_gitea(&world).await?;
    let path = format!("repos/{}/{}", repo.owner, repo.name);
    let reviewer = gitea.create_user_token(&["write:repository"]).await?;
    gitea.add_collaborator(&repo, &reviewer.username, "write").await?;
    for (list, body) in [
        ("labels", json!({"name": "promotion", "color": "#00ff00"})),
        ("labels", json!({"name": "kept", "color": "#0000ff"})),
        ("milestones", json!({"title": "spring"})),
    ] {
        let (status, answer) = gitea.api(http::Method::POST, &format!("{path}/{list}"), Some(&body)).await?;
        assert_eq!(status, 201, "{answer}");
    }
    let fields = json!({
        "title": "[{{ environment }}] {{ pipeline }} {{ tag }}",
        "body": "# {{ title }}\n{% for change in changes %}\n- {{ change.old }} → {{ change.new }} in {{ change.path }}\n{% endfor %}\n\
                 {% if links.source %}\n[notes]({{ links.source }})\n{% endif %}\n{% if links.previous %}\nbefore: {{ links.previous }}\n{% endif %}",
        "commitMessage": "chore: {{ title }}\n\n{{ changes }}\n\nSigned-off-by: Bot <bot@example.com>",
        "links": {"source": "https://example.com/releases/{{ semver }}"},
        "labels": ["promotion"],
        "reviewers": [reviewer.username],
        "assignees": [reviewer.username],
        "milestone": "spring",
    });
    world.pipeline(promotion(&repo, fields)).await?;
    world.dev_is_at("6.1.0").await?;
    let open = world.promotion("6.1.0", Phase::Open).await?;

    let pull = gitea.api(http::Method::GET, &format!("{path}/pulls/1"), None).await?.1;
    assert_eq!(pull["title"], "[prod] podinfo 6.1.0");
    let body = format!(
        "# [prod] podinfo 6.1.0\n- `6.0.0` → `6.1.0` in `apps/prod/podinfo.yaml`\n\
         [notes](https://example.com/releases/6.1.0)\n\nPromotion-Id: {}\n",
        open.id
    );
    assert_eq!(pull["body"].as_str().context("a body")?.trim(), body.trim());
    assert_eq!(names(&pull, "labels", "name"), ["promotion"]);
    assert_eq!(names(&pull, "requested_reviewers", "login"), [reviewer.username.as_str()]);
    assert_eq!(names(&pull, "assignees", "login"), [reviewer.username.as_str()]);
    assert_eq!(pull["milestone"]["title"], "spring");
    let head = pull["head"]["ref"].as_str().context("a head")?;
    let message = String::from_utf8(repo.git(&["log", "-1", "--format=%B", head]).await?)?;
    assert_eq!(
        message.trim(),
        format!(
            "chore: [prod] podinfo 6.1.0\n\n- apps/prod/podinfo.yaml:6: 6.0.0 -> 6.1.0\n\n\
             Signed-off-by: Bot <bot@example.com>\nPromotion-Id: {}",
            open.id
        )
    );

    // The next one links it.
    gitea.merge(&repo, 1).await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    world.prod_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Succeeded).await?;
    world.dev_is_at("6.2.0").await?;
    world.promotion("6.2.0", Phase::Open).await?;
    let next = gitea.pull(&repo, 2).await?;
    assert!(next.body.contains(&format!("before: {}", open.url.context("a page")?)), "{}", next.body);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn an_environment_whose_pull_requests_are_merged_at_once() -> Result<()> {
    let world = World::new().await?;
    let repo = repo_on_gitea(&world).await?;
    let mut pipeline = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "podinfo", "namespace": world.namespace},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [
                {"name": "dev", "targets": [{"namespace": world.dev}]},
                {"name": "prod", "targets": [{"namespace": world.prod}], "merge": "Immediate"},
            ],
        },
    });
    pipeline["spec"]["promotion"] = promotion(&repo, json!({}));
    world.apply(pipeline).await?;
    world.dev_is_at("6.1.0").await?;
    world.promotion("6.1.0", Phase::Delivered).await?;
    assert!(world.bed.gitea.pull(&repo, 1).await?.merged);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn a_wrong_template_is_told_before_anything_is_promoted() -> Result<()> {
    let world = World::new().await?;
    let repo = repo_on_gitea(&world).await?;
    world.pipeline(promotion(&repo, json!({"title": "{{ revison }}"}))).await?;
    let status = world
        .until_not_ready(&["spec.promotion.pullRequest.title: `revison` does not exist; there are", "revision"])
        .await?;
    let stalled = condition(&status.conditions, ConditionType::Stalled).context("not stalled")?;
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "InvalidSpec"));
    world.dev_is_at("6.1.0").await?;
    world.pipeline(promotion(&repo, json!({"title": "{{ revision }}"}))).await?;
    world.promotion("6.1.0", Phase::Open).await?;
    Ok(())
}
