//! Cooldown, rate limit, and the priority that passes both.

use tidings_domain::channel::DeliveryPriority;
use tidings_domain::gate::Gate;
use tidings_domain::id::ChannelId;
use tidings_domain::rate_limit::{RateAction, RateLimit};

use crate::world::World;

impl World {
    #[track_caller]
    pub fn set_limit(&self, channel: ChannelId, max_per_minute: u32, action: RateAction) {
        let limit = RateLimit { max_per_minute, action };
        self.edit(channel, |policies| policies.rate_limit = Some(limit));
    }
}

#[test]
fn gate_11_cooldown_counts_per_channel_from_last_passed_opening() {
    let world = World::new();
    let (hook, other) = (world.webhook("hook"), world.webhook("other"));
    let endpoint = world.endpoint("API", |it| it.cooldown_seconds = 600);
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.up(endpoint);
    world.rule(endpoint, other);
    world.advance(300);
    world.down(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent", "opened suppressed cooldown"], "openings only");
    assert_eq!(world.outcomes(other), ["opened sent"], "the other channel has no opening yet");
    world.up(endpoint);
    assert_eq!(world.outcomes(hook)[3..], ["resolved suppressed never_opened"]);
    world.advance(300);
    world.down(endpoint);
    assert_eq!(world.outcomes(hook)[4..], ["opened sent"], "a suppressed opening does not prolong the cooldown");
}

#[test]
fn gate_12_rate_limit_drops_over_any_minute() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.set_limit(hook, 2, RateAction::Drop);
    world.fail_run("run-1");
    world.advance(30);
    world.fail_run("run-2");
    world.fail_run("run-3");
    assert_eq!(world.outcomes(hook), ["failure sent", "failure sent", "failure suppressed rate_limit"]);
    world.advance(30);
    world.fail_run("run-4");
    world.fail_run("run-5");
    assert_eq!(world.outcomes(hook)[3..], ["failure sent", "failure suppressed rate_limit"], "one slot is free again");
    let evaluation = &world.last(hook).gate_evaluations[0];
    assert_eq!(evaluation.passed_gates().last(), Some(Gate::Cooldown));
}

#[test]
fn gate_12_rate_limit_counts_first_attempts_only() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.set_limit(hook, 1, RateAction::Drop);
    world.set_broken("hook", true);
    world.fail_run("run-1");
    world.set_broken("hook", false);
    world.advance(70);
    world.fail_run("run-2");
    assert_eq!(world.outcomes(hook), ["failure sent", "failure sent"]);
    assert_eq!(world.receiver.requests().len(), 3);
}

#[test]
fn gate_12_rate_limit_passes_resolution_of_sent_opening() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_limit(hook, 1, RateAction::Digest);
    world.down(endpoint);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"]);
}

#[test]
fn critical_priority_passes_cooldown_and_rate_limit() {
    let world = World::new();
    let hook = world.webhook("hook");
    let endpoint = world.endpoint("API", |it| it.cooldown_seconds = 600);
    world.rule(endpoint, hook);
    world.set_limit(hook, 1, RateAction::Drop);
    world.edit(hook, |policies| policies.delivery_priority = DeliveryPriority::Critical);
    for _ in 0..2 {
        world.down(endpoint);
        world.up(endpoint);
    }
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent", "opened sent", "resolved sent"]);
}

#[test]
fn free_slot_goes_to_held_deliveries_first() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.set_limit(hook, 1, RateAction::Digest);
    world.fail_run("run-1");
    world.fail_run("run-2");
    world.fail_run("run-3");
    assert_eq!(world.outcomes(hook), ["failure sent", "failure held rate_limit", "failure held rate_limit"]);
    world.clock.advance_ms(60_000);
    world.fail_run("run-4");
    assert_eq!(world.outcomes(hook)[1..], ["failure sent", "failure held rate_limit", "failure held rate_limit"]);
    world.advance(60);
    world.advance(60);
    let runs: Vec<_> =
        world.receiver.requests().iter().map(|request| request.body["runId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(runs, ["run-1", "run-2", "run-3", "run-4"], "webhooks are released individually, oldest first");
}

#[test]
fn opening_dropped_by_rate_limit_starts_no_cooldown() {
    let world = World::new();
    let hook = world.webhook("hook");
    let endpoint = world.endpoint("API", |it| it.cooldown_seconds = 600);
    world.rule(endpoint, hook);
    world.flow_rule(hook);
    world.set_limit(hook, 1, RateAction::Drop);
    world.fail_run("run-1");
    world.down(endpoint);
    world.up(endpoint);
    world.advance(60);
    world.down(endpoint);
    let expected = ["opened suppressed rate_limit", "resolved suppressed never_opened", "opened sent"];
    assert_eq!(world.outcomes(hook)[1..], expected);
}
