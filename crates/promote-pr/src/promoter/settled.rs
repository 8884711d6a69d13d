//! The promotions about which nothing is left to do but to look.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::host::{PullRequest, PullRequestState};
use crate::names::CommitId;
use crate::request::{MergePolicy, Request};

/// How long a look is enough; then everything is checked again.
const RECHECK: Duration = Duration::from_secs(3600);

/// Most promotions that are remembered.
const MAX: usize = 20_000;

/// Pull requests that were in order when they were last seen: what they supersede is closed, and a merge is scheduled if
/// there is to be one. As long as they look the same, following one takes a single request.
#[derive(Default)]
pub(super) struct Settled(Mutex<HashMap<Uuid, (Shape, Instant)>>);

/// What a pull request looks like, and what is to become of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    number: u64,
    state: PullRequestState,
    head: Option<CommitId>,
    merge: MergePolicy,
}

impl Settled {
    pub(super) fn is(&self, request: &Request, pull: &PullRequest) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&request.key.id()).copied();
        known.is_some_and(|(shape, since)| shape == Shape::of(request, pull) && since.elapsed() < RECHECK)
    }

    /// Remembers that a promotion is in order, if it is.
    pub(super) fn note(&self, request: &Request, pull: &PullRequest, in_order: bool) {
        let promotion = request.key.id();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !in_order {
            known.remove(&promotion);
            return;
        }
        if known.len() >= MAX {
            known.retain(|_, (_, since)| since.elapsed() < RECHECK);
        }
        if known.len() < MAX {
            let shape = Shape::of(request, pull);
            match known.get(&promotion) {
                Some((same, since)) if *same == shape && since.elapsed() < RECHECK => {}
                _ => drop(known.insert(promotion, (shape, Instant::now()))),
            }
        }
    }
}

impl Shape {
    fn of(request: &Request, pull: &PullRequest) -> Self {
        Self { number: pull.number, state: pull.state, head: pull.head_commit, merge: request.merge }
    }
}
