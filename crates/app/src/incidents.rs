//! `/incidents`: outages of endpoints and alerts, and their acknowledgement.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_domain::audit::{AuditChange, AuditChanges, AuditTarget, AuditVerb};
use tidings_domain::id::{ChannelId, EndpointId, IncidentId};
use tidings_domain::incident::{Cause, IncidentStatus, Subject, SubjectField, TimelineEntry};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::text::name_or_id;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violation;
use tidings_store::monitoring::{IncidentFilter, IncidentRecord};
use utoipa::ToSchema;

use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::page::{Page, PageQuery};
use crate::principal::{Acknowledge, Authorized, Read};
use crate::response::Response;

/// An incident.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    pub id: IncidentId,
    /// `endpoint`, or `alert` for one that another system reported.
    pub resource_type: ResourceType,
    /// The endpoint's id, or the alert's own.
    pub resource_id: String,
    pub resource_name: String,
    /// What the endpoint probes.
    pub url: Option<String>,
    /// A page about the alert, as its source gave it.
    pub link: Option<String>,
    pub status: IncidentStatus,
    pub cause: Cause,
    pub cause_detail: Option<String>,
    pub severity: Severity,
    /// When it was opened.
    pub started_at: Timestamp,
    /// The first failing check.
    pub failing_since: Timestamp,
    pub resolved_at: Option<Timestamp>,
    /// From the first failing check to the resolution, or until now.
    pub duration_ms: u64,
    pub acknowledged_at: Option<Timestamp>,
    /// The name of who acknowledged it.
    pub acknowledged_by: Option<String>,
    /// Deliveries about it that were sent.
    pub notifications_sent: u64,
    /// The channels through which any of them was sent.
    pub notified_channels: Vec<ChannelId>,
    /// Facts from the alert's source, such as its labels.
    pub fields: Vec<SubjectField>,
    pub tags: Vec<String>,
}

/// An incident with its timeline.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct IncidentWithTimeline {
    #[serde(flatten)]
    pub incident: Incident,
    /// Oldest entry first.
    pub timeline: Vec<TimelineEntry>,
}

/// Which incidents to list.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncidentQuery {
    pub status: Option<IncidentStatus>,
    /// Only those of this endpoint.
    pub endpoint: Option<EndpointId>,
    /// The same as `endpoint`.
    pub endpoint_id: Option<EndpointId>,
    /// Only those of one resource; with `resourceId`.
    pub resource_type: Option<IncidentResourceType>,
    /// With `resourceType`.
    #[schema(min_length = 1, max_length = 200)]
    pub resource_id: Option<String>,
    /// The same as `resourceId`.
    #[schema(min_length = 1, max_length = 200)]
    pub resource: Option<String>,
    /// Only those opened at or after this instant.
    pub since: Option<Timestamp>,
    /// Only those opened before this instant.
    pub until: Option<Timestamp>,
    #[serde(flatten)]
    pub page: PageQuery,
}

/// A type of resources that have incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentResourceType {
    Endpoint,
    Alert,
}

/// What to note about an acknowledgement.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Acknowledgement {
    /// For the timeline.
    #[schema(max_length = 1_000)]
    pub note: Option<String>,
}

/// An incident that was acknowledged.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentSaved {
    pub incident: Incident,
}

impl Response for IncidentWithTimeline {}

impl Response for IncidentSaved {}

impl Incident {
    /// The incident; the duration of an active one ends at `now`.
    pub fn of(record: &IncidentRecord, now: Timestamp) -> Self {
        let (incident, info) = (&record.incident, &record.subject_info);
        let resource_id = incident.subject.resource_id();
        Self {
            id: incident.id,
            resource_type: incident.subject.resource_type(),
            resource_name: name_or_id(Some(&info.name), &resource_id).to_owned(),
            resource_id,
            url: info.url.clone(),
            link: info.link.clone(),
            status: incident.status(),
            cause: incident.cause,
            cause_detail: incident.cause_detail.clone(),
            severity: incident.severity,
            started_at: incident.started_at,
            failing_since: incident.failing_since,
            resolved_at: incident.resolved_at,
            // From the first failing check on, like the duration in notifications.
            duration_ms: incident.resolved_at.unwrap_or(now).since_ms(incident.failing_since),
            acknowledged_at: incident.acknowledged_at,
            acknowledged_by: incident.acknowledged_by.as_ref().map(|actor| actor.name.clone()),
            notifications_sent: incident.notifications_sent,
            notified_channels: record.notified.keys().copied().collect(),
            fields: info.fields.clone(),
            tags: info.tags.clone(),
        }
    }
}

/// What a query says about the subject.
enum Wanted {
    Any,
    One(Subject),
    /// No incident is about what it names: a resource of another kind, or two different ones.
    Nothing,
}

/// Incidents, newest first.
///
/// # Errors
/// [`AppError::Invalid`], and those of the store.
pub async fn list(by: &Authorized<Read>, query: &IncidentQuery) -> Result<Page<Incident>> {
    let wanted = wanted(query)?;
    let subject = match wanted {
        Wanted::Any => None,
        Wanted::One(subject) => Some(subject),
        Wanted::Nothing => return Ok(Page::complete(Vec::new())),
    };
    let filter = IncidentFilter {
        before: query.page.before()?,
        limit: query.page.fetch_limit(),
        status: query.status,
        subject,
        since: query.since,
        until: query.until,
        ..IncidentFilter::default()
    };
    let records = by.engine().list_incidents(by.workspace_id(), filter).await?;
    let now = by.now();
    Ok(query.page.page(&records, |record| record.incident.id, |record| Incident::of(record, now)))
}

fn wanted(query: &IncidentQuery) -> Result<Wanted> {
    let mut violations = Vec::new();
    let endpoint = query.endpoint.or(query.endpoint_id).map(Subject::Endpoint);
    let id = query.resource_id.as_ref().or(query.resource.as_ref());
    for (pointer, is_repeated) in [
        ("/endpoint", query.endpoint.is_some() && query.endpoint_id.is_some()),
        ("/resourceId", query.resource_id.is_some() && query.resource.is_some()),
    ] {
        if is_repeated {
            violations.push(Violation::new(pointer, "must not be repeated"));
        }
    }
    let named = match (query.resource_type, id) {
        (None, None) => None,
        (Some(kind), Some(id)) => {
            let kind = match kind {
                IncidentResourceType::Endpoint => ResourceType::Endpoint,
                IncidentResourceType::Alert => ResourceType::Alert,
            };
            // An id of another form than that of endpoints matches nothing.
            Some(Subject::parse(kind, id))
        }
        (kind, _) => {
            let missing = if kind.is_none() { "/resourceType" } else { "/resourceId" };
            violations.push(Violation::new(missing, "is required in the query"));
            None
        }
    };
    if !violations.is_empty() {
        return Err(AppError::Invalid(violations));
    }
    Ok(match (endpoint, named) {
        (None, None) => Wanted::Any,
        (Some(subject), None) | (None, Some(Some(subject))) => Wanted::One(subject),
        (Some(one), Some(Some(other))) if one == other => Wanted::One(one),
        _ => Wanted::Nothing,
    })
}

/// One incident, with its timeline.
///
/// # Errors
/// If there is no such incident.
pub async fn one(by: &Authorized<Read>, id: IncidentId) -> Result<IncidentWithTimeline> {
    let (record, timeline) = by.engine().incident(by.workspace_id(), id).await?;
    Ok(IncidentWithTimeline { incident: Incident::of(&record, by.now()), timeline })
}

/// Acknowledges an incident, which stops its escalation and its reminders.
///
/// # Errors
/// [`AppError::Invalid`], if there is no such incident, and if it is resolved.
pub async fn acknowledge(
    by: &Authorized<Acknowledge>,
    id: IncidentId,
    mut input: Input<Acknowledgement>,
) -> Result<IncidentSaved> {
    let has_control = |text: &str| text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    if input.value.note.as_deref().is_some_and(has_control) {
        input.refuse_field("/note", "must not hold control characters other than tabs and line breaks");
    }
    let note = input.finish()?.note.filter(|note| !note.trim().is_empty());
    let mut changes = AuditChanges::new();
    if let Some(note) = &note {
        changes.insert("note".into(), AuditChange { before: Value::Null, after: note.as_str().into() });
    }
    let action = AuditTarget::Incident.action(AuditVerb::Acknowledged);
    let entry = by.audit_entry(action, Some(id.to_string()), None, changes, by.now());
    let record = by.engine().acknowledge(by.workspace_id(), id, by.actor().clone(), note, Some(entry)).await?;
    Ok(IncidentSaved { incident: Incident::of(&record, by.now()) })
}
