//! What can happen in a scenario.

use anyhow::{Context as _, Result, bail};
use http::StatusCode;
use serde_json::{Value, json};
use testbed::flux::Application::HelmRelease;
use testbed::{Fault, Rule};

use super::stage::{Means, Stage};

impl Stage {
    /// Lets it happen. One line of this `match` is one sentence of the language.
    pub(super) async fn happens(&mut self, step: &str) -> Result<()> {
        self.note(step);
        let words: Vec<&str> = step.split_whitespace().collect();
        match words.as_slice() {
            [environment, "is", "at", version] => self.each(environment, version).await,
            [environment, "target", index, "is", "at", version] => self.one(environment, index, version).await,
            [environment, "fails"] => self.fails(environment, 0).await,
            [environment, "target", index, "fails"] => self.fails(environment, index.parse()?).await,
            [environment, "is", "suspended"] => {
                self.release(environment, 0, &["patch", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]).await
            }
            [environment, "is", "gone"] => self.release(environment, 0, &["delete"]).await,
            [environment, "target", index, "is", "gone"] => {
                self.release(environment, index.parse()?, &["delete"]).await
            }
            ["base", "of", environment, "is", "at", version] => self.commit(environment, version).await,
            ["pull", "request", pull, "is", "merged"] => self.pull(pull, true).await,
            ["pull", "request", pull, "is", "closed"] => self.pull(pull, false).await,
            ["spec", ..] => {
                self.patch(json!({"spec": serde_json::from_str::<Value>(step.trim_start_matches("spec"))?})).await
            }
            ["environments", names @ ..] => {
                for name in names {
                    if !self.targets.contains_key(*name) {
                        self.environment(name).await?;
                    }
                }
                let names: Vec<&str> = names.iter().map(|name| name.split('*').next().unwrap_or(name)).collect();
                self.patch(json!({"spec": {"environments": self.environments(&names)}})).await
            }
            ["each", "environment", "is", "promoted", "when", "any", "target", "is", "ready"] => self.any().await,
            ["only", "prod", "has", "the", "promotion"] => {
                let mut environments = self.environments(&["dev", "prod"]);
                environments[1]["promotion"] = self.promotion("fleet");
                self.patch(json!({"spec": {"promotion": null, "environments": environments}})).await
            }
            ["the", "repository", "moves"] => self.moves().await,
            ["approved", approvals @ ..] => self.annotate("pipelines.weave.works/approve", &approvals.join(" ")).await,
            ["approvals", "are", "taken", "away"] => {
                self.kubectl(&["annotate", "pipeline", "podinfo", "pipelines.weave.works/approve-"]).await.map(drop)
            }
            ["approver", "is", who] => self.annotate("pipelines.weave.works/approved-by", who).await,
            ["a", "look", "is", "asked", "for", when] => self.annotate("reconcile.fluxcd.io/requestedAt", when).await,
            ["the", "controller", "restarts"] => self.restart().await,
            ["the", "controller", "dies"] => self.world.kill().await,
            ["the", "pipeline", "is", "deleted"] => {
                self.kubectl(&["delete", "pipeline", "podinfo", "--wait=false"]).await.map(drop)
            }
            ["the", "pipeline", "is", "made", "again"] => self.world.apply(self.manifest.clone()).await,
            ["the", "secret", "is", "gone"] => self.kubectl(&["delete", "secret", "fleet"]).await.map(drop),
            ["the", "secret", "is", "back"] => self.world.secret("fleet", json!({"token": self.token()})).await,
            ["the", "token", "is", "wrong"] => self.world.secret("fleet", json!({"token": "wrong"})).await,
            ["the", "host", "answers", code, times, "times"] => self.host_answers(code, times),
            ["the", "receiver", "answers", code] => self.receiver_answers(code),
            ["another", "pipeline", "shares", "a", "field"] => self.rival().await,
            ["the", "other", "pipeline", "is", "deleted"] => {
                self.kubectl(&["delete", "pipeline", "rival"]).await.map(drop)
            }
            _ => bail!("nobody knows how this happens: {step}"),
        }
    }

    async fn each(&self, environment: &str, version: &str) -> Result<()> {
        for namespace in self.namespaces(environment)? {
            self.world.cluster.set_helm_release_ready(namespace, "podinfo", version).await?;
        }
        Ok(())
    }

    async fn one(&self, environment: &str, index: &str, version: &str) -> Result<()> {
        let namespace = self.namespace(environment, index.parse()?)?;
        self.world.cluster.set_helm_release_ready(namespace, "podinfo", version).await
    }

    async fn fails(&self, environment: &str, index: usize) -> Result<()> {
        let namespace = self.namespace(environment, index)?;
        self.world.cluster.set_not_ready(HelmRelease, namespace, "podinfo", "no such chart").await
    }

    fn namespace(&self, environment: &str, index: usize) -> Result<&str> {
        self.namespaces(environment)?.get(index).map(String::as_str).with_context(|| format!("no target {index}"))
    }

    async fn release(&self, environment: &str, index: usize, arguments: &[&str]) -> Result<()> {
        let (verb, rest) = arguments.split_first().context("a verb")?;
        let namespace = self.namespace(environment, index)?;
        let release = [verb, "helmreleases.helm.toolkit.fluxcd.io", "podinfo", "--namespace", namespace];
        let all: Vec<&str> = release.into_iter().chain(rest.iter().copied()).collect();
        self.world.cluster.kubectl(&all).await.map(drop)
    }

    async fn pull(&self, pull: &str, merge: bool) -> Result<()> {
        let pulls = self.pulls().await?;
        let found = pulls.iter().rev().find(|found| found.name == pull && found.state == "open");
        let number = found.with_context(|| format!("no open pull request {pull} in {pulls:?}"))?.number;
        match &self.means {
            Means::GitHub(hosts) if merge => hosts.github.merge("acme/fleet", number).await.map(drop),
            Means::GitHub(hosts) => hosts.github.close("acme/fleet", number).await,
            Means::Gitea(repo) if merge => self.world.bed.gitea.merge(repo, number).await,
            Means::Gitea(repo) => self.world.bed.gitea.close(repo, number).await,
            Means::Webhook(_) | Means::Hand => bail!("there are no pull requests"),
        }
    }

    async fn patch(&self, patch: Value) -> Result<()> {
        self.kubectl(&["patch", "pipeline", "podinfo", "--type=merge", "-p", &patch.to_string()]).await.map(drop)
    }

    async fn annotate(&self, key: &str, value: &str) -> Result<()> {
        self.kubectl(&["annotate", "--overwrite", "pipeline", "podinfo", &format!("{key}={value}")]).await.map(drop)
    }

    async fn any(&self) -> Result<()> {
        let mut environments = self.environments(&["dev", "prod"]);
        for environment in environments.as_array_mut().into_iter().flatten() {
            environment["promoteWhen"] = json!("AnyTargetReady");
        }
        self.patch(json!({"spec": {"environments": environments}})).await
    }

    async fn moves(&mut self) -> Result<()> {
        let Means::GitHub(hosts) = &self.means else { bail!("only the GitHub has a second repository") };
        let marker = format!(r#"{{"$promotion": "{}:podinfo:prod"}}"#, self.world.namespace);
        let text = format!("version: '{}' # {marker}\n", self.start);
        hosts.git.create_repo("acme/moved", &[("prod.yaml", text.as_str())]).await?;
        self.patch(json!({"spec": {"promotion": self.promotion("moved")}})).await
    }

    fn host_answers(&self, code: &str, times: &str) -> Result<()> {
        let Means::GitHub(hosts) = &self.means else { bail!("only the GitHub takes orders") };
        hosts.github.inject(Rule::times(times.parse()?, Fault::status(StatusCode::from_bytes(code.as_bytes())?)));
        Ok(())
    }

    fn receiver_answers(&self, code: &str) -> Result<()> {
        let Means::Webhook(receiver) = &self.means else { bail!("there is no receiver") };
        receiver.script([Fault::status(StatusCode::from_bytes(code.as_bytes())?)]);
        Ok(())
    }

    /// Both pipelines are made to promote to one field.
    async fn rival(&self) -> Result<()> {
        let updates = json!([{"file": "envs/prod.yaml", "path": "version"}]);
        self.patch(json!({"spec": {"promotion": {"pullRequest": {"updates": updates}}}})).await?;
        let mine: Value = serde_json::from_str(&self.kubectl(&["get", "pipeline", "podinfo", "-o", "json"]).await?)?;
        let rival = json!({
            "apiVersion": mine["apiVersion"], "kind": "Pipeline",
            "metadata": {"name": "rival", "namespace": self.world.namespace}, "spec": mine["spec"],
        });
        self.world.apply(rival).await
    }
}
