//! A receiver that limits the rate pauses its channel; one that is gone disables it.

use tidings_domain::channel::DisabledReason;
use tidings_domain::delivery::Status;
use tidings_domain::id::ChannelId;
use tidings_domain::time::Timestamp;

use crate::receiver::Mode;
use crate::world::World;

impl World {
    #[track_caller]
    fn paused_until(&self, channel: ChannelId) -> Option<Timestamp> {
        self.engine().queue().health(channel).paused_until
    }

    #[track_caller]
    fn set_retry_delays(&self, channel: ChannelId, seconds: &[u32]) {
        self.edit(channel, |policies| policies.retry_delays_seconds = Some(seconds.to_vec()));
    }
}

#[test]
fn refused_channel_waits_as_requested_then_sends_one_first() {
    let world = World::new();
    let (hook, other) = (world.webhook("hook"), world.webhook("other"));
    world.flow_rule(hook);
    let start = world.now();
    world.receiver.set("hook", Mode::Limit(Some(300)));
    world.fail_run("run-1");
    assert_eq!(world.paused_until(hook), Some(start.plus_ms(300_000)));
    let first = world.last(hook);
    assert_eq!((first.attempt_count, first.next_attempt_at), (1, Some(start.plus_ms(300_000))), "the attempt counts");
    for number in 2..10 {
        world.fail_run(&format!("run-{number}"));
    }
    world.flow_rule(other);
    world.fail_run("run-10");
    let waiting = world.last(hook);
    assert_eq!(
        (waiting.status, waiting.attempt_count, waiting.next_attempt_at),
        (Status::Pending, 0, Some(start.plus_ms(300_000))),
        "waiting counts no attempt"
    );
    assert_eq!(world.receiver.requests_to("other").len(), 1, "another channel is not affected");
    world.advance(299);
    assert_eq!(world.receiver.requests_to("hook").len(), 1);
    world.advance(1);
    assert_eq!(world.receiver.requests_to("hook").len(), 2, "one goes first, and is refused");
    assert_eq!(world.paused_until(hook), Some(start.plus_ms(600_000)));
    world.receiver.set("hook", Mode::Respond(200));
    world.advance(300);
    assert_eq!(world.paused_until(hook), None);
    assert_eq!(world.outcomes(hook), vec!["failure sent"; 10]);
    let attempts: Vec<_> =
        world.deliveries().iter().filter(|it| it.channel_id == hook).map(|it| it.attempt_count).collect();
    assert_eq!(attempts.iter().sum::<u32>(), 12, "two were refused: {attempts:?}");
}

#[test]
fn refusals_without_request_pause_ever_longer() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.set_retry_delays(hook, &[1; 20]);
    world.flow_rule(hook);
    world.receiver.set("hook", Mode::Limit(None));
    world.fail_run("run-1");
    let mut requests = Vec::new();
    for _ in 0..100 {
        world.advance(1);
        requests.push(world.receiver.requests_to("hook").len());
    }
    assert_eq!([requests[0], requests[2], requests[6], requests[14], requests[30], requests[62]], [2, 3, 4, 5, 6, 7]);
    assert!(requests[99] == 7, "the last pause lasts a minute: {requests:?}");
}

#[test]
fn test_is_sent_during_a_pause() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.receiver.set("hook", Mode::Limit(Some(300)));
    world.fail_run("run-1");
    world.receiver.set("hook", Mode::Respond(200));
    let tested = world.wait(world.engine().test_channel(world.workspace_id, hook)).unwrap();
    assert_eq!(tested.http_status, Some(200));
    assert!(world.paused_until(hook).is_some());
}

#[test]
fn restart_forgets_a_pause_and_sends_one_first() {
    let mut world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.receiver.set("hook", Mode::Limit(Some(300)));
    for number in 1..10 {
        world.fail_run(&format!("run-{number}"));
    }
    world.restart();
    world.settle();
    assert_eq!(world.receiver.requests_to("hook").len(), 2, "one attempt shows that the limit goes on");
    assert!(world.paused_until(hook).is_some());
}

#[test]
fn change_of_the_receiver_ends_a_pause() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.flow_rule(hook);
    world.receiver.set("hook", Mode::Limit(Some(300)));
    world.fail_run("run-1");
    world.fail_run("run-2");
    world.set_url(hook, &format!("http://{}/moved", world.receiver.address));
    world.settle();
    assert_eq!(world.paused_until(hook), None);
    assert_eq!(world.receiver.requests_to("moved").len(), 1, "what waited is sent to the new receiver");
}

#[test]
fn delivery_that_waited_a_day_because_of_pauses_fails() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.set_retry_delays(hook, &[86_400; 3]);
    world.flow_rule(hook);
    world.receiver.set("hook", Mode::Limit(Some(3_600)));
    world.fail_run("run-0");
    for number in 1..40 {
        world.fail_run(&format!("run-{number}"));
    }
    world.advance_in_steps(23 * 3_600, 3_600);
    let attempted = world.outcomes(hook).len() - world.waiting_without_attempt(hook);
    assert_eq!(attempted, 24, "one after each pause");
    assert!(world.outcomes(hook).iter().all(|outcome| outcome == "failure pending"));
    world.advance_in_steps(2 * 3_600, 3_600);
    assert_eq!(world.waiting_without_attempt(hook), 0);
    let last = world.last(hook);
    assert_eq!((last.status, last.attempt_count), (Status::Failed, 0));
    assert_eq!(last.reason.as_deref(), Some("receiver_rate_limited"));
    assert_eq!(last.last_error.as_deref(), Some("it waited 24 hours because the receiver limits the rate"));
}

impl World {
    fn waiting_without_attempt(&self, channel: ChannelId) -> usize {
        let waits = |status, count| status == Status::Pending && count == 0;
        self.deliveries().iter().filter(|it| it.channel_id == channel && waits(it.status, it.attempt_count)).count()
    }

    #[track_caller]
    fn disabled_reason(&self, channel: ChannelId) -> Option<DisabledReason> {
        self.engine().channel(self.workspace_id, channel).unwrap().disabled_reason
    }
}

#[test]
fn gone_receiver_disables_webhook_after_three_attempts_over_ten_minutes() {
    for (delays, is_gone) in [(&[400, 400][..], true), (&[200, 200], false), (&[900], false), (&[700, 1, 1], true)] {
        let world = World::new();
        let hook = world.webhook("hook");
        world.set_retry_delays(hook, delays);
        world.flow_rule(hook);
        world.receiver.set("hook", Mode::Respond(410));
        world.fail_run("run-1");
        world.advance_in_steps(1_800, 10);
        let delivery = world.last(hook);
        assert_eq!((delivery.status, delivery.attempt_count), (Status::Failed, delays.len() as u32 + 1));
        assert_eq!(world.disabled_reason(hook), is_gone.then_some(DisabledReason::ReceiverGone), "{delays:?}");
    }
}

#[test]
fn gone_receiver_disables_only_if_all_attempts_were_answered_410_and_only_webhooks() {
    let world = World::new();
    let (hook, slack) = (world.webhook("hook"), world.slack("slack-a"));
    for channel in [hook, slack] {
        world.set_retry_delays(channel, &[400, 400, 400]);
        world.flow_rule(channel);
    }
    world.receiver.set("hook", Mode::Respond(500));
    world.receiver.set("slack-a", Mode::Respond(410));
    world.fail_run("run-1");
    world.receiver.set("hook", Mode::Respond(410));
    world.advance_in_steps(1_800, 10);
    assert_eq!(world.outcomes(hook), ["failure failed"]);
    assert_eq!(world.outcomes(slack), ["failure failed"]);
    assert_eq!((world.disabled_reason(hook), world.disabled_reason(slack)), (None, None));
}

#[test]
fn pause_of_a_private_channel_ends_with_its_receiver() {
    let world = World::new();
    let endpoint = world.simple_endpoint("API");
    world.private_rule(endpoint, "private");
    world.receiver.set("private", Mode::Limit(Some(3_600)));
    world.down(endpoint);
    let channel = world.deliveries()[0].channel_id;
    assert!(world.paused_until(channel).is_some());
    world.set_url(channel, &format!("http://{}/elsewhere", world.receiver.address));
    assert_eq!(world.paused_until(channel), None);
}
