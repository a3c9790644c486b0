//! A suppressed opening is sent once the gate opens, if the incident is still active.

use tidings_domain::check::CheckStatus;
use tidings_domain::delivery::Status;
use tidings_domain::id::{ChannelId, EndpointId, RuleId};
use tidings_domain::maintenance::MaintenanceWindow;
use tidings_domain::mute::MuteScope;
use tidings_domain::quiet_hours::QuietAction;
use tidings_domain::rate_limit::RateAction;
use tidings_domain::trigger::RuleTrigger;

use crate::world::World;

/// The opening of an incident is suppressed by what `close_gate` sets up.
fn world_with_suppressed_opening(
    close_gate: impl FnOnce(&World, EndpointId, ChannelId, RuleId),
) -> (World, EndpointId, ChannelId, RuleId) {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    close_gate(&world, endpoint, hook, rule);
    world.degraded(endpoint);
    assert!(world.outcomes(hook)[0].starts_with("opened suppressed"), "{:?}", world.outcomes(hook));
    (world, endpoint, hook, rule)
}

/// Asserts that the deferred opening is sent, once, and that the suppressed delivery stays.
#[track_caller]
fn assert_deferred_opening_sent(world: &World, endpoint: EndpointId, hook: ChannelId) {
    world.settle();
    let before = world.outcomes(hook)[0].clone();
    assert_eq!(world.outcomes(hook), [&*before, "deferred opened sent"]);
    let [first, deferred] = &world.deliveries()[..] else { panic!("not two") };
    assert_eq!((deferred.replaces_id, deferred.sequence, deferred.event.id), (Some(first.id), 2, first.event.id));
    world.advance(7_200);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), [&*before, "deferred opened sent", "resolved sent"]);
    assert_eq!(world.incident_of(endpoint).incident.notifications_sent, 2);
}

#[test]
fn deferred_opening_is_sent_after_pause() {
    let (world, endpoint, hook, rule) = world_with_suppressed_opening(|world, _, _, rule| world.pause(rule, true));
    world.advance(60);
    assert_eq!(world.outcomes(hook).len(), 1);
    world.pause(rule, false);
    assert_deferred_opening_sent(&world, endpoint, hook);
}

#[test]
fn deferred_opening_is_sent_after_channel_is_enabled() {
    let (world, endpoint, hook, _) = world_with_suppressed_opening(|world, _, hook, _| world.set_enabled(hook, false));
    world.set_enabled(hook, true);
    assert_deferred_opening_sent(&world, endpoint, hook);
}

#[test]
fn deferred_opening_is_sent_after_mute_expires_or_is_deleted() {
    let scopes = [
        |_, _| MuteScope::Global,
        |endpoint, _| MuteScope::Endpoint(endpoint),
        |_, channel| MuteScope::Channel(channel),
    ];
    for (scope, expires) in scopes.into_iter().flat_map(|scope| [(scope, true), (scope, false)]) {
        let mut mute = None;
        let (world, endpoint, hook, _) = world_with_suppressed_opening(|world, endpoint, hook, _| {
            mute = Some(world.mute(scope(endpoint, hook), expires.then_some(300)));
        });
        world.advance(299);
        assert_eq!(world.outcomes(hook), ["opened suppressed muted"]);
        world.advance(1);
        if !expires {
            world.unmute(mute.unwrap());
        }
        assert_deferred_opening_sent(&world, endpoint, hook);
    }
}

#[test]
fn deferred_opening_is_sent_after_maintenance() {
    let (world, endpoint, hook, _) = world_with_suppressed_opening(|world, endpoint, _, _| {
        let window = MaintenanceWindow::Once { starts_at: world.now(), ends_at: world.now().plus_ms(600_000) };
        world.redefine(endpoint, |it| it.maintenance_windows = vec![window.clone()]);
    });
    world.advance(600);
    assert_deferred_opening_sent(&world, endpoint, hook);
}

#[test]
fn deferred_opening_is_sent_after_parent_recovers() {
    let mut parent = None;
    let (world, endpoint, hook, _) = world_with_suppressed_opening(|world, endpoint, _, _| {
        let router = world.simple_endpoint("router");
        world.redefine(endpoint, |it| it.parent_id = Some(router));
        world.down(router);
        parent = Some(router);
    });
    world.up(parent.unwrap());
    assert_deferred_opening_sent(&world, endpoint, hook);
}

#[test]
fn deferred_opening_is_sent_after_parent_is_deleted() {
    let mut parent = None;
    let (world, endpoint, hook, _) = world_with_suppressed_opening(|world, endpoint, _, _| {
        let router = world.simple_endpoint("router");
        world.redefine(endpoint, |it| it.parent_id = Some(router));
        world.down(router);
        parent = Some(router);
    });
    world.redefine(endpoint, |it| it.parent_id = None);
    world.wait(world.delete_endpoint(parent.unwrap()));
    assert_deferred_opening_sent(&world, endpoint, hook);
}

#[test]
fn deferred_opening_is_sent_after_dropping_quiet_hours() {
    let (world, endpoint, hook, _) = world_with_suppressed_opening(|world, _, hook, _| {
        let mut hours = world.quiet_for(60);
        hours.action = QuietAction::Drop;
        world.set_quiet(hook, Some(hours));
    });
    world.advance(3_600);
    assert_deferred_opening_sent(&world, endpoint, hook);
}

#[test]
fn deferred_opening_is_sent_after_cooldown() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.cooldown_seconds = 600), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.up(endpoint);
    world.down(endpoint);
    world.advance(599);
    assert_eq!(world.outcomes(hook)[2..], ["opened suppressed cooldown"]);
    world.advance(1);
    assert_eq!(world.outcomes(hook)[2..], ["opened suppressed cooldown", "deferred opened sent"]);
    let again = world.incident_of(endpoint);
    assert_eq!(again.incident.notifications_sent, 1);
}

#[test]
fn opening_dropped_by_rate_limit_is_not_deferred() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.flow_rule(hook);
    world.set_limit(hook, 1, RateAction::Drop);
    world.fail_run("run-1");
    world.down(endpoint);
    world.advance_in_steps(600, 60);
    assert_eq!(world.outcomes(hook), ["failure sent", "opened suppressed rate_limit"]);
}

#[test]
fn deferred_opening_is_not_sent_after_resolution() {
    let (world, endpoint, hook, rule) = world_with_suppressed_opening(|world, _, _, rule| world.pause(rule, true));
    world.up(endpoint);
    world.pause(rule, false);
    world.advance(60);
    assert_eq!(world.outcomes(hook), ["opened suppressed rule_paused", "resolved suppressed rule_paused"]);
}

#[test]
fn deferred_opening_is_evaluated_by_all_gates_again() {
    let (world, endpoint, hook, rule) = world_with_suppressed_opening(|world, _, _, rule| world.pause(rule, true));
    let mute = world.mute(MuteScope::Endpoint(endpoint), Some(600));
    world.pause(rule, false);
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened suppressed rule_paused", "deferred opened suppressed muted"]);
    // In this order: the opening is sent as soon as the mute is deleted.
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.unmute(mute);
    world.settle();
    assert_eq!(world.outcomes(hook)[1..], ["deferred opened suppressed muted", "deferred opened held quiet_hours"]);
    world.advance(3_600);
    assert_eq!(world.outcomes(hook)[2..], ["deferred opened sent"]);
    let of: Vec<_> = world.deliveries().iter().map(|it| (it.sequence, it.replaces_id)).collect();
    let ids: Vec<_> = world.deliveries().iter().map(|it| it.id).collect();
    assert_eq!(of, [(1, None), (2, Some(ids[0])), (3, Some(ids[1]))]);
}

#[test]
fn deferred_opening_follows_prolonged_mute() {
    let (world, endpoint, hook, _) = world_with_suppressed_opening(|world, endpoint, _, _| {
        world.mute(MuteScope::Endpoint(endpoint), Some(300));
    });
    world.mute(MuteScope::Endpoint(endpoint), Some(900));
    world.advance(300);
    assert_eq!(world.outcomes(hook), ["opened suppressed muted"]);
    assert!(world.engine().next_poll_at().is_some_and(|at| at > world.now()), "no busy loop");
    world.advance(600);
    assert_deferred_opening_sent(&world, endpoint, hook);
}

#[test]
fn deferred_opening_of_disabled_rule_causes_no_busy_loop() {
    let (world, endpoint, hook, rule) = world_with_suppressed_opening(|world, endpoint, _, _| {
        world.mute(MuteScope::Endpoint(endpoint), Some(300));
    });
    world.edit_rule(rule, |rule| rule.enabled = false);
    world.advance(300);
    assert_eq!(world.outcomes(hook), ["opened suppressed muted"]);
    assert!(world.engine().next_poll_at().is_none_or(|at| at > world.now()), "no busy loop");
    world.edit_rule(rule, |rule| rule.enabled = true);
    assert_deferred_opening_sent(&world, endpoint, hook);
}

#[test]
fn deferred_opening_is_carried_by_another_rule_if_its_own_is_deleted() {
    let (world, endpoint, hook, rule) = world_with_suppressed_opening(|world, _, _, rule| world.pause(rule, true));
    world.delete_rule(rule);
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened suppressed rule_paused"]);
    world.rule(endpoint, hook);
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened suppressed rule_paused", "deferred opened sent"]);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook)[2..], ["resolved sent"]);
}

#[test]
fn opening_suppressed_on_retry_is_deferred() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.set_broken("hook", false);
    let mute = world.mute(MuteScope::Channel(hook), None);
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened suppressed muted"]);
    world.unmute(mute);
    assert_deferred_opening_sent(&world, endpoint, hook);
}

#[test]
fn opening_suppressed_on_release_is_deferred() {
    for merges in [true, false] {
        let world = World::new();
        let endpoint = world.simple_endpoint("API");
        let channel = if merges { world.slack("slack") } else { world.webhook("hook") };
        world.rule(endpoint, channel);
        world.set_quiet(channel, Some(world.quiet_for(60)));
        world.degraded(endpoint);
        world.mute(MuteScope::Endpoint(endpoint), Some(4_000));
        world.advance(3_600);
        assert_eq!(world.outcomes(channel), ["opened suppressed muted"]);
        world.advance(400);
        assert_eq!(world.outcomes(channel), ["opened suppressed muted", "deferred opened sent"]);
    }
}

#[test]
fn opening_in_suppressed_digest_is_deferred() {
    let world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.set_broken("slack", true);
    world.advance(3_600);
    assert_eq!(world.outcomes(slack), ["opened held quiet_hours", "digest pending"]);
    world.mute(MuteScope::Channel(slack), Some(600));
    world.set_broken("slack", false);
    world.advance(70);
    assert_eq!(world.outcomes(slack), ["opened suppressed muted", "digest suppressed muted"]);
    world.advance(600);
    assert_eq!(world.outcomes(slack), ["opened suppressed muted", "digest suppressed muted", "deferred opened sent"]);
}

#[test]
fn deferred_opening_blocks_later_events() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let mute = world.mute(MuteScope::Endpoint(endpoint), None);
    world.degraded(endpoint);
    world.set_broken("hook", true);
    world.unmute(mute);
    world.settle();
    world.check(endpoint, CheckStatus::Down);
    world.settle();
    assert_eq!(world.outcomes(hook)[1..], ["deferred opened pending", "worsened pending"]);
    let all = world.deliveries();
    assert_eq!(all[2].blocked_by, Some(all[1].id));
    world.set_broken("hook", false);
    world.advance(70);
    assert_eq!(world.outcomes(hook)[1..], ["deferred opened sent", "worsened sent"]);
}

#[test]
fn deferred_opening_waits_for_delivery_in_progress() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    let paused = world.rule_for(endpoint, hook, &[RuleTrigger::Opened]);
    world.rule_for(endpoint, hook, &[RuleTrigger::Escalated]);
    world.pause(paused, true);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.check(endpoint, CheckStatus::Down);
    world.settle();
    world.pause(paused, false);
    world.settle();
    let all = world.deliveries();
    let in_progress = all.iter().find(|it| it.status == Status::Pending).unwrap().id;
    assert_eq!((all[2].sequence, all[2].blocked_by), (2, Some(in_progress)));
    assert!(world.receiver.requests().iter().all(|it| it.delivery_id == Some(in_progress.to_string())));
    world.set_broken("hook", false);
    world.advance(70);
    assert!(world.outcomes(hook).ends_with(&["deferred opened sent".to_owned()]), "{:?}", world.outcomes(hook));
}
