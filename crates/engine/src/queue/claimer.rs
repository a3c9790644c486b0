//! The claimer: fetches from the store what is due, for the channels that have room.
//!
//! Woken when a channel learns of something due or gets room, at the next due instant that is known, and now and then in
//! any case: what others wrote, or what was forgotten, is found by looking.

use std::time::Duration;

use tidings_store::StoreError;
use tokio::time::Instant;

use super::Queue;
use crate::quiescence::Listener;

/// How often the store is looked at if nothing else is heard.
const POLL: Duration = Duration::from_secs(5);
/// The shortest time between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// How long to wait after the store failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

pub(super) async fn run(queue: Queue, mut pulse: Listener) {
    let mut next_look = Instant::now();
    loop {
        let is_asked = pulse.hear();
        let outcome = async {
            if is_asked || Instant::now() >= next_look {
                refresh(&queue).await?;
                next_look = Instant::now() + POLL;
            }
            claim(&queue).await
        };
        match outcome.await {
            Ok(Claim::More) => {}
            Ok(Claim::Drained) => {
                next_look = Instant::now();
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = pulse.asked() => {}
                }
            }
            Ok(Claim::Nothing) => {
                pulse.done();
                tokio::select! {
                    () = wait(&queue, next_look) => {}
                    () = pulse.asked() => {}
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "cannot see or claim what is due; trying again");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

enum Claim {
    /// No channel has anything due and room for it.
    Nothing,
    /// Got all that was asked for: there may be more.
    More,
    /// Some channel has no more that is due now.
    Drained,
}

async fn claim(queue: &Queue) -> Result<Claim, StoreError> {
    let now = queue.0.clock.now();
    let wanted = queue.lanes().wanted(now);
    if wanted.is_empty() {
        return Ok(Claim::Nothing);
    }
    let claimed = match queue.0.store.claim(now, queue.lease(now), wanted.clone()).await {
        Ok(claimed) => claimed,
        Err(error) => {
            queue.lanes().give_up(&wanted);
            return Err(error);
        }
    };
    let (start, drained) = queue.lanes().fetched(&wanted, claimed);
    queue.send(start);
    Ok(if drained { Claim::Drained } else { Claim::More })
}

/// Learns from the store when each channel's next delivery is due, and whether the configuration changed elsewhere.
async fn refresh(queue: &Queue) -> Result<(), StoreError> {
    let due = queue.0.store.due().await?;
    {
        let mut lanes = queue.lanes();
        for due in due {
            lanes.note_due(due.channel_id, due.at);
        }
        lanes.sweep();
        crate::metrics::queue(&lanes);
    }
    queue.0.live.refresh().await
}

/// Waits until there may be something to do, at most until the next look.
async fn wait(queue: &Queue, next_look: Instant) {
    let now = queue.0.clock.now();
    let next = queue.lanes().next_due();
    let until_next = next.map_or(POLL, |at| Duration::from_millis(at.since_ms(now))).max(PAUSE);
    tokio::select! {
        () = queue.0.wake.notified() => {}
        () = tokio::time::sleep_until(next_look.min(Instant::now() + until_next)) => {}
    }
}
