//! Fold: events into resources, and the writer's notes into counts by minute.

use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Deserialize;
use tidings_domain::event::EventKind;
use tidings_domain::id::sort_key_at;
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use super::recent::{self, Entry};
use super::staged::Unfolded;
use crate::Result;
use crate::insights::{FoldProgress, OutcomeStatus, RECENT_RUNS};
use crate::sqlite::SqliteStore;
use crate::sqlite::db::Db;
use crate::sqlite::row::{corrupt, parsed};
use crate::sqlite::search::fold as fold_case;

/// Events that one transaction reads: a few milliseconds of a reader.
const EVENTS_MAX: u32 = 1_000;
/// Resources that one transaction writes: a few milliseconds of the writer.
const RESOURCES_MAX: usize = 100;
/// How long before the last folded event a start folds again, in milliseconds: ids are made before their commit, and a
/// process that was killed may have committed some late.
const OVERLAP_MS: i64 = 120_000;
/// Bits of a sort key below its millisecond.
const NUMBER_BITS: u32 = 21;

/// What is known of a resource from the events that were read.
#[derive(Debug, Clone)]
pub(in crate::sqlite) struct Seen {
    first_seen_at: i64,
    last_seen_at: i64,
    runs: Vec<Entry>,
    last: Last,
}

/// The last of the events that were read, by when it happened.
#[derive(Debug, Clone)]
struct Last {
    at: i64,
    event: i64,
    status: OutcomeStatus,
    duration_ms: Option<u64>,
    name: Option<String>,
}

/// Workspace, type and id.
type Key = ([u8; 16], ResourceType, String);

/// Events that were read.
#[derive(Debug, Default)]
pub(in crate::sqlite) struct Read {
    resources: BTreeMap<Key, Seen>,
    events: u32,
    last_key: Option<i64>,
}

/// Where folding continues after a start.
pub(in crate::sqlite) fn start(db: &Connection) -> Result<i64> {
    let done: Option<i64> =
        db.query_row("SELECT sort_key FROM fold_progress WHERE one = 1", [], |row| row.get(0)).optional()?;
    Ok(done.map_or(0, |sort_key| sort_key_at(((sort_key >> NUMBER_BITS) - OVERLAP_MS).max(0))))
}

/// Gives back what was taken to be folded, unless it was folded: also when the caller drops its future.
struct GiveBack<'a> {
    unfolded: &'a Unfolded,
    from: Option<i64>,
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        if let Some(from) = self.from {
            self.unfolded.add(from);
        }
    }
}

pub(super) async fn fold(store: &SqliteStore, limit: u32) -> Result<FoldProgress> {
    let Some(from) = store.unfolded.take() else {
        if store.unfolded.has_counts() {
            store.writer.run_batched("fold", flush).await?;
        }
        return Ok(FoldProgress::default());
    };
    let mut taken = GiveBack { unfolded: &store.unfolded, from: Some(from) };
    // Many events before one write: a resource that has runs all the time is written once.
    let mut read = Read::default();
    let mut next = Some(from);
    while let Some(start) = next.filter(|_| read.events < limit.max(1)) {
        let chunk = (limit.max(1) - read.events).min(EVENTS_MAX);
        let more = store.readers.run(move |db| self::read(db, start, chunk)).await?;
        next = more.last_key.filter(|_| more.events == chunk).map(|last| last.saturating_add(1));
        read.merge(more);
    }
    let mut progress = FoldProgress { events: read.events, ..FoldProgress::default() };
    let mut resources: Vec<_> = read.resources.into_iter().collect();
    loop {
        let rest = resources.split_off(resources.len().min(RESOURCES_MAX));
        let done = read.last_key.filter(|_| rest.is_empty());
        progress.resources += resources.len() as u32;
        store
            .writer
            .run_batched("fold", move |db| {
                let has_erasures = has_erasures(db, from)?;
                resources.iter().try_for_each(|(key, seen)| write(db, key, seen, has_erasures))?;
                flush(db)?;
                done.map_or(Ok(()), |done| record_progress(db, done))
            })
            .await?;
        if rest.is_empty() {
            break;
        }
        resources = rest;
    }
    taken.from = None;
    if let Some(next) = next {
        store.unfolded.add(next);
        progress.has_more = true;
    }
    Ok(progress)
}

fn record_progress(db: &Connection, sort_key: i64) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO fold_progress (one, sort_key) VALUES (1, ?) \
         ON CONFLICT DO UPDATE SET sort_key = max(sort_key, excluded.sort_key)",
    )?
    .execute([sort_key])?;
    Ok(())
}

/// Writes everything that was read at once, and the progress.
#[cfg(test)]
pub(in crate::sqlite) fn write_all(db: &Db<'_>, read: &Read, done: Option<i64>) -> Result<()> {
    read.resources.iter().try_for_each(|(key, seen)| write(db, key, seen, true))?;
    flush(db)?;
    done.map_or(Ok(()), |done| record_progress(db, done))
}

/// The facts of a run that a resource shows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunFacts<'a> {
    #[serde(borrow, default)]
    resource_name: Option<Cow<'a, str>>,
    completed_at: Timestamp,
    #[serde(default)]
    duration_ms: Option<u64>,
}

/// The facts of an incident that an alert shows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IncidentFacts<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    started_at: Timestamp,
    #[serde(default)]
    resolved_at: Option<Timestamp>,
    at: Timestamp,
}

/// Reads the events from this sort key on. Endpoints are left out: their resources are written with their configuration.
pub(in crate::sqlite) fn read(db: &Connection, from: i64, limit: u32) -> Result<Read> {
    let mut statement = db.prepare_cached(
        "SELECT sort_key, workspace_id, kind, resource_type, resource_id, trigger, received_at, content FROM event \
         WHERE sort_key >= ? ORDER BY sort_key LIMIT ?",
    )?;
    let mut rows = statement.query(params![from, limit])?;
    let erased = erased_since(db, from)?;
    let mut found = Read::default();
    while let Some(row) = rows.next()? {
        let event: i64 = row.get("sort_key")?;
        found.events += 1;
        found.last_key = Some(event);
        let kind = parsed(row, "kind", EventKind::parse)?;
        let resource_type = parsed(row, "resource_type", ResourceType::parse)?;
        let is_alert = kind.is_incident() && resource_type == ResourceType::Alert;
        if !(kind.is_run() || is_alert) {
            continue;
        }
        let content = row.get_ref("content")?.as_str().map_err(|_| corrupt("content", "no text"))?;
        let seen_at = row.get("received_at")?;
        let trigger = parsed(row, "trigger", Trigger::parse)?;
        // One that cannot be decoded would stop the folding of all others for ever.
        let Some(last) = facts(event, is_alert, trigger, content) else {
            tracing::error!(event, "failed to decode the content of an event, leaving it out of its resource");
            continue;
        };
        let key = (row.get("workspace_id")?, resource_type, row.get("resource_id")?);
        if erased.get(&key).is_some_and(|until| event < *until) {
            continue;
        }
        let run = Entry { completed_at: last.at, event, is_success: last.status == OutcomeStatus::Success };
        let runs = if is_alert { Vec::new() } else { vec![run] };
        let seen = Seen { first_seen_at: seen_at, last_seen_at: seen_at, runs, last };
        found.add(key, seen);
    }
    Ok(found)
}

/// Whether any resource was erased after this sort key.
pub(in crate::sqlite) fn has_erasures(db: &Connection, from: i64) -> Result<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM erasure WHERE until > ? LIMIT 1")?.exists([from])?)
}

/// The resources that were erased after this sort key, with the key before which events do not count.
fn erased_since(db: &Connection, from: i64) -> Result<BTreeMap<Key, i64>> {
    let mut statement =
        db.prepare_cached("SELECT workspace_id, resource_type, resource_id, until FROM erasure WHERE until > ?")?;
    let mut rows = statement.query([from])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let key = (row.get(0)?, parsed(row, "resource_type", ResourceType::parse)?, row.get(2)?);
        found.insert(key, row.get(3)?);
    }
    Ok(found)
}

fn facts(event: i64, is_alert: bool, trigger: Trigger, content: &str) -> Option<Last> {
    if is_alert {
        let facts: IncidentFacts<'_> = serde_json::from_str(content).ok()?;
        let (status, duration_ms) = match facts.resolved_at {
            None => (OutcomeStatus::Active, None),
            Some(resolved_at) => (OutcomeStatus::Resolved, Some(resolved_at.since_ms(facts.started_at))),
        };
        return Some(Last { at: facts.at.unix_ms(), event, status, duration_ms, name: Some(facts.name.into_owned()) });
    }
    let facts: RunFacts<'_> = serde_json::from_str(content).ok()?;
    let status = if trigger == Trigger::Success { OutcomeStatus::Success } else { OutcomeStatus::Failure };
    Some(Last {
        at: facts.completed_at.unix_ms(),
        event,
        status,
        duration_ms: facts.duration_ms,
        name: facts.resource_name.map(Cow::into_owned),
    })
}

impl Read {
    fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.last_key = self.last_key.max(other.last_key);
        for (key, seen) in other.resources {
            self.add(key, seen);
        }
    }

    fn add(&mut self, key: Key, seen: Seen) {
        match self.resources.entry(key) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert(seen);
            }
            btree_map::Entry::Occupied(mut entry) => entry.get_mut().merge(seen),
        }
    }
}

impl Seen {
    fn merge(&mut self, other: Self) {
        self.first_seen_at = self.first_seen_at.min(other.first_seen_at);
        self.last_seen_at = self.last_seen_at.max(other.last_seen_at);
        self.runs.extend(other.runs);
        // Only the newest are stored; the others would only take memory.
        if self.runs.len() > 4 * RECENT_RUNS {
            self.runs.sort_unstable_by(|one, other| other.cmp(one));
            self.runs.truncate(RECENT_RUNS);
        }
        if (other.last.at, other.last.event) > (self.last.at, self.last.event) {
            // A later run without a name does not make its resource nameless.
            let name = other.last.name.clone().or_else(|| self.last.name.take());
            self.last = Last { name, ..other.last };
        } else if self.last.name.is_none() {
            self.last.name = other.last.name;
        }
    }
}

/// What is stored of a resource.
#[derive(Default)]
struct Stored {
    recent: Vec<u8>,
    last: (i64, i64),
    own_name: Option<String>,
    reported_name: Option<String>,
}

/// Writes what was seen of a resource, merged with what is stored.
fn write(
    db: &Connection,
    (workspace_id, resource_type, resource_id): &Key,
    seen: &Seen,
    has_erasures: bool,
) -> Result<()> {
    let resource_type = resource_type.as_str();
    if has_erasures {
        let erased_until: Option<i64> = db
            .prepare_cached(
                "SELECT until FROM erasure WHERE workspace_id = ? AND resource_type = ? AND resource_id = ?",
            )?
            .query_row(params![workspace_id, resource_type, resource_id], |row| row.get(0))
            .optional()?;
        // Erased after the events were read.
        if erased_until.is_some_and(|until| seen.last.event < until) {
            return Ok(());
        }
    }
    let stored = db
        .prepare_cached(
            "SELECT recent, last_at, last_event, name, reported_name FROM resource \
             WHERE workspace_id = ? AND resource_type = ? AND resource_id = ?",
        )?
        .query_row(params![workspace_id, resource_type, resource_id], |row| {
            let last = (row.get(1)?, row.get(2)?);
            Ok(Stored { recent: row.get(0)?, last, own_name: row.get(3)?, reported_name: row.get(4)? })
        })
        .optional()?
        .unwrap_or_default();
    // A list that cannot be decoded is replaced.
    let recent = recent::merge(&stored.recent, &seen.runs).or_else(|_| recent::merge(&[], &seen.runs))?;
    let Last { at, event, status, duration_ms, name } = &seen.last;
    let is_later = (*at, *event) >= stored.last;
    let reported_name = if is_later {
        name.as_ref().or(stored.reported_name.as_ref())
    } else {
        stored.reported_name.as_ref().or(name.as_ref())
    };
    let title = stored.own_name.as_ref().or(reported_name).unwrap_or(resource_id);
    db.prepare_cached(
        "INSERT INTO resource (workspace_id, resource_type, resource_id, title, reported_name, first_seen_at, \
         last_seen_at, last_event, last_at, last_status, last_duration_ms, recent) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT DO UPDATE SET title = ?4, \
         reported_name = ?5, first_seen_at = min(first_seen_at, ?6), last_seen_at = max(last_seen_at, ?7), \
         recent = ?12, last_event = iif(?13, ?8, last_event), last_at = iif(?13, ?9, last_at), \
         last_status = iif(?13, ?10, last_status), last_duration_ms = iif(?13, ?11, last_duration_ms)",
    )?
    .execute(params![
        workspace_id,
        resource_type,
        resource_id,
        fold_case(title),
        reported_name,
        seen.first_seen_at,
        seen.last_seen_at,
        event,
        at,
        status.as_str(),
        duration_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
        recent,
        is_later,
    ])?;
    Ok(())
}

/// Adds the writer's counts to those of their minutes.
pub(in crate::sqlite) fn flush(db: &Db<'_>) -> Result<()> {
    db.notes.flush(|(workspace_id, minute), counts| {
        use tidings_domain::id::Id as _;
        db.prepare_cached(
            "INSERT INTO activity_minute (workspace_id, minute, sent, failed, suppressed, skipped, runs_succeeded, \
             runs_failed) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET sent = sent + excluded.sent, \
             failed = failed + excluded.failed, suppressed = suppressed + excluded.suppressed, \
             skipped = skipped + excluded.skipped, runs_succeeded = runs_succeeded + excluded.runs_succeeded, \
             runs_failed = runs_failed + excluded.runs_failed",
        )?
        .execute(params![
            workspace_id.as_bytes(),
            minute,
            counts.sent as i64,
            counts.failed as i64,
            counts.suppressed as i64,
            counts.skipped as i64,
            counts.runs_succeeded as i64,
            counts.runs_failed as i64,
        ])?;
        Ok(())
    })
}
