//! Letting go of what was held back: one by one, in a digest, or not after all.

use std::sync::Arc;

use tidings_domain::delivery::{SkipReason, Status};
use tidings_domain::gate::Gate;
use tidings_domain::id::DeliveryId;
use tidings_domain::incident::IncidentTrigger;

use super::admission::at_most;
use super::order::of_incident;
use super::samples::{NOW, after_ms, assert_refused, held, lease, stopped, tried};
use super::world::{HELD_MS, World};
use crate::StoreError;
use crate::monitoring::TransitionRecord;
use crate::queue::{InitialState, NewDelivery, NextState, ReleaseBatch, ReleaseOutcome};

impl World {
    /// Accepts so many that are held.
    pub(super) async fn hold(&self, count: usize) -> Vec<DeliveryId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.accept_one(self.ours, InitialState::Held).await);
        }
        ids
    }

    pub(super) async fn let_go(&self, release: ReleaseBatch) -> ReleaseOutcome {
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

pub(super) async fn singles_are_due_now(world: World) {
    let ids = world.hold(3).await;
    let release = ReleaseBatch { individual: vec![ids[0], ids[2]], ..world.release(after_ms(6_000)) };
    assert_eq!(world.let_go(release).await, ReleaseOutcome { due: 2, ..ReleaseOutcome::default() });
    let found = world.read(world.ours, ids[0]).await;
    assert_eq!((found.status, found.reason, found.held_until), (Status::Pending, None, None));
    assert_eq!((found.next_attempt_at, found.gate_evaluations.len()), (Some(after_ms(6_000)), 1));
    assert_eq!(world.all_held().await, [ids[1]]);
    let claimed = world.claim(world.ours, after_ms(6_000), lease(1, 9_000), 9).await;
    assert!(claimed.iter().map(|one| one.id).eq([ids[0], ids[2]]));
    world.store.settle(tried(&claimed[0], NextState::Done(Status::Sent))).await.unwrap();
    assert_eq!(world.read(world.ours, ids[0]).await.reason, None);
}

pub(super) async fn singles_go_as_far_as_the_limit_admits(world: World) {
    world.ask(at_most(3), after_ms(10_000)).await;
    let ids = world.hold(4).await;
    let release =
        |ms| ReleaseBatch { individual: ids.clone(), rate_limit: Some(at_most(3)), ..world.release(after_ms(ms)) };
    assert_eq!(world.let_go(release(20_000)).await, ReleaseOutcome { due: 2, held: 2, carried: 0 });
    use Status::{Held, Pending};
    assert_eq!(world.statuses(&ids).await, [Pending, Pending, Held, Held], "in this order");
    for ms in [30_000, 40_000] {
        assert_eq!(world.let_go(release(ms)).await, ReleaseOutcome { held: 2, ..ReleaseOutcome::default() });
    }
    for id in &ids[2..] {
        let found = world.read(world.ours, *id).await;
        assert_eq!((found.held_until, found.reason.as_deref()), (Some(after_ms(70_000)), Some("rate_limit")));
        let gates: Vec<_> =
            found.gate_evaluations.iter().flat_map(|evaluation| evaluation.held()).map(|(gate, _)| gate).collect();
        assert_eq!(gates, [Gate::QuietHours, Gate::RateLimit], "it is said once");
    }
    assert_eq!(world.ask(at_most(9), after_ms(50_000)).await.0, Held, "nothing overtakes them");
    assert_eq!(world.let_go(release(70_000)).await, ReleaseOutcome { due: 1, held: 1, carried: 0 });
}

pub(super) async fn what_is_stopped_is_settled_or_held_anew(world: World) {
    let ids = world.hold(3).await;
    let now = after_ms(6_000);
    let (evaluation, longer) = (stopped(Gate::ScopedMute, now), held(now, after_ms(8_000)));
    let states = [
        NextState::Suppressed(evaluation.clone()),
        NextState::Skipped(SkipReason::RuleDeleted),
        NextState::Held(longer.clone()),
    ];
    let release = ReleaseBatch { stopped: ids.iter().copied().zip(states).collect(), ..world.release(now) };
    assert_eq!(world.let_go(release).await, ReleaseOutcome::default());
    let first = held(NOW, after_ms(HELD_MS));
    let suppressed = world.read(world.ours, ids[0]).await;
    assert_eq!((suppressed.status, suppressed.reason.as_deref()), (Status::Suppressed, Some("muted")));
    assert_eq!((suppressed.gate_evaluations, suppressed.completed_at), (vec![first.clone(), evaluation], Some(now)));
    let skipped = world.read(world.ours, ids[1]).await;
    assert_eq!((skipped.status, skipped.reason.as_deref()), (Status::Skipped, Some("rule_deleted")));
    assert_eq!((skipped.gate_evaluations.len(), skipped.completed_at, skipped.held_until), (1, Some(now), None));
    let again = world.read(world.ours, ids[2]).await;
    assert_eq!((again.status, again.held_until, again.completed_at), (Status::Held, Some(after_ms(8_000)), None));
    assert_eq!(again.gate_evaluations, [first, longer]);
    assert_eq!(world.all_held().await, [ids[2]]);
}

pub(super) async fn what_is_not_held_any_more_is_left_as_it_is(world: World) {
    let ours = world.ours;
    let sent = world.done(ours, Status::Sent, NOW).await;
    let suppressed = world.accept_one(ours, InitialState::Suppressed).await;
    let strange = world.accept_one(world.theirs, InitialState::Held).await;
    let elsewhere = world.accept_one(world.another_channel().await, InitialState::Held).await;
    let leased = world.accept_one(ours, InitialState::Leased(lease(1, 9))).await;
    let due = world.accept_one(ours, InitialState::Due).await;
    let carried = world.hold(1).await[0];
    let digest = world.digest(vec![carried]);
    world.let_go(ReleaseBatch { digest: Some(digest), ..world.release(NOW) }).await;
    let mine = [sent, suppressed, elsewhere, leased, due, carried];
    let before = world.statuses(&mine).await;
    let all = [&mine[..], &[strange, world.id()]].concat();
    for _ in 0..2 {
        let skip = |id: &DeliveryId| (*id, NextState::Skipped(SkipReason::RuleDeleted));
        for release in [
            ReleaseBatch { stopped: all.iter().map(skip).collect(), ..world.release(NOW) },
            ReleaseBatch { individual: all.clone(), rate_limit: Some(at_most(1)), ..world.release(NOW) },
            ReleaseBatch {
                digest: Some(world.digest(all.clone())),
                rate_limit: Some(at_most(1)),
                ..world.release(NOW)
            },
        ] {
            assert_eq!(world.let_go(release).await, ReleaseOutcome::default());
        }
    }
    assert_eq!(world.statuses(&mine).await, before);
    assert_eq!(world.status(world.theirs, strange).await, Status::Held);
    assert_eq!(world.ask(at_most(1), NOW).await.0, Status::Pending, "nothing was asked for");
}

pub(super) async fn a_single_waits_for_what_goes_before_it(world: World) {
    let opening = world.accept_one(world.ours, InitialState::Held).await;
    let after = NewDelivery { blocked_by: Some(opening), ..world.delivery(world.ours, InitialState::Held) };
    let resolution = after.id;
    world.accept(world.new_event(world.event(world.ours), vec![after])).await;
    let singles = vec![opening, resolution];
    assert_eq!(world.let_go(ReleaseBatch { individual: singles, ..world.release(NOW) }).await.due, 2);
    let mut claimed = world.claim(world.ours, NOW, lease(1, 9_000), 9).await;
    assert!(claimed.iter().map(|one| one.id).eq([opening]));
    let settlement = of_incident(tried(&claimed.remove(0), NextState::Done(Status::Sent)));
    world.store.settle(settlement).await.unwrap();
    let claimed = world.claim(world.ours, after_ms(50), lease(1, 9_000), 9).await;
    assert!(claimed.iter().map(|one| one.id).eq([resolution]));
}

pub(super) async fn singles_of_an_incident_go_one_after_the_other(world: World) {
    let ours = world.ours;
    let record = world.failing(ours).await;
    let held = || world.delivery(ours, InitialState::Held);
    let (opening, worsened, resolution) = (held(), held(), held());
    let ids = [opening.id, worsened.id, resolution.id];
    let triggers = [IncidentTrigger::Opened, IncidentTrigger::Worsened, IncidentTrigger::Resolved];
    let deliveries = [opening, worsened, resolution];
    let tells = |(trigger, delivery)| world.tells(&record, trigger, NOW, vec![delivery]);
    let events = triggers.into_iter().zip(deliveries).map(tells).collect();
    world.follow(ours, TransitionRecord { events, ..TransitionRecord::default() }).await.unwrap();
    // Two of them now, the last only later: it waits for those that are under way by then.
    for singles in [vec![ids[0], ids[1]], vec![ids[2]]] {
        world.let_go(ReleaseBatch { individual: singles, ..world.release(NOW) }).await;
    }
    for id in ids {
        let mut claimed = world.claim(ours, after_ms(50), lease(1, 9_000), 9).await;
        assert!(claimed.iter().map(|one| one.id).eq([id]), "one at a time");
        let settlement = of_incident(tried(&claimed.remove(0), NextState::Done(Status::Sent)));
        world.store.settle(settlement).await.unwrap();
    }
    assert_eq!(world.read(ours, ids[2]).await.blocked_by, Some(ids[1]));
}

pub(super) async fn what_comes_next_waits_for_what_was_let_go_last(world: World) {
    let ours = world.ours;
    let record = world.failing(ours).await;
    let follow = async |trigger, delivery| {
        let events = vec![world.tells(&record, trigger, NOW, vec![delivery])];
        world.follow(ours, TransitionRecord { events, ..TransitionRecord::default() }).await.unwrap();
    };
    let (held, under_way) = (world.delivery(ours, InitialState::Held), world.delivery(ours, InitialState::Due));
    let [first, second] = [held.id, under_way.id];
    follow(IncidentTrigger::Opened, held).await;
    follow(IncidentTrigger::Worsened, under_way).await;
    // It is let go while what was made after it is under way, and goes behind that.
    world.let_go(ReleaseBatch { individual: vec![first], ..world.release(NOW) }).await;
    let last = NewDelivery { blocked_by: Some(second), ..world.delivery(ours, InitialState::Due) };
    let third = last.id;
    follow(IncidentTrigger::Resolved, last).await;
    for id in [second, first, third] {
        let mut claimed = world.claim(ours, after_ms(50), lease(1, 9_000), 9).await;
        assert!(claimed.iter().map(|one| one.id).eq([id]), "one at a time, in the order in which they came under way");
        let settlement = of_incident(tried(&claimed.remove(0), NextState::Done(Status::Sent)));
        world.store.settle(settlement).await.unwrap();
    }
}

pub(super) async fn a_stranger_lets_nothing_go(world: World) {
    let ids = world.hold(2).await;
    let skip = (ids[0], NextState::Skipped(SkipReason::RuleDeleted));
    let release = ReleaseBatch {
        workspace_id: world.theirs.id,
        stopped: vec![skip],
        individual: ids.clone(),
        ..world.release(NOW)
    };
    assert_eq!(world.let_go(release).await, ReleaseOutcome::default());
    assert_eq!(world.all_held().await, ids);
}

pub(super) async fn a_release_is_all_or_nothing(world: World) {
    let ids = world.hold(4).await;
    // The digest was made before: it is not made again, and nothing else of this release is done.
    let made = world.digest(vec![ids[3]]);
    world.let_go(ReleaseBatch { digest: Some(made.clone()), ..world.release(NOW) }).await;
    let mut again = world.digest(vec![ids[2]]);
    again.new_event.event = Arc::clone(&made.new_event.event);
    let skip = (ids[0], NextState::Skipped(SkipReason::RuleDeleted));
    let release = ReleaseBatch {
        stopped: vec![skip],
        individual: vec![ids[1]],
        digest: Some(again),
        rate_limit: Some(at_most(2)),
        ..world.release(NOW)
    };
    assert_refused!(world.store.release_held(release).await, Exists);
    assert_eq!(world.all_held().await, ids[..3]);
    assert_eq!(world.ask(at_most(1), NOW).await.0, Status::Pending, "and no room was taken");

    let odd = ReleaseBatch { stopped: vec![(ids[0], NextState::RetryAt(NOW))], ..world.release(NOW) };
    assert!(matches!(world.store.release_held(odd).await, Err(StoreError::Corrupt(_))));
}
