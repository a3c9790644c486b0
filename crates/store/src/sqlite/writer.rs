//! The writer: one thread that commits all that waits as one transaction.
//!
//! A caller waits for its own commit, never for a timer: while one commit is on its way to the disk the next batch
//! gathers by itself. Operations of the hot path run bare; others run alone behind a savepoint, so that a refused one
//! takes nobody with it. Should one of the hot path fail for a reason of its own, the batch is rolled back and run
//! again with each alone, so that only that one fails. If the database as a whole fails, so does the whole batch.
//!
//! What was queued is carried out whether or not its caller still waits.

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Checkpoints;
use super::operation::{Call, Operation};
use super::thread::Joined;
use crate::Result;
use crate::error::StoreError;

/// Operations that may wait before callers are held up.
const QUEUE_MAX: usize = 8_192;
/// Operations that one transaction takes.
const BATCH_MAX: usize = 1_024;

enum Message {
    Run(Box<dyn Operation>),
    Close(oneshot::Sender<()>),
}

/// The way to the writer thread. When it is dropped, the thread finishes what waits first.
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    _thread: Joined,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, checkpoints: Checkpoints) -> Result<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let thread = Joined::spawn("store-writer", move || {
            let closing = work(&connection, waiting, checkpoints);
            drop(connection);
            // Whoever went away does not want to know.
            for reply in closing {
                let _ = reply.send(());
            }
        })?;
        metrics::describe_counter!(
            "tidings_store_commits_total",
            metrics::Unit::Count,
            "Transactions committed; each is one fsync of the log."
        );
        metrics::describe_counter!(
            "tidings_store_operations_total",
            metrics::Unit::Count,
            "Operations written, by operation. Many share a commit."
        );
        Ok(Self { queue, _thread: thread })
    }

    /// Runs an operation of the hot path, which is hardly ever refused.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.call(name, false, work).await
    }

    /// Runs an operation that may well be refused, without disturbing the others of its batch.
    pub(super) async fn run_alone<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.call(name, true, work).await
    }

    async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        always_alone: bool,
        work: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let call = Call::new(name, always_alone, work, reply);
        self.queue.send(Message::Run(Box::new(call))).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Finishes what waits, copies the log into the database and ends the thread.
    pub(super) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

/// Works until the store is closed or dropped; answers those who wait for the close.
fn work(
    connection: &Connection,
    mut waiting: mpsc::Receiver<Message>,
    mut checkpoints: Checkpoints,
) -> Vec<oneshot::Sender<()>> {
    let mut batch: Vec<Box<dyn Operation>> = Vec::with_capacity(BATCH_MAX);
    let mut closing = Vec::new();
    let commits = metrics::counter!("tidings_store_commits_total");
    let mut counters = Counters::new();
    // After the queue is closed, this still yields what was sent before.
    while let Some(first) = waiting.blocking_recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Run(operation) => batch.push(operation),
                Message::Close(reply) => {
                    waiting.close();
                    closing.push(reply);
                }
            }
            next = if batch.len() < BATCH_MAX { waiting.try_recv().ok() } else { None };
        }
        if !batch.is_empty() && commit(connection, &mut batch, &mut counters) {
            commits.increment(1);
            checkpoints.after_commit(connection);
        }
    }
    checkpoints.last(connection);
    closing
}

/// The counters of operations by their names, each looked up once.
type Counters = Vec<(&'static str, metrics::Counter)>;

fn count(counters: &mut Counters, name: &'static str) {
    match counters.iter().find(|(known, _)| *known == name) {
        Some((_, counter)) => counter.increment(1),
        None => {
            let counter = metrics::counter!("tidings_store_operations_total", "operation" => name);
            counter.increment(1);
            counters.push((name, counter));
        }
    }
}

/// Commits the batch and answers everybody in it; whether it was committed.
fn commit(connection: &Connection, batch: &mut Vec<Box<dyn Operation>>, counters: &mut Counters) -> bool {
    let mut result = transact(connection, batch, false);
    if batch.len() > 1 && result.as_ref().is_err_and(|error| !error.is_of_the_database()) {
        result = transact(connection, batch, true);
    }
    if let Err(error) = &result {
        tracing::error!(%error, operations = batch.len(), "a batch of writes failed and was rolled back");
    }
    for operation in batch.drain(..) {
        if result.is_ok() {
            count(counters, operation.name());
        }
        operation.answer(&result);
    }
    result.is_ok()
}

/// Runs the batch in one transaction, each of it alone if wanted, and leaves none open if it fails.
fn transact(connection: &Connection, batch: &mut [Box<dyn Operation>], alone: bool) -> Result<()> {
    let mut run = || {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        batch.iter_mut().try_for_each(|operation| operation.run(connection, alone))?;
        Ok(connection.execute_batch("COMMIT")?)
    };
    let result = run();
    // Some failures have ended the transaction already.
    if result.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    result
}
