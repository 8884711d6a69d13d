//! Pipelines that change, rest or go while promotions are under way.

use crate::scenario::scenarios;

scenarios! {
    fn a_suspended_pipeline_rests_and_goes_on_later() { "
        given dev prod at 6.0.0 by webhook with {\"suspend\": true}
        when  dev is at 6.1.0
        then  Ready is Unknown Suspended
        then  received 0
        then  it stays so
        when  spec {\"suspend\": false}
        then  prod promotes 6.1.0 Delivered
    " }

    fn a_suspended_pipeline_leaves_its_pull_request_open() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  spec {\"suspend\": true}
        then  Ready is Unknown Suspended
        when  dev is at 6.2.0
        then  pulls prod/6.1.0 open
        then  prod promotes 6.1.0 Open
        then  it stays so
    " }

    fn an_environment_that_is_added_gets_the_revision_in_its_turn() { "
        given dev prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Delivered
        when  prod is at 6.1.0
        then  prod promotes 6.1.0 Succeeded
        when  environments dev qa prod
        then  qa promotes 6.1.0 Delivered
        then  prod promotes 6.1.0 Succeeded
        then  received 2
    " }

    fn an_environment_that_is_removed_is_forgotten_and_the_next_one_served() { "
        given dev staging prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  staging promotes 6.1.0 Open
        when  environments dev prod
        then  prod promotes 6.1.0 Open
        then  staging has no promotion
        then  pulls staging/6.1.0 open, prod/6.1.0 open
    " }

    fn an_environment_that_is_removed_has_its_pull_request_closed_where_the_policy_says_so() { "
        given dev staging prod at 6.0.0 by github with {\"deletionPolicy\": \"Close\"}
        when  dev is at 6.1.0
        then  staging promotes 6.1.0 Open
        when  environments dev prod
        then  prod promotes 6.1.0 Open
        then  pulls staging/6.1.0 closed, prod/6.1.0 open
        then  staging has no promotion
    " }

    fn environments_that_change_places_are_served_in_their_new_order() { "
        given dev staging prod at 6.0.0 by webhook
        when  dev is at 6.1.0
        then  staging promotes 6.1.0 Delivered
        when  environments dev prod staging
        then  prod promotes 6.1.0 Delivered
        then  received 2
    " }

    fn a_pull_request_follows_its_promotion_to_another_repository() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  the repository moves
        then  pulls prod/6.1.0 closed
        then  prod promotes 6.1.0#2 Open
        then  prod remembers 6.1.0 Superseded
    " }

    fn a_promotion_by_webhook_takes_over_from_a_pull_request() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  spec {\"promotion\": {\"pullRequest\": null, \"webhook\": {\"url\": \"https://127.0.0.1:1/\"}}}
        then  pulls prod/6.1.0 closed
        then  prod promotes 6.1.0#2 Pending
        then  Ready is False PromotionFailed
    " }

    fn a_promotion_that_is_taken_out_leaves_its_pull_request_to_people() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  spec {\"promotion\": null}
        then  Ready is True NoPromotion
        then  prod promotes 6.1.0 Superseded
        then  pulls prod/6.1.0 open
        then  it stays so
    " }

    fn without_a_promotion_people_are_told_what_is_ready() { "
        given dev prod at 6.0.0 by hand
        when  dev is at 6.1.0
        then  Ready is True NoPromotion
        then  Ready says prod: 6.1.0 is ready to be promoted by hand
        then  prod has no promotion
    " }

    fn a_deleted_pipeline_leaves_its_pull_request_open() { "
        given dev prod at 6.0.0 by github
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        then  the finalizer is gone
        when  the pipeline is deleted
        then  the pipeline is gone
        then  pulls prod/6.1.0 open
    " }

    fn a_deleted_pipeline_closes_its_pull_request_where_the_policy_says_so() { "
        given dev prod at 6.0.0 by github with {\"deletionPolicy\": \"Close\"}
        then  the finalizer is gone
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        then  the finalizer is there
        when  the pipeline is deleted
        then  the pipeline is gone
        then  pulls prod/6.1.0 closed
        then  branches 1
    " }

    fn a_pipeline_is_held_only_while_something_is_open() { "
        given dev prod at 6.0.0 by gitea with {\"deletionPolicy\": \"Close\"}
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        then  the finalizer is there
        when  pull request prod/6.1.0 is merged
        then  prod promotes 6.1.0 Delivered
        then  the finalizer is gone
        when  the pipeline is deleted
        then  the pipeline is gone
    " }

    fn a_pipeline_can_be_deleted_though_its_pull_request_cannot_be_closed() { "
        given dev prod at 6.0.0 by github with {\"deletionPolicy\": \"Close\"}
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  the token is wrong
        when  the pipeline is deleted
        then  the pipeline is gone
        then  pulls prod/6.1.0 open
    " }

    fn a_deletion_while_the_controller_was_away_is_made_up_for() { "
        given dev prod at 6.0.0 by github with {\"deletionPolicy\": \"Close\"}
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        then  the finalizer is there
        when  the controller dies
        when  the pipeline is deleted
        when  the controller restarts
        then  the pipeline is gone
        then  pulls prod/6.1.0 closed
    " }

    fn a_pipeline_that_is_made_again_promotes_again() { "
        given dev prod at 6.0.0 by github with {\"deletionPolicy\": \"Close\"}
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 Open
        when  the pipeline is deleted
        then  the pipeline is gone
        then  pulls prod/6.1.0 closed
        when  the pipeline is made again
        then  prod promotes 6.1.0#2 Open
        then  pulls prod/6.1.0 closed, prod/6.1.0 open
    " }

    fn two_pipelines_that_promote_to_one_field_are_both_told() { "
        given dev prod at 6.0.0 by github
        when  another pipeline shares a field
        then  Conflicting is True FieldShared
        then  Conflicting says rival
        then  the rival is told
        when  the other pipeline is deleted
        then  no Conflicting
    " }
}
