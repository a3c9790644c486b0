//! Builds digests: the held deliveries of a channel become one event with one delivery. All held events of one incident
//! are one entry, in the state of the last.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidings_domain::calendar::Zone;
use tidings_domain::digest::{Digest, Entry, EntryState};
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::gate::{Gate, GateEvaluation};
use tidings_domain::id::{DeliveryId, EventId, IncidentId};
use tidings_domain::message;
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::queue::{HeldDelivery, InitialState, NewDelivery, NewDigest, NewEvent};

use super::Queue;
use crate::clock::new_id;
use crate::snapshot::LoadedChannel;

/// Builds the digest of these deliveries, oldest first. `active` are the incidents that are not resolved.
pub(super) fn new_digest(
    queue: &Queue,
    loaded: &LoadedChannel,
    held: &[HeldDelivery],
    active: &HashSet<IncidentId>,
    now: Timestamp,
) -> NewDigest {
    let clock = queue.0.clock.as_ref();
    let channel = &loaded.channel;
    let (id, delivery_id): (EventId, DeliveryId) = (new_id(clock, now), new_id(clock, now));
    let digest = Digest::new(describe_reason(held), entries(held, active), now);
    let severity = digest.severity();
    let event = Event {
        id,
        workspace_id: channel.workspace_id,
        kind: EventKind::Digest,
        resource_type: ResourceType::Channel,
        resource_id: channel.id.to_string(),
        run_id: delivery_id.to_string(),
        trigger: Trigger::Success,
        received_at: now,
        content: Content::Digest(Box::new(digest)),
    };
    let delivery = NewDelivery {
        id: delivery_id,
        rule_id: None,
        rule_generation: 0,
        channel_id: channel.id,
        channel_type: channel.channel_type,
        severity,
        initial_state: InitialState::Due,
        evaluation: GateEvaluation { evaluated_at: now, passed: 0, stopped: None },
        rate_limit: None,
        blocked_by: None,
        sequence: 1,
        replaces_id: None,
    };
    let new_event = NewEvent { event: Arc::new(event), not_routed: Vec::new(), deliveries: vec![delivery] };
    NewDigest { new_event, members: held.iter().map(|held| held.id).collect() }
}

/// Why these were held, for readers of the digest.
fn describe_reason(held: &[HeldDelivery]) -> String {
    let by = |gate| held.iter().any(|held| held.evaluation.held().is_some_and(|(holding, _)| holding == gate));
    let describe = |gate| match gate {
        Gate::QuietHours => "quiet hours",
        _ => "the channel's rate limit",
    };
    let gates: Vec<_> =
        [Gate::QuietHours, Gate::RateLimit].into_iter().filter(|gate| by(*gate)).map(describe).collect();
    gates.join(" and ")
}

fn entries(held: &[HeldDelivery], active: &HashSet<IncidentId>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(held.len());
    let mut by_incident: HashMap<&str, usize> = HashMap::new();
    for held in held {
        let event = &held.event;
        let entry = entry(held, active);
        if !event.kind.is_incident() {
            entries.push(entry);
            continue;
        }
        match by_incident.get(event.run_id.as_str()).and_then(|index| entries.get_mut(*index)) {
            Some(known) => {
                *known = Entry { events: known.events + 1, severity: known.severity.worse(entry.severity), ..entry }
            }
            None => {
                by_incident.insert(&event.run_id, entries.len());
                entries.push(entry);
            }
        }
    }
    entries
}

fn entry(held: &HeldDelivery, active: &HashSet<IncidentId>) -> Entry {
    // Any zone does: titles contain no times.
    let message = message::of(&held.event, held.severity, &Zone::UTC);
    // Not derived from the last held event: the resolution may have been suppressed for this channel.
    let is_ongoing = || held.event.run_id.parse().is_ok_and(|id| active.contains(&id));
    let state = match (held.event.incident(), held.event.kind) {
        (_, EventKind::IncidentResolved | EventKind::IncidentStable) => EntryState::Resolved,
        (Some(_), _) => {
            if is_ongoing() {
                EntryState::Ongoing
            } else {
                EntryState::Resolved
            }
        }
        (None, _) => EntryState::OneOff,
    };
    Entry { title: message.title, severity: held.severity, state, at: message.timestamp, link: message.link, events: 1 }
}
