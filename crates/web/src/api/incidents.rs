//! `/incidents`: incidents of endpoints and alerts, and their acknowledgement.

use serde_json::Value;
use tidings_app::Acknowledge;
use tidings_domain::audit::{AuditChange, AuditChanges, AuditTarget, AuditVerb};
use tidings_domain::id::IncidentId;
use tidings_domain::incident::{IncidentStatus, Subject};
use tidings_domain::resource::ResourceType;
use tidings_store::monitoring::IncidentFilter;

use crate::auth::{Authorized, PathId, Read};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::problem::Problem;
use crate::query::Query;
use crate::response::{ApiResult, ok};
use crate::view::incident::{Acknowledged, Incident, IncidentWithTimeline};

use super::events::resource_id;

const NOTE_CHARS_MAX: usize = 1_000;

/// Incidents, newest first.
pub(super) async fn list(caller: Authorized<Read>, query: Query) -> ApiResult {
    let mut query = query.with_alias("endpoint", "endpointId").with_alias("resourceId", "resource");
    let page = query.page();
    let mut filter = IncidentFilter { before: page.before, limit: page.fetch_limit(), ..IncidentFilter::default() };
    let statuses = [IncidentStatus::Active, IncidentStatus::Resolved].map(IncidentStatus::as_str);
    filter.status = query.parsed("status", &one_of(statuses), IncidentStatus::parse);
    filter.since = query.instant("since");
    filter.until = query.instant("until");
    let endpoint = query.id("endpoint").map(Subject::Endpoint);
    let types = [ResourceType::Endpoint, ResourceType::Alert];
    let named = |word: &str| types.into_iter().find(|kind| kind.as_str() == word);
    let kind = query.parsed("resourceType", &one_of(types.map(ResourceType::as_str)), named);
    let id = resource_id(&mut query);
    if kind.is_some() || id.is_some() {
        query.required("resourceType", kind);
        query.required("resourceId", id.as_ref());
    }
    let resource = kind.zip(id);
    let (filter, endpoint, resource) = query.finish(|| Some((filter, endpoint, resource)))?;
    // A `resourceId` that is no endpoint id matches nothing, and neither do two different subjects: an empty page.
    let named = resource.map(|(kind, id)| Subject::parse(kind, &id));
    let subject = match (endpoint, named) {
        (None, None) => None,
        (Some(subject), None) | (None, Some(Some(subject))) => Some(subject),
        (Some(one), Some(Some(other))) if one == other => Some(one),
        _ => return ok(&page.of(&[], |incident: &IncidentId| *incident, |incident| *incident)),
    };
    let filter = IncidentFilter { subject, ..filter };
    let records = caller.engine().list_incidents(caller.workspace_id(), filter).await?;
    let now = caller.now();
    ok(&page.of(&records, |record| record.incident.id, |record| Incident::of(record, now)))
}

/// One incident, with its timeline.
pub(super) async fn one(caller: Authorized<Read>, PathId(id): PathId<IncidentId>) -> ApiResult {
    let (record, timeline) = caller.engine().incident(caller.workspace_id(), id).await?;
    ok(&IncidentWithTimeline { incident: Incident::of(&record, caller.now()), timeline: &timeline })
}

/// Acknowledges the incident, which stops its escalation and its reminders.
pub(super) async fn acknowledge(
    caller: Authorized<Acknowledge>,
    PathId(id): PathId<IncidentId>,
    object: Option<Object>,
) -> ApiResult {
    let note = object.map(note).transpose()?.flatten();
    let mut changes = AuditChanges::new();
    if let Some(note) = &note {
        changes.insert("note".into(), AuditChange { before: Value::Null, after: note.as_str().into() });
    }
    let action = AuditTarget::Incident.action(AuditVerb::Acknowledged);
    let entry = caller.audit_entry(action, Some(id.to_string()), None, changes, caller.now());
    let actor = caller.actor().clone();
    let record = caller.engine().acknowledge(caller.workspace_id(), id, actor, note, Some(entry)).await?;
    ok(&Acknowledged { incident: Incident::of(&record, caller.now()) })
}

fn note(object: Object) -> Result<Option<String>, Problem> {
    let mut fields = Fields::null_as_absent(object);
    let note = fields.string_matching("note", |text| {
        if text.chars().count() > NOTE_CHARS_MAX {
            Some("must be at most 1,000 characters")
        } else if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            Some("must not hold control characters other than tabs and line breaks")
        } else {
            None
        }
    });
    fields.finish(|| Some(note.filter(|note| !note.trim().is_empty())))
}
