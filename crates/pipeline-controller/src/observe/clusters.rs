//! Targets on other clusters, which [GitopsCluster](https://github.com/weaveworks/cluster-controller) objects stand for.
//!
//! Such an object names a Secret with a kubeconfig, both in one namespace. It is looked up anew for every target, so that a
//! cluster that went away or whose Secret was rotated is noticed at the next look; the client is kept until then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use egress::Egress;
use kube::api::DynamicObject;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config};
use pipeline_api::conditions::Reason;
use pipeline_api::{AppRef, ClusterRef};
use pipeline_secrets::SecretValues;
use serde_json::Value;

use super::reader::{Failure, Reader, group_of};
use super::{Application, Unreadable, application};
use crate::causes::explain;

mod connection;
mod kubeconfig;
#[cfg(test)]
mod tests;

/// How long reading the GitopsCluster may take; reading its Secret may take as long once more.
const DEADLINE: Duration = Duration::from_secs(10);
/// After a cluster did not answer, others that ask for it are told so at once for this long: their reconciles shall not wait
/// for it one after the other.
const SILENCE: Duration = Duration::from_secs(20);
/// A client that was not used for so long is dropped, with its connections.
const MAX_UNUSED: Duration = Duration::from_secs(900);

const GROUP: &str = "gitops.weave.works";

/// Reads applications on other clusters.
pub(crate) struct Clusters {
    client: Client,
    egress: Egress,
    resource: ApiResource,
    known: Mutex<HashMap<Name, Known>>,
}

/// Namespace and name of a GitopsCluster.
type Name = (String, String);

struct Known {
    cluster: Arc<Cluster>,
    /// The Secret that the client was made from, and its version.
    secret: (String, Option<String>),
    used: Instant,
}

/// A cluster with the credentials of one version of its Secret.
struct Cluster {
    reader: Reader,
    /// When it last did not answer, and how that showed.
    silent: Mutex<Option<(Instant, String)>>,
}

impl Clusters {
    /// `client` reads the GitopsClusters and their Secrets; `egress` connects to what those name.
    pub(crate) fn new(client: Client, egress: Egress) -> Self {
        let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", "GitopsCluster");
        Self { client, egress, resource: ApiResource::from_gvk(&kind), known: Mutex::default() }
    }

    /// Reads the application that `app_ref` names in `namespace` of `cluster`, for a Pipeline in `pipeline_namespace`.
    pub(crate) async fn read(
        &self,
        pipeline_namespace: &str,
        cluster: &ClusterRef,
        app_ref: &AppRef,
        namespace: &str,
    ) -> Result<Application, Unreadable> {
        let (cluster_namespace, name) = Self::name(pipeline_namespace, cluster)?;
        let cluster = self.cluster(&cluster_namespace, &name).await?;
        let read = cluster.read(app_ref, namespace);
        read.await.map_err(|failure| match failure {
            Failure::Application(message) => Unreadable {
                reason: Reason::TargetNotReadable,
                message: format!("GitopsCluster {cluster_namespace}/{name}: {message}"),
            },
            Failure::Server(message) => not_ready(&cluster_namespace, &name, &message),
        })
    }

    fn name(pipeline_namespace: &str, cluster: &ClusterRef) -> Result<Name, Unreadable> {
        let namespace = cluster.namespace.as_deref().unwrap_or(pipeline_namespace);
        if let Some(version) = cluster.api_version.as_deref().filter(|version| group_of(version) != GROUP) {
            return Err(Unreadable {
                reason: Reason::TargetClusterNotFound,
                message: format!(
                    "clusterRef.apiVersion {version} has no GitopsCluster: leave it out or name {GROUP}/v1alpha1"
                ),
            });
        }
        Ok((namespace.to_owned(), cluster.name.clone()))
    }

    /// The cluster as it and its Secret are now.
    async fn cluster(&self, namespace: &str, name: &str) -> Result<Arc<Cluster>, Unreadable> {
        let key = (namespace.to_owned(), name.to_owned());
        let found = async {
            let object = self.get(namespace, name).await?;
            let secret = kubeconfig_secret(&object).map_err(|message| not_ready(namespace, name, &message))?;
            let secret = pipeline_secrets::read(self.client.clone(), namespace, &secret)
                .await
                .map_err(|error| not_ready(namespace, name, &explain(&error)))?;
            if let Some(cluster) = self.recall(&key, &secret) {
                return Ok(cluster);
            }
            let client = self.connect(&secret).await.map_err(|message| not_ready(namespace, name, &message))?;
            Ok(self.remember(&key, &secret, Cluster::new(client)))
        };
        let found = found.await;
        if found.is_err() {
            self.known().remove(&key);
        }
        found
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<DynamicObject, Unreadable> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &self.resource);
        match tokio::time::timeout(DEADLINE, api.get(name)).await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {
                let hint = if status.reason == "NotFound" {
                    ""
                } else {
                    ": the API server does not serve gitopsclusters.gitops.weave.works at v1alpha1"
                };
                Err(Unreadable {
                    reason: Reason::TargetClusterNotFound,
                    message: format!("GitopsCluster {namespace}/{name} not found{hint}"),
                })
            }
            Ok(Err(error)) => Err(not_ready(namespace, name, &Failure::of(&error, "cannot be read").message())),
            Err(_elapsed) => Err(not_ready(namespace, name, &format!("was not read within {DEADLINE:?}"))),
        }
    }

    fn recall(&self, key: &Name, secret: &SecretValues) -> Option<Arc<Cluster>> {
        let mut clusters = self.known();
        clusters.retain(|_, known| known.used.elapsed() < MAX_UNUSED);
        let known = clusters.get_mut(key).filter(|known| known.secret == version(secret))?;
        known.used = Instant::now();
        Some(Arc::clone(&known.cluster))
    }

    fn remember(&self, key: &Name, secret: &SecretValues, cluster: Cluster) -> Arc<Cluster> {
        let cluster = Arc::new(cluster);
        let known = Known { cluster: Arc::clone(&cluster), secret: version(secret), used: Instant::now() };
        self.known().insert(key.clone(), known);
        cluster
    }

    /// A client for the cluster whose kubeconfig is in `secret`. No connection is made yet.
    async fn connect(&self, secret: &SecretValues) -> Result<Client, String> {
        let (key, text) = secret.kubeconfig().map_err(|error| explain(&error))?;
        let source = format!("Secret {}/{}: key `{key}`", secret.namespace, secret.name);
        let kubeconfig = kubeconfig::parse(text).map_err(|refused| format!("{source}: {refused}"))?;
        client(kubeconfig, self.egress.clone()).await.map_err(|error| format!("{source}: {error}"))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Name, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    fn new(client: Client) -> Self {
        Self { reader: Reader::new(client), silent: Mutex::default() }
    }

    async fn read(&self, app_ref: &AppRef, namespace: &str) -> Result<Application, Failure> {
        if let Some((since, message)) = &*self.silent()
            && since.elapsed() < SILENCE
        {
            return Err(Failure::Server(message.clone()));
        }
        let read = async {
            let resource = self.reader.resource(app_ref).await?;
            self.reader.read(&resource, app_ref, namespace).await
        };
        let read = read.await;
        *self.silent() = match &read {
            Err(Failure::Server(message)) => Some((Instant::now(), message.clone())),
            Ok(_) | Err(Failure::Application(_)) => None,
        };
        read
    }

    fn silent(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version(secret: &SecretValues) -> (String, Option<String>) {
    (secret.name.clone(), secret.resource_version.clone())
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

fn not_ready(namespace: &str, name: &str, message: &str) -> Unreadable {
    Unreadable {
        reason: Reason::TargetClusterNotReady,
        message: format!("GitopsCluster {namespace}/{name}: {message}"),
    }
}
