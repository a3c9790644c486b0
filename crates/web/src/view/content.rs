//! What is known of what an event tells, as it is shown: the facts of a run, of an incident, or of a digest.

use serde::Serialize;
use serde_json::value::RawValue;
use tidings_domain::digest::{Digest, Entry};
use tidings_domain::event::{self, Event};
use tidings_domain::id::ChannelId;
use tidings_domain::incident::{IncidentSnapshot, SubjectField};
use tidings_domain::resource::ResourceType;
use tidings_domain::run::Run;
use tidings_domain::time::Timestamp;

/// What is known of it; which of them it is, the event's kind says.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Run(RunFacts<'a>),
    IncidentSnapshot(OutageFacts<'a>),
    Digest(DigestFacts<'a>),
}

impl<'a> Content<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        match &event.content {
            event::Content::Run(run) => Self::Run(RunFacts::of(run)),
            event::Content::Incident(outage) => Self::IncidentSnapshot(OutageFacts::of(event, outage)),
            event::Content::Digest(digest) => Self::Digest(DigestFacts::of(digest)),
        }
    }
}

/// What is known of a run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunFacts<'a> {
    trigger_type: Option<&'a str>,
    started_at: Option<Timestamp>,
    completed_at: Timestamp,
    duration_ms: Option<u64>,
    row_count: Option<u64>,
    error_message: Option<&'a str>,
    output: Option<&'a RawValue>,
    deep_link: Option<&'a str>,
}

impl<'a> RunFacts<'a> {
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
        }
    }
}

/// What is known of an incident, as it stood when the event was made. The names are those of a webhook's body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutageFacts<'a> {
    incident: IncidentFacts<'a>,
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
struct IncidentFacts<'a> {
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

impl<'a> OutageFacts<'a> {
    fn of(event: &'a Event, outage: &'a IncidentSnapshot) -> Self {
        let is_of_endpoint = event.resource_type == ResourceType::Endpoint;
        let endpoint = || EndpointContext { id: &event.resource_id, name: &outage.name, url: outage.url.as_deref() };
        Self {
            incident: IncidentFacts {
                id: &event.run_id,
                status: outage.status().as_str(),
                cause: outage.cause.as_str(),
                severity: outage.severity.as_str(),
                started_at: outage.started_at,
                failing_since: outage.failing_since,
                resolved_at: outage.resolved_at,
            },
            endpoint: is_of_endpoint.then(endpoint),
            detail: outage.detail.as_deref(),
            link: outage.link.as_deref(),
            actor: outage.actor.as_deref(),
            changes: outage.changes,
            escalates_to: outage.escalates_to,
            fields: &outage.fields,
            tags: &outage.tags,
            at: outage.at,
        }
    }
}

/// What a digest holds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DigestFacts<'a> {
    because: &'a str,
    entries: &'a [Entry],
    entries_total: u32,
    ongoing_total: u32,
}

impl<'a> DigestFacts<'a> {
    fn of(digest: &'a Digest) -> Self {
        let Digest { reason: because, entries, entries_total, ongoing_total, .. } = digest;
        Self { because, entries, entries_total: *entries_total, ongoing_total: *ongoing_total }
    }
}
