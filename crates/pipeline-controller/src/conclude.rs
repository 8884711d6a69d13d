//! What is recorded of a pipeline, given the plan and what became of its effects. Pure and total.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pipeline_api::{
    Arriving, ClusterAppRef, DeletionPolicy, EnvironmentStatus, Phase, Pipeline, PipelineStatus, PromotionStatus,
    ReportState, ReportStatus, TargetStatus, text,
};
use uuid::Uuid;

use crate::approve;
use crate::decide::{self, records};
use crate::heard;
use crate::observed::{Observed, ObservedTarget, Reports};
use crate::outcome::{Done, Failure, Next, Outcome};
use crate::plan::{EnvironmentPlan, Plan, Step};
use crate::policy::Policy;

mod conditions;
#[cfg(test)]
mod tests;
mod transitions;

pub use transitions::Transition;

/// Until an effect that had to wait for others is tried.
const TURN: Duration = Duration::from_secs(1);

/// All that a reconcile has to say.
#[derive(Clone, Debug)]
pub struct Report {
    pub status: PipelineStatus,
    pub transitions: Vec<Transition>,
    /// When the pipeline is to be looked at again, if nothing wakes it before.
    pub requeue: Duration,
    /// Whether the Pipeline, once deleted, has to stay until its pull requests are closed.
    pub holds: bool,
}

/// Draws the conclusions at `now`.
pub fn conclude(
    pipeline: &Pipeline,
    observed: &Observed,
    plan: &Plan,
    outcomes: Vec<Outcome>,
    policy: &Policy,
    now: Timestamp,
) -> Report {
    let before = pipeline.status.clone().unwrap_or_default();
    if plan.suspended {
        let mut status = PipelineStatus { observed_generation: pipeline.metadata.generation, ..before };
        conditions::suspend(&mut status, pipeline.metadata.generation, now);
        let holds = holds(pipeline, &status);
        return Report { status, transitions: Vec::new(), requeue: policy.resync, holds };
    }
    let waits = outcomes.iter().any(Outcome::waits);
    let outcomes = outcomes.into_iter().filter(|outcome| !outcome.waits());
    let mut outcomes: BTreeMap<String, Outcome> =
        outcomes.map(|outcome| (outcome.environment.clone(), outcome)).collect();
    let mut environments = BTreeMap::new();
    let mut at_once = plan.starts;
    for (name, planned) in &plan.environments {
        let promotion = planned.promotion.clone().map(|mut record| {
            if let Some(outcome) = outcomes.remove(name) {
                match plan.withdrawals.iter().find(|withdrawal| withdrawal.environment == *name) {
                    Some(withdrawal) => {
                        withdraw(&mut record, outcome, &withdrawal.reason, policy, now);
                        at_once |= record.finished_time.is_some();
                    }
                    None if is_of_the_past(&record, &outcome) => {
                        at_once = true;
                        record = again(pipeline, name, &record, now);
                    }
                    None => apply(&mut record, outcome, pipeline, policy, now),
                }
            }
            heed(&mut record, report(&before, name), now);
            succeed_if_live(&mut record, pipeline, observed, name, now);
            record
        });
        let report = report(&before, name).filter(|report| is_about(report, promotion.as_ref())).cloned();
        let targets = observed.environment(name).into_iter().flat_map(|environment| &environment.targets);
        let earlier = before.environments.get(name).and_then(|environment| environment.arriving.as_ref());
        let status = EnvironmentStatus {
            waiting_approval: planned.waiting_approval.clone(),
            arriving: arriving(planned, promotion.as_ref(), plan.revision.as_deref(), earlier, now),
            targets: targets.map(|target| target_status(pipeline, target)).collect(),
            promotion,
            report,
            events: heard::kept(pipeline, name),
            history: planned.history.clone(),
        };
        environments.insert(name.clone(), status);
    }
    let last_handled_approval = match plan.invalid.is_empty() {
        true => approve::annotation(pipeline).map(str::to_owned),
        false => before.last_handled_approval.clone(),
    };
    let mut status = PipelineStatus {
        observed_generation: pipeline.metadata.generation,
        conditions: before.conditions.clone(),
        environments,
        last_handled_reconcile_at: decide::requested_at(pipeline).map(str::to_owned),
        last_handled_approval,
    };
    conditions::set(&mut status, pipeline, observed, plan, policy, now);
    let mut transitions = transitions::between(&before, &status);
    transitions.extend(transitions::of_refused(&plan.refused));
    let requeue = match (at_once, waits) {
        (true, _) => Duration::ZERO,
        (false, true) => TURN,
        (false, false) => requeue(pipeline, &status, observed, policy, now),
    };
    let holds = holds(pipeline, &status);
    Report { status, transitions, requeue, holds }
}

/// Whether the pull request that was found ended before this promotion was put on record: the record of its own time is lost, as
/// when the Pipeline was deleted and made again.
fn is_of_the_past(record: &PromotionStatus, outcome: &Outcome) -> bool {
    record.url.is_none() && matches!(outcome.result, Ok(Done::Closed { .. }))
}

/// The same promotion with the next sequence, so that it gets a pull request of its own.
fn again(pipeline: &Pipeline, environment: &str, record: &PromotionStatus, now: Timestamp) -> PromotionStatus {
    let sequence = records::sequence(record).saturating_add(1);
    PromotionStatus {
        approved_by: record.approved_by.clone(),
        approved_time: record.approved_time.clone(),
        repository: record.repository.clone(),
        ..records::start(pipeline, environment, &record.revision, sequence, now)
    }
}

fn holds(pipeline: &Pipeline, status: &PipelineStatus) -> bool {
    let mut promotions = status.environments.values().filter_map(|environment| environment.promotion.as_ref());
    pipeline.spec.deletion_policy == Some(DeletionPolicy::Close) && promotions.any(records::may_be_open)
}

/// Since when the environment is expected to become ready at the revision that it got.
fn arriving(
    planned: &EnvironmentPlan,
    promotion: Option<&PromotionStatus>,
    revision: Option<&str>,
    earlier: Option<&Arriving>,
    now: Timestamp,
) -> Option<Arriving> {
    let delivered = promotion
        .is_some_and(|record| matches!(record.phase, Phase::Delivered | Phase::AlreadyApplied) || is_hearsay(record));
    let expected = planned.step == Step::Progressing || (planned.step == Step::Promoting && delivered);
    let revision = revision.filter(|_| expected)?;
    let known = earlier.filter(|earlier| earlier.revision == revision).cloned();
    Some(known.unwrap_or_else(|| Arriving { revision: revision.to_owned(), since: Time(now) }))
}

/// Between why a pull request is closed and why it could not be.
const NOT_CLOSED: &str = "; not closed yet: ";

/// Why a pull request is closed, of the message of a record that says so.
pub(crate) fn reason(message: &str) -> &str {
    message.split_once(NOT_CLOSED).map_or(message, |(reason, _)| reason)
}

/// What cannot be closed is left to people in the end: nothing waits for it for ever.
fn withdraw(record: &mut PromotionStatus, outcome: Outcome, reason: &str, policy: &Policy, now: Timestamp) {
    record.last_attempt_time = Some(Time(now));
    record.next_attempt_time = None;
    let failure = match outcome.result {
        Ok(_) => {
            record.message = Some(text(format!("closed: {reason}")));
            record.attempts = 0;
            record.finished_time = Some(Time(now));
            return;
        }
        Err(failure) => failure,
    };
    record.attempts = record.attempts.saturating_add(1);
    let tries = u32::try_from(record.attempts).unwrap_or(u32::MAX);
    let delay = match failure.next {
        Next::Never | Next::Review => None,
        Next::Backoff { at_least } => Some(policy.backoff(tries).max(at_least)),
        Next::Turn => Some(Duration::ZERO),
        Next::After(delay) => Some(delay),
    };
    // Of a pull request that nobody has seen, one look is enough.
    match delay.filter(|_| tries < policy.retry_threshold && record.url.is_some()) {
        Some(delay) => {
            record.message = Some(text(format!("{reason}{NOT_CLOSED}{}", failure.message)));
            record.next_attempt_time = Some(after(now, delay));
        }
        None if record.url.is_none() => {
            record.message = None;
            record.finished_time = Some(Time(now));
        }
        None => {
            record.message = Some(text(format!("left open, it could not be closed: {}", failure.message)));
            record.finished_time = Some(Time(now));
        }
    }
}

fn apply(record: &mut PromotionStatus, outcome: Outcome, pipeline: &Pipeline, policy: &Policy, now: Timestamp) {
    let was_open_and_well = record.phase == Phase::Open && record.attempts == 0;
    if !(was_open_and_well && matches!(outcome.result, Ok(Done::Open { .. }))) {
        record.last_attempt_time = Some(Time(now));
    }
    record.observed_generation = pipeline.metadata.generation;
    record.secret_version = outcome.secret_version.or(record.secret_version.take());
    match outcome.result {
        Ok(done) => succeed(record, done, now),
        Err(failure) => fail(record, failure, policy, now),
    }
}

fn succeed(record: &mut PromotionStatus, done: Done, now: Timestamp) {
    record.message = None;
    record.next_attempt_time = None;
    record.finished_time = None;
    record.attempts = 0;
    match done {
        Done::Open { url, held_up } => {
            record.phase = Phase::Open;
            record.url = Some(url);
            record.message = held_up.map(|why| text(format!("not merged yet: {why}")));
        }
        Done::Merged { url } => {
            record.phase = Phase::Delivered;
            record.url = Some(url);
        }
        Done::Closed { url } => {
            record.phase = Phase::Closed;
            record.url = Some(url);
            record.finished_time = Some(Time(now));
            record.message = Some("closed by a person without being merged".to_owned());
        }
        Done::AlreadyApplied => {
            record.phase = Phase::AlreadyApplied;
            record.finished_time = Some(Time(now));
            record.message = Some("the base branch has this revision already".to_owned());
        }
        Done::Delivered => {
            record.phase = Phase::Delivered;
        }
        Done::Withdrawn => {
            record.phase = Phase::Superseded;
            record.finished_time = Some(Time(now));
        }
    }
}

fn fail(record: &mut PromotionStatus, failure: Failure, policy: &Policy, now: Timestamp) {
    record.attempts = record.attempts.saturating_add(1);
    record.message = Some(text(failure.message));
    let backoff = policy.backoff(u32::try_from(record.attempts).unwrap_or(u32::MAX));
    record.next_attempt_time = match failure.next {
        Next::Never => None,
        Next::Review => Some(after(now, policy.retry_max_delay)),
        Next::Backoff { at_least } => Some(after(now, backoff.max(at_least))),
        Next::Turn => Some(Time(now)),
        Next::After(delay) => Some(after(now, delay)),
    };
    if matches!(failure.next, Next::Never | Next::Review) {
        record.phase = Phase::Failed;
        record.finished_time = Some(Time(now));
    } else if record.phase == Phase::Failed {
        record.phase = Phase::Pending;
        record.finished_time = None;
    }
}

fn report<'a>(status: &'a PipelineStatus, environment: &str) -> Option<&'a ReportStatus> {
    status.environments.get(environment)?.report.as_ref()
}

fn is_about(report: &ReportStatus, promotion: Option<&PromotionStatus>) -> bool {
    promotion.is_some_and(|promotion| promotion.id == report.promotion_id)
}

/// Takes the receiver's word for what became of an event: it knows before the targets do, even where we do not know that the event
/// arrived. What the targets have said already stays.
fn heed(record: &mut PromotionStatus, report: Option<&ReportStatus>, now: Timestamp) {
    let Some(report) = report.filter(|report| is_about(report, Some(record))) else { return };
    if !matches!(record.phase, Phase::Pending | Phase::Delivered | Phase::Failed) {
        return;
    }
    let (phase, words) = match report.state {
        ReportState::Running => (Phase::Delivered, "the receiver reports that it is running"),
        ReportState::Succeeded => (Phase::Succeeded, "the receiver reports success"),
        ReportState::Failed => (Phase::Failed, "the receiver reports failure"),
    };
    record.phase = phase;
    record.attempts = 0;
    record.next_attempt_time = None;
    record.url.clone_from(&report.url);
    record.message = Some(match &report.reason {
        Some(reason) => text(format!("{words}: {reason}")),
        None => words.to_owned(),
    });
    match report.state {
        ReportState::Running => record.finished_time = None,
        ReportState::Succeeded | ReportState::Failed => _ = record.finished_time.get_or_insert(Time(now)),
    }
}

/// Whether the promotion has succeeded by the word of a receiver alone.
fn is_hearsay(record: &PromotionStatus) -> bool {
    record.phase == Phase::Succeeded && record.message.is_some()
}

/// A promotion has succeeded when the targets say so, whoever brought the revision there.
fn succeed_if_live(
    record: &mut PromotionStatus,
    pipeline: &Pipeline,
    observed: &Observed,
    environment: &str,
    now: Timestamp,
) {
    let awaited = match record.phase {
        Phase::Pending | Phase::Delivered | Phase::AwaitingApproval | Phase::Failed => true,
        Phase::Succeeded => is_hearsay(record),
        Phase::Open | Phase::AlreadyApplied | Phase::Closed | Phase::Superseded => false,
    };
    let spec = pipeline.spec.environments.iter().find(|candidate| candidate.name == environment);
    let rule = spec.and_then(|environment| environment.promote_when).unwrap_or_default();
    if awaited && Reports::of(observed.environment(environment), &record.revision).live(rule) {
        record.phase = Phase::Succeeded;
        record.finished_time.get_or_insert(Time(now));
        record.next_attempt_time = None;
        record.message = None;
    }
}

fn target_status(pipeline: &Pipeline, target: &ObservedTarget) -> TargetStatus {
    let (ready, revision, error) = match &target.application {
        Ok(application) => (application.ready, application.revision.clone(), application.message.clone()),
        Err(unreadable) => (false, None, unreadable.message.clone()),
    };
    let app = &pipeline.spec.app_ref;
    TargetStatus {
        cluster_app_ref: ClusterAppRef {
            api_version: app.api_version.clone(),
            kind: app.kind.clone(),
            name: app.name.clone(),
            cluster_ref: target.cluster_ref.clone(),
        },
        namespace: Some(target.namespace.clone()),
        ready,
        revision,
        error: (!error.is_empty()).then(|| text(error)),
    }
}

fn requeue(
    pipeline: &Pipeline,
    status: &PipelineStatus,
    observed: &Observed,
    policy: &Policy,
    now: Timestamp,
) -> Duration {
    let environments = status.environments.values();
    let promotions = environments.filter_map(|environment| environment.promotion.as_ref());
    let promotions = promotions.flat_map(|record| {
        // What is due already and was not done now waits for something else, which will wake the pipeline.
        let next = record.next_attempt_time.as_ref().map(|time| time.0.duration_since(now));
        let due = next.and_then(|delay| Duration::try_from(delay).ok()).filter(|delay| !delay.is_zero());
        let look = match record.phase {
            Phase::Open => Some(spread(policy.pull_request_interval, &record.id)),
            Phase::Failed => Some(policy.retry_max_delay),
            _ => None,
        };
        due.into_iter().chain(look)
    });
    let unreadable = observed.unreadable().next().is_some().then_some(policy.unreadable);
    let arriving = status.environments.values().filter_map(|environment| environment.arriving.as_ref());
    let deadlines =
        arriving.map(|arriving| left(arriving, pipeline.progress_deadline(), now)).filter(|left| !left.is_zero());
    let all = promotions.chain(unreadable).chain(deadlines);
    all.min().unwrap_or(policy.resync).min(policy.resync)
}

/// Time before the deadline of what arrives; zero once it has passed.
fn left(arriving: &Arriving, deadline: Duration, now: Timestamp) -> Duration {
    let passed = Duration::try_from(now.duration_since(arriving.since.0)).unwrap_or_default();
    deadline.saturating_sub(passed)
}

/// Up to a fifth longer, each promotion by its own measure, so that many do not ask their host at the same moment.
fn spread(interval: Duration, promotion: &str) -> Duration {
    let measure = Uuid::parse_str(promotion).ok().and_then(|id| id.as_bytes().first().copied()).unwrap_or_default();
    interval + interval / 5 / u32::from(u8::MAX) * u32::from(measure)
}

/// The API server keeps whole seconds: cut off, a time would come too early.
fn after(now: Timestamp, delay: Duration) -> Time {
    let exact = SignedDuration::try_from(delay).ok().and_then(|delay| now.checked_add(delay).ok());
    let whole = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
    Time(exact.and_then(|time| time.round(whole).ok()).unwrap_or(Timestamp::MAX))
}
