//! `/audit-log`: who changed what, newest first.

use serde::{Deserialize, Serialize};
use tidings_domain::access::Actor;
use tidings_domain::audit::{AuditAction, AuditChanges, AuditEntry, AuditTarget};
use tidings_domain::id::AuditEntryId;
use tidings_domain::time::Timestamp;
use tidings_store::accounts::AuditFilter;
use utoipa::ToSchema;

use crate::contract::Input;
use crate::error::Result;
use crate::principal::{Authorized, ReadAuditLog};
use crate::response::Response;

/// Which entries to list.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditQuery {
    /// The id of the user or API key who did it.
    #[schema(max_length = 100)]
    pub actor: Option<String>,
    /// What was done, such as `channel.updated`.
    #[schema(max_length = 100)]
    pub action: Option<String>,
    /// The kind of thing that was changed, such as `channel`.
    #[schema(max_length = 100)]
    pub target: Option<String>,
    /// The id of the thing that was changed.
    #[schema(max_length = 200)]
    pub target_id: Option<String>,
    /// Only entries from this instant on.
    pub since: Option<Timestamp>,
    /// Only entries before this instant.
    pub until: Option<Timestamp>,
    #[serde(default = "default_limit")]
    #[schema(minimum = 1, maximum = 200)]
    pub limit: u32,
    /// The `nextCursor` of the page before.
    pub cursor: Option<AuditEntryId>,
}

const fn default_limit() -> u32 {
    50
}

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntryView {
    pub id: AuditEntryId,
    pub at: Timestamp,
    pub actor: Actor,
    #[schema(value_type = String)]
    pub action: AuditAction,
    pub target_id: Option<String>,
    /// The name at the time.
    pub target_name: Option<String>,
    /// The fields that changed: `before` and `after`, secrets masked.
    #[schema(value_type = Object)]
    pub changes: AuditChanges,
    /// From where it was done.
    pub address: Option<String>,
    /// The request by which it was done, as in the log of the server.
    pub request_id: Option<String>,
}

/// Entries of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditLog {
    pub data: Vec<AuditEntryView>,
    /// For the next page; null on the last.
    pub next_cursor: Option<AuditEntryId>,
}

impl Response for AuditLog {}

impl From<AuditEntry> for AuditEntryView {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, at, actor, action, target_id, target_name, changes, address, request_id, .. } = entry;
        Self { id, at, actor, action, target_id, target_name, changes, address, request_id }
    }
}

/// Entries about the workspace.
///
/// # Errors
/// [`crate::AppError::Invalid`], and those of history reads.
pub async fn list(by: &Authorized<ReadAuditLog>, mut input: Input<AuditQuery>) -> Result<AuditLog> {
    let query = &input.value;
    let action = query.action.as_deref().map(AuditAction::parse);
    let target = query.target.as_deref().map(AuditTarget::parse);
    if action == Some(None) {
        input.refuse_field("/action", "is not an action, such as channel.updated");
    }
    if target == Some(None) {
        input.refuse_field("/target", "is not a kind of thing, such as channel");
    }
    let AuditQuery { actor, target_id, since, until, limit, cursor, .. } = input.finish()?;
    let filter = AuditFilter {
        before: cursor,
        // One more, to know whether there is another page.
        limit: limit + 1,
        actor_id: actor,
        action: action.flatten(),
        target: target.flatten(),
        target_id,
        since,
        until,
    };
    let mut entries = by.engine().accounts().audit_log(Some(by.workspace_id()), filter).await?;
    let has_more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next_cursor = entries.last().filter(|_| has_more).map(|entry| entry.id);
    Ok(AuditLog { data: entries.into_iter().map(AuditEntryView::from).collect(), next_cursor })
}
