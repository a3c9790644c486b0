//! Gates that may have changed are evaluated again before an attempt.

use tidings_domain::channel::DeliveryPriority;
use tidings_domain::gate::Gate;
use tidings_domain::id::{ChannelId, EndpointId, RuleId};
use tidings_domain::maintenance::MaintenanceWindow;
use tidings_domain::mute::MuteScope;

use crate::world::World;

/// The opening of an incident waits for its retry.
fn world_with_pending_opening() -> (World, EndpointId, ChannelId, RuleId) {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.set_broken("hook", false);
    assert_eq!(world.outcomes(hook), ["opened pending"]);
    (world, endpoint, hook, rule)
}

/// Asserts that the retry is suppressed, and that both gate evaluations are recorded.
#[track_caller]
fn assert_suppressed_on_retry(world: &World, hook: ChannelId, reason: &str) {
    world.advance(70);
    assert_eq!(world.outcomes(hook), [format!("opened suppressed {reason}")]);
    let delivery = world.last(hook);
    assert_eq!((delivery.gate_evaluations.len(), delivery.attempt_count), (2, 1));
    assert!(delivery.gate_evaluations[1].stopped.as_ref().is_some_and(|(gate, _)| gate.reason() == reason));
    assert_eq!(delivery.gate_evaluations[1].evaluated_at, world.now());
    assert_eq!(world.receiver.requests().len(), 1);
}

#[test]
fn recheck_gate_1_paused_rule_suppresses() {
    let (world, _, hook, rule) = world_with_pending_opening();
    world.pause(rule, true);
    assert_suppressed_on_retry(&world, hook, "rule_paused");
}

#[test]
fn recheck_gate_2_disabled_channel_suppresses() {
    let (world, _, hook, _) = world_with_pending_opening();
    world.set_enabled(hook, false);
    assert_suppressed_on_retry(&world, hook, "channel_disabled");
}

#[test]
fn recheck_gate_4_global_mute_suppresses() {
    let (world, _, hook, _) = world_with_pending_opening();
    world.mute(MuteScope::Global, None);
    assert_suppressed_on_retry(&world, hook, "muted");
}

#[test]
fn recheck_gate_7_endpoint_mute_suppresses() {
    let (world, endpoint, hook, _) = world_with_pending_opening();
    world.mute(MuteScope::Endpoint(endpoint), None);
    assert_suppressed_on_retry(&world, hook, "muted");
}

#[test]
fn recheck_gate_8_maintenance_suppresses() {
    let (world, endpoint, hook, _) = world_with_pending_opening();
    let window = MaintenanceWindow::Once { starts_at: world.now(), ends_at: world.now().plus_ms(3_600_000) };
    world.redefine(endpoint, |it| it.maintenance_windows = vec![window.clone()]);
    assert_suppressed_on_retry(&world, hook, "maintenance");
}

#[test]
fn recheck_gate_9_parent_down_suppresses() {
    let (world, endpoint, hook, _) = world_with_pending_opening();
    let parent = world.simple_endpoint("router");
    world.redefine(endpoint, |it| it.parent_id = Some(parent));
    world.down(parent);
    assert_suppressed_on_retry(&world, hook, "dependency");
}

#[test]
fn recheck_gate_9_parent_down_is_known_after_restart() {
    let (mut world, endpoint, hook, _) = world_with_pending_opening();
    let parent = world.simple_endpoint("router");
    world.redefine(endpoint, |it| it.parent_id = Some(parent));
    world.down(parent);
    world.clock.advance_ms(70_000);
    world.restart();
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened suppressed dependency"]);
}

#[test]
fn recheck_gate_10_quiet_hours_hold() {
    let (world, _, hook, _) = world_with_pending_opening();
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened held quiet_hours"]);
    let held = world.last(hook);
    assert_eq!(held.gate_evaluations[1].stopped.as_ref().map(|(gate, _)| *gate), Some(Gate::QuietHours));
    world.advance(3_600);
    assert_eq!(world.outcomes(hook), ["opened sent"]);
    assert_eq!(world.last(hook).attempt_count, 2);
}

#[test]
fn recheck_skips_gates_that_do_not_change() {
    let (world, _, hook, _) = world_with_pending_opening();
    world.edit(hook, |policies| {
        policies.severity_filter = tidings_domain::severity::SeverityFilter::Critical;
        policies.delivery_priority = DeliveryPriority::Standard;
    });
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened sent"]);
}

#[test]
fn rule_disabled_and_enabled_again_skips_pending_delivery() {
    let (world, _, hook, rule) = world_with_pending_opening();
    for enabled in [false, true] {
        world.edit_rule(rule, |rule| rule.enabled = enabled);
    }
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened skipped rule_disabled"]);
}

#[test]
fn deleted_rule_skips_pending_delivery() {
    let (world, _, hook, rule) = world_with_pending_opening();
    world.delete_rule(rule);
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened skipped rule_deleted"]);
}

#[test]
fn deleted_endpoint_skips_pending_delivery() {
    let (world, endpoint, hook, _) = world_with_pending_opening();
    // The resolution makes it due at once, before the endpoint is gone.
    world.set_broken("hook", true);
    world.wait(world.delete_endpoint(endpoint));
    world.settle();
    world.set_broken("hook", false);
    world.advance(140);
    let outcomes = world.outcomes(hook);
    assert!(outcomes[0].starts_with("opened skipped"), "{outcomes:?}");
    assert_eq!(outcomes[1..], ["resolved suppressed never_opened"]);
}
