//! Channel tests: one attempt, recorded in the history and in the channel's connectivity only.

use tidings_domain::channel::Connectivity;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::id::{ChannelId, Id};

use super::fixture::Fixture;
use super::samples::{NOW, after_ms, assert_refused, assert_same_event};
use crate::history::{DeliveryFilter, EventFilter};
use crate::queue::Counts;

pub(super) async fn record_test_is_in_history_with_attempt(fixture: Fixture) {
    for (status, rule_id) in [(Status::Sent, None), (Status::Failed, Some(fixture.ours.rule_id))] {
        let mut test = fixture.test(fixture.ours, status, after_ms(4));
        test.rule_id = rule_id;
        fixture.store.record_test(test.clone()).await.unwrap();

        let found = fixture.read(fixture.ours, test.delivery_id).await;
        assert_same_event(&found.event, &test.event);
        assert_eq!((found.status, found.rule_id, found.channel_id), (status, rule_id, test.channel_id));
        assert_eq!((found.attempt_count, found.http_status), (1, test.attempt.http_status));
        assert_eq!((found.last_error.as_ref(), found.completed_at), (test.attempt.error.as_ref(), Some(after_ms(4))));
        assert_eq!(found.sent_at, (status == Status::Sent).then_some(after_ms(4)));
        assert_eq!(found.attempts[0].trigger, AttemptTrigger::Test);
        assert_eq!(found.attempts, [test.attempt]);
        let event = fixture.store.event(fixture.ours.id, test.event.id).await.unwrap().expect("it is in the history");
        assert_eq!(event.counts, Counts::default(), "nothing was ever pending");
    }
}

pub(super) async fn record_test_sets_connectivity(fixture: Fixture) {
    fixture.store.record_test(fixture.test(fixture.ours, Status::Sent, after_ms(4))).await.unwrap();
    let expected = Connectivity::default().after_test(true, after_ms(4));
    assert_eq!(fixture.our_channel().await.channel.connectivity, expected);
    let theirs = fixture.configuration(fixture.theirs).await;
    assert_eq!(theirs.channels[0].channel.connectivity, Connectivity::default());
}

pub(super) async fn record_test_failed_keeps_last_success(fixture: Fixture) {
    let mut expected = Connectivity::default();
    for (status, at) in [(Status::Failed, 1), (Status::Sent, 2), (Status::Failed, 3)] {
        fixture.store.record_test(fixture.test(fixture.ours, status, after_ms(at))).await.unwrap();
        expected = expected.after_test(status == Status::Sent, after_ms(at));
        assert_eq!(fixture.our_channel().await.channel.connectivity, expected);
    }
}

pub(super) async fn record_test_increments_version(fixture: Fixture) {
    let before = fixture.configuration(fixture.ours).await.version;
    fixture.store.record_test(fixture.test(fixture.ours, Status::Sent, NOW)).await.unwrap();
    assert_eq!(fixture.configuration(fixture.ours).await.version, before + 1);
    assert_eq!(fixture.our_channel().await.channel.revision, 1, "it is no edit");
}

pub(super) async fn record_test_is_no_run_and_never_due(fixture: Fixture) {
    fixture.store.record_test(fixture.test(fixture.ours, Status::Failed, NOW)).await.unwrap();
    for (runs_only, count) in [(true, 0), (false, 1)] {
        let filter = EventFilter { limit: 9, runs_only, ..EventFilter::default() };
        assert_eq!(fixture.store.events(fixture.ours.id, filter).await.unwrap().records.len(), count);
    }
    assert_eq!(fixture.store.due().await.unwrap(), []);
}

pub(super) async fn record_test_unknown_channel_writes_nothing(fixture: Fixture) {
    let mut test = fixture.test(fixture.ours, Status::Sent, NOW);
    test.channel_id = ChannelId::from_bytes([9; 16]);
    let id = test.event.id;
    assert_refused!(fixture.store.record_test(test).await, NotFound);
    assert!(fixture.store.event(fixture.ours.id, id).await.unwrap().is_none());
    let filter = DeliveryFilter { limit: 9, ..DeliveryFilter::default() };
    assert!(fixture.delivery_ids(fixture.ours, filter).await.is_empty());
}
