//! What was held leaves together, what is open first; webhooks are never merged.

use tidings_domain::check::CheckStatus;
use tidings_domain::delivery::Status;
use tidings_domain::event::EventKind;
use tidings_domain::mute::MuteScope;
use tidings_domain::rate_limit::RateAction;
use tidings_domain::trigger::Trigger;
use tidings_engine::settings::RuleEdit;

use crate::log::entries;
use crate::world::World;

#[test]
fn what_quiet_hours_held_leaves_together_and_what_is_open_comes_first() {
    let world = World::new();
    let (over, open, slack) = (world.plain("Over"), world.plain("Open"), world.slack("slack"));
    world.rule(over, slack);
    world.rule(open, slack);
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(over);
    world.up(over);
    world.fail("run-1");
    world.degraded(open);
    world.pass(3_599);
    assert!(world.receiver.came().is_empty());
    world.pass(1);
    assert_eq!(world.receiver.came().len(), 1, "one message");
    let digest = world.last(slack);
    assert_eq!((digest.event.kind, digest.status, digest.rule_id), (EventKind::Digest, Status::Sent, None));
    let titles = entries(&digest);
    assert_eq!(titles.len(), 3, "{titles:?}");
    assert!(titles[0].contains("Open") && titles[1].contains("rollup") && titles[2].contains("Over"), "{titles:?}");
    for carried in world.deliveries().iter().filter(|it| it.id != digest.id) {
        assert_eq!(
            (carried.status, carried.digest_id, carried.sent_at),
            (Status::Sent, Some(digest.id), digest.sent_at)
        );
        assert_eq!(carried.attempt_count, 0);
    }
    assert_eq!(world.incident_of(over).incident.notifications_sent, 2);
    assert_eq!(world.incident_of(open).incident.notifications_sent, 1);
}

#[test]
fn what_it_carries_stays_held_until_it_settles_and_ends_as_it_does() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.fail("run-1");
    world.fail("run-2");
    world.set_broken("slack", true);
    world.pass(3_600);
    assert_eq!(world.said(slack), ["failure held quiet_hours", "failure held quiet_hours", "digest pending"]);
    let digest = world.last(slack);
    assert!(world.deliveries().iter().take(2).all(|it| it.digest_id == Some(digest.id) && it.held_until.is_none()));
    world.pass(70);
    world.pass(140);
    assert_eq!(world.said(slack), ["failure failed", "failure failed", "digest failed"]);
    assert_eq!(world.last(slack).attempt_count, 3);
}

#[test]
fn what_the_rate_limit_held_leaves_together_as_soon_as_a_slot_is_free_and_takes_one() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_limit(slack, 2, RateAction::Digest);
    (1..=5).for_each(|run| world.fail(&format!("run-{run}")));
    let held = "failure held rate_limit";
    assert_eq!(world.said(slack), ["failure sent", "failure sent", held, held, held]);
    world.pass(60);
    assert_eq!(world.receiver.came().len(), 3);
    assert_eq!(entries(&world.last(slack)).len(), 3);
    world.fail("run-6");
    world.fail("run-7");
    assert_eq!(world.said(slack)[6..], ["failure sent", held], "the digest took one of two");
}

#[test]
fn an_incident_is_one_entry_as_it_stood_at_the_last() {
    let world = World::new();
    let (endpoint, slack) = (world.plain("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    let mut hours = world.quiet_for(60);
    hours.critical_passes = false;
    world.set_quiet(slack, Some(hours));
    world.degraded(endpoint);
    world.check(endpoint, CheckStatus::Down);
    world.pass(3_600);
    let digest = world.last(slack);
    let tidings_domain::event::Content::Digest(content) = &digest.event.content else { panic!("{digest:?}") };
    let [entry] = &content.entries[..] else { panic!("{:?}", content.entries) };
    assert_eq!((entry.events, content.ongoing_total), (2, 1));
    assert_eq!(entry.severity, tidings_domain::severity::Severity::Critical);
}

#[test]
fn webhooks_are_released_singly_oldest_first_within_the_limit() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.set_limit(hook, 2, RateAction::Digest);
    world.set_quiet(hook, Some(world.quiet_for(60)));
    for run in 1..=5 {
        world.fail(&format!("run-{run}"));
        world.pass(1);
    }
    world.pass(3_595);
    let runs = || {
        let mut runs: Vec<_> =
            world.receiver.came().iter().map(|came| came.body["runId"].as_str().unwrap().to_owned()).collect();
        runs.sort_unstable();
        runs
    };
    assert_eq!(runs(), ["run-1", "run-2"]);
    world.pass(60);
    assert_eq!(runs(), ["run-1", "run-2", "run-3", "run-4"]);
    world.pass(60);
    assert_eq!(runs().len(), 5);
    assert!(world.deliveries().iter().all(|it| it.event.kind != EventKind::Digest && it.digest_id.is_none()));
}

#[test]
fn a_rule_that_is_disabled_while_something_is_held_skips_it_for_good() {
    let world = World::new();
    let (slack, hook) = (world.slack("slack"), world.webhook("hook"));
    for channel in [slack, hook] {
        let rule = world.flow_rule(channel);
        world.set_quiet(channel, Some(world.quiet_for(60)));
        world.fail(&format!("run-{channel}"));
        for enabled in [false, true] {
            world.edit_rule(rule, RuleEdit { enabled: Some(enabled), ..RuleEdit::default() });
        }
    }
    world.pass(3_600);
    assert_eq!(world.said(slack)[0], "failure skipped rule_disabled");
    assert_eq!(world.said(hook)[0], "failure skipped rule_disabled");
}

#[test]
fn a_channel_that_is_deleted_while_something_is_held_skips_it() {
    let world = World::new();
    let (endpoint, slack) = (world.plain("API"), world.slack("slack"));
    world.rule(endpoint, slack);
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(endpoint);
    world.fail("run-1");
    world.wait(world.engine().delete_channel(world.workspace_id, slack, true, None)).unwrap();
    world.pass(3_600);
    assert!(world.deliveries().iter().all(|it| it.status == Status::Skipped), "{:?}", world.said(slack));
    assert!(world.receiver.came().is_empty());
}

#[test]
fn a_short_mute_in_the_night_does_not_stop_what_waits_for_the_morning() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.fail("run-1");
    world.mute(MuteScope::Channel(slack), Some(60));
    world.settle();
    assert_eq!(world.said(slack), ["failure held quiet_hours"], "it has not come up yet");
    world.pass(3_600);
    assert_eq!(world.said(slack), ["failure sent", "digest sent"]);
}

#[test]
fn a_mute_when_it_comes_up_stops_what_was_held() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.fail("run-1");
    world.mute(MuteScope::Channel(slack), None);
    world.pass(3_600);
    assert_eq!(world.said(slack), ["failure suppressed muted"]);
}

#[test]
fn quiet_hours_that_are_lifted_let_go_at_once_and_longer_ones_hold_on() {
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
    assert_eq!(world.said(slack), ["failure sent", "digest sent"]);
    world.pass(3_600);
    assert_eq!(world.said(hook), ["failure held quiet_hours"]);
    world.pass(3_600);
    assert_eq!(world.said(hook), ["failure sent"]);
}

#[test]
fn a_digest_that_comes_up_in_quiet_hours_waits_for_their_end() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_limit(slack, 1, RateAction::Digest);
    world.fail("run-1");
    world.fail("run-2");
    world.fail("run-3");
    world.set_broken("slack", true);
    world.pass(60);
    assert_eq!(world.said(slack)[3..], ["digest pending"]);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.set_broken("slack", false);
    world.pass(70);
    assert_eq!(
        world.said(slack)[1..],
        ["failure held rate_limit", "failure held rate_limit", "digest held quiet_hours"]
    );
    world.pass(3_600);
    assert_eq!(world.said(slack)[1..], ["failure sent", "failure sent", "digest sent"]);
}

#[test]
fn however_much_was_held_all_of_it_goes_when_quiet_hours_are_lifted() {
    let world = World::new();
    let slack = world.slack("slack");
    world.flow_rule(slack);
    world.set_quiet(slack, Some(world.quiet_for(600)));
    let runs: Vec<_> = (0..2_100).map(|run| world.run_of(&format!("run-{run}"), Trigger::Failure)).collect();
    for some in runs.chunks(700) {
        world.wait(world.engine().report(world.workspace_id, some.to_vec())).unwrap();
    }
    world.set_quiet(slack, None);
    world.settle();
    assert_eq!(world.deliveries().iter().filter(|it| it.status == Status::Sent).count(), 2_102);
    assert_eq!(world.receiver.came().len(), 2, "in two digests");
}

#[test]
fn what_ended_without_a_word_is_not_open_in_a_digest() {
    let world = World::new();
    let (over, open, slack) = (world.plain("Over"), world.plain("Open"), world.slack("slack"));
    world.redefine(over, |it| it.recovery_alert = false);
    world.rule(over, slack);
    world.rule(open, slack);
    world.set_quiet(slack, Some(world.quiet_for(60)));
    world.degraded(over);
    world.up(over);
    world.degraded(open);
    world.pass(3_600);
    assert_eq!(world.said(slack), ["opened sent", "opened sent", "digest sent"]);
    let digest = world.last(slack);
    let titles = entries(&digest);
    assert!(titles[0].contains("Open") && titles[1].contains("Over"), "{titles:?}");
    let tidings_domain::event::Content::Digest(content) = &digest.event.content else { panic!("{digest:?}") };
    assert_eq!((content.ongoing_total, content.entries_total), (1, 2));
}
