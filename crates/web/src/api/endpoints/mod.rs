//! `/endpoints`: monitored endpoints. Their rules for shared channels are in [`mod@wiring`], their checks and summaries in
//! [`mod@checks`], and tests of a definition that is not stored in [`mod@test`].

mod auth;
mod checks;
mod draft;
mod filter;
mod probe;
mod test;
mod wiring;

use http::StatusCode;
use tidings_domain::endpoint::{Definition, Probe, violations};
use tidings_domain::id::EndpointId;
use tidings_domain::text::is_blank;
use tidings_engine::EngineError;
use tidings_engine::settings::endpoints::EndpointDraft;
use tidings_monitor::Prober;

use crate::auth::{Authorized, PathId, Read, Write};
use crate::body::Object;
use crate::fields::Fields;
use crate::query::Query;
use crate::response::{ApiResult, no_content, ok};
use crate::revision::{self, IfMatch};
use crate::view::endpoint::{self, EndpointWithState};
use tidings_app::Expected;

pub(super) use checks::{list as checks, report as report_check, summaries};
pub(super) use test::test;
pub(super) use wiring::{rewire, wiring};

/// Endpoints, newest first.
pub(super) async fn list(caller: Authorized<Read>, mut query: Query) -> ApiResult {
    let page = query.page();
    let filter = filter::Filter::read(&mut query);
    let filter = query.finish(|| Some(filter))?;
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let mut matching = Vec::new();
    for loaded in engine.endpoints(workspace_id)?.into_iter().rev() {
        let id = loaded.endpoint.id;
        if page.before.is_some_and(|before| id >= before) || !filter.matches(&loaded.endpoint) {
            continue;
        }
        // Only now: the state is read from the store.
        let endpoint = EndpointWithState::new(loaded.endpoint.clone(), engine.endpoint_state(workspace_id, id).await);
        if filter.matches_status(endpoint.status()) {
            matching.push(endpoint);
        }
        if matching.len() >= page.fetch_limit() as usize {
            break;
        }
    }
    ok(&page.of(&matching, |endpoint| endpoint.endpoint.id, endpoint::Endpoint::of))
}

/// One endpoint, with its uptime of the last 24 hours and 30 days.
pub(super) async fn one(caller: Authorized<Read>, PathId(id): PathId<EndpointId>) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let loaded = engine.endpoint(workspace_id, id)?;
    let uptime = checks::uptime(engine, workspace_id, id, caller.now()).await?;
    let endpoint = EndpointWithState::new(loaded.endpoint.clone(), engine.endpoint_state(workspace_id, id).await);
    Ok(endpoint::response(&endpoint, uptime))
}

/// Creates an endpoint.
pub(super) async fn create(caller: Authorized<Write>, object: Object) -> ApiResult {
    let draft = draft::new(object).map_err(EngineError::Invalid)?;
    ensure_probe_supported(caller.prober(), &draft.definition)?;
    let created = caller.engine().create_endpoint(caller.workspace_id(), draft).await?;
    write_response(&caller, StatusCode::CREATED, created).await
}

/// Edits an endpoint.
pub(super) async fn edit(
    caller: Authorized<Write>,
    PathId(id): PathId<EndpointId>,
    IfMatch(expected): IfMatch,
    Object(object): Object,
) -> ApiResult {
    let prober = caller.prober();
    let edit = |before: EndpointDraft| {
        let probe = before.definition.probe.clone();
        let draft = draft::merged(Object(object.clone()), before).map_err(EngineError::Invalid)?;
        // Only if the probe changes: the operator may have forbidden the target since, and such an endpoint must still be
        // editable.
        if draft.definition.probe != probe {
            ensure_probe_supported(prober, &draft.definition)?;
        }
        Ok(draft)
    };
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let expected = revision::at(&expected, engine.endpoint(workspace_id, id)?.endpoint.revision)?;
    let edited = engine.edit_endpoint(workspace_id, id, expected, edit).await?;
    write_response(&caller, StatusCode::OK, edited).await
}

/// Deletes an endpoint with its checks and rules.
pub(super) async fn delete(
    caller: Authorized<Write>,
    PathId(id): PathId<EndpointId>,
    IfMatch(expected): IfMatch,
) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let expected = revision::at(&expected, engine.endpoint(workspace_id, id)?.endpoint.revision)?;
    engine.delete_endpoint(workspace_id, id, expected).await?;
    no_content()
}

/// Creates a copy of an endpoint, with rules for the same shared channels.
pub(super) async fn clone(
    caller: Authorized<Write>,
    PathId(id): PathId<EndpointId>,
    object: Option<Object>,
) -> ApiResult {
    let name = match object {
        None => None,
        Some(object) => {
            let mut fields = Fields::null_as_absent(object);
            // Blank is as good as absent: there is a default.
            let name = fields.text("name").filter(|name| !is_blank(name));
            fields.finish(|| Some(name))?
        }
    };
    let created = caller.engine().clone_endpoint(caller.workspace_id(), id, name).await?;
    write_response(&caller, StatusCode::CREATED, created).await
}

/// Pauses monitoring.
pub(super) async fn pause(
    caller: Authorized<Write>,
    PathId(id): PathId<EndpointId>,
    IfMatch(expected): IfMatch,
) -> ApiResult {
    set_enabled(caller, id, expected, false).await
}

/// Resumes monitoring.
pub(super) async fn resume(
    caller: Authorized<Write>,
    PathId(id): PathId<EndpointId>,
    IfMatch(expected): IfMatch,
) -> ApiResult {
    set_enabled(caller, id, expected, true).await
}

async fn set_enabled(caller: Authorized<Write>, id: EndpointId, expected: Expected, enabled: bool) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let loaded = engine.endpoint(workspace_id, id)?;
    let expected = revision::at(&expected, loaded.endpoint.revision)?;
    // Idempotent: no new revision where nothing changes.
    let endpoint = if loaded.endpoint.enabled == enabled {
        loaded.endpoint.clone()
    } else {
        engine.edit_endpoint(workspace_id, id, expected, |draft| Ok(EndpointDraft { enabled, ..draft })).await?
    };
    write_response(&caller, StatusCode::OK, endpoint).await
}

async fn write_response(
    caller: &Authorized<Write>,
    status: StatusCode,
    endpoint: tidings_domain::endpoint::Endpoint,
) -> ApiResult {
    let state = caller.engine().endpoint_state(caller.workspace_id(), endpoint.id).await;
    Ok(endpoint::write_response(status, &EndpointWithState::new(endpoint, state)))
}

/// Checks that the prober may reach the target. An invalid definition passes: the engine reports all its violations.
fn ensure_probe_supported(prober: &Prober, definition: &Definition) -> Result<(), EngineError> {
    let is_valid = violations(definition, None, 1).is_empty();
    match prober.check(&definition.probe) {
        Err(why) if is_valid => {
            let pointer = if matches!(definition.probe, Probe::Http(_)) { "/url" } else { "/host" };
            Err(EngineError::invalid(pointer, why))
        }
        _ => Ok(()),
    }
}
