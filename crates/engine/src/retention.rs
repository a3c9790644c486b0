//! The retention job: summarises checks by the hour and prunes expired rows, in small batches with pauses, so that other
//! writers are not delayed.

use std::sync::Arc;
use std::time::Duration;

use tidings_store::retention::{PruneCursor, Pruned, Retention};
use tidings_store::{Store, StoreError};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::snapshot::ConfigCache;

/// How often checks are summarised.
const SUMMARISE_EVERY: Duration = Duration::from_secs(60);
/// Checks that one write summarises, approximately.
const SUMMARISE_BATCH: u32 = 2_000;
/// How often expired rows are pruned. Checks are many, so more than once a day.
const PRUNE_EVERY: Duration = Duration::from_secs(15 * 60);
/// The most rows that one write deletes: about five milliseconds of the writer's time. With the pauses in between that is
/// still more in a second than a busy service adds.
const PRUNE_BATCH: u32 = 500;
/// Pause between two batches.
const BATCH_PAUSE: Duration = Duration::from_millis(50);

/// Runs the job until `stopping` is set.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    config: Arc<ConfigCache>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    mut stopping: watch::Receiver<bool>,
) {
    let mut next_prune = tokio::time::Instant::now() + SUMMARISE_EVERY;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(SUMMARISE_EVERY) => {}
        }
        let outcome = async {
            summarise(store.as_ref(), clock.as_ref(), &stopping).await?;
            if tokio::time::Instant::now() >= next_prune {
                next_prune = tokio::time::Instant::now() + PRUNE_EVERY;
                prune(store.as_ref(), &config, clock.as_ref(), retention, &stopping).await?;
            }
            Ok(())
        };
        match outcome.await {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::error!(%error, "retention job failed, will retry"),
        }
    }
}

async fn summarise(store: &dyn Store, clock: &dyn Clock, stopping: &watch::Receiver<bool>) -> Result<(), StoreError> {
    while !*stopping.borrow() {
        if !store.summarise(clock.now(), SUMMARISE_BATCH).await?.has_more {
            return Ok(());
        }
        tokio::time::sleep(BATCH_PAUSE).await;
    }
    Ok(())
}

async fn prune(
    store: &dyn Store,
    config: &ConfigCache,
    clock: &dyn Clock,
    retention: Retention,
    stopping: &watch::Receiver<bool>,
) -> Result<(), StoreError> {
    let mut total = Pruned::default();
    let mut from = PruneCursor::default();
    while !*stopping.borrow() {
        let pruned = store.prune(clock.now(), retention, from, PRUNE_BATCH).await?;
        total.events += pruned.events;
        total.deliveries += pruned.deliveries;
        total.checks += pruned.checks;
        total.hours += pruned.hours;
        total.mutes += pruned.mutes;
        total.audit_entries += pruned.audit_entries;
        total.workspace_rows += pruned.workspace_rows;
        match pruned.next {
            Some(next) => from = next,
            None => break,
        }
        tokio::time::sleep(BATCH_PAUSE).await;
    }
    // Mutes are configuration: the snapshot still has the pruned ones.
    if total.mutes > 0 {
        config.refresh().await?;
    }
    let Pruned { events, deliveries, checks, hours, audit_entries, workspace_rows, .. } = total;
    if [events, checks, hours, audit_entries, workspace_rows].iter().any(|rows| *rows > 0) {
        tracing::info!(events, deliveries, checks, hours, audit_entries, workspace_rows, "pruned expired rows");
    }
    Ok(())
}
