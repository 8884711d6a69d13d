//! The conditions of a pipeline, as [kstatus] reads them.
//!
//! [kstatus]: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md

use std::time::Duration;

use jiff::Timestamp;
use pipeline_api::conditions::{ConditionStatus, ConditionType, NewCondition, Reason, remove_condition, set_condition};
use pipeline_api::{Phase, Pipeline, PipelineStatus, PromotionStatus};

use crate::decide::records;
use crate::observed::Observed;
use crate::plan::{Blocked, Plan, Step};
use crate::policy::Policy;

/// Says what holds of the pipeline once `status.environments` is made.
pub(super) fn set(
    status: &mut PipelineStatus,
    pipeline: &Pipeline,
    observed: &Observed,
    plan: &Plan,
    policy: &Policy,
    now: Timestamp,
) {
    let verdict = judge(status, pipeline, observed, plan, policy, now);
    let mut put = |type_, holds: Option<(ConditionStatus, Reason, String)>| match holds {
        Some((condition, reason, message)) => {
            let observed_generation = pipeline.metadata.generation;
            let new = NewCondition { type_, status: condition, reason, message, observed_generation };
            set_condition(&mut status.conditions, new, now);
        }
        None => remove_condition(&mut status.conditions, type_),
    };
    let holds = |reason: Reason, message: String| Some((ConditionStatus::True, reason, message));

    put(ConditionType::Ready, Some((verdict.ready.into(), verdict.reason, verdict.message.clone())));
    put(ConditionType::Stalled, verdict.stalled.then_some((ConditionStatus::True, verdict.reason, verdict.message)));
    put(ConditionType::Reconciling, verdict.due.and_then(|message| holds(Reason::Progressing, message)));
    put(
        ConditionType::PromotionPending,
        plan.pending.clone().and_then(|message| holds(Reason::EnvironmentNotReady, message)),
    );
    let conflicts = (!observed.conflicts.is_empty()).then(|| observed.conflicts.join("; "));
    put(ConditionType::Conflicting, conflicts.and_then(|message| holds(Reason::FieldShared, message)));
}

/// Says that the pipeline rests, and nothing else.
pub(super) fn suspend(status: &mut PipelineStatus, generation: Option<i64>, now: Timestamp) {
    let message = "spec.suspend is set: nothing is promoted or followed".to_owned();
    for type_ in [ConditionType::Stalled, ConditionType::Reconciling, ConditionType::PromotionPending] {
        remove_condition(&mut status.conditions, type_);
    }
    let new = NewCondition {
        type_: ConditionType::Ready,
        status: ConditionStatus::Unknown,
        reason: Reason::Suspended,
        message,
        observed_generation: generation,
    };
    set_condition(&mut status.conditions, new, now);
}

struct Verdict {
    ready: bool,
    reason: Reason,
    message: String,
    /// Whether a person must act.
    stalled: bool,
    /// What the controller will do without help.
    due: Option<String>,
}

fn judge(
    status: &PipelineStatus,
    pipeline: &Pipeline,
    observed: &Observed,
    plan: &Plan,
    policy: &Policy,
    now: Timestamp,
) -> Verdict {
    let failing = |reason, message, stalled, due| Verdict { ready: false, reason, message, stalled, due };
    if !plan.invalid.is_empty() {
        return failing(Reason::InvalidSpec, plan.invalid.join("; "), true, None);
    }
    for (environment, planned) in &plan.environments {
        if let Step::Blocked(Blocked::Invalid(why)) = &planned.step {
            return failing(Reason::InvalidSpec, format!("{environment}: {why}"), true, None);
        }
    }
    let unreadable: Vec<(Reason, String)> = observed
        .unreadable()
        .map(|(environment, _, unreadable)| (unreadable.reason, format!("{environment}: {}", unreadable.message)))
        .collect();
    if let Some((reason, _)) = unreadable.first() {
        let messages: Vec<&str> = unreadable.iter().map(|(_, message)| message.as_str()).collect();
        return failing(*reason, messages.join("; "), false, None);
    }
    let promotions = promotions(pipeline, status);
    if let Some((environment, promotion)) =
        promotions.iter().find(|(name, promotion)| is_failing(plan, name, promotion))
    {
        let tries = promotion.attempts;
        let exhausted = u32::try_from(tries).unwrap_or(0) >= policy.retry_threshold;
        let stalled = promotion.phase == Phase::Failed || exhausted;
        let why = promotion.message.as_deref().unwrap_or("failed");
        let message = format!("{environment}: promotion of {} failed: {why}", promotion.revision);
        let due = (!stalled).then(|| format!("{environment}: promotion of {} is tried again", promotion.revision));
        return failing(Reason::PromotionFailed, message, stalled, due);
    }
    if let Some(message) = late(pipeline, status, now) {
        return failing(Reason::EnvironmentNotProgressing, message, true, None);
    }
    let due = promotions.iter().find_map(|(name, promotion)| due(plan, name, promotion));
    let (reason, message) = summary(pipeline, plan, &promotions);
    Verdict { ready: true, reason, message, stalled: false, due }
}

/// The promotions in the order of the environments, those of environments that are gone last.
fn promotions<'a>(pipeline: &Pipeline, status: &'a PipelineStatus) -> Vec<(&'a str, &'a PromotionStatus)> {
    let place = |name: &str| pipeline.spec.environments.iter().position(|environment| environment.name == name);
    let all = status.environments.iter();
    let mut promotions: Vec<_> =
        all.filter_map(|(name, environment)| Some((name.as_str(), environment.promotion.as_ref()?))).collect();
    promotions.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    promotions
}

/// What the controller will do for a promotion without help.
fn due(plan: &Plan, name: &str, promotion: &PromotionStatus) -> Option<String> {
    let revision = &promotion.revision;
    if records::is_closing(promotion) {
        return Some(format!("{name}: the pull request of {revision} is being closed"));
    }
    let planned = plan.environments.get(name)?;
    let is_due = planned.step == Step::Promoting && promotion.phase == Phase::Pending;
    is_due.then(|| format!("{name}: promotion of {revision} is due"))
}

/// The first environment that has not become ready in time.
fn late(pipeline: &Pipeline, status: &PipelineStatus, now: Timestamp) -> Option<String> {
    let deadline = pipeline.progress_deadline();
    pipeline.spec.environments.iter().find_map(|environment| {
        let known = status.environments.get(&environment.name)?;
        let arriving = known.arriving.as_ref().filter(|arriving| super::left(arriving, deadline, now).is_zero())?;
        let why =
            known.targets.iter().find(|target| !target.ready || target.revision.as_ref() != Some(&arriving.revision));
        let why = why.map(|target| {
            let namespace = target.namespace.as_deref().unwrap_or_default();
            let runs = target.revision.as_deref().unwrap_or("no revision");
            match &target.error {
                Some(error) => format!(": target {namespace} is at {runs}: {error}"),
                None => format!(": target {namespace} is at {runs}"),
            }
        });
        Some(format!(
            "{}: {} was delivered and is not ready after {}{}",
            environment.name,
            arriving.revision,
            in_words(deadline),
            why.unwrap_or_default()
        ))
    })
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// What has no turn does not fail: it is tried, or gives way, when its turn comes.
fn is_failing(plan: &Plan, name: &str, promotion: &PromotionStatus) -> bool {
    let has_turn = plan.environments.get(name).is_some_and(|planned| planned.step != Step::NotReached);
    match promotion.phase {
        Phase::Failed => has_turn,
        Phase::Pending => has_turn && promotion.attempts > 0,
        Phase::Open => promotion.attempts > 0,
        Phase::AwaitingApproval
        | Phase::Delivered
        | Phase::Succeeded
        | Phase::AlreadyApplied
        | Phase::Closed
        | Phase::Superseded => false,
    }
}

/// What a pipeline that is well waits for: the first environment that is not live.
fn summary(pipeline: &Pipeline, plan: &Plan, promotions: &[(&str, &PromotionStatus)]) -> (Reason, String) {
    let Some(revision) = &plan.revision else {
        let why = plan.pending.as_deref().unwrap_or("there is nothing to promote");
        return (Reason::ReconciliationSucceeded, format!("waiting: {why}"));
    };
    let order = pipeline.spec.environments.iter().map(|environment| environment.name.as_str());
    for name in order {
        let Some(planned) = plan.environments.get(name) else {
            continue;
        };
        let promotion =
            promotions.iter().find(|(environment, _)| *environment == name).map(|(_, promotion)| *promotion);
        return match &planned.step {
            Step::Source | Step::Live => continue,
            Step::Blocked(Blocked::NoPromotion) => (
                Reason::NoPromotion,
                format!("{name}: {revision} is ready to be promoted by hand: no promotion is set"),
            ),
            Step::Blocked(Blocked::Downgrade { from }) => (
                Reason::DowngradeNotAllowed,
                format!(
                    "{name}: {revision} is older than {from}, which runs there: set spec.allowDowngrade to promote it"
                ),
            ),
            Step::Blocked(_) => (Reason::ReconciliationSucceeded, format!("{name}: environment has no targets")),
            Step::AwaitingApproval => (Reason::WaitingForApproval, format!("{name}: {revision} waits for approval")),
            Step::Withdrawing => (
                Reason::Withdrawing,
                format!("{name}: an earlier pull request is closed before {revision} is promoted"),
            ),
            Step::Progressing | Step::NotReached => {
                (Reason::ReconciliationSucceeded, format!("{name}: {revision} is arriving"))
            }
            Step::Promoting => promotion.map_or_else(
                || (Reason::ReconciliationSucceeded, format!("{name}: {revision} is being promoted")),
                |promotion| promoting(name, revision, promotion),
            ),
        };
    }
    (Reason::ReconciliationSucceeded, format!("every environment is at {revision}"))
}

fn promoting(name: &str, revision: &str, promotion: &PromotionStatus) -> (Reason, String) {
    let url = promotion.url.as_deref().unwrap_or_default();
    match promotion.phase {
        Phase::Open => (Reason::PullRequestOpen, format!("{name}: {revision} waits for the merge of {url}")),
        Phase::Closed => {
            (Reason::PullRequestClosed, format!("{name}: {revision} is not promoted: {url} was closed without a merge"))
        }
        Phase::Delivered | Phase::Succeeded if promotion.message.is_some() => {
            let words = promotion.message.as_deref().unwrap_or_default();
            let place = if url.is_empty() { String::new() } else { format!(" at {url}") };
            (Reason::ReconciliationSucceeded, format!("{name}: {revision} is expected to arrive: {words}{place}"))
        }
        Phase::Succeeded => (
            Reason::ReconciliationSucceeded,
            format!("{name}: {revision} was promoted, and the environment has left it since"),
        ),
        Phase::Delivered | Phase::AlreadyApplied => {
            (Reason::ReconciliationSucceeded, format!("{name}: {revision} is delivered and expected to arrive"))
        }
        Phase::Pending | Phase::AwaitingApproval | Phase::Superseded | Phase::Failed => {
            (Reason::ReconciliationSucceeded, format!("{name}: {revision} is being promoted"))
        }
    }
}
