//! Memberships: which user has which role in which workspace.

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::access::Role;
use tidings_domain::id::{Id, UserId, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::{user, workspace};
use crate::Result;
use crate::accounts::{Member, UserWorkspace};
use crate::error::StoreError;
use crate::sqlite::row::{id, instant, optional_instant, parsed};

pub(in crate::sqlite) fn all(db: &Connection, workspace_id: WorkspaceId) -> Result<Vec<Member>> {
    let sql = format!(
        "SELECT {}, m.role, m.joined_at, \
         (SELECT max(last_seen_at) FROM session s WHERE s.user_id = m.user_id) AS last_seen_at, \
         (SELECT count(*) FROM session s WHERE s.user_id = m.user_id) AS sessions \
         FROM membership m CROSS JOIN user u ON u.id = m.user_id WHERE m.workspace_id = ?",
        user::COLUMNS
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([workspace_id.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Member {
            user: user::read(row)?,
            role: parsed(row, "role", Role::parse)?,
            joined_at: instant(row, "joined_at")?,
            last_seen_at: optional_instant(row, "last_seen_at")?,
            sessions: row.get("sessions")?,
        });
    }
    found.sort_by_key(|member| (member.joined_at, member.user.id));
    Ok(found)
}

pub(in crate::sqlite) fn workspaces(db: &Connection, user_id: UserId) -> Result<Vec<UserWorkspace>> {
    let mut statement = db.prepare_cached(
        "SELECT w.*, m.role, m.joined_at FROM membership m INDEXED BY membership_user \
         CROSS JOIN workspace w ON w.id = m.workspace_id AND w.deleted_at IS NULL \
         WHERE m.user_id = ? ORDER BY m.workspace_id",
    )?;
    let mut rows = statement.query([user_id.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let role = parsed(row, "role", Role::parse)?;
        found.push(UserWorkspace { workspace: workspace::read(row)?, role, joined_at: instant(row, "joined_at")? });
    }
    Ok(found)
}

/// The workspaces of a user, oldest first, with the role in each.
pub(in crate::sqlite) fn roles(db: &Connection, user_id: UserId) -> Result<Vec<(WorkspaceId, Role)>> {
    let mut statement = db.prepare_cached(
        "SELECT workspace_id, role FROM membership INDEXED BY membership_user WHERE user_id = ? ORDER BY workspace_id",
    )?;
    let mut rows = statement.query([user_id.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((id(row, "workspace_id")?, parsed(row, "role", Role::parse)?));
    }
    Ok(found)
}

pub(in crate::sqlite) fn add(
    db: &Connection,
    workspace_id: WorkspaceId,
    user_id: UserId,
    role: Role,
    at: Timestamp,
) -> Result<()> {
    workspace::check_exists(db, workspace_id)?;
    db.prepare_cached("INSERT INTO membership (workspace_id, user_id, role, joined_at) VALUES (?, ?, ?, ?)")?
        .execute(params![workspace_id.as_bytes(), user_id.as_bytes(), role.as_str(), at.unix_ms()])?;
    Ok(())
}

fn role_of(db: &Connection, workspace_id: WorkspaceId, user_id: UserId) -> Result<Option<Role>> {
    db.prepare_cached("SELECT role FROM membership WHERE workspace_id = ? AND user_id = ?")?
        .query_row(params![workspace_id.as_bytes(), user_id.as_bytes()], |row| Ok(parsed(row, "role", Role::parse)))
        .optional()?
        .transpose()
}

/// Refuses a change that is based on another role, or that would leave the workspace without an owner. In the transaction
/// of the change: two owners who leave at once must not both pass.
fn check_change(
    db: &Connection,
    workspace_id: WorkspaceId,
    user_id: UserId,
    from: Role,
    to: Option<Role>,
) -> Result<()> {
    let role = role_of(db, workspace_id, user_id)?.ok_or(StoreError::NotFound)?;
    if role != from {
        return Err(StoreError::Conflict);
    }
    if role != Role::Owner || to == Some(Role::Owner) {
        return Ok(());
    }
    let owners: u32 = db
        .prepare_cached("SELECT count(*) FROM membership WHERE workspace_id = ? AND role = 'owner'")?
        .query_row([workspace_id.as_bytes()], |row| row.get(0))?;
    if owners > 1 { Ok(()) } else { Err(StoreError::LastOwner) }
}

pub(in crate::sqlite) fn set_role(
    db: &Connection,
    workspace_id: WorkspaceId,
    user_id: UserId,
    from: Role,
    to: Role,
) -> Result<()> {
    check_change(db, workspace_id, user_id, from, Some(to))?;
    db.prepare_cached("UPDATE membership SET role = ? WHERE workspace_id = ? AND user_id = ?")?.execute(params![
        to.as_str(),
        workspace_id.as_bytes(),
        user_id.as_bytes()
    ])?;
    Ok(())
}

pub(in crate::sqlite) fn remove(db: &Connection, workspace_id: WorkspaceId, user_id: UserId, role: Role) -> Result<()> {
    check_change(db, workspace_id, user_id, role, None)?;
    db.prepare_cached("DELETE FROM membership WHERE workspace_id = ? AND user_id = ?")?
        .execute(params![workspace_id.as_bytes(), user_id.as_bytes()])?;
    Ok(())
}
