//! `/incidents`: what is or was out of order, and taking it on.

use tidings_domain::id::IncidentId;
use tidings_domain::incident::{IncidentStatus, Subject};
use tidings_domain::resource::ResourceType;
use tidings_store::monitoring::IncidentFilter;

use crate::answer::{Answer, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::problem::Problem;
use crate::query::Query;
use crate::view::incident::{Acknowledged, Incident, IncidentWithTimeline};

use super::events::resource_id;

/// Longest note, in characters.
const NOTE_CHARS_MAX: usize = 1_000;

/// Incidents, newest first.
pub(super) async fn list(reader: Reader, query: Query) -> Answer {
    let mut query = query.spelled_also("endpoint", "endpointId").spelled_also("resourceId", "resource");
    let page = query.page();
    let mut filter = IncidentFilter { before: page.before, limit: page.wanted(), ..IncidentFilter::default() };
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
    // What has not an endpoint's id is no endpoint, and has no incidents.
    let named = resource.map(|(kind, id)| Subject::parse(kind, &id));
    let subject = match (endpoint, named) {
        (None, None) => None,
        (Some(subject), None) | (None, Some(Some(subject))) => Some(subject),
        (Some(one), Some(Some(other))) if one == other => Some(one),
        _ => return ok(&page.of(&[], |incident: &IncidentId| *incident, |incident| *incident)),
    };
    let filter = IncidentFilter { subject, ..filter };
    let records = reader.engine().list_incidents(reader.workspace_id(), filter).await?;
    let now = reader.now();
    ok(&page.of(&records, |record| record.incident.id, |record| Incident::of(record, now)))
}

/// One incident, with its timeline.
pub(super) async fn one(reader: Reader, PathId(id): PathId<IncidentId>) -> Answer {
    let (record, timeline) = reader.engine().incident(reader.workspace_id(), id).await?;
    ok(&IncidentWithTimeline { incident: Incident::of(&record, reader.now()), timeline: &timeline })
}

/// Takes it on: its escalation and its reminders stop.
pub(super) async fn acknowledge(writer: Writer, PathId(id): PathId<IncidentId>, object: Option<Object>) -> Answer {
    let note = object.map(note).transpose()?.flatten();
    let by = writer.by().to_owned();
    let record = writer.engine().acknowledge(writer.workspace_id(), id, by, note).await?;
    ok(&Acknowledged { incident: Incident::of(&record, writer.now()) })
}

fn note(object: Object) -> Result<Option<String>, Problem> {
    let mut fields = Fields::where_null_is_absent(object);
    let note = fields.text_where("note", |text| {
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
