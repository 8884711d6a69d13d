//! Revisions on their way through the environments.

use crate::scenario::scenarios;

scenarios! {
    fn a_revision_goes_through_three_environments_by_pull_request() { "
        given dev staging prod at 6.0.0 by github
        then  Ready says every environment is at 6.0.0
        when  dev is at 6.1.0
        then  staging promotes 6.1.0 Open
        then  prod has no promotion
        when  pull request staging/6.1.0 is merged
        then  staging promotes 6.1.0 Delivered
        when  staging is at 6.1.0
        then  staging promotes 6.1.0 Succeeded
        then  prod promotes 6.1.0 Open
        when  pull request prod/6.1.0 is merged
        then  prod promotes 6.1.0 Delivered
        when  prod is at 6.1.0
        then  prod promotes 6.1.0 Succeeded
        then  Ready says every environment is at 6.1.0
        then  pulls staging/6.1.0 merged, prod/6.1.0 merged
        then  branches 1
    " }

    fn a_revision_goes_through_three_environments_on_gitea() { "
        given dev staging prod at 6.0.0 by gitea
        when  dev is at 6.1.0
        then  staging promotes 6.1.0 Open
        when  pull request staging/6.1.0 is merged
        then  staging promotes 6.1.0 Delivered
        when  staging is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  pull request prod/6.1.0 is merged
        then  prod promotes 6.1.0 Delivered
        when  prod is at 6.1.0
        then  Ready says every environment is at 6.1.0
    " }

    fn a_revision_goes_through_three_environments_by_webhook() { "
        given dev staging prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  staging promotes 6.1.0 Delivered
        then  received 1
        when  staging is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        then  received 2
        when  prod is at 6.1.0
        then  Ready says every environment is at 6.1.0
        then  received 2
        then  it stays so
    " }

    fn a_second_revision_follows_the_first() { "
        given dev prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        when  prod is at 6.1.0
        then  prod promotes 6.1.0 Succeeded
        when  dev is at 6.2.0
        then  prod promotes 6.2.0 Delivered
        then  prod remembers 6.1.0 Succeeded
        when  prod is at 6.2.0
        then  prod promotes 6.2.0 Succeeded
        then  received 2
    " }

    fn nothing_is_promoted_when_all_environments_agree() { "
        given dev staging prod at 6.0.0 by github
        then  Ready says every environment is at 6.0.0
        then  staging has no promotion
        then  prod has no promotion
        then  pulls none
        then  it stays so
    " }

    fn targets_of_the_first_environment_have_to_agree() { "
        given dev*2 prod at 6.0.0 by webhook
        when  dev target 0 is at 6.1.0
        then  PromotionPending is True EnvironmentNotReady
        then  PromotionPending says different revisions
        then  received 0
        then  it stays so
        when  dev target 1 is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        then  no PromotionPending
    " }

    fn targets_that_agree_have_to_be_ready_too() { "
        given dev*2 prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        when  dev target 1 fails
        then  PromotionPending is True EnvironmentNotReady
        then  prod promotes 6.1.0 Delivered
    " }

    fn any_ready_target_is_enough_where_the_environment_says_so() { "
        given dev*2 prod*2 at 6.0.0 by webhook
        when  each environment is promoted when any target is ready
        when  dev target 0 is at 6.1.0
        then  PromotionPending says different revisions
        when  dev target 1 is gone
        then  prod promotes 6.1.0 Delivered
        when  prod target 1 is at 6.1.0
        then  prod promotes 6.1.0 Succeeded
    " }

    fn a_later_environment_waits_until_all_its_targets_are_ready() { "
        given dev staging*2 prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  staging promotes 6.1.0 Delivered
        when  staging target 0 is at 6.1.0
        then  staging expects 6.1.0
        then  prod has no promotion
        then  received 1
        then  it stays so
        when  staging target 1 is at 6.1.0
        then  staging promotes 6.1.0 Succeeded
        then  prod promotes 6.1.0 Delivered
    " }

    fn an_environment_that_fails_at_the_revision_holds_the_next_one() { "
        given dev staging prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  staging promotes 6.1.0 Delivered
        when  staging is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        when  staging fails
        when  dev is at 6.2.0
        then  staging promotes 6.2.0 Delivered
        then  prod promotes 6.1.0 Delivered
        then  received 3
        then  it stays so
    " }

    fn a_newer_revision_supersedes_an_open_pull_request() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  dev is at 6.2.0
        then  prod promotes 6.2.0 Open
        then  prod remembers 6.1.0 Superseded
        then  pulls prod/6.1.0 closed, prod/6.2.0 open
        then  branches 2
        then  it stays so
    " }

    fn a_newer_revision_stops_the_retries_of_an_older_webhook() { "
        given dev prod at 6.0.0 by webhook
        when  the receiver answers 503
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Pending
        then  Ready is False PromotionFailed
        when  dev is at 6.2.0
        then  prod promotes 6.2.0 Delivered
        then  prod remembers 6.1.0 Superseded
        then  received 2
        then  it stays so
    " }

    fn a_superseded_revision_that_returns_gets_a_new_pull_request() { "
        given dev prod at 6.0.0 by github with {\"allowDowngrade\": true}
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  dev is at 6.2.0
        then  prod promotes 6.2.0 Open
        when  dev is at 6.1.0
        then  prod promotes 6.1.0#2 Open
        then  pulls prod/6.1.0 closed, prod/6.2.0 closed, prod/6.1.0 open
        then  it stays so
    " }

    fn a_rollback_in_dev_is_not_promoted() { "
        given dev prod at 6.1.0 by webhook
        when  dev is at 6.0.0
        then  Ready is True DowngradeNotAllowed
        then  Ready says 6.0.0 is older than 6.1.0
        then  received 0
        then  it stays so
    " }

    fn a_rollback_in_dev_is_promoted_where_it_may() { "
        given dev prod at 6.1.0 by webhook with {\"allowDowngrade\": true}
        when  dev is at 6.0.0
        then  prod promotes 6.0.0 Delivered
        when  prod is at 6.0.0
        then  Ready says every environment is at 6.0.0
    " }

    fn a_rollback_in_dev_closes_the_pull_request_of_what_was_rolled_back() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  dev is at 6.0.0
        then  prod promotes 6.1.0 Superseded
        then  pulls prod/6.1.0 closed
        then  branches 1
        then  Ready says every environment is at 6.0.0
        then  event PromotionWithdrawn once
        then  it stays so
    " }

    fn a_rollback_that_is_taken_back_is_promoted_anew() { "
        given dev prod at 6.0.0 by gitea
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  dev is at 6.0.0
        then  prod promotes 6.1.0 Superseded
        when  dev is at 6.1.0
        then  prod promotes 6.1.0#2 Open
        then  pulls prod/6.1.0 closed, prod/6.1.0 open
    " }

    fn an_environment_that_was_brought_there_by_hand_is_taken_as_it_is() { "
        given dev staging prod at 6.0.0 by webhook
        when  staging is at 6.1.0
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        then  received 1
    " }

    fn an_environment_that_was_taken_back_by_hand_is_left_there() { "
        given dev prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        when  prod is at 6.1.0
        then  prod promotes 6.1.0 Succeeded
        when  prod is at 6.0.0
        then  Ready says has left it since
        then  received 1
        then  it stays so
    " }

    fn what_the_base_branch_has_already_makes_no_pull_request() { "
        given dev prod at 6.0.0 by github
        when  base of prod is at 6.1.0
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 AlreadyApplied
        then  prod expects 6.1.0
        then  pulls none
        then  branches 1
    " }

    fn what_the_base_branch_has_already_makes_no_pull_request_on_gitea() { "
        given dev prod at 6.0.0 by gitea
        when  base of prod is at 6.1.0
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 AlreadyApplied
        then  pulls none
        then  branches 1
    " }

    fn a_promotion_is_remembered_over_a_restart() { "
        given dev prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        when  the controller restarts
        then  prod promotes 6.1.0 Delivered
        then  received 1
        then  it stays so
    " }

    fn what_happened_while_the_controller_was_away_is_made_up_for() { "
        given dev prod at 6.0.0 by github
        when  the controller dies
        when  dev is at 6.1.0
        when  dev is at 6.2.0
        when  the controller restarts
        then  prod promotes 6.2.0 Open
        then  pulls prod/6.2.0 open
    " }

    fn a_merge_while_the_controller_was_away_is_noticed() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  the controller dies
        when  pull request prod/6.1.0 is merged
        when  prod is at 6.1.0
        when  the controller restarts
        then  prod promotes 6.1.0 Succeeded
        then  branches 1
    " }
}
