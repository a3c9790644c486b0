//! Held deliveries are released in one digest, ongoing incidents first; webhooks are never merged.

use tidings_domain::check::CheckStatus;
use tidings_domain::delivery::Status;
use tidings_domain::event::EventKind;
use tidings_domain::mute::MuteScope;
use tidings_domain::rate_limit::RateAction;
use tidings_domain::trigger::Trigger;

use crate::records::entries;
use crate::world::World;

#[test]
fn digest_after_quiet_hours_lists_ongoing_incidents_first() {
    let world = World::new();
    let (over, open, slack) = (world.simple_endpoint("Over"), world.simple_endpoint("Open"), world.slack("slack"));
    world.rule(over, slack);
    world.rule(open, slack);
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(over);
    world.up(over);
    world.fail_run("run-1");
    world.degraded(open);
    world.advance(3_599);
    assert!(world.receiver.requests().is_empty());
    world.advance(1);
    assert_eq!(world.receiver.requests().len(), 1, "one message");
    let digest = world.last(slack);
    assert_eq!((digest.event.kind, digest.status, digest.rule_id), (EventKind::Digest, Status::Sent, None));
    let titles = entries(&digest);
    assert_eq!(titles.len(), 3, "{titles:?}");
    assert!(titles[0].contains("Open") && titles[1].contains("rollup") && titles[2].contains("Over"), "{titles:?}");
    for member in world.deliveries().iter().filter(|it| it.id != digest.id) {
        assert_eq!((member.status, member.digest_id, member.sent_at), (Status::Sent, Some(digest.id), digest.sent_at));
        assert_eq!(member.attempt_count, 0);
    }
    assert_eq!(world.incident_of(over).incident.notifications_sent, 2);
    assert_eq!(world.incident_of(open).incident.notifications_sent, 1);
}

#[test]
fn digest_members_stay_held_and_settle_with_the_digest() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.fail_run("run-1");
    world.fail_run("run-2");
    world.set_broken("slack", true);
    world.advance(3_600);
    assert_eq!(world.outcomes(slack), ["failure held quiet_hours", "failure held quiet_hours", "digest pending"]);
    let digest = world.last(slack);
    assert!(world.deliveries().iter().take(2).all(|it| it.digest_id == Some(digest.id) && it.held_until.is_none()));
    world.advance(70);
    world.advance(140);
    assert_eq!(world.outcomes(slack), ["failure failed", "failure failed", "digest failed"]);
    assert_eq!(world.last(slack).attempt_count, 3);
}

#[test]
fn digest_after_rate_limit_uses_one_slot() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_limit(slack, 2, RateAction::Digest);
    (1..=5).for_each(|run| world.fail_run(&format!("run-{run}")));
    let held = "failure held rate_limit";
    assert_eq!(world.outcomes(slack), ["failure sent", "failure sent", held, held, held]);
    world.advance(60);
    assert_eq!(world.receiver.requests().len(), 3);
    assert_eq!(entries(&world.last(slack)).len(), 3);
    world.fail_run("run-6");
    world.fail_run("run-7");
    assert_eq!(world.outcomes(slack)[6..], ["failure sent", held], "the digest took one of two");
}

#[test]
fn digest_merges_events_of_one_incident_into_one_entry() {
    let world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    let mut hours = world.quiet_for(60);
    hours.critical_passes = false;
    world.set_quiet(slack, Some(hours));
    world.degraded(endpoint);
    world.check(endpoint, CheckStatus::Down);
    world.advance(3_600);
    let digest = world.last(slack);
    let tidings_domain::event::Content::Digest(content) = &digest.event.content else { panic!("{digest:?}") };
    let [entry] = &content.entries[..] else { panic!("{:?}", content.entries) };
    assert_eq!((entry.events, content.ongoing_total), (2, 1));
    assert_eq!(entry.severity, tidings_domain::severity::Severity::Critical);
}

#[test]
fn webhooks_are_released_individually_oldest_first_within_rate_limit() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.set_limit(hook, 2, RateAction::Digest);
    world.set_quiet(hook, Some(world.quiet_for(60)));
    for run in 1..=5 {
        world.fail_run(&format!("run-{run}"));
        world.advance(1);
    }
    world.advance(3_595);
    let runs = || {
        let mut runs: Vec<_> = world
            .receiver
            .requests()
            .iter()
            .map(|request| request.body["runId"].as_str().unwrap().to_owned())
            .collect();
        runs.sort_unstable();
        runs
    };
    assert_eq!(runs(), ["run-1", "run-2"]);
    world.advance(60);
    assert_eq!(runs(), ["run-1", "run-2", "run-3", "run-4"]);
    world.advance(60);
    assert_eq!(runs().len(), 5);
    assert!(world.deliveries().iter().all(|it| it.event.kind != EventKind::Digest && it.digest_id.is_none()));
}

#[test]
fn rule_disabled_while_deliveries_are_held_skips_them() {
    let world = World::new();
    let (slack, hook) = (world.slack("slack"), world.webhook("hook"));
    for channel in [slack, hook] {
        let rule = world.flow_rule(channel);
        world.set_quiet(channel, Some(world.quiet_for(60)));
        world.fail_run(&format!("run-{channel}"));
        for enabled in [false, true] {
            world.edit_rule(rule, |rule| rule.enabled = enabled);
        }
    }
    world.advance(3_600);
    assert_eq!(world.outcomes(slack)[0], "failure skipped rule_disabled");
    assert_eq!(world.outcomes(hook)[0], "failure skipped rule_disabled");
}

#[test]
fn channel_deleted_while_deliveries_are_held_skips_them() {
    let world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.fail_run("run-1");
    world.change(|view| {
        let rules = view
            .rules()
            .filter(|rule| rule.channel_id == slack)
            .map(|rule| tidings_store::settings::ConfigChange::DeleteRule(rule.id));
        rules.chain([tidings_store::settings::ConfigChange::DeleteChannel(slack)]).collect()
    });
    world.advance(3_600);
    assert!(world.deliveries().iter().all(|it| it.status == Status::Skipped), "{:?}", world.outcomes(slack));
    assert!(world.receiver.requests().is_empty());
}

#[test]
fn mute_that_ends_before_release_does_not_suppress() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.fail_run("run-1");
    world.mute(MuteScope::Channel(slack), Some(60));
    world.settle();
    assert_eq!(world.outcomes(slack), ["failure held quiet_hours"], "it is not due yet");
    world.advance(3_600);
    assert_eq!(world.outcomes(slack), ["failure sent", "digest sent"]);
}

#[test]
fn mute_on_release_suppresses() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.fail_run("run-1");
    world.mute(MuteScope::Channel(slack), None);
    world.advance(3_600);
    assert_eq!(world.outcomes(slack), ["failure suppressed muted"]);
}

#[test]
fn removed_quiet_hours_release_at_once_and_longer_ones_prolong() {
    let world = World::new();
    let (slack, hook) = (world.slack("slack"), world.webhook("hook"));
    for channel in [slack, hook] {
        world.flow_rule(channel);
        world.set_quiet(channel, Some(world.quiet_for(60)));
    }
    world.report("run-1", Trigger::Failure);
    world.set_quiet(slack, None);
    world.set_quiet(hook, Some(world.quiet_for(120)));
    world.settle();
    assert_eq!(world.outcomes(slack), ["failure sent", "digest sent"]);
    world.advance(3_600);
    assert_eq!(world.outcomes(hook), ["failure held quiet_hours"]);
    world.advance(3_600);
    assert_eq!(world.outcomes(hook), ["failure sent"]);
}

#[test]
fn digest_retried_in_quiet_hours_is_held() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_limit(slack, 1, RateAction::Digest);
    world.fail_run("run-1");
    world.fail_run("run-2");
    world.fail_run("run-3");
    world.set_broken("slack", true);
    world.advance(60);
    assert_eq!(world.outcomes(slack)[3..], ["digest pending"]);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.set_broken("slack", false);
    world.advance(70);
    assert_eq!(
        world.outcomes(slack)[1..],
        ["failure held quiet_hours", "failure held quiet_hours", "digest suppressed quiet_hours"],
        "its members are held again"
    );
    world.advance(3_600);
    let outcomes = ["failure sent", "failure sent", "digest suppressed quiet_hours", "digest sent"];
    assert_eq!(world.outcomes(slack)[1..], outcomes);
}

#[test]
fn release_of_more_than_one_batch_is_complete() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(600)));
    let runs: Vec<_> = (0..2_100).map(|run| world.run_of(&format!("run-{run}"), Trigger::Failure)).collect();
    for batch in runs.chunks(700) {
        world.wait(world.engine().report(world.workspace_id, batch.to_vec())).unwrap();
    }
    world.set_quiet(slack, None);
    world.settle();
    assert_eq!(world.deliveries().iter().filter(|it| it.status == Status::Sent).count(), 2_102);
    assert_eq!(world.receiver.requests().len(), 2, "in two digests");
}

#[test]
fn digest_shows_incident_resolved_without_notification_as_resolved() {
    let world = World::new();
    let (over, open, slack) = (world.simple_endpoint("Over"), world.simple_endpoint("Open"), world.slack("slack"));
    world.redefine(over, |it| it.recovery_alert = false);
    world.rule(over, slack);
    world.rule(open, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(over);
    world.up(over);
    world.degraded(open);
    world.advance(3_600);
    assert_eq!(world.outcomes(slack), ["opened sent", "opened sent", "digest sent"]);
    let digest = world.last(slack);
    let titles = entries(&digest);
    assert!(titles[0].contains("Open") && titles[1].contains("Over"), "{titles:?}");
    let tidings_domain::event::Content::Digest(content) = &digest.event.content else { panic!("{digest:?}") };
    assert_eq!((content.ongoing_total, content.entries_total), (1, 2));
}

#[test]
fn digest_entries_have_the_state_reason_and_run_of_the_last_event() {
    let world = World::new();
    let (over, open, slack) = (world.simple_endpoint("Over"), world.simple_endpoint("Open"), world.slack("slack"));
    world.rule(over, slack);
    world.rule(open, slack);
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(over);
    world.up(over);
    world.fail_run("run-1");
    world.degraded(open);
    world.advance(3_600);
    let digest = world.last(slack);
    let tidings_domain::event::Content::Digest(content) = &digest.event.content else { panic!("{digest:?}") };
    let totals = (content.ongoing_total, content.one_off_total, content.resolved_total, content.entries_total);
    assert_eq!((totals, content.notifications_total), ((1, 1, 1, 3), 4));
    let [open_entry, run, over_entry] = &content.entries[..] else { panic!("{content:?}") };
    assert_eq!((over_entry.severity, over_entry.events), (tidings_domain::severity::Severity::Success, 2));
    assert_eq!(open_entry.severity, tidings_domain::severity::Severity::Warning);
    assert_eq!(open_entry.reason.as_deref(), Some("timed out"));
    let run_ids: Vec<_> = content.entries.iter().map(|it| it.source.as_ref().unwrap().run_id.clone()).collect();
    let incident = |endpoint| world.incident_of(endpoint).incident.id.to_string();
    assert_eq!(run_ids, [incident(open), "run-1".to_owned(), incident(over)]);
    assert_eq!(run.source.as_ref().unwrap().resource_id, "rollup");
}

#[test]
fn digest_is_up_to_date_when_it_is_sent() {
    let world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.fail_run("run-1");
    world.set_broken("slack", true);
    world.advance(3_600);
    assert_eq!(world.outcomes(slack)[2..], ["digest pending"]);
    world.up(endpoint);
    world.set_broken("slack", false);
    world.advance(70);
    let requests = world.receiver.requests();
    assert!(requests[0].contains("API is degraded") && requests[0].contains("1 of them still open"), "{requests:?}");
    let sent = &requests[1];
    assert!(sent.contains("API has recovered") && !sent.contains("still open"), "{sent:?}");
}

#[test]
fn digest_entry_of_an_endpoint_that_is_down_again_is_ongoing() {
    let world = World::new();
    let (endpoint, slack) = (world.simple_endpoint("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.up(endpoint);
    world.down(endpoint);
    assert_eq!(world.outcomes(slack)[2..], ["opened sent"], "critical passes quiet hours");
    world.advance(3_600);
    let digest = world.last(slack);
    let tidings_domain::event::Content::Digest(content) = &digest.event.content else { panic!("{digest:?}") };
    let [entry] = &content.entries[..] else { panic!("{:?}", content.entries) };
    assert_eq!((entry.title.as_str(), content.ongoing_total, content.resolved_total), ("API is down", 1, 0));
    assert_eq!(entry.source.as_ref().unwrap().run_id, world.incident_of(endpoint).incident.id.to_string());
}
