//! Sessions.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidings_domain::account::{Session, session_expiry};
use tidings_domain::id::{Id, SessionId, UserId};
use tidings_domain::time::Timestamp;

use super::{member, user};
use crate::Result;
use crate::accounts::{NewSession, SESSIONS_MAX, SignedIn, Use};
use crate::error::StoreError;
use crate::sqlite::row::{id, instant};

fn read(row: &Row<'_>) -> Result<Session> {
    Ok(Session {
        id: id(row, "id")?,
        user_id: id(row, "user_id")?,
        created_at: instant(row, "created_at")?,
        last_seen_at: instant(row, "last_seen_at")?,
        expires_at: instant(row, "expires_at")?,
        address: row.get("address")?,
        user_agent: row.get("user_agent")?,
    })
}

pub(in crate::sqlite) fn get(db: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<Option<SignedIn>> {
    let sql = format!(
        "SELECT s.id, s.created_at, s.last_seen_at, s.expires_at, s.address, s.user_agent, {} \
         FROM session s CROSS JOIN user u ON u.id = s.user_id WHERE s.hash = ? AND s.expires_at > ?",
        user::COLUMNS
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params![hash, now.unix_ms()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (session, user) = (read(row)?, user::read(row)?);
    let memberships = member::roles(db, user.id)?;
    Ok(Some(SignedIn { session, user, memberships }))
}

pub(in crate::sqlite) fn all(db: &Connection, user_id: UserId, now: Timestamp) -> Result<Vec<Session>> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM session INDEXED BY session_user WHERE user_id = ? AND expires_at > ? ORDER BY id DESC",
    )?;
    let mut rows = statement.query(params![user_id.as_bytes(), now.unix_ms()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Begins a session, and ends the one that it replaces and those that are too many.
pub(in crate::sqlite) fn begin(db: &Connection, new: &NewSession) -> Result<()> {
    let Session { id, user_id, created_at, last_seen_at, expires_at, address, user_agent } = &new.session;
    if let Some(replaced) = new.replaces {
        db.prepare_cached("DELETE FROM session WHERE hash = ?")?.execute([replaced])?;
    }
    db.prepare_cached(
        "INSERT INTO session (hash, id, user_id, created_at, last_seen_at, expires_at, address, user_agent) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        new.hash,
        id.as_bytes(),
        user_id.as_bytes(),
        created_at.unix_ms(),
        last_seen_at.unix_ms(),
        expires_at.unix_ms(),
        address,
        user_agent,
    ])?;
    db.prepare_cached(
        "DELETE FROM session WHERE hash IN (SELECT hash FROM session INDEXED BY session_user WHERE user_id = ? \
         ORDER BY id DESC LIMIT -1 OFFSET ?)",
    )?
    .execute(params![user_id.as_bytes(), SESSIONS_MAX])?;
    Ok(())
}

pub(in crate::sqlite) fn record_uses(db: &Connection, uses: &[Use<SessionId>]) -> Result<()> {
    let mut select = db.prepare_cached("SELECT created_at FROM session WHERE id = ?")?;
    // An expired session must not come back to life by a use that was recorded late.
    let mut update = db.prepare_cached(
        "UPDATE session SET last_seen_at = ?2, expires_at = ?3, address = coalesce(?4, address) \
         WHERE id = ?1 AND last_seen_at <= ?2 AND expires_at > ?2",
    )?;
    for Use { id, at, address } in uses {
        let created_at: Option<i64> = select.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
        let Some(created_at) = created_at else { continue };
        let expires_at = session_expiry(Timestamp::from_unix_ms(created_at), *at);
        update.execute(params![id.as_bytes(), at.unix_ms(), expires_at.unix_ms(), address])?;
    }
    Ok(())
}

pub(in crate::sqlite) fn delete(db: &Connection, user_id: UserId, id: SessionId) -> Result<()> {
    let deleted = db
        .prepare_cached("DELETE FROM session WHERE user_id = ? AND id = ?")?
        .execute(params![user_id.as_bytes(), id.as_bytes()])?;
    if deleted == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}

pub(in crate::sqlite) fn delete_all(db: &Connection, user_id: UserId, except: Option<SessionId>) -> Result<u64> {
    // `IS NOT`, because nothing differs from null.
    let deleted = db
        .prepare_cached("DELETE FROM session WHERE user_id = ? AND id IS NOT ?")?
        .execute(params![user_id.as_bytes(), except.as_ref().map(Id::as_bytes)])?;
    Ok(deleted as u64)
}

/// Deletes at most `limit` sessions that expired before this instant, and returns how many.
pub(in crate::sqlite) fn prune(db: &Connection, now: Timestamp, limit: u32) -> Result<u32> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM session WHERE hash IN (SELECT hash FROM session INDEXED BY session_expiry \
             WHERE expires_at <= ? LIMIT ?)",
        )?
        .execute(params![now.unix_ms(), limit])?;
    Ok(deleted as u32)
}
