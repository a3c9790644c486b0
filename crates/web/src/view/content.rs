//! The content of an event in responses: of a run, an incident or a digest.

use serde::Serialize;
use serde_json::value::RawValue;
use tidings_domain::digest::{Digest, Entry};
use tidings_domain::event::{self, Event};
use tidings_domain::id::ChannelId;
use tidings_domain::incident::{IncidentSnapshot, SubjectField};
use tidings_domain::resource::ResourceType;
use tidings_domain::run::{Run, TruncatedField};
use tidings_domain::time::Timestamp;

/// The content; which variant it is follows from the `kind` of the event.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Run(RunContent<'a>),
    Incident(IncidentContent<'a>),
    Digest(DigestContent<'a>),
}

impl<'a> Content<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        match &event.content {
            event::Content::Run(run) => Self::Run(RunContent::of(run)),
            event::Content::Incident(snapshot) => Self::Incident(IncidentContent::of(event, snapshot)),
            event::Content::Digest(digest) => Self::Digest(DigestContent::of(digest)),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunContent<'a> {
    trigger_type: Option<&'a str>,
    started_at: Option<Timestamp>,
    completed_at: Timestamp,
    duration_ms: Option<u64>,
    row_count: Option<u64>,
    error_message: Option<&'a str>,
    output: Option<&'a RawValue>,
    deep_link: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    truncated: &'a [TruncatedField],
}

impl<'a> RunContent<'a> {
    fn of(run: &'a Run) -> Self {
        Self {
            trigger_type: run.trigger_type.as_ref().map(|how| how.as_str()),
            started_at: run.started_at,
            completed_at: run.completed_at,
            duration_ms: run.duration_ms,
            row_count: run.row_count,
            error_message: run.error_message.as_deref(),
            output: run.output.as_deref(),
            deep_link: run.deep_link.as_deref(),
            truncated: &run.truncated,
        }
    }
}

/// The incident at the time of the event, with the field names of webhook bodies.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IncidentContent<'a> {
    incident: IncidentSummary<'a>,
    endpoint: Option<EndpointContext<'a>>,
    detail: Option<&'a str>,
    link: Option<&'a str>,
    actor: Option<&'a str>,
    changes: Option<u32>,
    escalates_to: Option<ChannelId>,
    fields: &'a [SubjectField],
    tags: &'a [String],
    at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IncidentSummary<'a> {
    id: &'a str,
    status: &'a str,
    cause: &'a str,
    severity: &'a str,
    started_at: Timestamp,
    failing_since: Timestamp,
    resolved_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct EndpointContext<'a> {
    id: &'a str,
    name: &'a str,
    url: Option<&'a str>,
}

impl<'a> IncidentContent<'a> {
    fn of(event: &'a Event, snapshot: &'a IncidentSnapshot) -> Self {
        let is_of_endpoint = event.resource_type == ResourceType::Endpoint;
        let endpoint =
            || EndpointContext { id: &event.resource_id, name: &snapshot.name, url: snapshot.url.as_deref() };
        Self {
            incident: IncidentSummary {
                id: &event.run_id,
                status: snapshot.status().as_str(),
                cause: snapshot.cause.as_str(),
                severity: snapshot.severity.as_str(),
                started_at: snapshot.started_at,
                failing_since: snapshot.failing_since,
                resolved_at: snapshot.resolved_at,
            },
            endpoint: is_of_endpoint.then(endpoint),
            detail: snapshot.detail.as_deref(),
            link: snapshot.link.as_deref(),
            actor: snapshot.actor.as_deref(),
            changes: snapshot.flap_changes,
            escalates_to: snapshot.escalates_to,
            fields: &snapshot.fields,
            tags: &snapshot.tags,
            at: snapshot.at,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DigestContent<'a> {
    reason: &'a str,
    entries: &'a [Entry],
    entries_total: u32,
    ongoing_total: u32,
    one_off_total: u32,
    resolved_total: u32,
    notifications_total: u32,
}

impl<'a> DigestContent<'a> {
    fn of(digest: &'a Digest) -> Self {
        Self {
            reason: &digest.reason,
            entries: &digest.entries,
            entries_total: digest.entries_total,
            ongoing_total: digest.ongoing_total,
            one_off_total: digest.one_off_total,
            resolved_total: digest.resolved_total,
            notifications_total: digest.notifications_total,
        }
    }
}
