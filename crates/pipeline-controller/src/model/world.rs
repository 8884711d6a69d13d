//! The world around one pipeline, and what must hold in it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pipeline_api::conditions::{ConditionType, Reason, condition};
use pipeline_api::metadata::{APPROVE, APPROVED_BY, REQUESTED_AT};
use pipeline_api::normalized::Strategy;
use pipeline_api::{Phase, Pipeline, PromotionStatus};
use proptest::sample::Index;
use serde_json::json;

use super::hosts::{Hosts, Key, State};
use crate::conclude::conclude;
use crate::decide::decide;
use crate::fixtures::{NOW, pipeline, policy, with};
use crate::observed::{Application, Observed, ObservedEnvironment, ObservedTarget, Unreadable};
use crate::outcome::{Done, Failure, Next, Outcome};
use crate::plan::{Effect, Plan, Step, Withdrawal};

pub(super) const NAMES: [&str; 4] = ["dev", "staging", "prod", "edge"];
/// Two versions, and two revisions that only history can order.
const REVISIONS: [&str; 4] = ["1.0.0", "1.1.0", "main@sha1:aa", "main@sha1:bb"];

#[derive(Clone, Debug)]
pub(super) enum Action {
    Reconcile(Fault),
    /// A target of an environment runs a revision, and is ready or not.
    Runs(usize, usize, u8, bool),
    /// All targets of the first environment are ready at a revision.
    Releases(u8),
    Unreadable(usize, usize),
    Merge(Index),
    Close(Index),
    /// The environment becomes what the base branch, or the last event, says.
    Deploys(usize),
    /// The receiver of the environment's webhook says that it runs, that it succeeded, that it failed.
    Reports(usize, u8),
    Approve(usize, u8),
    ApproveWaiting(usize),
    Ask,
    /// So many seconds pass.
    Pass(u32),
    ToggleManual,
    ToggleSuspend,
    ToggleDowngrade,
    ToggleDeletionPolicy,
    /// How is promoted: to repository a, to repository b, by webhook, by hand.
    Promotion(u8),
    /// Which environments there are, and in which order.
    Environments(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The process dies before it acts.
    CrashBefore,
    /// The process dies before it records what it did.
    CrashAfter,
    /// What was done took effect, and its answer was lost.
    AnswerLost,
    /// Nothing takes effect for a while.
    Unreachable,
    /// Nothing takes effect until a person changes something.
    Refused,
}

pub(super) struct World {
    pub(super) pipeline: Pipeline,
    pub(super) targets: BTreeMap<String, Vec<(String, Option<bool>)>>,
    pub(super) hosts: Hosts,
    pub(super) now: Timestamp,
    looks: BTreeMap<String, Timestamp>,
    asked: u32,
    requeue: Duration,
}

impl World {
    pub(super) fn new() -> Self {
        let targets = NAMES.map(|name| (name.to_owned(), vec![("1.0.0".to_owned(), Some(true)); 2]));
        Self {
            pipeline: pipeline("dev staging prod"),
            targets: targets.into(),
            hosts: Hosts::default(),
            now: NOW.parse().unwrap(),
            looks: BTreeMap::new(),
            asked: 0,
            requeue: Duration::ZERO,
        }
    }

    pub(super) fn happens(&mut self, action: &Action) {
        match *action {
            Action::Reconcile(fault) => self.reconcile(fault),
            Action::Runs(environment, target, revision, ready) => {
                self.set(environment, target, REVISIONS[usize::from(revision)], Some(ready));
            }
            Action::Releases(revision) => {
                let first = self.names()[0].clone();
                self.deploy(&first, REVISIONS[usize::from(revision)]);
            }
            Action::Unreadable(environment, target) => {
                let revision = self.targets[NAMES[environment]][target].0.clone();
                self.set(environment, target, &revision, None);
            }
            Action::Merge(ref index) if !self.hosts.pulls.is_empty() => {
                let index = index.index(self.hosts.pulls.len());
                self.hosts.merge(index);
            }
            Action::Close(ref index) if !self.hosts.pulls.is_empty() => {
                let index = index.index(self.hosts.pulls.len());
                let pull = &mut self.hosts.pulls[index];
                if pull.state == State::Open {
                    pull.state = State::ClosedByPerson;
                }
            }
            Action::Merge(_) | Action::Close(_) => {}
            Action::Deploys(environment) => self.deploys(NAMES[environment]),
            Action::Reports(environment, state) => self.reports(NAMES[environment], state),
            Action::Approve(environment, revision) => {
                self.approve(NAMES[environment], REVISIONS[usize::from(revision)]);
            }
            Action::ApproveWaiting(environment) => self.approve_waiting(NAMES[environment]),
            Action::Ask => {
                self.asked += 1;
                self.annotate(&[(REQUESTED_AT, self.asked.to_string())]);
            }
            Action::Pass(seconds) => self.pass(Duration::from_secs(seconds.into())),
            Action::ToggleManual => {
                if let Some(promotion) = &mut self.pipeline.spec.promotion {
                    promotion.manual = Some(promotion.manual != Some(true));
                }
                self.changed();
            }
            Action::ToggleSuspend => {
                self.pipeline.spec.suspend = !self.pipeline.spec.suspend;
                self.changed();
            }
            Action::ToggleDowngrade => {
                self.pipeline.spec.allow_downgrade = !self.pipeline.spec.allow_downgrade;
                self.changed();
            }
            Action::ToggleDeletionPolicy => {
                let policy = if self.closes() { "Orphan" } else { "Close" };
                self.pipeline = with(self.pipeline.clone(), json!({"spec": {"deletionPolicy": policy}}));
                self.changed();
            }
            Action::Promotion(way) => {
                let repository = |name: &str| json!({"pullRequest": {"url": format!("https://github.com/{name}/fleet.git"), "branch": "main", "secretRef": "s"}});
                let promotion = match way {
                    0 => repository("a"),
                    1 => repository("b"),
                    2 => json!({"webhook": {"url": "https://ci.example.com/hook"}}),
                    _ => json!(null),
                };
                self.pipeline.spec.promotion = serde_json::from_value(promotion).unwrap();
                self.changed();
            }
            Action::Environments(way) => {
                let names = match way {
                    0 => "dev prod",
                    1 => "dev prod staging",
                    2 => "staging prod",
                    3 => "dev staging prod edge",
                    4 => "prod dev",
                    _ => "dev staging prod",
                };
                self.pipeline.spec.environments = pipeline(names).spec.environments;
                self.changed();
            }
        }
    }

    /// Without further events, the pipeline comes to rest and says what it waits for.
    pub(super) fn comes_to_rest(&mut self) {
        let mut still = 0;
        for _ in 0..80 {
            let before = self.pipeline.status.clone();
            self.reconcile(Fault::None);
            self.pass(self.requeue.max(Duration::from_secs(1)));
            still = if self.pipeline.status == before { still + 1 } else { 0 };
            if still == 3 {
                return self.says_what_it_waits_for();
            }
        }
        panic!("no rest: {:?}", self.pipeline.status);
    }

    /// People do all that is theirs: afterwards, every environment runs the first one's revision, or it is said why not.
    pub(super) fn is_helped_to_its_end(&mut self) {
        let first = self.names()[0].clone();
        let revision = self.targets[&first][0].0.clone();
        self.deploy(&first, &revision);
        for name in NAMES.into_iter().filter(|name| *name != first) {
            let runs = self.targets[name][0].0.clone();
            self.deploy(name, &runs);
        }
        self.reconcile(Fault::None);
        for _ in 0..60 {
            for environment in NAMES {
                self.approve_waiting(environment);
            }
            if self.ready().0 == Reason::PromotionFailed.as_str() {
                self.happens(&Action::Ask);
            }
            self.reconcile(Fault::None);
            for index in 0..self.hosts.pulls.len() {
                if !self.hosts.pulls[index].orphan {
                    self.hosts.merge(index);
                }
            }
            self.reconcile(Fault::None);
            let delivered: Vec<String> = self.names().into_iter().filter(|name| self.is_delivered(name)).collect();
            for name in delivered {
                self.deploys(&name);
            }
            self.pass(self.requeue.max(Duration::from_secs(1)));
        }
        let revision = self.targets[&first][0].0.clone();
        let everywhere = self.names().iter().all(|name| self.targets[name].iter().all(|target| target.0 == revision));
        let ready = self.ready();
        let excused = [Reason::Suspended, Reason::NoPromotion, Reason::DowngradeNotAllowed, Reason::PullRequestClosed];
        let left = ready.1.contains("has left it since") || ready.1.contains("expected to arrive");
        let late = ready.0 == Reason::EnvironmentNotProgressing.as_str();
        let is_excused = excused.iter().any(|reason| reason.as_str() == ready.0) || left || late;
        assert!(
            everywhere || is_excused,
            "{revision} is not everywhere: {ready:?} {:?} {:?}",
            self.targets,
            self.pipeline.status
        );
    }

    fn reconcile(&mut self, fault: Fault) {
        let observed = self.observed();
        let plan = decide(&self.pipeline, &observed, &policy(), self.now);
        let again = decide(&self.pipeline, &observed, &policy(), self.now);
        assert_eq!(format!("{plan:?}"), format!("{again:?}"), "the same world gives the same plan");
        if fault == Fault::CrashBefore {
            return;
        }
        let mut outcomes = Vec::new();
        for effect in &plan.effects {
            outcomes.push(self.perform(effect, &observed, fault));
        }
        for withdrawal in &plan.withdrawals {
            outcomes.push(self.withdraw(withdrawal, fault));
        }
        self.check_hosts();
        if fault == Fault::CrashAfter {
            self.looks.clear();
            return;
        }
        let report = conclude(&self.pipeline, &observed, &plan, outcomes, &policy(), self.now);
        self.forget_orphans(
            &plan,
            &report
                .status
                .environments
                .iter()
                .filter_map(|(name, e)| Some((name.clone(), e.promotion.clone()?)))
                .collect(),
        );
        self.pipeline.status = Some(report.status);
        self.requeue = report.requeue;
        self.check_status(&plan);
    }

    fn perform(&mut self, effect: &Effect, observed: &Observed, fault: Fault) -> Outcome {
        let record = self.record(&effect.environment).expect("an effect's promotion is on record");
        assert_eq!(
            (record.revision.as_str(), record.sequence),
            (effect.revision.as_str(), i32::try_from(effect.sequence).unwrap())
        );
        assert!(matches!(record.phase, Phase::Pending | Phase::Open | Phase::Failed | Phase::Closed), "{record:?}");
        let key = Key {
            environment: effect.environment.clone(),
            revision: effect.revision.clone(),
            sequence: effect.sequence,
        };
        let environment = effect.environment.clone();
        if matches!(fault, Fault::Unreachable | Fault::Refused) {
            return Outcome { environment, result: Err(failure(fault)), secret_version: None };
        }
        let (starts, done) = match &effect.strategy {
            Strategy::PullRequest(pull_request) => {
                let ours = self.hosts.is_closed_by_us(pull_request.url.as_str(), &key);
                assert!(!ours || record.url.is_none(), "asks for what the controller closed itself: {record:?}");
                self.hosts.promote(pull_request.url.as_str(), &key)
            }
            Strategy::Webhook(_) => {
                self.hosts.deliveries.push(key.clone());
                (true, Done::Delivered)
            }
            Strategy::Notification => panic!("not in this model"),
        };
        if starts {
            self.check_upstream(&key, observed, &record);
        }
        self.looks.insert(environment.clone(), self.now);
        let result = if fault == Fault::AnswerLost { Err(failure(fault)) } else { Ok(done) };
        Outcome { environment, result, secret_version: None }
    }

    fn withdraw(&mut self, withdrawal: &Withdrawal, fault: Fault) -> Outcome {
        let environment = withdrawal.environment.clone();
        let result = match fault {
            Fault::Unreachable | Fault::Refused => {
                let unseen = self.record(&environment).is_some_and(|record| record.url.is_none());
                let pulls = self.hosts.pulls.iter_mut().filter(|pull| pull.key.environment == environment);
                pulls
                    .filter(|pull| pull.repository == withdrawal.repository.url)
                    .for_each(|pull| pull.orphan |= unseen);
                Err(failure(fault))
            }
            _ => {
                self.hosts.withdraw(&withdrawal.repository.url, &environment);
                if fault == Fault::AnswerLost { Err(failure(fault)) } else { Ok(Done::Withdrawn) }
            }
        };
        Outcome { environment, result, secret_version: None }
    }

    /// What the controller says it follows no longer.
    fn forget_orphans(&mut self, plan: &Plan, records: &BTreeMap<String, PromotionStatus>) {
        for pull in self.hosts.pulls.iter_mut().filter(|pull| pull.state == State::Open) {
            let name = &pull.key.environment;
            let is_source = plan.environments.get(name).is_some_and(|planned| planned.step == Step::Source);
            let unfollowed = records
                .get(name)
                .is_none_or(|record| record.phase == Phase::Superseded && record.finished_time.is_some());
            let given_up = records.get(name).is_some_and(|record| {
                record.message.as_deref().is_some_and(|message| message.starts_with("left open"))
            });
            let no_promotion = self.pipeline.promotion(name).ok().flatten().is_none();
            pull.orphan |= given_up || (unfollowed && (is_source || no_promotion) && !plan.suspended);
        }
    }

    fn observed(&self) -> Observed {
        let environments = self.names().into_iter().map(|name| {
            let targets = self.targets[&name].iter().take(self.pipeline_targets(&name)).map(|(revision, ready)| {
                let application = match ready {
                    Some(ready) => Ok(Application {
                        ready: *ready,
                        revision: Some(revision.clone()),
                        message: if *ready { String::new() } else { "upgrading".to_owned() },
                    }),
                    None => Err(Unreadable { reason: Reason::TargetNotReadable, message: "not found".to_owned() }),
                };
                ObservedTarget { namespace: name.clone(), cluster_ref: None, application }
            });
            (name.clone(), ObservedEnvironment { targets: targets.collect() })
        });
        Observed { environments: environments.collect(), looked_at: self.looks.clone(), ..Observed::default() }
    }

    fn pipeline_targets(&self, name: &str) -> usize {
        self.targets[name].len()
    }

    fn deploys(&mut self, name: &str) {
        if let Some(record) = self.record(name).filter(is_delivered) {
            self.deploy(name, &record.revision);
        }
    }

    fn is_delivered(&self, name: &str) -> bool {
        self.record(name).as_ref().is_some_and(is_delivered)
    }

    fn deploy(&mut self, name: &str, revision: &str) {
        for target in self.targets.get_mut(name).unwrap() {
            *target = (revision.to_owned(), Some(true));
        }
    }

    fn set(&mut self, environment: usize, target: usize, revision: &str, ready: Option<bool>) {
        self.targets.get_mut(NAMES[environment]).unwrap()[target] = (revision.to_owned(), ready);
    }

    fn approve(&mut self, environment: &str, revision: &str) {
        let approval = format!("{environment}={revision}");
        let by = format!("approver of {approval}");
        self.annotate(&[(APPROVE, approval), (APPROVED_BY, by)]);
    }

    /// As a person does who looks first: the annotation is taken away and set again.
    fn approve_waiting(&mut self, environment: &str) {
        let status = self.pipeline.status.as_ref().and_then(|status| status.environments.get(environment));
        let Some(waiting) = status.and_then(|status| status.waiting_approval.clone()) else { return };
        if let Some(annotations) = &mut self.pipeline.metadata.annotations {
            annotations.remove(APPROVE);
        }
        self.reconcile(Fault::None);
        self.approve(environment, &waiting.revision);
        self.reconcile(Fault::None);
    }

    fn annotate(&mut self, annotations: &[(&str, String)]) {
        let all = self.pipeline.metadata.annotations.get_or_insert_default();
        all.extend(annotations.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    }

    fn changed(&mut self) {
        self.pipeline.metadata.generation = self.pipeline.metadata.generation.map(|generation| generation + 1);
    }

    fn pass(&mut self, time: Duration) {
        self.now += SignedDuration::try_from(time).unwrap();
    }

    fn closes(&self) -> bool {
        self.pipeline.spec.deletion_policy == Some(pipeline_api::DeletionPolicy::Close)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.pipeline.spec.environments.iter().map(|environment| environment.name.clone()).collect()
    }

    pub(super) fn record(&self, environment: &str) -> Option<PromotionStatus> {
        self.pipeline.status.as_ref()?.environments.get(environment)?.promotion.clone()
    }

    /// Reason and message of the condition Ready.
    pub(super) fn ready(&self) -> (String, String) {
        let status = self.pipeline.status.as_ref().expect("a status");
        let ready = condition(&status.conditions, ConditionType::Ready).expect("a condition Ready");
        (ready.reason.clone(), ready.message.clone())
    }
}

/// A receiver's success has a message until the targets show it.
fn is_delivered(record: &PromotionStatus) -> bool {
    match record.phase {
        Phase::Delivered | Phase::AlreadyApplied => true,
        Phase::Succeeded => record.message.is_some(),
        _ => false,
    }
}

fn failure(fault: Fault) -> Failure {
    let next = match fault {
        Fault::Refused => Next::Review,
        _ => Next::Backoff { at_least: Duration::ZERO },
    };
    Failure { message: format!("{fault:?}"), next, nothing_matched: false }
}
