//! Brings the schema up to date: numbered files, each applied once, in one transaction each.

use rusqlite::{Connection, TransactionBehavior};

use crate::Result;
use crate::error::StoreError;

/// The migrations, in their order; the schema version is how many were applied. One that shipped is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_foundation.sql"),
    include_str!("../../migrations/sqlite/0002_watching.sql"),
];

/// Applies what is missing.
pub(super) fn up(connection: &mut Connection) -> Result<()> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len() as u32;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", index as u32 + 1)?;
        transaction.commit()?;
        tracing::info!(version = index + 1, "schema migrated");
    }
    Ok(())
}

/// Writes the schema version as it is, and with it a page, so that a full disk shows. An `UPDATE` would not do: SQLite
/// leaves a page alone whose rows stay the same.
pub(super) fn rewrite_version(connection: &Connection) -> Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(connection.pragma_update(None, "user_version", version)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        up(&mut connection).unwrap();
        up(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", 9_999).unwrap();
        assert!(matches!(up(&mut connection), Err(StoreError::TooNew { found: 9_999, .. })));
    }
}
