//! What pages show of channels, mutes and deliveries: health, what mutes stopped, rendered messages, changes, resends.

use tidings_channels::Rendered;
use tidings_domain::check::CheckStatus;
use tidings_domain::delivery::Status;
use tidings_domain::id::ChannelId;
use tidings_domain::mute::MuteScope;
use tidings_domain::trigger::Trigger;
use tidings_engine::EngineError;
use tidings_engine::changes::Topic;
use tidings_store::activity::{MuteFilter, MuteRecord};
use tidings_store::settings::ConfigChange;

use crate::world::World;

impl World {
    #[track_caller]
    fn mute_records(&self, filter: MuteFilter) -> Vec<MuteRecord> {
        self.wait(self.engine().mute_records(self.workspace_id, filter)).unwrap()
    }

    /// Deletes a channel with the rules that use it.
    #[track_caller]
    fn delete_channel(&self, id: ChannelId) {
        self.change(|view| {
            let rules = view.rules().filter(|rule| rule.channel_id == id).map(|rule| ConfigChange::DeleteRule(rule.id));
            rules.chain([ConfigChange::DeleteChannel(id)]).collect()
        });
        self.engine().queue().forget_health(id);
    }
}

#[test]
fn channel_health_survives_a_stop_and_is_lost_with_its_channel() {
    let mut world = World::new();
    let (broken, fine) = (world.webhook("broken"), world.webhook("fine"));
    world.flow_rule(broken);
    world.flow_rule(fine);
    world.set_broken("broken", true);
    world.fail_run("run-1");
    let failing_since = world.now();
    world.advance(70);
    let before = world.engine().queue().health(broken);
    assert_eq!((before.failing_since, before.success_rate), (Some(failing_since), Some(0.0)));
    world.stop_and_restart();
    assert_eq!(world.engine().queue().health(broken), before);
    assert_eq!(world.engine().queue().health(fine).success_rate, Some(1.0));

    world.set_broken("broken", false);
    world.advance(140);
    let after = world.engine().queue().health(broken);
    assert_eq!((after.failing_since, after.last_sent_at), (None, Some(world.now())));
    assert_eq!(after.success_rate, Some(1.0 / 3.0), "the window goes on");
    world.delete_channel(fine);
    world.stop_and_restart();
    assert_eq!(world.engine().queue().health(fine).last_sent_at, None);
}

#[test]
fn mutes_count_what_they_stop_and_are_listed_after_their_end() {
    let world = World::new();
    let channel = world.webhook("hook");
    world.flow_rule(channel);
    let endpoint = world.simple_endpoint("API");
    world.rule(endpoint, channel);
    let by_hand = world.mute(MuteScope::Channel(channel), None);
    for run in ["run-1", "run-2"] {
        world.fail_run(run);
    }
    let counts = |records: Vec<MuteRecord>| records.iter().map(|it| (it.mute.id, it.stopped_count)).collect::<Vec<_>>();
    assert_eq!(counts(world.mute_records(MuteFilter::InForce)), [(by_hand, 2)]);
    world.unmute(by_hand);
    let began = world.now();
    let until_recovery = world.new_mute(MuteScope::Endpoint(endpoint), Some(9_000), true);
    world.down(endpoint);
    world.advance(5);
    world.up(endpoint);
    let expiring = world.mute(MuteScope::Global, Some(10));
    world.fail_run("run-3");
    world.advance(10);
    assert_eq!(counts(world.mute_records(MuteFilter::InForce)), []);
    let ended = world.mute_records(MuteFilter::Ended { since: began, limit: 9 });
    let ends: Vec<_> = ended.iter().map(|it| it.ended_at.unwrap().since_ms(began)).collect();
    assert_eq!(ends, [15_000, 5_000, 0]);
    // The opening and its end.
    assert_eq!(counts(ended), [(expiring, 1), (until_recovery, 2), (by_hand, 2)]);
}

#[test]
fn delivery_message_is_what_was_sent_until_the_channel_changes() {
    let world = World::new();
    let channel = world.webhook("hook");
    world.flow_rule(channel);
    world.fail_run("run-1");
    let delivery = world.last(channel);
    let message = || world.wait(world.engine().delivery_message(world.workspace_id, delivery.id)).unwrap();
    let found = message();
    let Ok(Rendered::Request(request)) = &found.rendered else { panic!("{found:?}") };
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body, world.receiver.requests_to("hook")[0].body);
    assert_eq!((found.channel_revision, found.attempted_revision), (Some(1), Some(1)));
    world.edit(channel, |policies| policies.timeout_ms = 9_000);
    let found = message();
    assert_eq!((found.channel_revision, found.attempted_revision), (Some(2), Some(1)));
    world.delete_channel(channel);
    let found = message();
    assert_eq!(found.rendered, Err("the channel was deleted".into()));
    assert_eq!((found.channel_revision, found.attempted_revision), (None, Some(1)));
}

#[test]
fn changes_name_the_topics_of_what_happened() {
    let world = World::new();
    let channel = world.webhook("hook");
    world.flow_rule(channel);
    let endpoint = world.simple_endpoint("API");
    let mut changes = world.engine().changes().subscribe(world.workspace_id, "key_1", &[], None).unwrap();
    // Publications are apart by a quarter of a second, so that what happens in between may come in several.
    let mut seen_all = |expected: &[Topic]| {
        let mut missing = expected.to_vec();
        while !missing.is_empty() {
            let change = world.wait(changes.next()).unwrap();
            missing.retain(|topic| !change.topics.contains(topic));
        }
    };
    world.fail_run("run-1");
    seen_all(&[Topic::Runs, Topic::Deliveries]);
    world.check(endpoint, CheckStatus::Down);
    seen_all(&[Topic::Checks, Topic::Endpoints, Topic::Incidents]);
    world.edit(channel, |policies| policies.timeout_ms = 9_000);
    seen_all(&[Topic::Configuration]);
    let mut others = world.engine().changes().subscribe(world.workspace_id, "key_1", &[Topic::Members], None).unwrap();
    world.wait(world.engine().stop(std::time::Duration::from_secs(9)));
    assert_eq!(world.wait(others.next()), None, "it ends when the engine stops");
}

#[test]
fn resend_all_refuses_what_cannot_be_resent() {
    let world = World::new();
    let (channel, quiet) = (world.webhook("hook"), world.webhook("quiet"));
    world.flow_rule(channel);
    world.flow_rule(quiet);
    world.set_quiet(quiet, Some(world.quiet_for(30)));
    for run in ["run-1", "run-2"] {
        world.report(run, Trigger::Failure);
    }
    world.settle();
    world.wait(world.engine().test_channel(world.workspace_id, channel)).unwrap();
    let all = world.deliveries();
    let describe = |dry_run| {
        let results = world.wait(world.engine().resend_all(world.workspace_id, &all, dry_run, |_| None)).unwrap();
        let describe = |result: &Result<(), EngineError>| match result {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        results.iter().map(describe).collect::<Vec<_>>()
    };
    let held = "a delivery that is held cannot be resent: only sent and failed ones can";
    let test = "a test delivery cannot be resent: test the channel again";
    let mut expected = vec!["ok", held, "ok", held, test];
    expected.sort_unstable();
    for dry_run in [true, true, false] {
        let mut described = describe(dry_run);
        described.sort_unstable();
        assert_eq!(described, expected);
    }
    world.settle();
    let requests = world.receiver.requests_to("hook");
    assert_eq!(requests.len(), 5, "two runs twice and the test");
    assert!(world.deliveries().iter().all(|it| it.channel_id != channel || it.status == Status::Sent));
}
