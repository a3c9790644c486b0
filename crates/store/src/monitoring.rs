//! Rows of watching: the state of endpoints, their checks, incidents with their timelines, and what is written together
//! when something follows from a check.

use std::collections::BTreeMap;

use tidings_domain::check::{Check, CheckStatus};
use tidings_domain::delivery::Status;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, CheckId, DeliveryId, EndpointId, EventId, IncidentId, MuteId, RuleId};
use tidings_domain::incident::flapping::FlapHistory;
use tidings_domain::incident::reminders::Reminders;
use tidings_domain::incident::streak::Streak;
use tidings_domain::incident::{Incident, IncidentStatus, Subject, SubjectInfo, TimelineEntry};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use crate::queue::{Acceptance, NewEvent};

/// A check that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckRecord {
    /// Its id; told again under it, nothing changes.
    pub id: CheckId,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// What it came to.
    pub check: Check,
}

/// What is remembered of an endpoint beside its checks. Kept as one piece, except for the columns that are asked by.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointState {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Its checks in a row.
    pub streak: Streak,
    /// Its openings and resolutions of late.
    pub flap_history: FlapHistory,
    /// The last check that was judged.
    pub last_check: Option<Check>,
    /// Its active incident.
    pub incident_id: Option<IncidentId>,
    /// When an opening last passed, for each channel.
    pub openings: BTreeMap<ChannelId, Timestamp>,
    /// Rises by one with every write: a write of another revision than the next is a conflict.
    pub revision: u64,
}

impl EndpointState {
    /// Of an endpoint that was never checked. Its revision is that before the first write.
    pub fn new(endpoint_id: EndpointId) -> Self {
        Self {
            endpoint_id,
            streak: Streak::default(),
            flap_history: FlapHistory::default(),
            last_check: None,
            incident_id: None,
            openings: BTreeMap::new(),
            revision: 0,
        }
    }
}

/// An incident with what is remembered for its sake.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentRecord {
    /// The incident. What it counts as sent is kept by settlements, and left as it is by [`TransitionRecord`].
    pub incident: Incident,
    /// What it is about, as its events show it.
    pub subject_info: SubjectInfo,
    /// The steps of its escalation that are done, by their `afterSeconds`.
    pub escalations_done: Vec<u32>,
    /// How often it was said again.
    pub reminders: Reminders,
    /// When something is next to be looked at for its sake, if nothing happens before: a step of its escalation, a
    /// reminder, an opening to be said late.
    pub wake_at: Option<Timestamp>,
    /// Rises by one with every write: the first is 1, and a write of another revision than the next is a conflict.
    pub revision: u32,
}

/// What follows from something that was seen, written together: all of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct TransitionRecord {
    /// The check, if it was one.
    pub check: Option<CheckRecord>,
    /// The endpoint's state after it.
    pub state: Option<EndpointState>,
    /// The incident that is opened or that changes.
    pub incident: Option<IncidentRecord>,
    /// What is added to the timeline of that incident or, if none is written, of the one that the state names.
    pub timeline: Vec<TimelineEntry>,
    /// Mutes that end with it; those that are gone already do not matter.
    pub ended_mutes: Vec<MuteId>,
    /// The events that tell of it, with their deliveries. An event that was told already gets those of the deliveries
    /// that have a later sequence than 1, and is otherwise left as it is.
    pub events: Vec<NewEvent>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransitionOutcome {
    /// It is written; the answers to its events, in their order.
    Applied(Vec<Acceptance>),
    /// The check was told before: nothing was written.
    Duplicate,
}

/// A delivery of an incident's events, as what comes later needs to know it.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentDelivery {
    /// Its id.
    pub delivery_id: DeliveryId,
    /// Its event.
    pub event_id: EventId,
    /// What brought that about.
    pub trigger: Trigger,
    /// The rule that speaks.
    pub rule_id: Option<RuleId>,
    /// The channel.
    pub channel_id: ChannelId,
    /// Where it stands.
    pub status: Status,
    /// The last evaluation through the gates.
    pub evaluation: Option<GateEvaluation>,
    /// Until when it is held back, while it is.
    pub held_until: Option<Timestamp>,
    /// The digest that carries it.
    pub digest_id: Option<DeliveryId>,
    /// Which telling it is, from 1.
    pub sequence: u32,
    /// The suppressed one in whose place it is said.
    pub replaces_id: Option<DeliveryId>,
    /// What its last attempt left for what comes next, such as where the message stands.
    pub attempt_state: Option<String>,
}

/// Which incidents to list: newest first.
#[derive(Debug, Clone, Default)]
pub struct IncidentFilter {
    /// Only those that come after this one in the list.
    pub before: Option<IncidentId>,
    /// At most so many.
    pub limit: u32,
    /// Only those that stand so.
    pub status: Option<IncidentStatus>,
    /// Only those about this.
    pub subject: Option<Subject>,
    /// Only those opened at or after this instant.
    pub since: Option<Timestamp>,
    /// Only those opened before this instant.
    pub until: Option<Timestamp>,
}

/// Which checks of an endpoint to list: newest first.
#[derive(Debug, Clone, Default)]
pub struct CheckFilter {
    /// Only those that come after this one in the list.
    pub before: Option<CheckId>,
    /// At most so many.
    pub limit: u32,
    /// Only those that came to this.
    pub status: Option<CheckStatus>,
}
