//! The index loop: has the store index its history for lists, behind the hot path.

use std::sync::Arc;
use std::time::Duration;

use tidings_store::{Store, StoreError};
use tokio::sync::watch;

use crate::clock::Clock;

/// How often new events are indexed. What is not indexed yet is read row by row, which is fast only while it is little.
const EVERY: Duration = Duration::from_secs(1);
/// Pause between two calls while there is more, so that other reads and writes are not delayed.
const MORE_PAUSE: Duration = Duration::from_millis(20);

/// Runs until `stopping` is set.
pub(crate) async fn run(store: Arc<dyn Store>, clock: Arc<dyn Clock>, mut stopping: watch::Receiver<bool>) {
    let mut pause = EVERY;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = match store.index_history(clock.now()).await {
            Ok(progress) if progress.has_more => MORE_PAUSE,
            Ok(_) => EVERY,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "failed to index the history, will retry");
                EVERY
            }
        };
    }
}
