//! The writer: one thread that commits everything in the write queue as one transaction (group commit).
//!
//! Each caller waits for the commit of its own request. While one commit is being synced to disk, the next batch
//! gathers, so the batch size follows the load and nothing waits for a timer.
//!
//! # Isolation within a batch
//!
//! Accepts and settlements are nearly never refused and run without savepoints, all accepts together in statements of
//! many rows. Operations that may well be refused (for a revision conflict) run behind a savepoint each, so that a
//! refusal rolls back nothing else. If anything else fails for a reason of its own, the whole batch is rolled back and
//! run again with a savepoint for each request; then only the failing one fails. If the database itself fails (full
//! disk), so does the whole batch.
//!
//! A queued request is carried out even if its caller has stopped waiting.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::accept::{EncodedEvent, accept};
use super::checkpoint::Checkpointer;
use super::db::Db;
use super::index;
use super::insights::staged::{Notes, Unfolded};
use super::metrics::{self, WriterMetrics};
use super::operation::{WriteOp, catch_panic, in_savepoint};
use super::settle::settle;
use super::write_queue::{Batch, JoinOnDrop, Reply, Request, SettleRequest, WriteQueue};
use crate::Result;
use crate::error::StoreError;
use crate::queue::{Acceptance, Settled, Settlement};

/// The handle to the writer thread. Dropping it closes the queue and joins the thread, which writes what is queued
/// first.
pub(super) struct Writer {
    queue: Arc<WriteQueue>,
    _thread: JoinOnDrop,
}

/// Fails the queued requests when the thread ends, be it by a panic: no caller may wait for a reply that never comes.
struct CancelOnExit(Arc<WriteQueue>);

impl Drop for CancelOnExit {
    fn drop(&mut self) {
        self.0.cancel_all();
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, checkpointer: Checkpointer, unfolded: Arc<Unfolded>) -> Result<Self> {
        let queue = Arc::new(WriteQueue::default());
        let cancel = CancelOnExit(Arc::clone(&queue));
        let indexed_until = index::indexed_until_of_all(&connection)?;
        let thread = JoinOnDrop::spawn("store-writer", move || {
            run(&connection, &cancel.0, checkpointer, unfolded, indexed_until);
            // The connection first: a caller of `close` may copy the file as soon as it returns.
            drop(connection);
            drop(cancel);
        })?;
        metrics::describe();
        Ok(Self { queue, _thread: thread })
    }

    pub(super) async fn accept(&self, payload: Vec<EncodedEvent>) -> Result<Vec<Acceptance>> {
        let (reply, receiver) = oneshot::channel();
        self.queue.accept(Request { payload, reply }).await?;
        receive(receiver).await
    }

    pub(super) async fn settle(&self, payload: Settlement) -> Result<Settled> {
        let (reply, receiver) = oneshot::channel();
        self.queue.settle(Request { payload, reply }).await?;
        receive(receiver).await
    }

    /// Runs an operation that is hardly ever refused, without a savepoint. If it fails, its batch is run again. `name`
    /// is the label of its metric.
    pub(super) async fn run_batched<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Fn(&Db<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.push(name, false, work).await
    }

    /// Runs an operation that may well be refused, behind a savepoint of its own.
    pub(super) async fn run_separately<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Fn(&Db<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.push(name, true, work).await
    }

    async fn push<T: Send + 'static>(
        &self,
        name: &'static str,
        always_isolated: bool,
        work: impl Fn(&Db<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, receiver) = oneshot::channel();
        self.queue.run(Box::new(WriteOp::new(name, always_isolated, work, reply))).await?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }

    /// Writes what is queued, checkpoints and ends the thread.
    pub(super) async fn close(&self) {
        let (reply, ended) = oneshot::channel();
        self.queue.close(Some(reply));
        let _ = ended.await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close(None);
    }
}

/// Waits for the reply. The payload that comes with it is freed here, on the caller's thread.
async fn receive<T, A>(receiver: oneshot::Receiver<Reply<T, A>>) -> Result<A> {
    receiver.await.map_err(|_| StoreError::Closed)?.0
}

/// The thread: commits batches until the queue is closed and empty.
fn run(
    connection: &Connection,
    queue: &WriteQueue,
    mut checkpointer: Checkpointer,
    unfolded: Arc<Unfolded>,
    indexed_until: i64,
) {
    let db = Db::new(connection).with_notes(Notes::new(unfolded));
    db.indexed_until.set(indexed_until);
    let mut metrics = WriterMetrics::new();
    while let Some(batch) = queue.next_batch() {
        if commit(&db, batch, &mut metrics) {
            checkpointer.after_commit(connection);
        }
    }
    checkpointer.finish(connection);
}

/// The outcomes of a batch's accepts and settlements, in order. Other operations keep their own.
#[derive(Default)]
struct Outcomes {
    accepted: Vec<Result<Vec<Acceptance>>>,
    settled: Vec<Result<Settled>>,
}

/// Commits the batch and replies to its callers. Returns whether it was committed.
fn commit(db: &Db<'_>, mut batch: Batch, metrics: &mut WriterMetrics) -> bool {
    let started_at = Instant::now();
    let mut outcomes = transact(db, || run_batched(db, &mut batch));
    // A failing database would fail again, and a batch of one has nothing to be isolated from.
    if batch.len() > 1 && outcomes.as_ref().is_err_and(|error| !error.is_database_failure()) {
        outcomes = transact(db, || run_individually(db, &mut batch));
    }
    match outcomes {
        Ok(outcomes) => {
            metrics.record_commit(&batch, started_at);
            reply(batch.accepts, outcomes.accepted);
            reply(batch.settlements, outcomes.settled);
            batch.others.into_iter().for_each(|operation| operation.reply(&Ok(())));
            true
        }
        Err(error) => {
            tracing::error!(%error, operations = batch.len(), "failed to commit a batch of writes, rolled back");
            reply(batch.accepts, std::iter::repeat_with(|| Err(error.clone())));
            reply(batch.settlements, std::iter::repeat_with(|| Err(error.clone())));
            batch.others.into_iter().for_each(|operation| operation.reply(&Err(error.clone())));
            false
        }
    }
}

/// Replies to each request. Sending fails if the caller dropped its future; the payload is freed here then.
fn reply<T, A>(requests: Vec<Request<T, A>>, outcomes: impl IntoIterator<Item = Result<A>>) {
    let send = |(Request { payload, reply }, outcome)| drop(reply.send((outcome, payload)));
    requests.into_iter().zip(outcomes).for_each(send);
}

/// Runs the work in a transaction, which is closed in any case.
fn transact(db: &Db<'_>, work: impl FnOnce() -> Result<Outcomes>) -> Result<Outcomes> {
    let run = || {
        db.begin.execute([])?;
        db.notes.discard();
        let outcomes = work()?;
        db.commit.execute([])?;
        db.notes.publish();
        Ok(outcomes)
    };
    let outcomes = run();
    // SQLite itself rolls back after some failures (a full disk, for one), and a second ROLLBACK would be an error.
    if outcomes.is_err() && !db.is_autocommit() {
        let _ = db.execute_batch("ROLLBACK");
    }
    outcomes
}

/// Writes the whole batch without savepoints; the first failure fails it.
fn run_batched(db: &Db<'_>, batch: &mut Batch) -> Result<Outcomes> {
    let settle = |request: &SettleRequest| catch_panic("settle", || settle(db, &request.payload)).map(Ok);
    let settled = batch.settlements.iter().map(settle).collect::<Result<_>>()?;
    let events: Vec<&EncodedEvent> = batch.accepts.iter().flat_map(|request| &request.payload).collect();
    let mut acceptances = catch_panic("accept", || accept(db, &events))?.into_iter();
    let of_request =
        |request: &Request<Vec<EncodedEvent>, _>| Ok(acceptances.by_ref().take(request.payload.len()).collect());
    let accepted = batch.accepts.iter().map(of_request).collect();
    batch.others.iter_mut().try_for_each(|operation| operation.run(db, false))?;
    Ok(Outcomes { accepted, settled })
}

/// Writes what can be written, each request behind a savepoint of its own.
fn run_individually(db: &Db<'_>, batch: &mut Batch) -> Result<Outcomes> {
    let mut outcomes = Outcomes::default();
    for Request { payload, .. } in &batch.settlements {
        outcomes.settled.push(in_savepoint(db, || catch_panic("settle", || settle(db, payload)))?);
    }
    for Request { payload, .. } in &batch.accepts {
        let events: Vec<&EncodedEvent> = payload.iter().collect();
        outcomes.accepted.push(in_savepoint(db, || catch_panic("accept", || accept(db, &events)))?);
    }
    batch.others.iter_mut().try_for_each(|operation| operation.run(db, true))?;
    Ok(outcomes)
}
