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
    /// Unbounded as a channel, bounded by the places: no event has more than one operation in it.
    waiting: mpsc::Sender<Operation>,
    settled: Arc<AtomicU64>,
}

enum Operation {
    Accept {
        number: u64,
        body: Bytes,
        committed: oneshot::Sender<()>,
    },
    Settle {
        number: u64,
        /// Free again after the commit.
        place: OwnedSemaphorePermit,
    },
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection) -> Self {
        let (sender, waiting) = mpsc::channel();
        let settled = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&settled);
        thread::spawn(move || work(connection, &waiting, &counted).unwrap_or_else(|error| give_up(&error)));
        Self { waiting: sender, settled }
    }

    /// Writes an event, and waits until it is on the disk.
    pub async fn accept(&self, number: u64, body: Bytes) -> anyhow::Result<()> {
        let (committed, answer) = oneshot::channel();
        self.put(Operation::Accept { number, body, committed })?;
        answer.await.context("the writer is gone")
    }

    /// Writes that an event was sent, and waits for nothing.
    pub fn settle(&self, number: u64, place: OwnedSemaphorePermit) -> anyhow::Result<()> {
        self.put(Operation::Settle { number, place })
    }

    /// How many events are settled on the disk.
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    fn put(&self, operation: Operation) -> anyhow::Result<()> {
        self.waiting.send(operation).ok().context("the writer is gone")
    }
}

fn work(mut connection: Connection, waiting: &mpsc::Receiver<Operation>, settled: &AtomicU64) -> anyhow::Result<()> {
    let mut batch = Vec::new();
    while let Ok(first) = waiting.recv() {
        batch.push(first);
        batch.extend(waiting.try_iter());
        commit(&mut connection, &batch).context("a batch could not be committed")?;
        for operation in batch.drain(..) {
            match operation {
                // A caller that went away does not want to know.
                Operation::Accept { committed, .. } => drop(committed.send(())),
                Operation::Settle { place, .. } => {
                    settled.fetch_add(1, Ordering::Relaxed);
                    drop(place);
                }
            }
        }
    }
    Ok(())
}

fn commit(connection: &mut Connection, batch: &[Operation]) -> anyhow::Result<()> {
    let transaction = connection.transaction()?;
    for operation in batch {
        match operation {
            Operation::Accept { number, body, .. } => tables::accept(&transaction, *number, body)?,
            Operation::Settle { number, .. } => tables::settle(&transaction, *number)?,
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
        let writer = Writer::start(tables::open(&path).unwrap());
        let reader = Connection::open(&path).unwrap();
        let count = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
        let places = Arc::new(Semaphore::new(2));
        for number in 0..3 {
            writer.accept(number.into(), Bytes::from_static(b"{}")).await.unwrap();
            assert_eq!(count("SELECT count(*) FROM deliveries WHERE status = 3"), number + 1);
        }
        for number in 0..2 {
            writer.settle(number, Arc::clone(&places).try_acquire_owned().unwrap()).unwrap();
        }
        // The places come back with the commit.
        let _all = places.acquire_many(2).await.unwrap();
        assert_eq!((count("SELECT count(*) FROM deliveries WHERE status = 4"), writer.settled()), (2, 2));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
