//! `/endpoints`: what is watched. Made, edited, cloned, paused; wired to channels ([`wiring`]), checked ([`checks`]), and
//! tested before anything of it is kept ([`test`]).

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
use tidings_engine::EngineError;
use tidings_engine::settings::endpoints::EndpointDraft;
use tidings_monitor::Prober;

use crate::answer::{Answer, no_content, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::fields::Fields;
use crate::query::Query;
use crate::revision::IfMatch;
use crate::view::endpoint::{self, Seen};

pub(super) use checks::{list as checks, report as report_check, summaries};
pub(super) use test::test;
pub(super) use wiring::{rewire, wiring};

/// Endpoints, newest first.
pub(super) async fn list(reader: Reader, mut query: Query) -> Answer {
    let page = query.page();
    let filter = filter::Filter::read(&mut query);
    let filter = query.finish(|| Some(filter))?;
    let (engine, workspace_id) = (reader.engine(), reader.workspace_id());
    let mut found = Vec::new();
    for live in engine.endpoints(workspace_id)?.into_iter().rev() {
        let id = live.endpoint.id;
        if page.before.is_some_and(|before| id >= before) || !filter.fits(&live.endpoint) {
            continue;
        }
        let seen = Seen::new(live.endpoint.clone(), engine.endpoint_state(workspace_id, id).await);
        if filter.fits_status(seen.status()) {
            found.push(seen);
        }
        if found.len() >= page.wanted() as usize {
            break;
        }
    }
    ok(&page.of(&found, |seen| seen.endpoint.id, endpoint::Endpoint::of))
}

/// One endpoint, with how much of the last day and month it was up.
pub(super) async fn one(reader: Reader, PathId(id): PathId<EndpointId>) -> Answer {
    let (engine, workspace_id) = (reader.engine(), reader.workspace_id());
    let live = engine.endpoint(workspace_id, id)?;
    let uptime = checks::uptime(engine, workspace_id, id, reader.now()).await?;
    let seen = Seen::new(live.endpoint.clone(), engine.endpoint_state(workspace_id, id).await);
    Ok(endpoint::shown(&seen, uptime))
}

/// Makes an endpoint.
pub(super) async fn create(writer: Writer, object: Object) -> Answer {
    let draft = draft::new(object).map_err(EngineError::Invalid)?;
    watchable(writer.prober(), &draft.definition)?;
    let made = writer.engine().create_endpoint(writer.workspace_id(), draft).await?;
    written(&writer, StatusCode::CREATED, made).await
}

/// Edits an endpoint.
pub(super) async fn edit(
    writer: Writer,
    PathId(id): PathId<EndpointId>,
    IfMatch(seen): IfMatch,
    Object(object): Object,
) -> Answer {
    let prober = writer.prober();
    let edit = |before: EndpointDraft| {
        let probe = before.definition.probe.clone();
        let draft = draft::merged(Object(object.clone()), before).map_err(EngineError::Invalid)?;
        // What may be watched is the operator's to change: an endpoint that was made before can still be renamed.
        if draft.definition.probe != probe {
            watchable(prober, &draft.definition)?;
        }
        Ok(draft)
    };
    let edited = writer.engine().edit_endpoint(writer.workspace_id(), id, seen, edit).await?;
    written(&writer, StatusCode::OK, edited).await
}

/// Deletes an endpoint, with its checks and the rules about it.
pub(super) async fn delete(writer: Writer, PathId(id): PathId<EndpointId>, IfMatch(seen): IfMatch) -> Answer {
    writer.engine().delete_endpoint(writer.workspace_id(), id, seen).await?;
    no_content()
}

/// Makes another endpoint like this one, wired to the same shared channels.
pub(super) async fn clone(writer: Writer, PathId(id): PathId<EndpointId>, object: Option<Object>) -> Answer {
    let name = match object {
        None => None,
        Some(object) => {
            let mut fields = Fields::where_null_is_absent(object);
            let name = fields.text("name");
            fields.finish(|| Some(name))?
        }
    };
    let made = writer.engine().clone_endpoint(writer.workspace_id(), id, name).await?;
    written(&writer, StatusCode::CREATED, made).await
}

/// Stops watching it for now.
pub(super) async fn pause(writer: Writer, PathId(id): PathId<EndpointId>, IfMatch(seen): IfMatch) -> Answer {
    set_enabled(writer, id, seen, false).await
}

/// Watches it again.
pub(super) async fn resume(writer: Writer, PathId(id): PathId<EndpointId>, IfMatch(seen): IfMatch) -> Answer {
    set_enabled(writer, id, seen, true).await
}

async fn set_enabled(writer: Writer, id: EndpointId, seen: Option<u32>, enabled: bool) -> Answer {
    let (engine, workspace_id) = (writer.engine(), writer.workspace_id());
    let live = engine.endpoint(workspace_id, id)?;
    let is_so = live.endpoint.enabled == enabled && seen.is_none_or(|seen| seen == live.endpoint.revision);
    let endpoint = if is_so {
        live.endpoint.clone()
    } else {
        engine.edit_endpoint(workspace_id, id, seen, |draft| Ok(EndpointDraft { enabled, ..draft })).await?
    };
    written(&writer, StatusCode::OK, endpoint).await
}

async fn written(writer: &Writer, status: StatusCode, endpoint: tidings_domain::endpoint::Endpoint) -> Answer {
    let state = writer.engine().endpoint_state(writer.workspace_id(), endpoint.id).await;
    Ok(endpoint::written(status, &Seen::new(endpoint, state)))
}

/// Sees that it may be watched from here. What is wrong in itself is left to be said with all else that is.
fn watchable(prober: &Prober, definition: &Definition) -> Result<(), EngineError> {
    let is_right = violations(definition, None, 1).is_empty();
    match prober.check(&definition.probe) {
        Err(why) if is_right => {
            let at = if matches!(definition.probe, Probe::Http(_)) { "/url" } else { "/host" };
            Err(EngineError::invalid(at, why))
        }
        _ => Ok(()),
    }
}
