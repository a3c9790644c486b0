//! The writer's connection, with the statements of the hot path prepared once and kept.
//!
//! All other statements go through the connection's statement cache, which hashes and compares their text. For a
//! multi-row insert that text is so long that a lookup would cost as much as inserting a row.

use std::cell::{Cell, RefCell};
use std::ops::Deref;

use rusqlite::{Connection, Params, PrepFlags, Statement, ToSql};

use super::insights::staged::Notes;
use super::{accept, insert, settle};
use crate::Result;

/// Rows of the largest insert; there is a prepared statement for each number of rows up to it. A statement has a cost
/// of its own about that of a row (it journals each page that it changes, for a rollback of the statement alone):
/// more rows save little. And with more bound values than SQLite's lookaside has slots, each further one is
/// allocated.
const ROWS_MAX: usize = 16;

/// The connection with its cached statements.
pub(super) struct Db<'c> {
    connection: &'c Connection,
    pub(super) begin: CachedStatement<'c>,
    pub(super) commit: CachedStatement<'c>,
    pub(super) idempotency_keys: MultiRowInsert<'c>,
    pub(super) events: MultiRowInsert<'c>,
    /// Deliveries that are leased and otherwise have defaults.
    pub(super) leased_deliveries: MultiRowInsert<'c>,
    /// Any deliveries.
    pub(super) deliveries: MultiRowInsert<'c>,
    /// The settlement of a delivery that was sent with its first attempt.
    pub(super) settle_first_sent: CachedStatement<'c>,
    /// The greatest sort key that the history index holds of any workspace, or a greater one: inserting an event after it
    /// needs no check of the index. Set by the writer at its start.
    pub(super) indexed_until: Cell<i64>,
    /// What the current transaction did, for what is folded behind it.
    pub(super) notes: Notes,
}

impl<'c> Db<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        let cached = |sql| CachedStatement { connection, sql, slot: StatementSlot::default() };
        let multi_row = |insert| MultiRowInsert { connection, insert, slots: Default::default() };
        Self {
            connection,
            // IMMEDIATE takes the write lock at once; upgrading a read transaction later could fail.
            begin: cached("BEGIN IMMEDIATE"),
            commit: cached("COMMIT"),
            idempotency_keys: multi_row(accept::idempotency_key_insert()),
            events: multi_row(insert::event_insert()),
            leased_deliveries: multi_row(insert::leased_delivery_insert()),
            deliveries: multi_row(insert::delivery_insert()),
            settle_first_sent: cached(settle::FIRST_SENT),
            indexed_until: Cell::new(-1),
            notes: Notes::default(),
        }
    }

    pub(super) fn with_notes(self, notes: Notes) -> Self {
        Self { notes, ..self }
    }
}

impl Deref for Db<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// A place for a statement, which is prepared when it is first run.
#[derive(Default)]
struct StatementSlot<'c>(RefCell<Option<Statement<'c>>>);

impl<'c> StatementSlot<'c> {
    fn run(
        &self,
        connection: &'c Connection,
        sql: impl FnOnce() -> String,
        work: impl FnOnce(&mut Statement<'c>) -> Result<usize>,
    ) -> Result<usize> {
        let mut slot = self.0.borrow_mut();
        let prepare = || connection.prepare_with_flags(&sql(), PrepFlags::SQLITE_PREPARE_PERSISTENT);
        let statement = slot.take().map_or_else(prepare, Ok)?;
        let statement = slot.insert(statement);
        let outcome = work(statement);
        // Bound values occupy lookaside slots, which the next statement needs.
        statement.clear_bindings();
        outcome
    }
}

pub(super) struct CachedStatement<'c> {
    connection: &'c Connection,
    sql: &'static str,
    slot: StatementSlot<'c>,
}

impl CachedStatement<'_> {
    /// Returns the number of changed rows.
    pub(super) fn execute(&self, params: impl Params) -> Result<usize> {
        self.slot.run(self.connection, || self.sql.into(), |statement| Ok(statement.execute(params)?))
    }
}

/// The parts of an insert statement.
pub(super) struct InsertSql {
    /// Everything before `VALUES`.
    pub(super) into: &'static str,
    /// The placeholders of one row, in parentheses.
    pub(super) row: String,
}

/// An insert with a prepared statement for each number of rows.
pub(super) struct MultiRowInsert<'c> {
    connection: &'c Connection,
    insert: InsertSql,
    /// Index 0 is the statement for one row.
    slots: [StatementSlot<'c>; ROWS_MAX],
}

impl MultiRowInsert<'_> {
    /// Inserts all rows with as few statements as possible, and returns the number of inserted rows.
    pub(super) fn insert<R>(&self, rows: &[R], bind: impl Fn(&R, &mut Binder<'_, '_>) -> Result<()>) -> Result<usize> {
        let InsertSql { into, row } = &self.insert;
        let mut inserted = 0;
        for rows in rows.chunks(ROWS_MAX) {
            let sql = || format!("{into} VALUES {}", vec![row.as_str(); rows.len()].join(","));
            inserted += self.slots[rows.len() - 1].run(self.connection, sql, |statement| {
                let mut binder = Binder { statement, bound: 0 };
                rows.iter().try_for_each(|row| bind(row, &mut binder))?;
                Ok(statement.raw_execute()?)
            })?;
        }
        Ok(inserted)
    }
}

/// Binds the values of consecutive rows.
pub(super) struct Binder<'a, 'c> {
    statement: &'a mut Statement<'c>,
    bound: usize,
}

impl Binder<'_, '_> {
    pub(super) fn bind(&mut self, values: &[&dyn ToSql]) -> Result<()> {
        for value in values {
            self.bound += 1;
            self.statement.raw_bind_parameter(self.bound, value)?;
        }
        Ok(())
    }
}
