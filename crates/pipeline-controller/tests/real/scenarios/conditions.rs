//! What people and tools are told.

use crate::scenario::scenarios;

scenarios! {
    fn an_open_pull_request_is_ready_and_says_what_it_waits_for() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  Ready is True PullRequestOpen
        then  Ready says waits for the merge of
        then  no Reconciling
        then  no Stalled
        then  kubectl waits for Ready
    " }

    fn a_closed_pull_request_is_told_and_not_opened_again() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  pull request prod/6.1.0 is closed
        then  prod promotes 6.1.0 Closed
        then  Ready is True PullRequestClosed
        then  event PullRequestClosed once
        then  pulls prod/6.1.0 closed
        then  it stays so
    " }

    fn a_pull_request_that_a_person_closed_stays_closed() { "
        given dev prod at 6.0.0 by gitea
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  pull request prod/6.1.0 is closed
        then  prod promotes 6.1.0 Closed
        then  Ready is True PullRequestClosed
        when  the controller restarts
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Closed
        then  pulls prod/6.1.0 closed
        then  it stays so
    " }

    fn nothing_happens_while_dev_is_not_ready() { "
        given dev prod at 6.0.0 by gitea
        when  dev fails
        then  PromotionPending is True EnvironmentNotReady
        then  prod has no promotion
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        then  no PromotionPending
    " }

    fn a_closed_pull_request_is_opened_anew_when_somebody_asks() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  pull request prod/6.1.0 is closed
        then  prod promotes 6.1.0 Closed
        when  a look is asked for now
        then  prod promotes 6.1.0#2 Open
        then  prod remembers 6.1.0 Closed
        then  pulls prod/6.1.0 closed, prod/6.1.0 open
    " }

    fn a_newer_revision_is_promoted_after_one_that_a_person_closed() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  pull request prod/6.1.0 is closed
        then  prod promotes 6.1.0 Closed
        when  dev is at 6.2.0
        then  prod promotes 6.2.0 Open
        then  prod remembers 6.1.0 Closed
    " }

    fn what_does_not_arrive_in_time_is_stalled() { "
        given dev prod at 6.0.0 by webhook with {\"progressDeadline\": \"2s\"}
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        then  prod expects 6.1.0
        then  Ready is False EnvironmentNotProgressing
        then  Ready says prod: 6.1.0 was delivered and is not ready after
        then  Stalled is True EnvironmentNotProgressing
        then  event EnvironmentNotProgressing once
        when  prod is at 6.1.0
        then  Ready is True ReconciliationSucceeded
        then  no Stalled
        then  prod expects nothing
    " }

    fn an_environment_that_hangs_half_way_is_stalled() { "
        given dev prod*2 at 6.0.0 by webhook with {\"progressDeadline\": \"2s\"}
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        when  prod target 0 is at 6.1.0
        then  Stalled is True EnvironmentNotProgressing
        when  prod target 1 is at 6.1.0
        then  no Stalled
    " }

    fn a_first_environment_that_fails_holds_everything() { "
        given dev prod at 6.0.0 by webhook
        when  dev fails
        then  PromotionPending is True EnvironmentNotReady
        then  PromotionPending says no such chart
        then  Ready is True ReconciliationSucceeded
        when  dev is at 6.1.0
        then  no PromotionPending
        then  prod promotes 6.1.0 Delivered
    " }

    fn a_suspended_application_holds_everything() { "
        given dev prod at 6.0.0 by webhook
        when  dev is suspended
        then  PromotionPending is True EnvironmentNotReady
        then  PromotionPending says is suspended
    " }

    fn an_application_that_is_gone_is_told_and_waited_for() { "
        given dev prod at 6.0.0 by webhook
        when  dev is gone
        then  Ready is False TargetNotReadable
        then  event TargetNotReadable
        then  received 0
    " }

    fn an_application_that_is_gone_downstream_is_told_too() { "
        given dev prod at 6.0.0 by webhook
        when  prod is gone
        then  Ready is False TargetNotReadable
        then  Ready says prod
    " }

    fn a_failing_host_is_reconciling_until_it_is_stalled() { "
        given dev prod at 6.0.0 by github
        when  the host answers 502 2 times
        when  dev is at 6.1.0
        then  Ready is False PromotionFailed
        then  Reconciling is True Progressing
        then  prod promotes 6.1.0 Open
        then  no Reconciling
        then  event PullRequestOpened once
    " }

    fn a_host_that_keeps_failing_is_stalled_and_still_tried() { "
        given dev prod at 6.0.0 by github
        when  the host answers 502 4 times
        when  dev is at 6.1.0
        then  Stalled is True PromotionFailed
        then  no Reconciling
        then  prod promotes 6.1.0 Open
        then  no Stalled
    " }

    fn a_wrong_token_is_stalled_until_it_is_mended() { "
        given dev prod at 6.0.0 by github
        when  the token is wrong
        when  dev is at 6.1.0
        then  Stalled is True PromotionFailed
        then  prod message holds 401
        then  prod promotes 6.1.0 Failed
        when  the secret is back
        then  prod promotes 6.1.0 Open
        then  no Stalled
    " }

    fn a_secret_that_is_deleted_and_restored_is_waited_for() { "
        given dev prod at 6.0.0 by github
        when  the secret is gone
        when  dev is at 6.1.0
        then  Ready is False PromotionFailed
        then  prod message holds fleet
        when  the secret is back
        then  prod promotes 6.1.0 Open
        then  Ready is True PullRequestOpen
    " }

    fn a_refused_event_is_final() { "
        given dev prod at 6.0.0 by webhook
        when  the receiver answers 400
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Failed
        then  Stalled is True PromotionFailed
        then  received 1
        then  it stays so
        when  a look is asked for now
        then  prod promotes 6.1.0 Delivered
        then  received 2
    " }

    fn a_list_of_pipelines_says_how_they_are() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        then  it is listed with HelmRelease
        then  it is listed with PullRequestOpen
        then  it is listed with waits for the merge of
    " }

    fn every_transition_is_told_once() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  pull request prod/6.1.0 is merged
        then  prod promotes 6.1.0 Delivered
        when  prod is at 6.1.0
        then  prod promotes 6.1.0 Succeeded
        when  the controller restarts
        then  event PromotionStarted once
        then  event PullRequestOpened once
        then  event PullRequestMerged once
        then  event PromotionSucceeded once
        then  it stays so
    " }
}
