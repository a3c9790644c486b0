//! The writer: one thread that commits all that waits as one transaction.
//!
//! A caller waits for its own commit: while one commit is on its way to the disk the next batch gathers by itself.
//! Accepts and settlements run bare, and accepts together; others run alone behind a savepoint if they may well be
//! refused, so that a refused one takes nobody with it. Should something fail for a reason of its own, the batch is
//! rolled back and run again with each alone, so that only that one fails. If the database as a whole fails, so does the
//! whole batch.
//!
//! What was put in line is carried out whether or not its caller still waits.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::accept::{Prepared, accept};
use super::checkpoint::Checkpoints;
use super::db::Db;
use super::meters::{self, Meters};
use super::operation::{Call, alone, caught};
use super::settle::settle;
use super::thread::Joined;
use super::waiting::{Answer, Batch, Settle, Waiter, Waiting};
use crate::Result;
use crate::error::StoreError;
use crate::queue::{Acceptance, Settled, Settlement};

/// The way to the writer thread. When it is dropped, the thread finishes what waits first.
pub(super) struct Writer {
    waiting: Arc<Waiting>,
    _thread: Joined,
}

/// Whatever ends the thread, nobody is left waiting for it.
struct Abandon(Arc<Waiting>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, checkpoints: Checkpoints) -> Result<Self> {
        let waiting = Arc::new(Waiting::default());
        let abandon = Abandon(Arc::clone(&waiting));
        let thread = Joined::spawn("store-writer", move || {
            work(&connection, &abandon.0, checkpoints);
            drop(connection);
            drop(abandon);
        })?;
        meters::describe();
        Ok(Self { waiting, _thread: thread })
    }

    pub(super) async fn accept(&self, what: Vec<Prepared>) -> Result<Vec<Acceptance>> {
        let (reply, answer) = oneshot::channel();
        self.waiting.accept(Waiter { what, reply }).await?;
        outcome(answer).await
    }

    pub(super) async fn settle(&self, what: Settlement) -> Result<Settled> {
        let (reply, answer) = oneshot::channel();
        self.waiting.settle(Waiter { what, reply }).await?;
        outcome(answer).await
    }

    /// Runs an operation that is hardly ever refused.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Fn(&Db<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.call(name, false, work).await
    }

    /// Runs an operation that may well be refused, without disturbing the others of its batch.
    pub(super) async fn run_alone<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Fn(&Db<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.call(name, true, work).await
    }

    async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        always_alone: bool,
        work: impl Fn(&Db<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.waiting.run(Box::new(Call::new(name, always_alone, work, reply))).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Finishes what waits, copies the log into the database and ends the thread.
    pub(super) async fn close(&self) {
        let (reply, ended) = oneshot::channel();
        self.waiting.close(Some(reply));
        let _ = ended.await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.waiting.close(None);
    }
}

/// Waits for the answer, and frees what it was about.
async fn outcome<T, A>(answer: oneshot::Receiver<Answer<T, A>>) -> Result<A> {
    answer.await.map_err(|_| StoreError::Closed)?.0
}

/// Works until the store is closed or dropped.
fn work(connection: &Connection, waiting: &Waiting, mut checkpoints: Checkpoints) {
    let db = Db::new(connection);
    let mut meters = Meters::new();
    while let Some(batch) = waiting.take() {
        if commit(&db, batch, &mut meters) {
            checkpoints.after_commit(connection);
        }
    }
    checkpoints.last(connection);
}

/// What became of a batch's accepts and settlements, in their order. Other operations keep their own outcomes.
#[derive(Default)]
struct Outcomes {
    accepted: Vec<Result<Vec<Acceptance>>>,
    settled: Vec<Result<Settled>>,
}

/// Commits the batch and answers everybody in it; whether it was committed.
fn commit(db: &Db<'_>, mut batch: Batch, meters: &mut Meters) -> bool {
    let began = Instant::now();
    let mut outcomes = transact(db, || together(db, &mut batch));
    if batch.len() > 1 && outcomes.as_ref().is_err_and(|error| !error.is_of_the_database()) {
        outcomes = transact(db, || one_by_one(db, &mut batch));
    }
    match outcomes {
        Ok(outcomes) => {
            meters.committed(&batch, began);
            tell(batch.accepts, outcomes.accepted);
            tell(batch.settlements, outcomes.settled);
            batch.others.into_iter().for_each(|operation| operation.answer(&Ok(())));
            true
        }
        Err(error) => {
            tracing::error!(%error, operations = batch.len(), "a batch of writes failed and was rolled back");
            tell(batch.accepts, std::iter::repeat_with(|| Err(error.clone())));
            tell(batch.settlements, std::iter::repeat_with(|| Err(error.clone())));
            batch.others.into_iter().for_each(|operation| operation.answer(&Err(error.clone())));
            false
        }
    }
}

/// Tells each what became of it. Whoever went away does not want to know.
fn tell<T, A>(waiters: Vec<Waiter<T, A>>, outcomes: impl IntoIterator<Item = Result<A>>) {
    let tell = |(Waiter { what, reply }, outcome)| drop(reply.send((outcome, what)));
    waiters.into_iter().zip(outcomes).for_each(tell);
}

/// Does the work in one transaction and leaves none open if it fails.
fn transact(db: &Db<'_>, work: impl FnOnce() -> Result<Outcomes>) -> Result<Outcomes> {
    let run = || {
        db.begin.execute([])?;
        let outcomes = work()?;
        db.commit.execute([])?;
        Ok(outcomes)
    };
    let outcomes = run();
    // Some failures have ended the transaction already.
    if outcomes.is_err() && !db.is_autocommit() {
        let _ = db.execute_batch("ROLLBACK");
    }
    outcomes
}

/// Writes all of it, or fails with the first that fails.
fn together(db: &Db<'_>, batch: &mut Batch) -> Result<Outcomes> {
    let settle = |one: &Settle| caught("settle", || settle(db, &one.what)).map(Ok);
    let settled = batch.settlements.iter().map(settle).collect::<Result<_>>()?;
    let events: Vec<&Prepared> = batch.accepts.iter().flat_map(|accept| &accept.what).collect();
    let mut acceptances = caught("accept", || accept(db, &events))?.into_iter();
    let accepted = batch.accepts.iter().map(|it| Ok(acceptances.by_ref().take(it.what.len()).collect())).collect();
    batch.others.iter_mut().try_for_each(|operation| operation.run(db, false))?;
    Ok(Outcomes { accepted, settled })
}

/// Writes what can be written, each behind a savepoint of its own.
fn one_by_one(db: &Db<'_>, batch: &mut Batch) -> Result<Outcomes> {
    let mut outcomes = Outcomes::default();
    for Waiter { what, .. } in &batch.settlements {
        outcomes.settled.push(alone(db, || caught("settle", || settle(db, what)))?);
    }
    for Waiter { what, .. } in &batch.accepts {
        let events: Vec<&Prepared> = what.iter().collect();
        outcomes.accepted.push(alone(db, || caught("accept", || accept(db, &events)))?);
    }
    batch.others.iter_mut().try_for_each(|operation| operation.run(db, true))?;
    Ok(outcomes)
}
