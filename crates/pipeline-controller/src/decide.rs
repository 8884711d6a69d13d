//! What is to be done for a pipeline, given what was observed. Pure and total: no IO, no clock, no failure.

use jiff::Timestamp;
use pipeline_api::metadata::REQUESTED_AT;
use pipeline_api::normalized::{Promotion, Strategy};
use pipeline_api::{
    Environment, EnvironmentStatus, Phase, Pipeline, PromoteWhen, PromotionStatus, Repository, WaitingApproval,
};

use crate::approve;
use crate::observed::{Observed, ObservedEnvironment, Reports};
use crate::plan::{Blocked, Effect, EnvironmentPlan, Plan, Step, Withdrawal};
use crate::policy::Policy;
use crate::validity;

mod endings;
pub(crate) mod records;
mod versions;

#[cfg(test)]
mod tests;

/// Decides what is to be done at `now`.
///
/// The first environment's revision, once its targets agree and are ready, is promoted to the first later environment that does
/// not report it. Open promotions of environments further on are followed, never started; those that nothing asks for any more
/// are closed. A Pipeline with anything invalid about it, as one that is older than the API server's rules, is left alone.
pub fn decide(pipeline: &Pipeline, observed: &Observed, policy: &Policy, now: Timestamp) -> Plan {
    let mut decider = Decider { pipeline, observed, policy, now, approvals: Vec::new() };
    let mut plan = Plan::default();
    if pipeline.metadata.deletion_timestamp.is_some() {
        return decider.delete();
    }
    if pipeline.spec.suspend {
        return Plan { suspended: true, ..plan };
    }
    plan.invalid = validity::problems(pipeline);
    if !plan.invalid.is_empty() {
        let environments = pipeline.spec.environments.iter();
        let untouched = environments.map(|environment| {
            let waiting_approval = decider.status(environment).waiting_approval;
            let untouched = decider.unchanged(environment, Step::NotReached);
            (environment.name.clone(), EnvironmentPlan { waiting_approval, ..untouched })
        });
        plan.environments = untouched.collect();
        return plan;
    }
    let Some((first, later)) = pipeline.spec.environments.split_first() else {
        return plan;
    };
    for approval in approve::given(pipeline) {
        match approve::approve(pipeline, &approval, now) {
            Ok(approved) => decider.approvals.push(approved),
            Err(refusal) => plan.refused.push((approval, refusal)),
        }
    }
    let decision = decider.abandon(first, Step::Source, "its environment is the first one now");
    decider.add(&mut plan, &first.name, decision);

    match revision_of(first, observed.environment(&first.name)) {
        Ok(revision) => plan.revision = Some(revision),
        Err(why) => plan.pending = Some(format!("environment {}: {why}", first.name)),
    }
    let mut source = first;
    let mut reached = plan.revision.clone();
    for environment in later {
        let decision = match &reached {
            Some(revision) => decider.promote(source, environment, revision),
            None => decider.wait(source, environment, plan.revision.as_deref()),
        };
        if decision.plan.step != Step::Live {
            reached = None;
        }
        decider.add(&mut plan, &environment.name, decision);
        source = environment;
    }
    for (name, decision) in decider.removed() {
        decider.add(&mut plan, &name, decision);
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

/// Why a pull request is closed.
const NO_PROMOTION: &str = "it has no promotion any more";
const ELSEWHERE: &str = "the promotion goes to another place now";

struct Decider<'a> {
    pipeline: &'a Pipeline,
    observed: &'a Observed,
    policy: &'a Policy,
    now: Timestamp,
    /// Approvals that count, and that were not acted on before.
    approvals: Vec<PromotionStatus>,
}

/// What is planned for one environment, and what is done for it.
struct Decision {
    plan: EnvironmentPlan,
    effect: Option<Effect>,
    withdrawal: Option<Withdrawal>,
}

impl From<EnvironmentPlan> for Decision {
    fn from(plan: EnvironmentPlan) -> Self {
        Self { plan, effect: None, withdrawal: None }
    }
}

impl Decider<'_> {
    fn add(&self, plan: &mut Plan, environment: &str, decision: Decision) {
        plan.starts |= self.is_new(environment, decision.plan.promotion.as_ref());
        plan.environments.insert(environment.to_owned(), decision.plan);
        plan.effects.extend(decision.effect);
        plan.withdrawals.extend(decision.withdrawal);
    }

    /// What follows for an environment from `revision` having been reached by all before it.
    fn promote(&self, source: &Environment, environment: &Environment, revision: &str) -> Decision {
        let reports = Reports::of(self.observed.environment(&environment.name), revision);
        let blocked = |why| self.settle(source, environment, revision, Step::Blocked(why));
        if reports.targets == 0 {
            return blocked(Blocked::NoTargets);
        }
        if reports.live(environment.promote_when.unwrap_or_default()) {
            return self.settle(source, environment, revision, Step::Live);
        }
        if reports.at_revision > 0 {
            return self.settle(source, environment, revision, Step::Progressing);
        }
        if let Err(why) = check_revision(revision) {
            return blocked(Blocked::Invalid(why));
        }
        let promotion = match self.pipeline.promotion(&environment.name) {
            Ok(Some(promotion)) => promotion,
            Ok(None) => {
                return self.abandon(environment, Step::Blocked(Blocked::NoPromotion), NO_PROMOTION);
            }
            Err(invalid) => return blocked(Blocked::Invalid(invalid.to_string())),
        };
        if let Some(from) = self.downgrades(environment, revision) {
            return blocked(Blocked::Downgrade { from });
        }
        self.run(source, environment, revision, promotion)
    }

    /// The revision that the environment runs and that `revision` would take back, where that is not allowed.
    fn downgrades(&self, environment: &Environment, revision: &str) -> Option<String> {
        let status = self.status(environment);
        let under_way = status.promotion.as_ref().is_some_and(|record| record.revision == revision);
        if self.pipeline.spec.allow_downgrade || under_way {
            return None;
        }
        let mut running = self.observed.environment(&environment.name)?.revisions();
        running.find(|running| versions::is_older(revision, running, &status)).map(str::to_owned)
    }

    /// Starts the promotion of `revision`, or goes on with it.
    fn run(&self, source: &Environment, environment: &Environment, revision: &str, promotion: Promotion) -> Decision {
        let status = self.status(environment);
        let current = status.promotion.as_ref();
        if let Some(current) = current.filter(|current| records::is_closing(current)) {
            return self.retire(environment, current, Step::Withdrawing, "");
        }
        if let Some(current) = current.filter(|current| records::is_elsewhere(current, &promotion.strategy)) {
            return self.retire(environment, current, Step::Withdrawing, ELSEWHERE);
        }
        let (record, history) = self.record_for(environment, &status, revision);
        let record = if promotion.manual { self.approved(record) } else { record };
        if promotion.manual && needs_approval(&record) {
            if let Some(current) = current.filter(|current| records::may_be_open(current)) {
                let reason = format!("{revision} has to be approved first");
                return self.retire(environment, current, Step::Withdrawing, &reason);
            }
            let waiting_approval = Some(WaitingApproval { revision: revision.to_owned() });
            let record = PromotionStatus {
                phase: Phase::AwaitingApproval,
                next_attempt_time: None,
                finished_time: None,
                ..record
            };
            let step = Step::AwaitingApproval;
            return EnvironmentPlan { step, waiting_approval, promotion: Some(record), history }.into();
        }
        let record = located(record, records::repository(&promotion.strategy));
        let due =
            !self.is_new(&environment.name, Some(&record)) && self.is_due(environment, &record, &promotion.strategy);
        let effect = due.then(|| Effect {
            environment: environment.name.clone(),
            source_environment: source.name.clone(),
            revision: revision.to_owned(),
            previous_revision: self.observed.environment(&environment.name).and_then(ObservedEnvironment::revision),
            previous_url: history.iter().rev().find_map(records::merged_url),
            sequence: records::sequence(&record),
            attempts: u32::try_from(record.attempts).unwrap_or(0),
            started: record.started_time.as_ref().map_or(self.now, |time| time.0),
            strategy: promotion.strategy,
        });
        let plan = EnvironmentPlan { step: Step::Promoting, waiting_approval: None, promotion: Some(record), history };
        Decision { plan, effect, withdrawal: None }
    }

    /// Looks after a pull request that is open, for whichever revision; starts nothing.
    fn follow(&self, source: &Environment, environment: &Environment, step: Step) -> Decision {
        let plan = self.unchanged(environment, step.clone());
        if let Some(record) = plan.promotion.as_ref().filter(|record| records::is_closing(record)) {
            return self.retire(environment, record, step, "");
        }
        let promotion = match self.pipeline.promotion(&environment.name) {
            Ok(Some(promotion)) => promotion,
            Ok(None) => return self.abandon(environment, step, NO_PROMOTION),
            Err(_told_by_the_conditions) => return plan.into(),
        };
        let Some(record) = plan.promotion.as_ref().filter(|record| record.phase == Phase::Open) else {
            return plan.into();
        };
        if records::is_elsewhere(record, &promotion.strategy) {
            return self.retire(environment, record, step, ELSEWHERE);
        }
        let decision = self.run(source, environment, &record.revision, promotion);
        Decision { plan: EnvironmentPlan { step, ..decision.plan }, ..decision }
    }

    /// An environment whose turn has not come: what is open is followed, and what waits goes on waiting unless a newer revision
    /// is on its way.
    fn wait(&self, source: &Environment, environment: &Environment, revision: Option<&str>) -> Decision {
        let decision = self.follow(source, environment, Step::NotReached);
        let waiting = decision.plan.promotion.as_ref().filter(|record| {
            record.phase == Phase::AwaitingApproval && revision.is_none_or(|revision| revision == record.revision)
        });
        let Some(record) = waiting.cloned() else {
            return decision;
        };
        let record = self.approved(record);
        let waiting_approval =
            (record.phase == Phase::AwaitingApproval).then(|| WaitingApproval { revision: record.revision.clone() });
        EnvironmentPlan { promotion: Some(record), waiting_approval, ..decision.plan }.into()
    }

    /// The record of the promotion of `revision`, new or the one that is running, and the history before it.
    fn record_for(
        &self,
        environment: &Environment,
        status: &EnvironmentStatus,
        revision: &str,
    ) -> (PromotionStatus, Vec<PromotionStatus>) {
        let mut history = status.history.clone();
        let start = |sequence| records::start(self.pipeline, &environment.name, revision, sequence, self.now);
        let Some(current) = status.promotion.clone() else {
            return (start(records::next_sequence(&history, revision)), history);
        };
        let anew = match current.phase {
            Phase::Closed | Phase::Succeeded | Phase::AlreadyApplied => self.is_requested(),
            // The receiver has acted on this id and will not act on it again.
            Phase::Failed if is_reported(status, &current) => self.is_mended(environment, &current),
            Phase::Superseded => true,
            _ => false,
        };
        if current.revision == revision && !anew {
            return (current, history);
        }
        let sequence = (current.revision == revision).then(|| records::sequence(&current).saturating_add(1));
        history.push(records::superseded(current, self.now));
        let record = start(sequence.unwrap_or_else(|| records::next_sequence(&history, revision)));
        (record, records::newest(history))
    }

    fn approved(&self, record: PromotionStatus) -> PromotionStatus {
        self.approvals.iter().find(|approved| approved.id == record.id).cloned().unwrap_or(record)
    }

    /// Whether the status does not know yet that this promotion is pending, where, or that it is to be closed.
    fn is_new(&self, environment: &str, record: Option<&PromotionStatus>) -> bool {
        let status = self.pipeline.status.as_ref().and_then(|status| status.environments.get(environment));
        let known = status.and_then(|status| status.promotion.as_ref());
        let identity = |record: &PromotionStatus| (record.id.clone(), record.phase, record.repository.clone());
        record.is_some_and(|record| {
            (record.phase == Phase::Pending || records::is_closing(record))
                && known.map(identity) != Some(identity(record))
        })
    }

    fn time_has_come(&self, record: &PromotionStatus) -> bool {
        record.next_attempt_time.as_ref().is_none_or(|time| time.0 <= self.now) || self.is_requested()
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

/// The annotation by which people and the flux command line ask for a reconcile; the status has no room for longer ones.
pub fn requested_at(pipeline: &Pipeline) -> Option<&str> {
    let annotation = pipeline.metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
    (annotation.len() <= 1024).then_some(annotation.as_str())
}

fn needs_approval(record: &PromotionStatus) -> bool {
    record.approved_by.is_none() && matches!(record.phase, Phase::AwaitingApproval | Phase::Pending | Phase::Failed)
}

/// Whether the receiver has reported of the promotion.
fn is_reported(status: &EnvironmentStatus, promotion: &PromotionStatus) -> bool {
    status.report.as_ref().is_some_and(|report| report.promotion_id == promotion.id)
}

/// The record of a promotion that goes to `repository` now. One that has not begun there yet is put on record first.
fn located(record: PromotionStatus, repository: Option<Repository>) -> PromotionStatus {
    match record.phase {
        Phase::Failed if record.repository != repository => PromotionStatus {
            phase: Phase::Pending,
            repository,
            next_attempt_time: None,
            finished_time: None,
            ..record
        },
        Phase::AwaitingApproval => PromotionStatus { phase: Phase::Pending, repository, ..record },
        Phase::Pending | Phase::Open | Phase::Failed => PromotionStatus { repository, ..record },
        _ => record,
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
