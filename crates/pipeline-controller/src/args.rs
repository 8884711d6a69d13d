//! Command-line flags, each also read from `PIPELINE_CONTROLLER_<FLAG>`.

mod election;
mod git;
mod telemetry;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};
use egress::IpNet;
use promote_pr::edit::Limits;
use url::Url;

pub use self::election::ElectionArgs;
pub use self::git::GitArgs;
pub use self::telemetry::{LogEncoding, LogLevel, MetricsAddress, TelemetryArgs};

/// Promotes applications from one environment to the next, as Pipeline objects say.
#[derive(Parser, Clone, Debug)]
// As with Go's flags, the last of several counts.
#[command(version, max_term_width = 100, args_override_self = true)]
pub struct Args {
    /// Kubeconfig file; without it, KUBECONFIG, ~/.kube/config and the Pod's service account are tried in this order
    #[arg(long, env = "PIPELINE_CONTROLLER_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace whose Pipelines are reconciled; without it, all namespaces
    #[arg(long, env = "PIPELINE_CONTROLLER_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,

    /// Pipelines that are reconciled at the same time
    #[arg(long, env = "PIPELINE_CONTROLLER_CONCURRENT", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    pub concurrent: u16,

    #[command(flatten)]
    pub election: ElectionArgs,

    #[command(flatten)]
    pub git: GitArgs,

    /// PEM bundle of certificate authorities that are trusted in addition to the system's, for git, hosts and webhooks
    #[arg(long, env = "PIPELINE_CONTROLLER_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Allow repositories and webhooks over plain http; credentials are never sent over it
    #[arg(long, env = "PIPELINE_CONTROLLER_INSECURE_ALLOW_HTTP", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL")]
    pub insecure_allow_http: bool,

    /// Addresses that are called although they are refused by themselves (loopback, link-local, cloud metadata, the API server) or by --egress-deny, for example 10.1.2.3/32; may be given more than once
    #[arg(long, env = "PIPELINE_CONTROLLER_EGRESS_ALLOW", value_delimiter = ',', value_name = "CIDR")]
    pub egress_allow: Vec<IpNet>,

    /// Further addresses that are not called, for example 10.0.0.0/8; may be given more than once
    #[arg(long, env = "PIPELINE_CONTROLLER_EGRESS_DENY", value_delimiter = ',', value_name = "CIDR")]
    pub egress_deny: Vec<IpNet>,

    /// Address that serves /healthz and /readyz
    #[arg(long, env = "PIPELINE_CONTROLLER_HEALTH_PROBE_BIND_ADDRESS", default_value = ":8081", value_parser = bind_address, value_name = "ADDRESS")]
    pub health_probe_bind_address: SocketAddr,

    /// Address that takes Flux events, on /promotion, approvals, on /approval, the reports of receivers, on /promotion-status, and
    /// the webhooks of hosts, on /hooks
    #[arg(long, env = "PIPELINE_CONTROLLER_PROMOTION_HOOK_BIND_ADDRESS", default_value = ":8082", value_parser = bind_address, value_name = "ADDRESS")]
    pub promotion_hook_bind_address: SocketAddr,

    /// Requests that one address may send there in each interval
    #[arg(long, env = "PIPELINE_CONTROLLER_PROMOTION_HOOK_RATE_LIMIT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub promotion_hook_rate_limit: u32,

    /// The interval of --promotion-hook-rate-limit
    #[arg(long, env = "PIPELINE_CONTROLLER_PROMOTION_HOOK_RATE_LIMIT_INTERVAL", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub promotion_hook_rate_limit_interval: Duration,

    /// Answer events and approvals that are taken with 201 and 204 as the first pipeline-controller did, and not with 202
    #[arg(long, env = "PIPELINE_CONTROLLER_LEGACY_STATUS_CODES", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL")]
    pub legacy_status_codes: bool,

    /// Take approvals that are signed as the first pipeline-controller wanted it: such a signature is good for every promotion under
    /// its key, for ever, in the hands of whoever sees it
    #[arg(long, env = "PIPELINE_CONTROLLER_ALLOW_LEGACY_APPROVAL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL")]
    pub allow_legacy_approval: bool,

    /// URL that Flux events about promotions, and those of strategy.notification, are sent to, as a rule notification-controller's;
    /// without it, none are sent
    #[arg(long, env = "PIPELINE_CONTROLLER_EVENTS_ADDR", value_parser = events_address, value_name = "URL")]
    pub events_addr: Option<EventsAddress>,

    /// Time between two looks at an open pull request; each promotion adds up to a fifth of its own
    #[arg(long, env = "PIPELINE_CONTROLLER_PULL_REQUEST_INTERVAL", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub pull_request_interval: Duration,

    /// Time between two looks at the Secrets of other clusters, which are not watched
    #[arg(long, env = "PIPELINE_CONTROLLER_REMOTE_INTERVAL", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub remote_interval: Duration,

    /// Refuse clusterRef.namespace other than the Pipeline's own
    #[arg(long, env = "PIPELINE_CONTROLLER_NO_CROSS_NAMESPACE_REFS", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL")]
    pub no_cross_namespace_refs: bool,

    /// Time before a failed pull request promotion is tried again for the first time; it doubles with each try
    #[arg(long, env = "PIPELINE_CONTROLLER_PROMOTION_RETRY_DELAY", default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub promotion_retry_delay: Duration,

    /// Longest time between two tries of a failed pull request promotion
    #[arg(long, env = "PIPELINE_CONTROLLER_PROMOTION_RETRY_MAX_DELAY", default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub promotion_retry_max_delay: Duration,

    /// Failed tries after which a pull request promotion is reported as stalled; it is still tried at the longest delay
    #[arg(long, env = "PIPELINE_CONTROLLER_PROMOTION_RETRY_THRESHOLD", default_value_t = 8, value_name = "N")]
    pub promotion_retry_threshold: u32,

    /// A flag of the first pipeline-controller, for a mode that is the only one now: it changes nothing
    #[arg(long, env = "PIPELINE_CONTROLLER_ENABLE_LEVEL_TRIGGERED", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", hide = true)]
    enable_level_triggered: bool,

    #[command(flatten)]
    pub edit: EditLimits,

    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Bounds of editing; what goes beyond one is left alone and told, by the promotion's message where it matters.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct EditLimits {
    /// Largest manifest that is read and parsed, in bytes
    #[arg(long = "edit-max-file-bytes", env = "PIPELINE_CONTROLLER_EDIT_MAX_FILE_BYTES", default_value_t = Limits::default().file_bytes, value_name = "BYTES")]
    file_bytes: usize,

    /// Deepest nesting of collections in a manifest
    #[arg(long = "edit-max-depth", env = "PIPELINE_CONTROLLER_EDIT_MAX_DEPTH", default_value_t = Limits::default().depth, value_name = "LEVELS")]
    depth: usize,

    /// Manifests that one promotion parses; those without a marker do not count
    #[arg(long = "edit-max-files", env = "PIPELINE_CONTROLLER_EDIT_MAX_FILES", default_value_t = Limits::default().files, value_name = "N")]
    files: usize,

    /// Values that one promotion changes
    #[arg(long = "edit-max-edits", env = "PIPELINE_CONTROLLER_EDIT_MAX_EDITS", default_value_t = Limits::default().edits, value_name = "N")]
    edits: usize,
}

impl EditLimits {
    /// The limits in the terms of promote-pr.
    pub fn limits(self) -> Limits {
        Limits { file_bytes: self.file_bytes, depth: self.depth, files: self.files, edits: self.edits }
    }
}

/// An address to listen on as Go writes it: without a host, every address of the machine.
fn bind_address(text: &str) -> Result<SocketAddr, String> {
    let parsed = match text.strip_prefix(':') {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| format!("`{text}` is not an address such as :8081, 127.0.0.1:8081 or [::1]:8081"))
}

/// Where Flux events are sent; none, as with the empty text that Flux' own manifests may give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsAddress(pub Option<Url>);

fn events_address(text: &str) -> Result<EventsAddress, String> {
    if text.is_empty() {
        return Ok(EventsAddress(None));
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url =
        url.ok_or_else(|| format!("`{text}` is not a URL such as http://notification-controller.flux-system.svc/"))?;
    Ok(EventsAddress(Some(url)))
}

/// A positive duration in the words that Go and systemd share, such as `90s`, `1m30s` or `500ms`; a number alone is seconds, as
/// the flags of the first pipeline-controller were.
fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a positive duration such as 500ms, 30s or 1m30s");
    let span = match text.parse() {
        Ok(seconds) => jiff::SignedDuration::from_secs(seconds),
        Err(_no_number) => text.parse().map_err(|_not_a_duration| refused())?,
    };
    match Duration::try_from(span) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_is_read_from_the_environment_too() {
        for arg in Args::command().get_arguments() {
            let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else {
                continue;
            };
            let expected = format!("PIPELINE_CONTROLLER_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(expected.as_str()), "--{long}");
        }
    }

    #[test]
    fn flags_of_the_first_pipeline_controller_are_taken() {
        let parse = |flags: &str| Args::try_parse_from(std::iter::once("pipeline-controller").chain(flags.split(' ')));
        let args = parse(
            "--health-probe-bind-address=:8081 --promotion-hook-bind-address :8082 --promotion-hook-rate-limit=20 \
             --promotion-hook-rate-limit-interval 30 --promotion-retry-delay=2 --promotion-retry-max-delay=20 \
             --promotion-retry-threshold=3 --events-addr= --log-level=info --log-encoding=json --leader-elect=true --enable-level-triggered=true",
        );
        let args = args.unwrap();
        assert_eq!(args.promotion_hook_rate_limit_interval, Duration::from_secs(30));
        assert_eq!(args.promotion_retry_max_delay, Duration::from_secs(20));
    }

    #[test]
    fn switches_are_given_as_go_takes_them() {
        let parse = |flag| Args::try_parse_from(["pipeline-controller", flag]).map(|args| args.legacy_status_codes);
        assert!(!Args::parse_from(["pipeline-controller"]).legacy_status_codes);
        assert!(parse("--legacy-status-codes").unwrap());
        assert!(parse("--legacy-status-codes=true").unwrap());
        assert!(!parse("--legacy-status-codes=false").unwrap());
        assert!(parse("--legacy-status-codes=perhaps").is_err());
    }

    #[test]
    fn bind_addresses() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(bind_address(text).ok().map(|address| address.to_string()).as_deref(), expected, "{text}");
        };
        check(":8081", Some("[::]:8081"));
        check("127.0.0.1:80", Some("127.0.0.1:80"));
        check("[::1]:80", Some("[::1]:80"));
        check("8081", None);
        check(":x", None);
    }

    #[test]
    fn events_addresses() {
        let check = |text: &str, expected: Option<&str>| {
            let parsed = events_address(text).map(|address| address.0.map(String::from));
            assert_eq!(parsed.ok().flatten().as_deref(), expected, "{text}");
        };
        check(
            "http://notification-controller.flux-system.svc.cluster.local./",
            Some("http://notification-controller.flux-system.svc.cluster.local./"),
        );
        check("https://events.example/hook", Some("https://events.example/hook"));
        check("", None);
        assert!(events_address("").is_ok());
        for wrong in ["notification-controller", "ftp://events.example", "http://"] {
            assert!(events_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(duration(text).ok().map(|d| u64::try_from(d.as_millis()).unwrap()), expected, "{text}");
        };
        check("500ms", Some(500));
        check("30s", Some(30_000));
        check("1m30s", Some(90_000));
        check("30", Some(30_000));
        check("0s", None);
        check("0", None);
        check("-5s", None);
        check("", None);
    }
}
