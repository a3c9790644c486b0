//! What may have changed is asked again when a delivery comes up.

use tidings_domain::channel::DeliveryPriority;
use tidings_domain::gate::Gate;
use tidings_domain::id::{ChannelId, EndpointId, RuleId};
use tidings_domain::maintenance::MaintenanceWindow;
use tidings_domain::mute::MuteScope;
use tidings_engine::settings::{ChannelEdit, RuleEdit};

use crate::world::World;

/// A world in which the opening of an incident waits for its retry.
fn waiting() -> (World, EndpointId, ChannelId, RuleId) {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.set_broken("hook", false);
    assert_eq!(world.said(hook), ["opened pending"]);
    (world, endpoint, hook, rule)
}

/// Sees that it is stopped when it comes up, with both walks in the log.
#[track_caller]
fn is_stopped(world: &World, hook: ChannelId, reason: &str) {
    world.pass(70);
    assert_eq!(world.said(hook), [format!("opened suppressed {reason}")]);
    let delivery = world.last(hook);
    assert_eq!((delivery.gate_evaluations.len(), delivery.attempt_count), (2, 1));
    assert!(delivery.gate_evaluations[1].stopped.as_ref().is_some_and(|(gate, _)| gate.reason() == reason));
    assert_eq!(delivery.gate_evaluations[1].evaluated_at, world.now());
    assert_eq!(world.receiver.came().len(), 1);
}

#[test]
fn gate_1_a_pause() {
    let (world, _, hook, rule) = waiting();
    world.pause(rule, true);
    is_stopped(&world, hook, "rule_paused");
}

#[test]
fn gate_2_a_channel_that_is_disabled() {
    let (world, _, hook, _) = waiting();
    world.set_enabled(hook, false);
    is_stopped(&world, hook, "channel_disabled");
}

#[test]
fn gate_4_a_global_mute() {
    let (world, _, hook, _) = waiting();
    world.mute(MuteScope::Global, None);
    is_stopped(&world, hook, "muted");
}

#[test]
fn gate_7_a_mute() {
    let (world, endpoint, hook, _) = waiting();
    world.mute(MuteScope::Endpoint(endpoint), None);
    is_stopped(&world, hook, "muted");
}

#[test]
fn gate_8_maintenance_that_begins() {
    let (world, endpoint, hook, _) = waiting();
    let window = MaintenanceWindow::Once { starts_at: world.now(), ends_at: world.now().plus_ms(3_600_000) };
    world.redefine(endpoint, |it| it.maintenance_windows = vec![window.clone()]);
    is_stopped(&world, hook, "maintenance");
}

#[test]
fn gate_9_a_parent_that_goes_down() {
    let (world, endpoint, hook, _) = waiting();
    let parent = world.plain("router");
    world.redefine(endpoint, |it| it.parent_id = Some(parent));
    world.down(parent);
    is_stopped(&world, hook, "dependency");
}

#[test]
fn gate_9_a_parent_that_is_down_is_known_from_the_start() {
    let (mut world, endpoint, hook, _) = waiting();
    let parent = world.plain("router");
    world.redefine(endpoint, |it| it.parent_id = Some(parent));
    world.down(parent);
    world.clock.advance_ms(70_000);
    world.restart();
    world.settle();
    assert_eq!(world.said(hook), ["opened suppressed dependency"]);
}

#[test]
fn gate_10_quiet_hours_that_begin_hold_it() {
    let (world, _, hook, _) = waiting();
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.pass(70);
    assert_eq!(world.said(hook), ["opened held quiet_hours"]);
    let held = world.last(hook);
    assert_eq!(held.gate_evaluations[1].stopped.as_ref().map(|(gate, _)| *gate), Some(Gate::QuietHours));
    world.pass(3_600);
    assert_eq!(world.said(hook), ["opened sent"]);
    assert_eq!(world.last(hook).attempt_count, 2);
}

#[test]
fn what_does_not_change_is_not_asked_again() {
    let (world, _, hook, _) = waiting();
    let edit = ChannelEdit {
        severity_filter: Some(tidings_domain::severity::SeverityFilter::Critical),
        delivery_priority: Some(DeliveryPriority::Standard),
        ..ChannelEdit::default()
    };
    world.edit(hook, edit);
    world.pass(70);
    assert_eq!(world.said(hook), ["opened sent"]);
}

#[test]
fn a_rule_that_was_disabled_and_enabled_again_has_skipped_what_waited() {
    let (world, _, hook, rule) = waiting();
    for enabled in [false, true] {
        world.edit_rule(rule, RuleEdit { enabled: Some(enabled), ..RuleEdit::default() });
    }
    world.pass(70);
    assert_eq!(world.said(hook), ["opened skipped rule_disabled"]);
}

#[test]
fn a_rule_that_was_deleted_has_skipped_what_waited() {
    let (world, _, hook, rule) = waiting();
    world.wait(world.engine().delete_rule(world.workspace_id, rule, None)).unwrap();
    world.pass(70);
    assert_eq!(world.said(hook), ["opened skipped rule_deleted"]);
}

#[test]
fn an_endpoint_that_was_deleted_has_skipped_what_waited() {
    let (world, endpoint, hook, _) = waiting();
    world.wait(world.engine().delete_endpoint(world.workspace_id, endpoint, None)).unwrap();
    world.pass(70);
    assert!(world.said(hook)[0].starts_with("opened skipped"), "{:?}", world.said(hook));
}
