//! What a reconcile will do, and why: values.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pipeline_api::normalized::Strategy;
use pipeline_api::{PromotionStatus, Repository, WaitingApproval};

use crate::approve::{Approval, Refusal};

/// What a reconcile will do, and why.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Nothing is done or recorded but that the pipeline rests.
    pub suspended: bool,
    /// The Pipeline is being deleted: only what is open is looked after.
    pub deleted: bool,
    /// What is wrong with the Pipeline, each with its field: it is left alone.
    pub invalid: Vec<String>,
    /// Why no revision can leave the first environment yet.
    pub pending: Option<String>,
    /// The revision that is to reach every environment.
    pub revision: Option<String>,
    pub environments: BTreeMap<String, EnvironmentPlan>,
    pub effects: Vec<Effect>,
    /// Pull requests that are to be closed, because nothing asks for them any more.
    pub withdrawals: Vec<Withdrawal>,
    /// Approvals that do not count.
    pub refused: Vec<(Approval, Refusal)>,
    /// A promotion begins: it is put on record first, and acted upon when the pipeline is looked at again, which is at once.
    /// Whatever happens on the way, its effects are then those of the promotion on record.
    pub starts: bool,
}

/// Where an environment stands once the plan is made.
#[derive(Clone, Debug)]
pub struct EnvironmentPlan {
    pub step: Step,
    pub waiting_approval: Option<WaitingApproval>,
    pub promotion: Option<PromotionStatus>,
    /// Earlier promotions, newest last.
    pub history: Vec<PromotionStatus>,
}

/// What an environment is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first environment: revisions start here.
    Source,
    /// All that is asked of its targets is ready at the revision.
    Live,
    /// Some target reports the revision; the rest is awaited.
    Progressing,
    /// A promotion to it is running, or has ended without the targets following yet.
    Promoting,
    /// A person has to approve the revision.
    AwaitingApproval,
    /// The pull request of an earlier promotion has to be closed first.
    Withdrawing,
    /// Nothing can be done until the pipeline is changed.
    Blocked(Blocked),
    /// An earlier environment comes first.
    NotReached,
}

/// Why an environment cannot be promoted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// Neither the environment nor the pipeline has a promotion: people promote here.
    NoPromotion,
    NoTargets,
    /// The environment runs `from`, which is newer.
    Downgrade {
        from: String,
    },
    /// The specification, or the revision, cannot be acted on.
    Invalid(String),
}

/// One call to the outside. Its key makes it idempotent: replaying it changes nothing.
#[derive(Clone, Debug)]
pub struct Effect {
    pub environment: String,
    pub source_environment: String,
    pub revision: String,
    pub previous_revision: Option<String>,
    /// The page of the last promotion to the environment that succeeded.
    pub previous_url: Option<String>,
    pub sequence: u32,
    /// Tries made so far.
    pub attempts: u32,
    /// When the promotion was decided.
    pub started: Timestamp,
    pub strategy: Strategy,
}

/// The pull requests of one environment's promotions are closed and their branches deleted. Replaying it changes nothing.
#[derive(Clone, Debug)]
pub struct Withdrawal {
    pub environment: String,
    pub revision: String,
    pub sequence: u32,
    pub repository: Repository,
    /// For people: what is said on the pull request.
    pub reason: String,
}
