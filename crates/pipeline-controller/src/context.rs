//! What every reconcile shares.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt};
use pipeline_api::Pipeline;

use crate::observe::applications::Applications;
use crate::observe::clusters::Clusters;
use crate::policy::Policy;
use crate::strategies::Strategies;

pub(crate) struct Context {
    pub client: Client,
    pub applications: Applications,
    pub clusters: Clusters,
    pub strategies: Strategies,
    pub events: Recorder,
    pub policy: Policy,
    pub looks: Looks,
}

impl Context {
    #[expect(clippy::disallowed_methods, reason = "the one clock of reconciling; everything pure is handed its time")]
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// When this process last looked at each open pull request. Kept out of the status, which would otherwise be written with
/// every look; after a restart each is simply looked at anew.
#[derive(Default)]
pub(crate) struct Looks(Mutex<BTreeMap<(String, String, String), Timestamp>>);

impl Looks {
    pub(crate) fn note(&self, pipeline: &Pipeline, environment: &str, now: Timestamp) {
        let key = (pipeline.namespace().unwrap_or_default(), pipeline.name_any(), environment.to_owned());
        self.lock().insert(key, now);
    }

    pub(crate) fn of(&self, pipeline: &Pipeline) -> BTreeMap<String, Timestamp> {
        let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
        let environments = pipeline.spec.environments.iter().map(|environment| environment.name.clone());
        let looks = self.lock();
        environments
            .filter_map(|environment| {
                let look = looks.get(&(namespace.clone(), name.clone(), environment.clone()))?;
                Some((environment, *look))
            })
            .collect()
    }

    /// Forgets a pipeline that is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.lock()
            .retain(|(its_namespace, its_name, _), _| (its_namespace.as_str(), its_name.as_str()) != (namespace, name));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String, String), Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
