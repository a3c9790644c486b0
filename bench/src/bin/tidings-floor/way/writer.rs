//! The one thread that writes. All that waits becomes one transaction; while that is on its way to the disk, the next
//! gathers by itself.

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

use super::give_up;
use crate::tables;

/// The way to the thread, which ends when this is dropped.
pub struct Writer {
    /// Unbounded as a channel, bounded by the places: no delivery has more than one operation in it.
    waiting: mpsc::Sender<Operation>,
    settled: Arc<AtomicU64>,
}

enum Operation {
    /// All events of one request, numbered from `first` on. They go back with the answer.
    Accept { first: u64, events: Vec<Bytes>, committed: oneshot::Sender<Vec<Bytes>> },
    Settle {
        delivery: u64,
        /// Free again after the commit.
        place: OwnedSemaphorePermit,
    },
}

impl Writer {
    /// Starts the thread, which writes `fan_out` deliveries with each event.
    pub fn start(connection: Connection, fan_out: u64) -> Self {
        let (sender, waiting) = mpsc::channel();
        let settled = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&settled);
        thread::spawn(move || work(connection, fan_out, &waiting, &counted).unwrap_or_else(|error| give_up(&error)));
        Self { waiting: sender, settled }
    }

    /// Writes events, and hands them back when they are on the disk.
    pub async fn accept(&self, first: u64, events: Vec<Bytes>) -> anyhow::Result<Vec<Bytes>> {
        let (committed, answer) = oneshot::channel();
        self.put(Operation::Accept { first, events, committed })?;
        answer.await.context("the writer is gone")
    }

    /// Writes that a delivery was sent, and waits for nothing.
    pub fn settle(&self, delivery: u64, place: OwnedSemaphorePermit) -> anyhow::Result<()> {
        self.put(Operation::Settle { delivery, place })
    }

    /// How many deliveries are settled on the disk.
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    fn put(&self, operation: Operation) -> anyhow::Result<()> {
        self.waiting.send(operation).ok().context("the writer is gone")
    }
}

fn work(
    mut connection: Connection,
    fan_out: u64,
    waiting: &mpsc::Receiver<Operation>,
    settled: &AtomicU64,
) -> anyhow::Result<()> {
    let mut batch = Vec::new();
    while let Ok(first) = waiting.recv() {
        batch.push(first);
        batch.extend(waiting.try_iter());
        commit(&mut connection, fan_out, &batch).context("a batch could not be committed")?;
        for operation in batch.drain(..) {
            match operation {
                // A caller that went away does not want to know.
                Operation::Accept { events, committed, .. } => drop(committed.send(events)),
                Operation::Settle { place, .. } => {
                    settled.fetch_add(1, Ordering::Relaxed);
                    drop(place);
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
    async fn what_was_answered_is_in_the_database() {
        let dir = std::env::temp_dir().join(format!("tidings-floor-way-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("way.db");
        let writer = Writer::start(tables::open(&path).unwrap(), 2);
        let reader = Connection::open(&path).unwrap();
        let count = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
        let places = Arc::new(Semaphore::new(3));
        let bodies = |count: usize| vec![Bytes::from_static(b"{}"); count];
        assert_eq!(writer.accept(0, bodies(1)).await.unwrap(), bodies(1));
        assert_eq!(count("SELECT count(*) FROM deliveries WHERE status = 3"), 2);
        writer.accept(1, bodies(2)).await.unwrap();
        assert_eq!(count("SELECT count(*) FROM events"), 3);
        assert_eq!(count("SELECT count(*) FROM deliveries WHERE status = 3"), 6);
        for delivery in [0, 1, 5] {
            writer.settle(delivery, Arc::clone(&places).try_acquire_owned().unwrap()).unwrap();
        }
        // The places come back with the commit.
        let _all = places.acquire_many(3).await.unwrap();
        assert_eq!((count("SELECT count(*) FROM deliveries WHERE status = 4"), writer.settled()), (3, 3));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
