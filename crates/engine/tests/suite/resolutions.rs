//! Whether a resolution is sent depends on what became of the opening of the incident.

use tidings_domain::mute::MuteScope;
use tidings_domain::quiet_hours::QuietAction;
use tidings_domain::rate_limit::RateAction;
use tidings_domain::trigger::RuleTrigger;

use crate::records::entries;
use crate::world::World;

#[test]
fn resolution_of_sent_opening_passes_quiet_hours_and_dependency() {
    let world = World::new();
    let (parent, hook) = (world.simple_endpoint("router"), world.webhook("hook"));
    let child = world.endpoint("API", |it| it.parent_id = Some(parent));
    world.rule(child, hook);
    world.down(child);
    world.down(parent);
    let mut hours = world.quiet_for(60);
    hours.critical_passes = false;
    world.set_quiet(hook, Some(hours));
    world.up(child);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"]);
}

#[test]
fn resolution_does_not_pass_mutes() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.mute(MuteScope::Endpoint(endpoint), None);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved suppressed muted"]);
}

#[test]
fn resolution_of_held_opening_joins_it_in_one_digest_entry() {
    let world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.advance(600);
    world.up(endpoint);
    assert_eq!(world.outcomes(slack), ["opened held quiet_hours", "resolved held quiet_hours"]);
    world.advance(3_000);
    assert_eq!(world.outcomes(slack), ["opened sent", "resolved sent", "digest sent"]);
    assert_eq!(entries(&world.last(slack)).len(), 1);
    assert_eq!(world.receiver.requests().len(), 1);
}

#[test]
fn webhook_sends_held_opening_before_its_resolution() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.advance(600);
    world.up(endpoint);
    world.set_broken("hook", true);
    world.advance(3_000);
    assert_eq!(world.receiver.requests().len(), 1, "the resolution waits for the opening's retry");
    world.set_broken("hook", false);
    world.advance(70);
    let events: Vec<_> =
        world.receiver.requests().iter().map(|request| request.body["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events, ["incident_opened", "incident_opened", "incident_resolved"]);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"]);
}

#[test]
fn resolution_of_filtered_opening_is_evaluated_as_any_event() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let filters = tidings_domain::channel::EventFilters { send_open: false, ..Default::default() };
    world.edit(hook, tidings_engine::settings::ChannelEdit { event_filters: Some(filters), ..Default::default() });
    world.degraded(endpoint);
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened suppressed event_filter", "resolved held quiet_hours"]);
    world.advance(3_600);
    assert_eq!(world.outcomes(hook)[1..], ["resolved sent"]);
}

#[test]
fn resolution_without_notified_opening_is_suppressed() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.pause(rule, true);
    world.down(endpoint);
    // The pause ends only after the incident: no deferred opening was sent in between.
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened suppressed rule_paused", "resolved suppressed rule_paused"]);
    world.pause(rule, false);
    let fresh = world.simple_endpoint("fresh");
    world.down(fresh);
    world.rule(fresh, hook);
    world.up(fresh);
    assert_eq!(world.outcomes(hook)[2..], ["resolved suppressed never_opened"], "the rule was created in between");
}

#[test]
fn resolution_waits_for_opening_and_is_suppressed_if_it_fails() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.down(endpoint);
    world.advance(10);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened pending", "resolved pending"]);
    let [opened, resolved] = &world.deliveries()[..] else { panic!("not two") };
    assert_eq!(resolved.blocked_by, Some(opened.id));
    world.advance(70);
    world.advance(140);
    assert_eq!(world.outcomes(hook), ["opened failed", "resolved suppressed never_opened"]);
    assert!(world.receiver.requests().iter().all(|request| request.body["event"] == "incident_opened"));
}

#[test]
fn resolution_of_failed_opening_is_suppressed_despite_sent_worsening() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.check(endpoint, tidings_domain::check::CheckStatus::Down);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened pending", "worsened pending", "resolved pending"]);
    world.advance(70);
    world.clock.advance_ms(140_000);
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened failed", "worsened pending", "resolved pending"]);
    world.set_broken("hook", false);
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened failed", "worsened sent", "resolved suppressed never_opened"]);
}

#[test]
fn resolution_is_held_with_opening_held_on_retry() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.up(endpoint);
    world.set_broken("hook", false);
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened held quiet_hours", "resolved held quiet_hours"]);
    world.advance(3_600);
    let events: Vec<_> =
        world.receiver.requests().iter().map(|request| request.body["event"].as_str().unwrap().to_owned()).collect();
    let opened = "incident_opened";
    assert_eq!(events, [opened, opened, opened, "incident_resolved"], "the resolution made it try the opening again");
}

#[test]
fn resolution_of_resolved_only_rule_is_held_by_quiet_hours_on_retry() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule_for(endpoint, hook, &[RuleTrigger::Resolved]);
    world.down(endpoint);
    world.set_broken("hook", true);
    world.up(endpoint);
    world.set_quiet(hook, Some(world.quiet_for(60)));
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["resolved held quiet_hours"]);
}

#[test]
fn resolution_of_dropped_opening_is_suppressed() {
    for by_limit in [true, false] {
        let world = World::new();
        let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
        world.rule(endpoint, hook);
        world.flow_rule(hook);
        if by_limit {
            world.set_limit(hook, 1, RateAction::Drop);
            world.fail_run("run-1");
        } else {
            let mut hours = world.quiet_for(60);
            hours.action = QuietAction::Drop;
            world.set_quiet(hook, Some(hours));
        }
        world.degraded(endpoint);
        world.up(endpoint);
        let outcomes = world.outcomes(hook);
        assert_eq!(outcomes.last().unwrap(), "resolved suppressed never_opened", "{outcomes:?}");
    }
}
