//! Readers: connections beside the writer's, each used by one caller at a time, off the runtime's own threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::{connect, search};
use crate::Result;
use crate::error::StoreError;

/// A small pool of read-only connections.
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    count: u32,
}

impl Readers {
    pub(super) fn open(path: &Path, count: u32) -> Result<Self> {
        let connections = (0..count)
            .map(|_| {
                let connection = connect(path, OpenFlags::default())?;
                connection.pragma_update(None, "query_only", true)?;
                search::register(&connection)?;
                Ok(connection)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { idle: Arc::new(Mutex::new(connections)), permits: Arc::new(Semaphore::new(count as usize)), count })
    }

    /// Runs a read in one transaction, so that it sees one instant. It runs to its end even if the caller goes away,
    /// and keeps its connection until then.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let idle = Arc::clone(&self.idle);
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = lock(&idle).pop().ok_or(StoreError::Closed)?;
            // The transaction ends within, panic or not, and the connection goes back in any case: a permit without
            // one would be a promise that cannot be kept.
            let result = catch_unwind(AssertUnwindSafe(|| {
                let transaction = connection.unchecked_transaction()?;
                read(&transaction)
            }));
            lock(&idle).push(connection);
            result.unwrap_or_else(|_| Err(StoreError::Defect("a read panicked".into())))
        });
        // It is only given up when the runtime itself ends.
        reading.await.map_err(|_| StoreError::Closed)?
    }

    /// Waits for the reads on their way; later ones fail.
    pub(super) async fn close(&self) {
        if let Ok(all) = self.permits.acquire_many(self.count).await {
            self.permits.close();
            all.forget();
            lock(&self.idle).clear();
        }
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
