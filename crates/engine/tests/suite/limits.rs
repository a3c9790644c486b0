//! Cooldown, rate limit, and the priority that passes both.

use tidings_domain::channel::DeliveryPriority;
use tidings_domain::gate::Gate;
use tidings_domain::id::ChannelId;
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_engine::settings::ChannelEdit;

use crate::world::World;

impl World {
    #[track_caller]
    pub fn set_limit(&self, channel: ChannelId, max_per_minute: u32, action: RateAction) {
        let limit = RateLimit { max_per_minute, action };
        self.edit(channel, ChannelEdit { rate_limit: Some(Some(limit)), ..ChannelEdit::default() });
    }
}

#[test]
fn gate_11_an_endpoint_cools_down_per_channel_since_the_last_opening_that_passed() {
    let world = World::new();
    let (hook, late) = (world.webhook("hook"), world.webhook("late"));
    let endpoint = world.endpoint("API", |it| it.cooldown_seconds = 600);
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.up(endpoint);
    world.rule(endpoint, late);
    world.pass(300);
    world.down(endpoint);
    assert_eq!(world.said(hook), ["opened sent", "resolved sent", "opened suppressed cooldown"], "openings only");
    assert_eq!(world.said(late), ["opened sent"], "another channel has not heard of it yet");
    world.up(endpoint);
    assert_eq!(world.said(hook)[3..], ["resolved suppressed never_opened"]);
    world.pass(300);
    world.down(endpoint);
    assert_eq!(world.said(hook)[4..], ["opened sent"], "the one that was stopped does not prolong it");
}

#[test]
fn gate_12_drops_what_is_one_too_many_in_any_minute() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.set_limit(hook, 2, RateAction::Drop);
    world.fail("run-1");
    world.pass(30);
    world.fail("run-2");
    world.fail("run-3");
    assert_eq!(world.said(hook), ["failure sent", "failure sent", "failure suppressed rate_limit"]);
    world.pass(30);
    world.fail("run-4");
    world.fail("run-5");
    assert_eq!(world.said(hook)[3..], ["failure sent", "failure suppressed rate_limit"], "one slot is free again");
    let evaluation = &world.last(hook).gate_evaluations[0];
    assert_eq!(evaluation.passed_gates().last(), Some(Gate::Cooldown));
}

#[test]
fn gate_12_counts_first_attempts_and_not_retries() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.set_limit(hook, 1, RateAction::Drop);
    world.set_broken("hook", true);
    world.fail("run-1");
    world.set_broken("hook", false);
    world.pass(70);
    world.fail("run-2");
    assert_eq!(world.said(hook), ["failure sent", "failure sent"]);
    assert_eq!(world.receiver.came().len(), 3);
}

#[test]
fn gate_12_a_resolution_whose_opening_was_said_passes() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_limit(hook, 1, RateAction::Digest);
    world.down(endpoint);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened sent", "resolved sent"]);
}

#[test]
fn critical_priority_passes_cooldown_and_rate_limit() {
    let world = World::new();
    let hook = world.webhook("hook");
    let endpoint = world.endpoint("API", |it| it.cooldown_seconds = 600);
    world.rule(endpoint, hook);
    world.set_limit(hook, 1, RateAction::Drop);
    world.edit(hook, ChannelEdit { delivery_priority: Some(DeliveryPriority::Critical), ..ChannelEdit::default() });
    for _ in 0..2 {
        world.down(endpoint);
        world.up(endpoint);
    }
    assert_eq!(world.said(hook), ["opened sent", "resolved sent", "opened sent", "resolved sent"]);
}

#[test]
fn a_step_of_time_that_frees_a_slot_lets_what_waits_go_first() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.set_limit(hook, 1, RateAction::Digest);
    world.fail("run-1");
    world.fail("run-2");
    world.fail("run-3");
    assert_eq!(world.said(hook), ["failure sent", "failure held rate_limit", "failure held rate_limit"]);
    world.clock.advance_ms(60_000);
    world.fail("run-4");
    assert_eq!(world.said(hook)[1..], ["failure sent", "failure held rate_limit", "failure held rate_limit"]);
    world.pass(60);
    world.pass(60);
    let runs: Vec<_> =
        world.receiver.came().iter().map(|came| came.body["runId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(runs, ["run-1", "run-2", "run-3", "run-4"], "webhooks are released singly, oldest first");
}

#[test]
fn an_opening_that_the_rate_limit_dropped_has_not_passed_and_nothing_cools_down_after_it() {
    let world = World::new();
    let hook = world.webhook("hook");
    let endpoint = world.endpoint("API", |it| it.cooldown_seconds = 600);
    world.rule(endpoint, hook);
    world.flow_rule(hook);
    world.set_limit(hook, 1, RateAction::Drop);
    world.fail("run-1");
    world.down(endpoint);
    world.up(endpoint);
    world.pass(60);
    world.down(endpoint);
    let expected = ["opened suppressed rate_limit", "resolved suppressed never_opened", "opened sent"];
    assert_eq!(world.said(hook)[1..], expected);
}
