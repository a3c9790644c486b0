//! Accept: facts come in, are matched with rules and walked through the gates, and are committed with all that follows.
//! Only then is the caller answered and are the senders handed what they may send at once.

use std::sync::Arc;

use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::id::{ChannelId, DeliveryId};
use tidings_domain::resource::ResourceType;
use tidings_domain::run::Run;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::queue::{Acceptance, Claimed, InitialState, NewDelivery, NewEvent};
use tidings_store::{Store, StoreError};

use crate::clock::{Clock, new_id};
use crate::detach::unbroken;
use crate::fanout::{Decision, Situation, Telling, tell};
use crate::queue::{Place, Queue};
use crate::snapshot::WorkspaceView;
use crate::{Result, metrics};

/// A run that ended, as a webhook read and checked it.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The type of resource that ran.
    pub resource_type: ResourceType,
    /// The resource, by the caller's own id.
    pub resource_id: String,
    /// The run, by the caller's own id.
    pub run_id: String,
    /// How it ended.
    pub trigger: Trigger,
    /// What is known of it.
    pub run: Run,
}

/// Events about to be committed, and what is to be handed over then.
#[derive(Default)]
pub(crate) struct Prepared {
    new_event: Vec<NewEvent>,
    /// Deliveries with a place in memory.
    places: Vec<Placed>,
}

/// A delivery with a place in memory.
struct Placed {
    /// The index of its event.
    event: usize,
    claimed: Claimed,
    place: Place,
    /// Whether it is said late: its event was told before.
    is_late: bool,
}

/// Takes runs in. The work goes on even if the caller goes away: what is committed must also be handed over.
pub(crate) async fn accept(
    store: &Arc<dyn Store>,
    view: &WorkspaceView,
    queue: &Queue,
    clock: &dyn Clock,
    runs: Vec<RunReport>,
) -> Result<Vec<Acceptance>> {
    if queue.is_pressed() {
        let rules = runs.iter().flat_map(|run| view.rules_of(run.resource_type, &run.resource_id));
        queue.let_through(rules.map(|rule| rule.channel_id).collect()).await;
    }
    let now = clock.now();
    let mut prepared = Prepared::default();
    for run in runs {
        prepare(view, queue, clock, event(view, clock, run, now), &mut prepared);
    }
    let (store, queue) = (Arc::clone(store), queue.clone());
    unbroken(async move { commit(store.as_ref(), &queue, prepared).await }).await
}

fn event(view: &WorkspaceView, clock: &dyn Clock, report: RunReport, now: Timestamp) -> Arc<Event> {
    Arc::new(Event {
        id: new_id(clock, now),
        workspace_id: view.workspace.id,
        kind: EventKind::of_run(report.resource_type, report.trigger),
        resource_type: report.resource_type,
        resource_id: report.resource_id,
        run_id: report.run_id,
        trigger: report.trigger,
        received_at: now,
        content: Content::Run(report.run),
    })
}

/// Tells one event to the rules of its resource.
fn prepare(view: &WorkspaceView, queue: &Queue, clock: &dyn Clock, event: Arc<Event>, prepared: &mut Prepared) {
    let telling = tell(view, &event, Situation::default(), event.received_at);
    prepared.add(queue, clock, event, telling, Occasion::FIRST);
}

/// Which telling of an event to its rules it is.
#[derive(Clone, Copy)]
pub(crate) struct Occasion {
    /// From 1.
    pub number: u32,
    /// The suppressed delivery in whose place it is said.
    pub replaces_id: Option<DeliveryId>,
}

impl Occasion {
    /// The first, as a rule the only one.
    pub(crate) const FIRST: Self = Self { number: 1, replaces_id: None };
}

impl Prepared {
    /// An event with what was decided for its rules. What may be sent at once gets a place in memory, if there is one.
    pub(crate) fn add(
        &mut self,
        queue: &Queue,
        clock: &dyn Clock,
        event: Arc<Event>,
        telling: Telling,
        sequence: Occasion,
    ) {
        let mut new_event =
            NewEvent { event, not_routed: telling.not_routed, deliveries: Vec::with_capacity(telling.decisions.len()) };
        for decision in telling.decisions {
            let delivery = self.delivery(queue, clock, &new_event.event, decision, sequence);
            new_event.deliveries.push(delivery);
        }
        self.new_event.push(new_event);
    }

    fn delivery(
        &mut self,
        queue: &Queue,
        clock: &dyn Clock,
        event: &Arc<Event>,
        decision: Decision,
        sequence: Occasion,
    ) -> NewDelivery {
        let Decision { rule, live, severity, evaluation, admission, after } = decision;
        let channel = &live.channel;
        let now = evaluation.evaluated_at;
        let id: DeliveryId = new_id(clock, now);
        let (rule_id, rule_generation) = rule.map_or((None, 0), |rule| (Some(rule.id), rule.generation));
        let start = if evaluation.held().is_some() {
            InitialState::Held
        } else if evaluation.stopped.is_some() {
            InitialState::Suppressed
        } else if let Some(place) = queue.reserve(channel.id, now) {
            let lease = queue.lease(now);
            let claimed = Claimed {
                id,
                event: Arc::clone(event),
                rule_id,
                rule_generation,
                channel_id: channel.id,
                channel_type: channel.channel_type,
                severity,
                attempt_count: 0,
                attempt_base: 0,
                attempt_trigger: tidings_domain::delivery::AttemptTrigger::Scheduled,
                attempt_state: None,
                blocked_by: after,
                lease,
            };
            self.places.push(Placed { event: self.new_event.len(), claimed, place, is_late: sequence.number > 1 });
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
            start,
            evaluation,
            rate_limit: admission,
            blocked_by: after,
            sequence: sequence.number,
            replaces_id: sequence.replaces_id,
        }
    }

    /// The event that was added last.
    pub(crate) fn last(&self) -> Option<&NewEvent> {
        self.new_event.last()
    }

    /// Whether nothing is to be committed.
    pub(crate) fn is_empty(&self) -> bool {
        self.new_event.is_empty()
    }

    /// Takes the events out, to be committed; what is left is handed over after that.
    pub(crate) fn take(&mut self) -> (Vec<NewEvent>, Afterwards) {
        let new_event = std::mem::take(&mut self.new_event);
        let waiting = new_event.iter().flat_map(waiting).collect();
        let types = new_event.iter().map(|new_event| new_event.event.resource_type).collect();
        (new_event, Afterwards { places: std::mem::take(&mut self.places), waiting, types })
    }
}

/// What is to be done once events are committed, or could not be.
pub(crate) struct Afterwards {
    places: Vec<Placed>,
    waiting: Vec<Waiting>,
    types: Vec<ResourceType>,
}

/// What the store has that is not in this process's hands.
enum Waiting {
    Due(ChannelId, Timestamp),
    Held(Timestamp),
}

impl Afterwards {
    /// Hands over what may be sent, and makes known what waits.
    pub(crate) fn follow(self, queue: &Queue, outcome: std::result::Result<&[Acceptance], &StoreError>) {
        // Even if it failed: a look finds that nothing waits there, and nobody is held back any longer for what never
        // came.
        for waiting in self.waiting {
            match waiting {
                Waiting::Due(channel_id, at) => queue.due_at(channel_id, at),
                Waiting::Held(at) => queue.held_until(at),
            }
        }
        let Ok(acceptances) = outcome else { return };
        // A repeat gives its place back: the first telling is sent, not this one.
        let mut places = self.places;
        places.retain(|Placed { event, claimed, is_late, .. }| {
            acceptances.get(*event).is_some_and(|acceptance| {
                !acceptance.not_leased.contains(&claimed.id) && (*is_late || !acceptance.duplicate)
            })
        });
        queue.hand_over(places.into_iter().map(|placed| (placed.claimed, placed.place)));
        if acceptances.iter().any(|acceptance| !acceptance.not_leased.is_empty()) {
            queue.look_at_holds();
        }
        metrics::accepted(acceptances, &self.types);
    }
}

async fn commit(store: &dyn Store, queue: &Queue, mut prepared: Prepared) -> Result<Vec<Acceptance>> {
    let (new_event, afterwards) = prepared.take();
    let outcome = store.accept(new_event).await;
    afterwards.follow(queue, outcome.as_deref());
    Ok(outcome?)
}

fn waiting(new_event: &NewEvent) -> impl Iterator<Item = Waiting> {
    new_event.deliveries.iter().filter_map(|delivery| match delivery.start {
        InitialState::Due => Some(Waiting::Due(delivery.channel_id, delivery.evaluation.evaluated_at)),
        InitialState::Held => delivery.evaluation.held().map(|(_, until)| Waiting::Held(until)),
        InitialState::Leased(_) | InitialState::Suppressed => None,
    })
}
