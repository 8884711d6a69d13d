//! All Pipelines there are, whichever process reconciles them: whom the webhooks of hosts mean, and who promotes to whose fields.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, ResourceExt};
use pipeline_api::Pipeline;
use tokio_util::sync::CancellationToken;

use crate::causes::explain;
use crate::claims::Claims;
use crate::hooks::Hooks;
use crate::watch::watch;

/// What is kept of them; the objects themselves are not.
pub(crate) struct Everyone {
    pub hooks: Arc<Hooks>,
    pub claims: Arc<Claims>,
}

impl Everyone {
    /// Watches the Pipelines of `api` until this is dropped. `listed` is told when all that there are were seen once.
    pub(crate) async fn watch(&self, api: Api<DynamicObject>, listed: &CancellationToken) {
        let mut events = pin!(watch(api, Config::default()));
        let (mut known, mut there) = (BTreeSet::new(), BTreeSet::new());
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => there.clear(),
                Ok(Event::InitApply(object)) => {
                    there.insert(name(&object));
                    self.see(object);
                }
                Ok(Event::InitDone) => {
                    for gone in known.difference(&there) {
                        self.forget(gone);
                    }
                    known = std::mem::take(&mut there);
                    listed.cancel();
                }
                Ok(Event::Apply(object)) => {
                    known.insert(name(&object));
                    self.see(object);
                }
                Ok(Event::Delete(object)) => {
                    known.remove(&name(&object));
                    self.forget(&name(&object));
                }
                Err(error) => tracing::debug!("the watch of all Pipelines begins anew: {}", explain(&error)),
            }
        }
    }

    fn see(&self, object: DynamicObject) {
        let name = name(&object);
        // Its names may be anything, and would become parts of paths.
        match object.try_parse::<Pipeline>() {
            Ok(pipeline) if pipeline.invalid().is_empty() => {
                self.hooks.follow(&pipeline);
                self.claims.see(&pipeline);
            }
            _ => self.forget(&name),
        }
    }

    fn forget(&self, (namespace, name): &(String, String)) {
        self.hooks.unfollow(namespace, name);
        self.claims.release(namespace, name);
    }
}

fn name(object: &DynamicObject) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}
