//! Each gate stops what it should, with its own reason, and nothing else.

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

use crate::world::World;

#[test]
fn delivery_without_refusal_passes_every_gate_in_order() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"]);
    let opened = &world.deliveries()[0];
    assert_eq!(opened.gate_evaluations.len(), 1);
    assert_eq!(opened.gate_evaluations[0].evaluated_at, world.now());
    assert_eq!(opened.gate_evaluations[0].passed_gates().collect::<Vec<_>>(), Gate::ORDER);
    let requests = world.receiver.requests_to("hook");
    assert_eq!(requests[0].delivery_id, Some(opened.id.to_string()));
    assert_eq!(world.incident_of(endpoint).incident.notifications_sent, 2);
}

#[test]
fn gate_1_paused_rule_suppresses() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.pause(rule, true);
    world.down(endpoint);
    assert_eq!(world.outcomes(hook), ["opened suppressed rule_paused"]);
    assert!(world.receiver.requests().is_empty());
}

#[test]
fn gate_2_disabled_channel_suppresses() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_enabled(hook, false);
    world.down(endpoint);
    assert_eq!(world.outcomes(hook), ["opened suppressed channel_disabled"]);
}

#[test]
fn gate_3_recovery_disabled_leaves_no_delivery() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.recovery_alert = false), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.down(endpoint);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent"]);
    let resolved = world.events().pop().unwrap();
    assert_eq!(resolved.event.trigger, Trigger::Incident(IncidentTrigger::Resolved));
    let notes: Vec<_> = resolved.not_routed.iter().map(|note| (note.rule_id, note.reason)).collect();
    assert_eq!(notes, [(rule, NotRoutedReason::RecoveryDisabled)]);
}

#[test]
fn gate_4_global_mute_suppresses_events_of_endpoints_and_runs() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.flow_rule(hook);
    let until = world.now().plus_ms(60_000);
    world.mute(MuteScope::Global, Some(60));
    world.down(endpoint);
    world.fail_run("run-1");
    assert_eq!(world.outcomes(hook), ["opened suppressed muted", "failure suppressed muted"]);
    let (gate, refusal) = world.deliveries()[0].gate_evaluations[0].stopped.clone().unwrap();
    assert_eq!((gate, refusal.until), (Gate::GlobalMute, Some(until)));
    world.up(endpoint);
    world.advance(60);
    world.fail_run("run-2");
    assert_eq!(world.outcomes(hook)[3..], ["failure sent"]);
}

#[test]
fn gate_5_severity_filter_suppresses_all_but_resolutions() {
    let world = World::new();
    let (slow, broken, hook) = (world.simple_endpoint("slow"), world.simple_endpoint("broken"), world.webhook("hook"));
    world.edit(hook, |policies| policies.severity_filter = SeverityFilter::Critical);
    world.rule(slow, hook);
    world.rule(broken, hook);
    world.flow_rule(hook);
    world.degraded(slow);
    world.down(broken);
    world.up(slow);
    world.up(broken);
    world.fail_run("run-1");
    let expected = [
        "opened suppressed severity_filter",
        "opened sent",
        "resolved sent",
        "resolved sent",
        "failure suppressed severity_filter",
    ];
    assert_eq!(world.outcomes(hook), expected);
    world.edit(hook, |policies| policies.severity_filter = SeverityFilter::Warning);
    world.report("run-2", Trigger::Success);
    world.fail_run("run-3");
    assert_eq!(
        world.outcomes(hook)[5..],
        ["success suppressed severity_filter", "failure sent"],
        "success ranks as info"
    );
}

#[test]
fn gate_6_event_filters_apply_to_incident_events_only() {
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
        let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
        world.edit(hook, |policies| policies.event_filters = filters);
        world.rule(endpoint, hook);
        world.flow_rule(hook);
        world.degraded(endpoint);
        assert_eq!(world.check(endpoint, CheckStatus::Down), Some(IncidentTrigger::Worsened));
        world.settle();
        world.up(endpoint);
        world.fail_run("run-1");
        let outcomes = world.outcomes(hook);
        assert_eq!((&outcomes[..3], &*outcomes[3]), (&expected.map(str::to_owned)[..], "failure sent"));
    }
}

#[test]
fn gate_7_scoped_mute_suppresses_and_names_the_mute() {
    let world = World::new();
    let (api, other) = (world.simple_endpoint("API"), world.simple_endpoint("other"));
    let (hook, quiet) = (world.webhook("hook"), world.webhook("quiet"));
    for endpoint in [api, other] {
        world.rule(endpoint, hook);
        world.rule(endpoint, quiet);
    }
    let (of_api, of_quiet) =
        (world.mute(MuteScope::Endpoint(api), None), world.mute(MuteScope::Channel(quiet), Some(600)));
    world.down(api);
    world.down(other);
    assert_eq!(world.outcomes(hook), ["opened suppressed muted", "opened sent"]);
    assert_eq!(world.outcomes(quiet), ["opened suppressed muted", "opened suppressed muted"]);
    let mutes_of = |channel| {
        let of_channel = world.deliveries().into_iter().filter(move |delivery| delivery.channel_id == channel);
        of_channel
            .map(|delivery| delivery.gate_evaluations[0].stopped.clone().and_then(|(_, refusal)| refusal.mute_id))
            .collect::<Vec<_>>()
    };
    assert_eq!(mutes_of(hook), [Some(of_api), None]);
    // Of two mutes the one that lasts longer is named.
    assert_eq!(mutes_of(quiet), [Some(of_api), Some(of_quiet)]);
}

#[test]
fn gate_8_maintenance_window_suppresses() {
    let world = World::new();
    let (start, end) = (world.now(), world.now().plus_ms(3_600_000));
    let window = MaintenanceWindow::Once { starts_at: start, ends_at: end };
    let (endpoint, hook) = (world.endpoint("API", |it| it.maintenance_windows = vec![window]), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    assert_eq!(world.outcomes(hook), ["opened suppressed maintenance"]);
    let (_, refusal) = world.deliveries()[0].gate_evaluations[0].stopped.clone().unwrap();
    assert_eq!(refusal.until, Some(end));
}

#[test]
fn gate_9_active_incident_of_parent_suppresses() {
    let world = World::new();
    let (parent, hook) = (world.simple_endpoint("router"), world.webhook("hook"));
    let child = world.endpoint("API", |it| it.parent_id = Some(parent));
    world.rule(parent, hook);
    world.rule(child, hook);
    world.down(parent);
    world.down(child);
    assert_eq!(world.outcomes(hook), ["opened sent", "opened suppressed dependency"]);
    world.up(child);
    world.up(parent);
    world.down(child);
    assert_eq!(world.outcomes(hook)[2..], ["resolved suppressed never_opened", "resolved sent", "opened sent"]);
}

#[test]
fn gate_10_quiet_hours_hold_or_drop_and_critical_events_may_pass() {
    let world = World::new();
    let (slow, broken) = (world.simple_endpoint("slow"), world.simple_endpoint("broken"));
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
    assert_eq!(world.outcomes(hook), ["opened held quiet_hours", "opened sent"]);
    assert_eq!(world.outcomes(drops), ["opened suppressed quiet_hours", "opened sent"]);
    assert_eq!(world.outcomes(strict), ["opened held quiet_hours", "opened held quiet_hours"]);
    let held = &world.deliveries()[0];
    assert_eq!(held.held_until, Some(world.now().plus_ms(3_600_000)));
}

#[test]
fn evaluation_ends_at_the_first_gate_that_stops() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
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
fn unmatched_rules_are_noted_and_get_no_delivery() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    let off = world.rule(endpoint, hook);
    world.edit_rule(off, |rule| rule.enabled = false);
    let only_resolved = world.rule_for(endpoint, hook, &[RuleTrigger::Resolved]);
    world.down(endpoint);
    assert_eq!(world.outcomes(hook), Vec::<String>::new());
    let opened = world.events().pop().unwrap();
    let mut notes: Vec<_> = opened.not_routed.iter().map(|note| (note.rule_id, note.reason)).collect();
    notes.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(notes, [(off, NotRoutedReason::RuleDisabled), (only_resolved, NotRoutedReason::Trigger)]);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["resolved sent"], "a rule for resolutions only sends them");
}

#[test]
fn duplicate_run_changes_nothing_and_returns_the_same() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    let first = world.report("run-1", Trigger::Failure);
    world.settle();
    let again = world.report("run-1", Trigger::Failure);
    assert_eq!((again.event_id, again.counts, again.duplicate), (first.event_id, first.counts, true));
    world.settle();
    assert_eq!((world.receiver.requests().len(), world.deliveries().len()), (1, 1));
    assert_eq!(world.deliveries()[0].status, Status::Sent);
}

#[test]
fn rule_of_every_endpoint_applies_beside_rule_of_one() {
    let world = World::new();
    let (api, other, hook, all) =
        (world.simple_endpoint("API"), world.simple_endpoint("other"), world.webhook("hook"), world.webhook("all"));
    world.rule(api, hook);
    world.rule_of_every_endpoint(all);
    world.down(api);
    world.down(other);
    assert_eq!((world.outcomes(hook).len(), world.outcomes(all)), (1, vec!["opened sent".to_owned(); 2]));
}
