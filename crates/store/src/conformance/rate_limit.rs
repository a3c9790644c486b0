//! Rate limits: first attempts are counted in the transaction that accepts them.

use std::sync::Arc;

use tidings_domain::calendar::Zone;
use tidings_domain::delivery::Status;
use tidings_domain::gate::{Effect, Gate};
use tidings_domain::id::DeliveryId;
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_domain::time::Timestamp;

use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, assert_refused, attempted, lease};
use crate::queue::{
    Acceptance, Counts, InitialState, NewDelivery, NewEvent, NextState, RateLimitRequest, ReleaseBatch,
};

/// How long an admission counts, in milliseconds.
const MINUTE: u64 = 60_000;

/// A limit with this action for what exceeds it.
pub(super) fn limit(max_per_minute: u32, action: RateAction) -> RateLimitRequest {
    let limit = RateLimit { max_per_minute, action };
    RateLimitRequest { limit, channel_name: "#data-alerts".into(), zone: Zone::UTC }
}

/// A limit that holds what exceeds it.
pub(super) fn at_most(max_per_minute: u32) -> RateLimitRequest {
    limit(max_per_minute, RateAction::Digest)
}

impl Fixture {
    /// An event with one delivery under this limit.
    pub(super) fn rate_limited_event(
        &self,
        tenant: Tenant,
        limit: RateLimitRequest,
        start: InitialState,
        at: Timestamp,
    ) -> NewEvent {
        let delivery = NewDelivery { rate_limit: Some(limit), ..self.delivery_at(tenant, start, at) };
        self.new_event(self.event_at(tenant, at), vec![delivery])
    }

    /// Accepts an event with one due delivery under this limit. Returns the status and id of the delivery.
    pub(super) async fn accept_rate_limited(&self, limit: RateLimitRequest, at: Timestamp) -> (Status, DeliveryId) {
        let new_event = self.rate_limited_event(self.ours, limit, InitialState::Due, at);
        let id = new_event.deliveries[0].id;
        self.accept(new_event).await;
        (self.status(self.ours, id).await, id)
    }
}

pub(super) async fn rate_limit_exceeded_holds_until_next_slot(fixture: Fixture) {
    for at in [0, 1_000] {
        assert_eq!(fixture.accept_rate_limited(at_most(2), after_ms(at)).await.0, Status::Pending);
    }
    let (status, id) = fixture.accept_rate_limited(at_most(2), after_ms(2_000)).await;
    let held = fixture.read(fixture.ours, id).await;
    assert_eq!((status, held.reason.as_deref()), (Status::Held, Some("rate_limit")));
    assert_eq!((held.held_until, held.next_attempt_at), (Some(after_ms(MINUTE)), None));
    assert_eq!((held.completed_at, held.gate_evaluations.len()), (None, 1), "the refusal completes the one evaluation");
    let (gate, stop) = held.gate_evaluations[0].stopped.clone().expect("it was stopped");
    assert_eq!((gate, stop.effect, stop.until), (Gate::RateLimit, Effect::Hold, Some(after_ms(MINUTE))));
    assert!(stop.detail.contains("#data-alerts takes at most 2 messages a minute"), "{}", stop.detail);
    assert!(!held.gate_evaluations[0].passed_gates().any(|gate| gate == Gate::RateLimit));
    assert_eq!(fixture.claim(fixture.ours, after_ms(9 * MINUTE), lease(1, 1), 9).await.len(), 2);
}

pub(super) async fn rate_limit_exceeded_with_drop_suppresses(fixture: Fixture) {
    let drops = limit(1, RateAction::Drop);
    assert_eq!(fixture.accept_rate_limited(drops.clone(), NOW).await.0, Status::Pending);
    let (status, id) = fixture.accept_rate_limited(drops.clone(), after_ms(1)).await;
    let dropped = fixture.read(fixture.ours, id).await;
    assert_eq!((status, dropped.reason.as_deref()), (Status::Suppressed, Some("rate_limit")));
    assert_eq!((dropped.held_until, dropped.completed_at), (None, Some(after_ms(1))));
    assert_eq!(fixture.accept_rate_limited(drops, after_ms(MINUTE)).await.0, Status::Pending, "a slot is free again");
}

/// Even if a slot is free, and even if the limit's action is to drop.
pub(super) async fn rate_limit_new_delivery_does_not_overtake_held(fixture: Fixture) {
    fixture.accept_rate_limited(at_most(1), NOW).await;
    let (_, first) = fixture.accept_rate_limited(at_most(1), after_ms(10)).await;
    let (status, later) = fixture.accept_rate_limited(at_most(1), after_ms(MINUTE + 500)).await;
    assert_eq!(status, Status::Held);
    assert_eq!(fixture.read(fixture.ours, later).await.held_until, Some(after_ms(MINUTE + 500)), "a slot is free");
    let (status, _) = fixture.accept_rate_limited(limit(1, RateAction::Drop), after_ms(MINUTE + 600)).await;
    assert_eq!(status, Status::Held);

    let until = after_ms(MINUTE + 700);
    let held_list = fixture.store.list_held(fixture.ours.id, fixture.ours.channel_id, until, 9).await.unwrap();
    assert_eq!((held_list.len(), held_list[0].id, held_list[1].id), (3, first, later), "all three are held");
    let release =
        ReleaseBatch { individual: held_list.iter().map(|held| held.id).collect(), ..fixture.empty_release(until) };
    fixture.store.release_held(release).await.unwrap();
    assert_eq!(fixture.accept_rate_limited(at_most(9), until).await.0, Status::Pending, "no delivery is held any more");
}

pub(super) async fn rate_limit_raised_still_holds_behind_held(fixture: Fixture) {
    fixture.accept_rate_limited(at_most(1), NOW).await;
    fixture.accept_rate_limited(at_most(1), after_ms(10)).await;
    // The raised limit has free slots, but the other delivery is still held.
    let (status, id) = fixture.accept_rate_limited(at_most(50), after_ms(20)).await;
    assert_eq!(status, Status::Held);
    assert_eq!(fixture.read(fixture.ours, id).await.held_until, Some(after_ms(MINUTE)));
}

/// Deliveries held by other gates take no slot and hold no later ones.
pub(super) async fn rate_limit_held_and_suppressed_take_no_slot(fixture: Fixture) {
    for start in [InitialState::Held, InitialState::Suppressed] {
        let limited = fixture.rate_limited_event(fixture.ours, at_most(1), start, NOW);
        let expected = format!("{:?}", limited.deliveries[0].evaluation);
        let id = limited.deliveries[0].id;
        assert_eq!(fixture.accept(limited).await.not_leased, []);
        let found = fixture.read(fixture.ours, id).await;
        assert_eq!(format!("{:?}", found.gate_evaluations[0]), expected);
    }
    fixture.accept_one(fixture.ours, InitialState::Due).await;
    assert_eq!(fixture.accept_rate_limited(at_most(1), NOW).await.0, Status::Pending);
    assert_eq!(fixture.accept_rate_limited(at_most(1), NOW).await.0, Status::Held);
}

pub(super) async fn rate_limit_refusal_is_in_counts_and_not_leased(fixture: Fixture) {
    let (ours, event) = (fixture.ours, fixture.event(fixture.ours));
    let leased = InitialState::Leased(lease(1, MINUTE));
    let limited = |start, action| NewDelivery { rate_limit: Some(limit(1, action)), ..fixture.delivery(ours, start) };
    let other = fixture.another_channel().await;
    let deliveries = vec![
        limited(leased, RateAction::Drop),
        limited(leased, RateAction::Drop),
        limited(InitialState::Due, RateAction::Digest),
        fixture.delivery(other, leased),
        fixture.delivery(other, InitialState::Suppressed),
    ];
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.id).collect();
    let answer = fixture.accept(fixture.new_event(event.clone(), deliveries)).await;
    let counts = Counts { pending: 2, held: 1, suppressed: 2 };
    let not_leased = vec![ids[1], ids[2]];
    let expected =
        Acceptance { event_id: event.id, duplicate: false, differs: false, counts, not_leased, expedited: vec![] };
    assert_eq!(answer, expected);
    assert_eq!(fixture.store.event(ours.id, event.id).await.unwrap().expect("it is there").counts, counts);
    let mut statuses = Vec::new();
    for id in ids {
        statuses.push(fixture.status(ours, id).await);
    }
    use Status::{Held, Sending, Suppressed};
    assert_eq!(statuses, [Sending, Suppressed, Held, Sending, Suppressed]);
    let again = fixture.accept(fixture.new_event(event, vec![])).await;
    assert_eq!(again, Acceptance { duplicate: true, not_leased: vec![], ..expected });
}

pub(super) async fn rate_limit_admitted_lease_is_leased(fixture: Fixture) {
    let limited = fixture.rate_limited_event(fixture.ours, at_most(1), InitialState::Leased(lease(7, 500)), NOW);
    let id = limited.deliveries[0].id;
    assert_eq!(fixture.accept(limited).await.not_leased, []);
    assert_eq!(fixture.status(fixture.ours, id).await, Status::Sending);
    let claimed = fixture.claim(fixture.ours, after_ms(500), lease(2, 900), 1).await.remove(0);
    assert_eq!(claimed.id, id);
    fixture.store.settle(attempted(&claimed, NextState::RetryAt(after_ms(600)))).await.unwrap();
    assert_eq!(fixture.accept_rate_limited(at_most(1), after_ms(700)).await.0, Status::Held, "a retry frees no slot");
}

pub(super) async fn rate_limit_duplicate_and_refused_take_no_slot(fixture: Fixture) {
    let event = fixture.rate_limited_event(fixture.ours, at_most(2), InitialState::Due, NOW);
    for _ in 0..5 {
        fixture.accept(event.clone()).await;
    }
    let mut twice = fixture.rate_limited_event(fixture.ours, at_most(2), InitialState::Due, NOW);
    twice.deliveries.extend(twice.deliveries.clone());
    assert_refused!(fixture.store.accept(vec![twice]).await, Exists);
    assert_eq!(fixture.accept_rate_limited(at_most(2), NOW).await.0, Status::Pending, "one event, and its duplicates");
    assert_eq!(fixture.accept_rate_limited(at_most(2), NOW).await.0, Status::Held);
}

pub(super) async fn rate_limit_concurrent_callers_share_slots(fixture: Fixture) {
    let other = fixture.another_channel().await;
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let tenant = if number % 2 == 0 { fixture.ours } else { other };
            let limited = fixture.rate_limited_event(tenant, at_most(3), InitialState::Due, NOW);
            let store = Arc::clone(&fixture.store);
            tokio::spawn(async move { (tenant.channel_id, store.accept(vec![limited]).await.unwrap().remove(0)) })
        })
        .collect();
    let mut admitted = Vec::new();
    for task in tasks {
        let (channel_id, answer) = task.await.unwrap();
        assert_eq!((answer.counts.pending + answer.counts.held, answer.counts.suppressed), (1, 0));
        assert_eq!(answer.not_leased.len() as u32, answer.counts.held);
        admitted.extend((answer.counts.pending == 1).then_some(channel_id));
    }
    for tenant in [fixture.ours, other] {
        assert_eq!(admitted.iter().filter(|id| **id == tenant.channel_id).count(), 3);
        assert_eq!(fixture.claim(tenant, NOW, lease(1, 1), 99).await.len(), 3);
    }
}

pub(super) async fn rate_limit_one_batch_shares_slots(fixture: Fixture) {
    let batch = (0..40).map(|_| fixture.rate_limited_event(fixture.ours, at_most(3), InitialState::Due, NOW)).collect();
    let answers = fixture.store.accept(batch).await.unwrap();
    let admitted: Vec<_> = answers.iter().map(|answer| answer.counts.pending == 1).collect();
    assert!(admitted.iter().enumerate().all(|(number, admitted)| *admitted == (number < 3)), "the first three");
}

pub(super) async fn rate_limit_window_survives_restart(fixture: Fixture) {
    fixture.accept_rate_limited(at_most(2), NOW).await;
    let fixture = fixture.reopen().await;
    fixture.accept_rate_limited(at_most(2), after_ms(10)).await;
    let fixture = fixture.reopen().await;
    let (status, id) = fixture.accept_rate_limited(at_most(2), after_ms(20)).await;
    assert_eq!((status, fixture.read(fixture.ours, id).await.held_until), (Status::Held, Some(after_ms(MINUTE))));
    let fixture = fixture.reopen().await;
    assert_eq!(
        fixture.accept_rate_limited(at_most(2), after_ms(MINUTE)).await.0,
        Status::Held,
        "the other is still held"
    );
}

pub(super) async fn preview_rate_limit_takes_no_slot(fixture: Fixture) {
    let preview = async |at| {
        let evaluation = super::samples::passed(at);
        fixture.store.preview_rate_limit(fixture.ours.channel_id, at_most(1), evaluation, at).await.unwrap()
    };
    for _ in 0..3 {
        assert_eq!(preview(NOW).await.stopped, None);
    }
    assert_eq!(fixture.accept_rate_limited(at_most(1), NOW).await.0, Status::Pending);
    assert_eq!(preview(after_ms(5)).await.held(), Some((Gate::RateLimit, after_ms(MINUTE))));
    assert_eq!(preview(after_ms(MINUTE)).await.held(), None);
}
