//! Chains: the deliveries in progress of one subject (an endpoint or alert) through one channel, in the order in which
//! they are attempted. Only the first, the head, is ever due.
//!
//! A delivery joins when it is accepted or released, at the end, and leaves when it is settled or held. A digest is in
//! the chain of every subject that it carries. Resends by hand are in none, and deliveries of runs never get here.
//!
//! A chain must not delay news: when a delivery joins, a head that waits for its retry is expedited.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::delivery::{AttemptTrigger, OutdatedReason, Status};
use tidings_domain::event::Event;
use tidings_domain::id::{ChannelId, DeliveryId, Id, IncidentId, WorkspaceId, sort_key_at};
use tidings_domain::time::Timestamp;

use super::db::Db;
use super::row::parsed;
use crate::Result;

/// The least time between two expedited attempts of one delivery, in milliseconds.
const EXPEDITE_DELIVERY_MS: i64 = 5_000;
/// The same after [`EXPEDITED_OFTEN`] of them. Attempts are stored with the delivery, whose row would grow without bound
/// while a subject flaps and its receiver is down.
const EXPEDITE_DELIVERY_OFTEN_MS: i64 = 60_000;
const EXPEDITED_OFTEN: u32 = 60;
/// The least time between two expedited attempts of one channel, in milliseconds.
const EXPEDITE_CHANNEL_MS: i64 = 1_000;

/// A delivery that joins or leaves chains.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) channel_id: ChannelId,
    pub(super) delivery_id: DeliveryId,
    /// Whether it was held before.
    pub(super) is_released: bool,
    pub(super) now: Timestamp,
}

/// What joining led to.
#[derive(Default)]
pub(super) struct Joined {
    /// The delivery before it, if it is not the head of all its chains.
    pub(super) blocked_by: Option<DeliveryId>,
    /// When a head is attempted earlier because of that.
    pub(super) expedited_at: Option<Timestamp>,
}

/// The subject that an event is about, as the key of its chains; none if it does not belong to an incident. A channel
/// belongs to one workspace, so that need not be part of the key.
pub(super) fn subject_of_event(event: &Event) -> Option<String> {
    event.kind.is_incident().then(|| format!("{}:{}", event.resource_type.as_str(), event.resource_id))
}

/// The subjects of a stored delivery: that of its event, or those of the members of a digest.
pub(super) fn subjects(db: &Connection, sort_key: i64) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "SELECT e.resource_type || ':' || e.resource_id FROM delivery d \
         CROSS JOIN event e ON e.sort_key = d.event_sort_key \
         WHERE (d.sort_key = ?1 OR d.digest_sort_key = ?1) AND e.resource_type IN ('endpoint', 'alert')",
    )?;
    let subjects = statement.query_map([sort_key], |row| row.get(0))?.collect::<rusqlite::Result<BTreeSet<_>>>()?;
    Ok(subjects.into_iter().collect())
}

/// Appends a delivery to the chains of these subjects.
pub(super) fn join(db: &Connection, link: Link, subjects: &[String]) -> Result<Joined> {
    let Link { channel_id, delivery_id, is_released, .. } = link;
    let mut joined = Joined::default();
    for subject in subjects {
        let last: Option<(i64, DeliveryId)> = db
            .prepare_cached(
                "SELECT position, delivery_id FROM chain WHERE channel_id = ? AND subject = ? \
                 ORDER BY position DESC LIMIT 1",
            )?
            .query_row(params![channel_id.as_bytes(), subject], |row| {
                Ok((row.get(0)?, DeliveryId::from_bytes(row.get(1)?)))
            })
            .optional()?;
        db.prepare_cached(
            "INSERT INTO chain (channel_id, subject, position, delivery_sort_key, delivery_id, is_released) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            channel_id.as_bytes(),
            subject,
            last.map_or(0, |(position, _)| position + 1),
            delivery_id.sort_key(),
            delivery_id.as_bytes(),
            is_released,
        ])?;
        if let Some((_, before)) = last {
            joined.blocked_by = joined.blocked_by.max(Some(before));
            let expedited_at = expedite_head(db, link, subject)?;
            joined.expedited_at = [joined.expedited_at, expedited_at].into_iter().flatten().min();
        }
    }
    Ok(joined)
}

/// The head of a chain.
struct Head {
    sort_key: i64,
    /// None while it waits in another chain, as a digest may.
    due_at: Option<i64>,
    is_retry: bool,
    not_before: Option<i64>,
    expedited_at: Option<i64>,
    expedited_count: u32,
}

fn head(db: &Connection, channel_id: ChannelId, subject: &str) -> Result<Option<Head>> {
    let mut statement = db.prepare_cached(
        "SELECT d.sort_key, d.due_at, d.status = 'pending' AND d.attempt_count > 0 \
         AND d.attempt_trigger = 'scheduled', c.not_before, c.expedited_at, c.expedited_count \
         FROM chain c CROSS JOIN delivery d ON d.sort_key = c.delivery_sort_key \
         WHERE c.channel_id = ? AND c.subject = ? ORDER BY c.position LIMIT 1",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Head {
            sort_key: row.get(0)?,
            due_at: row.get(1)?,
            is_retry: row.get(2)?,
            not_before: row.get(3)?,
            expedited_at: row.get(4)?,
            expedited_count: row.get(5)?,
        })
    };
    Ok(statement.query_row(params![channel_id.as_bytes(), subject], read).optional()?)
}

/// Makes the head of a chain due as soon as it may be, if it waits for a retry, and returns when that is. A head that
/// waits in other chains is as late as their heads, so those are expedited.
fn expedite_head(db: &Connection, link: Link, subject: &str) -> Result<Option<Timestamp>> {
    let Some(found) = head(db, link.channel_id, subject)? else { return Ok(None) };
    if found.due_at.is_some() {
        return expedite(db, link, &found);
    }
    let mut earliest = None;
    for other in subjects_in_chains(db, found.sort_key)? {
        if let Some(other) = head(db, link.channel_id, &other)? {
            earliest = [earliest, expedite(db, link, &other)?].into_iter().flatten().min();
        }
    }
    Ok(earliest)
}

fn expedite(db: &Connection, link: Link, head: &Head) -> Result<Option<Timestamp>> {
    let now = link.now.unix_ms();
    let Some(due_at) = head.due_at.filter(|at| head.is_retry && *at > now) else { return Ok(None) };
    let last_of_channel: Option<i64> = db
        .prepare_cached("SELECT at FROM expedited WHERE channel_id = ?")?
        .query_row([link.channel_id.as_bytes()], |row| row.get(0))
        .optional()?;
    let pause = if head.expedited_count < EXPEDITED_OFTEN { EXPEDITE_DELIVERY_MS } else { EXPEDITE_DELIVERY_OFTEN_MS };
    let of_delivery = head.expedited_at.map(|at| at.saturating_add(pause));
    let of_channel = last_of_channel.map(|at| at.saturating_add(EXPEDITE_CHANNEL_MS));
    let at = [head.not_before, of_delivery, of_channel].into_iter().flatten().fold(now, i64::max);
    if at >= due_at {
        return Ok(None);
    }
    db.prepare_cached("UPDATE delivery SET due_at = ?, attempt_trigger = ? WHERE sort_key = ?")?.execute(params![
        at,
        AttemptTrigger::NewerEvent.as_str(),
        head.sort_key
    ])?;
    db.prepare_cached(
        "UPDATE chain SET retry_at = ?, expedited_at = ?, expedited_count = expedited_count + 1 \
         WHERE delivery_sort_key = ?",
    )?
    .execute(params![due_at, at, head.sort_key])?;
    db.prepare_cached("INSERT OR REPLACE INTO expedited (channel_id, at) VALUES (?, ?)")?
        .execute(params![link.channel_id.as_bytes(), at])?;
    Ok(Some(Timestamp::from_unix_ms(at)))
}

fn subjects_in_chains(db: &Connection, sort_key: i64) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached("SELECT subject FROM chain WHERE delivery_sort_key = ?")?;
    Ok(statement.query_map([sort_key], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// When the retry that an expedited attempt preceded is due; none if the delivery is in no chain or was not expedited.
pub(super) fn retry_at(db: &Connection, sort_key: i64) -> Result<Option<i64>> {
    Ok(db
        .prepare_cached("SELECT max(retry_at) FROM chain WHERE delivery_sort_key = ?")?
        .query_row([sort_key], |row| row.get(0))?)
}

/// The delivery waits for a retry, not before this instant even if it is expedited.
pub(super) fn record_retry(db: &Connection, sort_key: i64, not_before: Option<Timestamp>) -> Result<()> {
    db.prepare_cached("UPDATE chain SET not_before = ?, retry_at = NULL WHERE delivery_sort_key = ?")?
        .execute(params![not_before.map(Timestamp::unix_ms), sort_key])?;
    Ok(())
}

/// Removes a delivery that was settled or held from its chains, and makes due what is at their heads now. If it was
/// sent, the deliveries behind it that are older are outdated: they were held before, and released after it had joined.
pub(super) fn leave(
    db: &Db<'_>,
    workspace_id: WorkspaceId,
    sort_key: i64,
    status: Status,
    now: Timestamp,
) -> Result<()> {
    let mut statement = db.prepare_cached("SELECT channel_id, subject FROM chain WHERE delivery_sort_key = ?")?;
    let chains = statement
        .query_map([sort_key], |row| Ok((ChannelId::from_bytes(row.get(0)?), row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(ChannelId, String)>>>()?;
    if chains.is_empty() {
        return Ok(());
    }
    db.prepare_cached("DELETE FROM chain WHERE delivery_sort_key = ?")?.execute([sort_key])?;
    for (channel_id, subject) in &chains {
        if status == Status::Sent {
            let superseded = supersede_older(db, *channel_id, subject, sort_key, now)?;
            db.notes.settled(workspace_id, Status::Suppressed, now, superseded);
        }
    }
    for (channel_id, subject) in &chains {
        make_head_due(db, *channel_id, subject, now)?;
    }
    Ok(())
}

/// Makes the head of a chain due, unless it waits in another chain or is not blocked.
fn make_head_due(db: &Connection, channel_id: ChannelId, subject: &str, now: Timestamp) -> Result<()> {
    let Some(found) = head(db, channel_id, subject)?.filter(|head| head.due_at.is_none()) else { return Ok(()) };
    let waits_elsewhere = db
        .prepare_cached(
            "SELECT 1 FROM chain c WHERE c.delivery_sort_key = ? AND EXISTS (SELECT 1 FROM chain b \
             WHERE b.channel_id = c.channel_id AND b.subject = c.subject AND b.position < c.position)",
        )?
        .exists([found.sort_key])?;
    if !waits_elsewhere {
        db.prepare_cached("UPDATE delivery SET due_at = ? WHERE sort_key = ? AND status = 'pending'")?
            .execute(params![now.unix_ms(), found.sort_key])?;
    }
    Ok(())
}

/// Suppresses the deliveries of a chain that were held while one that was sent, which is later, joined it. (Others that seem
/// older were made after the clock was set back.) Digests are not: their entries show the state at the time of the digest,
/// and may be of other subjects. Returns how many.
fn supersede_older(db: &Connection, channel_id: ChannelId, subject: &str, sent: i64, now: Timestamp) -> Result<u64> {
    let mut statement = db.prepare_cached(
        "SELECT c.delivery_sort_key FROM chain c WHERE c.channel_id = ? AND c.subject = ? AND c.delivery_sort_key < ? \
         AND c.is_released AND NOT EXISTS (SELECT 1 FROM delivery m WHERE m.digest_sort_key = c.delivery_sort_key)",
    )?;
    let older = statement
        .query_map(params![channel_id.as_bytes(), subject, sent], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    for sort_key in &older {
        db.prepare_cached("DELETE FROM chain WHERE delivery_sort_key = ?")?.execute([sort_key])?;
        db.prepare_cached(
            "UPDATE delivery SET status = 'suppressed', reason = ?, due_at = NULL, completed_at = ? WHERE sort_key = ?",
        )?
        .execute(params![OutdatedReason::Superseded.as_str(), now.unix_ms(), sort_key])?;
    }
    Ok(older.len() as u64)
}

/// Whether a later delivery of the same subject was sent through the channel of this held one.
pub(super) fn is_superseded(db: &Connection, workspace_id: WorkspaceId, id: DeliveryId) -> Result<bool> {
    let mut own = db.prepare_cached(
        "SELECT d.channel_id, e.resource_type, e.resource_id, e.run_id FROM delivery d \
         JOIN event e ON e.sort_key = d.event_sort_key WHERE d.sort_key = ? AND d.id = ? AND d.workspace_id = ? \
         AND e.resource_type IN ('endpoint', 'alert')",
    )?;
    let mut rows = own.query(params![id.sort_key(), id.as_bytes(), workspace_id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    let channel_id: [u8; 16] = row.get("channel_id")?;
    let (resource_type, resource_id): (String, String) = (row.get("resource_type")?, row.get("resource_id")?);
    // No younger delivery belongs to an event before the incident. So the search is short, through the index of events by
    // resource, which is ordered by sort key.
    let incident_id = parsed(row, "run_id", |text| text.parse::<IncidentId>().ok())?;
    let first_event = sort_key_at(incident_id.made_at().unix_ms());
    let is_superseded = db
        .prepare_cached(
            "SELECT 1 FROM event e CROSS JOIN delivery d ON d.event_sort_key = e.sort_key \
             WHERE e.workspace_id = ? AND e.resource_id = ? AND e.sort_key >= ? AND e.resource_type = ? \
             AND d.channel_id = ? AND d.sort_key > ? AND d.sent_at IS NOT NULL",
        )?
        .exists(params![workspace_id.as_bytes(), resource_id, first_event, resource_type, channel_id, id.sort_key()])?;
    Ok(is_superseded)
}
