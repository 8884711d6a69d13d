//! Promotions that nothing asks for any more: they give way, and what is open of them is closed or left to people.

use pipeline_api::{DeletionPolicy, Environment, EnvironmentStatus, Phase, PromotionStatus, Repository};

use super::{Decider, Decision, records};
use crate::conclude;
use crate::plan::{EnvironmentPlan, Plan, Step, Withdrawal};

impl Decider<'_> {
    /// An environment to which `revision` is not to be promoted: what runs for another revision has come to its end.
    pub(super) fn settle(
        &self,
        source: &Environment,
        environment: &Environment,
        revision: &str,
        step: Step,
    ) -> Decision {
        match self.status(environment).promotion {
            Some(record) if records::is_closing(&record) => self.retire(environment, &record, step, ""),
            Some(record) if record.revision != revision && is_unfinished(&record) => {
                let reason = format!("{revision} is what {} has now", source.name);
                self.retire(environment, &record, step, &reason)
            }
            _ => self.follow(source, environment, step),
        }
    }

    /// An environment to which nothing is promoted any more. What is open is left to people unless the Pipeline says otherwise.
    pub(super) fn abandon(&self, environment: &Environment, step: Step, why: &str) -> Decision {
        match self.status(environment).promotion {
            Some(record) if records::is_closing(&record) => self.retire(environment, &record, step, ""),
            Some(record) if record.phase == Phase::Delivered => self.unchanged(environment, step).into(),
            Some(record) if is_unfinished(&record) && self.closes() => self.retire(environment, &record, step, why),
            Some(record) if is_unfinished(&record) => self.ended(environment, record, step),
            _ => self.unchanged(environment, step).into(),
        }
    }

    /// Ends a promotion that nothing takes the place of: first its pull request is closed.
    pub(super) fn retire(
        &self,
        environment: &Environment,
        record: &PromotionStatus,
        step: Step,
        reason: &str,
    ) -> Decision {
        let repository = self.repository_of(&environment.name, record).filter(|_| records::may_be_open(record));
        match repository {
            Some(repository) => {
                self.close(&environment.name, &self.status(environment), record, repository, step, reason)
            }
            None => self.ended(environment, record.clone(), step),
        }
    }

    /// Puts on record that a pull request is to be closed, or closes it once that is on record.
    fn close(
        &self,
        name: &str,
        status: &EnvironmentStatus,
        record: &PromotionStatus,
        repository: Repository,
        step: Step,
        reason: &str,
    ) -> Decision {
        let history = status.history.clone();
        let plan = |promotion| EnvironmentPlan { step, waiting_approval: None, promotion: Some(promotion), history };
        if !records::is_closing(record) {
            return plan(records::closing(record.clone(), repository, reason)).into();
        }
        let withdrawal = self.time_has_come(record).then(|| withdrawal(name, record, repository));
        Decision { plan: plan(record.clone()), effect: None, withdrawal }
    }

    fn ended(&self, environment: &Environment, record: PromotionStatus, step: Step) -> Decision {
        let plan = self.unchanged(environment, step);
        EnvironmentPlan { promotion: Some(records::superseded(record, self.now)), waiting_approval: None, ..plan }
            .into()
    }

    /// Where the promotion's pull request is: as recorded, else as the spec says.
    fn repository_of(&self, environment: &str, record: &PromotionStatus) -> Option<Repository> {
        let said = || records::repository(&self.pipeline.promotion(environment).ok()??.strategy);
        record.repository.clone().or_else(said)
    }

    /// Closes what is open, if the Pipeline says so; everything else ends with it.
    pub(super) fn delete(&self) -> Plan {
        let mut plan = Plan { deleted: true, ..Plan::default() };
        let status = self.pipeline.status.as_ref();
        for (name, environment) in status.into_iter().flat_map(|status| &status.environments) {
            if let Some(decision) = self.close_gone(name, environment, "the pipeline was deleted") {
                self.add(&mut plan, name, decision);
            }
        }
        plan
    }

    /// Environments that the spec no longer has, as long as there is something of theirs to close.
    pub(super) fn removed(&self) -> Vec<(String, Decision)> {
        let status = self.pipeline.status.as_ref();
        let known = status.into_iter().flat_map(|status| &status.environments);
        let removed = known.filter(|(name, _)| !self.pipeline.spec.environments.iter().any(|own| own.name == **name));
        let reason = "the environment was taken out of the pipeline";
        removed
            .filter_map(|(name, environment)| Some((name.clone(), self.close_gone(name, environment, reason)?)))
            .collect()
    }

    /// Closes what may be open of an environment that is gone; `None` when there is nothing, or it is to be left open.
    fn close_gone(&self, name: &str, environment: &EnvironmentStatus, reason: &str) -> Option<Decision> {
        let record = environment.promotion.as_ref().filter(|record| self.closes() && records::may_be_open(record))?;
        let repository = self.repository_of(name, record)?;
        Some(self.close(name, environment, record, repository, Step::Withdrawing, reason))
    }

    fn closes(&self) -> bool {
        self.pipeline.spec.deletion_policy.unwrap_or_default() == DeletionPolicy::Close
    }
}

/// Whether the promotion may still change something.
fn is_unfinished(record: &PromotionStatus) -> bool {
    matches!(record.phase, Phase::AwaitingApproval | Phase::Pending | Phase::Open | Phase::Delivered | Phase::Failed)
}

fn withdrawal(environment: &str, record: &PromotionStatus, repository: Repository) -> Withdrawal {
    Withdrawal {
        environment: environment.to_owned(),
        revision: record.revision.clone(),
        sequence: records::sequence(record),
        repository,
        reason: record.message.as_deref().map(conclude::reason).unwrap_or_default().to_owned(),
    }
}
