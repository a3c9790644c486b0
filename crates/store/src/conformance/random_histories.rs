//! Random histories of the queue, compared with a simple model: no delivery is leased to two owners, none is lost, and
//! all states agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidings_domain::delivery::{SkipReason, Status};
use tidings_domain::id::DeliveryId;
use tidings_domain::time::Timestamp;
use tokio::runtime::Handle;

use super::fixture::{Fixture, Tenant};
use super::ordering::of_incident;
use super::samples::{NOW, attempt, held};
use crate::StoreError;
use crate::history::DeliveryFilter;
use crate::queue::{
    self, FollowUps, InitialState, Lease, NewDelivery, NextState, ReleaseBatch, Resend, Settled, Settlement,
};

/// One step of a history. A `pick` selects modulo the number of candidates.
#[derive(Debug, Clone, Copy)]
enum Step {
    Accept { channel: usize, start: Start },
    Claim { channel: usize, owner: i64, slots: u32, lease_ms: u64 },
    Settle { pick: usize, end: Outcome },
    ReturnLease { pick: usize },
    Resend { pick: usize },
    ReleaseHeld { channel: usize },
    Wait { ms: u64 },
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Due,
    Leased { owner: i64, lease_ms: u64 },
    BlockedBy { pick: usize },
    Held { ms: u64 },
    Suppressed,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Sent,
    Failed,
    Retry { after_ms: u64 },
    Held { ms: u64 },
    Skipped,
}

fn step() -> impl Strategy<Value = Step> {
    let (channel, owner, lease_ms, pick) = (0..2usize, 1..4i64, 1..400u64, any::<usize>().boxed());
    let start = prop_oneof![
        3 => Just(Start::Due),
        1 => (owner.clone(), lease_ms.clone()).prop_map(|(owner, lease_ms)| Start::Leased { owner, lease_ms }),
        2 => pick.clone().prop_map(|pick| Start::BlockedBy { pick }),
        1 => (0..300u64).prop_map(|ms| Start::Held { ms }),
        1 => Just(Start::Suppressed),
    ];
    let end = prop_oneof![
        Just(Outcome::Sent),
        Just(Outcome::Failed),
        (0..300u64).prop_map(|after_ms| Outcome::Retry { after_ms }),
        (0..300u64).prop_map(|ms| Outcome::Held { ms }),
        Just(Outcome::Skipped),
    ];
    prop_oneof![
        4 => (channel.clone(), start).prop_map(|(channel, start)| Step::Accept { channel, start }),
        1 => channel.clone().prop_map(|channel| Step::ReleaseHeld { channel }),
        4 => (channel, owner, 0..4u32, lease_ms)
            .prop_map(|(channel, owner, slots, lease_ms)| Step::Claim { channel, owner, slots, lease_ms }),
        4 => (pick.clone(), end).prop_map(|(pick, end)| Step::Settle { pick, end }),
        1 => pick.clone().prop_map(|pick| Step::ReturnLease { pick }),
        2 => pick.prop_map(|pick| Step::Resend { pick }),
        2 => (0..200u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// A delivery in the model.
#[derive(Debug, Clone, Copy)]
struct ModelDelivery {
    channel: usize,
    status: Status,
    due_at: Option<Timestamp>,
    owner: Option<i64>,
    attempt_count: u32,
    held_until: Option<Timestamp>,
    blocked_by: Option<DeliveryId>,
    is_blocked: bool,
}

/// A lease as its owner knows it. It may have passed to another owner since.
#[derive(Debug, Clone, Copy)]
struct ModelLease {
    id: DeliveryId,
    owner: i64,
    attempt_count: u32,
}

/// The model, and the store that it is compared with.
struct Model<'a> {
    fixture: &'a Fixture,
    channels: [Tenant; 2],
    now: Timestamp,
    deliveries: BTreeMap<DeliveryId, ModelDelivery>,
    leases: Vec<ModelLease>,
}

pub(super) async fn random_history_matches_model(fixture: Fixture) {
    let runtime = Handle::current();
    let fixture = Arc::new(fixture);
    let histories = move || {
        let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
        let history = prop::collection::vec(step(), 1..60);
        let outcome = TestRunner::new(config).run(&history, |steps| {
            runtime.block_on(run_history(&fixture, &steps));
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    };
    tokio::task::spawn_blocking(histories).await.unwrap();
}

/// Runs one history, in channels of its own.
async fn run_history(fixture: &Fixture, steps: &[Step]) {
    let channels = [fixture.another_channel().await, fixture.another_channel().await];
    let mut model = Model { fixture, channels, now: NOW, deliveries: BTreeMap::new(), leases: Vec::new() };
    for &step in steps {
        match step {
            Step::Accept { channel, start } => model.accept(channel, start).await,
            Step::Claim { channel, owner, slots, lease_ms } => {
                model.claim(channel, slots, Lease { owner, until: model.now.plus_ms(lease_ms) }).await;
            }
            Step::Settle { pick, end } => model.settle(pick, end).await,
            Step::ReturnLease { pick } => model.return_lease(pick).await,
            Step::Resend { pick } => model.resend(pick).await,
            Step::ReleaseHeld { channel } => model.release_held(channel).await,
            Step::Wait { ms } => model.now = model.now.plus_ms(ms),
        }
        model.compare_due().await;
        model.compare_held().await;
    }
    model.compare_log().await;
    model.finish().await;
}

impl Model<'_> {
    fn pick(&self, pick: usize) -> Option<DeliveryId> {
        self.deliveries.keys().nth(pick.checked_rem(self.deliveries.len())?).copied()
    }

    /// Whether the delivery blocks others.
    fn is_in_progress(&self, id: DeliveryId) -> bool {
        matches!(self.deliveries[&id].status, Status::Pending | Status::Sending)
    }

    async fn accept(&mut self, channel: usize, start: Start) {
        let mut delivery = self.fixture.delivery_at(self.channels[channel], InitialState::Due, self.now);
        let mut state = ModelDelivery {
            channel,
            status: Status::Pending,
            due_at: Some(self.now),
            owner: None,
            attempt_count: 0,
            held_until: None,
            blocked_by: None,
            is_blocked: false,
        };
        match start {
            Start::Due => {}
            Start::BlockedBy { pick } => {
                state.blocked_by = self.pick(pick);
                state.is_blocked = state.blocked_by.is_some_and(|id| self.is_in_progress(id));
                state.due_at = state.due_at.filter(|_| !state.is_blocked);
            }
            Start::Held { ms } => {
                let until = self.now.plus_ms(ms);
                (delivery.initial_state, delivery.evaluation) = (InitialState::Held, held(self.now, until));
                (state.status, state.due_at, state.held_until) = (Status::Held, None, Some(until));
            }
            Start::Suppressed => {
                delivery = self.fixture.delivery_at(self.channels[channel], InitialState::Suppressed, self.now);
                (state.status, state.due_at) = (Status::Suppressed, None);
            }
            Start::Leased { owner, lease_ms } => {
                let lease = Lease { owner, until: self.now.plus_ms(lease_ms) };
                delivery.initial_state = InitialState::Leased(lease);
                (state.status, state.due_at, state.owner) = (Status::Sending, Some(lease.until), Some(owner));
                self.leases.push(ModelLease { id: delivery.id, owner, attempt_count: 0 });
            }
        }
        let (id, event) = (delivery.id, self.fixture.event_at(self.channels[channel], self.now));
        let delivery = NewDelivery { blocked_by: state.blocked_by, ..delivery };
        let answer = self.fixture.accept(self.fixture.new_event(event, vec![delivery])).await;
        assert_eq!(answer.not_leased, if state.is_blocked { vec![id] } else { vec![] });
        self.deliveries.insert(id, state);
    }

    async fn claim(&mut self, channel: usize, slots: u32, lease: Lease) {
        let is_due = |state: &ModelDelivery| state.channel == channel && state.due_at.is_some_and(|at| at <= self.now);
        let due = self.deliveries.iter().filter(|(_, state)| is_due(state));
        let mut expected: Vec<_> = due.map(|(id, state)| (state.due_at, *id)).collect();
        expected.sort();
        expected.truncate(slots as usize);

        let claimed = self.fixture.claim(self.channels[channel], self.now, lease, slots).await;
        let ids: Vec<_> = claimed.iter().map(|one| one.id).collect();
        assert_eq!(ids, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
        for id in ids {
            let state = self.deliveries.get_mut(&id).unwrap();
            (state.status, state.due_at, state.owner) = (Status::Sending, Some(lease.until), Some(lease.owner));
            self.leases.push(ModelLease { id, owner: lease.owner, attempt_count: state.attempt_count });
        }
    }

    async fn settle(&mut self, pick: usize, end: Outcome) {
        let Some(index) = pick.checked_rem(self.leases.len()) else { return };
        let lease = self.leases[index];
        let (next, status, due_at) = match end {
            Outcome::Sent => (NextState::Done(Status::Sent), Status::Sent, None),
            Outcome::Failed => (NextState::Done(Status::Failed), Status::Failed, None),
            Outcome::Skipped => (NextState::Skipped(SkipReason::RuleDisabled), Status::Skipped, None),
            Outcome::Held { ms } => (NextState::Held(held(self.now, self.now.plus_ms(ms))), Status::Held, None),
            Outcome::Retry { after_ms } => {
                let at = self.now.plus_ms(after_ms);
                (NextState::RetryAt(at), Status::Pending, Some(at))
            }
        };
        let was_attempted = !matches!(end, Outcome::Skipped | Outcome::Held { .. });
        let settlement = Settlement {
            workspace_id: self.fixture.ours.id,
            delivery_id: lease.id,
            owner: lease.owner,
            attempt_count: lease.attempt_count,
            now: self.now,
            attempt: was_attempted.then(|| attempt(lease.attempt_count + 1, status == Status::Sent)),
            next,
            attempt_state: None,
            follow_ups: FollowUps::None,
        };
        let state = self.deliveries.get_mut(&lease.id).unwrap();
        let counts = state.owner == Some(lease.owner) && state.attempt_count == lease.attempt_count;
        let outcome = self.fixture.store.settle(of_incident(settlement)).await.unwrap();
        assert_eq!(outcome, if counts { Settled::Written } else { Settled::Stale });
        if counts {
            (state.status, state.due_at, state.owner) = (status, due_at, None);
            state.attempt_count += u32::from(was_attempted);
            if let Outcome::Held { ms } = end {
                state.held_until = Some(self.now.plus_ms(ms));
            }
            if status != Status::Pending {
                self.unblock(lease.id);
            }
        }
    }

    /// Makes due what the delivery blocks.
    fn unblock(&mut self, id: DeliveryId) {
        for state in self.deliveries.values_mut().filter(|state| state.is_blocked && state.blocked_by == Some(id)) {
            (state.is_blocked, state.due_at) = (false, Some(self.now));
        }
    }

    async fn release_held(&mut self, channel: usize) {
        let Tenant { id: workspace_id, channel_id, .. } = self.channels[channel];
        let of_channel = self.deliveries.iter().filter(|(_, state)| state.channel == channel);
        let releasable = of_channel.filter(|(_, state)| state.held_until.is_some_and(|until| until <= self.now));
        let expected: Vec<_> = releasable.map(|(id, _)| *id).collect();
        let found = self.fixture.list_held(self.channels[channel], self.now, 1_000).await;
        assert_eq!(found.iter().map(|held| held.id).collect::<Vec<_>>(), expected);
        for id in &expected {
            let blocked_by = self.deliveries[id].blocked_by;
            let is_blocked = blocked_by.is_some_and(|id| self.is_in_progress(id));
            let state = self.deliveries.get_mut(id).unwrap();
            (state.status, state.held_until, state.is_blocked) = (Status::Pending, None, is_blocked);
            state.due_at = (!is_blocked).then_some(self.now);
        }
        let release = ReleaseBatch {
            workspace_id,
            channel_id,
            individual: expected.clone(),
            ..self.fixture.empty_release(self.now)
        };
        assert_eq!(self.fixture.release_held(release).await.due as usize, expected.len());
    }

    async fn return_lease(&mut self, pick: usize) {
        let Some(id) = self.pick(pick) else { return };
        let state = self.deliveries.get_mut(&id).unwrap();
        let is_leased = state.owner.is_some();
        let leased = queue::LeaseRef {
            workspace_id: self.fixture.ours.id,
            delivery_id: id,
            owner: state.owner.unwrap_or(1),
            due_at: self.now,
        };
        let released = self.fixture.store.return_leases(vec![leased]).await.unwrap();
        assert_eq!(released, u64::from(is_leased));
        if is_leased {
            (state.status, state.due_at, state.owner) = (Status::Pending, Some(self.now), None);
        }
    }

    async fn resend(&mut self, pick: usize) {
        let Some(id) = self.pick(pick) else { return };
        let state = self.deliveries.get_mut(&id).unwrap();
        let resend = Resend { workspace_id: self.fixture.ours.id, delivery_id: id, rule_generation: 1, now: self.now };
        let outcome = self.fixture.store.resend(resend).await;
        if state.status.is_resendable() {
            outcome.unwrap();
            (state.status, state.due_at) = (Status::Pending, Some(self.now));
        } else {
            assert_eq!(outcome, Err(StoreError::Conflict));
        }
    }

    async fn compare_due(&self) {
        let due = self.fixture.store.due().await.unwrap();
        for (channel, tenant) in self.channels.iter().enumerate() {
            let of_channel = self.deliveries.values().filter(|state| state.channel == channel);
            let expected = of_channel.filter_map(|state| state.due_at).min();
            let found: Vec<_> = due.iter().filter(|due| due.channel_id == tenant.channel_id).collect();
            assert_eq!(found.iter().map(|due| due.at).collect::<Vec<_>>(), Vec::from_iter(expected));
        }
    }

    async fn compare_held(&self) {
        let held = self.fixture.store.next_releases().await.unwrap();
        for (channel, tenant) in self.channels.iter().enumerate() {
            let of_channel = self.deliveries.values().filter(|state| state.channel == channel);
            let expected = of_channel.filter_map(|state| state.held_until).min();
            let found: Vec<_> = held.iter().filter(|due| due.channel_id == tenant.channel_id).collect();
            assert_eq!(found.iter().map(|due| due.at).collect::<Vec<_>>(), Vec::from_iter(expected));
        }
    }

    async fn compare_log(&self) {
        let mut count = 0;
        for tenant in self.channels {
            let filter = DeliveryFilter {
                channel_id: Some(tenant.channel_id),
                with_attempts: true,
                limit: 1_000,
                ..DeliveryFilter::default()
            };
            for found in self.fixture.store.deliveries(tenant.id, filter).await.unwrap() {
                let state = self.deliveries[&found.id];
                assert_eq!((found.status, found.attempt_count), (state.status, state.attempt_count));
                let numbers = found.attempts.iter().map(|attempt| attempt.number);
                assert!(numbers.eq(1..=state.attempt_count), "each attempt is recorded once");
                count += 1;
            }
        }
        assert_eq!(count, self.deliveries.len());
    }

    /// Asserts that every unsettled delivery can be claimed and settled after all leases have expired and all holds
    /// have ended: at once, or when its blocker is settled.
    async fn finish(&mut self) {
        while self.deliveries.values().any(|state| !state.status.is_settled()) {
            self.now = self.now.plus_ms(1_000_000);
            self.leases.clear();
            for channel in 0..self.channels.len() {
                self.release_held(channel).await;
                self.claim(channel, 1_000, Lease { owner: 9, until: self.now.plus_ms(1) }).await;
            }
            assert!(!self.leases.is_empty(), "at least one delivery can be sent");
            for index in 0..self.leases.len() {
                self.settle(index, Outcome::Sent).await;
            }
        }
        self.compare_due().await;
        self.compare_held().await;
        self.compare_log().await;
    }
}
