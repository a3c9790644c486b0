//! Deletion of all rows of deleted workspaces, a bounded number with each call.

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::id::{Id as _, WorkspaceId};
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::sqlite::prune::delete_event;

/// How long after its deletion the rows of a workspace are first deleted. Until then another node may still accept events
/// for it.
const GRACE_MS: u64 = 60_000;

/// Tables with rows of workspaces, besides those that have steps of their own, and the rest of their keys. In this order:
/// rules before their channels.
pub(in crate::sqlite) const BY_KEY: [(&str, &str); 11] = [
    ("rule", "id"),
    ("mute", "id"),
    ("channel_health", "channel_id"),
    ("inbound_webhook", "id"),
    ("alert_episode", "resource_id"),
    ("audit_entry", "id"),
    ("api_key", "id"),
    ("invitation", "id"),
    ("membership", "user_id"),
    ("history_block", "last"),
    ("activity_minute", "minute"),
];

/// A deleted workspace whose rows are to be deleted.
pub(in crate::sqlite) fn next(db: &Connection, now: Timestamp) -> Result<Option<WorkspaceId>> {
    let found: Option<[u8; 16]> = db
        .prepare_cached(
            "SELECT id FROM workspace INDEXED BY workspace_deleted \
             WHERE deleted_at IS NOT NULL AND deleted_at <= ? LIMIT 1",
        )?
        .query_row([now.minus_ms(GRACE_MS).unix_ms()], |row| row.get(0))
        .optional()?;
    Ok(found.map(WorkspaceId::from_bytes))
}

/// Deletes at most `limit` rows of a workspace, and returns how many; the workspace itself is the last of them.
pub(in crate::sqlite) fn purge(db: &Connection, id: WorkspaceId, limit: u32) -> Result<u32> {
    let mut purge = Purge { db, workspace_id: *id.as_bytes(), budget: limit };
    purge.all()?;
    Ok(limit - purge.budget)
}

struct Purge<'a> {
    db: &'a Connection,
    workspace_id: [u8; 16],
    budget: u32,
}

impl Purge<'_> {
    fn all(&mut self) -> Result<()> {
        self.events()?;
        self.incidents()?;
        self.endpoints()?;
        for (table, key) in BY_KEY {
            self.delete(&format!(
                "DELETE FROM {table} WHERE workspace_id = ?1 AND {key} IN \
                 (SELECT {key} FROM {table} WHERE workspace_id = ?1 LIMIT ?2)"
            ))?;
        }
        for table in ["resource", "erasure"] {
            self.delete(&format!(
                "DELETE FROM {table} WHERE workspace_id = ?1 AND (resource_type, resource_id) IN \
                 (SELECT resource_type, resource_id FROM {table} WHERE workspace_id = ?1 LIMIT ?2)"
            ))?;
        }
        self.channels()?;
        if self.budget > 0 {
            self.db.prepare_cached("DELETE FROM workspace WHERE id = ?")?.execute([self.workspace_id])?;
            self.budget -= 1;
        }
        Ok(())
    }

    /// Runs a deletion with the workspace and the budget as parameters.
    fn delete(&mut self, sql: &str) -> Result<()> {
        let deleted = self.db.prepare_cached(sql)?.execute(params![self.workspace_id, self.budget])?;
        // Of a table whose key has several rows, the last one may exceed the budget.
        self.budget = self.budget.saturating_sub(deleted as u32);
        Ok(())
    }

    /// Deletes rows that depend on the one with this key.
    fn delete_dependents(&mut self, table: &str, owner: &str, number: &str, key: i64) -> Result<()> {
        let sql = format!(
            "DELETE FROM {table} WHERE {owner} = ?1 AND {number} IN \
             (SELECT {number} FROM {table} WHERE {owner} = ?1 LIMIT ?2)"
        );
        let deleted = self.db.prepare_cached(&sql)?.execute(params![key, self.budget])?;
        self.budget -= deleted as u32;
        Ok(())
    }

    /// At most as many keys as there is budget.
    fn keys<K: rusqlite::types::FromSql>(&self, sql: &str) -> Result<Vec<K>> {
        let mut statement = self.db.prepare_cached(sql)?;
        let keys = statement.query_map(params![self.workspace_id, self.budget], |row| row.get(0))?;
        Ok(keys.collect::<rusqlite::Result<_>>()?)
    }

    fn events(&mut self) -> Result<()> {
        let sql = "SELECT sort_key FROM event INDEXED BY event_workspace WHERE workspace_id = ? LIMIT ?";
        for sort_key in self.keys::<i64>(sql)? {
            if self.budget == 0 {
                break;
            }
            self.db
                .prepare_cached(
                    "DELETE FROM chain WHERE delivery_sort_key IN \
                     (SELECT sort_key FROM delivery WHERE event_sort_key = ?)",
                )?
                .execute([sort_key])?;
            self.budget -= delete_event(self.db, sort_key, self.budget)?.rows();
        }
        Ok(())
    }

    fn incidents(&mut self) -> Result<()> {
        let sql = "SELECT sort_key FROM incident INDEXED BY incident_workspace WHERE workspace_id = ? LIMIT ?";
        for sort_key in self.keys::<i64>(sql)? {
            // First, because a timeline is long, and a cascade would delete it at once.
            self.delete_dependents("incident_timeline", "incident", "number", sort_key)?;
            if self.budget == 0 {
                break;
            }
            self.db.prepare_cached("DELETE FROM incident WHERE sort_key = ?")?.execute([sort_key])?;
            self.budget -= 1;
        }
        Ok(())
    }

    fn endpoints(&mut self) -> Result<()> {
        let sql = "SELECT number FROM endpoint INDEXED BY endpoint_version WHERE workspace_id = ? LIMIT ?";
        for number in self.keys::<i64>(sql)? {
            self.delete_dependents("endpoint_check", "endpoint", "sort_key", number)?;
            self.delete_dependents("endpoint_hour", "endpoint", "hour", number)?;
            self.delete_dependents("endpoint_day", "endpoint", "day", number)?;
            if self.budget == 0 {
                break;
            }
            self.db.prepare_cached("DELETE FROM endpoint WHERE number = ?")?.execute([number])?;
            self.budget -= 1;
        }
        Ok(())
    }

    fn channels(&mut self) -> Result<()> {
        for id in self.keys::<[u8; 16]>("SELECT id FROM channel WHERE workspace_id = ? LIMIT ?")? {
            for table in ["rate_window", "expedited", "chain"] {
                self.db.prepare_cached(&format!("DELETE FROM {table} WHERE channel_id = ?"))?.execute([id])?;
            }
            self.db
                .prepare_cached("DELETE FROM channel WHERE workspace_id = ? AND id = ?")?
                .execute(params![self.workspace_id, id])?;
            self.budget -= 1;
        }
        Ok(())
    }
}
