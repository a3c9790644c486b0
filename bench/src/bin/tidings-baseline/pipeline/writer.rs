//! The writer thread: all waiting operations become one transaction. While it is committed, the next ones accumulate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::Context as _;
use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::abort;
use crate::tables;

/// Handle of the thread, which ends when this is dropped.
pub struct Writer {
    /// The channel is unbounded, but permits bound the number of operations: a delivery has at most one at a time.
    operations: mpsc::Sender<Operation>,
    settled: Arc<AtomicU64>,
}

enum Operation {
    /// The events of one request, numbered from `first`. They are returned with the reply.
    Accept { first: u64, events: Vec<Bytes>, committed: oneshot::Sender<Vec<Bytes>> },
    Settle {
        delivery: u64,
        /// Released after the commit.
        permit: OwnedSemaphorePermit,
    },
}

impl Writer {
    /// Starts the thread, which inserts `fan_out` deliveries per event.
    pub fn start(connection: Connection, fan_out: u64) -> Self {
        let (sender, operations) = mpsc::channel();
        let settled = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&settled);
        thread::spawn(move || run(connection, fan_out, &operations, &counted).unwrap_or_else(|error| abort(&error)));
        Self { operations: sender, settled }
    }

    /// Inserts events and returns them after the commit.
    pub async fn accept(&self, first: u64, events: Vec<Bytes>) -> anyhow::Result<Vec<Bytes>> {
        let (committed, answer) = oneshot::channel();
        self.enqueue(Operation::Accept { first, events, committed })?;
        answer.await.context("the writer thread ended")
    }

    /// Settles a delivery without waiting for the commit.
    pub fn settle(&self, delivery: u64, permit: OwnedSemaphorePermit) -> anyhow::Result<()> {
        self.enqueue(Operation::Settle { delivery, permit })
    }

    /// Number of settled deliveries, committed only.
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    fn enqueue(&self, operation: Operation) -> anyhow::Result<()> {
        self.operations.send(operation).ok().context("the writer thread ended")
    }
}

fn run(
    mut connection: Connection,
    fan_out: u64,
    operations: &mpsc::Receiver<Operation>,
    settled: &AtomicU64,
) -> anyhow::Result<()> {
    let mut batch = Vec::new();
    while let Ok(first) = operations.recv() {
        batch.push(first);
        batch.extend(operations.try_iter());
        commit(&mut connection, fan_out, &batch).context("failed to commit a batch")?;
        for operation in batch.drain(..) {
            match operation {
                // The client may have disconnected.
                Operation::Accept { events, committed, .. } => drop(committed.send(events)),
                Operation::Settle { permit, .. } => {
                    settled.fetch_add(1, Ordering::Relaxed);
                    drop(permit);
                }
            }
        }
    }
    Ok(())
}

fn commit(connection: &mut Connection, fan_out: u64, batch: &[Operation]) -> anyhow::Result<()> {
    let transaction = connection.transaction()?;
    for operation in batch {
        match operation {
            Operation::Accept { first, events, .. } => (*first..)
                .zip(events)
                .try_for_each(|(number, body)| tables::accept(&transaction, number, fan_out, body))?,
            Operation::Settle { delivery, .. } => tables::settle(&transaction, *delivery)?,
        }
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn accept_and_settle_reply_after_the_commit() {
        let dir = std::env::temp_dir().join(format!("tidings-baseline-pipeline-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("pipeline.db");
        let writer = Writer::start(tables::open(&path).unwrap(), 2);
        let reader = Connection::open(&path).unwrap();
        let count = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
        let permits = Arc::new(Semaphore::new(3));
        let bodies = |count: usize| vec![Bytes::from_static(b"{}"); count];
        assert_eq!(writer.accept(0, bodies(1)).await.unwrap(), bodies(1));
        assert_eq!(count("SELECT count(*) FROM deliveries WHERE status = 3"), 2);
        writer.accept(1, bodies(2)).await.unwrap();
        assert_eq!(count("SELECT count(*) FROM events"), 3);
        assert_eq!(count("SELECT count(*) FROM deliveries WHERE status = 3"), 6);
        for delivery in [0, 1, 5] {
            writer.settle(delivery, Arc::clone(&permits).try_acquire_owned().unwrap()).unwrap();
        }
        // The permits are released by the commit.
        let _all = permits.acquire_many(3).await.unwrap();
        assert_eq!((count("SELECT count(*) FROM deliveries WHERE status = 4"), writer.settled()), (3, 3));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
