//! How much is logged, which may change at any time.

use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::args::LogLevel;

/// The level of the log.
#[derive(Clone)]
pub(crate) struct Level {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Arc<Mutex<LogLevel>>,
}

pub(super) fn start(level: LogLevel) -> (reload::Layer<EnvFilter, Registry>, Level) {
    let (layer, filter) = reload::Layer::new(filter(level));
    (layer, Level { filter, level: Arc::new(Mutex::new(level)) })
}

impl Level {
    pub(crate) fn get(&self) -> LogLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, level: LogLevel) {
        let mut current = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        // It fails only when there is no log any more.
        if self.filter.reload(filter(level)).is_ok() {
            *current = level;
        }
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    let ours = level.as_str();
    // Libraries below log whole requests at their lower levels, and kube each failed one as an error, which is told here where
    // it is handled.
    EnvFilter::new(format!(
        "warn,kube_client=off,pipeline_controller={ours},promote_pr={ours},promote_webhook={ours},egress={ours},pipeline_secrets={ours}"
    ))
}
