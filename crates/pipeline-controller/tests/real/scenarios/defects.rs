//! Defects of the first pipeline-controller, each named after what must not happen again.

use crate::scenario::scenarios;

scenarios! {
    /// It passed the pipeline's promotion on even where the environment had its own, and crashed where only the environment had one.
    fn a_promotion_that_only_the_environment_has_is_used() { "
        given dev prod at 6.0.0 by github
        when  only prod has the promotion
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        then  pulls prod/6.1.0 open
    " }

    /// It ignored `manual`, and wiped what waited with every reconcile.
    fn what_waits_for_approval_outlives_every_reconcile() { "
        given dev prod at 6.0.0 by github with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  a look is asked for now
        when  dev is at 6.1.0
        when  the controller restarts
        then  prod waits for 6.1.0
        then  pulls none
        then  it stays so
    " }

    /// It opened the pull request again that a person had closed, with each reconcile.
    fn each_reconcile_does_not_promote_again() { "
        given dev prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        when  dev is at 6.1.0
        when  spec {\"progressDeadline\": \"1h\"}
        when  the controller restarts
        then  received 1
        then  it stays so
    " }

    /// It read a field that HelmRelease v2 no longer has: the fixture writes `status.history` only.
    fn a_release_without_last_applied_revision_is_understood() { "
        given dev prod at 6.0.0 by webhook
        then  dev has target 0 at 6.0.0
        then  prod has target 0 at 6.0.0
    " }

    /// Any target at the revision made it stop for ever, without a word.
    fn half_an_environment_is_not_silence() { "
        given dev prod*2 at 6.0.0 by webhook with {\"progressDeadline\": \"2s\"}
        when  prod target 0 is at 6.1.0
        when  dev is at 6.1.0
        then  prod expects 6.1.0
        then  Ready is False EnvironmentNotProgressing
        then  received 0
    " }

    /// It took an environment without targets for one that has everything.
    fn an_environment_without_targets_lets_nothing_pass() { "
        given dev prod at 6.0.0 by webhook
        when  environments dev empty*0 prod
        when  dev is at 6.1.0
        then  Ready says empty: environment has no targets
        then  prod has no promotion
        then  received 0
        then  it stays so
    " }

    /// It promoted an older revision from dev as if it were a new one.
    fn a_rollback_in_dev_is_no_news_for_prod() { "
        given dev prod at 6.1.0 by github
        when  dev is at 6.0.0
        then  Ready is True DowngradeNotAllowed
        then  pulls none
        then  it stays so
    " }

    /// It trusted an event that carried the revision of an upgrade that had failed.
    fn a_failed_upgrade_is_not_promoted() { "
        given dev prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        when  dev fails
        then  PromotionPending is True EnvironmentNotReady
        then  received 1
        then  it stays so
    " }

    /// It emitted an Event with each reconcile.
    fn reconciles_that_change_nothing_tell_nothing() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  a look is asked for now
        when  a look is asked for later
        then  event PullRequestOpened once
        then  no event PromotionRetried
        then  it stays so
    " }

    /// A retry after a pull request could not be opened ended with `nothing to commit`.
    fn a_branch_without_a_pull_request_gets_one() { "
        given dev prod at 6.0.0 by github
        when  the host answers 502 3 times
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        then  pulls prod/6.1.0 open
        then  branches 2
    " }

    /// It kept its head branch for all revisions and never moved it onto the base.
    fn each_revision_starts_from_the_tip_of_the_base() { "
        given dev staging prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  staging promotes 6.1.0 Open
        when  base of prod is at 6.0.5
        when  dev is at 6.2.0
        then  staging promotes 6.2.0 Open
        when  pull request staging/6.2.0 is merged
        then  staging promotes 6.2.0 Delivered
        then  pulls staging/6.1.0 closed, staging/6.2.0 merged
    " }
}
