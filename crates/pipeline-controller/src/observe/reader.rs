//! Reads applications from one API server, at whichever version of its group that server has.

use std::time::Duration;

use kube::api::DynamicObject;
use kube::core::response::StatusSummary;
use kube::core::{ApiResource, GroupVersionKind, Status};
use kube::runtime::watcher;
use kube::{Api, Client, discovery};

use super::application::{self, Kind};
use crate::causes::explain;
use crate::observed::Application;

/// How long the API server may take to name the version that serves a kind, and again to give the object.
const DEADLINE: Duration = Duration::from_secs(10);

const NOT_AN_API_SERVER: &str = "the answer is not one of a Kubernetes API server";

/// Why an application could not be read. For people; quotes of an answer only what a Kubernetes API server says in a
/// `Status`, because another cluster's address is whatever its kubeconfig says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The API server does not let us.
    Forbidden(String),
    /// The API server knows no such thing.
    NotThere(String),
    /// The API server answers in another way that it is not to be.
    Application(String),
    /// There was no answer, not one of an API server, or one that refuses to serve us at all.
    Server(String),
}

impl Failure {
    pub(crate) fn of(error: &kube::Error, what: &str) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status, what),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                Self::Server(format!("{what}: {NOT_AN_API_SERVER}"))
            }
            error => Self::Server(format!("{what}: {}", explain(error))),
        }
    }

    /// Of a watch that ended with `error`; none when it only has to begin anew.
    pub(crate) fn of_watch(error: &watcher::Error, what: &str) -> Option<Self> {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => match error {
                kube::Error::Api(status) if status.code == 410 => None,
                error => Some(Self::of(error, what)),
            },
            watcher::Error::WatchError(status) if status.code == 410 => None,
            watcher::Error::WatchError(status) => Some(Self::of_status(status, what)),
            watcher::Error::NoResourceVersion => Some(Self::Server(format!("{what}: {NOT_AN_API_SERVER}"))),
        }
    }

    fn of_status(status: &Status, what: &str) -> Self {
        let is_status = status.status == Some(StatusSummary::Failure) && !status.reason.contains(' ');
        let said = format!("{what}: {}", status.message);
        match status.code {
            401 | 500.. if is_status => Self::Server(said),
            403 if is_status => Self::Forbidden(said),
            404 if is_status => Self::NotThere(said),
            _ if is_status => Self::Application(said),
            0 => Self::Server(format!("{what}: {NOT_AN_API_SERVER}")),
            code => Self::Server(format!("{what}: HTTP {code}")),
        }
    }

    pub(crate) fn message(self) -> String {
        match self {
            Self::Forbidden(message) | Self::NotThere(message) | Self::Application(message) | Self::Server(message) => {
                message
            }
        }
    }
}

/// How `kind` is served: at the version that it names if that is served, else at the one that the API server prefers: a Pipeline
/// outlives the versions of its application's API.
pub(crate) async fn discover(client: &Client, kind: &Kind) -> Result<ApiResource, Failure> {
    in_time(DEADLINE, discover_it(client, kind)).await
}

/// Reads the application `name` in `namespace`, as `resource` is served; none when there is none.
pub(crate) async fn get(
    client: &Client,
    resource: &ApiResource,
    kind: &Kind,
    namespace: &str,
    name: &str,
) -> Result<Option<Application>, Failure> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let get = async {
        let object = api.get_opt(name).await;
        object.map_err(|error| Failure::of(&error, &format!("cannot read {} {namespace}/{name}", kind.kind)))
    };
    let object = in_time(DEADLINE, get).await?;
    Ok(object.map(|object| application::read(kind, &object)))
}

async fn in_time<T>(deadline: Duration, reading: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(deadline, reading).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Failure::Server(format!("the API server did not answer within {deadline:?}"))),
    }
}

async fn discover_it(client: &Client, kind: &Kind) -> Result<ApiResource, Failure> {
    let group_name = kind.group();
    let version = kind.api_version.rsplit('/').next().unwrap_or_default();
    let missing = || {
        Failure::NotThere(format!(
            "the API server has no kind {} in group {group_name}: is its custom resource definition installed?",
            kind.kind
        ))
    };
    let wanted = GroupVersionKind::gvk(group_name, version, &kind.kind);
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
            Err(Failure::Application(format!("kind {} is not namespaced: it cannot be an application", kind.kind)))
        }
    }
}

#[cfg(test)]
mod tests;
