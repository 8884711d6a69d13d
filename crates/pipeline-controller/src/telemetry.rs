//! The process' log.

use tracing_subscriber::EnvFilter;

use crate::args::{LogEncoding, LogLevel};

/// Starts logging to standard error; call it once, first.
pub(crate) fn start(level: LogLevel, encoding: LogEncoding) {
    let ours = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    // Libraries below log whole requests at their lower levels, and kube each failed one as an error, which is told here where
    // it is handled.
    let filter = EnvFilter::new(format!(
        "warn,kube_client=off,pipeline_controller={ours},promote_pr={ours},promote_webhook={ours},egress={ours},pipeline_secrets={ours}"
    ));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match encoding {
        LogEncoding::Json => log.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
        LogEncoding::Console => log.with_target(false).init(),
    }
}
