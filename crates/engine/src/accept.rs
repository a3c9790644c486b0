//! Accept: facts come in, are matched with rules and walked through the gates, and are committed with all that follows.
//! Only then is the caller answered and are the senders handed what they may send at once.

use std::sync::Arc;

use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::id::{ChannelId, DeliveryId};
use tidings_domain::resource::ResourceType;
use tidings_domain::run::Run;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::queue::{Acceptance, Claimed, Incoming, NewDelivery, Start};
use tidings_store::{Store, StoreError};

use crate::clock::{Clock, new_id};
use crate::queue::{Place, Queue};
use crate::snapshot::WorkspaceView;
use crate::tell::{Decision, Situation, Telling, tell};
use crate::unbroken::unbroken;
use crate::{Result, measure};

/// A run that ended, as a door read and checked it.
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
    incoming: Vec<Incoming>,
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
    pub late_of: Option<DeliveryId>,
}

impl Occasion {
    /// The first, as a rule the only one.
    pub(crate) const FIRST: Self = Self { number: 1, late_of: None };
}

impl Prepared {
    /// An event with what was decided for its rules. What may be sent at once gets a place in memory, if there is one.
    pub(crate) fn add(
        &mut self,
        queue: &Queue,
        clock: &dyn Clock,
        event: Arc<Event>,
        telling: Telling,
        occasion: Occasion,
    ) {
        let mut incoming =
            Incoming { event, not_routed: telling.not_routed, deliveries: Vec::with_capacity(telling.decisions.len()) };
        for decision in telling.decisions {
            let delivery = self.delivery(queue, clock, &incoming.event, decision, occasion);
            incoming.deliveries.push(delivery);
        }
        self.incoming.push(incoming);
    }

    fn delivery(
        &mut self,
        queue: &Queue,
        clock: &dyn Clock,
        event: &Arc<Event>,
        decision: Decision,
        occasion: Occasion,
    ) -> NewDelivery {
        let Decision { rule, live, severity, walk, admission, after } = decision;
        let channel = &live.channel;
        let now = walk.evaluated_at;
        let id: DeliveryId = new_id(clock, now);
        let (rule_id, rule_generation) = rule.map_or((None, 0), |rule| (Some(rule.id), rule.generation));
        let start = if walk.held().is_some() {
            Start::Held
        } else if walk.stopped.is_some() {
            Start::Suppressed
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
                carry: None,
                after,
                lease,
            };
            self.places.push(Placed { event: self.incoming.len(), claimed, place, is_late: occasion.number > 1 });
            Start::Leased(lease)
        } else {
            Start::Due
        };
        NewDelivery {
            id,
            rule_id,
            rule_generation,
            channel_id: channel.id,
            channel_type: channel.channel_type,
            severity,
            start,
            walk,
            admission,
            after,
            occasion: occasion.number,
            late_of: occasion.late_of,
        }
    }

    /// The event that was added last.
    pub(crate) fn last(&self) -> Option<&Incoming> {
        self.incoming.last()
    }

    /// Whether nothing is to be committed.
    pub(crate) fn is_empty(&self) -> bool {
        self.incoming.is_empty()
    }

    /// Takes the events out, to be committed; what is left is handed over after that.
    pub(crate) fn take(&mut self) -> (Vec<Incoming>, Afterwards) {
        let incoming = std::mem::take(&mut self.incoming);
        let waiting = incoming.iter().flat_map(waiting).collect();
        let types = incoming.iter().map(|incoming| incoming.event.resource_type).collect();
        (incoming, Afterwards { places: std::mem::take(&mut self.places), waiting, types })
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
                !acceptance.withheld.contains(&claimed.id) && (*is_late || !acceptance.duplicate)
            })
        });
        queue.hand_over(places.into_iter().map(|placed| (placed.claimed, placed.place)));
        if acceptances.iter().any(|acceptance| !acceptance.withheld.is_empty()) {
            queue.look_at_holds();
        }
        measure::accepted(acceptances, &self.types);
    }
}

async fn commit(store: &dyn Store, queue: &Queue, mut prepared: Prepared) -> Result<Vec<Acceptance>> {
    let (incoming, afterwards) = prepared.take();
    let outcome = store.accept(incoming).await;
    afterwards.follow(queue, outcome.as_deref());
    Ok(outcome?)
}

fn waiting(incoming: &Incoming) -> impl Iterator<Item = Waiting> {
    incoming.deliveries.iter().filter_map(|delivery| match delivery.start {
        Start::Due => Some(Waiting::Due(delivery.channel_id, delivery.walk.evaluated_at)),
        Start::Held => delivery.walk.held().map(|(_, until)| Waiting::Held(until)),
        Start::Leased(_) | Start::Suppressed => None,
    })
}
