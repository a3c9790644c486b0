//! Inbound webhooks.

use rusqlite::{Connection, params};
use tidings_domain::id::{Id, WorkspaceId};

use crate::Result;
use crate::settings::InboundWebhook;
use crate::sqlite::row::{id, instant};

pub(super) fn all(db: &Connection, workspace_id: WorkspaceId) -> Result<Vec<InboundWebhook>> {
    let mut statement = db.prepare_cached(
        "SELECT id, kind, name, hash, created_at FROM inbound_webhook WHERE workspace_id = ? ORDER BY id",
    )?;
    let mut rows = statement.query([workspace_id.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(InboundWebhook {
            id: id(row, "id")?,
            workspace_id,
            kind: row.get("kind")?,
            name: row.get("name")?,
            hash: row.get("hash")?,
            created_at: instant(row, "created_at")?,
        });
    }
    Ok(found)
}

pub(super) fn put(db: &Connection, workspace_id: WorkspaceId, webhook: &InboundWebhook) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO inbound_webhook (workspace_id, id, kind, name, hash, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        workspace_id.as_bytes(),
        webhook.id.as_bytes(),
        webhook.kind,
        webhook.name,
        webhook.hash,
        webhook.created_at.unix_ms()
    ])?;
    Ok(())
}
