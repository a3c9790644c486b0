//! `/events`: accepted events and their deliveries.

use tidings_domain::event::EventKind;
use tidings_domain::id::EventId;
use tidings_domain::resource::{ResourceType, validate_external_id};
use tidings_domain::trigger::Trigger;
use tidings_store::history::EventFilter;

use crate::auth::{Authorized, PathId, Read};
use crate::fields::one_of;
use crate::query::Query;
use crate::response::{ApiResult, ok};
use crate::view::event::{Event, EventWithDeliveries};

/// Events, newest first.
pub(super) async fn list(caller: Authorized<Read>, mut query: Query) -> ApiResult {
    let page = query.search_page();
    let mut filter = EventFilter {
        before: page.before,
        searched_until: page.searched_until,
        limit: page.fetch_limit(),
        ..Default::default()
    };
    resource_filter(&mut query, &mut filter.resource_type, &mut filter.resource_id);
    filter.trigger = trigger_filter(&mut query);
    filter.kind = kind_filter(&mut query);
    // Tests and digests have no trigger, but are stored with that of a run.
    filter.runs_only = filter.trigger.is_some_and(|trigger| Trigger::OF_RUNS.contains(&trigger));
    let filter = query.finish(|| Some(filter))?;
    let records = caller.engine().events(caller.workspace_id(), filter).await?;
    ok(&page.of(&records, |record| record.event.id, Event::of))
}

/// One event, with each of its deliveries.
pub(super) async fn one(caller: Authorized<Read>, PathId(id): PathId<EventId>) -> ApiResult {
    let (event, deliveries) = caller.engine().event(caller.workspace_id(), id).await?;
    ok(&EventWithDeliveries::of(&event, &deliveries))
}

/// `resourceId`.
pub(super) fn resource_id(query: &mut Query) -> Option<String> {
    query.parsed("resourceId", "must be a resource's id: 1 to 200 bytes without control characters", |id| {
        validate_external_id(id).is_none().then(|| id.to_owned())
    })
}

/// `resourceType` and `resourceId`, both optional. Includes the type of channel tests, which rules cannot have.
pub(super) fn resource_filter(query: &mut Query, kind: &mut Option<ResourceType>, id: &mut Option<String>) {
    *kind = query.parsed("resourceType", &one_of(ResourceType::ALL.map(ResourceType::as_str)), ResourceType::parse);
    *id = resource_id(query);
}

/// `trigger`, with its parameter, such as `escalated:900`.
fn trigger_filter(query: &mut Query) -> Option<Trigger> {
    let expected = "must be success, failure, opened, worsened, escalated:<seconds>, reminder:<number>, flapping, stable or resolved";
    query.parsed("trigger", expected, Trigger::parse)
}

pub(super) fn kind_filter(query: &mut Query) -> Option<EventKind> {
    query.parsed("kind", &one_of(EventKind::ALL.map(EventKind::as_str)), EventKind::parse)
}
