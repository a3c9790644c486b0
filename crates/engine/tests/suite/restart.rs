//! A process is killed in the middle of something, and the next one goes on.

use tidings_domain::check::CheckStatus;
use tidings_domain::endpoint::EscalationStep;
use tidings_domain::mute::MuteScope;

use crate::receiver::Mode;
use crate::world::World;

#[test]
fn while_something_is_held() {
    let mut world = World::new();
    let (endpoint, slack) = (world.plain("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.restart();
    world.settle();
    assert_eq!(world.said(slack), ["opened held quiet_hours"]);
    world.restart();
    world.pass(3_600);
    assert_eq!(world.said(slack), ["opened sent", "digest sent"]);
}

#[test]
fn while_an_opening_has_not_been_said() {
    let mut world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.mute(MuteScope::Endpoint(endpoint), Some(600));
    world.down(endpoint);
    world.restart();
    world.settle();
    assert_eq!(world.said(hook), ["opened suppressed muted"]);
    world.clock.advance_ms(600_000);
    world.restart();
    world.settle();
    assert_eq!(world.said(hook), ["opened suppressed muted", "late opened sent"]);
    world.restart();
    world.pass(600);
    assert_eq!(world.said(hook).len(), 2);
}

#[test]
fn between_the_end_of_a_parents_incident_and_what_follows_for_its_child() {
    let mut world = World::new();
    let (parent, hook) = (world.plain("router"), world.webhook("hook"));
    let child = world.endpoint("API", |it| it.parent_id = Some(parent));
    world.rule(child, hook);
    world.down(parent);
    world.down(child);
    world.check(parent, CheckStatus::Healthy);
    world.restart();
    world.settle();
    assert_eq!(world.said(hook), ["opened suppressed dependency", "late opened sent"]);
}

#[test]
fn between_the_commit_and_the_first_attempt() {
    let mut world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.check(endpoint, CheckStatus::Down);
    world.restart();
    world.settle();
    assert_eq!(world.said(hook), ["opened sent"]);
}

#[test]
fn in_the_middle_of_an_attempt() {
    let mut world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.receiver.set("hook", Mode::Hang);
    world.check(endpoint, CheckStatus::Down);
    world.wait(world.receiver.arrived("hook", 1));
    world.restart();
    world.receiver.set("hook", Mode::Answer(200));
    world.settle();
    let ids: Vec<_> = world.receiver.came().into_iter().map(|came| came.delivery_id).collect();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]), "sent again under the same id");
    assert_eq!(world.said(hook), ["opened sent"]);
}

#[test]
fn while_an_escalation_is_pending() {
    let mut world = World::new();
    let (hook, boss) = (world.webhook("hook"), world.webhook("boss"));
    let step = EscalationStep { after_seconds: 900, channel_id: boss };
    let endpoint = world.endpoint("API", |it| it.escalation = vec![step]);
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.restart();
    world.pass(899);
    assert!(world.said(boss).is_empty());
    world.clock.advance_ms(1_000);
    world.restart();
    world.settle();
    assert_eq!(world.said(boss), ["escalated:900 sent"]);
    world.restart();
    world.pass(900);
    assert_eq!(world.said(boss).len(), 1);
}

#[test]
fn while_a_digest_is_under_way() {
    let mut world = World::new();
    let (endpoint, slack) = (world.plain("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.receiver.set("slack", Mode::Hang);
    world.clock.advance_ms(3_600_000);
    world.engine().on_clock_changed();
    world.wait(world.receiver.arrived("slack", 1));
    world.restart();
    world.set_broken("slack", true);
    world.settle();
    assert_eq!(world.said(slack), ["opened held quiet_hours", "digest pending"]);
    world.restart();
    world.set_broken("slack", false);
    world.pass(70);
    assert_eq!(world.said(slack), ["opened sent", "digest sent"]);
    world.up(endpoint);
    assert_eq!(world.said(slack)[2..], ["resolved sent"]);
}

#[test]
fn streaks_go_on() {
    let mut world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.failure_threshold = 3), world.webhook("hook"));
    world.rule(endpoint, hook);
    for _ in 0..2 {
        assert_eq!(world.check(endpoint, CheckStatus::Down), None);
        world.restart();
    }
    world.down(endpoint);
    assert_eq!(world.said(hook), ["opened sent"]);
}
