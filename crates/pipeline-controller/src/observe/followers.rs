//! Which Pipelines follow which applications.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::api::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use pipeline_api::Pipeline;

/// What is watched of a Pipeline: its object is read when it is reconciled, so that one that cannot be understood stops no other.
pub(crate) type PipelineMeta = PartialObjectMeta<Pipeline>;

pub(crate) type Follower = ObjectRef<PipelineMeta>;

/// Namespace and name of an application.
pub(crate) type Name = (String, String);

/// The Pipelines that follow the applications of one cache.
#[derive(Default)]
pub(crate) struct Followers(Mutex<HashMap<Name, HashSet<Follower>>>);

impl Followers {
    /// Whether nobody followed the application before.
    pub(crate) fn add(&self, name: Name, follower: Follower) -> bool {
        let mut followers = self.lock();
        let of_it = followers.entry(name).or_default();
        of_it.insert(follower) && of_it.len() == 1
    }

    /// Whether nobody follows any application any more.
    pub(crate) fn remove(&self, name: Name, follower: &Follower) -> bool {
        let mut followers = self.lock();
        if let Entry::Occupied(mut of_it) = followers.entry(name) {
            of_it.get_mut().remove(follower);
            if of_it.get().is_empty() {
                of_it.remove();
            }
        }
        followers.is_empty()
    }

    /// The applications that are followed.
    pub(crate) fn names(&self) -> Vec<Name> {
        self.lock().keys().cloned().collect()
    }

    pub(crate) fn all(&self) -> HashSet<Follower> {
        self.lock().values().flatten().cloned().collect()
    }

    pub(crate) fn of(&self, names: &[Name]) -> HashSet<Follower> {
        let followers = self.lock();
        names.iter().filter_map(|name| followers.get(name)).flatten().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, HashSet<Follower>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
