//! Wakes the reconcile of a Pipeline, in whichever process that is.

use jiff::Timestamp;
use kube::Client;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc;

use crate::leader::Leader;
use crate::observe::followers::PipelineMeta;
use crate::record::record_told;

/// How to wake Pipelines. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Wake {
    pub client: Client,
    pub leader: Leader,
    /// Those that this process reconciles when it leads.
    pub pipelines: Store<PipelineMeta>,
    pub queue: mpsc::Sender<ObjectRef<PipelineMeta>>,
}

impl Wake {
    /// Wakes a Pipeline if it is reconciled in this process; whether it is.
    pub(crate) async fn here(&self, namespace: &str, name: &str) -> bool {
        let pipeline = ObjectRef::new(name).within(namespace);
        let is_here = self.is_here(&pipeline);
        if is_here {
            // Only when the controller stops is there nobody to be woken; the next one looks at all Pipelines.
            self.queue.send(pipeline).await.ok();
        }
        is_here
    }

    /// Wakes a Pipeline if another process reconciles it: by an annotation, which that one watches.
    ///
    /// # Errors
    /// The API server refused it, or could not be reached.
    pub(crate) async fn elsewhere(&self, namespace: &str, name: &str) -> kube::Result<()> {
        if self.is_here(&ObjectRef::new(name).within(namespace)) {
            return Ok(());
        }
        record_told(&self.client, namespace, name, now()).await
    }

    /// Wakes a Pipeline, wherever it is reconciled.
    ///
    /// # Errors
    /// As [`Wake::elsewhere`].
    pub(crate) async fn anywhere(&self, namespace: &str, name: &str) -> kube::Result<()> {
        if self.here(namespace, name).await { Ok(()) } else { self.elsewhere(namespace, name).await }
    }

    fn is_here(&self, pipeline: &ObjectRef<PipelineMeta>) -> bool {
        self.leader.check().is_ok() && self.pipelines.get(pipeline).is_some()
    }
}

#[expect(clippy::disallowed_methods, reason = "for people; any other value than before wakes")]
fn now() -> Timestamp {
    Timestamp::now()
}
