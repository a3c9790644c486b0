//! The test suite that every backend passes: a case for each promise of [`Store`].
//!
//! A backend implements [`StoreFactory`] and writes one line, [`store_conformance!`](crate::store_conformance). Each
//! case becomes a test of its own, on a store of its own. No case can be skipped.
//!
//! `fixture` and `monitoring_fixture` set up the data of the cases, `samples` has values that need no store.

mod accept;
mod account_fixture;
mod activity;
mod audit;
mod claim;
mod configuration;
mod delivery_history;
mod digests;
mod due;
mod event_history;
mod fixture;
mod follow_ups;
mod held;
mod insights_activity;
mod insights_erasure;
mod insights_queue;
mod insights_resources;
mod insights_uptime;
mod instance;
mod invitations;
mod leases;
mod lifecycle;
mod monitoring_configuration;
mod monitoring_deliveries;
mod monitoring_fixture;
mod monitoring_incidents;
mod monitoring_notified;
mod monitoring_summaries;
mod monitoring_transitions;
mod ordering;
mod pruning;
mod random_histories;
mod rate_limit;
mod recover;
mod release;
mod resend;
mod samples;
mod sessions;
mod settle;
mod tenancy;
mod test_records;
mod users;
mod workspaces;

use std::sync::Arc;

use async_trait::async_trait;

use crate::Store;
use fixture::Fixture;

/// Opens the stores of a backend.
#[async_trait]
pub trait StoreFactory: Send + Sync + 'static {
    /// Opens the store: empty the first time, later with everything that was committed. The previous instance was
    /// closed or dropped.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Generates, from one list, the public cases and the macro [`store_conformance!`](crate::store_conformance). A case
/// that is not listed is dead code and so fails the build. The first token is a dollar sign, which the generated macro
/// needs.
macro_rules! suite {
    ($d:tt $($module:ident { $($case:ident)+ })+) => {
        $($(
            #[doc = concat!("A case of `", stringify!($module), "`.")]
            pub async fn $case(factory: impl StoreFactory) {
                $module::$case(Fixture::open(Arc::new(factory)).await).await;
            }
        )+)+

        /// Generates one test for each case of the suite. Takes an expression that creates a [`StoreFactory`].
        #[macro_export]
        macro_rules! store_conformance {
            ($d factory:expr) => {
                $(mod $module {
                    use super::*;
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $case() {
                            $d crate::conformance::$case($d factory).await;
                        }
                    )+
                })+
            };
        }
    };
}

suite! { $
    instance {
        set_instance_key_twice_is_refused
        ready_open_store_succeeds_and_changes_nothing
    }
    workspaces {
        workspace_created_reads_back_with_api_keys
        create_workspace_with_owner_creates_both_or_neither
        create_workspace_taken_slug_is_refused
        put_workspace_is_fenced_by_its_revision
        workspace_counts_are_per_workspace
        add_api_key_twice_stores_it_once
        add_api_key_unknown_workspace_is_not_found
        delete_api_key_deletes_only_that_key
        api_key_uses_keep_the_latest
        deleted_workspace_is_missing_at_once
        prune_deletes_all_rows_of_a_deleted_workspace_in_small_batches
    }
    users {
        user_all_fields_read_back
        create_user_taken_email_is_refused
        create_user_unknown_workspace_is_not_found
        create_user_concurrently_with_one_email_creates_one
        update_user_other_revision_is_conflict
        change_password_ends_all_sessions_but_the_renewed_one
        member_reads_back_with_sessions
        set_member_role_is_fenced_by_the_former_role
        last_owner_cannot_be_demoted_or_removed
        owners_who_leave_at_once_leave_one
    }
    sessions {
        session_reads_back_with_user_and_roles
        create_session_after_password_change_is_conflict
        session_replaces_the_one_of_the_browser
        session_expires_unless_it_is_used
        delete_session_ends_only_that_one
        delete_sessions_keeps_the_excepted_one
        create_session_ends_the_oldest_of_too_many
        prune_deletes_expired_sessions
    }
    invitations {
        invitation_all_fields_read_back
        create_invitation_replaces_the_open_one_for_the_email
        accept_invitation_creates_user_membership_and_session
        accept_invitation_of_existing_user_adds_membership
        accept_invitation_expired_or_deleted_is_refused
        accept_invitation_concurrently_is_accepted_once
        prune_deletes_invitations_a_month_after_expiry
    }
    configuration {
        rule_and_channel_all_fields_read_back
        put_rule_existing_id_is_refused
        put_channel_existing_id_is_refused
        put_other_revision_is_conflict
        edit_deleted_row_is_not_found
        put_channel_update_keeps_connectivity
        delete_channel_used_by_rule_is_refused
        put_rule_unknown_channel_is_not_found
        apply_changes_one_refused_applies_none
        apply_changes_are_applied_in_order
        apply_changes_increments_version_once
        configuration_rules_and_channels_are_oldest_first
    }
    tenancy {
        configuration_contains_only_own_rows
        edit_from_other_workspace_is_not_found
        delete_from_other_workspace_is_not_found
        put_rule_channel_of_other_workspace_is_not_found
        history_of_other_workspace_is_empty
        settle_from_other_workspace_is_stale
        resend_from_other_workspace_is_not_found
        record_test_channel_of_other_workspace_is_not_found
    }
    audit {
        audit_entry_all_fields_read_back
        audit_log_contains_only_own_entries
        audit_entry_is_written_with_its_change_or_not_at_all
        audit_log_is_newest_first_and_pages_have_no_gaps
        audit_log_every_filter_applies
        audit_entries_are_pruned_after_a_year
        audit_entry_of_a_transition_is_written_unless_it_is_refused
        audit_entry_of_a_check_is_written
        audit_entry_of_a_resend_is_written_unless_it_is_refused
        audit_entry_of_a_recovery_is_written_if_it_found_any
    }
    accept {
        accept_all_fields_read_back
        accept_minimal_event_reads_back
        accept_deliveries_have_requested_initial_state
        accept_duplicate_gets_first_answer
        accept_duplicate_with_another_fingerprint_differs
        accept_duplicate_in_same_batch_is_inserted_once
        accept_one_event_refused_inserts_none
        accept_refused_batch_does_not_affect_others
        accept_any_key_part_different_is_new_event
        accept_same_key_in_two_workspaces_is_two_events
        accept_concurrent_duplicates_insert_one_event
        accept_event_without_deliveries_is_stored
        accept_empty_batch_returns_nothing
    }
    claim {
        claim_returns_all_fields_for_sending
        claim_returns_oldest_first
        claim_applies_limit_per_channel
        claim_before_due_returns_nothing
        claim_leased_waits_for_lease_end
        claim_accepted_leased_waits_for_lease_end
        claim_concurrent_callers_get_distinct_deliveries
        claim_channel_listed_twice_returns_each_delivery_once
    }
    settle {
        settle_sent_completes_delivery
        settle_failed_completes_delivery
        settle_retry_is_due_at_instant
        settle_other_owner_is_stale
        settle_other_attempt_count_is_stale
        settle_twice_is_stale
        settle_stale_changes_nothing
        settle_suppressed_appends_gate_evaluation
        settle_skipped_records_reason
        settle_done_with_open_status_is_refused
        settle_concurrent_settlements_are_all_written
    }
    rate_limit {
        rate_limit_exceeded_holds_until_next_slot
        rate_limit_exceeded_with_drop_suppresses
        rate_limit_new_delivery_does_not_overtake_held
        rate_limit_raised_still_holds_behind_held
        rate_limit_held_and_suppressed_take_no_slot
        rate_limit_refusal_is_in_counts_and_not_leased
        rate_limit_admitted_lease_is_leased
        rate_limit_duplicate_and_refused_take_no_slot
        rate_limit_concurrent_callers_share_slots
        rate_limit_one_batch_shares_slots
        preview_rate_limit_takes_no_slot
        rate_limit_window_survives_restart
    }
    ordering {
        blocked_delivery_is_due_when_blocker_settles
        delivery_made_after_clock_was_set_back_is_sent
        blocked_delivery_waits_through_retries
        blocked_chain_is_sent_one_by_one
        chain_spans_incidents_of_one_subject_and_channel
        settled_held_and_resent_deliveries_block_nothing
        blocked_by_delivery_of_same_batch_waits
        blocked_delivery_waits_through_reclaimed_lease
        blocked_delivery_survives_restart
        newer_delivery_expedites_the_head
        expedited_attempts_of_one_delivery_are_five_seconds_apart
        expedited_attempts_of_one_channel_are_a_second_apart
        expedited_attempt_is_not_before_the_receiver_wants_it
        head_that_does_not_wait_for_a_retry_is_not_expedited
        held_delivery_released_after_later_sent_is_superseded
        held_delivery_released_behind_later_is_superseded_if_that_is_sent
        digest_is_in_the_chain_of_each_of_its_subjects
    }
    held {
        held_delivery_is_in_history_and_not_due
        next_releases_returns_earliest_per_channel
        list_held_returns_accepted_fields
        list_held_is_in_event_order
        list_held_returns_only_own_held
        settle_held_holds_until_instant
        held_without_instant_is_refused
        held_deliveries_survive_restart
    }
    release {
        release_individual_is_due_now
        release_individual_stops_at_rate_limit
        release_stopped_is_settled_or_held_again
        release_not_held_changes_nothing
        release_individual_of_incident_is_sent_in_order
        release_then_new_delivery_waits_for_released
        release_from_other_workspace_changes_nothing
        release_refused_changes_nothing
    }
    digests {
        digest_takes_held_members
        digest_settled_settles_members
        digest_unsettled_members_stay_held
        digest_that_a_gate_holds_is_dissolved
        resent_digest_that_a_gate_holds_is_dissolved
        digest_resent_settles_failed_members
        digest_takes_one_rate_limit_slot
        digest_refused_by_rate_limit_is_not_created
        digest_of_many_members_is_one_release
    }
    follow_ups {
        incident_counts_first_sent
        incident_resent_delivery_counts_once
        digest_sent_counts_for_each_incident
        incident_updated_keeps_count
        deferred_opening_same_sequence_is_inserted_once
        deferred_opening_initial_state_is_resolved
    }
    leases {
        reclaim_leases_of_dead_owners_makes_them_due
        return_leases_returns_only_named
        return_leases_without_lease_changes_nothing
        return_leases_of_another_owner_changes_nothing
        settle_after_return_is_stale
    }
    due {
        due_idle_store_is_empty
        due_returns_earliest_per_channel
        due_of_leased_is_lease_end
        due_of_settled_is_empty
    }
    resend {
        resend_sent_or_failed_is_due
        resend_unattempted_or_in_progress_is_conflict
        resend_restarts_policy_and_keeps_attempt_numbers
        resend_test_is_conflict
        resend_without_rule_works_only_individually
    }
    recover {
        recover_without_limit_only_counts
        recover_takes_longest_failed_first
        recover_ignores_failures_before_since
        recover_ignores_disabled_and_deleted_rules
        recover_ignores_other_channels
        recover_ignores_tests
    }
    test_records {
        record_test_is_in_history_with_attempt
        record_test_sets_connectivity
        record_test_failed_keeps_last_success
        record_test_increments_version
        record_test_is_no_run_and_never_due
        record_test_unknown_channel_writes_nothing
    }
    event_history {
        events_are_newest_first
        events_pages_have_no_gaps
        events_every_filter_applies
    }
    delivery_history {
        deliveries_are_newest_first
        deliveries_pages_have_no_gaps
        deliveries_are_the_same_after_indexing
        deliveries_pages_of_one_resource_have_no_gaps
        deliveries_every_filter_applies
        deliveries_attempts_are_loaded_on_request
        text_search_is_literal
        text_search_ignores_case
        text_search_covers_four_fields
        text_search_covers_incident_names
    }
    monitoring_configuration {
        endpoint_all_fields_read_back
        put_endpoint_existing_id_is_refused
        put_endpoint_other_revision_is_conflict
        configuration_returns_endpoints_written_since
        delete_endpoint_used_by_rule_is_refused
        delete_endpoint_deletes_dependents
        mute_reads_back_and_is_ended
        put_mute_unknown_target_is_not_found
        delete_channel_deletes_its_mutes
        inbound_webhook_reads_back_and_is_deleted
        put_inbound_webhook_existing_secret_is_refused
        preferences_read_back
        monitoring_edit_from_other_workspace_is_not_found
    }
    monitoring_transitions {
        transition_check_and_state_read_back
        transition_every_kind_of_check_reads_back
        transition_duplicate_check_changes_nothing
        transition_other_state_revision_is_conflict
        transition_refused_does_not_affect_others
        checks_are_newest_first
        transition_deleted_endpoint_is_not_found
        transition_leaves_configuration_version
        transition_survives_restart
        transition_from_other_workspace_is_not_found
        closed_store_refuses_monitoring
    }
    monitoring_incidents {
        incident_reads_back_with_timeline
        incident_second_active_of_subject_is_refused
        incident_other_revision_is_conflict
        incident_update_leaves_notifications_sent
        transition_refused_writes_nothing
        timeline_keeps_order_of_recording
        timeline_full_takes_no_more_checks
        incidents_are_newest_first
        incidents_every_filter_applies
        active_incidents_covers_all_workspaces
        transition_ended_mutes_increments_version
        incident_of_other_workspace_is_not_found
        incident_concurrent_openings_create_one
    }
    monitoring_deliveries {
        transition_events_are_accepted_and_deferred_openings_added
        incident_deliveries_returns_all_of_incident
        incident_deliveries_returns_held_until_and_digest
    }
    monitoring_notified {
        sent_deliveries_make_their_channels_notified
        digest_members_make_their_channel_notified
        notified_channels_outlive_pruned_deliveries
        suppressed_resolution_gives_notified_channel_a_wake_up
        suppressed_digest_and_release_give_wake_ups
        deferred_delivery_has_the_content_of_its_time
        resolved_incident_of_deleted_endpoint_takes_deferred_deliveries
        episode_ends_keep_the_latest_and_are_pruned
    }
    monitoring_summaries {
        summarise_hours_and_days_match_checks
        summarise_counts_each_hour_once
        summarise_counts_checks_within_grace_period_only
        summaries_filter_by_time
        prune_summarises_checks_first
        summarise_recovers_from_clock_ahead
    }
    pruning {
        prune_deletes_only_old_events
        prune_counts_deleted_rows
        prune_keeps_events_with_unsettled_deliveries
        prune_keeps_incident_without_events
        prune_deletes_old_checks
        prune_deletes_checks_beyond_maximum
        prune_deletes_old_hours_and_keeps_days
        prune_retires_mutes_a_day_after_expiry
        prune_deletes_mutes_a_week_after_their_end
        prune_deletes_expired_rate_windows
    }
    activity {
        channel_health_survives_restart_and_is_replaced
        channel_health_of_missing_channel_is_ignored
        mutes_are_in_force_or_ended
        mutes_count_accepted_deliveries_that_they_stopped
        mutes_count_deliveries_stopped_when_sent_or_released
        resend_all_refusals_do_not_affect_others
    }
    insights_resources {
        resource_of_runs_has_name_last_run_and_outcomes
        resource_last_run_is_the_one_that_ended_last
        resource_keeps_the_last_runs_only
        fold_again_after_restart_changes_nothing
        resources_every_filter_applies
        resources_pages_have_no_gaps
        resource_of_endpoint_follows_configuration_and_checks
        resource_of_alert_follows_its_incident
        edit_resource_is_fenced_by_revision
        prune_forgets_resources_that_were_not_seen
    }
    insights_erasure {
        erase_resource_erases_payloads_and_keeps_rows
        erase_resource_waits_for_unsettled_deliveries
        erased_resource_that_is_reported_again_is_new
        erase_resource_unknown_foreign_or_in_use_is_refused
        erase_resource_erases_resolved_incidents
    }
    insights_activity {
        activity_counts_settled_deliveries_and_runs
        activity_counts_members_of_digests
        activity_survives_closing_and_is_pruned
        activity_of_refused_operations_is_not_counted
    }
    insights_queue {
        backlog_counts_pending_leased_and_held
        backlog_counts_blocked_deliveries
        upcoming_lists_retries_and_held_in_order
        attention_counts_stop_at_the_limit
        attention_counts_active_incidents
    }
    insights_uptime {
        uptime_counts_each_check_once
        uptime_has_incidents_and_down_time_by_day
    }
    random_histories {
        random_history_matches_model
    }
    lifecycle {
        closed_store_refuses_every_operation
        closed_store_refuses_account_operations
        close_twice_succeeds
        reopen_reads_back_everything
        dropped_future_does_not_affect_others
    }
}
