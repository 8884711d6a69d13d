//! Targets on other clusters, which [GitopsCluster](https://github.com/weaveworks/cluster-controller) objects stand for.
//!
//! Such an object names a Secret with a kubeconfig, both in one namespace. While somebody needs the cluster, one task keeps the
//! connection: it watches the GitopsCluster, and looks at the Secret (which may be read, not watched) at an interval and whenever
//! the cluster fails, so that a rotation shows at once where the old credentials are refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use egress::Egress;
use futures::StreamExt;
use kube::api::DynamicObject;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config};
use pipeline_api::ClusterRef;
use pipeline_api::conditions::Reason;
use pipeline_secrets::SecretValues;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::reader::Failure;
use super::{Unreadable, application};
use crate::causes::explain;

mod connection;
mod kubeconfig;
#[cfg(test)]
mod tests;

/// How long reading the GitopsCluster may take; reading its Secret may take as long once more.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks, whatever asks for them.
const PAUSE: Duration = Duration::from_secs(1);

const GROUP: &str = "gitops.weave.works";

/// Knows the other clusters that are needed.
pub(crate) struct Clusters {
    gitops: Arc<Gitops>,
    /// Pipelines may name clusters of other namespaces.
    cross_namespace: bool,
    keepers: Mutex<HashMap<Name, Weak<Keeper>>>,
}

/// Namespace and name of a GitopsCluster.
pub(crate) type Name = (String, String);

/// The way to a cluster, as far as is known.
#[derive(Clone)]
pub(crate) enum Connection {
    Pending,
    Up(Client),
    Down(Unreadable),
}

/// Keeps the connection to one cluster until it is dropped.
pub(crate) struct Keeper {
    connection: watch::Receiver<Connection>,
    look: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Where GitopsClusters and their Secrets are, and how what they name is reached.
struct Gitops {
    client: Client,
    egress: Egress,
    resource: ApiResource,
    interval: Duration,
}

/// Why there is no connection.
enum Trouble {
    /// That is how it is: the connection that there was ends.
    Down(Unreadable),
    /// This cluster's API server could not tell: the connection that there was stays.
    Unknown(Unreadable),
}

impl Clusters {
    /// `client` reads the GitopsClusters and their Secrets, the latter every `interval`; `egress` connects to what those name.
    pub(crate) fn new(client: Client, egress: Egress, interval: Duration, cross_namespace: bool) -> Self {
        let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", "GitopsCluster");
        let gitops = Gitops { client, egress, resource: ApiResource::from_gvk(&kind), interval };
        Self { gitops: Arc::new(gitops), cross_namespace, keepers: Mutex::default() }
    }

    /// The cluster that a Pipeline in `pipeline_namespace` means.
    pub(crate) fn name(&self, pipeline_namespace: &str, cluster: &ClusterRef) -> Result<Name, Unreadable> {
        let namespace = cluster.namespace.as_deref().unwrap_or(pipeline_namespace);
        if let Some(version) = cluster.api_version.as_deref().filter(|version| !in_group(version)) {
            return Err(Unreadable {
                reason: Reason::TargetClusterNotFound,
                message: format!(
                    "clusterRef.apiVersion {version} has no GitopsCluster: leave it out or name {GROUP}/v1alpha1"
                ),
            });
        }
        if !self.cross_namespace && namespace != pipeline_namespace {
            return Err(Unreadable {
                reason: Reason::AccessDenied,
                message: format!(
                    "GitopsCluster {namespace}/{} is in another namespace than the Pipeline, which \
                     --no-cross-namespace-refs forbids",
                    cluster.name
                ),
            });
        }
        Ok((namespace.to_owned(), cluster.name.clone()))
    }

    /// Keeps the connection to a cluster; everybody who asks for the same cluster shares it.
    pub(crate) fn keeper(&self, name: &Name) -> Arc<Keeper> {
        let mut keepers = self.keepers();
        keepers.retain(|_, keeper| keeper.strong_count() > 0);
        if let Some(keeper) = keepers.get(name).and_then(Weak::upgrade) {
            return keeper;
        }
        let keeper = Arc::new(Keeper::start(Arc::clone(&self.gitops), name.clone()));
        keepers.insert(name.clone(), Arc::downgrade(&keeper));
        keeper
    }

    /// The state of the connection to each cluster that somebody needs, for metrics.
    pub(crate) fn connections(&self) -> Vec<&'static str> {
        let keepers: Vec<_> = self.keepers().values().filter_map(Weak::upgrade).collect();
        let state = |keeper: &Arc<Keeper>| match *keeper.connection.borrow() {
            Connection::Pending => "pending",
            Connection::Up(_) => "connected",
            Connection::Down(_) => "down",
        };
        keepers.iter().map(state).collect()
    }

    /// How many clusters are connected.
    #[cfg(test)]
    pub(crate) fn connected(&self) -> usize {
        self.keepers().values().filter(|keeper| keeper.strong_count() > 0).count()
    }

    fn keepers(&self) -> MutexGuard<'_, HashMap<Name, Weak<Keeper>>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    fn start(gitops: Arc<Gitops>, name: Name) -> Self {
        let (sender, connection) = watch::channel(Connection::Pending);
        let look = Arc::new(Notify::new());
        let asked = Arc::clone(&look);
        let task = tokio::spawn(async move { gitops.keep(&name, &sender, &asked).await });
        Self { connection, look, task }
    }

    pub(crate) fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.clone()
    }

    /// Asks for a look at the Secret before it is due.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gitops {
    async fn keep(&self, name: &Name, connection: &watch::Sender<Connection>, asked: &Notify) {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.0, &self.resource);
        let only = watcher::Config::default().fields(&format!("metadata.name={}", name.1));
        // Where it may not be watched, the interval has to do.
        let changes = watcher(api, only).default_backoff().touched_objects().filter_map(async |it| it.ok());
        let mut changes = Box::pin(changes);
        let mut used: Option<SecretString> = None;
        loop {
            let next = match self.look(name, used.as_ref()).await {
                Ok(None) => None,
                Ok(Some((client, kubeconfig))) => {
                    used = Some(kubeconfig);
                    Some(Connection::Up(client))
                }
                Err(Trouble::Unknown(why)) => used.is_none().then_some(Connection::Down(why)),
                Err(Trouble::Down(why)) => {
                    used = None;
                    Some(Connection::Down(why))
                }
            };
            connection.send_if_modified(|current| match (&*current, next) {
                (_, None) => false,
                (Connection::Down(before), Some(Connection::Down(now))) if *before == now => false,
                (_, Some(next)) => {
                    *current = next;
                    true
                }
            });
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = asked.notified() => {}
                Some(_) = changes.next() => {}
            }
        }
    }

    /// The cluster as it and its Secret are now; none when the kubeconfig is the one that is `used`.
    async fn look(&self, name: &Name, used: Option<&SecretString>) -> Result<Option<(Client, SecretString)>, Trouble> {
        let down = |message: String| Trouble::Down(not_ready(name, &message));
        let object = self.get(name).await?;
        let secret = kubeconfig_secret(&object).map_err(down)?;
        let secret = pipeline_secrets::read(self.client.clone(), &name.0, &secret).await.map_err(|error| {
            let why = not_ready(name, &explain(&error));
            let unknown =
                matches!(error, pipeline_secrets::Error::Unreachable { .. } | pipeline_secrets::Error::Deadline { .. });
            if unknown { Trouble::Unknown(why) } else { Trouble::Down(why) }
        })?;
        let (_, text) = secret.kubeconfig().map_err(|error| down(explain(&error)))?;
        if used.is_some_and(|used| used.expose_secret() == text) {
            return Ok(None);
        }
        let kubeconfig = SecretString::from(text.to_owned());
        let client = self.connect(&secret).await.map_err(down)?;
        Ok(Some((client, kubeconfig)))
    }

    async fn get(&self, name: &Name) -> Result<DynamicObject, Trouble> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.0, &self.resource);
        match tokio::time::timeout(DEADLINE, api.get(&name.1)).await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {
                let hint = if status.reason == "NotFound" {
                    ""
                } else {
                    ": the API server does not serve gitopsclusters.gitops.weave.works at v1alpha1"
                };
                Err(Trouble::Down(Unreadable {
                    reason: Reason::TargetClusterNotFound,
                    message: format!("GitopsCluster {}/{} not found{hint}", name.0, name.1),
                }))
            }
            Ok(Err(error)) => Err(match Failure::of(&error, "cannot be read") {
                Failure::Server(message) => Trouble::Unknown(not_ready(name, &message)),
                failure => Trouble::Down(not_ready(name, &failure.message())),
            }),
            Err(_elapsed) => Err(Trouble::Unknown(not_ready(name, &format!("was not read within {DEADLINE:?}")))),
        }
    }

    /// A client for the cluster whose kubeconfig is in `secret`. No connection is made yet.
    async fn connect(&self, secret: &SecretValues) -> Result<Client, String> {
        let (key, text) = secret.kubeconfig().map_err(|error| explain(&error))?;
        let source = format!("Secret {}/{}: key `{key}`", secret.namespace, secret.name);
        let kubeconfig = kubeconfig::parse(text).map_err(|refused| format!("{source}: {refused}"))?;
        client(kubeconfig, self.egress.clone()).await.map_err(|error| format!("{source}: {error}"))
    }
}

fn in_group(api_version: &str) -> bool {
    api_version.split_once('/').is_some_and(|(group, _)| group == GROUP)
}

/// The Secret that holds the kubeconfig of a GitopsCluster, or why the cluster is not ready.
///
/// Only `Ready` False counts: cluster-controller sets True when the Secret is there, and nothing sets it where that
/// controller does not run.
fn kubeconfig_secret(cluster: &DynamicObject) -> Result<String, String> {
    if cluster.metadata.deletion_timestamp.is_some() {
        return Err("is being deleted".to_owned());
    }
    let status = cluster.data.get("status").unwrap_or(&Value::Null);
    let ready = application::condition(status, "Ready");
    if let Some(not_ready) = ready.filter(|ready| application::text(ready, "status") == Some("False")) {
        return Err(application::explain("not Ready", not_ready));
    }
    let name = |pointer: &str| {
        let name = cluster.data.pointer(pointer).and_then(Value::as_str);
        name.filter(|name| !name.is_empty())
    };
    match (name("/spec/secretRef/name"), name("/spec/capiClusterRef/name")) {
        (Some(secret), _) => Ok(secret.to_owned()),
        (None, Some(cluster)) => Ok(format!("{cluster}-kubeconfig")),
        (None, None) => Err("names neither spec.secretRef.name nor spec.capiClusterRef.name".to_owned()),
    }
}

async fn client(kubeconfig: Kubeconfig, egress: Egress) -> Result<Client, String> {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| explain(&error))?;
    connection::client(&config, egress).map_err(|error| explain(&error))
}

pub(super) fn not_ready((namespace, name): &Name, message: &str) -> Unreadable {
    Unreadable {
        reason: Reason::TargetClusterNotReady,
        message: format!("GitopsCluster {namespace}/{name}: {message}"),
    }
}
