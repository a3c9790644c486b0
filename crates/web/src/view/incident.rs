//! Incidents in responses.

use serde::Serialize;
use tidings_domain::id::{ChannelId, IncidentId};
use tidings_domain::incident::{SubjectField, TimelineEntry};
use tidings_domain::text::name_or_id;
use tidings_domain::time::Timestamp;
use tidings_store::monitoring::IncidentRecord;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Incident<'a> {
    id: IncidentId,
    resource_type: &'a str,
    resource_id: String,
    resource_name: String,
    url: Option<&'a str>,
    link: Option<&'a str>,
    status: &'a str,
    cause: &'a str,
    cause_detail: Option<&'a str>,
    severity: &'a str,
    started_at: Timestamp,
    failing_since: Timestamp,
    resolved_at: Option<Timestamp>,
    duration_ms: u64,
    acknowledged_at: Option<Timestamp>,
    acknowledged_by: Option<&'a str>,
    notifications_sent: u64,
    notified_channels: Vec<ChannelId>,
    fields: &'a [SubjectField],
    tags: &'a [String],
}

impl<'a> Incident<'a> {
    /// The incident; the duration of an active one ends at `now`.
    pub(crate) fn of(record: &'a IncidentRecord, now: Timestamp) -> Self {
        let (incident, info) = (&record.incident, &record.subject_info);
        let resource_id = incident.subject.resource_id();
        Self {
            id: incident.id,
            resource_type: incident.subject.resource_type().as_str(),
            resource_name: name_or_id(Some(&info.name), &resource_id).to_owned(),
            resource_id,
            url: info.url.as_deref(),
            link: info.link.as_deref(),
            status: incident.status().as_str(),
            cause: incident.cause.as_str(),
            cause_detail: incident.cause_detail.as_deref(),
            severity: incident.severity.as_str(),
            started_at: incident.started_at,
            failing_since: incident.failing_since,
            resolved_at: incident.resolved_at,
            // From the first failing check on, like the duration in notifications.
            duration_ms: incident.resolved_at.unwrap_or(now).since_ms(incident.failing_since),
            acknowledged_at: incident.acknowledged_at,
            acknowledged_by: incident.acknowledged_by.as_ref().map(|actor| &*actor.name),
            notifications_sent: incident.notifications_sent,
            notified_channels: record.notified.keys().copied().collect(),
            fields: &info.fields,
            tags: &info.tags,
        }
    }
}

/// An incident with its timeline, oldest entry first.
#[derive(Serialize)]
pub(crate) struct IncidentWithTimeline<'a> {
    #[serde(flatten)]
    pub(crate) incident: Incident<'a>,
    pub(crate) timeline: &'a [TimelineEntry],
}

/// The response to an acknowledgement.
#[derive(Serialize)]
pub(crate) struct Acknowledged<'a> {
    pub(crate) incident: Incident<'a>,
}
