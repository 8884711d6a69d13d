//! Every metric: its name, type, labels and meaning. `docs/metrics.md` is made of this.

use std::fmt::Write as _;

use pipeline_api::Phase;
use pipeline_api::conditions::{ConditionType, Reason};
use promote_pr::host::Provider;
use promote_pr::{CacheUse, GitAction};

use super::standing::{MILESTONES, STRATEGIES, UNKNOWN};
use super::{hosts, names};

/// A metric with `N` labels.
pub(crate) struct Metric<const N: usize> {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: [Label; N],
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Clone, Copy)]
pub struct Label {
    pub name: &'static str,
    pub values: Values,
}

/// The values of a label: bounded, all of them.
#[derive(Clone, Copy)]
pub enum Values {
    These(fn() -> Vec<&'static str>),
    /// At most 64, and one for all others.
    Hosts,
    /// One, or a few, that are the installation's own.
    Own(&'static str),
}

/// A metric without the number of its labels.
#[derive(Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [Label],
    pub help: &'static str,
}

impl<const N: usize> Metric<N> {
    const fn row(&'static self) -> Row {
        Row { name: self.name, kind: self.kind, labels: &self.labels, help: self.help }
    }

    /// The name as the encoder wants it, which adds the end of a counter's by itself.
    pub(super) fn encoded_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.trim_end_matches("_total"),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

const fn these(name: &'static str, values: fn() -> Vec<&'static str>) -> Label {
    Label { name, values: Values::These(values) }
}

const HOST: Label = Label { name: "host", values: Values::Hosts };
const CONTROLLER: Label = these("controller", || vec![names::CONTROLLER]);
const PHASE: Label = these("phase", || Phase::ALL.iter().map(|phase| phase.as_str()).collect());
const STRATEGY: Label = these("strategy", || STRATEGIES.to_vec());
const PROVIDER: Label =
    these("provider", || Provider::ALL.into_iter().map(Provider::name).chain([UNKNOWN, names::NONE]).collect());
const TRANSPORT: Label = these("transport", || names::TRANSPORTS.to_vec());

macro_rules! table {
    ($($(#[$group:meta])* $const:ident: $kind:ident $name:literal [$($label:expr),*] $help:literal;)+) => {
        $(pub(crate) static $const: Metric<{ <[Label]>::len(&[$($label),*]) }> =
            Metric { name: $name, kind: Kind::$kind, labels: [$($label),*], help: $help };)+

        /// All metrics, in the order of the documentation.
        pub static TABLE: &[Row] = &[$($const.row()),+];
    };
}

table! {
    RECONCILES: Counter "controller_runtime_reconcile_total"
        [CONTROLLER, these("result", || names::RESULTS.to_vec())]
        "Reconciles by result, as controller-runtime counts them: `requeue_after` is the usual end, for a Pipeline is looked at again";
    RECONCILE_ERRORS: Counter "controller_runtime_reconcile_errors_total" [CONTROLLER]
        "Reconciles that failed, because the API server failed, time ran out or the program has a defect";
    RECONCILE_PANICS: Counter "controller_runtime_reconcile_panics_total" [CONTROLLER]
        "Reconciles that ended in a defect of the program";
    RECONCILE_TIME: Histogram "controller_runtime_reconcile_time_seconds" [CONTROLLER]
        "Time of a reconcile, with all promotions that it carries out";
    ACTIVE_WORKERS: Gauge "controller_runtime_active_workers" [CONTROLLER]
        "Reconciles that are running";
    MAX_WORKERS: Gauge "controller_runtime_max_concurrent_reconciles" [CONTROLLER]
        "Reconciles that may run at the same time: `--concurrent`";
    QUEUE: Gauge "workqueue_depth" [these("name", || vec![names::CONTROLLER])]
        "Pipelines that changed, or that something woke, and that wait for their reconcile; those whose time has come wait uncounted";
    QUEUE_TIME: Histogram "workqueue_queue_duration_seconds" [these("name", || vec![names::CONTROLLER])]
        "How long they waited";
    API_REQUESTS: Counter "rest_client_requests_total"
        [
            these("code", || names::API_CODES.to_vec()),
            these("method", || names::METHODS.to_vec()),
            Label { name: "host", values: Values::Own("the API server") }
        ]
        "Requests to the API server of this cluster; a watch is one";
    LEADER: Gauge "leader_election_master_status" [Label { name: "name", values: Values::Own("the Lease, or `pipeline-controller` without one") }]
        "1 where this process acts, 0 where it stands by";
    PIPELINES: Gauge "pipeline_controller_pipelines" []
        "Pipelines that this process looks after, once each has been reconciled";
    CONDITIONS: Gauge "pipeline_controller_pipeline_conditions"
        [
            these("type", || ConditionType::ALL.iter().map(|type_| type_.as_str()).collect()),
            these("status", || names::STATUSES.to_vec()),
            these("reason", || Reason::ALL.iter().map(|reason| reason.as_str()).collect())
        ]
        "Pipelines by condition";
    PROMOTIONS: Gauge "pipeline_controller_promotions" [PHASE, STRATEGY, PROVIDER]
        "Environments by the phase of their present or last promotion";
    TRANSITIONS: Counter "pipeline_controller_promotion_transitions_total" [PHASE, STRATEGY, PROVIDER]
        "Promotions that came into a phase";
    ATTEMPTS: Counter "pipeline_controller_promotion_attempts_total"
        [STRATEGY, PROVIDER, these("outcome", || names::OUTCOMES.to_vec())]
        "Attempts at a promotion, and looks at its pull request: `done`, `retried` later, `failed` until a person acts, or no `turn` because too many others call the same host";
    LEAD_TIME: Histogram "pipeline_controller_promotion_lead_time_seconds"
        [these("milestone", || MILESTONES.to_vec()), STRATEGY, these("approval", || names::APPROVALS.to_vec())]
        "Time since a revision was ready to be promoted until its pull request was opened, was merged, its event was delivered, or it was live; `approval` tells where the time of a person who approves is in it";
    HOST_REQUESTS: Counter "pipeline_controller_host_requests_total"
        [HOST, these("outcome", || egress::Outcome::ALL.into_iter().map(egress::Outcome::as_str).collect())]
        "Calls to git hosts, receivers of webhooks and other clusters, by how they ended";
    HOST_TIME: Histogram "pipeline_controller_host_request_duration_seconds" [HOST]
        "Time of a call until the head of its answer";
    QUOTA_LIMIT: Gauge "pipeline_controller_host_quota_limit" [HOST, these("api", || names::APIS.to_vec())]
        "Requests in the present window of the credential that has the smallest part of it left, as the host tells";
    QUOTA_REMAINING: Gauge "pipeline_controller_host_quota_remaining" [HOST, these("api", || names::APIS.to_vec())]
        "Requests that are left of it";
    WAITS: Counter "pipeline_controller_host_wait_seconds_total" [HOST]
        "Time that requests to a host's API waited for their turn in the budget of their credential";
    DEFERRALS: Counter "pipeline_controller_host_deferrals_total" [HOST]
        "Requests that were put off because that budget was used up";
    GIT_OPERATIONS: Counter "pipeline_controller_git_operations_total"
        [
            TRANSPORT,
            these("action", || GitAction::ALL.into_iter().map(GitAction::as_str).collect()),
            these("result", || names::GIT_RESULTS.to_vec())
        ]
        "Operations on repositories";
    GIT_TIME: Histogram "pipeline_controller_git_operation_duration_seconds"
        [TRANSPORT, these("action", || GitAction::ALL.into_iter().map(GitAction::as_str).collect())]
        "Time of an operation, with the wait for others that want the same repository";
    GIT_BYTES: Counter "pipeline_controller_git_bytes_total"
        [TRANSPORT, these("direction", || names::DIRECTIONS.to_vec())]
        "Bytes of git's protocol that were sent and received";
    GIT_CACHE: Counter "pipeline_controller_git_cache_lookups_total"
        [these("result", || CacheUse::ALL.into_iter().map(CacheUse::as_str).collect())]
        "What the cache of repositories was good for: `hit`, `shared` with another promotion at the same moment, `updated` by what it lacked, or `filled` from nothing";
    WATCHES: Gauge "pipeline_controller_watches"
        [these("cluster", || names::CLUSTERS.to_vec()), these("state", || names::WATCHES.to_vec())]
        "Watches of applications, one for each kind and cluster: `polled` where watching is not allowed";
    CLUSTERS: Gauge "pipeline_controller_clusters" [these("state", || names::CONNECTIONS.to_vec())]
        "Other clusters that Pipelines name";
    ENDPOINTS: Counter "pipeline_controller_endpoint_requests_total"
        [
            these("endpoint", || names::ENDPOINTS.to_vec()),
            these("code", || names::CODES.to_vec())
        ]
        "Requests on `--promotion-hook-bind-address`";
    NOTIFICATIONS: Counter "pipeline_controller_notifications_total"
        [these("outcome", || names::NOTIFICATIONS.to_vec())]
        "Events for `--events-addr`: `sent`, `failed` after all tries, or `dropped` because too many waited";
    BUILD_INFO: Gauge "pipeline_controller_build_info" [Label { name: "version", values: Values::Own("this version") }]
        "Always 1";
    CPU: Counter "process_cpu_seconds_total" []
        "Processor time that was used";
    MEMORY: Gauge "process_resident_memory_bytes" []
        "Resident memory";
    FILES: Gauge "process_open_fds" []
        "Open file descriptors";
    MAX_FILES: Gauge "process_max_fds" []
        "File descriptors that may be open";
    STARTED: Gauge "process_start_time_seconds" []
        "When the process started, in seconds since 1970";
}

impl Row {
    /// The name that its samples begin with.
    pub fn is_named(&self, sample: &str) -> bool {
        match self.kind {
            Kind::Counter | Kind::Gauge => sample == self.name,
            Kind::Histogram => {
                let rest = sample.strip_prefix(self.name);
                rest.is_some_and(|rest| matches!(rest, "_bucket" | "_sum" | "_count"))
            }
        }
    }
}

/// The table of `docs/metrics.md`.
pub fn page() -> String {
    let mut page = "| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for Row { name, kind, labels, help } in TABLE {
        let labels: Vec<String> = labels.iter().map(Label::describe).collect();
        let (kind, labels) = (kind.as_str(), labels.join("; "));
        let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {help} |");
    }
    page
}

impl Label {
    fn describe(&self) -> String {
        let values = match self.values {
            Values::These(values) => {
                let values: Vec<String> = values().into_iter().map(|value| format!("`{value}`")).collect();
                values.join(", ")
            }
            Values::Hosts => format!("host and port; beyond {} of them `{}`", hosts::MAX, hosts::OTHER),
            Values::Own(what) => what.to_owned(),
        };
        format!("`{}`: {values}", self.name)
    }
}
