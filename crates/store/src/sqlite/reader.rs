//! Readers: read-only connections, each used by one caller at a time, on the runtime's blocking threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::{connect, search};
use crate::Result;
use crate::error::StoreError;

/// Steps of SQLite's virtual machine between two checks of the clock: a fraction of a millisecond.
const CHECK_STEPS: i32 = 1_000;

/// A small pool of read-only connections.
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    count: u32,
    /// How long a read may take, and how long it may wait for a connection. `close` waits for reads without one.
    time_limit: Option<Duration>,
    closing: Arc<AtomicBool>,
}

impl Readers {
    pub(super) fn open(path: &Path, count: u32, time_limit: Option<Duration>) -> Result<Self> {
        let connections = (0..count)
            .map(|_| {
                let connection = connect(path, OpenFlags::default())?;
                connection.pragma_update(None, "query_only", true)?;
                search::register(&connection)?;
                Ok(connection)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            idle: Arc::new(Mutex::new(connections)),
            permits: Arc::new(Semaphore::new(count as usize)),
            count,
            time_limit,
            closing: Arc::default(),
        })
    }

    /// Runs a read in one transaction, so that it sees one consistent snapshot. If the caller drops the future, the
    /// read still runs to its end (or its time limit) and keeps its connection until then.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.permit().await?;
        let idle = Arc::clone(&self.idle);
        let (time_limit, closing) = (self.time_limit, Arc::clone(&self.closing));
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut connection = lock(&idle).pop().ok_or(StoreError::Closed)?;
            // The connection goes back to the pool even after a panic: there must be one for each permit. Dropping the
            // transaction, which unwinding does, too, rolls it back.
            let result = catch_unwind(AssertUnwindSafe(|| match time_limit {
                Some(time_limit) => run_limited(&mut connection, time_limit, &closing, read),
                None => read(&*connection.unchecked_transaction()?),
            }));
            lock(&idle).push(connection);
            result.unwrap_or_else(|_| Err(StoreError::Defect("a read panicked".into())))
        });
        // Fails only if the runtime shuts down.
        reading.await.map_err(|_| StoreError::Closed)?
    }

    /// Waits for a free connection, at most for the time limit.
    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.permits).acquire_owned();
        let permit = match self.time_limit {
            Some(time_limit) => timeout(time_limit, free).await.map_err(|_| StoreError::Busy)?,
            None => free.await,
        };
        permit.map_err(|_| StoreError::Closed)
    }

    /// Interrupts the reads that have a time limit, waits for all, and closes the connections. Later reads fail.
    pub(super) async fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        // Once all permits are taken, no read is running.
        if let Ok(all) = self.permits.acquire_many(self.count).await {
            self.permits.close();
            all.forget();
            lock(&self.idle).clear();
        }
    }
}

/// Runs a read that is interrupted at its time limit or when the store closes.
fn run_limited<T>(
    connection: &mut Connection,
    time_limit: Duration,
    closing: &Arc<AtomicBool>,
    read: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    if closing.load(Ordering::Relaxed) {
        return Err(StoreError::Closed);
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let (deadline, is_closing, flag) = (Instant::now() + time_limit, Arc::clone(closing), Arc::clone(&interrupted));
    let is_over = move || {
        let is_over = is_closing.load(Ordering::Relaxed) || Instant::now() >= deadline;
        flag.fetch_or(is_over, Ordering::Relaxed);
        is_over
    };
    connection.progress_handler(CHECK_STEPS, Some(is_over))?;
    let result = {
        let transaction = connection.unchecked_transaction()?;
        read(&transaction)
    };
    // SQLite reports an interruption as an ordinary error, so the flag shows that it was ours.
    match result {
        Err(_) if interrupted.load(Ordering::Relaxed) && closing.load(Ordering::Relaxed) => Err(StoreError::Closed),
        Err(_) if interrupted.load(Ordering::Relaxed) => Err(StoreError::TooSlow { seconds: time_limit.as_secs() }),
        result => result,
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
