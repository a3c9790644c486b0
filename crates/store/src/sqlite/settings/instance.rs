//! The fingerprint of the sealing key.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::Result;
use crate::settings::InstanceKey;

pub(in crate::sqlite) fn instance_key(db: &Connection) -> Result<Option<InstanceKey>> {
    Ok(db
        .query_row("SELECT key_id, canary FROM instance", [], |row| {
            Ok(InstanceKey { key_id: row.get(0)?, canary: row.get(1)? })
        })
        .optional()?)
}

pub(in crate::sqlite) fn set_instance_key(db: &Connection, key: &InstanceKey) -> Result<()> {
    db.execute("INSERT INTO instance (one, key_id, canary) VALUES (1, ?, ?)", params![key.key_id, key.canary])?;
    Ok(())
}
