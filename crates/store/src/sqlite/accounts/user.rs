//! Users and their passwords.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidings_domain::account::{User, email_key};
use tidings_domain::id::{Id, UserId};
use tidings_domain::time::Timestamp;

use super::session;
use crate::Result;
use crate::accounts::{PasswordChange, UserRecord};
use crate::error::StoreError;
use crate::sqlite::row::{id, instant};

/// The columns that [`read`] reads, of `user` under the alias `u`.
pub(in crate::sqlite) const COLUMNS: &str = "u.id AS user_id, u.email, u.name, u.is_operator, u.created_at AS user_created_at, u.password_changed_at, u.revision";

/// Reads [`COLUMNS`].
pub(in crate::sqlite) fn read(row: &Row<'_>) -> Result<User> {
    Ok(User {
        id: id(row, "user_id")?,
        email: row.get("email")?,
        name: row.get("name")?,
        is_operator: row.get("is_operator")?,
        created_at: instant(row, "user_created_at")?,
        password_changed_at: instant(row, "password_changed_at")?,
        revision: row.get("revision")?,
    })
}

pub(in crate::sqlite) fn any(db: &Connection) -> Result<bool> {
    Ok(db.prepare_cached("SELECT EXISTS (SELECT 1 FROM user)")?.query_row([], |row| row.get(0))?)
}

pub(in crate::sqlite) fn all(db: &Connection) -> Result<Vec<User>> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM user u ORDER BY u.email_key"))?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

pub(in crate::sqlite) fn get(db: &Connection, id: UserId) -> Result<Option<UserRecord>> {
    find(db, "u.id = ?", id.as_bytes())
}

pub(in crate::sqlite) fn by_email(db: &Connection, email: &str) -> Result<Option<UserRecord>> {
    find(db, "u.email_key = ?", &email_key(email))
}

fn find(db: &Connection, condition: &str, value: &dyn rusqlite::ToSql) -> Result<Option<UserRecord>> {
    let sql = format!("SELECT {COLUMNS}, u.password_hash FROM user u WHERE {condition}");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([value])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(UserRecord { user: read(row)?, password_hash: row.get("password_hash")? }))
}

pub(in crate::sqlite) fn insert(db: &Connection, record: &UserRecord) -> Result<()> {
    let user = &record.user;
    db.prepare_cached(
        "INSERT INTO user (id, email, email_key, name, password_hash, is_operator, created_at, password_changed_at, \
         revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        user.id.as_bytes(),
        user.email,
        email_key(&user.email),
        user.name,
        record.password_hash,
        user.is_operator,
        user.created_at.unix_ms(),
        user.password_changed_at.unix_ms(),
        user.revision,
    ])?;
    Ok(())
}

pub(in crate::sqlite) fn update(db: &Connection, user: &User, expected_revision: u32) -> Result<()> {
    let changed = db
        .prepare_cached(
            "UPDATE user SET email = ?, email_key = ?, name = ?, is_operator = ?, revision = ? \
             WHERE id = ? AND revision = ?",
        )?
        .execute(params![
            user.email,
            email_key(&user.email),
            user.name,
            user.is_operator,
            user.revision,
            user.id.as_bytes(),
            expected_revision,
        ])?;
    if changed == 1 {
        return Ok(());
    }
    Err(if password_changed_at(db, user.id)?.is_some() { StoreError::Conflict } else { StoreError::NotFound })
}

fn password_changed_at(db: &Connection, id: UserId) -> Result<Option<Timestamp>> {
    let found = db
        .prepare_cached("SELECT password_changed_at FROM user WHERE id = ?")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(found.map(Timestamp::from_unix_ms))
}

/// Refuses what is based on a password that was changed since it was verified, which takes a while.
pub(in crate::sqlite) fn check_password_unchanged(db: &Connection, id: UserId, verified: Timestamp) -> Result<()> {
    match password_changed_at(db, id)? {
        None => Err(StoreError::NotFound),
        Some(at) if at == verified => Ok(()),
        Some(_) => Err(StoreError::Conflict),
    }
}

pub(in crate::sqlite) fn change_password(db: &Connection, change: &PasswordChange) -> Result<()> {
    let before = password_changed_at(db, change.user_id)?.ok_or(StoreError::NotFound)?;
    if change.verified.is_some_and(|verified| verified != before) {
        return Err(StoreError::Conflict);
    }
    // It identifies the password, so it must differ even if the clock did not move.
    let at = change.at.max(before.plus_ms(1));
    db.prepare_cached("UPDATE user SET password_hash = ?, password_changed_at = ? WHERE id = ?")?.execute(params![
        change.password_hash,
        at.unix_ms(),
        change.user_id.as_bytes()
    ])?;
    session::delete_all(db, change.user_id, None)?;
    change.renewed.iter().try_for_each(|renewed| session::begin(db, renewed))
}
