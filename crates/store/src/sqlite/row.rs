//! Conversion between values and columns: ids are 16 bytes, instants milliseconds, enumerations their API names.

use rusqlite::Row;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::id::Id;
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use crate::Result;
use crate::error::StoreError;

/// The error for a stored or given value that is invalid.
pub(super) fn corrupt(what: &str, value: impl std::fmt::Debug) -> StoreError {
    StoreError::Corrupt(format!("{what}: {value:?}"))
}

pub(super) fn id<T: Id>(row: &Row<'_>, column: &str) -> Result<T> {
    optional_id(row, column)?.ok_or_else(|| corrupt(column, "null"))
}

pub(super) fn optional_id<T: Id>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(T::from_bytes))
}

pub(super) fn instant(row: &Row<'_>, column: &str) -> Result<Timestamp> {
    Ok(Timestamp::from_unix_ms(row.get(column)?))
}

pub(super) fn optional_instant(row: &Row<'_>, column: &str) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_unix_ms))
}

/// A text column with a set of valid values.
pub(super) fn parsed<T>(row: &Row<'_>, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|_| corrupt(column, "no text"))?;
    parse(text).ok_or_else(|| corrupt(column, text))
}

/// A JSON column.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|_| corrupt(column, "no text"))?;
    serde_json::from_str(text).map_err(|error| corrupt(column, error.to_string()))
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(encode_error)
}

fn encode_error(error: serde_json::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

/// JSON text as a parameter, borrowed.
#[derive(Clone, Copy)]
pub(super) struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl ToSql for Json<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// Several JSON texts in one allocation.
pub(super) struct JsonBuffer {
    text: Vec<u8>,
    /// Where each text ends.
    ends: Vec<usize>,
}

impl JsonBuffer {
    /// Reserves space for `texts` texts of `bytes` bytes together; it grows as needed.
    pub(super) fn with_capacity(texts: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), ends: Vec::with_capacity(texts) }
    }

    pub(super) fn push(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.text, value).map_err(encode_error)?;
        self.ends.push(self.text.len());
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Json<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| Json(&self.text[start..*end]))
    }
}

/// The columns that [`event`] reads, of `event` under the alias `e`.
pub(super) const EVENT_COLUMNS: &str = "e.workspace_id, e.id AS event_id, e.kind, e.resource_type, e.resource_id, \
     e.run_id, e.trigger, e.received_at, e.content";

/// [`EVENT_COLUMNS`] of a delivery, of `delivery` under the alias `d`: with the content that the delivery has of its own,
/// if it has one.
pub(super) const DELIVERY_EVENT_COLUMNS: &str = "e.workspace_id, e.id AS event_id, e.kind, e.resource_type, \
     e.resource_id, e.run_id, e.trigger, e.received_at, coalesce(d.content, e.content) AS content";

pub(super) fn event(row: &Row<'_>) -> Result<Event> {
    let kind = parsed(row, "kind", EventKind::parse)?;
    let content = row.get_ref("content")?.as_str().map_err(|_| corrupt("content", "no text"))?;
    Ok(Event {
        id: id(row, "event_id")?,
        workspace_id: id(row, "workspace_id")?,
        kind,
        resource_type: parsed(row, "resource_type", ResourceType::parse)?,
        resource_id: row.get("resource_id")?,
        run_id: row.get("run_id")?,
        trigger: parsed(row, "trigger", Trigger::parse)?,
        received_at: instant(row, "received_at")?,
        content: Content::from_json(kind, content).map_err(|error| corrupt("content", error.to_string()))?,
    })
}
