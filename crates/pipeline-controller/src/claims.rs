//! Which Pipelines promote to which fields of which repositories: two that share one undo each other's promotions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use pipeline_api::normalized::Strategy;
use pipeline_api::{DocumentSelector, Pipeline};
use tokio::sync::mpsc;

use crate::observe::followers::PipelineMeta;

/// What all Pipelines claim, whichever process reconciles them. Kept in memory.
pub(crate) struct Claims {
    wake: mpsc::Sender<ObjectRef<PipelineMeta>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_owner: BTreeMap<Owner, BTreeSet<Claim>>,
    by_field: BTreeMap<Field, BTreeSet<(Owner, String)>>,
}

/// Namespace and name of a Pipeline.
type Owner = (String, String);

/// A field of a repository's branch, and the environment that it is of. Markers are claimed by nobody: they name their Pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    field: Field,
    environment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Field {
    repository: String,
    branch: String,
    file: String,
    document: String,
    path: String,
}

impl Claims {
    /// `wake` gets each Pipeline whose conflicts may have changed.
    pub(crate) fn new(wake: mpsc::Sender<ObjectRef<PipelineMeta>>) -> Self {
        Self { wake, known: Mutex::default() }
    }

    /// From now on, `pipeline` claims what its spec says. Returns with whom it shares fields, for people.
    pub(crate) async fn claim(&self, pipeline: &Pipeline) -> Vec<String> {
        let owner = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
        let claims = claims_of(pipeline);
        let concerned = self.replace(&owner, claims.clone());
        self.wake(concerned).await;
        conflicts(&owner, &claims, &self.lock())
    }

    /// From now on, `pipeline`, which another process may reconcile, claims what its spec says.
    pub(crate) fn see(&self, pipeline: &Pipeline) {
        let owner = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
        self.try_wake(self.replace(&owner, claims_of(pipeline)));
    }

    /// Forgets a Pipeline that is gone.
    pub(crate) fn release(&self, namespace: &str, name: &str) {
        self.try_wake(self.replace(&(namespace.to_owned(), name.to_owned()), BTreeSet::new()));
    }

    /// Wakes if there is room; else they look in their turn.
    fn try_wake(&self, pipelines: Vec<Owner>) {
        for (namespace, name) in pipelines {
            if self.wake.try_send(ObjectRef::new(&name).within(&namespace)).is_err() {
                tracing::debug!(pipeline.namespace = namespace, pipeline.name = name, "not woken: the queue is full");
            }
        }
    }

    /// Others that share what the owner claims now and did not before, or the other way round.
    fn replace(&self, owner: &Owner, claims: BTreeSet<Claim>) -> Vec<Owner> {
        let mut known = self.lock();
        let before = known.by_owner.remove(owner).unwrap_or_default();
        let mut concerned = BTreeSet::new();
        for claim in before.symmetric_difference(&claims) {
            let holders = known.by_field.entry(claim.field.clone()).or_default();
            let holder = (owner.clone(), claim.environment.clone());
            if !holders.remove(&holder) {
                holders.insert(holder);
            }
            concerned.extend(holders.iter().map(|(other, _)| other.clone()).filter(|other| other != owner));
            if holders.is_empty() {
                known.by_field.remove(&claim.field);
            }
        }
        if !claims.is_empty() {
            known.by_owner.insert(owner.clone(), claims);
        }
        concerned.into_iter().collect()
    }

    async fn wake(&self, pipelines: Vec<Owner>) {
        for (namespace, name) in pipelines {
            if self.wake.send(ObjectRef::new(&name).within(&namespace)).await.is_err() {
                tracing::debug!("not woken: the controller is stopping");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn claims_of(pipeline: &Pipeline) -> BTreeSet<Claim> {
    let promoted_to = pipeline.spec.environments.iter().skip(1);
    let claims = promoted_to.flat_map(|environment| {
        let promotion = pipeline.promotion(&environment.name).ok().flatten();
        let Some(Strategy::PullRequest(pull_request)) = promotion.map(|promotion| promotion.strategy) else {
            return Vec::new();
        };
        let (repository, branch) = (pull_request.url.to_string(), pull_request.branch);
        let claim = |update: pipeline_api::normalized::Update| Claim {
            field: Field {
                repository: repository.clone(),
                branch: branch.clone(),
                file: update.file,
                document: document(&update.document),
                path: update.path,
            },
            environment: environment.name.clone(),
        };
        pull_request.updates.into_iter().map(claim).collect()
    });
    claims.collect()
}

fn document(selector: &DocumentSelector) -> String {
    serde_json::to_string(selector).unwrap_or_default()
}

fn conflicts(owner: &Owner, claims: &BTreeSet<Claim>, known: &Known) -> Vec<String> {
    let mut conflicts = Vec::new();
    for claim in claims {
        let holders = known.by_field.get(&claim.field).into_iter().flatten();
        let rivals = holders.filter(|(other, environment)| other != owner || *environment != claim.environment);
        for ((namespace, name), environment) in rivals {
            let Field { repository, branch, file, path, .. } = &claim.field;
            conflicts.push(format!(
                "{}: environment {environment} of {namespace}/{name} promotes to {path} of {file} in {repository} ({branch}) too: \
                 give each a field of its own",
                claim.environment
            ));
        }
    }
    conflicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{pipeline, with};

    fn promoting_to(name: &str, file: &str, environments: &str) -> Pipeline {
        let updates = serde_json::json!([{"file": file, "path": "spec.version"}]);
        with(
            pipeline(environments),
            serde_json::json!({"metadata": {"name": name}, "spec": {"promotion": {"pullRequest": {"updates": updates}}}}),
        )
    }

    #[tokio::test]
    async fn two_pipelines_that_promote_to_one_field_hear_of_each_other() {
        let (wake, mut woken) = mpsc::channel(8);
        let claims = Claims::new(wake);
        let one = promoting_to("one", "a.yaml", "dev prod");
        assert!(claims.claim(&one).await.is_empty());
        assert!(claims.claim(&promoting_to("other", "b.yaml", "dev prod")).await.is_empty());
        assert!(woken.try_recv().is_err());

        let two = claims.claim(&promoting_to("two", "a.yaml", "dev prod")).await;
        assert_eq!(two.len(), 1);
        assert!(two[0].contains("default/one") && two[0].contains("a.yaml"), "{two:?}");
        assert_eq!(woken.try_recv().unwrap().name, "one");
        let first = claims.claim(&one).await;
        assert!(first[0].contains("default/two"), "{first:?}");
        assert!(woken.try_recv().is_err(), "nothing changed");

        claims.release("default", "two");
        assert_eq!(woken.try_recv().unwrap().name, "one");
        assert!(claims.claim(&one).await.is_empty());

        // Of another process.
        claims.see(&promoting_to("two", "a.yaml", "dev prod"));
        assert_eq!(woken.try_recv().unwrap().name, "one");
        assert_eq!(claims.claim(&one).await.len(), 1);
    }

    #[tokio::test]
    async fn two_environments_that_promote_to_one_field_are_a_conflict_too() {
        let claims = Claims::new(mpsc::channel(1).0);
        let told = claims.claim(&promoting_to("one", "a.yaml", "dev staging prod")).await;
        assert_eq!(told.len(), 2, "{told:?}");
    }
}
