//! What must hold in every world.

use pipeline_api::PromotionStatus;
use pipeline_api::conditions::{ConditionType, condition};

use super::hosts::Key;
use super::world::{NAMES, World};
use crate::observed::{Observed, Reports};
use crate::plan::Plan;

impl World {
    /// What begins was healthy in every environment before it, and approved if it has to be.
    pub(super) fn check_upstream(&self, key: &Key, observed: &Observed, record: &PromotionStatus) {
        let before = self.names().into_iter().take_while(|name| *name != key.environment);
        for (index, name) in before.enumerate() {
            let environment = &self.pipeline.spec.environments[index];
            let live = Reports::of(observed.environment(&name), &key.revision)
                .live(environment.promote_when.unwrap_or_default());
            assert!(live, "{key:?} was promoted though {name} is not ready at it");
        }
        let manual = self.pipeline.promotion(&key.environment).unwrap().is_some_and(|promotion| promotion.manual);
        if manual {
            assert!(record.approved_by.is_some(), "{key:?} was promoted without an approval");
        }
        if let Some(by) = &record.approved_by {
            assert_eq!(
                *by,
                format!("approver of {}={}", key.environment, key.revision),
                "an approval was used for something else"
            );
        }
    }

    pub(super) fn check_hosts(&self) {
        for name in NAMES {
            let open = self.hosts.followed(name);
            assert!(open.len() <= 1, "more than one open promotion: {open:?}");
        }
    }

    pub(super) fn check_status(&self, plan: &Plan) {
        let status = self.pipeline.status.as_ref().unwrap();
        for (name, environment) in &status.environments {
            assert!(environment.history.len() <= 10, "{name}");
            let mut ids: Vec<_> =
                environment.history.iter().chain(&environment.promotion).map(|record| &record.id).collect();
            let all = ids.len();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), all, "{name}: one promotion is remembered twice: {environment:#?}");
        }
        let (stalled, reconciling) = (ConditionType::Stalled, ConditionType::Reconciling);
        let both =
            condition(&status.conditions, stalled).is_some() && condition(&status.conditions, reconciling).is_some();
        assert!(!both, "kstatus: what is stalled is not reconciling: {:?}", status.conditions);
        if plan.effects.is_empty() && plan.withdrawals.is_empty() && !plan.starts && !plan.suspended {
            self.says_what_it_waits_for();
        }
    }

    pub(super) fn says_what_it_waits_for(&self) {
        let (reason, message) = self.ready();
        assert!(!message.is_empty());
        if reason != "ReconciliationSucceeded" || !message.starts_with("every environment is at") {
            return;
        }
        let revision = message.rsplit(' ').next().unwrap();
        for name in self.names() {
            let (_, ready) =
                (0, self.targets[&name].iter().all(|(runs, ready)| runs == revision && *ready == Some(true)));
            assert!(ready, "{name} is not at {revision}, and nothing else is said");
        }
    }
}
