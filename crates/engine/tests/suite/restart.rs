//! A process is killed at some point, and the next one continues.

use tidings_domain::check::CheckStatus;
use tidings_domain::endpoint::EscalationStep;
use tidings_domain::mute::MuteScope;

use crate::receiver::Mode;
use crate::world::World;

#[test]
fn restart_keeps_held_deliveries() {
    let mut world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.restart();
    world.settle();
    assert_eq!(world.outcomes(slack), ["opened held quiet_hours"]);
    world.restart();
    world.advance(3_600);
    assert_eq!(world.outcomes(slack), ["opened sent", "digest sent"]);
}

#[test]
fn restart_keeps_deferred_opening() {
    let mut world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.mute(MuteScope::Endpoint(endpoint), Some(600));
    world.down(endpoint);
    world.restart();
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened suppressed muted"]);
    world.clock.advance_ms(600_000);
    world.restart();
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened suppressed muted", "deferred opened sent"]);
    world.restart();
    world.advance(600);
    assert_eq!(world.outcomes(hook).len(), 2);
}

#[test]
fn restart_after_parent_recovery_sends_deferred_opening_of_child() {
    let mut world = World::new();
    let (parent, hook) = (world.simple_endpoint("router"), world.webhook("hook"));
    let child = world.endpoint("API", |it| it.parent_id = Some(parent));
    world.rule(child, hook);
    world.down(parent);
    world.down(child);
    world.check(parent, CheckStatus::Healthy);
    world.restart();
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened suppressed dependency", "deferred opened sent"]);
}

#[test]
fn restart_after_commit_sends_reclaimed_delivery() {
    let mut world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.check(endpoint, CheckStatus::Down);
    world.restart();
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened sent"]);
}

#[test]
fn restart_during_attempt_sends_again_under_the_same_id() {
    let mut world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.receiver.set("hook", Mode::Hang);
    world.check(endpoint, CheckStatus::Down);
    world.wait(world.receiver.wait_for_requests("hook", 1));
    world.restart();
    world.receiver.set("hook", Mode::Respond(200));
    world.settle();
    let ids: Vec<_> = world.receiver.requests().into_iter().map(|request| request.delivery_id).collect();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]), "sent again under the same id");
    assert_eq!(world.outcomes(hook), ["opened sent"]);
}

#[test]
fn restart_keeps_pending_escalation() {
    let mut world = World::new();
    let (hook, boss) = (world.webhook("hook"), world.webhook("boss"));
    let step = EscalationStep { after_seconds: 900, channel_id: boss };
    let endpoint = world.endpoint("API", |it| it.escalation = vec![step]);
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.restart();
    world.advance(899);
    assert!(world.outcomes(boss).is_empty());
    world.clock.advance_ms(1_000);
    world.restart();
    world.settle();
    assert_eq!(world.outcomes(boss), ["escalated:900 sent"]);
    world.restart();
    world.advance(900);
    assert_eq!(world.outcomes(boss).len(), 1);
}

#[test]
fn restart_during_digest_attempt_keeps_its_members() {
    let mut world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.receiver.set("slack", Mode::Hang);
    world.clock.advance_ms(3_600_000);
    world.engine().on_clock_changed();
    world.wait(world.receiver.wait_for_requests("slack", 1));
    world.restart();
    world.set_broken("slack", true);
    world.settle();
    assert_eq!(world.outcomes(slack), ["opened held quiet_hours", "digest pending"]);
    world.restart();
    world.set_broken("slack", false);
    world.advance(70);
    assert_eq!(world.outcomes(slack), ["opened sent", "digest sent"]);
    world.up(endpoint);
    assert_eq!(world.outcomes(slack)[2..], ["resolved sent"]);
}

#[test]
fn restart_keeps_streaks() {
    let mut world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.failure_threshold = 3), world.webhook("hook"));
    world.rule(endpoint, hook);
    for _ in 0..2 {
        assert_eq!(world.check(endpoint, CheckStatus::Down), None);
        world.restart();
    }
    world.down(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent"]);
}
