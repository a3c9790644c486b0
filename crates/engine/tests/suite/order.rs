//! For one channel and one incident, a later event is not tried before the earlier one is settled.

use tidings_domain::check::CheckStatus;
use tidings_domain::rate_limit::RateAction;

use crate::receiver::Mode;
use crate::world::World;

impl World {
    /// What came through a webhook of incidents, without repeats, in the order in which it came first.
    pub fn events_through(&self, channel: &str) -> Vec<String> {
        let mut seen = Vec::new();
        for came in self.receiver.through(channel) {
            let event = (came.delivery_id, came.body["event"].as_str().unwrap().to_owned());
            if !seen.contains(&event) {
                seen.push(event);
            }
        }
        seen.into_iter().map(|(_, event)| event).collect()
    }
}

#[test]
fn a_later_event_waits_until_the_earlier_one_is_settled() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.set_broken("hook", false);
    world.check(endpoint, CheckStatus::Down);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened pending", "worsened pending", "resolved pending"]);
    let after: Vec<_> = world.deliveries().iter().map(|it| it.blocked_by).collect();
    let ids: Vec<_> = world.deliveries().iter().map(|it| it.id).collect();
    assert_eq!(after, [None, Some(ids[0]), Some(ids[1])]);
    world.pass(70);
    assert_eq!(world.said(hook), ["opened sent", "worsened sent", "resolved sent"]);
    assert_eq!(world.events_through("hook"), ["incident_opened", "incident_escalated", "incident_resolved"]);
}

#[test]
fn an_attempt_that_hangs_holds_up_its_own_incident_and_no_other() {
    let world = World::new();
    let (one, other, hook) = (world.plain("one"), world.plain("other"), world.webhook("hook"));
    world.rule(one, hook);
    world.rule(other, hook);
    world.receiver.set("hook", Mode::Hang);
    world.check(one, CheckStatus::Down);
    world.check(one, CheckStatus::Healthy);
    world.check(other, CheckStatus::Down);
    world.wait(world.receiver.arrived("hook", 2));
    assert!(world.receiver.came().iter().all(|came| came.body["event"] == "incident_opened"));
    world.receiver.set("hook", Mode::Answer(200));
    world.settle();
    assert_eq!(world.said(hook), ["opened sent", "resolved sent", "opened sent"]);
}

#[test]
fn what_was_held_for_a_webhook_goes_out_in_the_order_of_events() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let mut hours = world.quiet_for(60);
    hours.critical_passes = false;
    world.set_quiet(hook, Some(hours));
    world.degraded(endpoint);
    world.check(endpoint, CheckStatus::Down);
    world.up(endpoint);
    assert!(world.said(hook).iter().all(|line| line.ends_with("held quiet_hours")), "{:?}", world.said(hook));
    world.set_broken("hook", true);
    world.pass(3_600);
    assert_eq!(world.events_through("hook"), ["incident_opened"], "the others wait for its retry");
    world.set_broken("hook", false);
    world.pass(70);
    assert_eq!(world.events_through("hook"), ["incident_opened", "incident_escalated", "incident_resolved"]);
}

#[test]
fn what_the_limit_lets_go_one_by_one_waits_for_what_went_before() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.flow_rule(hook);
    world.set_limit(hook, 1, RateAction::Digest);
    world.fail("run-1");
    world.degraded(endpoint);
    world.check(endpoint, CheckStatus::Down);
    world.settle();
    assert_eq!(world.said(hook)[1..], ["opened held rate_limit", "worsened held rate_limit"]);
    world.receiver.set("hook", Mode::Answer(500));
    world.pass(60);
    world.clock.advance_ms(60_000);
    world.receiver.set("hook", Mode::Answer(500));
    world.settle();
    world.receiver.set("hook", Mode::Answer(200));
    world.pass_slowly(600, 30);
    let of_incident: Vec<_> =
        world.receiver.through("hook").into_iter().filter(|came| came.body["event"] != "flow.run.terminal").collect();
    let answered: Vec<_> = of_incident.iter().map(|it| (it.body["event"].as_str().unwrap(), it.answered)).collect();
    let first_worse = answered.iter().position(|it| it.0 == "incident_escalated").unwrap();
    assert!(answered[..first_worse].contains(&("incident_opened", Some(200))), "{answered:?}");
}

#[test]
fn what_comes_while_a_digest_with_its_opening_is_retried_waits_for_that() {
    let world = World::new();
    let (endpoint, slack) = (world.plain("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.set_broken("slack", true);
    world.pass(3_600);
    assert_eq!(world.said(slack), ["opened held quiet_hours", "digest pending"]);
    world.set_broken("slack", false);
    world.up(endpoint);
    assert_eq!(world.said(slack)[2..], ["resolved pending"]);
    assert_eq!(world.receiver.came().len(), 1);
    world.pass(70);
    assert_eq!(world.said(slack), ["opened sent", "digest sent", "resolved sent"]);
    assert!(world.receiver.came()[2].says("recovered") || world.receiver.came()[2].says("resolved"));
}

#[test]
fn a_resolution_whose_opening_failed_with_its_digest_is_not_said() {
    let world = World::new();
    let (endpoint, slack) = (world.plain("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.set_broken("slack", true);
    world.pass(3_600);
    world.up(endpoint);
    world.pass(70);
    world.pass(140);
    assert_eq!(world.said(slack), ["opened failed", "digest failed", "resolved suppressed never_opened"]);
}

#[test]
fn an_opening_that_is_let_go_late_still_goes_before_the_resolution() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_quiet(hook, Some(world.quiet_for(1)));
    world.degraded(endpoint);
    world.pass(50);
    world.set_broken("hook", true);
    world.check(endpoint, CheckStatus::Down);
    world.settle();
    assert_eq!(world.said(hook), ["opened held quiet_hours", "worsened pending"]);
    world.pass(20);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened pending", "worsened pending", "resolved pending"]);
    world.set_broken("hook", false);
    world.pass_slowly(200, 1);
    assert_eq!(world.said(hook), ["opened sent", "worsened sent", "resolved sent"]);
    let taken = world.receiver.came().into_iter().filter(|came| came.answered == Some(200));
    let taken: Vec<_> = taken.map(|came| came.body["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(taken, ["incident_escalated", "incident_opened", "incident_resolved"]);
}

#[test]
fn a_resolution_waits_for_a_digest_that_is_held_when_it_comes_up_again() {
    let world = World::new();
    let (endpoint, slack) = (world.plain("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.set_broken("slack", true);
    world.pass(3_600);
    world.up(endpoint);
    world.set_broken("slack", false);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.pass(70);
    let held = ["opened held quiet_hours", "digest held quiet_hours", "resolved held quiet_hours"];
    assert_eq!(world.said(slack), held);
    world.pass(3_600);
    assert_eq!(world.said(slack), ["opened sent", "digest sent", "resolved sent"]);
    let resolved = world.last(slack);
    assert_eq!(resolved.blocked_by, Some(world.deliveries()[0].id));
}
