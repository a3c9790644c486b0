//! RateLimitRequest: a channel's rate limit counts first attempts in the transaction that accepts them.

use std::sync::Arc;

use tidings_domain::calendar::Zone;
use tidings_domain::delivery::Status;
use tidings_domain::gate::{Effect, Gate};
use tidings_domain::id::DeliveryId;
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_domain::time::Timestamp;

use super::samples::{NOW, after_ms, assert_refused, lease, tried};
use super::world::{Tenant, World};
use crate::queue::{
    Acceptance, Counts, InitialState, NewDelivery, NewEvent, NextState, RateLimitRequest, ReleaseBatch,
};

/// How long an admission counts, in milliseconds.
const MINUTE: u64 = 60_000;

/// A limit of so many a minute, with what becomes of those beyond.
pub(super) fn limit(max_per_minute: u32, action: RateAction) -> RateLimitRequest {
    let limit = RateLimit { max_per_minute, action };
    RateLimitRequest { limit, channel_name: "#data-alerts".into(), zone: Zone::UTC }
}

/// A limit that holds back what is beyond it.
pub(super) fn at_most(max_per_minute: u32) -> RateLimitRequest {
    limit(max_per_minute, RateAction::Digest)
}

impl World {
    /// An event with one delivery that asks this limit.
    pub(super) fn asking(
        &self,
        tenant: Tenant,
        admission: RateLimitRequest,
        start: InitialState,
        at: Timestamp,
    ) -> NewEvent {
        let delivery = NewDelivery { rate_limit: Some(admission), ..self.delivery_at(tenant, start, at) };
        self.new_event(self.event_at(tenant, at), vec![delivery])
    }

    /// Accepts it; whether it was admitted, and its delivery.
    pub(super) async fn ask(&self, admission: RateLimitRequest, at: Timestamp) -> (Status, DeliveryId) {
        let new_event = self.asking(self.ours, admission, InitialState::Due, at);
        let id = new_event.deliveries[0].id;
        self.accept(new_event).await;
        (self.status(self.ours, id).await, id)
    }
}

pub(super) async fn a_full_limit_holds_until_there_is_room(world: World) {
    for at in [0, 1_000] {
        assert_eq!(world.ask(at_most(2), after_ms(at)).await.0, Status::Pending);
    }
    let (status, id) = world.ask(at_most(2), after_ms(2_000)).await;
    let held = world.read(world.ours, id).await;
    assert_eq!((status, held.reason.as_deref()), (Status::Held, Some("rate_limit")));
    assert_eq!((held.held_until, held.next_attempt_at), (Some(after_ms(MINUTE)), None));
    assert_eq!(
        (held.completed_at, held.gate_evaluations.len()),
        (None, 1),
        "there is one evaluation, and this is its end"
    );
    let (gate, stop) = held.gate_evaluations[0].stopped.clone().expect("it was stopped");
    assert_eq!((gate, stop.effect, stop.until), (Gate::RateLimit, Effect::Hold, Some(after_ms(MINUTE))));
    assert!(stop.detail.contains("#data-alerts takes at most 2 messages a minute"), "{}", stop.detail);
    assert!(!held.gate_evaluations[0].passed_gates().any(|gate| gate == Gate::RateLimit));
    assert_eq!(world.claim(world.ours, after_ms(9 * MINUTE), lease(1, 1), 9).await.len(), 2);
}

pub(super) async fn a_limit_that_drops_suppresses(world: World) {
    let drops = limit(1, RateAction::Drop);
    assert_eq!(world.ask(drops.clone(), NOW).await.0, Status::Pending);
    let (status, id) = world.ask(drops.clone(), after_ms(1)).await;
    let dropped = world.read(world.ours, id).await;
    assert_eq!((status, dropped.reason.as_deref()), (Status::Suppressed, Some("rate_limit")));
    assert_eq!((dropped.held_until, dropped.completed_at), (None, Some(after_ms(1))));
    assert_eq!(world.ask(drops, after_ms(MINUTE)).await.0, Status::Pending, "there is room again");
}

/// Even when there is room again, and even if what comes now would not be held but dropped.
pub(super) async fn nothing_overtakes_what_waits(world: World) {
    world.ask(at_most(1), NOW).await;
    let (_, first) = world.ask(at_most(1), after_ms(10)).await;
    let (status, later) = world.ask(at_most(1), after_ms(MINUTE + 500)).await;
    assert_eq!(status, Status::Held);
    assert_eq!(world.read(world.ours, later).await.held_until, Some(after_ms(MINUTE + 500)), "there is room");
    let (status, _) = world.ask(limit(1, RateAction::Drop), after_ms(MINUTE + 600)).await;
    assert_eq!(status, Status::Held);

    let until = after_ms(MINUTE + 700);
    let back = world.store.list_held(world.ours.id, world.ours.channel_id, until, 9).await.unwrap();
    assert_eq!((back.len(), back[0].id, back[1].id), (3, first, later), "all of them wait together");
    let release = ReleaseBatch { individual: back.iter().map(|held| held.id).collect(), ..world.release(until) };
    world.store.release_held(release).await.unwrap();
    assert_eq!(world.ask(at_most(9), until).await.0, Status::Pending, "nothing waits any more");
}

pub(super) async fn what_waits_is_waited_for_until_it_may_go(world: World) {
    world.ask(at_most(1), NOW).await;
    world.ask(at_most(1), after_ms(10)).await;
    // The limit was raised, so that there is room: but the other one still waits.
    let (status, id) = world.ask(at_most(50), after_ms(20)).await;
    assert_eq!(status, Status::Held);
    assert_eq!(world.read(world.ours, id).await.held_until, Some(after_ms(MINUTE)));
}

/// What other gates hold back takes no place, and does not stand in the way.
pub(super) async fn only_what_is_to_be_sent_is_counted(world: World) {
    for start in [InitialState::Held, InitialState::Suppressed] {
        let asking = world.asking(world.ours, at_most(1), start, NOW);
        let expected = format!("{:?}", asking.deliveries[0].evaluation);
        let id = asking.deliveries[0].id;
        assert_eq!(world.accept(asking).await.not_leased, []);
        let found = world.read(world.ours, id).await;
        assert_eq!(format!("{:?}", found.gate_evaluations[0]), expected);
    }
    world.accept_one(world.ours, InitialState::Due).await;
    assert_eq!(world.ask(at_most(1), NOW).await.0, Status::Pending);
    assert_eq!(world.ask(at_most(1), NOW).await.0, Status::Held);
}

pub(super) async fn a_refusal_is_in_counts_and_in_what_is_withheld(world: World) {
    let (ours, event) = (world.ours, world.event(world.ours));
    let leased = InitialState::Leased(lease(1, MINUTE));
    let asking = |start, action| NewDelivery { rate_limit: Some(limit(1, action)), ..world.delivery(ours, start) };
    let other = world.another_channel().await;
    let deliveries = vec![
        asking(leased, RateAction::Drop),
        asking(leased, RateAction::Drop),
        asking(InitialState::Due, RateAction::Digest),
        world.delivery(other, leased),
        world.delivery(other, InitialState::Suppressed),
    ];
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.id).collect();
    let answer = world.accept(world.new_event(event.clone(), deliveries)).await;
    let counts = Counts { pending: 2, held: 1, suppressed: 2 };
    let expected = Acceptance { event_id: event.id, duplicate: false, counts, not_leased: vec![ids[1], ids[2]] };
    assert_eq!(answer, expected);
    assert_eq!(world.store.event(ours.id, event.id).await.unwrap().expect("it is there").counts, counts);
    let mut statuses = Vec::new();
    for id in ids {
        statuses.push(world.status(ours, id).await);
    }
    use Status::{Held, Sending, Suppressed};
    assert_eq!(statuses, [Sending, Suppressed, Held, Sending, Suppressed]);
    let again = world.accept(world.new_event(event, vec![])).await;
    assert_eq!(again, Acceptance { duplicate: true, not_leased: vec![], ..expected });
}

pub(super) async fn an_admitted_lease_is_a_lease(world: World) {
    let asking = world.asking(world.ours, at_most(1), InitialState::Leased(lease(7, 500)), NOW);
    let id = asking.deliveries[0].id;
    assert_eq!(world.accept(asking).await.not_leased, []);
    assert_eq!(world.status(world.ours, id).await, Status::Sending);
    let claimed = world.claim(world.ours, after_ms(500), lease(2, 900), 1).await.remove(0);
    assert_eq!(claimed.id, id);
    world.store.settle(tried(&claimed, NextState::RetryAt(after_ms(600)))).await.unwrap();
    assert_eq!(world.ask(at_most(1), after_ms(700)).await.0, Status::Held, "a retry gives nothing back");
}

pub(super) async fn what_is_not_accepted_takes_no_room(world: World) {
    let told = world.asking(world.ours, at_most(2), InitialState::Due, NOW);
    for _ in 0..5 {
        world.accept(told.clone()).await;
    }
    let mut twice = world.asking(world.ours, at_most(2), InitialState::Due, NOW);
    twice.deliveries.extend(twice.deliveries.clone());
    assert_refused!(world.store.accept(vec![twice]).await, Exists);
    assert_eq!(world.ask(at_most(2), NOW).await.0, Status::Pending, "one was told, and told again");
    assert_eq!(world.ask(at_most(2), NOW).await.0, Status::Held);
}

pub(super) async fn many_at_once_share_what_room_there_is(world: World) {
    let other = world.another_channel().await;
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let tenant = if number % 2 == 0 { world.ours } else { other };
            let asking = world.asking(tenant, at_most(3), InitialState::Due, NOW);
            let store = Arc::clone(&world.store);
            tokio::spawn(async move { (tenant.channel_id, store.accept(vec![asking]).await.unwrap().remove(0)) })
        })
        .collect();
    let mut admitted = Vec::new();
    for task in tasks {
        let (channel_id, answer) = task.await.unwrap();
        assert_eq!((answer.counts.pending + answer.counts.held, answer.counts.suppressed), (1, 0));
        assert_eq!(answer.not_leased.len() as u32, answer.counts.held);
        admitted.extend((answer.counts.pending == 1).then_some(channel_id));
    }
    for tenant in [world.ours, other] {
        assert_eq!(admitted.iter().filter(|id| **id == tenant.channel_id).count(), 3);
        assert_eq!(world.claim(tenant, NOW, lease(1, 1), 99).await.len(), 3);
    }
}

pub(super) async fn one_request_shares_what_room_there_is(world: World) {
    let batch = (0..40).map(|_| world.asking(world.ours, at_most(3), InitialState::Due, NOW)).collect();
    let answers = world.store.accept(batch).await.unwrap();
    let admitted: Vec<_> = answers.iter().map(|answer| answer.counts.pending == 1).collect();
    assert!(admitted.iter().enumerate().all(|(number, admitted)| *admitted == (number < 3)), "the first three");
}

pub(super) async fn admissions_survive_a_restart(world: World) {
    world.ask(at_most(2), NOW).await;
    let world = world.reopen().await;
    world.ask(at_most(2), after_ms(10)).await;
    let world = world.reopen().await;
    let (status, id) = world.ask(at_most(2), after_ms(20)).await;
    assert_eq!((status, world.read(world.ours, id).await.held_until), (Status::Held, Some(after_ms(MINUTE))));
    let world = world.reopen().await;
    assert_eq!(world.ask(at_most(2), after_ms(MINUTE)).await.0, Status::Held, "the other waits still");
}

pub(super) async fn what_is_foreseen_takes_no_room(world: World) {
    let foresee = async |at| {
        let evaluation = super::samples::passed(at);
        world.store.preview_rate_limit(world.ours.channel_id, at_most(1), evaluation, at).await.unwrap()
    };
    for _ in 0..3 {
        assert_eq!(foresee(NOW).await.stopped, None);
    }
    assert_eq!(world.ask(at_most(1), NOW).await.0, Status::Pending);
    assert_eq!(foresee(after_ms(5)).await.held(), Some((Gate::RateLimit, after_ms(MINUTE))));
    assert_eq!(foresee(after_ms(MINUTE)).await.held(), None);
}
