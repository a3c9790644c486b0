//! Accept: facts come in, are matched with rules and walked through the gates, and are committed with all that follows.
//! Only then is the caller answered and are the senders handed what they may send at once.

use std::sync::Arc;

use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::{self, Facts};
use tidings_domain::id::{ChannelId, DeliveryId};
use tidings_domain::resource::ResourceType;
use tidings_domain::routing::{self, NotRouted};
use tidings_domain::rule::Rule;
use tidings_domain::run::Run;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::Store;
use tidings_store::queue::{Acceptance, Claimed, Incoming, NewDelivery, Start};

use crate::clock::{Clock, new_id};
use crate::queue::{Place, Queue};
use crate::snapshot::WorkspaceView;
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

/// What is to be handed over once it is committed.
struct Prepared {
    incoming: Vec<Incoming>,
    /// Deliveries with a place in memory, each with the index of its event.
    places: Vec<(usize, Claimed, Place)>,
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
    let mut prepared = Prepared { incoming: Vec::with_capacity(runs.len()), places: Vec::new() };
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
        run: report.run,
    })
}

/// Routes one event and walks its deliveries through the gates.
fn prepare(view: &WorkspaceView, queue: &Queue, clock: &dyn Clock, event: Arc<Event>, prepared: &mut Prepared) {
    let mut incoming = Incoming { event: Arc::clone(&event), not_routed: Vec::new(), deliveries: Vec::new() };
    for rule in view.rules_of(event.resource_type, &event.resource_id) {
        match routing::route(&event, rule) {
            Err(reason) => incoming.not_routed.push(NotRouted { rule_id: rule.id, reason }),
            Ok(()) => {
                let index = prepared.incoming.len();
                if let Some(delivery) = delivery(view, queue, clock, &event, rule, index, &mut prepared.places) {
                    incoming.deliveries.push(delivery);
                }
            }
        }
    }
    prepared.incoming.push(incoming);
}

/// The delivery of an event to a rule; none if its channel is not there, which the store's own constraints forbid.
fn delivery(
    view: &WorkspaceView,
    queue: &Queue,
    clock: &dyn Clock,
    event: &Arc<Event>,
    rule: &Rule,
    index: usize,
    places: &mut Vec<(usize, Claimed, Place)>,
) -> Option<NewDelivery> {
    let channel = &view.channel(rule.channel_id)?.channel;
    let now = event.received_at;
    let id: DeliveryId = new_id(clock, now);
    let severity = event.severity(rule.failure_severity);
    let walk = gate::walk(&Facts { rule, channel, severity }, now);
    let start = if walk.stopped.is_some() {
        Start::Suppressed
    } else if let Some(place) = queue.reserve(channel.id, now) {
        let lease = queue.lease(now);
        let claimed = Claimed {
            id,
            event: Arc::clone(event),
            rule_id: rule.id,
            rule_generation: rule.generation,
            channel_id: channel.id,
            channel_type: channel.channel_type,
            severity,
            attempt_count: 0,
            attempt_base: 0,
            attempt_trigger: tidings_domain::delivery::AttemptTrigger::Scheduled,
            carry: None,
            lease,
        };
        places.push((index, claimed, place));
        Start::Leased(lease)
    } else {
        Start::Due
    };
    let (rule_id, rule_generation) = (rule.id, rule.generation);
    let (channel_id, channel_type) = (channel.id, channel.channel_type);
    Some(NewDelivery { id, rule_id, rule_generation, channel_id, channel_type, severity, start, walk })
}

async fn commit(store: &dyn Store, queue: &Queue, prepared: Prepared) -> Result<Vec<Acceptance>> {
    let Prepared { incoming, places } = prepared;
    let waiting: Vec<_> = incoming.iter().flat_map(due_channels).collect();
    let types: Vec<_> = incoming.iter().map(|incoming| incoming.event.resource_type).collect();
    let outcome = store.accept(incoming).await;
    // Even if it failed: a look finds that nothing waits there, and nobody is held back any longer for what never came.
    for (channel_id, at) in waiting {
        queue.due_at(channel_id, at);
    }
    let acceptances = outcome?;
    for (index, claimed, place) in places {
        // A repeat gives its place back: the first telling is sent, not this one.
        if !acceptances[index].duplicate {
            queue.hand_over(claimed, place);
        }
    }
    measure::accepted(&acceptances, &types);
    Ok(acceptances)
}

fn due_channels(incoming: &Incoming) -> impl Iterator<Item = (ChannelId, Timestamp)> {
    let event = &incoming.event;
    let due = incoming.deliveries.iter().filter(|delivery| delivery.start == Start::Due);
    due.map(|delivery| (delivery.channel_id, event.received_at))
}
