//! The one suite that every store passes: what the verbs of [`Store`] promise, a case for each promise.
//!
//! A backend shows where its stores live ([`House`]) and writes one line, [`store_conformance!`](crate::store_conformance);
//! each case becomes a test with a name of its own, on a store of its own. There is no way to skip one.

mod accept;
mod admission;
mod claim;
mod concerns;
mod configuration;
mod delivery_log;
mod digests;
mod due;
mod event_log;
mod history;
mod holding;
mod instance;
mod leases;
mod let_go;
mod lifecycle;
mod order;
mod recover;
mod resend;
mod samples;
mod settle;
mod tenancy;
mod tests_of_channels;
mod watching_follow;
mod watching_incidents;
mod watching_keeping;
mod watching_pruning;
mod watching_settings;
mod watching_told;
mod watching_world;
mod world;

use std::sync::Arc;

use async_trait::async_trait;

use crate::Store;
use world::World;

/// Where a store lives.
#[async_trait]
pub trait House: Send + Sync + 'static {
    /// Opens its store: empty the first time, later with all that it answered for. The one opened before was closed
    /// or dropped.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Makes the cases public and [`store_conformance!`](crate::store_conformance) out of one list, which none can escape:
/// a case that is not listed is dead code. The first token is a dollar sign, for the macro within.
macro_rules! suite {
    ($d:tt $($room:ident { $($case:ident)+ })+) => {
        $($(
            #[doc = concat!("A case of `", stringify!($room), "`.")]
            pub async fn $case(house: impl House) {
                $room::$case(World::open(Arc::new(house)).await).await;
            }
        )+)+

        /// One test for each case of the suite. Takes an expression that makes a new house.
        #[macro_export]
        macro_rules! store_conformance {
            ($d house:expr) => {
                $(mod $room {
                    use super::*;
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $case() {
                            $d crate::conformance::$case($d house).await;
                        }
                    )+
                })+
            };
        }
    };
}

suite! { $
    instance {
        a_workspace_reads_back_with_its_keys
        a_taken_slug_is_refused
        a_key_added_twice_is_there_once
        a_key_of_no_workspace_is_refused
        a_deleted_key_is_gone_and_no_other
        the_instance_key_is_set_once
        a_ready_store_says_so
    }
    configuration {
        rules_and_channels_read_back
        a_rule_is_made_once
        a_channel_is_made_once
        an_edit_needs_the_revision_it_was_made_from
        an_edit_of_what_is_gone_is_not_found
        an_edited_channel_keeps_its_connectivity
        a_channel_in_use_is_not_deleted
        a_rule_needs_its_channel
        a_change_is_all_or_nothing
        a_change_is_applied_in_order
        the_version_rises_once_a_change
        rules_and_channels_come_oldest_first
    }
    tenancy {
        configuration_is_its_own
        a_stranger_edits_nothing
        a_stranger_deletes_nothing
        a_rule_cannot_name_a_strangers_channel
        the_log_is_its_own
        a_stranger_settles_nothing
        a_stranger_resends_nothing
        a_stranger_records_no_test
    }
    accept {
        every_fact_reads_back
        an_event_of_few_facts_reads_back
        deliveries_begin_as_told
        a_duplicate_answers_what_the_first_did
        a_duplicate_within_one_batch_counts_once
        a_batch_is_all_or_nothing
        a_refused_batch_costs_nobody_else
        every_part_of_the_key_tells_events_apart
        the_same_key_in_two_workspaces_is_two_events
        fifty_at_once_make_one_event
        an_event_without_deliveries_is_kept
        an_empty_batch_is_nothing
    }
    claim {
        a_claimed_delivery_carries_all_that_sending_needs
        the_oldest_come_first
        each_channel_has_its_own_limit
        nothing_is_claimed_before_it_is_due
        what_is_leased_is_left_alone_until_the_lease_ends
        what_is_accepted_leased_is_left_alone_until_the_lease_ends
        two_at_once_never_claim_the_same
        a_channel_named_twice_gives_each_delivery_once
    }
    settle {
        a_sent_delivery_is_done
        a_failed_delivery_is_done
        a_retry_waits_for_its_instant
        another_owner_is_stale
        another_attempt_number_is_stale
        a_second_settlement_is_stale
        a_stale_settlement_changes_nothing
        a_suppressed_delivery_keeps_every_walk
        a_skipped_delivery_says_why
        a_delivery_is_not_done_with_an_open_status
        many_at_once_are_all_written
    }
    admission {
        a_full_limit_holds_until_there_is_room
        a_limit_that_drops_suppresses
        nothing_overtakes_what_waits
        what_waits_is_waited_for_until_it_may_go
        only_what_is_to_be_sent_is_counted
        a_refusal_is_in_counts_and_in_what_is_withheld
        an_admitted_lease_is_a_lease
        what_is_not_accepted_takes_no_room
        many_at_once_share_what_room_there_is
        one_request_shares_what_room_there_is
        what_is_foreseen_takes_no_room
        admissions_survive_a_restart
    }
    order {
        what_comes_after_waits_for_the_end
        a_retry_keeps_it_waiting
        a_chain_goes_one_by_one
        one_that_is_settled_or_held_is_not_waited_for
        what_is_stopped_does_not_wait
        one_of_the_same_request_is_waited_for
        a_release_keeps_it_waiting
        waiting_survives_a_restart
    }
    holding {
        what_is_held_is_in_the_log_and_not_due
        every_channel_says_when_its_first_may_go
        what_is_held_back_comes_as_it_was_accepted
        what_is_held_back_comes_in_the_order_of_events
        only_what_the_channel_holds_is_held_back
        a_delivery_is_held_when_it_comes_up
        what_is_held_has_an_instant
        holds_survive_a_restart
    }
    let_go {
        singles_are_due_now
        singles_go_as_far_as_the_limit_admits
        what_is_stopped_is_settled_or_held_anew
        what_is_not_held_any_more_is_left_as_it_is
        a_single_waits_for_what_goes_before_it
        singles_of_an_incident_go_one_after_the_other
        what_comes_next_waits_for_what_was_let_go_last
        a_stranger_lets_nothing_go
        a_release_is_all_or_nothing
    }
    digests {
        a_digest_carries_what_is_held
        what_a_digest_carries_ends_as_it_does
        what_is_carried_stays_held_until_then
        what_failed_with_a_digest_is_sent_with_it
        a_digest_takes_one_place
        a_digest_that_the_limit_refuses_is_not_made
        what_comes_after_a_carried_one_waits_for_its_digest
        a_large_digest_is_one_release
    }
    concerns {
        an_incident_counts_what_is_first_sent
        what_is_sent_again_counts_once
        a_digest_counts_for_every_incident_it_tells_of
        an_incident_that_changes_keeps_its_count
        what_is_said_late_is_said_once_an_occasion
        what_is_said_late_begins_like_any_other
    }
    leases {
        reclaim_leases_of_dead_owners_makes_them_due
        return_leases_named_only
        return_leases_without_lease_changes_nothing
        return_leases_of_another_owner_changes_nothing
        settle_after_return_is_stale
    }
    due {
        an_idle_store_has_nothing_due
        every_channel_says_its_earliest
        a_leased_delivery_is_due_when_its_lease_ends
        a_settled_delivery_is_not_due
    }
    resend {
        a_sent_or_failed_delivery_is_sent_again
        what_was_not_tried_or_is_under_way_is_not_resent
        a_resend_restarts_the_policy_and_not_the_numbers
        a_test_is_not_resent
        what_has_no_rule_is_resent_one_by_one
    }
    recover {
        without_a_limit_it_only_counts
        the_longest_failed_come_first
        only_failures_since_then
        only_of_rules_that_are_on
        only_of_this_channel
        no_tests
    }
    tests_of_channels {
        a_test_is_in_the_log_with_its_attempt
        a_test_sets_connectivity
        a_failed_test_keeps_the_last_success
        a_test_raises_the_version
        a_test_is_no_run_and_never_due
        a_test_of_no_channel_leaves_nothing
    }
    event_log {
        events_come_newest_first
        pages_of_events_have_no_gaps
        every_event_filter_filters
    }
    delivery_log {
        deliveries_come_newest_first
        pages_of_deliveries_have_no_gaps
        pages_about_one_resource_have_no_gaps
        every_delivery_filter_filters
        attempts_come_if_asked_for
        text_is_taken_literally
        text_is_found_whatever_its_case
        text_is_looked_for_in_four_places
        text_is_looked_for_in_the_names_of_incidents
    }
    watching_settings {
        endpoints_read_back
        an_endpoint_is_made_once
        an_edit_of_an_endpoint_needs_its_revision
        only_endpoints_written_since_are_read
        an_endpoint_in_use_is_not_deleted
        a_deleted_endpoint_takes_with_it_what_hangs_on_it
        mutes_read_back_and_are_deleted
        a_mute_needs_its_target
        a_deleted_channel_takes_its_mutes
        doors_read_back_and_are_deleted
        two_doors_never_have_the_same_secret
        preferences_read_back
        a_stranger_touches_none_of_it
    }
    watching_follow {
        a_check_and_a_state_read_back
        every_kind_of_check_reads_back
        a_check_told_again_changes_nothing
        a_state_needs_the_revision_before
        a_refused_check_takes_nobody_with_it
        checks_come_newest_first
        nothing_follows_for_an_endpoint_that_is_gone
        a_check_leaves_the_version
        checks_and_states_survive
        a_stranger_follows_nothing
        a_closed_store_refuses_to_watch
    }
    watching_incidents {
        an_incident_reads_back_with_its_timeline
        a_subject_has_one_active_incident
        an_incident_needs_the_revision_before
        what_was_sent_is_left_alone
        a_refused_following_leaves_nothing
        a_timeline_goes_on_in_its_order
        a_long_timeline_keeps_what_matters
        incidents_come_newest_first
        every_incident_filter_filters
        active_incidents_are_those_of_everybody
        ended_mutes_are_gone_and_everybody_hears_of_it
        a_stranger_sees_and_changes_no_incident
        of_two_that_open_at_once_one_does
    }
    watching_told {
        events_are_accepted_with_it_and_told_late
        what_was_told_is_found
        what_was_told_says_until_when_it_is_held_and_what_carries_it
    }
    watching_keeping {
        hours_and_days_are_what_their_checks_came_to
        each_hour_is_summarised_once
        an_hour_stays_open_for_a_little_and_no_longer
        summaries_are_listed_by_time
        what_is_pruned_was_summarised_before
        a_clock_that_was_ahead_is_got_over
    }
    watching_pruning {
        old_events_are_pruned_and_nothing_else
        the_rows_that_were_pruned_are_counted
        what_is_unsettled_is_kept_with_its_event
        an_incident_outlives_its_events
        old_checks_are_pruned
        no_more_checks_than_so_many_are_kept
        old_hours_are_pruned_and_days_are_not
        mutes_are_pruned_a_day_after_they_expired
        what_a_limit_admitted_is_forgotten_when_it_no_longer_counts
    }
    history {
        no_history_loses_or_doubles_a_delivery
    }
    lifecycle {
        a_closed_store_refuses_every_verb
        a_store_may_be_closed_twice
        everything_is_there_after_reopening
        a_caller_that_goes_away_disturbs_nobody
    }
}
