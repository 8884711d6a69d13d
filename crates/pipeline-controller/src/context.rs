//! What every reconcile shares.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt};
use pipeline_api::Pipeline;
use pipeline_api::metadata::TOLD_AT;

use crate::claims::Claims;
use crate::leader::Leader;
use crate::metrics::Metrics;
use crate::notifications::Notifications;
use crate::observe::applications::Applications;
use crate::policy::Policy;
use crate::strategies::Strategies;
use crate::telemetry::trace::Traces;

pub(crate) struct Context {
    pub client: Client,
    pub applications: Applications,
    pub claims: Arc<Claims>,
    pub strategies: Strategies,
    pub events: Recorder,
    pub notifications: Notifications,
    pub policy: Policy,
    pub looks: Looks,
    pub leader: Leader,
    pub metrics: Arc<Metrics>,
    pub traces: Traces,
}

impl Context {
    /// Forgets a Pipeline that is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.looks.forget(namespace, name);
        self.applications.unfollow(namespace, name);
        self.metrics.forget(namespace, name);
    }

    #[expect(clippy::disallowed_methods, reason = "the one clock of reconciling; everything pure is handed its time")]
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// When this process last looked at each open pull request, and when its host last told of it. Kept out of the status,
/// which would otherwise be written with every look; after a restart each is simply looked at anew.
#[derive(Clone, Default)]
pub(crate) struct Looks(Arc<Mutex<BTreeMap<Key, Look>>>);

/// Namespace and name of a pipeline, and one of its environments.
type Key = (String, String, String);

#[derive(Clone, Default)]
struct Look {
    looked: Option<Timestamp>,
    told: Option<Timestamp>,
    /// What another process told, when the look began.
    told_at: Option<String>,
}

impl Looks {
    /// A look that began at `now`, for the Pipeline as it was read before.
    pub(crate) fn note(&self, pipeline: &Pipeline, environment: &str, now: Timestamp) {
        let key = (pipeline.namespace().unwrap_or_default(), pipeline.name_any(), environment.to_owned());
        let mut looks = self.lock();
        let look = looks.entry(key).or_default();
        look.looked = Some(now);
        look.told_at = told_at(pipeline).map(str::to_owned);
    }

    /// The host told at `now` that something happened: the next look is due at once.
    pub(crate) fn tell(&self, namespace: &str, name: &str, environment: &str, now: Timestamp) {
        let key = (namespace.to_owned(), name.to_owned(), environment.to_owned());
        self.lock().entry(key).or_default().told = Some(now);
    }

    /// The looks that count: those that began after the host told, be it this process or another one.
    pub(crate) fn of(&self, pipeline: &Pipeline) -> BTreeMap<String, Timestamp> {
        let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
        let environments = pipeline.spec.environments.iter().map(|environment| environment.name.clone());
        let looks = self.lock();
        environments
            .filter_map(|environment| {
                let look = looks.get(&(namespace.clone(), name.clone(), environment.clone()))?;
                let looked = look.looked.filter(|looked| look.told.is_none_or(|told| told < *looked))?;
                if look.told_at.as_deref() != told_at(pipeline) {
                    return None;
                }
                Some((environment, looked))
            })
            .collect()
    }

    /// Forgets a pipeline that is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.lock()
            .retain(|(its_namespace, its_name, _), _| (its_namespace.as_str(), its_name.as_str()) != (namespace, name));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String, String), Look>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told_at(pipeline: &Pipeline) -> Option<&str> {
    pipeline.metadata.annotations.as_ref()?.get(TOLD_AT).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::pipeline;

    #[test]
    fn a_look_counts_until_the_host_tells_of_something_new() {
        let looks = Looks::default();
        let pipeline = pipeline("dev prod");
        let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
        let at = |second| Timestamp::from_second(second).unwrap();
        looks.note(&pipeline, "prod", at(10));
        assert_eq!(looks.of(&pipeline).get("prod"), Some(&at(10)));
        // While a look is under way, which began at 19.
        looks.tell(&namespace, &name, "prod", at(20));
        looks.note(&pipeline, "prod", at(19));
        assert_eq!(looks.of(&pipeline).get("prod"), None);
        looks.note(&pipeline, "prod", at(21));
        assert_eq!(looks.of(&pipeline).get("prod"), Some(&at(21)));

        let mut pipeline = pipeline;
        pipeline.annotations_mut().insert(TOLD_AT.to_owned(), "2026-01-01T00:00:00Z".to_owned());
        assert_eq!(looks.of(&pipeline).get("prod"), None, "another process was told");
        looks.note(&pipeline, "prod", at(22));
        assert_eq!(looks.of(&pipeline).get("prod"), Some(&at(22)));

        looks.forget(&namespace, &name);
        assert!(looks.of(&pipeline).is_empty());
    }
}
