//! What is to be done for a pipeline, given what was observed. Pure and total: no IO, no clock, no failure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pipeline_api::normalized::{Promotion, Strategy};
use pipeline_api::{
    Environment, EnvironmentStatus, HISTORY_MAX, Phase, Pipeline, PromoteWhen, PromotionStatus, WaitingApproval,
};

use crate::key;
use crate::observed::{Observed, ObservedEnvironment, Reports};
use crate::plan::{Blocked, Effect, EnvironmentPlan, Plan, Step};
use crate::policy::Policy;
use crate::validity;

#[cfg(test)]
mod tests;

/// Decides what is to be done at `now`.
///
/// The first environment's revision, once its targets agree and are ready, is promoted to the first later environment that does
/// not report it. Open promotions of environments further on are followed, never started. A Pipeline with anything invalid about
/// it, as one that is older than the API server's rules, is left alone.
pub fn decide(pipeline: &Pipeline, observed: &Observed, policy: &Policy, now: Timestamp) -> Plan {
    if pipeline.spec.suspend {
        return Plan { suspended: true, ..Plan::default() };
    }
    let decider = Decider { pipeline, observed, policy, now };
    let mut plan = Plan::default();
    if !validity::problems(pipeline).is_empty() {
        let environments = pipeline.spec.environments.iter();
        let untouched = environments
            .map(|environment| (environment.name.clone(), decider.unchanged(environment, Step::NotReached)));
        plan.environments = untouched.collect();
        return plan;
    }
    let Some((first, later)) = pipeline.spec.environments.split_first() else {
        return plan;
    };
    plan.environments.insert(first.name.clone(), decider.unchanged(first, Step::Source));

    match revision_of(first, observed.environment(&first.name)) {
        Ok(revision) => plan.revision = Some(revision),
        Err(why) => plan.pending = Some(format!("environment {}: {why}", first.name)),
    }
    let mut source = first;
    let mut reached = plan.revision.clone();
    for environment in later {
        let (environment_plan, effect) = match &reached {
            Some(revision) => decider.promote(source, environment, revision),
            None => decider.follow(source, environment),
        };
        if environment_plan.step != Step::Live {
            reached = None;
        }
        plan.starts |= decider.is_new(environment, environment_plan.promotion.as_ref());
        plan.environments.insert(environment.name.clone(), environment_plan);
        plan.effects.extend(effect);
        source = environment;
    }
    plan
}

/// The revision that the targets of the first environment report, when enough of them are ready and all that are agree.
fn revision_of(first: &Environment, observed: Option<&ObservedEnvironment>) -> Result<String, String> {
    let targets = observed.map(|environment| environment.targets.as_slice()).unwrap_or_default();
    let any = first.promote_when.unwrap_or_default() == PromoteWhen::AnyTargetReady;
    let mut agreed: Option<&str> = None;
    let mut not_ready = None;
    for target in targets {
        let revision = match &target.application {
            Ok(application) if application.ready => application.revision.as_deref().unwrap_or_default(),
            Ok(application) => {
                not_ready = Some(format!("target {} is not ready: {}", target.namespace, application.message));
                continue;
            }
            Err(unreadable) => {
                not_ready = Some(format!("target {} cannot be read: {}", target.namespace, unreadable.message));
                continue;
            }
        };
        match agreed {
            Some(other) if other != revision => {
                return Err(format!("its targets report different revisions, {other} and {revision}"));
            }
            _ => agreed = Some(revision),
        }
    }
    match (agreed, not_ready) {
        (Some(revision), None) => Ok(revision.to_owned()),
        (Some(revision), Some(_)) if any => Ok(revision.to_owned()),
        (_, Some(why)) => Err(why),
        (None, None) => Err("it has no targets".to_owned()),
    }
}

struct Decider<'a> {
    pipeline: &'a Pipeline,
    observed: &'a Observed,
    policy: &'a Policy,
    now: Timestamp,
}

impl Decider<'_> {
    fn promote(
        &self,
        source: &Environment,
        environment: &Environment,
        revision: &str,
    ) -> (EnvironmentPlan, Option<Effect>) {
        let blocked = |why: Blocked| (self.unchanged(environment, Step::Blocked(why)), None);
        let reports = Reports::of(self.observed.environment(&environment.name), revision);
        if reports.targets == 0 {
            return blocked(Blocked::NoTargets);
        }
        if reports.live(environment.promote_when.unwrap_or_default()) {
            let (plan, effect) = self.follow(source, environment);
            return (EnvironmentPlan { step: Step::Live, waiting_approval: None, ..plan }, effect);
        }
        if reports.at_revision > 0 {
            let (plan, effect) = self.follow(source, environment);
            return (EnvironmentPlan { step: Step::Progressing, waiting_approval: None, ..plan }, effect);
        }
        if let Err(why) = check_revision(revision) {
            return blocked(Blocked::Invalid(why));
        }
        let promotion = match self.pipeline.promotion(&environment.name) {
            Ok(Some(promotion)) => promotion,
            Ok(None) => return blocked(Blocked::NoPromotion),
            Err(invalid) => return blocked(Blocked::Invalid(invalid.to_string())),
        };
        if let Some(why) = unsupported(&promotion) {
            return blocked(Blocked::Unsupported(why));
        }
        self.run(source, environment, revision, promotion)
    }

    /// Starts the promotion of `revision`, or goes on with it.
    fn run(
        &self,
        source: &Environment,
        environment: &Environment,
        revision: &str,
        promotion: Promotion,
    ) -> (EnvironmentPlan, Option<Effect>) {
        let status = self.status(environment);
        let (record, history) = self.record_for(environment, &status, revision);
        if promotion.manual {
            let waiting_approval = Some(WaitingApproval { revision: revision.to_owned() });
            let record = PromotionStatus { phase: Phase::AwaitingApproval, ..record };
            let step = Step::AwaitingApproval;
            return (EnvironmentPlan { step, waiting_approval, promotion: Some(record), history }, None);
        }
        let record = match record.phase {
            Phase::AwaitingApproval => PromotionStatus { phase: Phase::Pending, ..record },
            _ => record,
        };
        let due = !self.is_new(environment, Some(&record)) && self.is_due(environment, &record, &promotion.strategy);
        let effect = due.then(|| Effect {
            environment: environment.name.clone(),
            source_environment: source.name.clone(),
            revision: revision.to_owned(),
            previous_revision: self.observed.environment(&environment.name).and_then(ObservedEnvironment::revision),
            previous_url: history.iter().rev().find_map(merged_url),
            sequence: sequence(&record),
            attempts: u32::try_from(record.attempts).unwrap_or(0),
            started: record.started_time.as_ref().map_or(self.now, |time| time.0),
            strategy: promotion.strategy,
        });
        let step = Step::Promoting;
        (EnvironmentPlan { step, waiting_approval: None, promotion: Some(record), history }, effect)
    }

    /// Looks after a pull request that is open, for whichever revision; starts nothing.
    fn follow(&self, source: &Environment, environment: &Environment) -> (EnvironmentPlan, Option<Effect>) {
        let plan = self.unchanged(environment, Step::NotReached);
        let open = plan.promotion.as_ref().filter(|record| record.phase == Phase::Open).cloned();
        let promotion = self.pipeline.promotion(&environment.name).ok().flatten();
        let (Some(record), Some(promotion)) = (open, promotion) else {
            return (plan, None);
        };
        if !matches!(promotion.strategy, Strategy::PullRequest(_)) || unsupported(&promotion).is_some() {
            return (plan, None);
        }
        let promotion = Promotion { manual: false, ..promotion };
        let (EnvironmentPlan { promotion, history, .. }, effect) =
            self.run(source, environment, &record.revision, promotion);
        (EnvironmentPlan { promotion, history, ..plan }, effect)
    }

    /// The record of the promotion of `revision`, new or the one that is running, and the history before it.
    fn record_for(
        &self,
        environment: &Environment,
        status: &EnvironmentStatus,
        revision: &str,
    ) -> (PromotionStatus, Vec<PromotionStatus>) {
        let mut history = status.history.clone();
        let Some(current) = status.promotion.clone() else {
            return (self.start(environment, revision, next_sequence(&history, revision)), history);
        };
        if current.revision != revision {
            history.push(self.superseded(current));
            let record = self.start(environment, revision, next_sequence(&history, revision));
            return (record, newest(history));
        }
        let ended = matches!(current.phase, Phase::Closed | Phase::Succeeded | Phase::AlreadyApplied);
        // The receiver has acted on this id and will not act on it again.
        let failed_there = current.phase == Phase::Failed && is_reported(status, &current);
        if (ended && self.is_requested()) || (failed_there && self.is_mended(environment, &current)) {
            let record = self.start(environment, revision, sequence(&current).saturating_add(1));
            history.push(current);
            return (record, newest(history));
        }
        (current, history)
    }

    fn start(&self, environment: &Environment, revision: &str, sequence: u32) -> PromotionStatus {
        PromotionStatus {
            id: key::of(self.pipeline, &environment.name, revision, sequence).id().to_string(),
            revision: revision.to_owned(),
            sequence: i32::try_from(sequence).unwrap_or(i32::MAX),
            phase: Phase::Pending,
            url: None,
            attempts: 0,
            last_attempt_time: None,
            next_attempt_time: None,
            started_time: Some(Time(self.now)),
            finished_time: None,
            approved_by: None,
            message: None,
            observed_generation: self.pipeline.metadata.generation,
            secret_version: None,
        }
    }

    fn superseded(&self, record: PromotionStatus) -> PromotionStatus {
        if record.finished_time.is_some() && record.phase != Phase::Failed {
            return record;
        }
        let finished_time = Some(Time(self.now));
        PromotionStatus { phase: Phase::Superseded, finished_time, next_attempt_time: None, message: None, ..record }
    }

    /// Whether the status does not know yet that this promotion is pending.
    fn is_new(&self, environment: &Environment, record: Option<&PromotionStatus>) -> bool {
        let known = self.status(environment).promotion;
        let known = known.map(|known| (known.id, known.phase));
        record
            .is_some_and(|record| record.phase == Phase::Pending && known != Some((record.id.clone(), Phase::Pending)))
    }

    fn is_due(&self, environment: &Environment, record: &PromotionStatus, strategy: &Strategy) -> bool {
        let time_has_come = record.next_attempt_time.as_ref().is_none_or(|time| time.0 <= self.now);
        match record.phase {
            // It got there, whatever our attempt came to.
            Phase::Pending if is_reported(&self.status(environment), record) => false,
            Phase::Pending => time_has_come || self.is_requested(),
            Phase::Open => (time_has_come && self.may_look(environment)) || self.is_requested(),
            // A pull request that failed is looked at again now and then: a moved base or a mended Secret shows only there.
            Phase::Failed if matches!(strategy, Strategy::PullRequest(_)) && time_has_come => true,
            Phase::Failed | Phase::Closed => self.is_mended(environment, record),
            Phase::AwaitingApproval
            | Phase::Delivered
            | Phase::Succeeded
            | Phase::AlreadyApplied
            | Phase::Superseded => false,
        }
    }

    /// A person asked for another try, or changed what the last one used.
    fn is_mended(&self, environment: &Environment, record: &PromotionStatus) -> bool {
        self.is_requested()
            || record.observed_generation != self.pipeline.metadata.generation
            || self.has_other_secret(environment, record)
    }

    fn may_look(&self, environment: &Environment) -> bool {
        let Some(looked_at) = self.observed.looked_at.get(&environment.name) else {
            return true;
        };
        self.now.duration_since(*looked_at).unsigned_abs() >= self.policy.pull_request_interval
    }

    fn has_other_secret(&self, environment: &Environment, record: &PromotionStatus) -> bool {
        self.observed
            .secret_versions
            .get(&environment.name)
            .is_some_and(|now| record.secret_version.as_ref() != Some(now))
    }

    /// Somebody asked for a look since the last one, as `flux reconcile` does.
    fn is_requested(&self) -> bool {
        let handled = self.pipeline.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
        requested_at(self.pipeline).is_some_and(|requested| Some(requested) != handled)
    }

    fn unchanged(&self, environment: &Environment, step: Step) -> EnvironmentPlan {
        let status = self.status(environment);
        EnvironmentPlan { step, waiting_approval: None, promotion: status.promotion, history: status.history }
    }

    fn status(&self, environment: &Environment) -> EnvironmentStatus {
        let status = self.pipeline.status.as_ref();
        status.and_then(|status| status.environments.get(&environment.name)).cloned().unwrap_or_default()
    }
}

/// The annotation by which people and the flux command line ask for a reconcile.
///
/// See <https://fluxcd.io/flux/components/kustomize/kustomizations/#triggering-a-reconcile>.
pub fn requested_at(pipeline: &Pipeline) -> Option<&str> {
    pipeline.metadata.annotations.as_ref()?.get("reconcile.fluxcd.io/requestedAt").map(String::as_str)
}

/// 1, or one more than the last promotion of `revision` when another revision was live since.
fn next_sequence(history: &[PromotionStatus], revision: &str) -> u32 {
    let Some(last) = history.iter().rposition(|record| record.revision == revision) else {
        return 1;
    };
    let (before, since) = history.split_at(last.saturating_add(1));
    let earlier = before.last().map_or(1, sequence);
    let other_was_live = since.iter().any(|record| matches!(record.phase, Phase::Succeeded | Phase::AlreadyApplied));
    if other_was_live { earlier.saturating_add(1) } else { earlier }
}

/// The pull request of a promotion that was merged and became live.
fn merged_url(record: &PromotionStatus) -> Option<String> {
    record.url.clone().filter(|_| record.phase == Phase::Succeeded)
}

fn sequence(record: &PromotionStatus) -> u32 {
    u32::try_from(record.sequence).unwrap_or(1).max(1)
}

/// Whether the receiver has reported of the promotion.
fn is_reported(status: &EnvironmentStatus, promotion: &PromotionStatus) -> bool {
    status.report.as_ref().is_some_and(|report| report.promotion_id == promotion.id)
}

fn newest(mut history: Vec<PromotionStatus>) -> Vec<PromotionStatus> {
    let surplus = history.len().saturating_sub(HISTORY_MAX);
    history.drain(..surplus);
    history
}

fn unsupported(promotion: &Promotion) -> Option<String> {
    match &promotion.strategy {
        Strategy::Notification => Some("strategy.notification is not acted on yet: use a webhook".to_owned()),
        Strategy::PullRequest(_) | Strategy::Webhook(_) => None,
    }
}

/// A revision ends up in branch names, headers and manifests.
///
/// # Errors
/// What no revision may be, for people.
pub fn check_revision(revision: &str) -> Result<(), String> {
    if revision.is_empty() || revision.len() > 253 || !revision.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "revision {:?} cannot be promoted: it has to be 1 to 253 printable ASCII characters without blanks",
            revision.chars().take(64).collect::<String>()
        ));
    }
    Ok(())
}
