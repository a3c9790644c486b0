//! For one channel and one incident, a later event is not attempted before the earlier one is settled.

use tidings_domain::check::CheckStatus;
use tidings_domain::endpoint::EscalationStep;
use tidings_domain::rate_limit::RateAction;

use crate::receiver::Mode;
use crate::world::{World, ana};

impl World {
    /// The events that a webhook received, without retries, in the order in which each arrived first.
    pub fn events_through(&self, channel: &str) -> Vec<String> {
        let mut seen = Vec::new();
        for request in self.receiver.requests_to(channel) {
            let event = (request.delivery_id, request.body["event"].as_str().unwrap().to_owned());
            if !seen.contains(&event) {
                seen.push(event);
            }
        }
        seen.into_iter().map(|(_, event)| event).collect()
    }
}

#[test]
fn later_event_waits_until_earlier_is_settled() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.check(endpoint, CheckStatus::Down);
    world.up(endpoint);
    // The next incident of the endpoint is in the same chain.
    world.down(endpoint);
    assert_eq!(world.outcomes(hook), ["opened pending", "worsened pending", "resolved pending", "opened pending"]);
    let blocked_by: Vec<_> = world.deliveries().iter().map(|it| it.blocked_by).collect();
    let ids: Vec<_> = world.deliveries().iter().map(|it| it.id).collect();
    assert_eq!(blocked_by, [None, Some(ids[0]), Some(ids[1]), Some(ids[2])]);
    world.set_broken("hook", false);
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened sent", "worsened sent", "resolved sent", "opened sent"]);
    assert_eq!(
        world.events_through("hook"),
        ["incident_opened", "incident_escalated", "incident_resolved", "incident_opened"]
    );
}

#[test]
fn newer_event_tries_the_waiting_one_at_once() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.down(endpoint);
    world.advance(10);
    world.set_broken("hook", false);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"], "long before the retry was due");
    let triggers: Vec<_> = world.deliveries()[0].attempts.iter().map(|attempt| attempt.trigger.as_str()).collect();
    assert_eq!(triggers, ["scheduled", "newer_event"]);
}

#[test]
fn newer_events_use_up_no_retry_and_are_bounded() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    // It flaps every second for two minutes.
    for _ in 0..60 {
        world.down(endpoint);
        world.advance(1);
        world.up(endpoint);
        world.advance(1);
    }
    let first = &world.deliveries()[0];
    let of = |trigger: &str| first.attempts.iter().filter(|attempt| attempt.trigger.as_str() == trigger).count();
    assert_eq!(of("scheduled"), 2, "its own schedule goes on: after a minute");
    assert!((20..=25).contains(&of("newer_event")), "at most every 5 s: {}", of("newer_event"));
    let attempted = world.deliveries().iter().filter(|it| it.attempt_count > 0).count();
    assert_eq!(attempted, 1, "only the head is attempted");
    world.set_broken("hook", false);
    world.advance(180);
    let outcomes = world.outcomes(hook);
    assert!(outcomes.len() >= 120 && outcomes.iter().all(|outcome| outcome.ends_with(" sent")), "{outcomes:?}");
    let expected: Vec<_> = world.deliveries().iter().map(|it| it.event.kind.as_str()).collect();
    assert_eq!(world.events_through("hook"), expected);
}

#[test]
fn newer_event_respects_retry_after() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.receiver.set("hook", Mode::Unavailable(40));
    world.down(endpoint);
    world.receiver.set("hook", Mode::Respond(200));
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened pending", "resolved pending"]);
    world.advance(39);
    assert_eq!(world.receiver.requests().len(), 1);
    world.advance(1);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"]);
}

#[test]
fn chain_continues_after_a_kill() {
    let mut world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.receiver.set("hook", Mode::Hang);
    world.check(endpoint, CheckStatus::Down);
    world.check(endpoint, CheckStatus::Healthy);
    world.wait(world.receiver.wait_for_requests("hook", 1));
    world.restart();
    world.receiver.set("hook", Mode::Respond(200));
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"]);
    assert_eq!(world.events_through("hook"), ["incident_opened", "incident_resolved"]);
}

#[test]
fn hanging_attempt_blocks_its_own_incident_only() {
    let world = World::new();
    let (one, other, hook) = (world.simple_endpoint("one"), world.simple_endpoint("other"), world.webhook("hook"));
    world.rule(one, hook);
    world.rule(other, hook);
    world.receiver.set("hook", Mode::Hang);
    world.check(one, CheckStatus::Down);
    world.check(one, CheckStatus::Healthy);
    world.check(other, CheckStatus::Down);
    world.wait(world.receiver.wait_for_requests("hook", 2));
    assert!(world.receiver.requests().iter().all(|request| request.body["event"] == "incident_opened"));
    world.receiver.set("hook", Mode::Respond(200));
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent", "opened sent"]);
}

#[test]
fn released_webhooks_keep_the_order_of_events() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let mut hours = world.quiet_for(60);
    hours.critical_passes = false;
    world.set_quiet(hook, Some(hours));
    world.degraded(endpoint);
    world.check(endpoint, CheckStatus::Down);
    world.up(endpoint);
    assert!(world.outcomes(hook).iter().all(|line| line.ends_with("held quiet_hours")), "{:?}", world.outcomes(hook));
    world.set_broken("hook", true);
    world.advance(3_600);
    assert_eq!(world.events_through("hook"), ["incident_opened"], "the others wait for its retry");
    world.set_broken("hook", false);
    world.advance(70);
    assert_eq!(world.events_through("hook"), ["incident_opened", "incident_escalated", "incident_resolved"]);
}

#[test]
fn deliveries_released_by_rate_limit_wait_for_earlier_ones() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.flow_rule(hook);
    world.set_limit(hook, 1, RateAction::Digest);
    world.fail_run("run-1");
    world.degraded(endpoint);
    world.check(endpoint, CheckStatus::Down);
    world.settle();
    assert_eq!(world.outcomes(hook)[1..], ["opened held rate_limit", "worsened held rate_limit"]);
    world.receiver.set("hook", Mode::Respond(500));
    world.advance(60);
    world.clock.advance_ms(60_000);
    world.receiver.set("hook", Mode::Respond(500));
    world.settle();
    world.receiver.set("hook", Mode::Respond(200));
    world.advance_in_steps(600, 30);
    let of_incident: Vec<_> = world
        .receiver
        .requests_to("hook")
        .into_iter()
        .filter(|request| request.body["event"] != "flow.run.terminal")
        .collect();
    let responses: Vec<_> =
        of_incident.iter().map(|it| (it.body["event"].as_str().unwrap(), it.response_status)).collect();
    let first_worse = responses.iter().position(|it| it.0 == "incident_escalated").unwrap();
    assert!(responses[..first_worse].contains(&("incident_opened", Some(200))), "{responses:?}");
}

#[test]
fn resolution_waits_for_retried_digest_with_its_opening() {
    let world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.set_broken("slack", true);
    world.advance(3_600);
    assert_eq!(world.outcomes(slack), ["opened held quiet_hours", "digest pending"]);
    world.up(endpoint);
    assert_eq!(world.outcomes(slack)[2..], ["resolved pending"]);
    let digest = world.deliveries()[1].id;
    assert_eq!(world.last(slack).blocked_by, Some(digest));
    world.set_broken("slack", false);
    world.advance(70);
    assert_eq!(world.outcomes(slack), ["opened sent", "digest sent", "resolved sent"]);
    let last = world.receiver.requests().pop().unwrap();
    assert!(last.contains("recovered") || last.contains("resolved"));
}

#[test]
fn resolution_of_opening_failed_in_digest_is_suppressed() {
    let world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.set_broken("slack", true);
    world.advance(3_600);
    world.up(endpoint);
    world.advance(70);
    world.advance(140);
    assert_eq!(world.outcomes(slack), ["opened failed", "digest failed", "resolved suppressed never_opened"]);
}

#[test]
fn released_opening_is_superseded_if_later_event_was_sent() {
    for is_sent_before in [true, false] {
        let world = World::new();
        let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
        world.rule(endpoint, hook);
        world.set_quiet(hook, Some(world.quiet_for(1)));
        world.degraded(endpoint);
        world.advance(50);
        world.set_broken("hook", !is_sent_before);
        world.check(endpoint, CheckStatus::Down);
        world.settle();
        let worsened = if is_sent_before { "worsened sent" } else { "worsened pending" };
        assert_eq!(world.outcomes(hook), ["opened held quiet_hours", worsened]);
        world.advance(20);
        if !is_sent_before {
            assert_eq!(world.outcomes(hook)[0], "opened pending", "it waits behind the later one");
        }
        world.set_broken("hook", false);
        world.advance_in_steps(100, 10);
        assert_eq!(world.outcomes(hook), ["opened suppressed superseded", "worsened sent"]);
        assert_eq!(world.events_through("hook"), ["incident_escalated"]);
    }
}

#[test]
fn digest_that_quiet_hours_hold_again_is_replaced_by_one_of_then() {
    let world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.set_broken("slack", true);
    world.advance(3_600);
    world.set_broken("slack", false);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.advance(70);
    assert_eq!(world.outcomes(slack), ["opened held quiet_hours", "digest suppressed quiet_hours"]);
    world.up(endpoint);
    assert_eq!(world.outcomes(slack)[2..], ["resolved held quiet_hours"]);
    world.advance(3_600);
    let outcomes = ["opened sent", "digest suppressed quiet_hours", "resolved sent", "digest sent"];
    assert_eq!(world.outcomes(slack), outcomes);
    assert_eq!(world.receiver.requests_to("slack").len(), 2, "the attempt that failed, and one digest");
}

#[test]
fn step_and_reminder_are_dropped_when_acknowledged_or_over() {
    for (is_resolved, reason) in [(false, "acknowledged"), (true, "incident_over")] {
        let world = World::new();
        let (hook, boss) = (world.webhook("hook"), world.webhook("boss"));
        let endpoint = world.endpoint("API", |it| {
            it.reminder_minutes = Some(10);
            it.escalation = vec![EscalationStep { after_seconds: 600, channel_id: boss }];
        });
        world.rule(endpoint, hook);
        world.down(endpoint);
        for channel in ["hook", "boss"] {
            world.set_broken(channel, true);
        }
        world.advance(600);
        assert_eq!(world.outcomes(hook), ["opened sent", "reminder:1 pending"]);
        assert_eq!(world.outcomes(boss), ["escalated:600 pending"]);
        if is_resolved {
            world.up(endpoint);
        } else {
            let id = world.incident_of(endpoint).incident.id;
            world.wait(world.engine().acknowledge(world.workspace_id, id, ana(), None, None)).unwrap();
        }
        for channel in ["hook", "boss"] {
            world.set_broken(channel, false);
        }
        world.advance(70);
        assert_eq!(world.outcomes(hook)[1], format!("reminder:1 suppressed {reason}"));
        assert_eq!(world.outcomes(boss)[0], format!("escalated:600 suppressed {reason}"));
    }
}
