//! Builds blocks from the rows of a range.

use std::borrow::Cow;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use serde::Deserialize;
use tidings_domain::delivery::Status;
use tidings_domain::id::{Id as _, WorkspaceId};

use super::BLOCK_ROWS;
use super::columns::{Columns, ColumnsBuilder, PART, TextsBuilder, hash};
use crate::Result;
use crate::sqlite::search::fold;

/// The columns of events, by their numbers in [`super::columns::Wanted`].
pub(in crate::sqlite) mod event_column {
    pub(in crate::sqlite) const KIND: usize = 0;
    pub(in crate::sqlite) const RESOURCE_TYPE: usize = 1;
    pub(in crate::sqlite) const RESOURCE_ID: usize = 2;
    pub(in crate::sqlite) const TRIGGER: usize = 3;
    pub(in crate::sqlite) const COUNT: usize = 4;
}

/// The columns of deliveries.
pub(in crate::sqlite) mod delivery_column {
    pub(in crate::sqlite) const KIND: usize = 0;
    pub(in crate::sqlite) const RESOURCE_TYPE: usize = 1;
    pub(in crate::sqlite) const RESOURCE_ID: usize = 2;
    pub(in crate::sqlite) const CHANNEL: usize = 3;
    pub(in crate::sqlite) const RULE: usize = 4;
    /// [`super::OPEN`] if the delivery is open.
    pub(in crate::sqlite) const STATUS: usize = 5;
    /// [`super::OPEN`] if the delivery is open.
    pub(in crate::sqlite) const REASON: usize = 6;
    pub(in crate::sqlite) const COUNT: usize = 7;
}

/// The columns of texts of deliveries: resource, run, last error.
pub(in crate::sqlite) const TEXT_COLUMNS: usize = 3;
/// The value of a status or reason that may still change.
pub(in crate::sqlite) const OPEN: u64 = 0;
/// The last error of a delivery that is open: no other text contains this byte.
pub(in crate::sqlite) const OPEN_TEXT: [u8; 1] = [PART];

/// An encoded block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) first: i64,
    pub(super) last: i64,
    /// Events or deliveries, whichever are more.
    pub(super) row_count: u32,
    /// Open deliveries.
    pub(super) open_count: u32,
    pub(super) events: Columns,
    pub(super) deliveries: Columns,
    pub(super) texts: Vec<u8>,
}

/// The block that is being filled.
#[derive(Default)]
struct Builder {
    events: ColumnsBuilder<{ event_column::COUNT }>,
    deliveries: ColumnsBuilder<{ delivery_column::COUNT }>,
    texts: TextsBuilder<TEXT_COLUMNS>,
    open_count: u32,
}

impl Builder {
    fn is_full(&self) -> bool {
        self.row_count() >= BLOCK_ROWS
    }

    fn row_count(&self) -> u32 {
        self.events.len().max(self.deliveries.len()) as u32
    }

    fn finish(self, first: i64, last: i64) -> Block {
        let (row_count, open_count) = (self.row_count(), self.open_count);
        let (events, deliveries, texts) = (self.events.finish(), self.deliveries.finish(), self.texts.finish());
        Block { first, last, row_count, open_count, events, deliveries, texts }
    }

    fn add_event(&mut self, sort_key: i64, row: &Row<'_>) -> Result<()> {
        let values = [hash_of(row, 1)?, hash_of(row, 2)?, hash_of(row, 3)?, hash_of(row, 4)?];
        self.events.push((sort_key, sort_key), values);
        Ok(())
    }

    /// Adds a delivery, which is listed at this time.
    fn add_delivery(&mut self, time: i64, sort_key: i64, row: &Row<'_>) -> Result<()> {
        let is_settled = Status::parse(row.get_ref(8)?.as_str().unwrap_or_default()).is_some_and(Status::is_settled);
        let or_open = |value| if is_settled { value } else { OPEN };
        self.open_count += u32::from(!is_settled);
        let values = [
            hash_of(row, 1)?,
            hash_of(row, 2)?,
            hash_of(row, 3)?,
            hash_of(row, 10)?,
            hash_of(row, 11)?,
            or_open(hash_of(row, 8)?),
            or_open(hash_of(row, 9)?),
        ];
        self.deliveries.push((time, sort_key), values);
        self.add_texts(is_settled, row)
    }

    fn add_texts(&mut self, is_settled: bool, row: &Row<'_>) -> Result<()> {
        let resource_id = text(row, 3)?;
        let names = Names::of(text(row, 6)?);
        let name = |name: &Option<Cow<'_, str>>| name.as_deref().map_or(0, |name| hash(name.as_bytes()));
        let key = hash(resource_id.as_bytes())
            ^ name(&names.of_run).rotate_left(21)
            ^ name(&names.of_subject).rotate_left(42);
        self.texts.push(0, key, |into| {
            into.extend_from_slice(fold(resource_id).as_bytes());
            for name in [&names.of_run, &names.of_subject].into_iter().flatten() {
                into.push(PART);
                into.extend_from_slice(fold(name).as_bytes());
            }
        });
        let run_id = text(row, 5)?;
        self.texts.push(1, hash(run_id.as_bytes()), |into| into.extend_from_slice(fold(run_id).as_bytes()));
        let error = text(row, 12)?;
        if is_settled {
            self.texts.push(2, hash(error.as_bytes()), |into| into.extend_from_slice(fold(error).as_bytes()));
        } else {
            self.texts.push(2, OPEN, |into| into.extend_from_slice(&OPEN_TEXT));
        }
        Ok(())
    }
}

/// A text column; NULL as the empty text.
fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(text) => std::str::from_utf8(text).unwrap_or_default(),
        _ => "",
    })
}

/// The hash of a column's value.
fn hash_of(row: &Row<'_>, column: usize) -> Result<u64> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => hash(bytes),
        _ => hash(b""),
    })
}

/// The names of the resource in the content of an event: that of a run, and that of an incident.
#[derive(Default, Deserialize)]
struct Names<'a> {
    #[serde(rename = "resourceName", default, borrow)]
    of_run: Option<Cow<'a, str>>,
    #[serde(rename = "name", default, borrow)]
    of_subject: Option<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    fn of(content: &'a str) -> Self {
        serde_json::from_str(content).unwrap_or_else(|_| {
            // Of another type than text, which a search passes over, too.
            let content: serde_json::Value = serde_json::from_str(content).unwrap_or_default();
            let name = |name| content.get(name).and_then(|name| name.as_str()).map(|name| Cow::Owned(name.to_owned()));
            Self { of_run: name("resourceName"), of_subject: name("name") }
        })
    }
}

/// The columns that both queries read: of the event 0 to 6, of the delivery 7 to 12.
const COLUMNS: &str = "e.sort_key, e.kind, e.resource_type, e.resource_id, e.trigger, e.run_id, e.content, \
     d.sort_key, d.status, d.reason, d.channel_id, d.rule_id, d.last_error";

/// Builds the blocks of a workspace's events and deliveries from `first` to `last`, by sort key; none if there are none
/// any more. The last block ends at `last`, and between them is no gap.
pub(super) fn rebuild(db: &Connection, workspace_id: WorkspaceId, first: i64, last: i64) -> Result<Vec<Block>> {
    let mut of_events = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event e LEFT JOIN delivery d ON d.event_sort_key = e.sort_key AND d.sequence = 1 \
         WHERE e.workspace_id = ? AND e.sort_key >= ? AND e.sort_key <= ? ORDER BY e.sort_key"
    ))?;
    let mut of_deferred = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM delivery d INDEXED BY delivery_deferred CROSS JOIN event e ON e.sort_key = d.event_sort_key \
         WHERE d.workspace_id = ? AND d.sequence > 1 AND d.sort_key >= ? AND d.sort_key <= ? ORDER BY d.sort_key"
    ))?;
    let range = params![workspace_id.as_bytes(), first, last];
    let (mut events, mut deferred) = (of_events.query(range)?, of_deferred.query(range)?);
    let (mut event, mut delivery) = (events.next()?, deferred.next()?);
    let (mut blocks, mut builder, mut from) = (Vec::new(), Builder::default(), first);
    // The time of the row before, in this block.
    let mut before = None;
    // Both are in the order of their times, and are merged.
    loop {
        let event_at: Option<i64> = event.map(|row| row.get(0)).transpose()?;
        let deferred_at: Option<i64> = delivery.map(|row| row.get(7)).transpose()?;
        let Some(time) = event_at.into_iter().chain(deferred_at).min() else { break };
        // Only between two times, so that every time belongs to one block.
        if builder.is_full()
            && let Some(end) = before.filter(|before| *before < time)
        {
            blocks.push(std::mem::take(&mut builder).finish(from, end));
            from = end + 1;
        }
        if event_at == Some(time)
            && let Some(row) = event
        {
            if builder.events.last() != Some(time) {
                builder.add_event(time, row)?;
            }
            if let Some(sort_key) = row.get(7)? {
                builder.add_delivery(time, sort_key, row)?;
            }
            event = events.next()?;
        } else if let Some(row) = delivery {
            builder.add_delivery(time, time, row)?;
            delivery = deferred.next()?;
        }
        before = Some(time);
    }
    if before.is_some() {
        blocks.push(builder.finish(from, last));
    }
    Ok(blocks)
}
