//! What became of the effects of a plan: values.

use std::time::Duration;

/// What became of an effect.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub environment: String,
    pub result: Result<Done, Failure>,
    /// The `resourceVersion` of the Secret that was used, when one was read.
    pub secret_version: Option<String>,
}

impl Outcome {
    /// Whether nothing was tried, for others are at it.
    pub(crate) fn waits(&self) -> bool {
        matches!(&self.result, Err(failure) if failure.next == Next::Turn)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The pull request is open.
    Open {
        url: String,
        /// Why it is not merged, though it is to be merged without a person.
        held_up: Option<String>,
    },
    /// The pull request is merged.
    Merged { url: String },
    /// A person closed the pull request without merging it.
    Closed { url: String },
    /// The base branch has the revision already.
    AlreadyApplied,
    /// The receiver accepted the webhook.
    Delivered,
    /// No pull request of the promotion is open any more.
    Withdrawn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For people; without secrets.
    pub message: String,
    pub next: Next,
    /// The repository was read, and nothing in it is to be changed.
    pub nothing_matched: bool,
}

/// When a failed effect is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Not before a person has changed something that shows on the pipeline or its Secret.
    Never,
    /// A person has to change something that may show only on the host: it is looked at again now and then.
    Review,
    /// With the back-off of the pull request strategy, but not before this much time.
    Backoff { at_least: Duration },
    /// In a moment: nothing was tried, for others are at it.
    Turn,
    /// After this much time.
    After(Duration),
}
