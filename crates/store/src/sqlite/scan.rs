//! Lists with filters: through the blocks of the history index, newest first, and before them through the rows that are
//! not indexed yet.

use std::ops::RangeInclusive;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::id::{Id as _, WorkspaceId};
use tokio::time::Instant;

use super::index;
use crate::Result;
use crate::history::{Page, SearchedUntil};

/// Events that are read between two checks of the clock. Fewer in tests.
const CHUNK_EVENTS: u32 = if cfg!(test) { 5 } else { 2_048 };

/// Rows that a scan may stop at: their time, by which lists are ordered, and their own key.
pub(super) type Keys = (i64, i64);

/// A list that is read by a scan.
pub(super) trait List {
    type Record;

    /// The column of `history_block` that [`Self::candidates`] gets.
    const VALUES: &'static str;

    /// The rows of these times that match, newest first, at most `limit`.
    fn read_range(&self, db: &Connection, times: RangeInclusive<i64>, limit: u32) -> Result<Vec<Self::Record>>;

    /// Rows of a block that may match, in any order. `row_id` is that of the block.
    fn candidates(&self, db: &Connection, row_id: i64, values: &[u8]) -> Result<Vec<Keys>>;

    /// The row with this key, if it matches.
    fn read_one(&self, db: &Connection, own: i64) -> Result<Option<Self::Record>>;
}

/// Where a scan begins and ends.
pub(super) struct Scan {
    pub(super) workspace_id: WorkspaceId,
    /// The times of the list.
    pub(super) times: RangeInclusive<i64>,
    /// Only rows after this one in the list.
    pub(super) before: Option<Keys>,
    pub(super) limit: u32,
    /// When to return what was found so far. At least one block or chunk is searched.
    pub(super) time_limit: Duration,
}

/// A scan in progress.
struct Progress<'a, L: List> {
    db: &'a Connection,
    list: &'a L,
    scan: &'a Scan,
    deadline: Instant,
    found: Vec<L::Record>,
}

/// Whether a scan goes on.
enum Next {
    Continue,
    /// The page is full.
    Full,
    /// There is no time left; everything at or after this time was searched.
    SearchedUntil(i64),
}

impl Scan {
    pub(super) fn run<L: List>(&self, db: &Connection, list: &L) -> Result<Page<L::Record>> {
        let deadline = Instant::now() + self.time_limit;
        let mut progress = Progress { db, list, scan: self, deadline, found: Vec::new() };
        let next = progress.all()?;
        let until = match next {
            Next::SearchedUntil(time) if time > *self.times.start() => Some(SearchedUntil::of(time)),
            _ => None,
        };
        Ok(Page { records: progress.found, searched_until: until })
    }
}

impl<L: List> Progress<'_, L> {
    fn left(&self) -> u32 {
        self.scan.limit.saturating_sub(self.found.len() as u32)
    }

    fn all(&mut self) -> Result<Next> {
        if self.scan.limit == 0 {
            return Ok(Next::Full);
        }
        let (lowest, highest) = (*self.scan.times.start(), *self.scan.times.end());
        let indexed = index::indexed_until(self.db, self.scan.workspace_id)?;
        if highest > indexed
            && let next @ (Next::Full | Next::SearchedUntil(_)) = self.rows(lowest.max(indexed + 1)..=highest)?
        {
            return Ok(next);
        }
        self.blocks(lowest, highest.min(indexed))
    }

    /// Reads the rows themselves.
    fn rows(&mut self, times: RangeInclusive<i64>) -> Result<Next> {
        let (lowest, mut highest) = times.into_inner();
        while highest >= lowest {
            let from = self.chunk(lowest, highest)?;
            let left = self.left();
            self.found.extend(self.list.read_range(self.db, from..=highest, left)?);
            if self.left() == 0 {
                return Ok(Next::Full);
            }
            if Instant::now() >= self.deadline {
                return Ok(Next::SearchedUntil(from));
            }
            highest = from - 1;
        }
        Ok(Next::Continue)
    }

    /// Where the newest [`CHUNK_EVENTS`] events of these times begin.
    fn chunk(&self, lowest: i64, highest: i64) -> Result<i64> {
        let first: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT sort_key FROM event WHERE workspace_id = ? AND sort_key >= ? AND sort_key <= ? \
                 ORDER BY sort_key DESC LIMIT 1 OFFSET ?",
            )?
            .query_row(params![self.scan.workspace_id.as_bytes(), lowest, highest, CHUNK_EVENTS - 1], |row| row.get(0))
            .optional()?;
        Ok(first.unwrap_or(lowest))
    }

    fn blocks(&mut self, lowest: i64, highest: i64) -> Result<Next> {
        let workspace_id = self.scan.workspace_id.as_bytes();
        let top: Option<i64> = self
            .db
            .prepare_cached("SELECT min(last) FROM history_block WHERE workspace_id = ? AND last >= ?")?
            .query_row(params![workspace_id, highest], |row| row.get(0))?;
        let mut blocks = self.db.prepare_cached(&format!(
            "SELECT rowid, first, last, is_stale, {} FROM history_block WHERE workspace_id = ? AND last <= ? \
             AND last >= ? ORDER BY last DESC",
            L::VALUES
        ))?;
        let mut rows = blocks.query(params![workspace_id, top.unwrap_or(highest), lowest])?;
        while let Some(row) = rows.next()? {
            let (first, last): (i64, i64) = (row.get(1)?, row.get(2)?);
            // Between the blocks there may be a gap whose rows were all deleted.
            if first > highest {
                continue;
            }
            let times = first.max(lowest)..=last.min(highest);
            let next = if row.get(3)? {
                self.rows(times.clone())?
            } else {
                let mut candidates =
                    self.list.candidates(self.db, row.get(0)?, row.get_ref(4)?.as_blob().unwrap_or_default())?;
                candidates
                    .retain(|keys| times.contains(&keys.0) && self.scan.before.is_none_or(|before| *keys < before));
                self.candidates(candidates)?
            };
            match next {
                Next::Continue if Instant::now() >= self.deadline => return Ok(Next::SearchedUntil(*times.start())),
                Next::Continue => {}
                next => return Ok(next),
            }
        }
        Ok(Next::Continue)
    }

    /// Reads the candidates of a block, newest first.
    fn candidates(&mut self, mut candidates: Vec<Keys>) -> Result<Next> {
        candidates.sort_unstable_by(|one, other| other.cmp(one));
        let mut before = None;
        for (time, own) in candidates {
            // Between two times only: of one time all rows are searched, or none.
            if before.is_some_and(|before| before > time) && Instant::now() >= self.deadline {
                return Ok(Next::SearchedUntil(time + 1));
            }
            self.found.extend(self.list.read_one(self.db, own)?);
            if self.left() == 0 {
                return Ok(Next::Full);
            }
            before = Some(time);
        }
        Ok(Next::Continue)
    }
}
