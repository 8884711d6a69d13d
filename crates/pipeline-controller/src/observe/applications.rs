//! The application objects of this cluster: reading one, and waking the pipelines that follow it when it changes.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, TryStreamExt};
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::ApiResource;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use pipeline_api::conditions::Reason;
use pipeline_api::{AppRef, Pipeline};
use tokio::sync::mpsc;

use super::reader::{Reader, group_of};
use super::{Application, Unreadable};

/// What is watched of a Pipeline: its object is read when it is reconciled, so that one that cannot be understood stops no other.
pub(crate) type PipelineMeta = PartialObjectMeta<Pipeline>;

pub(crate) struct Applications {
    client: Client,
    wake: mpsc::Sender<ObjectRef<PipelineMeta>>,
    followers: Arc<Followers>,
    reader: Reader,
    watched: Mutex<HashSet<(String, String)>>,
}

impl Applications {
    /// `wake` gets each Pipeline that follows an application that changed.
    pub(crate) fn new(client: Client, wake: mpsc::Sender<ObjectRef<PipelineMeta>>) -> Self {
        let followers = Arc::default();
        Self { reader: Reader::new(client.clone()), client, wake, followers, watched: Mutex::default() }
    }

    /// From now on, `pipeline` is woken when its local applications change, and only then.
    pub(crate) fn follow(&self, pipeline: &Pipeline) {
        self.followers
            .set(&follower(&pipeline.namespace().unwrap_or_default(), &pipeline.name_any()), &followed(pipeline));
    }

    /// Forgets a Pipeline that is gone.
    pub(crate) fn unfollow(&self, namespace: &str, name: &str) {
        self.followers.set(&follower(namespace, name), &HashSet::new());
    }

    /// Reads the application that `app_ref` names in `namespace`.
    pub(crate) async fn read(&self, app_ref: &AppRef, namespace: &str) -> Result<Application, Unreadable> {
        let read = async {
            let resource = self.reader.resource(app_ref).await?;
            self.watch(&resource);
            self.reader.read(&resource, app_ref, namespace).await
        };
        read.await.map_err(|failure| Unreadable { reason: Reason::TargetNotReadable, message: failure.message() })
    }

    /// Starts to watch a kind when it is first needed. Only metadata is transferred: a change of status shows there too.
    fn watch(&self, resource: &ApiResource) {
        let kind = (resource.group.clone(), resource.kind.clone());
        if !lock(&self.watched).insert(kind) {
            return;
        }
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.client.clone(), resource);
        let changes = watcher(api, watcher::Config::default()).default_backoff().touched_objects();
        let (followers, wake) = (Arc::clone(&self.followers), self.wake.clone());
        let (group, kind) = (resource.group.clone(), resource.kind.clone());
        tokio::spawn(async move {
            changes
                .inspect_err(
                    |error| tracing::warn!(%error, application.kind = kind, "watch of applications interrupted"),
                )
                .filter_map(|change| ready(change.ok()))
                .for_each(async |object| {
                    let application = ApplicationKey {
                        group: group.clone(),
                        kind: kind.clone(),
                        namespace: object.namespace().unwrap_or_default(),
                        name: object.name_any(),
                    };
                    for pipeline in followers.of(&application) {
                        if wake.send(pipeline).await.is_err() {
                            tracing::debug!("not woken: the controller is stopping");
                        }
                    }
                })
                .await;
        });
    }
}

/// An application, whichever version of its API it is read at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ApplicationKey {
    group: String,
    kind: String,
    namespace: String,
    name: String,
}

/// Which Pipelines follow which applications.
#[derive(Default)]
struct Followers(Mutex<HashMap<ApplicationKey, HashSet<ObjectRef<PipelineMeta>>>>);

impl Followers {
    fn set(&self, pipeline: &ObjectRef<PipelineMeta>, applications: &HashSet<ApplicationKey>) {
        let mut followers = lock(&self.0);
        followers.retain(|application, pipelines| {
            if !applications.contains(application) {
                pipelines.remove(pipeline);
            }
            !pipelines.is_empty()
        });
        for application in applications {
            followers.entry(application.clone()).or_default().insert(pipeline.clone());
        }
    }

    fn of(&self, application: &ApplicationKey) -> Vec<ObjectRef<PipelineMeta>> {
        lock(&self.0).get(application).into_iter().flatten().cloned().collect()
    }
}

fn follower(namespace: &str, name: &str) -> ObjectRef<PipelineMeta> {
    ObjectRef::new(name).within(namespace)
}

fn followed(pipeline: &Pipeline) -> HashSet<ApplicationKey> {
    let app = &pipeline.spec.app_ref;
    let targets = pipeline.spec.environments.iter().flat_map(|environment| &environment.targets);
    let local = targets.filter(|target| target.cluster_ref.is_none());
    local
        .map(|target| ApplicationKey {
            group: group_of(&app.api_version).to_owned(),
            kind: app.kind.clone(),
            namespace: target.namespace.clone(),
            name: app.name.clone(),
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
