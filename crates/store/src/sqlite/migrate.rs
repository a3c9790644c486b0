//! Schema migrations: numbered files, each applied once, in a transaction of its own.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::Result;
use crate::error::StoreError;

/// The migrations in order. The schema version, SQLite's `user_version`, is how many of them were applied. A released
/// migration is never edited; before the first release there is one file, which is edited in place.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/sqlite/0001_initial.sql")];

/// Applies the missing migrations.
///
/// # Errors
/// [`StoreError::TooNew`] if the schema has more migrations than this program knows, [`StoreError::OtherSchema`] if an
/// unreleased build with other migrations wrote it.
pub(super) fn up(connection: &mut Connection, directory: &Path) -> Result<()> {
    let found = applied(connection, directory)?;
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", fingerprint(&MIGRATIONS[..=index]))?;
        transaction.pragma_update(None, "user_version", index as u32 + 1)?;
        transaction.commit()?;
        tracing::info!(version = index + 1, "schema migrated");
    }
    Ok(())
}

/// Verifies that no migration is missing.
///
/// # Errors
/// As [`up`]; also [`StoreError::OtherSchema`] if one is missing.
pub(super) fn verify_current(connection: &Connection, directory: &Path) -> Result<()> {
    let is_current = applied(connection, directory)? as usize == MIGRATIONS.len();
    if is_current { Ok(()) } else { Err(StoreError::OtherSchema(directory.display().to_string())) }
}

/// How many migrations were applied, all of them known ones.
fn applied(connection: &Connection, directory: &Path) -> Result<u32> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len() as u32;
    let identity: u32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    // Builds before the fingerprint had more migrations than there are now, but are older, not newer.
    if found > 0 && identity == 0 {
        return Err(StoreError::OtherSchema(directory.display().to_string()));
    }
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    // The number alone does not distinguish two builds that edited the unreleased migration.
    if found > 0 && identity != fingerprint(&MIGRATIONS[..found as usize]) {
        return Err(StoreError::OtherSchema(directory.display().to_string()));
    }
    Ok(found)
}

/// Identifies these migrations: FNV-1a over their text, in 31 bits because SQLite's `application_id` is signed.
fn fingerprint(migrations: &[&str]) -> u32 {
    let bytes = migrations.iter().flat_map(|sql| sql.bytes());
    bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) & 0x7fff_ffff
}

/// Rewrites the unchanged schema version, which writes a page and so fails on a full disk. An `UPDATE` would not do:
/// SQLite does not write a page whose rows stay the same.
pub(super) fn rewrite_version(connection: &Connection) -> Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(connection.pragma_update(None, "user_version", version)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrate_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        up(&mut connection, Path::new("data")).unwrap();
        up(&mut connection, Path::new("data")).unwrap();
        connection.pragma_update(None, "user_version", 9_999).unwrap();
        assert!(matches!(up(&mut connection, Path::new("data")), Err(StoreError::TooNew { found: 9_999, .. })));
    }

    #[test]
    fn migrate_schema_of_another_build_is_refused_and_unchanged() {
        // Builds before the fingerprint left `application_id` at 0 and had up to two migrations; later unreleased ones wrote
        // another number.
        for (other, version) in [(0, 1), (0, 2), (7, 1)] {
            let mut connection = Connection::open_in_memory().unwrap();
            up(&mut connection, Path::new("data")).unwrap();
            connection.pragma_update(None, "application_id", other).unwrap();
            connection.pragma_update(None, "user_version", version).unwrap();
            let before: i64 = connection.pragma_query_value(None, "schema_version", |row| row.get(0)).unwrap();
            assert!(matches!(up(&mut connection, Path::new("data")), Err(StoreError::OtherSchema(_))));
            let after: i64 = connection.pragma_query_value(None, "schema_version", |row| row.get(0)).unwrap();
            assert_eq!(before, after);
        }
    }
}
