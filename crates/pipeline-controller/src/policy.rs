//! How often things are looked at and tried again.

use std::time::Duration;

use crate::args::Args;

/// What `decide` and `conclude` need to know of the flags.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Between two looks at an open pull request.
    pub pull_request_interval: Duration,
    /// Before the second try of a pull request promotion; doubles with each further one.
    pub retry_delay: Duration,
    /// The longest time between two tries.
    pub retry_max_delay: Duration,
    /// Failed tries after which a person is asked to look.
    pub retry_threshold: u32,
    /// Between two looks at a pipeline that nothing wakes.
    pub resync: Duration,
    /// Between two looks at a pipeline with a target that could not be read.
    pub unreadable: Duration,
}

impl Policy {
    pub fn new(args: &Args) -> Self {
        Self {
            pull_request_interval: args.pull_request_interval,
            retry_delay: args.promotion_retry_delay,
            retry_max_delay: args.promotion_retry_max_delay,
            retry_threshold: args.promotion_retry_threshold,
            resync: Duration::from_secs(600),
            unreadable: Duration::from_secs(30),
        }
    }

    /// Time before the next try after `failures` of them: exponential, capped.
    pub fn backoff(&self, failures: u32) -> Duration {
        let factor = 2_u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.retry_delay.checked_mul(factor).map_or(self.retry_max_delay, |delay| delay.min(self.retry_max_delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_the_cap() {
        let policy = Policy {
            pull_request_interval: Duration::from_secs(30),
            retry_delay: Duration::from_secs(2),
            retry_max_delay: Duration::from_secs(60),
            retry_threshold: 8,
            resync: Duration::from_secs(600),
            unreadable: Duration::from_secs(30),
        };
        let seconds: Vec<u64> = [0, 1, 2, 3, 5, 6, 40, u32::MAX].map(|n| policy.backoff(n).as_secs()).to_vec();
        assert_eq!(seconds, [2, 2, 4, 8, 32, 60, 60, 60]);
    }
}
