//! The insight job: folds what the event pipeline did into resources and counts, and erases the payloads of deleted
//! resources, in small steps behind the pipeline.

use std::sync::Arc;
use std::time::Duration;

use tidings_store::{Store, StoreError};
use tokio::sync::watch;

use crate::clock::Clock;

/// How often the job runs: how much of the counts is lost if the process is killed.
const EVERY: Duration = Duration::from_secs(2);
/// Events that one fold aggregates before it writes.
const FOLD_EVENTS: u32 = 20_000;
/// Events that one write erases: each is in another place of the file, and takes the writer most of a millisecond.
const ERASE_EVENTS: u32 = 10;
/// Pause between two steps of a run.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the job until `stopping` is set.
pub(crate) async fn run(store: Arc<dyn Store>, clock: Arc<dyn Clock>, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match run_once(store.as_ref(), clock.as_ref(), &stopping).await {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::error!(%error, "insight job failed, will retry"),
        }
    }
}

async fn run_once(store: &dyn Store, clock: &dyn Clock, stopping: &watch::Receiver<bool>) -> Result<(), StoreError> {
    while !*stopping.borrow() && store.fold(FOLD_EVENTS).await?.has_more {
        tokio::time::sleep(PAUSE).await;
    }
    while !*stopping.borrow() && store.erase(clock.now(), ERASE_EVENTS).await?.has_more {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
