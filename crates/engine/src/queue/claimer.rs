//! The claimer: leases due deliveries from the store for the channels that have capacity for them.
//!
//! Woken when a channel learns of something due or gets capacity, at the next due instant that is known, and at least
//! every [`POLL_INTERVAL`]: polling finds what another process wrote, and deliveries whose lease expired.

use std::time::Duration;

use tidings_store::StoreError;
use tokio::time::Instant;

use super::Queue;
use crate::quiescence::Listener;

/// How often the store is polled without a wake-up.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// The shortest time between two polls.
const POLL_PAUSE: Duration = Duration::from_millis(20);
/// Pause after the store failed.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(queue: Queue, mut quiescence: Listener) {
    let mut next_poll = Instant::now();
    loop {
        // Before the store is polled, so that a tick in between is not missed.
        let is_requested = quiescence.observe_tick();
        let outcome = async {
            if is_requested || Instant::now() >= next_poll {
                refresh(&queue).await?;
                next_poll = Instant::now() + POLL_INTERVAL;
            }
            claim(&queue).await
        };
        match outcome.await {
            Ok(ClaimResult::More) => {}
            Ok(ClaimResult::Drained) => {
                // `absorb_claims` dropped the channel's due instant: ask the store for its next one.
                next_poll = Instant::now();
                tokio::select! {
                    () = tokio::time::sleep(POLL_PAUSE) => {}
                    () = quiescence.poll_requested() => {}
                }
            }
            Ok(ClaimResult::Nothing) => {
                quiescence.complete();
                tokio::select! {
                    () = wait(&queue, next_poll) => {}
                    () = quiescence.poll_requested() => {}
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "failed to claim due deliveries, will retry");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

enum ClaimResult {
    /// No channel has anything due and capacity for it.
    Nothing,
    /// All that was asked for was claimed: there may be more.
    More,
    /// The store had fewer due deliveries than asked for of some channel.
    Drained,
}

async fn claim(queue: &Queue) -> Result<ClaimResult, StoreError> {
    let now = queue.0.clock.now();
    // In a statement of its own: the lock must not be held across the await below.
    let plan = queue.channel_queues().plan_claims(now);
    if plan.is_empty() {
        return Ok(ClaimResult::Nothing);
    }
    let claimed = match queue.0.store.claim(now, queue.lease(now), plan.clone()).await {
        Ok(claimed) => claimed,
        Err(error) => {
            queue.channel_queues().cancel_reservations(&plan);
            return Err(error);
        }
    };
    let (ready, is_drained) = queue.channel_queues().absorb_claims(&plan, claimed, now);
    queue.dispatch_ready(ready);
    Ok(if is_drained { ClaimResult::Drained } else { ClaimResult::More })
}

/// Reads from the store when each channel's next delivery is due, and whether another process changed the
/// configuration.
async fn refresh(queue: &Queue) -> Result<(), StoreError> {
    let due = queue.0.store.due().await?;
    {
        let mut queues = queue.channel_queues();
        for due in due {
            queues.note_due(due.channel_id, due.at);
        }
        queues.sweep();
        crate::metrics::record_queue(&queues);
    }
    queue.0.config.refresh().await
}

/// Waits for a wake-up or the next due instant, at most until the next poll.
async fn wait(queue: &Queue, next_poll: Instant) {
    let now = queue.0.clock.now();
    let next = queue.channel_queues().next_due(now);
    let until_next = next.map_or(POLL_INTERVAL, |at| Duration::from_millis(at.since_ms(now))).max(POLL_PAUSE);
    tokio::select! {
        () = queue.0.claim_wakeup.notified() => {}
        () = tokio::time::sleep_until(next_poll.min(Instant::now() + until_next)) => {}
    }
}
