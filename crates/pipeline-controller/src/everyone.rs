//! All Pipelines there are, whichever process reconciles them: whom the webhooks of hosts mean, and who promotes to whose fields.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use kube::api::{DynamicObject, PartialObjectMetaExt};
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, ResourceExt};
use pipeline_api::Pipeline;
use tokio_util::sync::CancellationToken;

use crate::claims::Claims;
use crate::hooks::Hooks;
use crate::observe::followers::PipelineMeta;
use crate::watch::watch;

/// What is kept of them; the objects themselves are not.
pub(crate) struct Everyone {
    pub hooks: Arc<Hooks>,
    pub claims: Arc<Claims>,
}

impl Everyone {
    /// Watches the Pipelines of `api`, and passes on of each what it says of itself. `listed` is told when all that there are were
    /// seen once.
    pub(crate) fn watch(
        self,
        api: Api<DynamicObject>,
        listed: CancellationToken,
    ) -> impl Stream<Item = watcher::Result<Event<PipelineMeta>>> + Send {
        let (mut known, mut there) = (BTreeSet::new(), BTreeSet::new());
        watch(api, Config::default()).map_ok(move |event| match event {
            Event::Init => {
                there.clear();
                Event::Init
            }
            Event::InitApply(object) => {
                there.insert(name(&object));
                Event::InitApply(self.see(object))
            }
            Event::InitDone => {
                for gone in known.difference(&there) {
                    self.forget(gone);
                }
                known = std::mem::take(&mut there);
                listed.cancel();
                Event::InitDone
            }
            Event::Apply(object) => {
                known.insert(name(&object));
                Event::Apply(self.see(object))
            }
            Event::Delete(object) => {
                known.remove(&name(&object));
                self.forget(&name(&object));
                Event::Delete(object.metadata.into_response_partial())
            }
        })
    }

    fn see(&self, object: DynamicObject) -> PipelineMeta {
        let (name, meta) = (name(&object), object.metadata.clone());
        // Its names may be anything, and would become parts of paths.
        match object.try_parse::<Pipeline>() {
            Ok(pipeline) if pipeline.invalid().is_empty() => {
                self.hooks.follow(&pipeline);
                self.claims.see(&pipeline);
            }
            _ => self.forget(&name),
        }
        meta.into_response_partial()
    }

    fn forget(&self, (namespace, name): &(String, String)) {
        self.hooks.unfollow(namespace, name);
        self.claims.release(namespace, name);
    }
}

fn name(object: &DynamicObject) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}
