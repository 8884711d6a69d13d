//! Git hosts and receivers as a promotion sees them: stateful, and told apart by what people do.

use std::collections::BTreeMap;

use crate::outcome::Done;

/// What makes a promotion the one it is, on a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) environment: String,
    pub(super) revision: String,
    pub(super) sequence: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Merged,
    ClosedByPerson,
    ClosedByUs,
}

#[derive(Clone, Debug)]
pub(super) struct Pull {
    pub(super) repository: String,
    pub(super) key: Key,
    pub(super) state: State,
    /// Nothing follows it any more, as the deletion policy says, or because it could not be closed.
    pub(super) orphan: bool,
}

#[derive(Debug, Default)]
pub(super) struct Hosts {
    pub(super) pulls: Vec<Pull>,
    /// What the base branches say, by repository and environment.
    pub(super) bases: BTreeMap<(String, String), String>,
    pub(super) deliveries: Vec<Key>,
}

impl Hosts {
    /// As promote-pr does it. Whether a pull request was created, and how the promotion stands.
    pub(super) fn promote(&mut self, repository: &str, key: &Key) -> (bool, Done) {
        let url = || format!("https://{repository}/{}/{}/{}", key.environment, key.revision, key.sequence);
        if let Some(pull) = self.pulls.iter_mut().find(|pull| pull.repository == repository && pull.key == *key) {
            pull.orphan = false;
            let state = pull.state;
            if matches!(state, State::Open | State::Merged) {
                self.supersede(repository, key);
            }
            return match state {
                State::Open => (false, Done::Open { url: url(), held_up: None }),
                State::Merged => (false, Done::Merged { url: url() }),
                State::ClosedByPerson | State::ClosedByUs => (false, Done::Closed { url: url() }),
            };
        }
        self.supersede(repository, key);
        let base = self.bases.get(&(repository.to_owned(), key.environment.clone()));
        if base == Some(&key.revision) {
            return (false, Done::AlreadyApplied);
        }
        let pull = Pull { repository: repository.to_owned(), key: key.clone(), state: State::Open, orphan: false };
        self.pulls.push(pull);
        (true, Done::Open { url: url(), held_up: None })
    }

    pub(super) fn is_closed_by_us(&self, repository: &str, key: &Key) -> bool {
        let mut pulls = self.pulls.iter().filter(|pull| pull.repository == repository && pull.key == *key);
        pulls.any(|pull| pull.state == State::ClosedByUs)
    }

    /// As promote-pr does it: all of the environment's pull requests are closed.
    pub(super) fn withdraw(&mut self, repository: &str, environment: &str) {
        self.close(repository, environment, None);
    }

    fn supersede(&mut self, repository: &str, by: &Key) {
        self.close(repository, &by.environment, Some(by));
    }

    fn close(&mut self, repository: &str, environment: &str, but: Option<&Key>) {
        let concerned = self.pulls.iter_mut().filter(|pull| {
            pull.state == State::Open && pull.repository == repository && pull.key.environment == environment
        });
        concerned.filter(|pull| but != Some(&pull.key)).for_each(|pull| pull.state = State::ClosedByUs);
    }

    pub(super) fn merge(&mut self, index: usize) {
        let Some(pull) = self.pulls.get_mut(index).filter(|pull| pull.state == State::Open) else { return };
        pull.state = State::Merged;
        self.bases.insert((pull.repository.clone(), pull.key.environment.clone()), pull.key.revision.clone());
    }

    /// The open pull requests that somebody looks after, of one environment.
    pub(super) fn followed(&self, environment: &str) -> Vec<&Pull> {
        let open = self.pulls.iter().filter(|pull| pull.state == State::Open && !pull.orphan);
        open.filter(|pull| pull.key.environment == environment).collect()
    }
}
