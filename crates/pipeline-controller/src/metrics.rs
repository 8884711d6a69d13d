//! What is counted and measured, for Prometheus.
//!
//! A scrape costs what the series cost, however many Pipelines there are: what is kept of each is added up when it is recorded.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use pipeline_api::normalized::Strategy;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::context::Context;
use crate::outcome::{Done, Failure, Next};
use crate::strategies;

mod names;
pub mod table;

mod api_server;
mod hosts;
mod observers;
mod process;
mod queue;
mod standing;
#[cfg(test)]
mod tests;
mod vector;

pub(crate) use api_server::ApiServer;
pub(crate) use names::endpoint;

use self::hosts::Hosts;
use self::names::CONTROLLER;
use self::queue::Queue;
use self::standing::{Providers, STRATEGIES, Standings};
use self::vector::{Counters, Gauges, Histograms, Seconds, single};

/// Of calls and operations: 5 ms to 5 minutes.
const CALLS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Of promotions: a second to two weeks, for people take part.
const PROMOTIONS: &[f64] = &[
    1.0,
    5.0,
    15.0,
    60.0,
    300.0,
    900.0,
    3600.0,
    4.0 * 3600.0,
    12.0 * 3600.0,
    86_400.0,
    3.0 * 86_400.0,
    7.0 * 86_400.0,
    14.0 * 86_400.0,
];

/// Everything that is counted. Nothing here blocks for longer than it takes to add up.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// What is asked only when somebody scrapes.
    context: OnceLock<Weak<Context>>,
    scrape: Mutex<()>,
    hosts: Hosts,
    providers: Providers,
    standings: Standings,

    reconciles: Counters<2>,
    reconcile_errors: Counters<1>,
    reconcile_panics: Counters<1>,
    reconcile_time: Histograms<1>,
    active_workers: Gauges<1>,
    max_workers: Gauges<1>,
    queue: Queue,
    queue_depth: Gauges<1>,
    queue_time: Histograms<1>,
    api_requests: Counters<3>,
    leader: Gauges<1>,
    pipelines: Gauge,
    conditions: Gauges<3>,
    promotions: Gauges<3>,
    transitions: Counters<3>,
    attempts: Counters<3>,
    lead_time: Histograms<3>,
    host_requests: Counters<2>,
    host_time: Histograms<1>,
    quota_limit: Gauges<2>,
    quota_remaining: Gauges<2>,
    waits: Seconds<1>,
    deferrals: Counters<1>,
    git_operations: Counters<3>,
    git_time: Histograms<2>,
    git_bytes: Counters<2>,
    git_cache: Counters<1>,
    watches: Gauges<2>,
    clusters: Gauges<1>,
    endpoints: Counters<2>,
    notifications: Counters<1>,
    build_info: Gauges<1>,
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    files: Gauge,
    max_files: Gauge,
    started: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let it = &mut registry;
        let metrics = Self {
            context: OnceLock::new(),
            scrape: Mutex::default(),
            hosts: Hosts::default(),
            providers: Providers::default(),
            standings: Standings::default(),
            reconciles: Counters::register(it, &table::RECONCILES),
            reconcile_errors: Counters::register(it, &table::RECONCILE_ERRORS),
            reconcile_panics: Counters::register(it, &table::RECONCILE_PANICS),
            reconcile_time: Histograms::with_buckets(it, &table::RECONCILE_TIME, CALLS),
            active_workers: Gauges::register(it, &table::ACTIVE_WORKERS),
            max_workers: Gauges::register(it, &table::MAX_WORKERS),
            queue: Queue::default(),
            queue_depth: Gauges::register(it, &table::QUEUE),
            queue_time: Histograms::with_buckets(it, &table::QUEUE_TIME, CALLS),
            api_requests: Counters::register(it, &table::API_REQUESTS),
            leader: Gauges::register(it, &table::LEADER),
            pipelines: single(it, &table::PIPELINES),
            conditions: Gauges::register(it, &table::CONDITIONS),
            promotions: Gauges::register(it, &table::PROMOTIONS),
            transitions: Counters::register(it, &table::TRANSITIONS),
            attempts: Counters::register(it, &table::ATTEMPTS),
            lead_time: Histograms::with_buckets(it, &table::LEAD_TIME, PROMOTIONS),
            host_requests: Counters::register(it, &table::HOST_REQUESTS),
            host_time: Histograms::with_buckets(it, &table::HOST_TIME, CALLS),
            quota_limit: Gauges::register(it, &table::QUOTA_LIMIT),
            quota_remaining: Gauges::register(it, &table::QUOTA_REMAINING),
            waits: Seconds::register(it, &table::WAITS),
            deferrals: Counters::register(it, &table::DEFERRALS),
            git_operations: Counters::register(it, &table::GIT_OPERATIONS),
            git_time: Histograms::with_buckets(it, &table::GIT_TIME, CALLS),
            git_bytes: Counters::register(it, &table::GIT_BYTES),
            git_cache: Counters::register(it, &table::GIT_CACHE),
            watches: Gauges::register(it, &table::WATCHES),
            clusters: Gauges::register(it, &table::CLUSTERS),
            endpoints: Counters::register(it, &table::ENDPOINTS),
            notifications: Counters::register(it, &table::NOTIFICATIONS),
            build_info: Gauges::register(it, &table::BUILD_INFO),
            cpu: single(it, &table::CPU),
            memory: single(it, &table::MEMORY),
            files: single(it, &table::FILES),
            max_files: single(it, &table::MAX_FILES),
            started: single(it, &table::STARTED),
            registry,
        };
        metrics.begin();
        metrics
    }
}

impl Metrics {
    /// Rates begin at zero: what never happened yet shows, too, where it is alerted upon.
    fn begin(&self) {
        self.build_info.set([env!("CARGO_PKG_VERSION")], 1);
        self.active_workers.set([CONTROLLER], 0);
        self.reconcile_errors.add([CONTROLLER], 0);
        self.reconcile_panics.add([CONTROLLER], 0);
        for result in names::RESULTS {
            self.reconciles.add([CONTROLLER, result], 0);
        }
        for state in names::CONNECTIONS {
            self.clusters.set([state], 0);
        }
        for outcome in names::NOTIFICATIONS {
            self.notifications.add([outcome], 0);
        }
        for result in promote_pr::CacheUse::ALL {
            self.git_cache.add([result.as_str()], 0);
        }
    }

    /// Reconciles that may run at the same time.
    pub(crate) fn set_concurrent(&self, concurrent: u16) {
        self.max_workers.set([CONTROLLER], i64::from(concurrent));
    }

    /// Whether this process acts, by the Lease of this name.
    pub(crate) fn set_leader(&self, lease: &str, leads: bool) {
        self.leader.set([lease.to_owned()], i64::from(leads));
    }

    /// What this knows is asked for with every scrape.
    pub(crate) fn ask(&self, context: &Arc<Context>) {
        self.context.set(Arc::downgrade(context)).ok();
    }

    /// A reconcile begins; it ends when what is returned is dropped.
    pub(crate) fn reconcile(&self, namespace: &str, name: &str) -> Reconcile<'_> {
        self.begins(namespace, name);
        self.active_workers.add([CONTROLLER], 1);
        Reconcile { metrics: self, began: Instant::now(), ended: Ended::Gone }
    }

    /// An effect was tried.
    pub(crate) fn attempted(&self, strategy: &Strategy, result: &Result<Done, Failure>) {
        let outcome = match result {
            Ok(_) => "done",
            Err(failure) => match failure.next {
                Next::Never | Next::Review => "failed",
                Next::Backoff { .. } | Next::After(_) => "retried",
                Next::Turn => "turn",
            },
        };
        let [pull_request, webhook, notification] = STRATEGIES;
        let (strategy, provider) = match strategy {
            Strategy::PullRequest(spec) => (pull_request, self.provider(spec.url.as_str(), spec.provider)),
            Strategy::Webhook(_) => (webhook, names::NONE),
            Strategy::Notification => (notification, names::NONE),
        };
        self.attempts.add([strategy, provider, outcome], 1);
    }

    /// A request was answered.
    pub(crate) fn answered(&self, endpoint: &'static str, status: StatusCode) {
        self.endpoints.add([endpoint, names::code(status)], 1);
    }

    /// What became of an event for `--events-addr`.
    pub(crate) fn notified(&self, outcome: Notified) {
        let [sent, failed, dropped] = names::NOTIFICATIONS;
        let outcome = match outcome {
            Notified::Sent => sent,
            Notified::Failed => failed,
            Notified::Dropped => dropped,
        };
        self.notifications.add([outcome], 1);
    }

    /// All metrics, in [OpenMetrics' text](https://prometheus.io/docs/specs/om/open_metrics_spec/).
    pub(crate) fn render(&self) -> String {
        // Gauges that are made anew must not be cleared while somebody else reads them.
        let _alone = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh();
        let mut out = String::with_capacity(64 << 10);
        // A String takes whatever is written.
        text::encode(&mut out, &self.registry).ok();
        out
    }

    fn refresh(&self) {
        self.queue_depth.set([CONTROLLER], i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
        if let Some(usage) = process::usage() {
            // It can only be added to.
            self.cpu.inc_by((usage.cpu_seconds - self.cpu.get()).max(0.0));
            self.memory.set(usage.resident_bytes);
            self.files.set(usage.open_files);
            self.max_files.set(usage.max_files);
            self.started.set(usage.started);
        }
        if let Some(context) = self.context.get().and_then(Weak::upgrade) {
            self.watch(&context);
            self.quotas(context.strategies.promoter.quotas());
        }
    }

    fn watch(&self, context: &Context) {
        for cluster in names::CLUSTERS {
            for state in names::WATCHES {
                self.watches.set([cluster, state], 0);
            }
        }
        for (remote, state) in context.applications.watches() {
            let [local, other] = names::CLUSTERS;
            self.watches.add([if remote { other } else { local }, state], 1);
        }
        for state in names::CONNECTIONS {
            self.clusters.set([state], 0);
        }
        for state in context.applications.connections() {
            self.clusters.add([state], 1);
        }
    }

    /// Of several credentials, the one that has the smallest part of its window left.
    fn quotas(&self, mut quotas: Vec<promote_pr::Quota>) {
        quotas.sort_by_key(|quota| {
            let part = quota.remaining.saturating_mul(1000).checked_div(quota.limit).unwrap_or_default();
            std::cmp::Reverse(part)
        });
        self.quota_limit.clear();
        self.quota_remaining.clear();
        for quota in quotas {
            let [rest, graphql] = names::APIS;
            let labels = [self.hosts.label(&quota.host), (if quota.graphql { graphql } else { rest }).into()];
            self.quota_limit.set(labels.clone(), i64::try_from(quota.limit).unwrap_or(i64::MAX));
            self.quota_remaining.set(labels, i64::try_from(quota.remaining).unwrap_or(i64::MAX));
        }
    }

    fn provider(&self, url: &str, said: Option<pipeline_api::Provider>) -> &'static str {
        let url = url.parse::<promote_pr::RepoUrl>();
        let host = url.map(|url| url.host_and_port()).unwrap_or_default();
        self.providers.label(&host, said)
    }
}

/// What became of an event.
#[derive(Clone, Copy)]
pub(crate) enum Notified {
    Sent,
    Failed,
    Dropped,
}

/// A reconcile that runs.
pub(crate) struct Reconcile<'a> {
    metrics: &'a Metrics,
    began: Instant,
    ended: Ended,
}

/// How a reconcile ended.
#[derive(Clone, Copy)]
pub(crate) enum Ended {
    /// There is no such Pipeline, or nothing to do before it changes.
    Gone,
    /// To be looked at again after this time.
    Again(Duration),
    Failed,
    Panicked,
}

impl Reconcile<'_> {
    pub(crate) fn end(mut self, how: Ended) {
        self.ended = how;
    }
}

impl Drop for Reconcile<'_> {
    fn drop(&mut self) {
        let [success, requeue, requeue_after, error] = names::RESULTS;
        let result = match self.ended {
            Ended::Gone => success,
            Ended::Again(Duration::ZERO) => requeue,
            Ended::Again(_) => requeue_after,
            Ended::Failed | Ended::Panicked => error,
        };
        let metrics = self.metrics;
        metrics.active_workers.add([CONTROLLER], -1);
        metrics.reconciles.add([CONTROLLER, result], 1);
        metrics.reconcile_errors.add([CONTROLLER], u64::from(result == error));
        metrics.reconcile_panics.add([CONTROLLER], u64::from(matches!(self.ended, Ended::Panicked)));
        let took = self.began.elapsed().as_secs_f64();
        metrics.reconcile_time.with([CONTROLLER], |histogram| histogram.observe(took));
    }
}
