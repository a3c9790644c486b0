//! Random histories of the queue against a simple model of it: no delivery is ever claimable by two at once, none is
//! lost, and the numbers agree.

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

/// One thing that happens. Numbers that pick something are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
enum Step {
    Accept { channel: usize, start: Begin },
    Claim { channel: usize, owner: i64, slots: u32, lease_ms: u64 },
    Settle { pick: usize, end: End },
    Release { pick: usize },
    Resend { pick: usize },
    ReleaseBatch { channel: usize },
    Wait { ms: u64 },
}

#[derive(Debug, Clone, Copy)]
enum Begin {
    Due,
    Leased { owner: i64, lease_ms: u64 },
    After { pick: usize },
    Held { ms: u64 },
    Suppressed,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Sent,
    Failed,
    Retry { after_ms: u64 },
    Held { ms: u64 },
    Skipped,
}

fn step() -> impl Strategy<Value = Step> {
    let (channel, owner, lease_ms, pick) = (0..2usize, 1..4i64, 1..400u64, any::<usize>().boxed());
    let begin = prop_oneof![
        3 => Just(Begin::Due),
        1 => (owner.clone(), lease_ms.clone()).prop_map(|(owner, lease_ms)| Begin::Leased { owner, lease_ms }),
        2 => pick.clone().prop_map(|pick| Begin::After { pick }),
        1 => (0..300u64).prop_map(|ms| Begin::Held { ms }),
        1 => Just(Begin::Suppressed),
    ];
    let end = prop_oneof![
        Just(End::Sent),
        Just(End::Failed),
        (0..300u64).prop_map(|after_ms| End::Retry { after_ms }),
        (0..300u64).prop_map(|ms| End::Held { ms }),
        Just(End::Skipped),
    ];
    prop_oneof![
        4 => (channel.clone(), begin).prop_map(|(channel, start)| Step::Accept { channel, start }),
        1 => channel.clone().prop_map(|channel| Step::ReleaseBatch { channel }),
        4 => (channel, owner, 0..4u32, lease_ms)
            .prop_map(|(channel, owner, slots, lease_ms)| Step::Claim { channel, owner, slots, lease_ms }),
        4 => (pick.clone(), end).prop_map(|(pick, end)| Step::Settle { pick, end }),
        1 => pick.clone().prop_map(|pick| Step::Release { pick }),
        2 => pick.prop_map(|pick| Step::Resend { pick }),
        2 => (0..200u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// What the model knows of a delivery.
#[derive(Debug, Clone, Copy)]
struct Known {
    channel: usize,
    status: Status,
    due_at: Option<Timestamp>,
    owner: Option<i64>,
    attempt_count: u32,
    held_until: Option<Timestamp>,
    after: Option<DeliveryId>,
    waits: bool,
}

/// A lease that somebody believes to hold; it may have passed on since.
#[derive(Debug, Clone, Copy)]
struct Held {
    id: DeliveryId,
    owner: i64,
    attempt_count: u32,
}

/// The model beside the store that it is compared with.
struct Model<'a> {
    fixture: &'a Fixture,
    channels: [Tenant; 2],
    now: Timestamp,
    deliveries: BTreeMap<DeliveryId, Known>,
    leases: Vec<Held>,
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

/// One history, in channels of its own.
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
            Step::Release { pick } => model.release(pick).await,
            Step::Resend { pick } => model.resend(pick).await,
            Step::ReleaseBatch { channel } => model.let_go(channel).await,
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

    /// Whether what comes after this one has to wait.
    fn is_in_progress(&self, id: DeliveryId) -> bool {
        matches!(self.deliveries[&id].status, Status::Pending | Status::Sending)
    }

    async fn accept(&mut self, channel: usize, begin: Begin) {
        let mut delivery = self.fixture.delivery_at(self.channels[channel], InitialState::Due, self.now);
        let mut known = Known {
            channel,
            status: Status::Pending,
            due_at: Some(self.now),
            owner: None,
            attempt_count: 0,
            held_until: None,
            after: None,
            waits: false,
        };
        match begin {
            Begin::Due => {}
            Begin::After { pick } => {
                known.after = self.pick(pick);
                known.waits = known.after.is_some_and(|id| self.is_in_progress(id));
                known.due_at = known.due_at.filter(|_| !known.waits);
            }
            Begin::Held { ms } => {
                let until = self.now.plus_ms(ms);
                (delivery.start, delivery.evaluation) = (InitialState::Held, held(self.now, until));
                (known.status, known.due_at, known.held_until) = (Status::Held, None, Some(until));
            }
            Begin::Suppressed => {
                delivery = self.fixture.delivery_at(self.channels[channel], InitialState::Suppressed, self.now);
                (known.status, known.due_at) = (Status::Suppressed, None);
            }
            Begin::Leased { owner, lease_ms } => {
                let lease = Lease { owner, until: self.now.plus_ms(lease_ms) };
                delivery.start = InitialState::Leased(lease);
                (known.status, known.due_at, known.owner) = (Status::Sending, Some(lease.until), Some(owner));
                self.leases.push(Held { id: delivery.id, owner, attempt_count: 0 });
            }
        }
        let (id, event) = (delivery.id, self.fixture.event_at(self.channels[channel], self.now));
        let delivery = NewDelivery { blocked_by: known.after, ..delivery };
        let answer = self.fixture.accept(self.fixture.new_event(event, vec![delivery])).await;
        assert_eq!(answer.not_leased, if known.waits { vec![id] } else { vec![] });
        self.deliveries.insert(id, known);
    }

    async fn claim(&mut self, channel: usize, slots: u32, lease: Lease) {
        let is_due = |known: &Known| known.channel == channel && known.due_at.is_some_and(|at| at <= self.now);
        let due = self.deliveries.iter().filter(|(_, known)| is_due(known));
        let mut expected: Vec<_> = due.map(|(id, known)| (known.due_at, *id)).collect();
        expected.sort();
        expected.truncate(slots as usize);

        let claimed = self.fixture.claim(self.channels[channel], self.now, lease, slots).await;
        let ids: Vec<_> = claimed.iter().map(|one| one.id).collect();
        assert_eq!(ids, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
        for id in ids {
            let known = self.deliveries.get_mut(&id).unwrap();
            (known.status, known.due_at, known.owner) = (Status::Sending, Some(lease.until), Some(lease.owner));
            self.leases.push(Held { id, owner: lease.owner, attempt_count: known.attempt_count });
        }
    }

    async fn settle(&mut self, pick: usize, end: End) {
        let Some(index) = pick.checked_rem(self.leases.len()) else { return };
        let lease = self.leases[index];
        let (next, status, due_at) = match end {
            End::Sent => (NextState::Done(Status::Sent), Status::Sent, None),
            End::Failed => (NextState::Done(Status::Failed), Status::Failed, None),
            End::Skipped => (NextState::Skipped(SkipReason::RuleDisabled), Status::Skipped, None),
            End::Held { ms } => (NextState::Held(held(self.now, self.now.plus_ms(ms))), Status::Held, None),
            End::Retry { after_ms } => {
                let at = self.now.plus_ms(after_ms);
                (NextState::RetryAt(at), Status::Pending, Some(at))
            }
        };
        let was_tried = !matches!(end, End::Skipped | End::Held { .. });
        let settlement = Settlement {
            workspace_id: self.fixture.ours.id,
            delivery_id: lease.id,
            owner: lease.owner,
            attempt_count: lease.attempt_count,
            now: self.now,
            attempt: was_tried.then(|| attempt(lease.attempt_count + 1, status == Status::Sent)),
            next,
            attempt_state: None,
            follow_ups: FollowUps::None,
        };
        let known = self.deliveries.get_mut(&lease.id).unwrap();
        let counts = known.owner == Some(lease.owner) && known.attempt_count == lease.attempt_count;
        let outcome = self.fixture.store.settle(of_incident(settlement)).await.unwrap();
        assert_eq!(outcome, if counts { Settled::Written } else { Settled::Stale });
        if counts {
            (known.status, known.due_at, known.owner) = (status, due_at, None);
            known.attempt_count += u32::from(was_tried);
            if let End::Held { ms } = end {
                known.held_until = Some(self.now.plus_ms(ms));
            }
            if status != Status::Pending {
                self.unblock(lease.id);
            }
        }
    }

    /// What waits for this one is due.
    fn unblock(&mut self, id: DeliveryId) {
        for known in self.deliveries.values_mut().filter(|known| known.waits && known.after == Some(id)) {
            (known.waits, known.due_at) = (false, Some(self.now));
        }
    }

    async fn let_go(&mut self, channel: usize) {
        let Tenant { id: workspace_id, channel_id, .. } = self.channels[channel];
        let of_channel = self.deliveries.iter().filter(|(_, known)| known.channel == channel);
        let may_go = of_channel.filter(|(_, known)| known.held_until.is_some_and(|until| until <= self.now));
        let expected: Vec<_> = may_go.map(|(id, _)| *id).collect();
        let found = self.fixture.list_held(self.channels[channel], self.now, 1_000).await;
        assert_eq!(found.iter().map(|held| held.id).collect::<Vec<_>>(), expected);
        for id in &expected {
            let after = self.deliveries[id].after;
            let waits = after.is_some_and(|after| self.is_in_progress(after));
            let known = self.deliveries.get_mut(id).unwrap();
            (known.status, known.held_until, known.waits) = (Status::Pending, None, waits);
            known.due_at = (!waits).then_some(self.now);
        }
        let singles = expected.clone();
        let release =
            ReleaseBatch { workspace_id, channel_id, individual: singles, ..self.fixture.empty_release(self.now) };
        assert_eq!(self.fixture.release_held(release).await.due as usize, expected.len());
    }

    async fn release(&mut self, pick: usize) {
        let Some(id) = self.pick(pick) else { return };
        let known = self.deliveries.get_mut(&id).unwrap();
        let is_leased = known.owner.is_some();
        let held =
            queue::LeaseRef { workspace_id: self.fixture.ours.id, delivery_id: id, owner: known.owner.unwrap_or(1) };
        let released = self.fixture.store.return_leases(self.now, vec![held]).await.unwrap();
        assert_eq!(released, u64::from(is_leased));
        if is_leased {
            (known.status, known.due_at, known.owner) = (Status::Pending, Some(self.now), None);
        }
    }

    async fn resend(&mut self, pick: usize) {
        let Some(id) = self.pick(pick) else { return };
        let known = self.deliveries.get_mut(&id).unwrap();
        let resend = Resend { workspace_id: self.fixture.ours.id, delivery_id: id, rule_generation: 1, now: self.now };
        let outcome = self.fixture.store.resend(resend).await;
        if known.status.is_resendable() {
            outcome.unwrap();
            (known.status, known.due_at) = (Status::Pending, Some(self.now));
        } else {
            assert_eq!(outcome, Err(StoreError::Conflict));
        }
    }

    async fn compare_due(&self) {
        let due = self.fixture.store.due().await.unwrap();
        for (channel, tenant) in self.channels.iter().enumerate() {
            let of_channel = self.deliveries.values().filter(|known| known.channel == channel);
            let expected = of_channel.filter_map(|known| known.due_at).min();
            let found: Vec<_> = due.iter().filter(|due| due.channel_id == tenant.channel_id).collect();
            assert_eq!(found.iter().map(|due| due.at).collect::<Vec<_>>(), Vec::from_iter(expected));
        }
    }

    async fn compare_held(&self) {
        let held = self.fixture.store.next_releases().await.unwrap();
        for (channel, tenant) in self.channels.iter().enumerate() {
            let of_channel = self.deliveries.values().filter(|known| known.channel == channel);
            let expected = of_channel.filter_map(|known| known.held_until).min();
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
                let known = self.deliveries[&found.id];
                assert_eq!((found.status, found.attempt_count), (known.status, known.attempt_count));
                let numbers = found.attempts.iter().map(|attempt| attempt.number);
                assert!(numbers.eq(1..=known.attempt_count), "each attempt is there once");
                count += 1;
            }
        }
        assert_eq!(count, self.deliveries.len());
    }

    /// Whatever happened, everything unsettled can still be claimed and settled once every lease has ended and nothing is
    /// held back any more: at once, or when what it waits for is.
    async fn finish(&mut self) {
        while self.deliveries.values().any(|known| !known.status.is_settled()) {
            self.now = self.now.plus_ms(1_000_000);
            self.leases.clear();
            for channel in 0..self.channels.len() {
                self.let_go(channel).await;
                self.claim(channel, 1_000, Lease { owner: 9, until: self.now.plus_ms(1) }).await;
            }
            assert!(!self.leases.is_empty(), "something can always be sent");
            for index in 0..self.leases.len() {
                self.settle(index, End::Sent).await;
            }
        }
        self.compare_due().await;
        self.compare_held().await;
        self.compare_log().await;
    }
}
