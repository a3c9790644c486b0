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

use super::samples::{NOW, attempt};
use super::world::{Tenant, World};
use crate::StoreError;
use crate::log::DeliveryFilter;
use crate::queue::{self, Lease, NextState, Resend, Settled, Settlement, Start};

/// One thing that happens. Numbers that pick something are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
enum Step {
    Accept { channel: usize, start: Begin },
    Claim { channel: usize, owner: i64, slots: u32, lease_ms: u64 },
    Settle { pick: usize, end: End },
    Release { pick: usize },
    Resend { pick: usize },
    Wait { ms: u64 },
}

#[derive(Debug, Clone, Copy)]
enum Begin {
    Due,
    Leased { owner: i64, lease_ms: u64 },
    Suppressed,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Sent,
    Failed,
    Retry { after_ms: u64 },
    Skipped,
}

fn step() -> impl Strategy<Value = Step> {
    let (channel, owner, lease_ms, pick) = (0..2usize, 1..4i64, 1..400u64, any::<usize>());
    let begin = prop_oneof![
        3 => Just(Begin::Due),
        1 => (owner.clone(), lease_ms.clone()).prop_map(|(owner, lease_ms)| Begin::Leased { owner, lease_ms }),
        1 => Just(Begin::Suppressed),
    ];
    let end = prop_oneof![
        Just(End::Sent),
        Just(End::Failed),
        (0..300u64).prop_map(|after_ms| End::Retry { after_ms }),
        Just(End::Skipped),
    ];
    prop_oneof![
        4 => (channel.clone(), begin).prop_map(|(channel, start)| Step::Accept { channel, start }),
        4 => (channel, owner, 0..4u32, lease_ms)
            .prop_map(|(channel, owner, slots, lease_ms)| Step::Claim { channel, owner, slots, lease_ms }),
        4 => (pick, end).prop_map(|(pick, end)| Step::Settle { pick, end }),
        1 => pick.prop_map(|pick| Step::Release { pick }),
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
    world: &'a World,
    channels: [Tenant; 2],
    now: Timestamp,
    deliveries: BTreeMap<DeliveryId, Known>,
    leases: Vec<Held>,
}

pub(super) async fn no_history_loses_or_doubles_a_delivery(world: World) {
    let runtime = Handle::current();
    let world = Arc::new(world);
    let histories = move || {
        let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
        let history = prop::collection::vec(step(), 1..60);
        let outcome = TestRunner::new(config).run(&history, |steps| {
            runtime.block_on(live_through(&world, &steps));
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    };
    tokio::task::spawn_blocking(histories).await.unwrap();
}

/// One history, in channels of its own.
async fn live_through(world: &World, steps: &[Step]) {
    let channels = [world.another_channel().await, world.another_channel().await];
    let mut model = Model { world, channels, now: NOW, deliveries: BTreeMap::new(), leases: Vec::new() };
    for &step in steps {
        match step {
            Step::Accept { channel, start } => model.accept(channel, start).await,
            Step::Claim { channel, owner, slots, lease_ms } => {
                model.claim(channel, slots, Lease { owner, until: model.now.plus_ms(lease_ms) }).await;
            }
            Step::Settle { pick, end } => model.settle(pick, end).await,
            Step::Release { pick } => model.release(pick).await,
            Step::Resend { pick } => model.resend(pick).await,
            Step::Wait { ms } => model.now = model.now.plus_ms(ms),
        }
        model.compare_due().await;
    }
    model.compare_log().await;
    model.finish().await;
}

impl Model<'_> {
    fn pick(&self, pick: usize) -> Option<DeliveryId> {
        self.deliveries.keys().nth(pick.checked_rem(self.deliveries.len())?).copied()
    }

    async fn accept(&mut self, channel: usize, begin: Begin) {
        let (start, status, due_at, owner) = match begin {
            Begin::Due => (Start::Due, Status::Pending, Some(self.now), None),
            Begin::Suppressed => (Start::Suppressed, Status::Suppressed, None, None),
            Begin::Leased { owner, lease_ms } => {
                let lease = Lease { owner, until: self.now.plus_ms(lease_ms) };
                (Start::Leased(lease), Status::Sending, Some(lease.until), Some(owner))
            }
        };
        let id = self.world.accept_one_at(self.channels[channel], start, self.now).await;
        self.deliveries.insert(id, Known { channel, status, due_at, owner, attempt_count: 0 });
        self.leases.extend(owner.map(|owner| Held { id, owner, attempt_count: 0 }));
    }

    async fn claim(&mut self, channel: usize, slots: u32, lease: Lease) {
        let is_due = |known: &Known| known.channel == channel && known.due_at.is_some_and(|at| at <= self.now);
        let due = self.deliveries.iter().filter(|(_, known)| is_due(known));
        let mut expected: Vec<_> = due.map(|(id, known)| (known.due_at, *id)).collect();
        expected.sort();
        expected.truncate(slots as usize);

        let claimed = self.world.claim(self.channels[channel], self.now, lease, slots).await;
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
        let held = self.leases[index];
        let (next, status, due_at) = match end {
            End::Sent => (NextState::Done(Status::Sent), Status::Sent, None),
            End::Failed => (NextState::Done(Status::Failed), Status::Failed, None),
            End::Skipped => (NextState::Skipped(SkipReason::RuleDisabled), Status::Skipped, None),
            End::Retry { after_ms } => {
                let at = self.now.plus_ms(after_ms);
                (NextState::RetryAt(at), Status::Pending, Some(at))
            }
        };
        let was_tried = status != Status::Skipped;
        let settlement = Settlement {
            workspace_id: self.world.ours.id,
            delivery_id: held.id,
            owner: held.owner,
            attempt_count: held.attempt_count,
            now: self.now,
            attempt: was_tried.then(|| attempt(held.attempt_count + 1, status == Status::Sent)),
            next,
            carry: None,
        };
        let known = self.deliveries.get_mut(&held.id).unwrap();
        let counts = known.owner == Some(held.owner) && known.attempt_count == held.attempt_count;
        let outcome = self.world.store.settle(settlement).await.unwrap();
        assert_eq!(outcome, if counts { Settled::Written } else { Settled::Stale });
        if counts {
            (known.status, known.due_at, known.owner) = (status, due_at, None);
            known.attempt_count += u32::from(was_tried);
        }
    }

    async fn release(&mut self, pick: usize) {
        let Some(id) = self.pick(pick) else { return };
        let known = self.deliveries.get_mut(&id).unwrap();
        let is_leased = known.owner.is_some();
        let held = queue::Held { workspace_id: self.world.ours.id, delivery_id: id, owner: known.owner.unwrap_or(1) };
        let released = self.world.store.release(self.now, Some(vec![held])).await.unwrap();
        assert_eq!(released, u64::from(is_leased));
        if is_leased {
            (known.status, known.due_at, known.owner) = (Status::Pending, Some(self.now), None);
        }
    }

    async fn resend(&mut self, pick: usize) {
        let Some(id) = self.pick(pick) else { return };
        let known = self.deliveries.get_mut(&id).unwrap();
        let resend = Resend { workspace_id: self.world.ours.id, delivery_id: id, rule_generation: 1, now: self.now };
        let outcome = self.world.store.resend(resend).await;
        if known.status.is_resendable() {
            outcome.unwrap();
            (known.status, known.due_at) = (Status::Pending, Some(self.now));
        } else {
            assert_eq!(outcome, Err(StoreError::Conflict));
        }
    }

    async fn compare_due(&self) {
        let due = self.world.store.due().await.unwrap();
        for (channel, tenant) in self.channels.iter().enumerate() {
            let of_channel = self.deliveries.values().filter(|known| known.channel == channel);
            let expected = of_channel.filter_map(|known| known.due_at).min();
            let found: Vec<_> = due.iter().filter(|due| due.channel_id == tenant.channel_id).collect();
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
            for found in self.world.store.deliveries(tenant.id, filter).await.unwrap() {
                let known = self.deliveries[&found.id];
                assert_eq!((found.status, found.attempt_count), (known.status, known.attempt_count));
                let numbers = found.attempts.iter().map(|attempt| attempt.number);
                assert!(numbers.eq(1..=known.attempt_count), "each attempt is there once");
                count += 1;
            }
        }
        assert_eq!(count, self.deliveries.len());
    }

    /// Whatever happened, everything unsettled can still be claimed and settled once every lease has ended.
    async fn finish(&mut self) {
        self.now = self.now.plus_ms(1_000_000);
        let open = self.deliveries.values().filter(|known| !known.status.is_settled()).count();
        self.leases.clear();
        for channel in 0..self.channels.len() {
            self.claim(channel, 1_000, Lease { owner: 9, until: self.now.plus_ms(1) }).await;
        }
        assert_eq!(self.leases.len(), open);
        for index in 0..open {
            self.settle(index, End::Sent).await;
        }
        self.compare_due().await;
        self.compare_log().await;
    }
}
