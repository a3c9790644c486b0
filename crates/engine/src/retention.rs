//! Upkeep: hours are summarised, and what need not be kept any longer is deleted, in small batches between which everybody
//! else gets their turn.

use std::sync::Arc;
use std::time::Duration;

use tidings_store::retention::{PruneCursor, Pruned, Retention};
use tidings_store::{Store, StoreError};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::snapshot::ConfigCache;

/// How often it looks whether an hour is to be summarised.
const SUMMARISE_EVERY: Duration = Duration::from_secs(60);
/// Checks that one write summarises, about.
const SUMMARISE_BATCH: u32 = 2_000;
/// How often it goes through what may be deleted. Checks are many, so not only once a day.
const PRUNE_EVERY: Duration = Duration::from_secs(15 * 60);
/// Rows that one write deletes at most: some five milliseconds of the writer's time, and with the pauses between more in a
/// second than a busy service adds.
const PRUNE_BATCH: u32 = 500;
/// How long it lets others write between two batches.
const PAUSE: Duration = Duration::from_millis(50);

/// Keeps the store in order until it is told to stop.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    live: Arc<ConfigCache>,
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
                prune(store.as_ref(), &live, clock.as_ref(), retention, &stopping).await?;
            }
            Ok(())
        };
        match outcome.await {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::error!(%error, "retention of the store failed; it is tried again"),
        }
    }
}

async fn summarise(store: &dyn Store, clock: &dyn Clock, stopping: &watch::Receiver<bool>) -> Result<(), StoreError> {
    while !*stopping.borrow() {
        if !store.summarise(clock.now(), SUMMARISE_BATCH).await?.has_more {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn prune(
    store: &dyn Store,
    live: &ConfigCache,
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
        match pruned.next {
            Some(next) => from = next,
            None => break,
        }
        tokio::time::sleep(PAUSE).await;
    }
    if total.mutes > 0 {
        live.refresh().await?;
    }
    if (total.events, total.checks, total.hours) != (0, 0, 0) {
        let Pruned { events, deliveries, checks, hours, .. } = total;
        tracing::info!(events, deliveries, checks, hours, "pruned what is past its retention");
    }
    Ok(())
}
