//! `/endpoints/bulk`: one change of many endpoints, by their ids or by a filter.
//!
//! Each endpoint is changed in a transaction of its own, audited like a single change: one that is refused does not affect
//! the others, and other writers are not delayed.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tidings_domain::endpoint::ProbeType;
use tidings_domain::id::{ChannelId, EndpointId};
use tidings_engine::EngineError;
use utoipa::ToSchema;

use super::wiring::{ChannelWiring, WiringChange, wire};
use super::{EndpointQuery, EndpointStatus, delete, edit, pause, resume};
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Configure};
use crate::response::Response;
use crate::revision::Expected;

/// Endpoints of one call.
const ENDPOINTS_MAX: usize = 1_000;

/// What is done with each endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EndpointBulkAction)]
pub enum Action {
    /// Pause monitoring.
    Pause,
    /// Resume monitoring.
    Resume,
    /// Add `tag`.
    Tag,
    /// Remove `tag`.
    Untag,
    /// Notify the shared channel `channelId`.
    Wire,
    /// Do not notify it any more.
    Unwire,
    /// Delete the endpoint with its checks, mutes and rules.
    Delete,
}

/// A change of many endpoints: of those in `ids`, or of those that match `filter`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"action": "pause", "filter": {"tag": "staging"}}))]
pub struct EndpointBulk {
    pub action: Action,
    /// At most 1,000.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub ids: Option<Vec<EndpointId>>,
    /// The endpoints that `GET /endpoints` lists with these parameters; those of one call are the newest 1,000 after `cursor`.
    #[serde(default)]
    pub filter: Option<EndpointBulkFilter>,
    /// The `nextCursor` of the call before, with the same filter.
    #[serde(default)]
    pub cursor: Option<EndpointId>,
    /// Of `tag` and `untag`.
    #[serde(default)]
    #[schema(max_length = 100)]
    pub tag: Option<String>,
    /// Of `wire` and `unwire`.
    #[serde(default)]
    pub channel_id: Option<ChannelId>,
    /// Change nothing, but count the endpoints.
    #[serde(default)]
    pub dry_run: bool,
}

/// Conditions that all must hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointBulkFilter {
    pub status: Option<EndpointStatus>,
    #[schema(max_length = 200)]
    pub tag: Option<String>,
    #[serde(rename = "type")]
    pub probe_type: Option<ProbeType>,
    /// A part of the name, of the URL or host, or of a tag; case does not matter.
    #[schema(max_length = 200)]
    pub q: Option<String>,
}

/// What became of the endpoints.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointBulkDone {
    pub dry_run: bool,
    /// Endpoints of this call.
    pub matched: u32,
    /// Those that are now as the action wants them, also those that were before.
    pub succeeded: u32,
    pub failed: u32,
    /// One for each endpoint of this call, in the order of the request or, by filter, newest first; empty in a dry run.
    pub results: Vec<EndpointBulkResult>,
    /// With which the next call goes on; null if nothing is left.
    pub next_cursor: Option<EndpointId>,
}

/// What became of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EndpointBulkResult {
    pub id: EndpointId,
    pub ok: bool,
    /// Why not: the code of the problem that the single change answers. Null if it is.
    pub code: Option<&'static str>,
    /// The same in words.
    pub detail: Option<String>,
}

impl Response for EndpointBulkDone {}

/// The action with what it needs.
enum Step {
    SetEnabled(bool),
    Tag { tag: String, is_added: bool },
    Wire { channel_id: ChannelId, wired: bool },
    Delete,
}

/// Changes many endpoints. One that is refused does not affect the others.
///
/// # Errors
/// [`AppError::Invalid`], and those of the store.
pub async fn bulk(by: &Authorized<Configure>, mut input: Input<EndpointBulk>) -> Result<EndpointBulkDone> {
    let step = step(by, &mut input)?;
    // One that has violations is not in the value.
    let is_given =
        input.violations.iter().any(|found| ["/ids", "/filter"].iter().any(|it| found.pointer.starts_with(it)));
    match (&input.value.ids, &input.value.filter) {
        (None, None) if is_given => {}
        (None, None) => input.refuse_field("/ids", "is required, or filter"),
        (Some(_), Some(_)) => input.refuse_field("/filter", "must be absent with ids"),
        (Some(_), None) if input.value.cursor.is_some() => {
            input.refuse_field("/cursor", "must be absent with ids: they are one call");
        }
        _ => {}
    }
    let request = input.finish()?;
    let Some(step) = step else { return Err(AppError::invalid("/action", "is incomplete")) };
    let (ids, next_cursor) = match request.ids {
        Some(ids) => {
            let mut seen = HashSet::new();
            (ids.into_iter().filter(|id| seen.insert(*id)).collect(), None)
        }
        None => matching(by, request.filter.unwrap_or_default(), request.cursor)?,
    };
    let mut done = EndpointBulkDone {
        dry_run: request.dry_run,
        matched: u32::try_from(ids.len()).unwrap_or(u32::MAX),
        succeeded: 0,
        failed: 0,
        results: Vec::new(),
        next_cursor,
    };
    if request.dry_run {
        return Ok(done);
    }
    for id in ids {
        let result = match apply(by, id, &step).await {
            Ok(()) => EndpointBulkResult { id, ok: true, code: None, detail: None },
            // Not a refusal of this one: the others would fail alike.
            Err(error @ AppError::Engine(EngineError::Store(_))) => return Err(error),
            Err(error) => EndpointBulkResult { id, ok: false, code: Some(code(&error)), detail: Some(detail(&error)) },
        };
        *(if result.ok { &mut done.succeeded } else { &mut done.failed }) += 1;
        done.results.push(result);
    }
    Ok(done)
}

/// The action, unless something that it needs is missing or wrong, or something is given that it does not use.
fn step(by: &Authorized<Configure>, input: &mut Input<EndpointBulk>) -> Result<Option<Step>> {
    let EndpointBulk { action, tag, channel_id, .. } = input.value.clone();
    let (needs_tag, needs_channel) =
        (matches!(action, Action::Tag | Action::Untag), matches!(action, Action::Wire | Action::Unwire));
    if needs_tag != tag.is_some() {
        let message = if needs_tag { "is required for this action" } else { "is only for tag and untag" };
        input.refuse_field("/tag", message);
    }
    if needs_channel != channel_id.is_some() {
        let message = if needs_channel { "is required for this action" } else { "is only for wire and unwire" };
        input.refuse_field("/channelId", message);
    }
    if let Some(id) = channel_id
        && by.view()?.channel(id).is_none_or(|loaded| !loaded.is_shared())
    {
        input.refuse_field("/channelId", "there is no such channel in this workspace");
    }
    Ok(match (action, tag, channel_id) {
        (Action::Pause | Action::Resume, ..) => Some(Step::SetEnabled(action == Action::Resume)),
        (Action::Tag | Action::Untag, Some(tag), _) => Some(Step::Tag { tag, is_added: action == Action::Tag }),
        (Action::Wire | Action::Unwire, _, Some(channel_id)) => {
            Some(Step::Wire { channel_id, wired: action == Action::Wire })
        }
        (Action::Delete, ..) => Some(Step::Delete),
        _ => None,
    })
}

/// The endpoints that match, newest first, and the cursor of those that are left.
fn matching(
    by: &Authorized<Configure>,
    filter: EndpointBulkFilter,
    cursor: Option<EndpointId>,
) -> Result<(Vec<EndpointId>, Option<EndpointId>)> {
    let EndpointBulkFilter { status, tag, probe_type, q } = filter;
    let query = EndpointQuery { status, tag, probe_type, q, cursor, ..EndpointQuery::default() };
    let view = by.view()?;
    let mut ids: Vec<_> = super::selected(by, &view, &query).0.into_iter().map(|endpoint| endpoint.id).collect();
    let has_more = ids.len() > ENDPOINTS_MAX;
    ids.truncate(ENDPOINTS_MAX);
    let next_cursor = ids.last().copied().filter(|_| has_more);
    Ok((ids, next_cursor))
}

async fn apply(by: &Authorized<Configure>, id: EndpointId, step: &Step) -> Result<()> {
    match step {
        Step::SetEnabled(true) => resume(by, id, &Expected::Any).await.map(drop),
        Step::SetEnabled(false) => pause(by, id, &Expected::Any).await.map(drop),
        Step::Tag { tag, is_added } => {
            let has_tag = {
                let view = by.view()?;
                let loaded = view.endpoint(id).ok_or(AppError::not_found("endpoint"))?;
                loaded.endpoint.definition.tags.contains(tag)
            };
            // No new revision where nothing changes.
            if has_tag == *is_added {
                return Ok(());
            }
            let change = |draft: &super::EndpointDraft| {
                let mut draft = draft.clone();
                draft.definition.tags.retain(|other| other != tag);
                if *is_added {
                    draft.definition.tags.push(tag.clone());
                }
                Ok(Input::new(draft))
            };
            edit(by, id, &Expected::Any, change).await.map(drop)
        }
        Step::Wire { channel_id, wired } => {
            let channel = ChannelWiring { channel_id: *channel_id, wired: Some(*wired), paused: None };
            wire(by, id, Input::new(WiringChange { channels: vec![channel] })).await.map(drop)
        }
        Step::Delete => delete(by, id, &Expected::Any).await,
    }
}

/// The code of the problem for a refusal.
const fn code(error: &AppError) -> &'static str {
    match error {
        AppError::Engine(EngineError::NotFound(_)) => "not_found",
        AppError::Engine(EngineError::RevisionMismatch) => "revision_mismatch",
        AppError::Quota { .. } => "PT403",
        _ => "invalid",
    }
}

fn detail(error: &AppError) -> String {
    match error {
        AppError::Invalid(violations) => {
            let lines = violations.iter().map(|violation| format!("{} {}", violation.pointer, violation.message));
            lines.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}
