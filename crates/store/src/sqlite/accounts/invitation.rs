//! Invitations.

use rusqlite::{Connection, Row, params};
use tidings_domain::access::Role;
use tidings_domain::account::{Invitation, email_key};
use tidings_domain::id::{Id, InvitationId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::Workspace;

use super::{INVITATION_KEPT_MS, member, user, workspace};
use crate::Result;
use crate::accounts::Acceptor;
use crate::error::StoreError;
use crate::sqlite::row::{id, instant, json, optional_instant, parsed, to_json};

fn read(row: &Row<'_>) -> Result<Invitation> {
    Ok(Invitation {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        email: row.get("email")?,
        role: parsed(row, "role", Role::parse)?,
        invited_by: json(row, "invited_by")?,
        created_at: instant(row, "created_at")?,
        expires_at: instant(row, "expires_at")?,
        accepted_at: optional_instant(row, "accepted_at")?,
    })
}

pub(in crate::sqlite) fn open(db: &Connection, workspace_id: WorkspaceId, now: Timestamp) -> Result<Vec<Invitation>> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM invitation WHERE workspace_id = ? AND accepted_at IS NULL AND expires_at > ? ORDER BY id",
    )?;
    let mut rows = statement.query(params![workspace_id.as_bytes(), now.unix_ms()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

pub(in crate::sqlite) fn by_hash(db: &Connection, hash: &[u8; 32]) -> Result<Option<(Invitation, Workspace)>> {
    let mut statement = db.prepare_cached("SELECT * FROM invitation WHERE hash = ?")?;
    let mut rows = statement.query([hash])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let invitation = read(row)?;
    let mut statement = db.prepare_cached("SELECT * FROM workspace WHERE id = ? AND deleted_at IS NULL")?;
    let mut rows = statement.query([invitation.workspace_id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some((invitation, workspace::read(row)?)))
}

pub(in crate::sqlite) fn create(db: &Connection, invitation: &Invitation, hash: &[u8; 32]) -> Result<()> {
    workspace::check_exists(db, invitation.workspace_id)?;
    let (workspace_id, email_key) = (invitation.workspace_id.as_bytes(), email_key(&invitation.email));
    let members: u32 = db
        .prepare_cached(
            "SELECT count(*) FROM user u CROSS JOIN membership m ON m.user_id = u.id AND m.workspace_id = ? \
             WHERE u.email_key = ?",
        )?
        .query_row(params![workspace_id, email_key], |row| row.get(0))?;
    if members > 0 {
        return Err(StoreError::Exists);
    }
    // The link of the earlier one stops working: two links for one person cannot both be the latest word on the role.
    db.prepare_cached("DELETE FROM invitation WHERE workspace_id = ? AND email_key = ? AND accepted_at IS NULL")?
        .execute(params![workspace_id, email_key])?;
    db.prepare_cached(
        "INSERT INTO invitation (workspace_id, id, hash, email, email_key, role, invited_by, created_at, expires_at, \
         accepted_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        workspace_id,
        invitation.id.as_bytes(),
        hash,
        invitation.email,
        email_key,
        invitation.role.as_str(),
        to_json(&invitation.invited_by)?,
        invitation.created_at.unix_ms(),
        invitation.expires_at.unix_ms(),
        invitation.accepted_at.map(Timestamp::unix_ms),
    ])?;
    Ok(())
}

pub(in crate::sqlite) fn delete(db: &Connection, workspace_id: WorkspaceId, id: InvitationId) -> Result<()> {
    let deleted = db
        .prepare_cached("DELETE FROM invitation WHERE workspace_id = ? AND id = ? AND accepted_at IS NULL")?
        .execute(params![workspace_id.as_bytes(), id.as_bytes()])?;
    if deleted == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}

pub(in crate::sqlite) fn accept(db: &Connection, hash: &[u8; 32], at: Timestamp, acceptor: &Acceptor) -> Result<()> {
    let (invitation, _) = by_hash(db, hash)?.ok_or(StoreError::NotFound)?;
    if !invitation.is_open(at) {
        return Err(StoreError::Conflict);
    }
    let user_id = match acceptor {
        Acceptor::Existing(id) => *id,
        Acceptor::New(record) => {
            user::insert(db, record)?;
            record.user.id
        }
    };
    member::add(db, invitation.workspace_id, user_id, invitation.role, at)?;
    db.prepare_cached("UPDATE invitation SET accepted_at = ? WHERE hash = ?")?.execute(params![at.unix_ms(), hash])?;
    Ok(())
}

/// Deletes at most `limit` invitations that expired long ago, and returns how many.
pub(in crate::sqlite) fn prune(db: &Connection, now: Timestamp, limit: u32) -> Result<u32> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM invitation WHERE (workspace_id, id) IN (SELECT workspace_id, id FROM invitation \
             INDEXED BY invitation_expiry WHERE expires_at <= ? LIMIT ?)",
        )?
        .execute(params![now.minus_ms(INVITATION_KEPT_MS).unix_ms(), limit])?;
    Ok(deleted as u32)
}
