//! An opening that was stopped is said once what stopped it no longer does, if the incident is still active.

use tidings_domain::check::CheckStatus;
use tidings_domain::delivery::Status;
use tidings_domain::id::{ChannelId, EndpointId, RuleId};
use tidings_domain::maintenance::MaintenanceWindow;
use tidings_domain::mute::MuteScope;
use tidings_domain::quiet_hours::QuietAction;
use tidings_domain::rate_limit::RateAction;
use tidings_engine::settings::RuleEdit;

use crate::world::World;

/// A world in which the opening of an incident is stopped by `stop`.
fn stopped(stop: impl FnOnce(&World, EndpointId, ChannelId, RuleId)) -> (World, EndpointId, ChannelId, RuleId) {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    stop(&world, endpoint, hook, rule);
    world.degraded(endpoint);
    assert!(world.said(hook)[0].starts_with("opened suppressed"), "{:?}", world.said(hook));
    (world, endpoint, hook, rule)
}

/// Sees that it was said late, once, and leaves the row that was suppressed.
#[track_caller]
fn allows_deferred_delivery(world: &World, endpoint: EndpointId, hook: ChannelId) {
    world.settle();
    let before = world.said(hook)[0].clone();
    assert_eq!(world.said(hook), [&*before, "late opened sent"]);
    let [first, late] = &world.deliveries()[..] else { panic!("not two") };
    assert_eq!((late.replaces_id, late.sequence, late.event.id), (Some(first.id), 2, first.event.id));
    world.pass(7_200);
    world.up(endpoint);
    assert_eq!(world.said(hook), [&*before, "late opened sent", "resolved sent"]);
    assert_eq!(world.incident_of(endpoint).incident.notifications_sent, 2);
}

#[test]
fn after_a_pause() {
    let (world, endpoint, hook, rule) = stopped(|world, _, _, rule| world.pause(rule, true));
    world.pass(60);
    assert_eq!(world.said(hook).len(), 1);
    world.pause(rule, false);
    allows_deferred_delivery(&world, endpoint, hook);
}

#[test]
fn after_the_channel_was_disabled() {
    let (world, endpoint, hook, _) = stopped(|world, _, hook, _| world.set_enabled(hook, false));
    world.set_enabled(hook, true);
    allows_deferred_delivery(&world, endpoint, hook);
}

#[test]
fn after_a_mute_that_expires_or_is_deleted() {
    let scopes = [|_, _| MuteScope::Global, |it, _| MuteScope::Endpoint(it), |_, it| MuteScope::Channel(it)];
    for (scope, expires) in scopes.into_iter().flat_map(|scope| [(scope, true), (scope, false)]) {
        let mut mute = None;
        let (world, endpoint, hook, _) = stopped(|world, endpoint, hook, _| {
            mute = Some(world.mute(scope(endpoint, hook), expires.then_some(300)));
        });
        world.pass(299);
        assert_eq!(world.said(hook), ["opened suppressed muted"]);
        world.pass(1);
        if !expires {
            world.unmute(mute.unwrap());
        }
        allows_deferred_delivery(&world, endpoint, hook);
    }
}

#[test]
fn after_maintenance() {
    let (world, endpoint, hook, _) = stopped(|world, endpoint, _, _| {
        let window = MaintenanceWindow::Once { starts_at: world.now(), ends_at: world.now().plus_ms(600_000) };
        world.redefine(endpoint, |it| it.maintenance_windows = vec![window.clone()]);
    });
    world.pass(600);
    allows_deferred_delivery(&world, endpoint, hook);
}

#[test]
fn after_the_parents_incident() {
    let mut parent = None;
    let (world, endpoint, hook, _) = stopped(|world, endpoint, _, _| {
        let router = world.plain("router");
        world.redefine(endpoint, |it| it.parent_id = Some(router));
        world.down(router);
        parent = Some(router);
    });
    world.up(parent.unwrap());
    allows_deferred_delivery(&world, endpoint, hook);
}

#[test]
fn after_the_parent_was_deleted() {
    let mut parent = None;
    let (world, endpoint, hook, _) = stopped(|world, endpoint, _, _| {
        let router = world.plain("router");
        world.redefine(endpoint, |it| it.parent_id = Some(router));
        world.down(router);
        parent = Some(router);
    });
    world.redefine(endpoint, |it| it.parent_id = None);
    world.wait(world.engine().delete_endpoint(world.workspace_id, parent.unwrap(), None)).unwrap();
    allows_deferred_delivery(&world, endpoint, hook);
}

#[test]
fn after_quiet_hours_that_drop() {
    let (world, endpoint, hook, _) = stopped(|world, _, hook, _| {
        let mut hours = world.quiet_for(60);
        hours.action = QuietAction::Drop;
        world.set_quiet(hook, Some(hours));
    });
    world.pass(3_600);
    allows_deferred_delivery(&world, endpoint, hook);
}

#[test]
fn after_the_cooldown() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.cooldown_seconds = 600), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.up(endpoint);
    world.down(endpoint);
    world.pass(599);
    assert_eq!(world.said(hook)[2..], ["opened suppressed cooldown"]);
    world.pass(1);
    assert_eq!(world.said(hook)[2..], ["opened suppressed cooldown", "late opened sent"]);
    let again = world.incident_of(endpoint);
    assert_eq!(again.incident.notifications_sent, 1);
}

#[test]
fn not_after_a_filter_or_a_rate_limit_that_drops() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.flow_rule(hook);
    world.set_limit(hook, 1, RateAction::Drop);
    world.fail("run-1");
    world.down(endpoint);
    world.pass_slowly(600, 60);
    assert_eq!(world.said(hook), ["failure sent", "opened suppressed rate_limit"]);
}

#[test]
fn not_once_the_incident_is_over() {
    let (world, endpoint, hook, rule) = stopped(|world, _, _, rule| world.pause(rule, true));
    world.up(endpoint);
    world.pause(rule, false);
    world.pass(60);
    assert_eq!(world.said(hook), ["opened suppressed rule_paused", "resolved suppressed rule_paused"]);
}

#[test]
fn it_walks_the_gates_and_another_one_may_stop_it_again() {
    let (world, endpoint, hook, rule) = stopped(|world, _, _, rule| world.pause(rule, true));
    let mute = world.mute(MuteScope::Endpoint(endpoint), Some(600));
    world.pause(rule, false);
    world.settle();
    assert_eq!(world.said(hook), ["opened suppressed rule_paused", "late opened suppressed muted"]);
    // In this order: what is unmuted is said at once.
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.unmute(mute);
    world.settle();
    assert_eq!(world.said(hook)[1..], ["late opened suppressed muted", "late opened held quiet_hours"]);
    world.pass(3_600);
    assert_eq!(world.said(hook)[2..], ["late opened sent"]);
    let of: Vec<_> = world.deliveries().iter().map(|it| (it.sequence, it.replaces_id)).collect();
    let ids: Vec<_> = world.deliveries().iter().map(|it| it.id).collect();
    assert_eq!(of, [(1, None), (2, Some(ids[0])), (3, Some(ids[1]))]);
}

#[test]
fn what_is_stopped_for_longer_than_was_known_is_looked_at_again_then() {
    let (world, endpoint, hook, _) = stopped(|world, endpoint, _, _| {
        world.mute(MuteScope::Endpoint(endpoint), Some(300));
    });
    world.mute(MuteScope::Endpoint(endpoint), Some(900));
    world.pass(300);
    assert_eq!(world.said(hook), ["opened suppressed muted"]);
    assert!(world.engine().next_poll_at().is_some_and(|at| at > world.now()), "it does not look all the time");
    world.pass(600);
    allows_deferred_delivery(&world, endpoint, hook);
}

#[test]
fn a_rule_that_was_disabled_since_does_not_keep_the_engine_busy() {
    let (world, endpoint, hook, rule) = stopped(|world, endpoint, _, _| {
        world.mute(MuteScope::Endpoint(endpoint), Some(300));
    });
    world.edit_rule(rule, RuleEdit { enabled: Some(false), ..RuleEdit::default() });
    world.pass(300);
    assert_eq!(world.said(hook), ["opened suppressed muted"]);
    assert!(world.engine().next_poll_at().is_none_or(|at| at > world.now()), "it does not look all the time");
    world.edit_rule(rule, RuleEdit { enabled: Some(true), ..RuleEdit::default() });
    allows_deferred_delivery(&world, endpoint, hook);
}

#[test]
fn an_opening_that_was_stopped_when_it_came_up_is_said_late_too() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.set_broken("hook", false);
    let mute = world.mute(MuteScope::Channel(hook), None);
    world.pass(70);
    assert_eq!(world.said(hook), ["opened suppressed muted"]);
    world.unmute(mute);
    allows_deferred_delivery(&world, endpoint, hook);
}

#[test]
fn an_opening_that_was_stopped_when_it_was_let_go_is_said_late_too() {
    for merges in [true, false] {
        let world = World::new();
        let endpoint = world.plain("API");
        let channel = if merges { world.slack("slack") } else { world.webhook("hook") };
        world.rule(endpoint, channel);
        world.set_quiet(channel, Some(world.quiet_for(60)));
        world.degraded(endpoint);
        world.mute(MuteScope::Endpoint(endpoint), Some(4_000));
        world.pass(3_600);
        assert_eq!(world.said(channel), ["opened suppressed muted"]);
        world.pass(400);
        assert_eq!(world.said(channel), ["opened suppressed muted", "late opened sent"]);
    }
}

#[test]
fn an_opening_whose_digest_was_stopped_is_said_late_too() {
    let world = World::new();
    let (endpoint, slack) = (world.plain("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.set_broken("slack", true);
    world.pass(3_600);
    assert_eq!(world.said(slack), ["opened held quiet_hours", "digest pending"]);
    world.mute(MuteScope::Channel(slack), Some(600));
    world.set_broken("slack", false);
    world.pass(70);
    assert_eq!(world.said(slack), ["opened suppressed muted", "digest suppressed muted"]);
    world.pass(600);
    assert_eq!(world.said(slack), ["opened suppressed muted", "digest suppressed muted", "late opened sent"]);
}

#[test]
fn what_several_rules_say_through_one_channel_at_once_does_not_cool_down_among_itself() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.cooldown_seconds = 600), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.rule(endpoint, hook);
    let mute = world.mute(MuteScope::Endpoint(endpoint), None);
    world.down(endpoint);
    world.unmute(mute);
    world.settle();
    let muted = "opened suppressed muted";
    assert_eq!(world.said(hook), [muted, muted, "late opened sent", "late opened sent"]);
}

#[test]
fn what_happens_next_waits_for_it() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let mute = world.mute(MuteScope::Endpoint(endpoint), None);
    world.degraded(endpoint);
    world.set_broken("hook", true);
    world.unmute(mute);
    world.settle();
    world.check(endpoint, CheckStatus::Down);
    world.settle();
    assert_eq!(world.said(hook)[1..], ["late opened pending", "worsened pending"]);
    let all = world.deliveries();
    assert_eq!(all[2].blocked_by, Some(all[1].id));
    world.set_broken("hook", false);
    world.pass(70);
    assert_eq!(world.said(hook)[1..], ["late opened sent", "worsened sent"]);
}

#[test]
fn it_waits_for_what_is_under_way_through_its_channel() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    let paused = world.rule(endpoint, hook);
    world.rule(endpoint, hook);
    world.pause(paused, true);
    world.set_broken("hook", true);
    world.down(endpoint);
    world.pause(paused, false);
    world.settle();
    let all = world.deliveries();
    let under_way = all.iter().find(|it| it.status == Status::Pending).unwrap().id;
    assert_eq!((all[2].sequence, all[2].blocked_by), (2, Some(under_way)));
    assert_eq!(world.receiver.came().len(), 1);
    world.set_broken("hook", false);
    world.pass(70);
    assert!(world.said(hook).ends_with(&["late opened sent".to_owned()]), "{:?}", world.said(hook));
}
