//! How all Pipelines stand, kept up to date with each that is recorded, so that a scrape walks through none of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use pipeline_api::conditions::{ConditionType, Reason};
use pipeline_api::normalized::Strategy;
use pipeline_api::{Phase, Pipeline, PipelineStatus, PromotionStatus, Repository};
use promote_pr::host::Provider;

use super::names::{NONE, STATUSES};
use super::{Metrics, strategies};

pub(super) const STRATEGIES: [&str; 3] = ["pull-request", "webhook", "notification"];
pub(super) const MILESTONES: [&str; 4] = ["opened", "merged", "delivered", "live"];
/// The provider of a host that has not told yet.
pub(super) const UNKNOWN: &str = "unknown";
/// Hosts whose provider is remembered.
const MAX_PROVIDERS: usize = 1024;

/// What every Pipeline adds to the gauges.
#[derive(Debug, Default)]
pub(super) struct Standings(Mutex<HashMap<(String, String), Standing>>);

/// What one Pipeline adds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Standing {
    promotions: Box<[[&'static str; 3]]>,
    conditions: Box<[[&'static str; 3]]>,
}

/// Which software serves which host, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Providers(Mutex<HashMap<String, Provider>>);

impl Providers {
    pub(super) fn note(&self, host: &str, provider: Provider) {
        let mut known = lock(&self.0);
        if known.contains_key(host) || known.len() < MAX_PROVIDERS {
            known.insert(host.to_owned(), provider);
        }
    }

    /// The label of a host's provider; `said` is what the Pipeline says.
    pub(super) fn label(&self, host: &str, said: Option<pipeline_api::Provider>) -> &'static str {
        let said = said.map(strategies::pull_request::provider);
        let known = || lock(&self.0).get(host).copied();
        said.or_else(known).or_else(|| Provider::of_host(host)).map_or(UNKNOWN, Provider::name)
    }
}

impl Metrics {
    /// A Pipeline's status is on record: what it adds to the gauges is this from now on, and what changed in it is counted.
    pub(crate) fn recorded(&self, pipeline: &Pipeline, status: &PipelineStatus, now: Timestamp) {
        let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
        self.stands(&namespace, &name, self.standing(pipeline, status));
        for (environment, after) in &status.environments {
            let Some(promotion) = &after.promotion else { continue };
            let before = pipeline.status.as_ref().and_then(|status| status.environments.get(environment));
            let before = before.and_then(|before| before.promotion.as_ref());
            let earlier = before.filter(|before| before.id == promotion.id).map(|before| before.phase);
            if earlier != Some(promotion.phase) {
                self.transitions.add(self.labels(pipeline, environment, promotion), 1);
                self.milestone(pipeline, environment, promotion, now);
            }
        }
    }

    /// As [`Metrics::recorded`], of a Pipeline that cannot be understood.
    pub(crate) fn incomprehensible(&self, namespace: &str, name: &str, conditions: &[Condition]) {
        let conditions = conditions.iter().filter_map(condition).collect();
        self.stands(namespace, name, Standing { conditions, ..Standing::default() });
    }

    /// A Pipeline is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.unqueued(namespace, name);
        let gone = lock(&self.standings.0).remove(&(namespace.to_owned(), name.to_owned()));
        if let Some(gone) = gone {
            self.pipelines.dec();
            self.add(&gone, -1);
        }
    }

    fn stands(&self, namespace: &str, name: &str, standing: Standing) {
        let mut standings = lock(&self.standings.0);
        let key = (namespace.to_owned(), name.to_owned());
        if standings.get(&key) == Some(&standing) {
            return;
        }
        self.add(&standing, 1);
        match standings.insert(key, standing) {
            Some(before) => self.add(&before, -1),
            None => drop(self.pipelines.inc()),
        }
    }

    fn add(&self, standing: &Standing, change: i64) {
        for labels in &standing.promotions {
            self.promotions.add(*labels, change);
        }
        for labels in &standing.conditions {
            self.conditions.add(*labels, change);
        }
    }

    fn standing(&self, pipeline: &Pipeline, status: &PipelineStatus) -> Standing {
        let promotions = status.environments.iter().filter_map(|(name, environment)| {
            let promotion = environment.promotion.as_ref()?;
            Some(self.labels(pipeline, name, promotion))
        });
        Standing {
            promotions: promotions.collect(),
            conditions: status.conditions.iter().filter_map(condition).collect(),
        }
    }

    fn labels(&self, pipeline: &Pipeline, environment: &str, promotion: &PromotionStatus) -> [&'static str; 3] {
        let [strategy, provider] = self.place(pipeline, environment, promotion);
        [promotion.phase.as_str(), strategy, provider]
    }

    /// Strategy and provider: those of the record, which may be of an earlier spec, and where it is silent those of the spec.
    fn place(&self, pipeline: &Pipeline, environment: &str, promotion: &PromotionStatus) -> [&'static str; 2] {
        let [pull_request, webhook, notification] = STRATEGIES;
        if let Some(Repository { url, provider, .. }) = &promotion.repository {
            return [pull_request, self.provider(url, *provider)];
        }
        match pipeline.promotion(environment).ok().flatten().map(|promotion| promotion.strategy) {
            Some(Strategy::PullRequest(spec)) => [pull_request, self.provider(spec.url.as_str(), spec.provider)],
            Some(Strategy::Notification) => [notification, NONE],
            Some(Strategy::Webhook(_)) | None => [webhook, NONE],
        }
    }

    /// How long it took from the decision to here.
    fn milestone(&self, pipeline: &Pipeline, environment: &str, promotion: &PromotionStatus, now: Timestamp) {
        let [opened, merged, delivered, live] = MILESTONES;
        let [strategy, _] = self.place(pipeline, environment, promotion);
        let [pull_request, ..] = STRATEGIES;
        let milestone = match promotion.phase {
            Phase::Open => opened,
            Phase::Delivered if strategy == pull_request => merged,
            Phase::Delivered => delivered,
            Phase::Succeeded => live,
            Phase::AwaitingApproval
            | Phase::Pending
            | Phase::AlreadyApplied
            | Phase::Closed
            | Phase::Superseded
            | Phase::Failed => return,
        };
        let Some(started) = &promotion.started_time else { return };
        let took = Duration::try_from(now.duration_since(started.0)).unwrap_or_default();
        let approval = if promotion.approved_by.is_some() { "given" } else { NONE };
        self.lead_time.with([milestone, strategy, approval], |histogram| histogram.observe(took.as_secs_f64()));
    }
}

/// The labels of a condition of ours.
fn condition(condition: &Condition) -> Option<[&'static str; 3]> {
    let type_ = ConditionType::ALL.iter().map(|type_| type_.as_str()).find(|type_| *type_ == condition.type_)?;
    let status = STATUSES.into_iter().find(|status| *status == condition.status)?;
    let reason = Reason::ALL.iter().map(|reason| reason.as_str()).find(|reason| *reason == condition.reason)?;
    Some([type_, status, reason])
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
