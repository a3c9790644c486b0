//! The content of an event: of a run, an incident or a digest.

use serde::Serialize;
use serde_json::value::RawValue;
use tidings_domain::digest::{self, Digest, EntryState};
use tidings_domain::event::{self, Event};
use tidings_domain::id::{ChannelId, EventId};
use tidings_domain::incident::{Cause, IncidentSnapshot, IncidentStatus, SubjectField};
use tidings_domain::resource::ResourceType;
use tidings_domain::run::{Run, TruncatedField};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// What happened; which variant it is follows from the `kind` of the event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EventContent {
    Run(RunContent),
    Incident(Box<IncidentContent>),
    Digest(DigestContent),
}

impl EventContent {
    pub(super) fn of(event: &Event) -> Self {
        match &event.content {
            event::Content::Run(run) => Self::Run(RunContent::of(run)),
            event::Content::Incident(snapshot) => Self::Incident(Box::new(IncidentContent::of(event, snapshot))),
            event::Content::Digest(digest) => Self::Digest(DigestContent::of(digest)),
        }
    }
}

/// A run as it was reported.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunContent {
    pub trigger_type: Option<String>,
    pub started_at: Option<Timestamp>,
    pub completed_at: Timestamp,
    pub duration_ms: Option<u64>,
    pub row_count: Option<u64>,
    pub error_message: Option<String>,
    #[schema(value_type = Value)]
    pub output: Option<Box<RawValue>>,
    pub deep_link: Option<String>,
    /// What was not kept in full. Absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub truncated: Vec<TruncatedField>,
}

impl RunContent {
    fn of(run: &Run) -> Self {
        Self {
            trigger_type: run.trigger_type.as_ref().map(|how| how.as_str().to_owned()),
            started_at: run.started_at,
            completed_at: run.completed_at,
            duration_ms: run.duration_ms,
            row_count: run.row_count,
            error_message: run.error_message.clone(),
            output: run.output.clone(),
            deep_link: run.deep_link.clone(),
            truncated: run.truncated.clone(),
        }
    }
}

/// An incident at the time of the event, with the field names of webhook bodies.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncidentContent {
    pub incident: IncidentSummary,
    /// Null for an alert.
    pub endpoint: Option<EndpointContext>,
    pub detail: Option<String>,
    pub link: Option<String>,
    /// Who caused it, where a person did.
    pub actor: Option<String>,
    /// Openings and resolutions of an endpoint that flaps.
    pub changes: Option<u32>,
    /// The channel of an escalation step that has no rule.
    pub escalates_to: Option<ChannelId>,
    /// Facts from the alert's source, such as its labels.
    pub fields: Vec<SubjectField>,
    pub tags: Vec<String>,
    pub at: Timestamp,
}

/// The state of an incident at the time of an event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncidentSummary {
    pub id: String,
    pub status: IncidentStatus,
    pub cause: Cause,
    pub severity: Severity,
    pub started_at: Timestamp,
    pub failing_since: Timestamp,
    pub resolved_at: Option<Timestamp>,
}

/// The endpoint of an incident at the time of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointContext {
    pub id: String,
    pub name: String,
    pub url: Option<String>,
}

impl IncidentContent {
    fn of(event: &Event, snapshot: &IncidentSnapshot) -> Self {
        let endpoint = || EndpointContext {
            id: event.resource_id.clone(),
            name: event.resource_label().to_owned(),
            url: snapshot.url.clone(),
        };
        Self {
            incident: IncidentSummary {
                id: event.run_id.clone(),
                status: snapshot.status(),
                cause: snapshot.cause,
                severity: snapshot.severity,
                started_at: snapshot.started_at,
                failing_since: snapshot.failing_since,
                resolved_at: snapshot.resolved_at,
            },
            endpoint: (event.resource_type == ResourceType::Endpoint).then(endpoint),
            detail: snapshot.detail.clone(),
            link: snapshot.link.clone(),
            actor: snapshot.actor.clone(),
            changes: snapshot.flap_changes,
            escalates_to: snapshot.escalates_to,
            fields: snapshot.fields.clone(),
            tags: snapshot.tags.clone(),
            at: snapshot.at,
        }
    }
}

/// Held deliveries that were sent together.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DigestContent {
    /// Why they were held.
    pub reason: String,
    /// What is ongoing first; long digests list a part.
    pub entries: Vec<DigestEntry>,
    /// All entries, also those that are not listed.
    pub entries_total: u32,
    pub ongoing_total: u32,
    pub one_off_total: u32,
    pub resolved_total: u32,
    /// The deliveries that it carries.
    pub notifications_total: u32,
}

/// An event of a digest, or an incident with all of its held events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DigestEntry {
    pub title: String,
    pub severity: Severity,
    pub state: EntryState,
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// How many held events it replaces.
    pub events: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<ResourceType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

impl DigestContent {
    fn of(digest: &Digest) -> Self {
        Self {
            reason: digest.reason.clone(),
            entries: digest.entries.iter().map(DigestEntry::of).collect(),
            entries_total: digest.entries_total,
            ongoing_total: digest.ongoing_total,
            one_off_total: digest.one_off_total,
            resolved_total: digest.resolved_total,
            notifications_total: digest.notifications_total,
        }
    }
}

impl DigestEntry {
    fn of(entry: &digest::Entry) -> Self {
        let source = entry.source.clone();
        Self {
            title: entry.title.clone(),
            severity: entry.severity,
            state: entry.state,
            at: entry.at,
            reason: entry.reason.clone(),
            link: entry.link.clone(),
            events: entry.events,
            event_id: source.as_ref().map(|source| source.event_id),
            resource_type: source.as_ref().map(|source| source.resource_type),
            resource_id: source.as_ref().map(|source| source.resource_id.clone()),
            run_id: source.map(|source| source.run_id),
        }
    }
}
