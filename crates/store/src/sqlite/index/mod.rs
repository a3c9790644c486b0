//! The history index: for every 1,024 events of a workspace and their deliveries one *block*, in which lists look up
//! which rows match a filter or contain a text.
//!
//! # Why blocks
//!
//! An ordinary index for each filter would cost the hot path an insert each, and would not help a combination of two
//! filters of which each matches a lot. A block is built behind the hot path, in one piece and from rows that were
//! written before: about as much work as reading them. It answers every combination: a list without a match reads the
//! small dictionaries of all blocks, or their texts, and no row.
//!
//! # Flow
//!
//! ```text
//! [`Indexer::next_ranges`]  which workspaces have 256 events that are not indexed         (read)
//! [`insert_ranges`]         adds their range to the last block, or a block, which is stale  (write)
//! [`build::rebuild`]        reads the rows of stale and open blocks, and encodes them      (read)
//! [`replace`]               writes the blocks, unless they changed meanwhile               (write)
//! ```
//!
//! Lists ([`super::scan`]) take blocks as a hint only: each candidate is read by its key and checked. So a block may
//! name rows that match no more, but must not lack one that does:
//!
//! - A row that is not settled when its block is built is *open*: it may match any status, reason and error. Blocks
//!   with open rows are rebuilt from time to time.
//! - Whatever changes a settled row, or adds one to a range that has a block, marks the block as stale in the same
//!   transaction ([`mark_stale`]). The rows of a stale block are read instead, until it is rebuilt. The change also
//!   raises the block's revision, so that a rebuild which read the rows before is not written.
//!
//! Rows after the last block of their workspace are read as they are.

pub(super) mod build;
pub(super) mod columns;

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::id::{Id as _, WorkspaceId, sort_key_at, sort_key_time};
use tidings_domain::time::Timestamp;

use super::db::Db;
use super::row::id;
use crate::Result;
use build::Block;

/// Events of a block, or deliveries if there are more of them. Enough that the texts of a million rows are a thousand
/// reads; few enough that a stale block, and what is not indexed, is read in milliseconds.
/// Fewer in tests.
pub(super) const BLOCK_ROWS: u32 = if cfg!(test) { 8 } else { 1_024 };
/// Events of a workspace that are indexed together. What is not indexed is fewer than these and read row by row.
const STEP_EVENTS: u32 = BLOCK_ROWS / 4;
/// Steps that one call builds at most of new events.
const NEW_STEPS_MAX: u32 = 16;
/// Events that one call counts at most: what it builds, and enough to see that there is more.
const COUNTED_MAX: u32 = (NEW_STEPS_MAX + 1) * STEP_EVENTS;
/// Blocks that one call rebuilds at most because they are stale, and because they have open rows.
const STALE_MAX: u32 = 32;
const OPEN_MAX: u32 = 8;
/// Blocks that are read in one transaction and replaced in one: some 20 ms, in which the write-ahead log cannot be
/// emptied, and about 200 KiB, for which other writes wait.
pub(super) const TOGETHER_MAX: usize = 4;
/// How long after its acceptance an event is indexed: nearly all deliveries are settled by then.
const LAG_MS: u64 = 1_000;
/// How long after it was built a block with open rows is built again: at least so long, and a part of its age, because
/// what is not settled after hours will probably not be in the next minutes.
const OPEN_REBUILD_MS: u64 = 5_000;
const OPEN_REBUILD_AGE_PART: u64 = 16;

/// The range of a new block: the sort keys after those of the block before, up to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    workspace_id: WorkspaceId,
    first: i64,
    last: i64,
}

/// What the index has come to, as far as it need not be read again. Losing it costs reads, nothing else.
#[derive(Default)]
pub(super) struct Indexer {
    /// The newest event at the last call.
    newest: i64,
    /// Of each workspace: events that are not indexed, counted up to this sort key.
    counted: HashMap<WorkspaceId, (i64, u32)>,
}

impl Indexer {
    /// The ranges for new blocks, and whether there are more.
    pub(super) fn next_ranges(&mut self, db: &Connection, now: Timestamp) -> Result<(Vec<Range>, bool)> {
        let before = sort_key_at(now.minus_ms(LAG_MS).unix_ms().max(0));
        let newest = db
            .prepare_cached("SELECT coalesce(max(sort_key), -1) FROM event WHERE sort_key < ?")?
            .query_row([before], |row| row.get(0))?;
        if self.newest == newest {
            return Ok((Vec::new(), false));
        }
        let (mut ranges, mut left) = (Vec::new(), NEW_STEPS_MAX);
        for workspace_id in workspaces_of_events(db)? {
            let indexed = indexed_until(db, workspace_id)?;
            let (counted_until, count) = self.counted.entry(workspace_id).or_default();
            if *counted_until < indexed {
                (*counted_until, *count) = (indexed, 0);
            }
            // Counted on from where the last call came to, and no further than needed: however often this is called, and
            // however much is not indexed, an event is counted about once.
            let (events, last) = match nth_event(db, workspace_id, *counted_until, before, COUNTED_MAX)? {
                Some(last) => (COUNTED_MAX, Some(last)),
                None => count_events(db, workspace_id, *counted_until, before)?,
            };
            (*counted_until, *count) = (last.unwrap_or(*counted_until), *count + events);
            let steps = *count / STEP_EVENTS;
            if steps == 0 {
                continue;
            }
            if left == 0 {
                return Ok((ranges, true));
            }
            let steps = steps.min(left);
            left -= steps;
            let last = nth_event(db, workspace_id, indexed, before, steps * STEP_EVENTS)?;
            // Missing if events were deleted since they were counted.
            let Some(last) = last else {
                self.counted.remove(&workspace_id);
                continue;
            };
            let has_more = *count - steps * STEP_EVENTS >= STEP_EVENTS;
            // The next call counts again from the end of the range.
            self.counted.insert(workspace_id, (last, 0));
            ranges.push(Range { workspace_id, first: indexed + 1, last });
            if has_more {
                return Ok((ranges, true));
            }
        }
        self.newest = newest;
        Ok((ranges, false))
    }
}

/// The sort key of the workspace's `number`-th event between these, if there are as many.
fn nth_event(db: &Connection, workspace_id: WorkspaceId, after: i64, before: i64, number: u32) -> Result<Option<i64>> {
    Ok(db
        .prepare_cached(
            "SELECT sort_key FROM event WHERE workspace_id = ? AND sort_key > ? AND sort_key < ? \
             ORDER BY sort_key LIMIT 1 OFFSET ?",
        )?
        .query_row(params![workspace_id.as_bytes(), after, before, number - 1], |row| row.get(0))
        .optional()?)
}

/// How many events the workspace has between these, and the sort key of the last one.
fn count_events(db: &Connection, workspace_id: WorkspaceId, after: i64, before: i64) -> Result<(u32, Option<i64>)> {
    Ok(db
        .prepare_cached(
            "SELECT count(*), max(sort_key) FROM event WHERE workspace_id = ? AND sort_key > ? AND sort_key < ?",
        )?
        .query_row(params![workspace_id.as_bytes(), after, before], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// The workspaces that have events, found by skipping from one to the next through the index.
fn workspaces_of_events(db: &Connection) -> Result<Vec<WorkspaceId>> {
    let mut next =
        db.prepare_cached("SELECT workspace_id FROM event WHERE workspace_id > ? ORDER BY workspace_id LIMIT 1")?;
    let (mut found, mut after) = (Vec::new(), Vec::new());
    loop {
        let mut rows = next.query([&after])?;
        let Some(row) = rows.next()? else { return Ok(found) };
        let workspace_id: WorkspaceId = id(row, "workspace_id")?;
        after = workspace_id.as_bytes().to_vec();
        found.push(workspace_id);
    }
}

/// The end of the workspace's last block; -1 if it has none.
pub(super) fn indexed_until(db: &Connection, workspace_id: WorkspaceId) -> Result<i64> {
    Ok(db
        .prepare_cached("SELECT coalesce(max(last), -1) FROM history_block WHERE workspace_id = ?")?
        .query_row([workspace_id.as_bytes()], |row| row.get(0))?)
}

/// The end of the last block of all workspaces; -1 if there is none.
pub(super) fn indexed_until_of_all(db: &Connection) -> Result<i64> {
    let mut ends = workspaces_of_events(db)?.into_iter().map(|id| indexed_until(db, id));
    ends.try_fold(-1, |latest, end| Ok(latest.max(end?)))
}

/// Adds each range to the last block of its workspace, which becomes stale, or inserts a stale block for it if that one
/// is full.
pub(super) fn insert_ranges(db: &Db<'_>, ranges: &[Range]) -> Result<()> {
    for Range { workspace_id, first, last } in ranges {
        let grown = db
            .prepare_cached(
                "UPDATE history_block SET last = ?, is_stale = 1, revision = revision + 1 \
                 WHERE workspace_id = ? AND last = ? AND row_count < ?",
            )?
            .execute(params![last, workspace_id.as_bytes(), first - 1, BLOCK_ROWS])?;
        if grown == 0 {
            db.prepare_cached("INSERT INTO history_block (workspace_id, last, first, is_stale) VALUES (?, ?, ?, 1)")?
                .execute(params![workspace_id.as_bytes(), last, first])?;
        }
        db.indexed_until.set(db.indexed_until.get().max(*last));
    }
    Ok(())
}

/// Marks the block that holds this sort key as stale, if there is one. Called in the transaction that changes a settled
/// delivery, deletes an event, or inserts one before the end of the index. The sort key is the event's, or the
/// delivery's own if it is deferred.
pub(super) fn mark_stale(db: &Connection, workspace_id: WorkspaceId, sort_key: i64) -> Result<()> {
    db.prepare_cached(
        "UPDATE history_block SET is_stale = 1, revision = revision + 1, first = min(first, ?2) \
         WHERE workspace_id = ?1 AND last = \
         (SELECT last FROM history_block WHERE workspace_id = ?1 AND last >= ?2 ORDER BY last LIMIT 1)",
    )?
    .execute(params![workspace_id.as_bytes(), sort_key])?;
    Ok(())
}

/// [`mark_stale`] for what holds these deliveries, by sort key.
pub(super) fn mark_deliveries_stale(db: &Connection, sort_keys: &[i64]) -> Result<()> {
    let mut read = db.prepare_cached(
        "SELECT workspace_id, iif(sequence > 1, sort_key, event_sort_key) FROM delivery WHERE sort_key = ?",
    )?;
    for sort_key in sort_keys {
        let found = read.query_row([sort_key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((workspace_id, time)) = found {
            mark_stale(db, WorkspaceId::from_bytes(workspace_id), time)?;
        }
    }
    Ok(())
}

/// A block to build again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outdated {
    row_id: i64,
    range: Range,
    revision: i64,
    is_stale: bool,
}

/// The stale blocks, and those whose open rows may be settled by now, of each a bounded number; and whether there are
/// more stale ones.
pub(super) fn outdated(db: &Connection, now: Timestamp) -> Result<(Vec<Outdated>, bool)> {
    let read = |row: &rusqlite::Row<'_>| {
        let range = Range {
            workspace_id: WorkspaceId::from_bytes(row.get("workspace_id")?),
            first: row.get("first")?,
            last: row.get("last")?,
        };
        let (row_id, revision) = (row.get("rowid")?, row.get("revision")?);
        Ok(Outdated { row_id, range, revision, is_stale: row.get("is_stale")? })
    };
    let mut found: Vec<Outdated> = db
        .prepare_cached(
            "SELECT rowid, workspace_id, first, last, revision, is_stale \
             FROM history_block INDEXED BY history_block_stale WHERE is_stale = 1 LIMIT ?",
        )?
        .query_map([STALE_MAX], read)?
        .collect::<rusqlite::Result<_>>()?;
    let has_more = found.len() as u32 == STALE_MAX;
    let open = db
        .prepare_cached(
            "SELECT rowid, workspace_id, first, last, revision, is_stale \
             FROM history_block INDEXED BY history_block_open WHERE open_count > 0 AND rebuild_at <= ? \
             ORDER BY rebuild_at LIMIT ?",
        )?
        .query_map(params![now.unix_ms(), OPEN_MAX], read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    found.extend(open.into_iter().filter(|block| !block.is_stale));
    Ok((found, has_more))
}

/// A block that was built again.
#[derive(Debug)]
pub(super) struct Rebuilt {
    outdated: Outdated,
    /// None if no row is left; several if there are many.
    blocks: Vec<Block>,
}

impl Rebuilt {
    pub(super) fn of(db: &Connection, outdated: Outdated) -> Result<Self> {
        let Range { workspace_id, first, last } = outdated.range;
        Ok(Self { outdated, blocks: build::rebuild(db, workspace_id, first, last)? })
    }
}

/// Writes blocks that were built again. One that was marked as stale since it was read is left alone.
pub(super) fn replace(db: &Db<'_>, rebuilt: &[Rebuilt], now: Timestamp) -> Result<()> {
    for Rebuilt { outdated: Outdated { row_id, range, revision, .. }, blocks } in rebuilt {
        let deleted = db
            .prepare_cached("DELETE FROM history_block WHERE rowid = ? AND revision = ?")?
            .execute(params![row_id, revision])?;
        if deleted == 0 {
            continue;
        }
        let mut insert = db.prepare_cached(
            "INSERT INTO history_block (workspace_id, last, first, revision, is_stale, row_count, open_count, rebuild_at, \
             event_values, delivery_values, delivery_codes, event_codes, event_keys, delivery_keys, texts) \
             VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for block in blocks {
            insert.execute(params![
                range.workspace_id.as_bytes(),
                block.last,
                block.first,
                revision,
                block.row_count,
                block.open_count,
                rebuild_at(block.last, now).unix_ms(),
                block.events.values,
                block.deliveries.values,
                block.deliveries.codes,
                block.events.codes,
                block.events.keys,
                block.deliveries.keys,
                block.texts,
            ])?;
        }
    }
    Ok(())
}

/// When a block that ends at this sort key is built again if it has open rows.
fn rebuild_at(last: i64, now: Timestamp) -> Timestamp {
    let age_ms = now.unix_ms().saturating_sub(sort_key_time(last).unix_ms()).max(0).unsigned_abs();
    now.plus_ms(OPEN_REBUILD_MS.max(age_ms / OPEN_REBUILD_AGE_PART))
}

/// How many blocks these are.
pub(super) fn count_blocks(rebuilt: &[Rebuilt]) -> u32 {
    rebuilt.iter().map(|it| it.blocks.len() as u32).sum()
}
