//! The conditions of a Pipeline, and how to set them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::names::names;
use crate::status;

names! {
    /// What a condition is about.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum ConditionType {
        /// Every target can be read and no promotion is failing. Waiting, open and awaiting approval are ready.
        Ready,
        /// Work is due that the controller does without help
        /// ([kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md)).
        Reconciling,
        /// A person must act first (kstatus).
        Stalled,
        /// The first environment is not ready, or its targets disagree, so that there is nothing to promote yet.
        PromotionPending,
        /// Another environment or Pipeline promotes to the same field of the same repository.
        Conflicting,
    }
}

names! {
    /// Whether a condition holds.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum ConditionStatus {
        /// It holds.
        True,
        /// It does not hold.
        False,
        /// Nobody can tell.
        Unknown,
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

names! {
    /// Why a condition has its status. The first five are those of the first pipeline-controller.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Reason {
        /// All is well.
        ReconciliationSucceeded,
        /// An application object is missing or could not be read.
        TargetNotReadable,
        /// `clusterRef` names no cluster.
        TargetClusterNotFound,
        /// The cluster that `clusterRef` names is not ready.
        TargetClusterNotReady,
        /// `clusterRef` names a cluster of another namespace, and the operator forbids that.
        AccessDenied,
        /// The first environment is not ready, or its targets disagree.
        EnvironmentNotReady,
        /// The spec contradicts itself or names what cannot be.
        InvalidSpec,
        /// A promotion is under way or due.
        Progressing,
        /// `spec.suspend` is set.
        Suspended,
        /// There is a revision to promote, and no `promotion` for the next environment.
        NoPromotion,
        /// A revision waits for a person's approval.
        WaitingForApproval,
        /// The pull request is open and waits for its merge.
        PullRequestOpen,
        /// A person closed the pull request without merging it.
        PullRequestClosed,
        /// The change is in, and the environment has not reported the revision for too long.
        EnvironmentNotProgressing,
        /// An attempt to promote failed.
        PromotionFailed,
        /// The revision is older than the one that the environment runs, and `allowDowngrade` is not set.
        DowngradeNotAllowed,
        /// A pull request that is not wanted any more is being closed.
        Withdrawing,
        /// Two promotions change the same field.
        FieldShared,
    }
}

/// A condition as it is to be; [`set_condition`] adds the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCondition {
    /// What the condition is about.
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why.
    pub reason: Reason,
    /// Details for people; cut to [`crate::TEXT_MAX`] characters.
    pub message: String,
    /// The generation of the Pipeline that this was found for.
    pub observed_generation: Option<i64>,
}

/// Adds the condition or replaces the one of its type.
///
/// # Idempotency
///
/// `lastTransitionTime` becomes `now` only when the status changes, so that setting the same condition again changes
/// nothing.
pub fn set_condition(conditions: &mut Vec<Condition>, new: NewCondition, now: jiff::Timestamp) {
    let type_ = new.type_.as_str();
    let status = new.status.as_str();
    let present = conditions.iter_mut().find(|condition| condition.type_ == type_);
    let since = present.as_ref().filter(|condition| condition.status == status).map(|c| c.last_transition_time.clone());
    let condition = Condition {
        last_transition_time: since.unwrap_or(Time(now)),
        message: status::text(new.message),
        observed_generation: new.observed_generation,
        reason: new.reason.as_str().to_owned(),
        status: status.to_owned(),
        type_: type_.to_owned(),
    };
    match present {
        Some(present) => *present = condition,
        None => conditions.push(condition),
    }
}

/// Takes the condition of a type away, if it is there.
pub fn remove_condition(conditions: &mut Vec<Condition>, type_: ConditionType) {
    conditions.retain(|condition| condition.type_ != type_.as_str());
}

/// The condition of a type.
#[must_use]
pub fn condition(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TEXT_MAX;

    fn ready(status: ConditionStatus, message: &str) -> NewCondition {
        NewCondition {
            type_: ConditionType::Ready,
            status,
            reason: Reason::ReconciliationSucceeded,
            message: message.to_owned(),
            observed_generation: Some(1),
        }
    }

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let [first, second, third] = [1, 2, 3].map(|second| jiff::Timestamp::from_second(second).unwrap());
        let mut conditions = Vec::new();

        set_condition(&mut conditions, ready(ConditionStatus::True, "one"), first);
        let once = conditions.clone();
        set_condition(&mut conditions, ready(ConditionStatus::True, "one"), second);
        assert_eq!(conditions, once);

        set_condition(&mut conditions, ready(ConditionStatus::True, "two"), second);
        assert_eq!((conditions[0].message.as_str(), conditions[0].last_transition_time.0), ("two", first));

        set_condition(&mut conditions, ready(ConditionStatus::False, "two"), third);
        assert_eq!(conditions[0].last_transition_time.0, third);
    }

    #[test]
    fn there_is_one_condition_of_a_type() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut conditions = Vec::new();
        set_condition(&mut conditions, ready(ConditionStatus::True, ""), now);
        set_condition(&mut conditions, NewCondition { type_: ConditionType::Stalled, ..ready(true.into(), "") }, now);
        set_condition(&mut conditions, ready(ConditionStatus::Unknown, ""), now);
        assert_eq!(conditions.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(), ["Ready", "Stalled"]);

        remove_condition(&mut conditions, ConditionType::Ready);
        assert_eq!(condition(&conditions, ConditionType::Ready), None);
        assert!(condition(&conditions, ConditionType::Stalled).is_some());
    }

    #[test]
    fn long_messages_are_cut() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, ready(true.into(), &"é".repeat(TEXT_MAX + 1)), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(conditions[0].message.chars().count(), TEXT_MAX);
        assert!(conditions[0].message.ends_with("é…"));

        let fits = "é".repeat(TEXT_MAX);
        set_condition(&mut conditions, ready(true.into(), &fits), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(conditions[0].message, fits);
    }
}
