//! Accept: finished runs become events, are fanned out over their rules, and are committed with all their deliveries.
//! The caller is answered after the commit; deliveries that may be sent at once go straight to the queue.

use std::sync::Arc;

use tidings_domain::delivery::AttemptTrigger;
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::id::{ChannelId, DeliveryId, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::run::Run;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::queue::{Acceptance, Claimed, InitialState, NewDelivery, NewEvent};
use tidings_store::{Store, StoreError};

use crate::changes::Topic;
use crate::clock::{Clock, new_id};
use crate::detach::detach_on_drop;
use crate::fanout::{FanOut, FanOutContext, PlannedDelivery, fan_out};
use crate::queue::{Queue, Reservation};
use crate::snapshot::WorkspaceView;
use crate::{Result, metrics};

/// A finished run, validated by the API.
#[derive(Debug, Clone)]
pub struct RunReport {
    pub resource_type: ResourceType,
    /// The caller's own id of the resource.
    pub resource_id: String,
    /// The caller's own id of the run; with the resource and the trigger it recognises a repeated report.
    pub run_id: String,
    pub trigger: Trigger,
    pub run: Run,
    /// See [`NewEvent::fingerprint`].
    pub fingerprint: i64,
}

/// Events to be committed together, and the deliveries of them that already have a reservation in memory.
#[derive(Default)]
pub(crate) struct AcceptBatch {
    events: Vec<NewEvent>,
    reserved: Vec<ReservedDelivery>,
}

/// A delivery that is dispatched from memory once its event is committed.
struct ReservedDelivery {
    /// Index of its event in the batch.
    event_index: usize,
    claimed: Claimed,
    reservation: Reservation,
    /// Whether it replaces a suppressed delivery of an event that was committed earlier.
    is_deferred: bool,
}

/// Accepts runs. The commit and what follows it run to completion even if the caller is cancelled: a committed delivery
/// that is leased to this process must also be dispatched by it.
pub(crate) async fn accept(
    store: &Arc<dyn Store>,
    view: &WorkspaceView,
    queue: &Queue,
    clock: &dyn Clock,
    runs: Vec<RunReport>,
) -> Result<Vec<Acceptance>> {
    // Backpressure. The check is cheap, so that an idle queue costs no collection of channels.
    if queue.is_under_pressure() {
        let rules = runs.iter().flat_map(|run| view.rules_of(run.resource_type, &run.resource_id));
        queue.wait_for_capacity(rules.map(|rule| rule.channel_id).collect()).await;
    }
    let now = clock.now();
    let mut batch = AcceptBatch::default();
    for run in runs {
        let fingerprint = run.fingerprint;
        let event = run_event(view, clock, run, now);
        let fan_out = fan_out(view, &event, FanOutContext::default(), now);
        batch.add(queue, clock, event, fan_out, NotificationSequence::FIRST);
        batch.set_fingerprint(fingerprint);
    }
    let (store, queue) = (Arc::clone(store), queue.clone());
    detach_on_drop(async move { commit(store.as_ref(), &queue, batch).await }).await
}

fn run_event(view: &WorkspaceView, clock: &dyn Clock, report: RunReport, now: Timestamp) -> Arc<Event> {
    Arc::new(Event {
        id: new_id(clock, now),
        workspace_id: view.workspace.id,
        kind: EventKind::for_run(report.resource_type, report.trigger),
        resource_type: report.resource_type,
        resource_id: report.resource_id,
        run_id: report.run_id,
        trigger: report.trigger,
        received_at: now,
        content: Content::Run(report.run),
    })
}

/// Position of a delivery among all deliveries of one event for one rule. More than one exist only for a deferred
/// opening of an incident.
#[derive(Clone, Copy)]
pub(crate) struct NotificationSequence {
    /// From 1.
    pub number: u32,
    /// The suppressed delivery that this one replaces.
    pub replaces_id: Option<DeliveryId>,
}

impl NotificationSequence {
    pub(crate) const FIRST: Self = Self { number: 1, replaces_id: None };
}

impl AcceptBatch {
    /// Adds an event with its planned deliveries. Each that may be sent at once tries to reserve capacity in memory.
    pub(crate) fn add(
        &mut self,
        queue: &Queue,
        clock: &dyn Clock,
        event: Arc<Event>,
        fan_out: FanOut,
        sequence: NotificationSequence,
    ) {
        let FanOut { not_routed, planned } = fan_out;
        let deliveries = Vec::with_capacity(planned.len());
        let mut new_event = NewEvent { event, fingerprint: None, not_routed, deliveries };
        for planned in planned {
            let delivery = self.new_delivery(queue, clock, &new_event.event, planned, sequence);
            new_event.deliveries.push(delivery);
        }
        self.events.push(new_event);
    }

    /// Sets that of the event that was added last.
    fn set_fingerprint(&mut self, fingerprint: i64) {
        if let Some(last) = self.events.last_mut() {
            last.fingerprint = Some(fingerprint);
        }
    }

    fn new_delivery(
        &mut self,
        queue: &Queue,
        clock: &dyn Clock,
        event: &Arc<Event>,
        planned: PlannedDelivery,
        sequence: NotificationSequence,
    ) -> NewDelivery {
        let PlannedDelivery { rule, channel: loaded, severity, evaluation, rate_limit } = planned;
        let channel = &loaded.channel;
        let now = evaluation.evaluated_at;
        let id: DeliveryId = new_id(clock, now);
        let (rule_id, rule_generation) = rule.map_or((None, 0), |rule| (Some(rule.id), rule.generation));
        let start = if evaluation.held().is_some() {
            InitialState::Held
        } else if evaluation.stopped.is_some() {
            InitialState::Suppressed
        } else if let Some(reservation) = queue.reserve(channel.id, now) {
            // Inserted already leased: it is dispatched after the commit without being claimed.
            let lease = queue.lease(now);
            let claimed = Claimed {
                id,
                event: Arc::clone(event),
                rule_id,
                rule_generation,
                channel_id: channel.id,
                channel_type: channel.channel_type,
                severity,
                due_at: now,
                attempt_count: 0,
                attempt_base: 0,
                attempt_trigger: AttemptTrigger::Scheduled,
                attempt_state: None,
                lease,
            };
            let is_deferred = sequence.number > 1;
            self.reserved.push(ReservedDelivery { event_index: self.events.len(), claimed, reservation, is_deferred });
            InitialState::Leased(lease)
        } else {
            InitialState::Due
        };
        NewDelivery {
            id,
            rule_id,
            rule_generation,
            channel_id: channel.id,
            channel_type: channel.channel_type,
            severity,
            initial_state: start,
            evaluation,
            rate_limit,
            sequence: sequence.number,
            replaces_id: sequence.replaces_id,
        }
    }

    /// The event that was added last.
    pub(crate) fn last(&self) -> Option<&NewEvent> {
        self.events.last()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Splits the batch into the events to commit and the steps that follow the commit.
    pub(crate) fn split(self) -> (Vec<NewEvent>, PostCommit) {
        let stored = self.events.iter().flat_map(stored_work).collect();
        let resource_types = self.events.iter().map(|new_event| new_event.event.resource_type).collect();
        let workspace_id = self.events.first().map(|new_event| new_event.event.workspace_id);
        (self.events, PostCommit { workspace_id, reserved: self.reserved, stored, resource_types })
    }
}

/// What follows a commit, successful or not.
#[must_use]
pub(crate) struct PostCommit {
    /// That of all events of the batch; `None` without events.
    workspace_id: Option<WorkspaceId>,
    reserved: Vec<ReservedDelivery>,
    stored: Vec<StoredWork>,
    resource_types: Vec<ResourceType>,
}

/// A delivery of the batch that the store keeps for later, with the instant at which the queue must poll for it.
enum StoredWork {
    Due(ChannelId, Timestamp),
    Held(Timestamp),
}

impl PostCommit {
    /// Dispatches the reserved deliveries, and schedules the queue for the others.
    pub(crate) fn apply(self, queue: &Queue, outcome: std::result::Result<&[Acceptance], &StoreError>) {
        // Also after a failed commit: `reserve` counted the due ones as backlog. The poll finds nothing and clears the
        // count; otherwise producers would be throttled for deliveries that do not exist.
        for stored in self.stored {
            match stored {
                StoredWork::Due(channel_id, at) => queue.note_due(channel_id, at),
                StoredWork::Held(at) => queue.note_held_until(at),
            }
        }
        // Dropping the reservations cancels them.
        let Ok(acceptances) = outcome else { return };
        // A duplicate event's deliveries exist already; those of this batch were not inserted. A deferred delivery is
        // the exception: its event is known by design.
        let mut reserved = self.reserved;
        reserved.retain(|ReservedDelivery { event_index, claimed, is_deferred, .. }| {
            acceptances.get(*event_index).is_some_and(|acceptance| {
                !acceptance.not_leased.contains(&claimed.id) && (*is_deferred || !acceptance.duplicate)
            })
        });
        queue.enqueue_committed(reserved.into_iter().map(|it| (it.claimed, it.reservation)));
        for (channel_id, at) in acceptances.iter().flat_map(|acceptance| &acceptance.expedited) {
            queue.note_due(*channel_id, *at);
        }
        // The rate limit, checked within the commit, may have held some of them until an instant only the store knows.
        if acceptances.iter().any(|acceptance| !acceptance.not_leased.is_empty()) {
            queue.wake_release_loop();
        }
        metrics::record_accepted(acceptances, &self.resource_types);
        if let Some(workspace_id) = self.workspace_id {
            queue.mark_changed(workspace_id, Topic::Deliveries);
        }
    }
}

async fn commit(store: &dyn Store, queue: &Queue, batch: AcceptBatch) -> Result<Vec<Acceptance>> {
    let (events, post_commit) = batch.split();
    let outcome = store.accept(events).await;
    if let Some(workspace_id) = post_commit.workspace_id.filter(|_| outcome.is_ok()) {
        queue.mark_changed(workspace_id, Topic::Runs);
    }
    post_commit.apply(queue, outcome.as_deref());
    Ok(outcome?)
}

fn stored_work(new_event: &NewEvent) -> impl Iterator<Item = StoredWork> {
    new_event.deliveries.iter().filter_map(|delivery| match delivery.initial_state {
        InitialState::Due => Some(StoredWork::Due(delivery.channel_id, delivery.evaluation.evaluated_at)),
        InitialState::Held => delivery.evaluation.held().map(|(_, until)| StoredWork::Held(until)),
        InitialState::Leased(_) | InitialState::Suppressed => None,
    })
}
