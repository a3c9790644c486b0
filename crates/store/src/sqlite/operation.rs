//! An operation on its way through the writer, other than accept and settle: run within a batch, answered after the
//! commit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::db::Db;
use crate::Result;
use crate::error::StoreError;

/// One operation. It may be run more than once, each time from where the batch begins.
pub(super) trait Operation: Send {
    fn name(&self) -> &'static str;
    /// Runs it and keeps the outcome. Bare, its error fails the batch; alone, behind a savepoint it is undone and
    /// kept, and only an error of the savepoint itself fails the batch.
    fn run(&mut self, db: &Db<'_>, is_alone: bool) -> Result<()>;
    /// Answers with the kept outcome, or with the error that the batch failed with.
    fn answer(self: Box<Self>, batch: &Result<()>);
}

/// An operation with the caller that waits for it.
pub(super) struct Call<T, F> {
    name: &'static str,
    always_alone: bool,
    work: F,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F: Fn(&Db<'_>) -> Result<T>> Call<T, F> {
    pub(super) fn new(name: &'static str, always_alone: bool, work: F, reply: oneshot::Sender<Result<T>>) -> Self {
        Self { name, always_alone, work, outcome: None, reply }
    }
}

/// Does the work. A panic ends the operation and not the thread that everybody's writes depend on: what it had written is
/// rolled back like that of any other failure.
pub(super) fn caught<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(StoreError::Defect(format!("{name} panicked"))))
}

/// Does the work behind a savepoint: if it fails it is undone, and nothing else is. The outer error is that of the
/// savepoint itself.
pub(super) fn alone<T>(db: &Connection, work: impl FnOnce() -> Result<T>) -> Result<Result<T>> {
    db.execute_batch("SAVEPOINT alone")?;
    let outcome = work();
    db.execute_batch(if outcome.is_ok() { "RELEASE alone" } else { "ROLLBACK TO alone; RELEASE alone" })?;
    Ok(outcome)
}

impl<T: Send, F: Fn(&Db<'_>) -> Result<T> + Send> Operation for Call<T, F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&mut self, db: &Db<'_>, is_alone: bool) -> Result<()> {
        let work = || caught(self.name, || (self.work)(db));
        self.outcome = Some(if is_alone || self.always_alone { alone(db, work)? } else { Ok(work()?) });
        Ok(())
    }

    fn answer(self: Box<Self>, batch: &Result<()>) {
        let outcome = match batch {
            Err(error) => Err(error.clone()),
            Ok(()) => self.outcome.unwrap_or(Err(StoreError::Closed)),
        };
        // A caller that went away does not want its answer.
        let _ = self.reply.send(outcome);
    }
}
