//! Whether a resolution is sent depends on what became of the opening of the incident.

use tidings_domain::check::CheckStatus;
use tidings_domain::endpoint::EscalationStep;
use tidings_domain::id::{ChannelId, EndpointId, RuleId};
use tidings_domain::maintenance::MaintenanceWindow;
use tidings_domain::mute::MuteScope;
use tidings_domain::quiet_hours::QuietAction;
use tidings_domain::rate_limit::RateAction;
use tidings_domain::trigger::RuleTrigger;

use crate::receiver::Mode;
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
fn muted_resolution_is_deferred() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    let mute = world.mute(MuteScope::Endpoint(endpoint), None);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved suppressed muted"]);
    world.advance(7_200);
    world.unmute(mute);
    world.settle();
    assert_eq!(world.outcomes(hook)[1..], ["resolved suppressed muted", "deferred resolved sent"]);
    let [_, first, second] = &world.deliveries()[..] else { panic!("three") };
    assert_eq!((second.sequence, second.replaces_id), (2, Some(first.id)));
    let body = world.receiver.requests().pop().unwrap().body;
    assert_eq!(body["incident"]["resolvedAt"], "2026-05-02T12:00:00.000Z");
    assert_eq!(body["timestamp"], "2026-05-02T14:00:00.000Z");
    assert!(body["summary"].as_str().unwrap().ends_with(" It ended at 2026-05-02 12:00:00 UTC."), "{body}");
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
    world.edit(hook, |policies| policies.event_filters = filters);
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
fn resolution_of_failed_opening_is_sent_after_sent_worsening() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.degraded(endpoint);
    world.check(endpoint, CheckStatus::Down);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened pending", "worsened pending", "resolved pending"]);
    world.advance(70);
    world.clock.advance_ms(140_000);
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened failed", "worsened pending", "resolved pending"]);
    world.set_broken("hook", false);
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened failed", "worsened sent", "resolved sent"]);
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

/// What silences a channel, and what ends that.
type Silence = (fn(&World, EndpointId, ChannelId, RuleId), fn(&World, EndpointId, ChannelId, RuleId));

fn unmute_all(world: &World) {
    world.mutes().iter().for_each(|mute| world.unmute(mute.id));
}

const SILENCES: [Silence; 5] = [
    (|world, _, _, rule| world.pause(rule, true), |world, _, _, rule| world.pause(rule, false)),
    (|world, _, hook, _| world.set_enabled(hook, false), |world, _, hook, _| world.set_enabled(hook, true)),
    (|world, _, _, _| _ = world.mute(MuteScope::Global, None), |world, _, _, _| unmute_all(world)),
    (|world, _, hook, _| _ = world.mute(MuteScope::Channel(hook), None), |world, _, _, _| unmute_all(world)),
    (
        |world, endpoint, _, _| {
            let (starts_at, ends_at) = (world.now(), world.now().plus_ms(3_600_000));
            world
                .redefine(endpoint, |it| it.maintenance_windows = vec![MaintenanceWindow::Once { starts_at, ends_at }]);
        },
        |world, _, _, _| world.advance(3_600),
    ),
];

#[test]
fn resolution_is_deferred_by_every_silence() {
    for (number, (silence, end)) in SILENCES.into_iter().enumerate() {
        // Whether the gate closes before the resolution is planned, or while it waits; over a restart or not.
        for (is_late, restarts) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut world = World::new();
            let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
            let rule = world.rule(endpoint, hook);
            world.down(endpoint);
            if is_late {
                world.set_broken("hook", true);
                world.up(endpoint);
                silence(&world, endpoint, hook, rule);
                world.set_broken("hook", false);
                world.advance(70);
            } else {
                silence(&world, endpoint, hook, rule);
                world.up(endpoint);
            }
            let outcomes = world.outcomes(hook);
            assert!(outcomes[1].starts_with("resolved suppressed"), "{number} {is_late}: {outcomes:?}");
            if restarts {
                world.restart();
            }
            end(&world, endpoint, hook, rule);
            world.settle();
            assert_eq!(world.outcomes(hook)[2..], ["deferred resolved sent"], "{number} {is_late} {restarts}");
            world.restart();
            world.advance_in_steps(7_200, 600);
            assert_eq!(world.outcomes(hook).len(), 3, "once");
        }
    }
}

#[test]
fn overlapping_silences_defer_the_resolution_again() {
    let mut world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.down(endpoint);
    world.mute(MuteScope::Endpoint(endpoint), Some(600));
    world.up(endpoint);
    world.pause(rule, true);
    world.advance(600);
    world.set_enabled(hook, false);
    world.pause(rule, false);
    world.restart();
    world.settle();
    world.mute(MuteScope::Global, Some(60));
    world.set_enabled(hook, true);
    world.settle();
    world.advance(60);
    let expected = [
        "opened sent",
        "resolved suppressed muted",
        "deferred resolved suppressed rule_paused",
        "deferred resolved suppressed channel_disabled",
        "deferred resolved suppressed muted",
        "deferred resolved sent",
    ];
    assert_eq!(world.outcomes(hook), expected);
    let sequences: Vec<_> = world.deliveries().iter().map(|it| it.sequence).collect();
    assert_eq!(sequences, [1, 1, 2, 3, 4, 5]);
}

#[test]
fn deferred_resolution_is_dropped_after_seven_days() {
    for (days, sent) in [(6, true), (8, false)] {
        let world = World::new();
        let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
        world.rule(endpoint, hook);
        world.down(endpoint);
        let mute = world.mute(MuteScope::Global, None);
        world.up(endpoint);
        world.advance(days * 86_400);
        world.unmute(mute);
        world.settle();
        assert_eq!(world.outcomes(hook).last().unwrap() == "deferred resolved sent", sent, "{days} days");
    }
}

#[test]
fn deferred_resolution_precedes_the_deferred_opening_of_the_next_incident() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.down(endpoint);
    world.pause(rule, true);
    world.up(endpoint);
    world.advance(60);
    world.down(endpoint);
    world.pause(rule, false);
    world.settle();
    let expected = [
        "opened sent",
        "resolved suppressed rule_paused",
        "opened suppressed rule_paused",
        "deferred resolved sent",
        "deferred opened sent",
    ];
    assert_eq!(world.outcomes(hook), expected);
}

#[test]
fn deferred_resolution_is_dropped_once_a_later_incident_was_notified() {
    for is_broken in [false, true] {
        let world = World::new();
        let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
        let paused = world.rule_for(endpoint, hook, &[RuleTrigger::Resolved]);
        world.rule_of_every_endpoint(hook);
        world.pause(paused, true);
        world.down(endpoint);
        world.up(endpoint);
        world.advance(60);
        world.set_broken("hook", is_broken);
        world.down(endpoint);
        world.pause(paused, false);
        world.settle();
        let opened = if is_broken { "opened pending" } else { "opened sent" };
        assert_eq!(world.outcomes(hook), ["opened sent", "resolved suppressed rule_paused", opened]);
        if is_broken {
            // Whether its message arrives decides.
            world.advance(70);
            world.advance(140);
            world.set_broken("hook", false);
            world.advance(10);
            assert_eq!(world.outcomes(hook)[2..], ["opened failed", "deferred resolved sent"]);
        } else {
            world.up(endpoint);
            assert_eq!(world.outcomes(hook)[3..], ["resolved sent"]);
        }
    }
}

#[test]
fn opening_after_unsent_resolution_names_the_end_of_the_incident_before() {
    let world = World::new();
    let (endpoint, hook, other) = (world.simple_endpoint("API"), world.webhook("hook"), world.webhook("other"));
    let rule = world.rule(endpoint, hook);
    world.rule(endpoint, other);
    world.down(endpoint);
    world.pause(rule, true);
    world.up(endpoint);
    world.advance(60);
    world.down(endpoint);
    let body = world.receiver.requests_to("other").pop().unwrap().body;
    let field = serde_json::json!({"label": "Previous incident ended", "value": "2026-05-02 12:00:00 UTC"});
    assert!(body["fields"].as_array().unwrap().contains(&field), "{body}");
}

#[test]
fn rule_that_was_replaced_or_another_one_to_the_channel_carries_the_resolution() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.down(endpoint);
    world.delete_rule(rule);
    let rule = world.rule(endpoint, hook);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"], "the channel was notified, not the rule");
    world.down(endpoint);
    world.pause(rule, true);
    world.up(endpoint);
    world.rule_of_every_endpoint(hook);
    world.delete_rule(rule);
    world.settle();
    let outcomes = world.outcomes(hook);
    assert_eq!(outcomes[2..], ["opened sent", "resolved suppressed rule_paused", "deferred resolved sent"]);
}

#[test]
fn resolution_without_any_rule_is_dropped() {
    let mut world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    let rule = world.rule(endpoint, hook);
    world.down(endpoint);
    world.pause(rule, true);
    world.up(endpoint);
    world.edit_rule(rule, |rule| rule.enabled = false);
    world.settle();
    world.restart();
    world.edit_rule(rule, |rule| (rule.enabled, rule.paused) = (true, false));
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved suppressed rule_paused"]);
    assert!(world.engine().next_poll_at().is_none_or(|at| at > world.now()), "no busy loop");
}

#[test]
fn resolution_to_channel_of_escalation_step_is_deferred_without_a_rule() {
    let mut world = World::new();
    let boss = world.webhook("boss");
    let step = EscalationStep { after_seconds: 60, channel_id: boss };
    let endpoint = world.endpoint("API", |it| it.escalation = vec![step]);
    world.down(endpoint);
    world.advance(60);
    world.mute(MuteScope::Channel(boss), Some(600));
    world.up(endpoint);
    world.restart();
    world.advance(600);
    let expected = ["escalated:60 sent", "resolved suppressed muted", "deferred resolved sent"];
    assert_eq!(world.outcomes(boss), expected);
}

#[test]
fn resolution_suppressed_while_the_opening_is_in_flight_is_deferred_if_that_is_sent() {
    for is_sent in [true, false] {
        let world = World::new();
        let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
        let rule = world.rule(endpoint, hook);
        world.receiver.set("hook", Mode::Hang);
        world.check(endpoint, CheckStatus::Down);
        world.wait_for_request("hook");
        world.pause(rule, true);
        world.check(endpoint, CheckStatus::Healthy);
        world.set_broken("hook", !is_sent);
        world.settle();
        world.pause(rule, false);
        world.advance(70);
        world.advance(140);
        let outcomes = world.outcomes(hook);
        let last: &[&str] =
            if is_sent { &["deferred resolved sent"] } else { &["deferred resolved suppressed never_opened"] };
        assert_eq!(outcomes[1..], [&["resolved suppressed rule_paused"], last].concat(), "{outcomes:?}");
    }
}

#[test]
fn resolution_in_muted_digest_is_deferred_if_the_channel_was_notified() {
    let mut world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.down(endpoint);
    let filters = tidings_domain::channel::EventFilters { send_open: false, ..Default::default() };
    world.edit(slack, |policies| policies.event_filters = filters);
    world.mute(MuteScope::Channel(slack), Some(600));
    world.up(endpoint);
    world.restart();
    world.advance(600);
    assert_eq!(world.outcomes(slack), ["opened sent", "resolved suppressed muted", "deferred resolved sent"]);
}

#[test]
fn deferred_opening_has_the_facts_of_now() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let mute = world.mute(MuteScope::Global, None);
    world.degraded(endpoint);
    world.advance(600);
    world.check(endpoint, CheckStatus::Down);
    world.check_with_reason(endpoint, CheckStatus::Down, "HTTP 503 — expected 200");
    world.set_broken("hook", true);
    world.unmute(mute);
    world.settle();
    world.set_broken("hook", false);
    world.advance(70);
    let opened = world.outcomes(hook);
    assert_eq!(opened, ["opened suppressed muted", "worsened suppressed muted", "deferred opened sent"]);
    // The retry is read from the store.
    for request in world.receiver.requests() {
        let body = request.body;
        assert_eq!((&body["severity"], &body["incident"]["cause"]), (&"critical".into(), &"endpoint_down".into()));
        assert_eq!(
            (&body["detail"], &body["timestamp"]),
            (&"HTTP 503 — expected 200".into(), &"2026-05-02T12:10:00.000Z".into())
        );
    }
    assert_eq!(world.receiver.requests().len(), 2);
    assert_eq!(world.last(hook).severity, tidings_domain::severity::Severity::Critical);
}

#[test]
fn opening_resent_after_the_incident_is_followed_by_its_resolution() {
    let mut world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.set_broken("hook", true);
    world.down(endpoint);
    world.advance(70);
    world.advance(140);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened failed", "resolved suppressed never_opened"]);
    world.set_broken("hook", false);
    world.restart();
    let opened = world.deliveries()[0].id;
    world.wait(world.engine().resend(world.workspace_id, opened, None)).unwrap();
    world.settle();
    let expected = ["opened sent", "resolved suppressed never_opened", "deferred resolved sent"];
    assert_eq!(world.outcomes(hook), expected);
    world.restart();
    world.wait(world.engine().resend(world.workspace_id, opened, None)).unwrap();
    world.settle();
    assert_eq!(world.outcomes(hook), expected, "once");
}
