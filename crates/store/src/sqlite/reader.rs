//! Readers: connections beside the writer's, each used by one caller at a time, off the runtime's own threads.

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

/// How many steps of SQLite's machine pass between two looks at the clock: a fraction of a millisecond.
const STEPS: i32 = 1_000;

/// A small pool of read-only connections.
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    count: u32,
    /// How long a read may take; one without a bound is also waited for at the end.
    bound: Option<Duration>,
    closing: Arc<AtomicBool>,
}

impl Readers {
    pub(super) fn open(path: &Path, count: u32, bound: Option<Duration>) -> Result<Self> {
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
            bound,
            closing: Arc::default(),
        })
    }

    /// Runs a read in one transaction, so that it sees one instant. It runs to its end even if the caller goes away,
    /// and keeps its connection until then, but not longer than the bound.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.permit().await?;
        let idle = Arc::clone(&self.idle);
        let (bound, closing) = (self.bound, Arc::clone(&self.closing));
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut connection = lock(&idle).pop().ok_or(StoreError::Closed)?;
            // The transaction ends within, panic or not, and the connection goes back in any case: a permit without
            // one would be a promise that cannot be kept.
            let result = catch_unwind(AssertUnwindSafe(|| match bound {
                Some(bound) => bounded(&mut connection, bound, &closing, read),
                None => read(&*connection.unchecked_transaction()?),
            }));
            lock(&idle).push(connection);
            result.unwrap_or_else(|_| Err(StoreError::Defect("a read panicked".into())))
        });
        // It is only given up when the runtime itself ends.
        reading.await.map_err(|_| StoreError::Closed)?
    }

    /// Waits for a free connection; where reads have a bound, no longer than that.
    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.permits).acquire_owned();
        let permit = match self.bound {
            Some(bound) => timeout(bound, free).await.map_err(|_| StoreError::Busy)?,
            None => free.await,
        };
        permit.map_err(|_| StoreError::Closed)
    }

    /// Breaks off the reads on their way if they have a bound, and waits for them; later ones fail.
    pub(super) async fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Ok(all) = self.permits.acquire_many(self.count).await {
            self.permits.close();
            all.forget();
            lock(&self.idle).clear();
        }
    }
}

/// Reads until the bound or the end, whichever is first.
fn bounded<T>(
    connection: &mut Connection,
    bound: Duration,
    closing: &Arc<AtomicBool>,
    read: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    if closing.load(Ordering::Relaxed) {
        return Err(StoreError::Closed);
    }
    let broken_off = Arc::new(AtomicBool::new(false));
    let (deadline, closing_too, noted) = (Instant::now() + bound, Arc::clone(closing), Arc::clone(&broken_off));
    let is_over = move || {
        let is_over = closing_too.load(Ordering::Relaxed) || Instant::now() >= deadline;
        noted.fetch_or(is_over, Ordering::Relaxed);
        is_over
    };
    connection.progress_handler(STEPS, Some(is_over))?;
    let result = {
        let transaction = connection.unchecked_transaction()?;
        read(&transaction)
    };
    match result {
        Err(_) if broken_off.load(Ordering::Relaxed) && closing.load(Ordering::Relaxed) => Err(StoreError::Closed),
        Err(_) if broken_off.load(Ordering::Relaxed) => Err(StoreError::TooSlow { seconds: bound.as_secs() }),
        result => result,
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
