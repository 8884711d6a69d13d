//! Spans on their way to a collector, by [OTLP over HTTP](https://opentelemetry.io/docs/specs/otlp/#otlphttp).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use egress::{Client, Limits};
use http::{Request, Response};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use url::Url;

use super::trace::Ids;
use crate::causes::explain;
use crate::record::MANAGER;
use crate::strategies::{Network, operators_client};

/// For sending some hundred spans, and for the answer.
const LIMITS: Limits = Limits { deadline: Duration::from_secs(10), body: 64 << 10 };

/// # Errors
/// The operator's certificate authorities, or the environment's settings of the exporter, cannot be used.
pub(super) fn provider(endpoint: &Url, network: &Network, runtime: &Handle) -> anyhow::Result<SdkTracerProvider> {
    let client = operators_client(network).context("--otlp-endpoint")?.with_limits(LIMITS);
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Sender { client, runtime: runtime.clone(), failing: AtomicBool::new(false) })
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(LIMITS.deadline)
        .with_endpoint(endpoint.as_str())
        .build()
        .context("--otlp-endpoint")?;
    let resource = Resource::builder()
        .with_service_name(MANAGER)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let builder = SdkTracerProvider::builder().with_id_generator(Ids::default()).with_resource(resource.build());
    Ok(builder.with_batch_exporter(exporter).build())
}

/// Sends on the controller's runtime what the exporter's own thread gives it.
#[derive(Debug)]
struct Sender {
    client: Client,
    runtime: Handle,
    failing: AtomicBool,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move { client.send(request).await }).await?;
        let why = match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("answered {}", answer.status())),
            Err(error) => Some(explain(error)),
        };
        // Once for each time that it begins: spans come all the time.
        let failing = self.failing.swap(why.is_some(), Ordering::Relaxed);
        if let Some(why) = why.filter(|_| !failing) {
            tracing::warn!("--otlp-endpoint does not take traces: {why}");
        }
        Ok(sent?)
    }
}
