//! The writer's connection, with the statements that nearly every event needs: each is prepared once and kept.
//!
//! Everything else asks the connection's cache, which finds a statement by hashing and comparing its text. That of many
//! rows is so long that finding it and putting it back would cost as much as a row does.

use std::cell::RefCell;
use std::ops::Deref;

use rusqlite::{Connection, Params, PrepFlags, Statement, ToSql};

use super::{accept, insert, settle};
use crate::Result;

/// Rows of the largest statement. There is one for every number up to here: a statement costs about as much as a row, and
/// copies every page that it changes, to be undone alone if need be. Where more values are bound at once than SQLite has
/// slots for (its lookaside), each of the others costs an allocation.
const ROWS_MAX: usize = 16;

/// The connection, which it stands for wherever something else is asked of it.
pub(super) struct Db<'c> {
    connection: &'c Connection,
    pub(super) begin: Kept<'c>,
    pub(super) commit: Kept<'c>,
    /// What events are recognised by.
    pub(super) keys: Inserts<'c>,
    pub(super) events: Inserts<'c>,
    /// Deliveries that begin leased, and of which there is nothing more to say.
    pub(super) leased: Inserts<'c>,
    /// Deliveries of all kinds.
    pub(super) deliveries: Inserts<'c>,
    /// The settlement of a delivery that was sent at its first attempt.
    pub(super) sent_at_once: Kept<'c>,
}

impl<'c> Db<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        let kept = |sql| Kept { connection, sql, slot: Slot::default() };
        let inserts = |insert| Inserts { connection, insert, slots: Default::default() };
        Self {
            connection,
            begin: kept("BEGIN IMMEDIATE"),
            commit: kept("COMMIT"),
            keys: inserts(accept::into_keys()),
            events: inserts(insert::into_events()),
            leased: inserts(insert::into_leased()),
            deliveries: inserts(insert::into_deliveries()),
            sent_at_once: kept(settle::SENT_AT_ONCE),
        }
    }
}

impl Deref for Db<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// Where a statement is kept from when it is first run.
#[derive(Default)]
struct Slot<'c>(RefCell<Option<Statement<'c>>>);

impl<'c> Slot<'c> {
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
        // What is bound lies where other statements find room for theirs.
        statement.clear_bindings();
        outcome
    }
}

/// A statement.
pub(super) struct Kept<'c> {
    connection: &'c Connection,
    sql: &'static str,
    slot: Slot<'c>,
}

impl Kept<'_> {
    /// Runs it; answers how many rows it changed.
    pub(super) fn execute(&self, params: impl Params) -> Result<usize> {
        self.slot.run(self.connection, || self.sql.into(), |statement| Ok(statement.execute(params)?))
    }
}

/// How rows get into a table.
pub(super) struct Insert {
    /// The statement up to its `VALUES`.
    pub(super) into: &'static str,
    /// One row of them, in parentheses.
    pub(super) row: String,
}

/// A statement for each number of rows.
pub(super) struct Inserts<'c> {
    connection: &'c Connection,
    insert: Insert,
    /// The one for one row first.
    slots: [Slot<'c>; ROWS_MAX],
}

impl Inserts<'_> {
    /// Inserts all rows with as few statements as there are; answers how many were inserted.
    pub(super) fn insert<R>(&self, rows: &[R], bind: impl Fn(&R, &mut Binder<'_, '_>) -> Result<()>) -> Result<usize> {
        let Insert { into, row } = &self.insert;
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

/// Binds one value after the other.
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
