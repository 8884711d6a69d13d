//! Callers that want the same repository at the same moment, and share one look at it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use gix::ObjectId;

use super::cache::Store;
use crate::names::{BranchName, CommitId};

/// Who waits for a repository.
#[derive(Default)]
pub(super) struct Queue(Mutex<Vec<Weak<Ask>>>);

/// What one caller wants to know.
pub(super) struct Ask {
    /// The branch whose tip is wanted.
    pub(super) branch: BranchName,
    /// What the names of the branches begin with that are wanted too.
    pub(super) list: Option<String>,
    answer: OnceLock<Answer>,
}

/// What a look that began after the question found.
#[derive(Clone)]
pub(super) struct Answer {
    /// The tip, and the store that holds it; `None` if there is no such branch.
    pub(super) tip: Option<(ObjectId, Arc<Store>)>,
    /// The branches that were asked for.
    pub(super) branches: Vec<(BranchName, CommitId)>,
}

impl Queue {
    /// Joins those who wait, for as long as the returned value lives.
    pub(super) fn join(&self, branch: BranchName, list: Option<String>) -> Arc<Ask> {
        let ask = Arc::new(Ask { branch, list, answer: OnceLock::new() });
        let mut asks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asks.retain(|ask| ask.strong_count() > 0);
        asks.push(Arc::downgrade(&ask));
        ask
    }

    /// All who have no answer yet. A look that begins now is new enough for each of them.
    pub(super) fn waiting(&self) -> Vec<Arc<Ask>> {
        let asks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asks.iter().filter_map(Weak::upgrade).filter(|ask| ask.answer.get().is_none()).collect()
    }
}

impl Ask {
    pub(super) fn answer(&self) -> Option<Answer> {
        self.answer.get().cloned()
    }

    pub(super) fn set(&self, answer: Answer) {
        self.answer.get_or_init(|| answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_still_wait_are_told() {
        let queue = Queue::default();
        let [one, two] = ["one", "two"].map(|name| queue.join(name.parse().unwrap(), None));
        assert_eq!(queue.waiting().len(), 2);
        one.set(Answer { tip: None, branches: Vec::new() });
        assert!(one.answer().is_some() && two.answer().is_none());
        assert_eq!(queue.waiting()[0].branch, two.branch);
        drop(two);
        assert!(queue.waiting().is_empty());
        drop(one);
        let _three = queue.join("three".parse().unwrap(), None);
        assert_eq!(queue.0.lock().unwrap().len(), 1);
    }
}
