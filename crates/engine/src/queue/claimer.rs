//! The claimer: fetches from the store what is due, for the channels that have room.
//!
//! Woken when a channel learns of something due or gets room, at the next due instant that is known, and now and then in
//! any case: what others wrote, or what was forgotten, is found by looking.

use std::time::Duration;

use tidings_store::StoreError;

use super::Queue;

/// How often the store is looked at if nothing else is heard.
const POLL: Duration = Duration::from_secs(5);
/// The shortest time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn run(queue: Queue) {
    let mut look = true;
    loop {
        if look && let Err(error) = refresh(&queue).await {
            if matches!(error, StoreError::Closed) {
                return;
            }
            tracing::error!(%error, "cannot see what is due; trying again");
        }
        match claim(&queue).await {
            Ok(Claim::Drained) => {
                look = true;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Ok(Claim::More) => {
                look = false;
                continue;
            }
            Ok(Claim::Nothing) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::error!(%error, "cannot claim what is due; trying again"),
        }
        look = wait(&queue).await;
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

/// Learns from the store when each channel's next delivery is due.
async fn refresh(queue: &Queue) -> Result<(), StoreError> {
    let due = queue.0.store.due().await?;
    let mut lanes = queue.lanes();
    for due in due {
        lanes.note_due(due.channel_id, due.at);
    }
    lanes.sweep();
    crate::measure::queue(&lanes);
    Ok(())
}

/// Waits until there is something to do; true if the store should be looked at.
async fn wait(queue: &Queue) -> bool {
    let now = queue.0.clock.now();
    let next = queue.lanes().next_due();
    let until_next = next.map_or(POLL, |at| Duration::from_millis(at.since_ms(now)).min(POLL));
    tokio::select! {
        () = queue.0.wake.notified() => false,
        () = tokio::time::sleep(until_next.max(PAUSE)) => until_next == POLL,
    }
}
