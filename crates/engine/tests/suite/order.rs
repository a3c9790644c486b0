//! For one channel and one incident, a later event is not attempted before the earlier one is settled.

use tidings_domain::check::CheckStatus;
use tidings_domain::rate_limit::RateAction;

use crate::receiver::Mode;
use crate::world::World;

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
    world.set_broken("hook", false);
    world.check(endpoint, CheckStatus::Down);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened pending", "worsened pending", "resolved pending"]);
    let blocked_by: Vec<_> = world.deliveries().iter().map(|it| it.blocked_by).collect();
    let ids: Vec<_> = world.deliveries().iter().map(|it| it.id).collect();
    assert_eq!(blocked_by, [None, Some(ids[0]), Some(ids[1])]);
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened sent", "worsened sent", "resolved sent"]);
    assert_eq!(world.events_through("hook"), ["incident_opened", "incident_escalated", "incident_resolved"]);
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
    world.set_broken("slack", false);
    world.up(endpoint);
    assert_eq!(world.outcomes(slack)[2..], ["resolved pending"]);
    assert_eq!(world.receiver.requests().len(), 1);
    world.advance(70);
    assert_eq!(world.outcomes(slack), ["opened sent", "digest sent", "resolved sent"]);
    assert!(world.receiver.requests()[2].contains("recovered") || world.receiver.requests()[2].contains("resolved"));
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
fn released_opening_goes_before_resolution() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_quiet(hook, Some(world.quiet_for(1)));
    world.degraded(endpoint);
    world.advance(50);
    world.set_broken("hook", true);
    world.check(endpoint, CheckStatus::Down);
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened held quiet_hours", "worsened pending"]);
    world.advance(20);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened pending", "worsened pending", "resolved pending"]);
    world.set_broken("hook", false);
    world.advance_in_steps(200, 1);
    assert_eq!(world.outcomes(hook), ["opened sent", "worsened sent", "resolved sent"]);
    let accepted = world.receiver.requests().into_iter().filter(|request| request.response_status == Some(200));
    let accepted: Vec<_> = accepted.map(|request| request.body["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(accepted, ["incident_escalated", "incident_opened", "incident_resolved"]);
}

#[test]
fn resolution_is_held_with_held_digest_of_its_opening() {
    let world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.set_broken("slack", true);
    world.advance(3_600);
    world.up(endpoint);
    world.set_broken("slack", false);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.advance(70);
    let held = ["opened held quiet_hours", "digest held quiet_hours", "resolved held quiet_hours"];
    assert_eq!(world.outcomes(slack), held);
    world.advance(3_600);
    assert_eq!(world.outcomes(slack), ["opened sent", "digest sent", "resolved sent"]);
    let resolved = world.last(slack);
    assert_eq!(resolved.blocked_by, Some(world.deliveries()[0].id));
}
