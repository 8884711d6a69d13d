//! What changed from one status to the next, told once.

use pipeline_api::conditions::{ConditionType, condition};
use pipeline_api::{Phase, PipelineStatus, PromotionStatus};

use crate::approve::{Approval, Refusal};

/// A change that people want to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub warning: bool,
    /// In PascalCase, for machines.
    pub reason: &'static str,
    /// For people.
    pub note: String,
    /// The promotion that changed, if one did.
    pub promotion: Option<String>,
}

/// The transitions from `before` to `after`.
pub(super) fn between(before: &PipelineStatus, after: &PipelineStatus) -> Vec<Transition> {
    let mut transitions = Vec::new();
    for (name, environment) in &after.environments {
        let Some(promotion) = &environment.promotion else {
            continue;
        };
        let earlier = before.environments.get(name).and_then(|environment| environment.promotion.as_ref());
        let same = earlier.filter(|earlier| earlier.id == promotion.id);
        if let Some(by) = same.and_then(|earlier| approved(earlier, promotion)) {
            let note = format!("{name}: {by} approved {}", promotion.revision);
            let promotion = Some(promotion.id.clone());
            transitions.push(Transition { warning: false, reason: "PromotionApproved", note, promotion });
            continue;
        }
        if same.is_none_or(|earlier| {
            earlier.phase != promotion.phase
                || starts_failing(earlier, promotion)
                || is_news(earlier, promotion)
                || ends(earlier, promotion)
        }) {
            transitions.extend(of_promotion(name, promotion));
        }
    }
    transitions.extend(of_ready(before, after));
    transitions
}

fn approved<'a>(earlier: &PromotionStatus, now: &'a PromotionStatus) -> Option<&'a str> {
    now.approved_by.as_deref().filter(|_| earlier.approved_by.is_none())
}

/// Approvals that came too late, too early or for something else: whoever gave them should hear of it.
pub(super) fn of_refused(refused: &[(Approval, Refusal)]) -> impl Iterator<Item = Transition> {
    refused.iter().map(|(approval, why)| {
        let note = format!("the approval of {} by {} does not count: {why}", approval.revision, approval.by);
        Transition { warning: true, reason: "ApprovalRefused", note, promotion: None }
    })
}

/// Closing what was superseded has come to its end.
fn ends(earlier: &PromotionStatus, now: &PromotionStatus) -> bool {
    now.phase == Phase::Superseded && earlier.finished_time.is_none() && now.finished_time.is_some()
}

fn starts_failing(earlier: &PromotionStatus, now: &PromotionStatus) -> bool {
    now.attempts > 0 && (earlier.attempts == 0 || earlier.message != now.message)
}

/// The receiver reports again.
fn is_news(earlier: &PromotionStatus, now: &PromotionStatus) -> bool {
    now.phase == Phase::Delivered
        && now.message.is_some()
        && (&earlier.message, &earlier.url) != (&now.message, &now.url)
}

fn of_promotion(environment: &str, promotion: &PromotionStatus) -> Option<Transition> {
    let revision = &promotion.revision;
    let url = promotion.url.as_deref().unwrap_or_default();
    let why = promotion.message.as_deref().unwrap_or_default();
    let (warning, reason, note) = match promotion.phase {
        Phase::AwaitingApproval => {
            (false, "PromotionAwaitsApproval", format!("{environment}: {revision} waits for approval"))
        }
        Phase::Pending if promotion.attempts > 0 => {
            (true, "PromotionRetried", format!("{environment}: promotion of {revision} is tried again: {why}"))
        }
        Phase::Pending => (false, "PromotionStarted", format!("{environment}: promotion of {revision} was decided")),
        Phase::Open if promotion.attempts > 0 => {
            (true, "PullRequestUnreachable", format!("{environment}: cannot follow {url}: {why}"))
        }
        Phase::Open => (false, "PullRequestOpened", format!("{environment}: {url} promotes {revision}")),
        Phase::Delivered if !why.is_empty() => (
            false,
            "PromotionRunning",
            format!("{environment}: promotion of {revision}: {} {url}", why).trim_end().to_owned(),
        ),
        Phase::Delivered if url.is_empty() => {
            (false, "PromotionDelivered", format!("{environment}: the receiver accepted the promotion of {revision}"))
        }
        Phase::Delivered => {
            (false, "PullRequestMerged", format!("{environment}: {url} is merged, {revision} is expected"))
        }
        Phase::Succeeded if !why.is_empty() => {
            (false, "PromotionSucceeded", format!("{environment}: promotion of {revision}: {why}"))
        }
        Phase::Succeeded => (false, "PromotionSucceeded", format!("{environment}: {revision} is live")),
        Phase::AlreadyApplied => {
            (false, "PromotionAlreadyApplied", format!("{environment}: the base branch has {revision} already"))
        }
        Phase::Closed => (true, "PullRequestClosed", format!("{environment}: {url} was closed without a merge")),
        Phase::Superseded if promotion.finished_time.is_none() && promotion.attempts > 0 => {
            (true, "PullRequestUnreachable", format!("{environment}: {url} is to be closed: {why}"))
        }
        Phase::Superseded if promotion.finished_time.is_none() => return None,
        Phase::Superseded if why.starts_with("left open") => {
            (true, "PullRequestLeftOpen", format!("{environment}: {url} promotes {revision} and was {why}"))
        }
        Phase::Superseded if why.is_empty() => return None,
        Phase::Superseded => (false, "PromotionWithdrawn", format!("{environment}: promotion of {revision} {why}")),
        Phase::Failed => (true, "PromotionFailed", format!("{environment}: promotion of {revision} failed: {why}")),
    };
    Some(Transition { warning, reason, note, promotion: Some(promotion.id.clone()) })
}

/// Readiness that is lost for another reason than a promotion, which speaks for itself.
fn of_ready(before: &PipelineStatus, after: &PipelineStatus) -> Option<Transition> {
    let now = condition(&after.conditions, ConditionType::Ready)?;
    let earlier = condition(&before.conditions, ConditionType::Ready);
    let same = earlier.is_some_and(|earlier| earlier.status == now.status && earlier.reason == now.reason);
    let reason = match (now.status.as_str(), now.reason.as_str()) {
        _ if same => return None,
        ("False", "TargetNotReadable") => "TargetNotReadable",
        ("False", "TargetClusterNotFound") => "TargetClusterNotFound",
        ("False", "TargetClusterNotReady") => "TargetClusterNotReady",
        ("False", "AccessDenied") => "AccessDenied",
        ("False", "EnvironmentNotProgressing") => "EnvironmentNotProgressing",
        ("False", "InvalidSpec") => "InvalidSpec",
        _ => return None,
    };
    Some(Transition { warning: true, reason, note: now.message.clone(), promotion: None })
}
