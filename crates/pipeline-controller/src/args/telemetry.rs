//! What the controller tells of itself.

use std::net::SocketAddr;

use clap::ValueEnum;
use url::Url;

use super::bind_address;

/// What the controller tells of itself.
#[derive(clap::Args, Clone, Debug)]
pub struct TelemetryArgs {
    /// Address that serves /metrics, and /log-level to this machine alone; 0 serves neither
    #[arg(long, env = "PIPELINE_CONTROLLER_METRICS_BIND_ADDRESS", default_value = ":8080", value_parser = metrics_address, value_name = "ADDRESS")]
    pub metrics_bind_address: MetricsAddress,

    /// URL of an OpenTelemetry collector that takes traces by OTLP over HTTP, such as `http://collector.monitoring:4318`; without
    /// it, none are made. OTEL_EXPORTER_OTLP_HEADERS and OTEL_RESOURCE_ATTRIBUTES are heeded
    #[arg(long, env = "PIPELINE_CONTROLLER_OTLP_ENDPOINT", value_parser = collector, value_name = "URL")]
    pub otlp_endpoint: Option<Url>,

    /// Least severe messages that are logged; /log-level changes it while the controller runs
    #[arg(long, env = "PIPELINE_CONTROLLER_LOG_LEVEL", default_value = "info", value_enum, value_name = "LEVEL")]
    pub log_level: LogLevel,

    /// Form of the log
    #[arg(long, env = "PIPELINE_CONTROLLER_LOG_ENCODING", default_value = "json", value_enum, value_name = "FORM")]
    pub log_encoding: LogEncoding,
}

/// Where metrics are served; nowhere, as `0` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsAddress(pub Option<SocketAddr>);

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    #[value(alias = "warning")]
    Warn,
    Error,
}

impl LogLevel {
    /// Its name, as the flag takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEncoding {
    /// One JSON object a line
    Json,
    /// Text for people; the Go controller's name for it
    #[value(alias = "text")]
    Console,
}

fn metrics_address(text: &str) -> Result<MetricsAddress, String> {
    match text {
        "0" => Ok(MetricsAddress(None)),
        text => bind_address(text).map(|address| MetricsAddress(Some(address))),
    }
}

/// The URL that traces are sent to: below a base, as [OTLP](https://opentelemetry.io/docs/specs/otlp/#otlphttp-request) has it.
fn collector(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let mut url = url.ok_or_else(|| format!("`{text}` is not a URL such as http://collector.monitoring.svc:4318"))?;
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with("/v1/traces") {
        url.set_path(&format!("{path}/v1/traces"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_addresses() {
        let check = |text: &str, expected: Option<&str>| {
            let parsed = metrics_address(text).map(|address| address.0.map(|address| address.to_string()));
            assert_eq!(parsed.ok().flatten().as_deref(), expected, "{text}");
        };
        check(":8080", Some("[::]:8080"));
        check("127.0.0.1:9090", Some("127.0.0.1:9090"));
        check("0", None);
        assert!(metrics_address("0").is_ok() && metrics_address("8080").is_err());
    }

    #[test]
    fn collectors() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(collector(text).ok().map(String::from).as_deref(), expected, "{text}");
        };
        check("http://collector:4318", Some("http://collector:4318/v1/traces"));
        check("https://otlp.example/otlp/", Some("https://otlp.example/otlp/v1/traces"));
        check("https://otlp.example/v1/traces", Some("https://otlp.example/v1/traces"));
        check("collector:4317", None);
        check("grpc://collector:4317", None);
        check("", None);
    }
}
