//! Reads applications from one API server, at whichever version of its group that server has.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::api::DynamicObject;
use kube::core::response::StatusSummary;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, discovery};
use pipeline_api::AppRef;

use super::application;
use crate::causes::explain;
use crate::observed::Application;

/// How long the API server may take to name the version that serves a kind, and again to give the object.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long the API server's word on which version serves a kind is believed.
const DISCOVERY_TTL: Duration = Duration::from_secs(300);

const NOT_AN_API_SERVER: &str = "the answer is not one of a Kubernetes API server";

/// Reads applications with one client, and remembers how their kinds are served.
pub(crate) struct Reader {
    client: Client,
    deadline: Duration,
    resources: Mutex<HashMap<(String, String), (ApiResource, Instant)>>,
}

/// Why an application could not be read. For people; quotes of an answer only what a Kubernetes API server says in a
/// `Status`, because another cluster's address is whatever its kubeconfig says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The API server answered: the application or its kind is not there, or may not be read.
    Application(String),
    /// There was no answer, not one of an API server, or one that refuses to serve us at all.
    Server(String),
}

impl Reader {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, deadline: DEADLINE, resources: Mutex::default() }
    }

    /// How the kind that `app_ref` names is served.
    pub(crate) async fn resource(&self, app_ref: &AppRef) -> Result<ApiResource, Failure> {
        let key = (app_ref.api_version.clone(), app_ref.kind.clone());
        if let Some((resource, since)) = self.resources().get(&key)
            && since.elapsed() < DISCOVERY_TTL
        {
            return Ok(resource.clone());
        }
        let resource = self.in_time(discover(&self.client, app_ref)).await?;
        self.resources().insert(key, (resource.clone(), Instant::now()));
        Ok(resource)
    }

    /// Reads the application that `app_ref` names in `namespace`, as `resource` is served.
    pub(crate) async fn read(
        &self,
        resource: &ApiResource,
        app_ref: &AppRef,
        namespace: &str,
    ) -> Result<Application, Failure> {
        let name = format!("{} {namespace}/{}", app_ref.kind, app_ref.name);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        let get = async {
            let object = api.get_opt(&app_ref.name).await;
            object.map_err(|error| Failure::of(&error, &format!("cannot read {name}")))
        };
        match self.in_time(get).await? {
            Some(object) => Ok(application::read(&object)),
            None => {
                // The object, or its whole kind: ask again next time.
                self.resources().remove(&(app_ref.api_version.clone(), app_ref.kind.clone()));
                Err(Failure::Application(format!("{name} not found")))
            }
        }
    }

    async fn in_time<T>(&self, reading: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.deadline, reading).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Failure::Server(format!("the API server did not answer within {:?}", self.deadline))),
        }
    }

    fn resources(&self) -> MutexGuard<'_, HashMap<(String, String), (ApiResource, Instant)>> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    pub(crate) fn of(error: &kube::Error, what: &str) -> Self {
        match error {
            kube::Error::Api(status) => {
                let is_status = status.status == Some(StatusSummary::Failure) && !status.reason.contains(' ');
                match status.code {
                    401 | 500.. if is_status => Self::Server(format!("{what}: {}", status.message)),
                    _ if is_status => Self::Application(format!("{what}: {}", status.message)),
                    0 => Self::Server(format!("{what}: {NOT_AN_API_SERVER}")),
                    code => Self::Server(format!("{what}: HTTP {code}")),
                }
            }
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                Self::Server(format!("{what}: {NOT_AN_API_SERVER}"))
            }
            error => Self::Server(format!("{what}: {}", explain(error))),
        }
    }

    pub(crate) fn message(self) -> String {
        match self {
            Self::Application(message) | Self::Server(message) => message,
        }
    }
}

/// The group of `api_version`; empty for the core group.
pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The version that `app_ref` names if it is served, else the one that the API server prefers: a Pipeline outlives the
/// versions of its application's API.
async fn discover(client: &Client, app_ref: &AppRef) -> Result<ApiResource, Failure> {
    let group_name = group_of(&app_ref.api_version);
    let version = app_ref.api_version.rsplit('/').next().unwrap_or_default();
    let missing = || {
        Failure::Application(format!(
            "the API server has no kind {} in group {group_name}: is its custom resource definition installed?",
            app_ref.kind
        ))
    };
    let wanted = GroupVersionKind::gvk(group_name, version, &app_ref.kind);
    let group = match discovery::group(client, group_name).await {
        Ok(group) => group,
        Err(kube::Error::Discovery(_)) => return Err(missing()),
        Err(error) => return Err(Failure::of(&error, &format!("cannot discover group {group_name}"))),
    };
    let exact =
        group.versioned_resources(&wanted.version).into_iter().find(|(resource, _)| resource.kind == wanted.kind);
    let (resource, capabilities) = exact.or_else(|| group.recommended_kind(&wanted.kind)).ok_or_else(missing)?;
    match capabilities.scope {
        discovery::Scope::Namespaced => Ok(resource),
        discovery::Scope::Cluster => {
            Err(Failure::Application(format!("kind {} is not namespaced: it cannot be an application", app_ref.kind)))
        }
    }
}

#[cfg(test)]
mod tests;
