//! The applications of all targets: one cache for each kind on each cluster, which is there while a Pipeline needs it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use pipeline_api::conditions::Reason;
use pipeline_api::{Observe, Pipeline, Target};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::application::Kind;
use super::cache::{Cache, Source};
use super::clusters::{Clusters, Connection};
use super::followers::{Follower, Name};
use super::reader;
use super::{Application, Unreadable};

/// How long after its start a cache of this cluster is waited for; a reconcile that finds it unfilled then reads its objects itself.
const LOCAL_PATIENCE: Duration = Duration::from_secs(1);
/// The same for one of another cluster; after that its targets are not readable, and the Pipelines are woken when they are.
const REMOTE_PATIENCE: Duration = Duration::from_secs(3);

pub(crate) struct Applications {
    client: Client,
    clusters: Clusters,
    wake: mpsc::Sender<Follower>,
    /// Watch the namespaces of targets one by one: all namespaces may not be looked at.
    by_namespace: bool,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    caches: HashMap<Arc<Source>, Running>,
    /// By Pipeline: what it follows.
    followed: HashMap<Follower, HashSet<Followed>>,
}

type Followed = (Arc<Source>, Name);

struct Running {
    cache: Arc<Cache>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Applications {
    /// `wake` gets each Pipeline that follows an application that changed.
    pub(crate) fn new(client: Client, clusters: Clusters, wake: mpsc::Sender<Follower>, by_namespace: bool) -> Self {
        Self { client, clusters, wake, by_namespace, watched: Mutex::default() }
    }

    /// From now on, `pipeline` is woken when its applications change, and only then. Caches that nobody needs any more end.
    ///
    /// # Idempotency
    /// Following the same applications again changes nothing.
    pub(crate) fn follow(&self, pipeline: &Pipeline) {
        let targets = pipeline.spec.environments.iter().flat_map(|environment| &environment.targets);
        let watched = targets.filter(|target| target.observe != Some(Observe::Event));
        let wanted = watched.filter_map(|target| {
            let source = self.source(pipeline, target).ok()?;
            Some((Arc::new(source), name(pipeline, target)))
        });
        self.set(follower(&pipeline.namespace().unwrap_or_default(), &pipeline.name_any()), wanted.collect());
    }

    /// Forgets a Pipeline that is gone.
    pub(crate) fn unfollow(&self, namespace: &str, name: &str) {
        self.set(follower(namespace, name), HashSet::new());
    }

    /// Reads the application of a target of a Pipeline that follows it.
    pub(crate) async fn read(&self, pipeline: &Pipeline, target: &Target) -> Result<Application, Unreadable> {
        let source = self.source(pipeline, target)?;
        let cache = self.lock().caches.get(&source).map(|running| Arc::clone(&running.cache));
        let name = name(pipeline, target);
        let patience = if source.cluster.is_some() { REMOTE_PATIENCE } else { LOCAL_PATIENCE };
        let cached = match cache {
            Some(cache) => cache.read(&name, patience).await,
            None => None,
        };
        let found = match (cached, &source.cluster) {
            (Some(cached), _) => cached?,
            (None, Some((namespace, cluster))) => {
                return Err(Unreadable {
                    reason: Reason::TargetClusterNotReady,
                    message: format!("GitopsCluster {namespace}/{cluster}: has not answered yet"),
                });
            }
            (None, None) => self.get(&source, &name).await?,
        };
        found.ok_or_else(|| {
            let (namespace, name) = &name;
            source.unreadable(reader::Failure::NotThere(format!("{} {namespace}/{name} not found", source.kind.kind)))
        })
    }

    async fn get(&self, source: &Source, (namespace, name): &Name) -> Result<Option<Application>, Unreadable> {
        let get = async {
            let resource = reader::discover(&self.client, &source.kind).await?;
            reader::get(&self.client, &resource, &source.kind, namespace, name).await
        };
        get.await.map_err(|failure| source.unreadable(failure))
    }

    fn source(&self, pipeline: &Pipeline, target: &Target) -> Result<Source, Unreadable> {
        let kind = Kind::of(&pipeline.spec.app_ref);
        let Some(cluster) = &target.cluster_ref else {
            let namespace = self.by_namespace.then(|| target.namespace.clone());
            return Ok(Source { cluster: None, kind, namespace });
        };
        let cluster = self.clusters.name(&pipeline.namespace().unwrap_or_default(), cluster)?;
        Ok(Source { cluster: Some(cluster), kind, namespace: None })
    }

    /// In the time that the Pipeline's own targets take, however many others there are.
    fn set(&self, follower: Follower, wanted: HashSet<Followed>) {
        let mut watched = self.lock();
        let Watched { caches, followed } = &mut *watched;
        let before = followed.remove(&follower).unwrap_or_default();
        for (source, name) in wanted.difference(&before) {
            let running = caches.entry(Arc::clone(source)).or_insert_with(|| self.run(source));
            running.cache.follow(name.clone(), follower.clone());
        }
        for (source, name) in before.difference(&wanted) {
            let unused = |running: &Running| running.cache.followers.remove(name.clone(), &follower);
            if caches.get(source).is_some_and(unused) {
                caches.remove(source);
            }
        }
        if !wanted.is_empty() {
            // One copy of each source, not one for each Pipeline.
            let shared = |(source, name): Followed| {
                let shared = caches.get_key_value(&source).map(|(source, _)| Arc::clone(source));
                (shared.unwrap_or(source), name)
            };
            followed.insert(follower, wanted.into_iter().map(shared).collect());
        }
    }

    fn run(&self, source: &Source) -> Running {
        let cache = Arc::new(Cache::new(source.clone(), self.wake.clone()));
        let filled = Arc::clone(&cache);
        let task = match &source.cluster {
            None => {
                let (_, connection) = watch::channel(Connection::Up(self.client.clone()));
                tokio::spawn(async move { filled.run(connection, || {}).await })
            }
            Some(cluster) => {
                let keeper = self.clusters.keeper(cluster);
                tokio::spawn(async move { filled.run(keeper.connection(), || keeper.look()).await })
            }
        };
        Running { cache, task }
    }

    /// The state of every watch, and whether it is of another cluster.
    pub(crate) fn watches(&self) -> Vec<(bool, &'static str)> {
        self.lock().caches.iter().map(|(source, running)| (source.cluster.is_some(), running.cache.state())).collect()
    }

    /// The state of every connection to another cluster.
    pub(crate) fn connections(&self) -> Vec<&'static str> {
        self.clusters.connections()
    }

    /// How many caches there are.
    #[cfg(test)]
    pub(crate) fn caches(&self) -> usize {
        self.lock().caches.len()
    }

    #[cfg(test)]
    pub(crate) fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn follower(namespace: &str, name: &str) -> Follower {
    ObjectRef::new(name).within(namespace)
}

fn name(pipeline: &Pipeline, target: &Target) -> Name {
    (target.namespace.clone(), pipeline.spec.app_ref.name.clone())
}

#[cfg(test)]
mod tests;
