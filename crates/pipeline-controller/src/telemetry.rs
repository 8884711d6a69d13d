//! What the process tells of itself: its log, its traces, and where its metrics are read.

use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

use crate::args::{LogEncoding, TelemetryArgs};
use crate::strategies::Network;

mod level;
mod otlp;
pub(crate) mod serve;
pub(crate) mod trace;

pub(crate) use self::level::Level;
use self::trace::Traces;

/// For the spans that wait to be sent when the controller stops.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// The log and the traces of this process.
pub(crate) struct Telemetry {
    pub level: Level,
    pub traces: Traces,
    provider: Option<SdkTracerProvider>,
}

/// Starts logging to standard error, and tracing where there is a collector; call it once, first. Spans are sent by `runtime`.
///
/// # Errors
/// The operator's certificate authorities cannot be used. There is a log in any case.
pub(crate) fn start(args: &TelemetryArgs, network: &Network, runtime: &Handle) -> anyhow::Result<Telemetry> {
    let provider = args.otlp_endpoint.as_ref().map(|endpoint| otlp::provider(endpoint, network, runtime)).transpose();
    let (filter, level) = level::start(args.log_level);
    let log = fmt::layer().with_writer(std::io::stderr);
    let log = match args.log_encoding {
        LogEncoding::Json => log.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        LogEncoding::Console => log.with_target(false).boxed(),
    };
    let traced = provider.as_ref().ok().and_then(Option::as_ref).map(trace::layer);
    tracing_subscriber::registry().with(log.with_filter(filter)).with(traced).init();
    let provider = provider?;
    Ok(Telemetry { level, traces: Traces::of(provider.as_ref()), provider })
}

impl Telemetry {
    /// Sends what is left.
    pub(crate) fn stop(self) {
        let Some(provider) = self.provider else { return };
        if let Err(error) = provider.shutdown_with_timeout(LAST_SPANS) {
            tracing::warn!(%error, "spans are left that were not sent to --otlp-endpoint");
        }
    }
}
