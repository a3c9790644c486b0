//! What is said of the end of an incident depends on what became of its opening.

use tidings_domain::mute::MuteScope;
use tidings_domain::quiet_hours::QuietAction;
use tidings_domain::rate_limit::RateAction;
use tidings_domain::trigger::RuleTrigger;

use crate::log::entries;
use crate::world::World;

#[test]
fn a_resolution_whose_opening_was_sent_passes_quiet_hours_and_a_parent_that_is_down() {
    let world = World::new();
    let (parent, hook) = (world.plain("router"), world.webhook("hook"));
    let child = world.endpoint("API", |it| it.parent_id = Some(parent));
    world.rule(child, hook);
    world.down(child);
    world.down(parent);
    let mut hours = world.quiet_for(60);
    hours.critical_passes = false;
    world.set_quiet(hook, Some(hours));
    world.up(child);
    assert_eq!(world.said(hook), ["opened sent", "resolved sent"]);
}

#[test]
fn a_resolution_does_not_pass_mutes() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.mute(MuteScope::Endpoint(endpoint), None);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened sent", "resolved suppressed muted"]);
}

#[test]
fn a_resolution_whose_opening_is_held_joins_it_in_one_entry() {
    let world = World::new();
    let (endpoint, slack) = (world.plain("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.pass(600);
    world.up(endpoint);
    assert_eq!(world.said(slack), ["opened held quiet_hours", "resolved held quiet_hours"]);
    world.pass(3_000);
    assert_eq!(world.said(slack), ["opened sent", "resolved sent", "digest sent"]);
    assert_eq!(entries(&world.last(slack)).len(), 1);
    assert_eq!(world.receiver.came().len(), 1);
}

#[test]
fn through_a_webhook_a_held_opening_goes_before_its_resolution() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.pass(600);
    world.up(endpoint);
    world.set_broken("hook", true);
    world.pass(3_000);
    assert_eq!(world.receiver.came().len(), 1, "the resolution waits for the opening's retry");
    world.set_broken("hook", false);
    world.pass(70);
    let came: Vec<_> =
        world.receiver.came().iter().map(|came| came.body["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(came, ["incident_opened", "incident_opened", "incident_resolved"]);
    assert_eq!(world.said(hook), ["opened sent", "resolved sent"]);
}

#[test]
fn a_resolution_whose_opening_was_filtered_walks_as_any_event() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let filters = tidings_domain::channel::EventFilters { send_open: false, ..Default::default() };
    world.edit(hook, tidings_engine::settings::ChannelEdit { event_filters: Some(filters), ..Default::default() });
    world.degraded(endpoint);
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened suppressed event_filter", "resolved held quiet_hours"]);
    world.pass(3_600);
    assert_eq!(world.said(hook)[1..], ["resolved sent"]);
}

#[test]
fn a_resolution_of_which_nobody_heard_that_it_began_is_not_said() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.pause(rule, true);
    world.down(endpoint);
    // The very instant at which the pause ends is that of the end: nothing was said late in between.
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened suppressed rule_paused", "resolved suppressed rule_paused"]);
    world.pause(rule, false);
    let fresh = world.plain("fresh");
    world.down(fresh);
    world.rule(fresh, hook);
    world.up(fresh);
    assert_eq!(world.said(hook)[2..], ["resolved suppressed never_opened"], "the rule was made in between");
}

#[test]
fn a_resolution_waits_for_its_opening_and_is_not_said_if_that_fails() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.down(endpoint);
    world.pass(10);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened pending", "resolved pending"]);
    let [opened, resolved] = &world.deliveries()[..] else { panic!("not two") };
    assert_eq!(resolved.blocked_by, Some(opened.id));
    world.pass(70);
    world.pass(140);
    assert_eq!(world.said(hook), ["opened failed", "resolved suppressed never_opened"]);
    assert!(world.receiver.came().iter().all(|came| came.body["event"] == "incident_opened"));
}

#[test]
fn a_resolution_is_not_said_if_its_opening_failed_though_something_else_was_said_between() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.check(endpoint, tidings_domain::check::CheckStatus::Down);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened pending", "worsened pending", "resolved pending"]);
    world.pass(70);
    world.clock.advance_ms(140_000);
    world.settle();
    assert_eq!(world.said(hook), ["opened failed", "worsened pending", "resolved pending"]);
    world.set_broken("hook", false);
    world.pass(70);
    assert_eq!(world.said(hook), ["opened failed", "worsened sent", "resolved suppressed never_opened"]);
}

#[test]
fn a_resolution_is_held_with_an_opening_that_is_held_when_it_comes_up_again() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.up(endpoint);
    world.set_broken("hook", false);
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.pass(70);
    assert_eq!(world.said(hook), ["opened held quiet_hours", "resolved held quiet_hours"]);
    world.pass(3_600);
    let came: Vec<_> =
        world.receiver.came().iter().map(|came| came.body["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(came, ["incident_opened", "incident_opened", "incident_resolved"]);
}

#[test]
fn a_resolution_of_a_rule_that_lists_only_those_is_held_when_quiet_begins_while_it_waits() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule_of(endpoint, hook, &[RuleTrigger::Resolved]);
    world.down(endpoint);
    world.set_broken("hook", true);
    world.up(endpoint);
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.pass(70);
    assert_eq!(world.said(hook), ["resolved held quiet_hours"]);
}

#[test]
fn a_resolution_whose_opening_is_dropped_is_not_said() {
    for by_limit in [true, false] {
        let world = World::new();
        let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
        world.rule(endpoint, hook);
        world.flow_rule(hook);
        if by_limit {
            world.set_limit(hook, 1, RateAction::Drop);
            world.fail("run-1");
        } else {
            let mut hours = world.quiet_for(60);
            hours.action = QuietAction::Drop;
            world.set_quiet(hook, Some(hours));
        }
        world.degraded(endpoint);
        world.up(endpoint);
        let said = world.said(hook);
        assert_eq!(said.last().unwrap(), "resolved suppressed never_opened", "{said:?}");
    }
}
