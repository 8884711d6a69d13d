//! How Pipelines are watched.

use std::fmt::Debug;
use std::future::ready;

use futures::{Stream, StreamExt, TryStreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Error, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::causes::explain;

/// Watches the Pipelines of `api`, and tells first what there is: streamed from the API server's memory, for pages come from its
/// database at several times the cost. What is told may be a moment old, so whoever acts on an object reads it.
///
/// An API server that cannot stream lists refuses to, and is asked for pages:
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>.
pub(crate) fn watch<K>(api: Api<K>, config: Config) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api.clone(), config.clone().streaming_lists())
        .take_while(|event| ready(!is_refused(event)))
        .chain(watcher(api, config))
        .default_backoff()
        .inspect_err(|error| tracing::debug!("the watch of Pipelines begins anew: {}", explain(error)))
        // The larger part of what would be kept, and nothing that wakes or decides.
        .modify(|object| object.managed_fields_mut().clear())
}

fn is_refused<K>(event: &watcher::Result<Event<K>>) -> bool {
    matches!(event, Err(Error::WatchStartFailed(kube::Error::Api(status))) if matches!(status.code, 400 | 422))
}

#[cfg(test)]
mod tests;
