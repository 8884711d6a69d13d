//! What the hosts of pull requests tell by webhook: it wakes the pipeline whose pull request it is about, and nothing else.
//!
//! A delivery is verified with the key `webhook-secret` of the Secret that the pull request's `secretRef` names, so that
//! nobody can wake a pipeline but who may write into its repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use jiff::Timestamp;
use kube::{Client, ResourceExt};
use pipeline_api::Pipeline;
use pipeline_api::normalized::Strategy;
use pipeline_secrets::Error;
use promote_pr::RepoUrl;
use promote_pr::host::hook::{self, Notice, Refused, Seen, Sender};
use secrecy::SecretString;

use crate::causes::explain;
use crate::context::Looks;
use crate::key;

/// Most Secrets that are read for one delivery.
const MAX_SECRETS: usize = 16;

/// All pipelines by their repositories, whichever process reconciles them.
pub(crate) struct Hooks {
    pipelines: Mutex<BTreeMap<ObjectName, Vec<Followed>>>,
    seen: Mutex<Seen>,
    looks: Looks,
}

/// Namespace and name.
type ObjectName = (String, String);

/// An environment that is promoted to by pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Followed {
    environment: String,
    repository: RepoUrl,
    secret: String,
    /// What the heads of its pull requests begin with.
    prefix: String,
}

/// Who may be meant by a delivery, by the Secret that tells whether they are.
type Candidates = BTreeMap<ObjectName, BTreeSet<(ObjectName, Option<String>)>>;

/// Why nobody is woken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unheard {
    Refused(Refused),
    /// No pipeline of ours is meant by it, or it is not signed as its Secret wants it: nobody is to learn which.
    Unauthorized,
    /// A Secret could not be read now.
    Unavailable,
}

impl Hooks {
    pub(crate) fn new(looks: Looks) -> Self {
        Self { pipelines: Mutex::default(), seen: Mutex::default(), looks }
    }

    /// From now on, `pipeline` is woken by the hosts of its repositories.
    pub(crate) fn follow(&self, pipeline: &Pipeline) {
        let name = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
        let followed = followed(pipeline);
        let mut pipelines = self.lock();
        if followed.is_empty() {
            pipelines.remove(&name);
        } else {
            pipelines.insert(name, followed);
        }
    }

    /// Forgets a pipeline that is gone.
    pub(crate) fn unfollow(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
        self.looks.forget(namespace, name);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Vec<Followed>>> {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pipelines that a delivery wakes, each as namespace and name; none when it is about no pull request of theirs.
    ///
    /// *Idempotency*: a delivery that is repeated is refused; if this forgot it, it would only make for one more look.
    pub(crate) async fn receive(
        &self,
        client: &Client,
        sender: Sender,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<BTreeSet<ObjectName>, Unheard> {
        let notice = hook::parse(sender, body).map_err(Unheard::Refused)?;
        let mut meant = BTreeSet::new();
        let mut verified = false;
        let mut unavailable = false;
        for ((namespace, secret), pipelines) in self.candidates(&notice).into_iter().take(MAX_SECRETS) {
            match read(client, &namespace, &secret).await {
                Ok(Some(key)) => match hook::verify(sender, headers, body, &key, now) {
                    Ok(()) => {
                        verified = true;
                        meant.extend(pipelines);
                    }
                    Err(refused) => {
                        tracing::warn!(hook.sender = %sender, secret.namespace = namespace, secret.name = secret, "{refused}");
                    }
                },
                Ok(None) => {}
                Err(Error::Unreachable { .. } | Error::Deadline { .. } | Error::Refused { .. }) => unavailable = true,
                Err(_) => {}
            }
        }
        match (verified, unavailable) {
            (false, true) => return Err(Unheard::Unavailable),
            (false, false) => return Err(Unheard::Unauthorized),
            (true, _) => {}
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).note(body).map_err(Unheard::Refused)?;
        let mut woken = BTreeSet::new();
        for ((namespace, name), environment) in meant {
            if let Some(environment) = environment {
                self.looks.tell(&namespace, &name, &environment, now);
                woken.insert((namespace, name));
            }
        }
        Ok(woken)
    }

    /// The environment whose pull request it is; else all that share its repository, none of which is woken.
    fn candidates(&self, notice: &Notice) -> Candidates {
        let pipelines = self.lock();
        let all = pipelines.iter().flat_map(|(name, followed)| followed.iter().map(move |one| (name, one)));
        let here: Vec<_> = all.filter(|(_, followed)| notice.concerns(&followed.repository)).collect();
        let head = notice.pull_request.as_ref().map(|pull_request| pull_request.head.as_str());
        let is_head = |followed: &Followed| head.is_some_and(|head| head.starts_with(&followed.prefix));
        let ours = here.iter().any(|(_, followed)| is_head(followed));
        let mut candidates = Candidates::new();
        for (name, followed) in here {
            if is_head(followed) || !ours {
                let environment = is_head(followed).then(|| followed.environment.clone());
                let secret = (name.0.clone(), followed.secret.clone());
                candidates.entry(secret).or_default().insert((name.clone(), environment));
            }
        }
        candidates
    }
}

fn followed(pipeline: &Pipeline) -> Vec<Followed> {
    let environments = pipeline.spec.environments.iter().skip(1);
    let followed = environments.filter_map(|environment| {
        let Strategy::PullRequest(spec) = pipeline.promotion(&environment.name).ok()??.strategy else { return None };
        Some(Followed {
            environment: environment.name.clone(),
            repository: spec.url.as_str().parse().ok()?,
            secret: spec.secret,
            prefix: key::of(pipeline, &environment.name, "", 1).branch_prefix(),
        })
    });
    followed.collect()
}

async fn read(client: &Client, namespace: &str, name: &str) -> Result<Option<SecretString>, Error> {
    let secret =
        pipeline_secrets::read(client.clone(), namespace, name).await.and_then(|secret| secret.webhook_secret());
    if let Err(error) = &secret {
        let why = explain(error);
        tracing::warn!(secret.namespace = namespace, secret.name = name, "a webhook cannot be verified: {why}");
    }
    secret
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pipeline(namespace: &str, name: &str, secret: &str, url: &str) -> Pipeline {
        serde_json::from_value(json!({
            "apiVersion": "pipelines.weave.works/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": [
                    {"name": "dev", "targets": []},
                    {"name": "staging", "targets": []},
                    {"name": "prod", "targets": [], "promotion": {"webhook": {"secretRef": "ci"}}},
                ],
                "promotion": {"pullRequest": {"url": url, "secretRef": secret}},
            }
        }))
        .unwrap()
    }

    fn notice(repository: &str, head: Option<&str>) -> Notice {
        let mut delivery = json!({"repository": {"full_name": repository}});
        if let Some(head) = head {
            delivery["pull_request"] = json!({"number": 1, "head": {"ref": head}});
        }
        hook::parse(Sender::GitHub, &serde_json::to_vec::<Value>(&delivery).unwrap()).unwrap()
    }

    #[test]
    fn a_delivery_means_the_environment_whose_branch_it_names() {
        let hooks = Hooks::new(Looks::default());
        hooks.follow(&pipeline("a", "one", "git", "https://github.com/org/fleet.git"));
        hooks.follow(&pipeline("a", "two", "git", "git@github.com:org/fleet.git"));
        hooks.follow(&pipeline("b", "one", "git", "https://github.com/Org/Fleet"));
        hooks.follow(&pipeline("b", "two", "git", "https://github.com/org/other"));
        let check = |notice: &Notice, expect: &str| {
            let candidates = hooks.candidates(notice).into_iter().map(|((namespace, secret), meant)| {
                let meant = meant.into_iter().map(|((namespace, name), environment)| {
                    format!("{namespace}/{name}:{}", environment.unwrap_or_default())
                });
                format!("{namespace}/{secret} = {}", meant.collect::<Vec<_>>().join(" "))
            });
            assert_eq!(candidates.collect::<Vec<_>>().join(", "), expect);
        };
        check(&notice("org/fleet", Some("promotion/a/two/staging/1-0a1b2c3d")), "a/git = a/two:staging");
        check(&notice("ORG/fleet", Some("promotion/b/one/staging/1-0a1b2c3d")), "b/git = b/one:staging");
        // Not by pull request, or not ours: whoever holds one of the keys is heard, and nobody is woken.
        let all = "a/git = a/one: a/two:, b/git = b/one:";
        check(&notice("org/fleet", Some("promotion/a/one/prod/1-0a1b2c3d")), all);
        check(&notice("org/fleet", Some("feature")), all);
        check(&notice("org/fleet", None), all);
        check(&notice("org/nothing", Some("promotion/a/one/staging/1-0a1b2c3d")), "");
        hooks.unfollow("a", "one");
        hooks.follow(&pipeline("a", "two", "git", "https://github.com/org/moved"));
        check(&notice("org/fleet", None), "b/git = b/one:");
    }
}
