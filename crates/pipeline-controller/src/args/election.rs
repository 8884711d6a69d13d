//! Which of several processes does what.

use std::time::Duration;

use clap::ArgAction;

use crate::lease::Terms;
use crate::shard::{Shard, hash};

use super::duration;

/// Which of several processes does what.
#[derive(clap::Args, Clone, Debug)]
pub struct ElectionArgs {
    /// Act only while this process holds a Lease, so that several can run and one of them acts; without it, this process must be the
    /// only one
    #[arg(long, env = "PIPELINE_CONTROLLER_LEADER_ELECT", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL")]
    pub leader_elect: bool,

    /// Namespace of the Lease; without it, POD_NAMESPACE, the service account's and `default` are tried in this order
    #[arg(long, env = "PIPELINE_CONTROLLER_LEADER_ELECTION_NAMESPACE", value_name = "NAME")]
    pub leader_election_namespace: Option<String>,

    /// Time that others wait after they saw the Lease renewed last, before they take it
    #[arg(long, env = "PIPELINE_CONTROLLER_LEADER_ELECTION_LEASE_DURATION", default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub leader_election_lease_duration: Duration,

    /// Time after which this process acts no more, and ends, when it cannot renew the Lease
    #[arg(long, env = "PIPELINE_CONTROLLER_LEADER_ELECTION_RENEW_DEADLINE", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub leader_election_renew_deadline: Duration,

    /// Time between two looks at the Lease
    #[arg(long, env = "PIPELINE_CONTROLLER_LEADER_ELECTION_RETRY_PERIOD", default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub leader_election_retry_period: Duration,

    /// Labels of the Pipelines that are reconciled, as in `team=a,tier!=test`; without it, all of them
    #[arg(long, env = "PIPELINE_CONTROLLER_WATCH_LABEL_SELECTOR", value_name = "SELECTOR")]
    pub watch_label_selector: Option<String>,

    /// Part of the Pipelines that is reconciled, by a hash of namespace and name, as in 0/4; run one process, or with
    /// --leader-elect several, for each part
    #[arg(long, env = "PIPELINE_CONTROLLER_SHARD", value_name = "I/N")]
    pub shard: Option<Shard>,
}

impl ElectionArgs {
    /// For how long the Lease holds.
    ///
    /// # Errors
    /// The times do not fit together; the text names the flags.
    pub fn terms(&self) -> Result<Terms, String> {
        let duration = self.leader_election_lease_duration;
        let renew_deadline = self.leader_election_renew_deadline;
        let retry_period = self.leader_election_retry_period;
        if renew_deadline >= duration {
            return Err(format!(
                "--leader-election-renew-deadline {renew_deadline:?} must be shorter than --leader-election-lease-duration {duration:?}: \
                 in between, nobody acts"
            ));
        }
        if retry_period.saturating_mul(2) > renew_deadline {
            return Err(format!(
                "--leader-election-retry-period {retry_period:?} must be at most half of --leader-election-renew-deadline \
                 {renew_deadline:?}: one lost answer would end the leader"
            ));
        }
        Ok(Terms { duration, renew_deadline, retry_period })
    }

    /// The selector, if it selects anything.
    pub fn selector(&self) -> Option<&str> {
        self.watch_label_selector.as_deref().map(str::trim).filter(|selector| !selector.is_empty())
    }

    /// The name of the Lease: the same for processes that reconcile the same Pipelines, of which `namespace` is that of `--namespace`.
    pub fn lease_name(&self, namespace: Option<&str>) -> String {
        let mut name = "pipeline-controller".to_owned();
        if namespace.is_some() || self.selector().is_some() {
            let scope = format!("{}\n{}", namespace.unwrap_or_default(), self.selector().unwrap_or_default());
            name = format!("{name}-{:016x}", hash(scope.bytes()));
        }
        match self.shard {
            Some(Shard { index, of }) => format!("{name}-shard-{index}-of-{of}"),
            None => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::Args;

    fn parse(flags: &str) -> Args {
        Args::try_parse_from(["pipeline-controller"].into_iter().chain(flags.split_whitespace())).unwrap()
    }

    #[test]
    fn a_lease_for_each_set_of_pipelines() {
        let check = |flags: &str, expected: &str| {
            let args = parse(flags);
            assert_eq!(args.election.lease_name(args.namespace.as_deref()), expected, "{flags}");
        };
        check("", "pipeline-controller");
        check("--watch-label-selector=", "pipeline-controller");
        check("--shard 0/4", "pipeline-controller-shard-0-of-4");
        check("--watch-label-selector team=a", "pipeline-controller-01a2f71af865f79e");
        check("--watch-label-selector team=a --shard 1/2", "pipeline-controller-01a2f71af865f79e-shard-1-of-2");
        check("--namespace team-a", "pipeline-controller-421895d78622cbd4");
    }

    #[test]
    fn times_fit_together() {
        let check = |flags: &str, wrong: &str| {
            let told = parse(flags).election.terms().err().unwrap_or_default();
            assert!(told.contains(wrong) && told.is_empty() == wrong.is_empty(), "{flags}: {told}");
        };
        check("", "");
        check("--leader-election-renew-deadline 5s", "");
        check("--leader-election-renew-deadline 15s", "--leader-election-lease-duration 15s");
        check("--leader-election-lease-duration 3s", "--leader-election-renew-deadline 10s must be shorter");
        check("--leader-election-retry-period 6s", "--leader-election-retry-period 6s must be at most half");
    }
}
