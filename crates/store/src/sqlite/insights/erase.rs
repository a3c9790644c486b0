//! Erase: replaces the payloads of a deleted resource's events, deliveries and incidents, a bounded number with each
//! call. The rows stay, so that the history still shows what was sent where and when.

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::digest::Digest;
use tidings_domain::event::{Content, EventKind};
use tidings_domain::id::{Id as _, sort_key_at};
use tidings_domain::incident::SubjectInfo;
use tidings_domain::time::Timestamp;

use super::resource;
use crate::Result;
use crate::error::StoreError;
use crate::insights::{EraseProgress, ErasureRecord, ResourceKey};
use crate::queue::Attempt;
use crate::sqlite::attempts;
use crate::sqlite::db::Db;
use crate::sqlite::index::mark_deliveries_stale;
use crate::sqlite::row::{parsed, to_json};

/// How long a pass waits after one that left something out, in milliseconds.
const RETRY_MS: u64 = 60_000;
/// What is shown in place of an erased text that must not be missing.
const ERASED: &str = "(erased)";

/// Deletes the resource and records that its payloads are to be erased.
pub(in crate::sqlite) fn request(db: &Connection, key: &ResourceKey, now: Timestamp) -> Result<()> {
    let (workspace_id, resource_type) = (key.workspace_id.as_bytes(), key.resource_type.as_str());
    let has_incident = db
        .prepare_cached(
            "SELECT 1 FROM incident WHERE workspace_id = ? AND resource_type = ? AND resource_id = ? \
             AND resolved_at IS NULL",
        )?
        .exists(params![workspace_id, resource_type, key.resource_id])?;
    if has_incident || resource::is_endpoint(db, key)? {
        return Err(StoreError::InUse);
    }
    let has_event = db
        .prepare_cached("SELECT 1 FROM event WHERE workspace_id = ? AND resource_id = ? AND resource_type = ? LIMIT 1")?
        .exists(params![workspace_id, key.resource_id, resource_type])?;
    if !resource::delete(db, key)? && !has_event {
        return Err(StoreError::NotFound);
    }
    // The instant of an event's key is that of its acceptance, a moment before it is committed.
    let until = sort_key_at(now.unix_ms().saturating_add(1).max(0));
    db.prepare_cached(
        "INSERT INTO erasure (workspace_id, resource_type, resource_id, requested_at, until, next_at) \
         VALUES (?, ?, ?, ?4, ?, ?4) ON CONFLICT DO UPDATE SET requested_at = excluded.requested_at, \
         until = excluded.until, done = -1, is_incomplete = 0, next_at = excluded.next_at, finished_at = NULL",
    )?
    .execute(params![workspace_id, resource_type, key.resource_id, now.unix_ms(), until])?;
    Ok(())
}

pub(in crate::sqlite) fn record(db: &Connection, key: &ResourceKey) -> Result<Option<ErasureRecord>> {
    let record = db
        .prepare_cached(
            "SELECT requested_at, finished_at FROM erasure WHERE workspace_id = ? AND resource_type = ? \
             AND resource_id = ?",
        )?
        .query_row(params![key.workspace_id.as_bytes(), key.resource_type.as_str(), key.resource_id], |row| {
            Ok(ErasureRecord {
                requested_at: Timestamp::from_unix_ms(row.get(0)?),
                finished_at: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_unix_ms),
            })
        })
        .optional()?;
    Ok(record)
}

/// The pass over one resource that is due next.
struct Pass {
    workspace_id: [u8; 16],
    resource_type: String,
    resource_id: String,
    until: i64,
    done: i64,
    is_incomplete: bool,
}

/// Whether a pass over some resource is due.
pub(in crate::sqlite) fn is_due(db: &Connection, now: Timestamp) -> Result<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM erasure WHERE next_at <= ? LIMIT 1")?.exists([now.unix_ms()])?)
}

pub(in crate::sqlite) fn erase(db: &Db<'_>, now: Timestamp, limit: u32) -> Result<EraseProgress> {
    let pass = db
        .prepare_cached(
            "SELECT workspace_id, resource_type, resource_id, until, done, is_incomplete FROM erasure \
             WHERE next_at <= ? ORDER BY next_at LIMIT 1",
        )?
        .query_row([now.unix_ms()], |row| {
            Ok(Pass {
                workspace_id: row.get(0)?,
                resource_type: row.get(1)?,
                resource_id: row.get(2)?,
                until: row.get(3)?,
                done: row.get(4)?,
                is_incomplete: row.get(5)?,
            })
        })
        .optional()?;
    let Some(mut pass) = pass else { return Ok(EraseProgress::default()) };
    let limit = limit.max(1);
    let events = pass.events(db, limit)?;
    let mut erased = 0;
    for (sort_key, kind, is_own) in &events {
        pass.done = *sort_key;
        if *is_own {
            if pass.event(db, *sort_key, *kind)? {
                erased += 1;
            } else {
                pass.is_incomplete = true;
            }
        }
    }
    if (events.len() as u32) < limit {
        pass.is_incomplete |= !pass.incidents(db)?;
        pass.finish(db, now)?;
    } else {
        pass.save(db)?;
    }
    Ok(EraseProgress { events: erased, has_more: true })
}

impl Pass {
    /// The next events with the resource's id: sort key, kind, and whether they are of its type.
    fn events(&self, db: &Connection, limit: u32) -> Result<Vec<(i64, EventKind, bool)>> {
        let mut statement = db.prepare_cached(
            "SELECT sort_key, kind, resource_type = ?5 AS is_own FROM event WHERE workspace_id = ?1 AND resource_id = ?2 \
             AND sort_key > ?3 AND sort_key < ?4 ORDER BY sort_key LIMIT ?6",
        )?;
        let values = params![self.workspace_id, self.resource_id, self.done, self.until, self.resource_type, limit];
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push((row.get(0)?, parsed(row, "kind", EventKind::parse)?, row.get(2)?));
        }
        Ok(found)
    }

    /// Erases an event and its deliveries; returns false, and changes nothing, while one of them is not settled.
    fn event(&self, db: &Db<'_>, sort_key: i64, kind: EventKind) -> Result<bool> {
        let is_unsettled = db
            .prepare_cached(
                "SELECT 1 FROM delivery WHERE event_sort_key = ? \
                 AND status NOT IN ('sent', 'failed', 'suppressed', 'skipped') LIMIT 1",
            )?
            .exists([sort_key])?;
        if is_unsettled {
            return Ok(false);
        }
        let mut deliveries = db.prepare_cached(
            "SELECT sort_key, content, attempts, digest_sort_key FROM delivery WHERE event_sort_key = ?",
        )?;
        let mut rows = deliveries.query([sort_key])?;
        let mut update = db.prepare_cached(
            "UPDATE delivery SET content = ?, attempts = ?, last_error = NULL, attempt_state = NULL WHERE sort_key = ?",
        )?;
        while let Some(row) = rows.next()? {
            let content: Option<String> = row.get("content")?;
            let content = content.map(|text| erased_content(kind, &text)).transpose()?;
            let attempts = erased_attempts(row.get_ref("attempts")?.as_str().unwrap_or_default())?;
            let delivery: i64 = row.get("sort_key")?;
            update.execute(params![content, attempts, delivery])?;
            // The index of the history holds copies of names and errors.
            mark_deliveries_stale(db, &[delivery])?;
            if let Some(digest) = row.get("digest_sort_key")? {
                self.digest_entry(db, digest)?;
            }
        }
        let content: String = db
            .prepare_cached("SELECT content FROM event WHERE sort_key = ?")?
            .query_row([sort_key], |row| row.get(0))?;
        db.prepare_cached("UPDATE event SET content = ?, not_routed = NULL WHERE sort_key = ?")?
            .execute(params![erased_content(kind, &content)?, sort_key])?;
        Ok(true)
    }

    /// Erases the resource's entry of a digest.
    fn digest_entry(&self, db: &Connection, delivery: i64) -> Result<()> {
        let found: Option<(i64, String)> = db
            .prepare_cached(
                "SELECT e.sort_key, e.content FROM delivery d CROSS JOIN event e ON e.sort_key = d.event_sort_key \
                 WHERE d.sort_key = ?",
            )?
            .query_row([delivery], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((sort_key, content)) = found else { return Ok(()) };
        let Ok(mut digest) = serde_json::from_str::<Digest>(&content) else { return Ok(()) };
        for entry in &mut digest.entries {
            let is_own = entry.source.as_ref().is_some_and(|source| {
                source.resource_id == self.resource_id && source.resource_type.as_str() == self.resource_type
            });
            if is_own {
                ERASED.clone_into(&mut entry.title);
                (entry.reason, entry.link) = (None, None);
            }
        }
        db.prepare_cached("UPDATE event SET content = ? WHERE sort_key = ?")?
            .execute(params![to_json(&digest)?, sort_key])?;
        Ok(())
    }

    /// Erases the resource's incidents; returns false if one was left out, whose end is still to be notified.
    fn incidents(&self, db: &Connection) -> Result<bool> {
        let mut statement = db.prepare_cached(
            "SELECT sort_key, wake_at IS NOT NULL OR resolved_at IS NULL FROM incident \
             WHERE workspace_id = ? AND resource_id = ? AND resource_type = ? AND sort_key < ?",
        )?;
        let values = params![self.workspace_id, self.resource_id, self.resource_type, self.until];
        let incidents = statement
            .query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(i64, bool)>>>()?;
        let info =
            to_json(&SubjectInfo { name: ERASED.into(), url: None, link: None, fields: Vec::new(), tags: Vec::new() })?;
        for (sort_key, _) in incidents.iter().filter(|(_, is_unfinished)| !is_unfinished) {
            db.prepare_cached("UPDATE incident SET subject_info = ?, cause_detail = NULL WHERE sort_key = ?")?
                .execute(params![info, sort_key])?;
            db.prepare_cached("DELETE FROM incident_timeline WHERE incident = ?")?.execute([sort_key])?;
        }
        Ok(incidents.iter().all(|(_, is_unfinished)| !is_unfinished))
    }

    fn save(&self, db: &Connection) -> Result<()> {
        db.prepare_cached(
            "UPDATE erasure SET done = ?, is_incomplete = ? \
             WHERE workspace_id = ? AND resource_type = ? AND resource_id = ?",
        )?
        .execute(params![
            self.done,
            self.is_incomplete,
            self.workspace_id,
            self.resource_type,
            self.resource_id
        ])?;
        Ok(())
    }

    /// The pass is over: everything is erased, or another pass follows.
    fn finish(&self, db: &Connection, now: Timestamp) -> Result<()> {
        let next_at = self.is_incomplete.then(|| now.plus_ms(RETRY_MS).unix_ms());
        let finished_at = (!self.is_incomplete).then(|| now.unix_ms());
        db.prepare_cached(
            "UPDATE erasure SET done = -1, is_incomplete = 0, next_at = ?, finished_at = ? \
             WHERE workspace_id = ? AND resource_type = ? AND resource_id = ?",
        )?
        .execute(params![next_at, finished_at, self.workspace_id, self.resource_type, self.resource_id])?;
        Ok(())
    }
}

/// The content without what its source wrote: states and instants stay. One that cannot be read is erased as a whole.
fn erased_content(kind: EventKind, text: &str) -> Result<String> {
    Content::from_json(kind, text).map_or_else(|_| Ok("{}".into()), |content| to_json(&content.erased(ERASED)))
}

/// The attempts without errors and responses.
fn erased_attempts(text: &str) -> Result<String> {
    let attempts = attempts::decode_all(text).unwrap_or_default().into_iter();
    let erased = attempts.map(|attempt| Attempt {
        error: None,
        response_headers: None,
        response_body: None,
        note: None,
        ..attempt
    });
    erased.map(|attempt| attempts::encode(&attempt)).collect()
}

/// Forgets erasures that were finished before an instant. Returns how many.
pub(in crate::sqlite) fn prune(db: &Connection, before: Timestamp, limit: u32) -> Result<u32> {
    let until = sort_key_at(before.unix_ms().max(0));
    let old = db
        .prepare_cached(
            "SELECT workspace_id, resource_type, resource_id FROM erasure WHERE until < ? AND finished_at IS NOT NULL \
             LIMIT ?",
        )?
        .query_map(params![until, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<Vec<([u8; 16], String, String)>>>()?;
    for (workspace_id, resource_type, resource_id) in &old {
        db.prepare_cached("DELETE FROM erasure WHERE workspace_id = ? AND resource_type = ? AND resource_id = ?")?
            .execute(params![workspace_id, resource_type, resource_id])?;
    }
    Ok(old.len() as u32)
}
