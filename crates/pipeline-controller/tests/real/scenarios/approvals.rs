//! Promotions that a person has to approve.

use crate::scenario::scenarios;

scenarios! {
    fn a_manual_promotion_waits_for_its_approval() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  prod promotes 6.1.0 AwaitingApproval
        then  prod waits for 6.1.0
        then  Ready is True WaitingForApproval
        then  event PromotionAwaitsApproval once
        then  received 0
        then  it stays so
    " }

    fn an_approval_by_annotation_releases_it() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  approved prod=6.1.0
        then  prod promotes 6.1.0 Delivered
        then  nothing waits
        then  received 1
        then  event PromotionApproved once
        then  it stays so
    " }

    fn the_approver_is_known_by_the_field_manager() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  approved prod=6.1.0
        then  prod promotes 6.1.0 Delivered
        then  prod was approved by kubectl-annotate
    " }

    fn the_approver_is_known_by_name_if_one_is_given() { "
        given dev prod at 6.0.0 by github with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  approver is ann@example.com
        when  approved prod=6.1.0
        then  prod promotes 6.1.0 Open
        then  prod was approved by ann@example.com
        when  pull request prod/6.1.0 is merged
        then  prod promotes 6.1.0 Delivered
        then  prod was approved by ann@example.com
    " }

    fn an_approval_of_another_revision_changes_nothing() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  approved prod=6.0.9
        then  event ApprovalRefused once
        then  prod waits for 6.1.0
        then  received 0
        then  it stays so
    " }

    fn an_approval_of_an_environment_that_is_not_there_is_told() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}}
        when  approved qa=6.1.0
        then  event ApprovalRefused once
    " }

    fn a_superseded_approval_never_applies() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}, \"allowDowngrade\": true}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  dev is at 6.2.0
        then  prod waits for 6.2.0
        when  approved prod=6.1.0
        then  event ApprovalRefused once
        then  prod waits for 6.2.0
        then  received 0
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        then  prod promotes 6.1.0#2 AwaitingApproval
        then  received 0
        then  it stays so
    " }

    fn an_approval_counts_for_one_promotion() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}, \"allowDowngrade\": true}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  approved prod=6.1.0
        then  prod promotes 6.1.0 Delivered
        when  prod is at 6.1.0
        then  prod promotes 6.1.0 Succeeded
        when  dev is at 6.2.0
        then  prod waits for 6.2.0
        when  dev is at 6.1.0
        then  prod promotes 6.2.0 Superseded
        when  prod is at 6.0.0
        then  prod waits for 6.1.0
        then  received 1
        then  it stays so
        when  approvals are taken away
        when  approved prod=6.1.0#2
        then  prod promotes 6.1.0#2 Delivered
    " }

    fn an_approval_in_advance_does_not_count() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}}
        when  approved prod=6.1.0
        then  event ApprovalRefused once
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        then  received 0
        then  it stays so
    " }

    fn several_environments_are_approved_each_in_its_turn() { "
        given dev staging prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  staging waits for 6.1.0
        when  approved staging=6.1.0
        then  staging promotes 6.1.0 Delivered
        when  staging is at 6.1.0
        then  prod waits for 6.1.0
        when  approved staging=6.1.0 prod=6.1.0
        then  prod promotes 6.1.0 Delivered
        then  received 2
    " }

    fn an_approval_survives_a_restart() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  the controller dies
        when  approved prod=6.1.0
        when  the controller restarts
        then  prod promotes 6.1.0 Delivered
        when  the controller restarts
        then  received 1
        then  it stays so
    " }

    fn a_waiting_revision_is_released_when_approvals_are_asked_for_no_more() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  spec {\"promotion\": {\"manual\": false}}
        then  prod promotes 6.1.0 Delivered
        then  nothing waits
    " }

    fn a_rolled_back_revision_waits_no_longer() { "
        given dev prod at 6.0.0 by webhook with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  dev is at 6.0.0
        then  nothing waits
        then  prod promotes 6.1.0 Superseded
        when  approved prod=6.1.0
        then  event ApprovalRefused once
        then  received 0
        then  it stays so
    " }

    fn an_open_pull_request_is_closed_before_a_newer_revision_waits() { "
        given dev prod at 6.0.0 by github with {\"promotion\": {\"manual\": true}}
        when  dev is at 6.1.0
        then  prod waits for 6.1.0
        when  approved prod=6.1.0
        then  prod promotes 6.1.0 Open
        when  dev is at 6.2.0
        then  prod waits for 6.2.0
        then  pulls prod/6.1.0 closed
        then  prod remembers 6.1.0 Superseded
    " }
}
