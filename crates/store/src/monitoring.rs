//! Rows of monitoring: checks, endpoint states, incidents with their timelines, and the transitions that write them.

use std::collections::BTreeMap;

use tidings_domain::audit::AuditEntry;
use tidings_domain::check::{Check, CheckStatus};
use tidings_domain::delivery::Status;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, CheckId, DeliveryId, EndpointId, EventId, IncidentId, MuteId, RuleId};
use tidings_domain::incident::flapping::FlapHistory;
use tidings_domain::incident::reminders::Reminders;
use tidings_domain::incident::streak::Streak;
use tidings_domain::incident::{Incident, IncidentStatus, Notified, Subject, SubjectInfo, TimelineEntry};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use crate::queue::{Acceptance, NewEvent};

/// A check of an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckRecord {
    /// Makes recording idempotent: a second check of the endpoint with this id is a duplicate.
    pub id: CheckId,
    pub endpoint_id: EndpointId,
    pub check: Check,
}

/// The state of an endpoint, replaced as a whole with every check.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointState {
    pub endpoint_id: EndpointId,
    pub streak: Streak,
    /// Its recent openings and resolutions.
    pub flap_history: FlapHistory,
    /// The last check that was evaluated.
    pub last_check: Option<Check>,
    /// Its active incident.
    pub incident_id: Option<IncidentId>,
    /// For each channel, when an opening last passed its gates (cooldown).
    pub last_openings: BTreeMap<ChannelId, Timestamp>,
    /// Starts at 1 and increases by one with every write. Any other revision than the next is a conflict.
    pub revision: u64,
}

impl EndpointState {
    /// The state of an endpoint that was never checked; its revision is the one before the first write.
    pub fn new(endpoint_id: EndpointId) -> Self {
        Self {
            endpoint_id,
            streak: Streak::default(),
            flap_history: FlapHistory::default(),
            last_check: None,
            incident_id: None,
            last_openings: BTreeMap::new(),
            revision: 0,
        }
    }
}

/// An incident with the state of its notifications.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentRecord {
    /// Its `notifications_sent` is read only: settlements write it, transitions leave it unchanged.
    pub incident: Incident,
    /// The subject as events present it.
    pub subject_info: SubjectInfo,
    /// The escalation steps that are done, by their `afterSeconds`.
    pub escalations_done: Vec<u32>,
    pub reminders: Reminders,
    /// When its next timer is due: an escalation step, a reminder or a deferred opening; of a resolved incident a deferred
    /// resolution.
    pub wake_at: Option<Timestamp>,
    /// The channels that were notified of it. Read only: settlements write it, transitions leave it unchanged.
    pub notified: Notified,
    /// Of an alert: the earliest start of its episode by the clock of its source, which may be ahead.
    pub episode_started_at: Option<Timestamp>,
    /// Starts at 1 and increases by one with every write. Any other revision than the next is a conflict.
    pub revision: u32,
}

/// Everything that follows from one check, alert or timer: written together or not at all.
#[derive(Debug, Clone, Default)]
pub struct TransitionRecord {
    /// The check that caused it, if it was one.
    pub check: Option<CheckRecord>,
    /// The endpoint's state after it.
    pub endpoint_state: Option<EndpointState>,
    /// The incident that is opened or changed. A resolved one may be that of an endpoint that was deleted.
    pub incident: Option<IncidentRecord>,
    /// The end of an alert's episode, unless a later one is known.
    pub episode_end: Option<EpisodeEnd>,
    /// Entries for the timeline of `incident` or, without one, of the incident that `state` names.
    pub timeline: Vec<TimelineEntry>,
    /// Mutes that end with the incident. Those that no longer exist are ignored.
    pub ended_mutes: Vec<(MuteId, Timestamp)>,
    /// The incident's events with their deliveries. A duplicate event is extended by those of its deliveries whose
    /// sequence is later than 1 (deferred notifications), which keep the content of this event, and is otherwise left
    /// unchanged.
    pub events: Vec<NewEvent>,
    /// Entries of the audit log, if a person caused it.
    pub audit: Vec<AuditEntry>,
}

/// The end of an episode of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpisodeEnd {
    /// The alert.
    pub resource_id: String,
    /// By the clock of its source.
    pub at: Timestamp,
}

/// The result of a transition that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransitionOutcome {
    /// It was written; the answers to its events, in order.
    Applied(Vec<Acceptance>),
    /// The check was recorded before: nothing was written.
    Duplicate,
}

/// A delivery of an incident's event, as decisions about later events need it.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentDelivery {
    pub delivery_id: DeliveryId,
    pub event_id: EventId,
    /// The event's trigger.
    pub trigger: Trigger,
    pub rule_id: Option<RuleId>,
    pub channel_id: ChannelId,
    pub status: Status,
    /// The last gate evaluation.
    pub evaluation: Option<GateEvaluation>,
    /// Set while it is held and in no digest.
    pub held_until: Option<Timestamp>,
    /// The digest that it is a member of.
    pub digest_id: Option<DeliveryId>,
    /// See [`crate::queue::NewDelivery::sequence`].
    pub sequence: u32,
    /// See [`crate::queue::NewDelivery::replaces_id`].
    pub replaces_id: Option<DeliveryId>,
    /// What the channel keeps between attempts, such as the id of the sent message.
    pub attempt_state: Option<String>,
}

/// Which incidents to list.
#[derive(Debug, Clone, Default)]
pub struct IncidentFilter {
    /// Only those after this one in the list (pagination).
    pub before: Option<IncidentId>,
    pub limit: u32,
    pub status: Option<IncidentStatus>,
    pub subject: Option<Subject>,
    /// Only those with a wake-up.
    pub has_wake_up: bool,
    /// Only those opened at or after this instant.
    pub since: Option<Timestamp>,
    /// Only those opened before this instant.
    pub until: Option<Timestamp>,
}

/// Which checks of an endpoint to list.
#[derive(Debug, Clone, Default)]
pub struct CheckFilter {
    /// Only those after this one in the list (pagination).
    pub before: Option<CheckId>,
    pub limit: u32,
    pub status: Option<CheckStatus>,
}
