//! Operations of the writer other than accept and settle: closures that run within a batch and reply after its commit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::db::Db;
use crate::Result;
use crate::error::StoreError;

/// An operation in the write queue. It may run more than once, after everything it wrote was rolled back.
pub(super) trait Operation: Send {
    /// The label of its metric, which is the name of the store's method.
    fn name(&self) -> &'static str;
    /// Runs it and keeps the outcome. Behind a savepoint (`isolated`) a failure is rolled back and kept as the outcome,
    /// and only an error of the savepoint itself is returned; otherwise a failure is returned and fails the batch.
    fn run(&mut self, db: &Db<'_>, isolated: bool) -> Result<()>;
    /// Replies with the outcome, or with the error that failed the batch.
    fn reply(self: Box<Self>, batch: &Result<()>);
}

/// An operation made of a closure.
pub(super) struct WriteOp<T, F> {
    name: &'static str,
    always_isolated: bool,
    work: F,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F: Fn(&Db<'_>) -> Result<T>> WriteOp<T, F> {
    pub(super) fn new(name: &'static str, always_isolated: bool, work: F, reply: oneshot::Sender<Result<T>>) -> Self {
        Self { name, always_isolated, work, outcome: None, reply }
    }
}

/// Turns a panic into an error. A panic must not end the writer thread, on which every later write depends; what the
/// operation wrote is rolled back like that of any other failure, which is why unwinding past it is safe.
pub(super) fn catch_panic<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(StoreError::Defect(format!("{name} panicked"))))
}

/// Runs the work behind a savepoint: if it fails, what it wrote is rolled back, and nothing else is. The outer error is
/// that of the savepoint itself.
pub(super) fn in_savepoint<T>(db: &Db<'_>, work: impl FnOnce() -> Result<T>) -> Result<Result<T>> {
    db.execute_batch("SAVEPOINT operation")?;
    let notes = db.notes.savepoint();
    let outcome = work();
    if outcome.is_err() {
        db.notes.roll_back_to(notes);
    }
    // `ROLLBACK TO` leaves the savepoint open, so it is released in both cases.
    db.execute_batch(if outcome.is_ok() { "RELEASE operation" } else { "ROLLBACK TO operation; RELEASE operation" })?;
    Ok(outcome)
}

impl<T: Send, F: Fn(&Db<'_>) -> Result<T> + Send> Operation for WriteOp<T, F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&mut self, db: &Db<'_>, isolated: bool) -> Result<()> {
        let work = || catch_panic(self.name, || (self.work)(db));
        self.outcome = Some(if isolated || self.always_isolated { in_savepoint(db, work)? } else { Ok(work()?) });
        Ok(())
    }

    fn reply(self: Box<Self>, batch: &Result<()>) {
        let outcome = match batch {
            Err(error) => Err(error.clone()),
            Ok(()) => self.outcome.unwrap_or(Err(StoreError::Closed)),
        };
        // Fails if the caller dropped its future.
        let _ = self.reply.send(outcome);
    }
}
