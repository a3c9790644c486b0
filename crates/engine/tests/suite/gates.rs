//! Each gate stops what it should, for its own reason, and nothing else.

use tidings_domain::channel::EventFilters;
use tidings_domain::check::CheckStatus;
use tidings_domain::delivery::Status;
use tidings_domain::gate::Gate;
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::maintenance::MaintenanceWindow;
use tidings_domain::mute::MuteScope;
use tidings_domain::quiet_hours::QuietAction;
use tidings_domain::routing::NotRoutedReason;
use tidings_domain::severity::SeverityFilter;
use tidings_domain::trigger::{RuleTrigger, Trigger};
use tidings_engine::settings::mutes::PreferencesEdit;
use tidings_engine::settings::{ChannelEdit, RuleEdit};

use crate::world::World;

#[test]
fn what_nothing_stops_is_sent_and_passes_every_gate_in_order() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened sent", "resolved sent"]);
    let opened = &world.deliveries()[0];
    assert_eq!(opened.gate_evaluations.len(), 1);
    assert_eq!(opened.gate_evaluations[0].evaluated_at, world.now());
    assert_eq!(opened.gate_evaluations[0].passed_gates().collect::<Vec<_>>(), Gate::ORDER);
    let came = world.receiver.through("hook");
    assert_eq!(came[0].delivery_id, Some(opened.id.to_string()));
    assert_eq!(world.incident_of(endpoint).incident.notifications_sent, 2);
}

#[test]
fn gate_1_a_paused_rule_says_nothing() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.pause(rule, true);
    world.down(endpoint);
    assert_eq!(world.said(hook), ["opened suppressed rule_paused"]);
    assert!(world.receiver.came().is_empty());
}

#[test]
fn gate_2_a_disabled_channel_says_nothing() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_enabled(hook, false);
    world.down(endpoint);
    assert_eq!(world.said(hook), ["opened suppressed channel_disabled"]);
}

#[test]
fn gate_3_an_endpoint_that_wants_no_recoveries_leaves_no_row_but_a_note() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.recovery_alert = false), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.down(endpoint);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened sent"]);
    let resolved = world.events().pop().unwrap();
    assert_eq!(resolved.event.trigger, Trigger::Incident(IncidentTrigger::Resolved));
    let notes: Vec<_> = resolved.not_routed.iter().map(|note| (note.rule_id, note.reason)).collect();
    assert_eq!(notes, [(rule, NotRoutedReason::RecoveryDisabled)]);
}

#[test]
fn gate_4_a_global_mute_and_global_mute_until_are_the_same_thing() {
    for by_preference in [true, false] {
        let world = World::new();
        let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
        world.rule(endpoint, hook);
        world.flow_rule(hook);
        let until = world.now().plus_ms(60_000);
        if by_preference {
            let edit = PreferencesEdit { global_mute_until: Some(Some(until)), ..PreferencesEdit::default() };
            world.wait(world.engine().edit_preferences(world.workspace_id, edit, "ana")).unwrap();
        } else {
            world.mute(MuteScope::Global, Some(60));
        }
        world.down(endpoint);
        world.fail("run-1");
        assert_eq!(world.said(hook), ["opened suppressed muted", "failure suppressed muted"]);
        let (gate, stop) = world.deliveries()[0].gate_evaluations[0].stopped.clone().unwrap();
        assert_eq!((gate, stop.until), (Gate::GlobalMute, Some(until)));
        world.up(endpoint);
        world.pass(60);
        world.fail("run-2");
        assert_eq!(world.said(hook)[3..], ["failure sent"]);
    }
}

#[test]
fn gate_5_a_severity_filter_keeps_out_what_is_less_but_never_a_resolution() {
    let world = World::new();
    let (slow, broken, hook) = (world.plain("slow"), world.plain("broken"), world.webhook("hook"));
    world.edit(hook, ChannelEdit { severity_filter: Some(SeverityFilter::Critical), ..ChannelEdit::default() });
    world.rule(slow, hook);
    world.rule(broken, hook);
    world.flow_rule(hook);
    world.degraded(slow);
    world.down(broken);
    world.up(slow);
    world.up(broken);
    world.fail("run-1");
    let expected = [
        "opened suppressed severity_filter",
        "opened sent",
        "resolved sent",
        "resolved sent",
        "failure suppressed severity_filter",
    ];
    assert_eq!(world.said(hook), expected);
    world.edit(hook, ChannelEdit { severity_filter: Some(SeverityFilter::Warning), ..ChannelEdit::default() });
    world.report("run-2", Trigger::Success);
    world.fail("run-3");
    assert_eq!(world.said(hook)[5..], ["success suppressed severity_filter", "failure sent"], "success ranks as info");
}

#[test]
fn gate_6_event_filters_are_asked_for_the_events_of_incidents() {
    let all = EventFilters::default();
    let cases = [
        (
            EventFilters { send_open: false, ..all },
            ["opened suppressed event_filter", "worsened sent", "resolved sent"],
        ),
        (
            EventFilters { send_escalated: false, ..all },
            ["opened sent", "worsened suppressed event_filter", "resolved sent"],
        ),
        (
            EventFilters { send_resolved: false, ..all },
            ["opened sent", "worsened sent", "resolved suppressed event_filter"],
        ),
    ];
    for (filters, expected) in cases {
        let world = World::new();
        let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
        world.edit(hook, ChannelEdit { event_filters: Some(filters), ..ChannelEdit::default() });
        world.rule(endpoint, hook);
        world.flow_rule(hook);
        world.degraded(endpoint);
        assert_eq!(world.check(endpoint, CheckStatus::Down), Some(IncidentTrigger::Worsened));
        world.settle();
        world.up(endpoint);
        world.fail("run-1");
        let said = world.said(hook);
        assert_eq!((&said[..3], &*said[3]), (&expected.map(str::to_owned)[..], "failure sent"));
    }
}

#[test]
fn gate_7_mutes_of_an_endpoint_or_a_channel_are_named() {
    let world = World::new();
    let (api, other) = (world.plain("API"), world.plain("other"));
    let (hook, quiet) = (world.webhook("hook"), world.webhook("quiet"));
    for endpoint in [api, other] {
        world.rule(endpoint, hook);
        world.rule(endpoint, quiet);
    }
    let (of_api, of_quiet) =
        (world.mute(MuteScope::Endpoint(api), None), world.mute(MuteScope::Channel(quiet), Some(600)));
    world.down(api);
    world.down(other);
    assert_eq!(world.said(hook), ["opened suppressed muted", "opened sent"]);
    assert_eq!(world.said(quiet), ["opened suppressed muted", "opened suppressed muted"]);
    let named = |channel| {
        let of_channel = world.deliveries().into_iter().filter(move |delivery| delivery.channel_id == channel);
        of_channel
            .map(|delivery| delivery.gate_evaluations[0].stopped.clone().and_then(|(_, stop)| stop.mute_id))
            .collect::<Vec<_>>()
    };
    assert_eq!(named(hook), [Some(of_api), None]);
    // Of two the one that lasts longer is named.
    assert_eq!(named(quiet), [Some(of_api), Some(of_quiet)]);
}

#[test]
fn gate_8_in_a_maintenance_window_nothing_is_said_of_the_endpoint() {
    let world = World::new();
    let (start, end) = (world.now(), world.now().plus_ms(3_600_000));
    let window = MaintenanceWindow::Once { starts_at: start, ends_at: end };
    let (endpoint, hook) = (world.endpoint("API", |it| it.maintenance_windows = vec![window]), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    assert_eq!(world.said(hook), ["opened suppressed maintenance"]);
    let (_, stop) = world.deliveries()[0].gate_evaluations[0].stopped.clone().unwrap();
    assert_eq!(stop.until, Some(end));
}

#[test]
fn gate_9_while_its_parent_has_an_active_incident_a_child_is_silent() {
    let world = World::new();
    let (parent, hook) = (world.plain("router"), world.webhook("hook"));
    let child = world.endpoint("API", |it| it.parent_id = Some(parent));
    world.rule(parent, hook);
    world.rule(child, hook);
    world.down(parent);
    world.down(child);
    assert_eq!(world.said(hook), ["opened sent", "opened suppressed dependency"]);
    world.up(child);
    world.up(parent);
    world.down(child);
    assert_eq!(world.said(hook)[2..], ["resolved suppressed never_opened", "resolved sent", "opened sent"]);
}

#[test]
fn gate_10_quiet_hours_hold_or_drop_and_let_critical_events_pass_unless_they_include_them() {
    let world = World::new();
    let (slow, broken) = (world.plain("slow"), world.plain("broken"));
    let (hook, drops, strict) = (world.webhook("hook"), world.webhook("drops"), world.webhook("strict"));
    for channel in [hook, drops, strict] {
        world.rule(slow, channel);
        world.rule(broken, channel);
    }
    let hours = world.quiet_for(60);
    let mut dropping = hours.clone();
    dropping.action = QuietAction::Drop;
    let mut all = hours.clone();
    all.critical_passes = false;
    for (channel, hours) in [(hook, hours), (drops, dropping), (strict, all)] {
        world.set_quiet(channel, Some(hours));
    }
    world.degraded(slow);
    world.down(broken);
    assert_eq!(world.said(hook), ["opened held quiet_hours", "opened sent"]);
    assert_eq!(world.said(drops), ["opened suppressed quiet_hours", "opened sent"]);
    assert_eq!(world.said(strict), ["opened held quiet_hours", "opened held quiet_hours"]);
    let held = &world.deliveries()[0];
    assert_eq!(held.held_until, Some(world.now().plus_ms(3_600_000)));
}

#[test]
fn the_first_gate_that_stops_decides_and_the_verdicts_end_with_it() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.mute(MuteScope::Channel(hook), None);
    world.mute(MuteScope::Global, None);
    world.set_enabled(hook, false);
    world.down(endpoint);
    let evaluation = world.deliveries()[0].gate_evaluations[0].clone();
    assert_eq!(evaluation.passed_gates().collect::<Vec<_>>(), [Gate::RulePaused]);
    assert_eq!(evaluation.stopped.unwrap().0, Gate::ChannelDisabled);
}

#[test]
fn rules_that_do_not_match_leave_a_note_and_no_row() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    let off = world.rule(endpoint, hook);
    world.edit_rule(off, RuleEdit { enabled: Some(false), ..RuleEdit::default() });
    let only_resolved = world.rule_of(endpoint, hook, &[RuleTrigger::Resolved]);
    world.down(endpoint);
    assert_eq!(world.said(hook), Vec::<String>::new());
    let opened = world.events().pop().unwrap();
    let mut notes: Vec<_> = opened.not_routed.iter().map(|note| (note.rule_id, note.reason)).collect();
    notes.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(notes, [(off, NotRoutedReason::RuleDisabled), (only_resolved, NotRoutedReason::Trigger)]);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["resolved sent"], "a rule that lists only resolutions says them");
}

#[test]
fn telling_it_again_changes_nothing_and_answers_the_same() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    let first = world.report("run-1", Trigger::Failure);
    world.settle();
    let again = world.report("run-1", Trigger::Failure);
    assert_eq!((again.event_id, again.counts, again.duplicate), (first.event_id, first.counts, true));
    world.settle();
    assert_eq!((world.receiver.came().len(), world.deliveries().len()), (1, 1));
    assert_eq!(world.deliveries()[0].status, Status::Sent);
}

#[test]
fn a_rule_about_every_endpoint_speaks_beside_one_about_this() {
    let world = World::new();
    let (api, other, hook, all) =
        (world.plain("API"), world.plain("other"), world.webhook("hook"), world.webhook("all"));
    world.rule(api, hook);
    world.rule_of_every_endpoint(all);
    world.down(api);
    world.down(other);
    assert_eq!((world.said(hook).len(), world.said(all)), (1, vec!["opened sent".to_owned(); 2]));
}
