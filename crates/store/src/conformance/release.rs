//! Release: held deliveries are made due one by one, released as a digest, or stopped after all.

use std::sync::Arc;

use tidings_domain::delivery::{SkipReason, Status};
use tidings_domain::gate::Gate;
use tidings_domain::id::DeliveryId;
use tidings_domain::incident::IncidentTrigger;

use super::fixture::{Fixture, HELD_MS};
use super::ordering::of_incident;
use super::rate_limit::at_most;
use super::samples::{NOW, after_ms, assert_refused, attempted, held, lease, stopped};
use crate::StoreError;
use crate::monitoring::TransitionRecord;
use crate::queue::{InitialState, NextState, ReleaseBatch, ReleaseOutcome};

impl Fixture {
    /// Accepts `count` held deliveries.
    pub(super) async fn accept_held(&self, count: usize) -> Vec<DeliveryId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.accept_one(self.ours, InitialState::Held).await);
        }
        ids
    }

    pub(super) async fn release_held(&self, release: ReleaseBatch) -> ReleaseOutcome {
        self.store.release_held(release).await.unwrap()
    }

    pub(super) async fn statuses(&self, ids: &[DeliveryId]) -> Vec<Status> {
        let mut statuses = Vec::new();
        for id in ids {
            statuses.push(self.status(self.ours, *id).await);
        }
        statuses
    }
}

pub(super) async fn release_individual_is_due_now(fixture: Fixture) {
    let ids = fixture.accept_held(3).await;
    let release = ReleaseBatch { individual: vec![ids[0], ids[2]], ..fixture.empty_release(after_ms(6_000)) };
    assert_eq!(fixture.release_held(release).await, ReleaseOutcome { due: 2, ..ReleaseOutcome::default() });
    let found = fixture.read(fixture.ours, ids[0]).await;
    assert_eq!((found.status, found.reason, found.held_until), (Status::Pending, None, None));
    assert_eq!((found.next_attempt_at, found.gate_evaluations.len()), (Some(after_ms(6_000)), 1));
    assert_eq!(fixture.list_all_held().await, [ids[1]]);
    let claimed = fixture.claim(fixture.ours, after_ms(6_000), lease(1, 9_000), 9).await;
    assert!(claimed.iter().map(|one| one.id).eq([ids[0], ids[2]]));
    fixture.store.settle(attempted(&claimed[0], NextState::Done(Status::Sent))).await.unwrap();
    assert_eq!(fixture.read(fixture.ours, ids[0]).await.reason, None);
}

pub(super) async fn release_individual_stops_at_rate_limit(fixture: Fixture) {
    fixture.accept_rate_limited(at_most(3), after_ms(10_000)).await;
    let ids = fixture.accept_held(4).await;
    let release = |ms| ReleaseBatch {
        individual: ids.clone(),
        rate_limit: Some(at_most(3)),
        ..fixture.empty_release(after_ms(ms))
    };
    assert_eq!(fixture.release_held(release(20_000)).await, ReleaseOutcome { due: 2, held: 2, members: 0 });
    use Status::{Held, Pending};
    assert_eq!(fixture.statuses(&ids).await, [Pending, Pending, Held, Held], "in order");
    for ms in [30_000, 40_000] {
        assert_eq!(fixture.release_held(release(ms)).await, ReleaseOutcome { held: 2, ..ReleaseOutcome::default() });
    }
    for id in &ids[2..] {
        let found = fixture.read(fixture.ours, *id).await;
        assert_eq!((found.held_until, found.reason.as_deref()), (Some(after_ms(70_000)), Some("rate_limit")));
        let gates: Vec<_> =
            found.gate_evaluations.iter().flat_map(|evaluation| evaluation.held()).map(|(gate, _)| gate).collect();
        assert_eq!(gates, [Gate::QuietHours, Gate::RateLimit], "the refusal is recorded once");
    }
    assert_eq!(
        fixture.accept_rate_limited(at_most(9), after_ms(50_000)).await.0,
        Held,
        "a new delivery does not overtake them"
    );
    assert_eq!(fixture.release_held(release(70_000)).await, ReleaseOutcome { due: 1, held: 1, members: 0 });
}

pub(super) async fn release_stopped_is_settled_or_held_again(fixture: Fixture) {
    let ids = fixture.accept_held(3).await;
    let now = after_ms(6_000);
    let (evaluation, longer) = (stopped(Gate::ScopedMute, now), held(now, after_ms(8_000)));
    let states = [
        NextState::Suppressed(evaluation.clone()),
        NextState::Skipped(SkipReason::RuleDeleted),
        NextState::Held(longer.clone()),
    ];
    let release = ReleaseBatch { not_sent: ids.iter().copied().zip(states).collect(), ..fixture.empty_release(now) };
    assert_eq!(fixture.release_held(release).await, ReleaseOutcome::default());
    let first = held(NOW, after_ms(HELD_MS));
    let suppressed = fixture.read(fixture.ours, ids[0]).await;
    assert_eq!((suppressed.status, suppressed.reason.as_deref()), (Status::Suppressed, Some("muted")));
    assert_eq!((suppressed.gate_evaluations, suppressed.completed_at), (vec![first.clone(), evaluation], Some(now)));
    let skipped = fixture.read(fixture.ours, ids[1]).await;
    assert_eq!((skipped.status, skipped.reason.as_deref()), (Status::Skipped, Some("rule_deleted")));
    assert_eq!((skipped.gate_evaluations.len(), skipped.completed_at, skipped.held_until), (1, Some(now), None));
    let again = fixture.read(fixture.ours, ids[2]).await;
    assert_eq!((again.status, again.held_until, again.completed_at), (Status::Held, Some(after_ms(8_000)), None));
    assert_eq!(again.gate_evaluations, [first, longer]);
    assert_eq!(fixture.list_all_held().await, [ids[2]]);
}

pub(super) async fn release_not_held_changes_nothing(fixture: Fixture) {
    let ours = fixture.ours;
    let sent = fixture.accept_settled(ours, Status::Sent, NOW).await;
    let suppressed = fixture.accept_one(ours, InitialState::Suppressed).await;
    let foreign = fixture.accept_one(fixture.theirs, InitialState::Held).await;
    let elsewhere = fixture.accept_one(fixture.another_channel().await, InitialState::Held).await;
    let leased = fixture.accept_one(ours, InitialState::Leased(lease(1, 9))).await;
    let due = fixture.accept_one(ours, InitialState::Due).await;
    let member = fixture.accept_held(1).await[0];
    let digest = fixture.digest(vec![member]);
    fixture.release_held(ReleaseBatch { digest: Some(digest), ..fixture.empty_release(NOW) }).await;
    let ours_ids = [sent, suppressed, elsewhere, leased, due, member];
    let before = fixture.statuses(&ours_ids).await;
    let all = [&ours_ids[..], &[foreign, fixture.id()]].concat();
    for _ in 0..2 {
        let skip = |id: &DeliveryId| (*id, NextState::Skipped(SkipReason::RuleDeleted));
        for release in [
            ReleaseBatch { not_sent: all.iter().map(skip).collect(), ..fixture.empty_release(NOW) },
            ReleaseBatch { individual: all.clone(), rate_limit: Some(at_most(1)), ..fixture.empty_release(NOW) },
            ReleaseBatch {
                digest: Some(fixture.digest(all.clone())),
                rate_limit: Some(at_most(1)),
                ..fixture.empty_release(NOW)
            },
        ] {
            assert_eq!(fixture.release_held(release).await, ReleaseOutcome::default());
        }
    }
    assert_eq!(fixture.statuses(&ours_ids).await, before);
    assert_eq!(fixture.status(fixture.theirs, foreign).await, Status::Held);
    assert_eq!(fixture.accept_rate_limited(at_most(1), NOW).await.0, Status::Pending, "no slot was taken");
}

pub(super) async fn release_individual_of_incident_is_sent_in_order(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let held = || fixture.delivery(ours, InitialState::Held);
    let (opening, worsened, resolution) = (held(), held(), held());
    let ids = [opening.id, worsened.id, resolution.id];
    let triggers = [IncidentTrigger::Opened, IncidentTrigger::Worsened, IncidentTrigger::Resolved];
    let deliveries = [opening, worsened, resolution];
    let to_event = |(trigger, delivery)| fixture.incident_event(&record, trigger, NOW, vec![delivery]);
    let events = triggers.into_iter().zip(deliveries).map(to_event).collect();
    fixture.record_transition(ours, TransitionRecord { events, ..TransitionRecord::default() }).await.unwrap();
    // Two of them now and the last one later: it waits for those in progress by then.
    for individual in [vec![ids[0], ids[1]], vec![ids[2]]] {
        fixture.release_held(ReleaseBatch { individual, ..fixture.empty_release(NOW) }).await;
    }
    for id in ids {
        let mut claimed = fixture.claim(ours, after_ms(50), lease(1, 9_000), 9).await;
        assert!(claimed.iter().map(|one| one.id).eq([id]), "one at a time");
        let settlement = of_incident(attempted(&claimed.remove(0), NextState::Done(Status::Sent)));
        fixture.store.settle(settlement).await.unwrap();
    }
    assert_eq!(fixture.read(ours, ids[2]).await.blocked_by, Some(ids[1]));
}

pub(super) async fn release_then_new_delivery_waits_for_released(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let record = async |trigger, delivery| {
        let events = vec![fixture.incident_event(&record, trigger, NOW, vec![delivery])];
        fixture.record_transition(ours, TransitionRecord { events, ..TransitionRecord::default() }).await.unwrap();
    };
    let (held, in_progress) = (fixture.delivery(ours, InitialState::Held), fixture.delivery(ours, InitialState::Due));
    let [first, second] = [held.id, in_progress.id];
    record(IncidentTrigger::Opened, held).await;
    record(IncidentTrigger::Worsened, in_progress).await;
    // It is released while a later delivery is in progress, and is queued behind that.
    fixture.release_held(ReleaseBatch { individual: vec![first], ..fixture.empty_release(NOW) }).await;
    let last = fixture.delivery(ours, InitialState::Due);
    let third = last.id;
    record(IncidentTrigger::Resolved, last).await;
    for id in [second, first, third] {
        let mut claimed = fixture.claim(ours, after_ms(50), lease(1, 9_000), 9).await;
        assert!(claimed.iter().map(|one| one.id).eq([id]), "one at a time, in the order in which they were queued");
        let settlement = of_incident(attempted(&claimed.remove(0), NextState::Done(Status::Failed)));
        fixture.store.settle(settlement).await.unwrap();
    }
}

pub(super) async fn release_from_other_workspace_changes_nothing(fixture: Fixture) {
    let ids = fixture.accept_held(2).await;
    let skip = (ids[0], NextState::Skipped(SkipReason::RuleDeleted));
    let release = ReleaseBatch {
        workspace_id: fixture.theirs.id,
        not_sent: vec![skip],
        individual: ids.clone(),
        ..fixture.empty_release(NOW)
    };
    assert_eq!(fixture.release_held(release).await, ReleaseOutcome::default());
    assert_eq!(fixture.list_all_held().await, ids);
}

pub(super) async fn release_refused_changes_nothing(fixture: Fixture) {
    let ids = fixture.accept_held(4).await;
    // The digest's event was accepted before, so the whole release is refused.
    let created = fixture.digest(vec![ids[3]]);
    fixture.release_held(ReleaseBatch { digest: Some(created.clone()), ..fixture.empty_release(NOW) }).await;
    let mut again = fixture.digest(vec![ids[2]]);
    again.new_event.event = Arc::clone(&created.new_event.event);
    let skip = (ids[0], NextState::Skipped(SkipReason::RuleDeleted));
    let release = ReleaseBatch {
        not_sent: vec![skip],
        individual: vec![ids[1]],
        digest: Some(again),
        rate_limit: Some(at_most(2)),
        ..fixture.empty_release(NOW)
    };
    assert_refused!(fixture.store.release_held(release).await, Exists);
    assert_eq!(fixture.list_all_held().await, ids[..3]);
    assert_eq!(fixture.accept_rate_limited(at_most(1), NOW).await.0, Status::Pending, "and no slot was taken");

    let odd = ReleaseBatch { not_sent: vec![(ids[0], NextState::RetryAt(NOW))], ..fixture.empty_release(NOW) };
    assert!(matches!(fixture.store.release_held(odd).await, Err(StoreError::Corrupt(_))));
}
