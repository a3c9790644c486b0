//! Random histories of the queue, compared with a simple model: no delivery is leased to two owners, none is lost, and
//! all states agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidings_domain::delivery::{AttemptTrigger, SkipReason, Status};
use tidings_domain::id::DeliveryId;
use tidings_domain::time::Timestamp;
use tokio::runtime::Handle;

use super::fixture::{Fixture, Tenant};
use super::ordering::of_incident;
use super::samples::{NOW, attempt, held};
use crate::StoreError;
use crate::history::DeliveryFilter;
use crate::monitoring::IncidentRecord;
use crate::queue::{
    self, Attempt, FollowUps, InitialState, Lease, NextState, ReleaseBatch, Resend, Settled, Settlement,
};

const CHANNELS: usize = 2;
const SUBJECTS: usize = 2;

/// One step of a history. A `pick` selects modulo the number of candidates.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A delivery of a run, or of an incident of this subject.
    Accept {
        channel: usize,
        subject: Option<usize>,
        start: Start,
    },
    Claim {
        channel: usize,
        owner: i64,
        slots: u32,
        lease_ms: u64,
    },
    Settle {
        pick: usize,
        end: Outcome,
    },
    ReturnLease {
        pick: usize,
    },
    /// A node starts, and the leases of all others are reclaimed.
    Reclaim {
        owner: i64,
    },
    Resend {
        pick: usize,
    },
    ReleaseHeld {
        channel: usize,
    },
    Wait {
        ms: u64,
    },
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Due,
    Leased { owner: i64, lease_ms: u64 },
    Held { ms: u64 },
    Suppressed,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Sent,
    Failed,
    /// The receiver may want no attempt before an instant.
    Retry {
        after_ms: u64,
        not_before_ms: Option<u64>,
    },
    Held {
        ms: u64,
    },
    Skipped,
}

fn step() -> impl Strategy<Value = Step> {
    let (channel, owner, lease_ms, pick) = (0..2usize, 1..4i64, 1..400u64, any::<usize>().boxed());
    let start = prop_oneof![
        3 => Just(Start::Due),
        1 => (owner.clone(), lease_ms.clone()).prop_map(|(owner, lease_ms)| Start::Leased { owner, lease_ms }),
        1 => (0..300u64).prop_map(|ms| Start::Held { ms }),
        1 => Just(Start::Suppressed),
    ];
    let end = prop_oneof![
        Just(Outcome::Sent),
        Just(Outcome::Failed),
        // Long ones, so that expedited attempts come in between.
        (0..9_000u64, prop::option::weighted(0.2, 0..900u64))
            .prop_map(|(after_ms, not_before_ms)| Outcome::Retry { after_ms, not_before_ms }),
        (0..300u64).prop_map(|ms| Outcome::Held { ms }),
        Just(Outcome::Skipped),
    ];
    prop_oneof![
        4 => (channel.clone(), prop::option::weighted(0.7, 0..SUBJECTS), start)
            .prop_map(|(channel, subject, start)| Step::Accept { channel, subject, start }),
        1 => owner.clone().prop_map(|owner| Step::Reclaim { owner }),
        1 => channel.clone().prop_map(|channel| Step::ReleaseHeld { channel }),
        4 => (channel, owner, 0..4u32, lease_ms)
            .prop_map(|(channel, owner, slots, lease_ms)| Step::Claim { channel, owner, slots, lease_ms }),
        4 => (pick.clone(), end).prop_map(|(pick, end)| Step::Settle { pick, end }),
        1 => pick.clone().prop_map(|pick| Step::ReturnLease { pick }),
        2 => pick.prop_map(|pick| Step::Resend { pick }),
        2 => prop_oneof![3 => 0..200u64, 1 => 1_000..6_000u64].prop_map(|ms| Step::Wait { ms }),
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
    subject: Option<usize>,
    /// Whether its next attempt is made because of a newer event.
    is_expedited: bool,
    was_sent: bool,
}

/// A delivery in a chain.
#[derive(Debug, Clone, Copy)]
struct ModelLink {
    id: DeliveryId,
    not_before: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    expedited_at: Option<Timestamp>,
}

/// A lease as its owner knows it. It may have passed to another owner since.
#[derive(Debug, Clone, Copy)]
struct ModelLease {
    id: DeliveryId,
    owner: i64,
    attempt_count: u32,
    is_expedited: bool,
}

/// The model, and the store that it is compared with.
struct Model<'a> {
    fixture: &'a Fixture,
    channels: [Tenant; CHANNELS],
    /// An incident of each subject.
    incidents: [IncidentRecord; SUBJECTS],
    now: Timestamp,
    deliveries: BTreeMap<DeliveryId, ModelDelivery>,
    chains: [[Vec<ModelLink>; SUBJECTS]; CHANNELS],
    last_expedited: [Option<Timestamp>; CHANNELS],
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
    let mut model = Model {
        fixture,
        channels,
        incidents: [fixture.new_subject(), fixture.new_subject()],
        now: NOW,
        deliveries: BTreeMap::new(),
        chains: Default::default(),
        last_expedited: [None; CHANNELS],
        leases: Vec::new(),
    };
    for &step in steps {
        match step {
            Step::Accept { channel, subject, start } => model.accept(channel, subject, start).await,
            Step::Reclaim { owner } => model.reclaim(owner).await,
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

    async fn accept(&mut self, channel: usize, subject: Option<usize>, start: Start) {
        let mut delivery = self.fixture.delivery_at(self.channels[channel], InitialState::Due, self.now);
        let mut state = ModelDelivery {
            channel,
            status: Status::Pending,
            due_at: Some(self.now),
            owner: None,
            attempt_count: 0,
            held_until: None,
            subject,
            is_expedited: false,
            was_sent: false,
        };
        match start {
            Start::Due => {}
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
            }
        }
        let id = delivery.id;
        self.deliveries.insert(id, state);
        let (mut not_leased, mut expedited) = (vec![], vec![]);
        if matches!(state.status, Status::Pending | Status::Sending) {
            let (is_blocked, expedited_at) = self.join(id);
            expedited.extend(expedited_at.map(|at| (self.channels[channel].channel_id, at)));
            if is_blocked {
                not_leased.push(id);
                let state = self.deliveries.get_mut(&id).unwrap();
                (state.status, state.due_at, state.owner) = (Status::Pending, None, None);
            } else if let Some(owner) = state.owner {
                self.leases.push(ModelLease { id, owner, attempt_count: 0, is_expedited: false });
            }
        }
        let new_event = match subject {
            Some(subject) => self.fixture.event_of(&self.incidents[subject], delivery),
            None => {
                let event = self.fixture.event_at(self.channels[channel], self.now);
                self.fixture.new_event(event, vec![delivery])
            }
        };
        let answer = self.fixture.accept(new_event).await;
        assert_eq!((answer.not_leased, answer.expedited), (not_leased, expedited));
    }

    fn chain(&mut self, id: DeliveryId) -> Option<&mut Vec<ModelLink>> {
        let state = self.deliveries[&id];
        state.subject.map(|subject| &mut self.chains[state.channel][subject])
    }

    fn link(&mut self, id: DeliveryId) -> Option<&mut ModelLink> {
        self.chain(id)?.iter_mut().find(|link| link.id == id)
    }

    /// Appends the delivery to its chain. Returns whether it waits for another one, and when the head is attempted
    /// because of that.
    fn join(&mut self, id: DeliveryId) -> (bool, Option<Timestamp>) {
        let Some(chain) = self.chain(id) else { return (false, None) };
        chain.push(ModelLink { id, not_before: None, retry_at: None, expedited_at: None });
        let head = chain[0];
        if head.id == id { (false, None) } else { (true, self.expedite(head)) }
    }

    fn expedite(&mut self, link: ModelLink) -> Option<Timestamp> {
        let head = self.deliveries[&link.id];
        let waits = head.status == Status::Pending && head.attempt_count > 0 && !head.is_expedited;
        let due_at = head.due_at.filter(|at| waits && *at > self.now)?;
        let of_delivery = link.expedited_at.map(|at| at.plus_ms(5_000));
        let of_channel = self.last_expedited[head.channel].map(|at| at.plus_ms(1_000));
        let at = [Some(self.now), link.not_before, of_delivery, of_channel].into_iter().max().flatten()?;
        if at >= due_at {
            return None;
        }
        self.last_expedited[head.channel] = Some(at);
        *self.link(link.id).unwrap() = ModelLink { retry_at: Some(due_at), expedited_at: Some(at), ..link };
        let state = self.deliveries.get_mut(&link.id).unwrap();
        (state.due_at, state.is_expedited) = (Some(at), true);
        Some(at)
    }

    /// Removes a settled or held delivery from its chain.
    fn leave(&mut self, id: DeliveryId) {
        let (now, was_sent) = (self.now, self.deliveries[&id].status == Status::Sent);
        let Some(chain) = self.chain(id) else { return };
        let Some(position) = chain.iter().position(|link| link.id == id) else { return };
        chain.remove(position);
        let older: Vec<_> = chain.iter().map(|link| link.id).filter(|other| was_sent && *other < id).collect();
        chain.retain(|link| !older.contains(&link.id));
        let head = chain.first().map(|link| link.id);
        for id in older {
            let state = self.deliveries.get_mut(&id).unwrap();
            (state.status, state.due_at) = (Status::Suppressed, None);
        }
        if let Some(state) = head.and_then(|id| self.deliveries.get_mut(&id)) {
            state.due_at = state.due_at.or(Some(now));
        }
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
            let ModelDelivery { attempt_count, is_expedited, .. } = *state;
            self.leases.push(ModelLease { id, owner: lease.owner, attempt_count, is_expedited });
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
            Outcome::Retry { after_ms, .. } => {
                let at = self.now.plus_ms(after_ms);
                (NextState::RetryAt(at), Status::Pending, Some(at))
            }
        };
        let not_before = match end {
            Outcome::Retry { not_before_ms, .. } => not_before_ms.map(|ms| self.now.plus_ms(ms)),
            _ => None,
        };
        let trigger = if lease.is_expedited { AttemptTrigger::NewerEvent } else { AttemptTrigger::Scheduled };
        let was_attempted = !matches!(end, Outcome::Skipped | Outcome::Held { .. });
        let settlement = Settlement {
            workspace_id: self.fixture.ours.id,
            delivery_id: lease.id,
            owner: lease.owner,
            attempt_count: lease.attempt_count,
            now: self.now,
            attempt: was_attempted
                .then(|| Attempt { trigger, ..attempt(lease.attempt_count + 1, status == Status::Sent) }),
            next,
            attempt_state: None,
            not_before,
            follow_ups: FollowUps::None,
        };
        let state = self.deliveries.get_mut(&lease.id).unwrap();
        let counts = state.owner == Some(lease.owner) && state.attempt_count == lease.attempt_count;
        let outcome = self.fixture.store.settle(of_incident(settlement)).await.unwrap();
        assert_eq!(outcome, if counts { Settled::Written } else { Settled::Stale });
        if counts {
            (state.status, state.due_at, state.owner, state.is_expedited) = (status, due_at, None, false);
            state.attempt_count += u32::from(was_attempted);
            state.was_sent |= status == Status::Sent;
            if let Outcome::Held { ms } = end {
                state.held_until = Some(self.now.plus_ms(ms));
            }
            if status != Status::Pending {
                self.leave(lease.id);
            } else if let Some(link) = self.link(lease.id) {
                let preceded = link.retry_at.filter(|_| lease.is_expedited);
                (link.not_before, link.retry_at) = (not_before, None);
                self.deliveries.get_mut(&lease.id).unwrap().due_at = due_at.max(preceded);
            }
        }
    }

    async fn release_held(&mut self, channel: usize) {
        let Tenant { id: workspace_id, channel_id, .. } = self.channels[channel];
        let of_channel = self.deliveries.iter().filter(|(_, state)| state.channel == channel);
        let releasable = of_channel.filter(|(_, state)| state.held_until.is_some_and(|until| until <= self.now));
        let expected: Vec<_> = releasable.map(|(id, _)| *id).collect();
        let found = self.fixture.list_held(self.channels[channel], self.now, 1_000).await;
        assert_eq!(found.iter().map(|held| held.id).collect::<Vec<_>>(), expected);
        let mut due = 0;
        for id in &expected {
            let superseded = self.is_superseded(*id);
            let state = self.deliveries.get_mut(id).unwrap();
            state.held_until = None;
            if superseded {
                state.status = Status::Suppressed;
                continue;
            }
            state.status = Status::Pending;
            due += 1;
            let (is_blocked, _) = self.join(*id);
            self.deliveries.get_mut(id).unwrap().due_at = (!is_blocked).then_some(self.now);
        }
        let release = ReleaseBatch {
            workspace_id,
            channel_id,
            individual: expected.clone(),
            ..self.fixture.empty_release(self.now)
        };
        assert_eq!(self.fixture.release_held(release).await.due, due);
    }

    /// Whether a later delivery of the same subject was sent through the channel.
    fn is_superseded(&self, id: DeliveryId) -> bool {
        let of = self.deliveries[&id];
        let is_same = |it: &ModelDelivery| it.channel == of.channel && it.subject == of.subject;
        of.subject.is_some() && self.deliveries.range(id..).skip(1).any(|(_, it)| is_same(it) && it.was_sent)
    }

    async fn reclaim(&mut self, owner: i64) {
        let mut reclaimed = 0;
        for state in self.deliveries.values_mut() {
            if state.owner.is_some_and(|of| of != owner) {
                (state.status, state.due_at, state.owner) = (Status::Pending, Some(self.now), None);
                reclaimed += 1;
            }
        }
        assert_eq!(self.fixture.store.reclaim_leases(self.now, owner).await.unwrap(), reclaimed);
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
        let outcome = self.fixture.store.resend(resend, None).await;
        if state.status.is_resendable() {
            outcome.unwrap();
            (state.status, state.due_at, state.is_expedited) = (Status::Pending, Some(self.now), false);
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
            for found in self.fixture.store.deliveries(tenant.id, filter).await.unwrap().records {
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
