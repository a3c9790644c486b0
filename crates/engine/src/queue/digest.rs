//! Builds digests: the held deliveries of a channel become one event with one delivery. All held events of one incident
//! are one entry, in the state of the incident at the time of sending.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_domain::calendar::Zone;
use tidings_domain::digest::{Digest, Entry, EntrySource, EntryState, REASON_CHARS_MAX};
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::gate::{Gate, GateEvaluation};
use tidings_domain::id::{DeliveryId, EventId, IncidentId, WorkspaceId};
use tidings_domain::incident::{IncidentStatus, IncidentTrigger, Subject};
use tidings_domain::message;
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::text::truncate_chars;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::StoreError;
use tidings_store::monitoring::{IncidentFilter, IncidentRecord};
use tidings_store::queue::{HeldDelivery, InitialState, NewDelivery, NewDigest, NewEvent};

use super::Queue;
use crate::clock::new_id;
use crate::snapshot::LoadedChannel;

/// Builds the digest of these deliveries, oldest first.
pub(super) async fn new_digest(
    queue: &Queue,
    loaded: &LoadedChannel,
    held: &[HeldDelivery],
    now: Timestamp,
) -> Result<NewDigest, StoreError> {
    let clock = queue.0.clock.as_ref();
    let channel = &loaded.channel;
    let (id, delivery_id): (EventId, DeliveryId) = (new_id(clock, now), new_id(clock, now));
    let mut entries = entries(held);
    // Before the digest is cut to its listed entries: what is ongoing comes first.
    let present = Present::load(queue, channel.workspace_id, &entries).await?;
    for entry in &mut entries {
        *entry = present.entry(entry).unwrap_or_else(|| entry.clone());
    }
    let digest = Digest::new(describe_reason(held), entries, now);
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
        sequence: 1,
        replaces_id: None,
    };
    let new_event =
        NewEvent { event: Arc::new(event), fingerprint: None, not_routed: Vec::new(), deliveries: vec![delivery] };
    Ok(NewDigest { new_event, members: held.iter().map(|held| held.id).collect() })
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

/// The entries of these deliveries. All held events of one incident are one entry, that of the last.
fn entries(held: &[HeldDelivery]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(held.len());
    let mut by_incident: HashMap<&str, usize> = HashMap::new();
    for held in held {
        let event = &held.event;
        let entry = entry(event, held.severity);
        if !event.kind.is_incident() {
            entries.push(entry);
            continue;
        }
        match by_incident.get(event.run_id.as_str()).and_then(|index| entries.get_mut(*index)) {
            Some(known) => *known = Entry { events: known.events + 1, ..entry },
            None => {
                by_incident.insert(&event.run_id, entries.len());
                entries.push(entry);
            }
        }
    }
    entries
}

fn entry(event: &Event, severity: Severity) -> Entry {
    // Any zone does: titles and reasons contain no times.
    let message = message::of(event, severity, &Zone::UTC);
    let state = match (event.incident(), event.kind) {
        (_, EventKind::IncidentResolved | EventKind::IncidentStable) => EntryState::Resolved,
        (Some(_), _) => EntryState::Ongoing,
        (None, _) => EntryState::OneOff,
    };
    let source = EntrySource {
        event_id: event.id,
        resource_type: event.resource_type,
        resource_id: event.resource_id.clone(),
        run_id: event.run_id.clone(),
    };
    let reason = message.detail.as_deref().and_then(first_line);
    let (title, link) = (message.title, message.link);
    Entry { reason, link, source: Some(source), ..Entry::new(title, severity, state, message.timestamp) }
}

/// The first line that is not blank, truncated.
fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(truncate_chars(line, REASON_CHARS_MAX))
}

/// The event of a digest as it is true now: an incident may have been resolved, or its subject be down again, since the
/// digest was made. `None` if the event is no digest or is still true. A failing read is no reason to send nothing.
pub(super) async fn updated_event(queue: &Queue, event: &Arc<Event>) -> Option<Event> {
    let Content::Digest(digest) = &event.content else { return None };
    let present = Present::load(queue, event.workspace_id, &digest.entries).await.ok()?;
    let updated = digest.updated(|entry| present.entry(entry));
    (updated != **digest).then(|| Event { content: Content::Digest(Box::new(updated)), ..Event::clone(event) })
}

/// The present state of the incidents that entries are about.
#[derive(Default)]
struct Present {
    /// The active incidents of the subjects.
    active: HashMap<Subject, IncidentRecord>,
    /// Incidents, by id, whose entries do not say yet that they are over.
    over: HashMap<IncidentId, IncidentRecord>,
    /// The newest incident of each subject among the entries.
    newest: HashMap<Subject, IncidentId>,
}

impl Present {
    async fn load(queue: &Queue, workspace_id: WorkspaceId, entries: &[Entry]) -> Result<Self, StoreError> {
        let mut present = Self::default();
        for (subject, id) in entries.iter().filter_map(incident_of) {
            present.newest.entry(subject).and_modify(|newest| *newest = id.max(*newest)).or_insert(id);
        }
        if present.newest.is_empty() {
            return Ok(present);
        }
        let store = &queue.0.store;
        let filter =
            IncidentFilter { status: Some(IncidentStatus::Active), limit: u32::MAX, ..IncidentFilter::default() };
        for record in store.incidents(workspace_id, filter).await? {
            let incident = &record.incident;
            if present.newest.contains_key(&incident.subject) {
                present.active.insert(incident.subject.clone(), record);
            }
        }
        for (entry, (subject, id)) in entries.iter().filter_map(|entry| Some((entry, incident_of(entry)?))) {
            let is_active = present.active.get(&subject).is_some_and(|record| record.incident.id == id);
            if entry.state == EntryState::Ongoing && !is_active {
                present.over.extend(store.incident(workspace_id, id).await?.map(|(record, _)| (id, record)));
            }
        }
        Ok(present)
    }

    /// The entry as it is true now; `None` if that is unchanged.
    fn entry(&self, entry: &Entry) -> Option<Entry> {
        let (subject, id) = incident_of(entry)?;
        // The last entry of a subject shows the subject's state: it may be down again, as another message stated.
        let active = self.active.get(&subject).filter(|_| self.newest.get(&subject) == Some(&id));
        let (record, trigger, state) = match active {
            Some(record) => (record, IncidentTrigger::Opened, EntryState::Ongoing),
            None if entry.state == EntryState::Ongoing => {
                // Pruned incidents do not exist, so it is there; if it were not, what was true then is shown.
                (self.over.get(&id)?, IncidentTrigger::Resolved, EntryState::Resolved)
            }
            None => return None,
        };
        let incident = &record.incident;
        let at = incident.resolved_at.unwrap_or(entry.at).max(entry.at);
        let snapshot = incident.snapshot(record.subject_info.clone(), at);
        let event = Event {
            id: entry.source.as_ref()?.event_id,
            workspace_id: incident.workspace_id,
            kind: trigger.event_kind(),
            resource_type: subject.resource_type(),
            resource_id: subject.resource_id(),
            run_id: incident.id.to_string(),
            trigger: Trigger::Incident(trigger),
            received_at: at,
            content: Content::Incident(Box::new(snapshot)),
        };
        let severity = event.severity(Severity::Warning);
        let now = self::entry(&event, severity);
        let is_changed = (now.state, now.severity, &now.source) != (entry.state, entry.severity, &entry.source)
            || now.reason != entry.reason;
        is_changed.then(|| Entry { events: entry.events, state, link: entry.link.clone().or(now.link.clone()), ..now })
    }
}

/// The incident that the entry is about, with its subject.
fn incident_of(entry: &Entry) -> Option<(Subject, IncidentId)> {
    let source = entry.source.as_ref()?;
    Some((Subject::parse(source.resource_type, &source.resource_id)?, source.run_id.parse().ok()?))
}
