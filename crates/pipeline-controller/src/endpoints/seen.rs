//! Which signed requests came before.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Twice as long as a signature is good for.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);
/// Most ids that are remembered; beyond, the oldest goes.
const MAX_IDS: usize = 10_000;

/// The ids of verified requests.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<BTreeMap<Id, Timestamp>>);

/// Namespace and name of the Pipeline, and the id.
pub(super) type Id = (String, String, String);

impl Seen {
    /// Whether the request is new at `now`; it is not from now on.
    pub(super) fn note(&self, id: &Id, now: Timestamp) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, since| now.duration_since(*since) < REMEMBERED);
        if seen.len() >= MAX_IDS
            && let Some(oldest) = seen.iter().min_by_key(|(_, since)| **since).map(|(id, _)| id.clone())
        {
            seen.remove(&oldest);
        }
        seen.insert(id.clone(), now).is_none()
    }

    /// The request came to nothing, and may be sent again.
    pub(super) fn forget(&self, id: &Id) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    fn id(number: usize) -> Id {
        ("default".to_owned(), "podinfo".to_owned(), number.to_string())
    }

    #[test]
    fn an_id_is_new_once_in_ten_minutes() {
        let (seen, start) = (Seen::default(), Timestamp::UNIX_EPOCH);
        assert!(seen.note(&id(1), start));
        assert!(!seen.note(&id(1), start + 9.minutes()));
        assert!(seen.note(&id(2), start));
        assert!(seen.note(&id(1), start + 20.minutes()));
        seen.forget(&id(1));
        assert!(seen.note(&id(1), start + 20.minutes()));
    }

    #[test]
    fn the_memory_is_bounded() {
        let (seen, start) = (Seen::default(), Timestamp::UNIX_EPOCH);
        for number in 0..MAX_IDS + 2 {
            assert!(seen.note(&id(number), start + i64::try_from(number).unwrap().milliseconds()));
        }
        assert_eq!(seen.0.lock().unwrap().len(), MAX_IDS);
        assert!(!seen.note(&id(MAX_IDS + 1), start));
    }
}
