//! What promotions cost, told as it happens.

use std::fmt::Debug;
use std::time::Duration;

use crate::host::Provider;

/// Is told what promotions cost, for metrics; see [`Options::observer`](crate::Options::observer). It must not block.
pub trait Observer: Debug + Send + Sync {
    /// An operation on a repository ended.
    fn git(&self, operation: &GitOperation<'_>);

    /// A request to a host's API waited for its turn.
    fn turn(&self, turn: &Turn<'_>);

    /// It is known which software serves the repositories at this host and port.
    fn provider(&self, host: &str, provider: Provider);
}

/// One conversation with a repository's server, and what was done with what it sent.
#[derive(Clone, Copy, Debug)]
pub struct GitOperation<'a> {
    /// Host and port of the repository; it comes from whoever names the repository.
    pub host: &'a str,
    /// Over SSH, and not over HTTP.
    pub ssh: bool,
    /// What it was for.
    pub action: GitAction,
    /// Whether it was done.
    pub done: bool,
    /// How long it took, with the wait for others that want the same repository.
    pub elapsed: Duration,
    /// Bytes that were sent, beneath compression and encryption of the connection.
    pub sent: u64,
    /// Bytes that came, as [`GitOperation::sent`].
    pub received: u64,
    /// What the cache was good for, where the content of a commit was wanted.
    pub cache: Option<CacheUse>,
}

/// What an operation on a repository is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GitAction {
    /// The tip of a branch is wanted.
    Fetch,
    /// The names of branches are wanted.
    List,
    /// A branch is written or deleted.
    Push,
}

/// What the cache of a repository was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheUse {
    /// The commit was there.
    Hit,
    /// Somebody else asked for the same at the same moment, and got it.
    Shared,
    /// What the cache lacked was fetched.
    Updated,
    /// The cache was empty or of no use: all was fetched.
    Filled,
}

/// A request's wait for its turn in the budget of its credential.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Host and port of the API.
    pub host: &'a str,
    /// How long it waited.
    pub waited: Duration,
    /// Whether it got its turn; otherwise it was not sent, and is tried again later.
    pub granted: bool,
}

/// What a host told last about the requests that one credential may send in its present window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Host and port of the API.
    pub host: String,
    /// Whether it counts GraphQL, which GitHub counts apart.
    pub graphql: bool,
    /// Requests in the window.
    pub limit: u64,
    /// Requests that are left of it.
    pub remaining: u64,
}

impl GitAction {
    /// All actions.
    pub const ALL: [Self; 3] = [Self::Fetch, Self::List, Self::Push];

    /// Its name in metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::List => "list",
            Self::Push => "push",
        }
    }
}

impl CacheUse {
    /// All uses.
    pub const ALL: [Self; 4] = [Self::Hit, Self::Shared, Self::Updated, Self::Filled];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Shared => "shared",
            Self::Updated => "updated",
            Self::Filled => "filled",
        }
    }
}
