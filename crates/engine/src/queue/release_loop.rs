//! What is held back: let go when the gate that holds it back opens, together in a digest, or one by one where messages are
//! never merged.
//!
//! Woken at the next instant that is known, when something new is held, when the configuration changes (quiet hours may
//! have ended by an edit), and now and then in any case.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_domain::channel::DeliveryPriority;
use tidings_domain::id::{ChannelId, IncidentId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::queue::{Due, HeldDelivery, NextState, RateLimitRequest, ReleaseBatch};

use super::recheck::{Decision, decide_all};
use super::{Queue, digest};
use crate::metrics;
use crate::quiescence::Listener;
use crate::snapshot::{LoadedChannel, WorkspaceView};

/// How often the store is looked at if nothing else is heard.
const POLL: Duration = Duration::from_secs(15);
/// How long to wait after the store failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// The most that is let go of one channel at once; the rest follows at once.
const BATCH_MAX: u32 = 2_000;

pub(super) async fn run(queue: Queue, mut pulse: Listener) {
    let mut changes = queue.0.live.changes();
    changes.mark_changed();
    loop {
        pulse.hear();
        let is_changed = changes.has_changed().unwrap_or(false);
        changes.mark_unchanged();
        let pause = match look(&queue, is_changed).await {
            Ok(next) => {
                pulse.done();
                queue.0.held_next.store(next.map_or(i64::MAX, Timestamp::unix_ms), Ordering::Relaxed);
                let now = queue.0.clock.now();
                next.map_or(POLL, |at| Duration::from_millis(at.since_ms(now))).min(POLL)
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "cannot see or let go what is held back; trying again");
                PAUSE_AFTER_ERROR
            }
        };
        tokio::select! {
            () = queue.0.held.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = pulse.asked() => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                // It is to be seen by the next look.
                changes.mark_changed();
            }
        }
    }
}

/// Lets go what may go, and answers when something may next. After a change of configuration all that is held is looked
/// at, not only what is due.
async fn look(queue: &Queue, is_changed: bool) -> Result<Option<Timestamp>, StoreError> {
    let now = queue.0.clock.now();
    let mut next: Option<Timestamp> = None;
    for Due { workspace_id, channel_id, at } in queue.0.store.next_releases().await? {
        let at = if at <= now || is_changed {
            let until = if is_changed { Timestamp::from_unix_ms(i64::MAX) } else { now };
            loop {
                match release(queue, workspace_id, channel_id, until, now).await? {
                    Released::More => {}
                    Released::UntilThen(next) => break next,
                }
            }
        } else {
            Some(at)
        };
        next = [next, at].into_iter().flatten().min();
    }
    Ok(next)
}

/// What came of letting go.
enum Released {
    /// There may be more: as much as one look takes was let go.
    More,
    /// When to look again.
    UntilThen(Option<Timestamp>),
}

/// Lets go what one channel may say.
async fn release(
    queue: &Queue,
    workspace_id: WorkspaceId,
    channel_id: ChannelId,
    until: Timestamp,
    now: Timestamp,
) -> Result<Released, StoreError> {
    let held = queue.0.store.list_held(workspace_id, channel_id, until, BATCH_MAX).await?;
    let is_full = held.len() >= BATCH_MAX as usize;
    let snapshot = queue.0.live.now();
    let view = snapshot.workspace(workspace_id);
    let decisions = decide_all(queue, view.map(AsRef::as_ref), &held, channel_id, now).await?;
    let mut release = ReleaseBatch {
        workspace_id,
        channel_id,
        now,
        stopped: Vec::new(),
        individual: Vec::new(),
        digest: None,
        rate_limit: None,
    };
    let mut together = Vec::new();
    let mut stopped = Vec::new();
    let mut next: Option<Timestamp> = None;
    for (held, decision) in held.into_iter().zip(decisions) {
        match decision {
            Decision::Stay(at) => next = Some(next.map_or(at, |known| known.min(at))),
            Decision::Refusal(state) => {
                if matches!(state, NextState::Suppressed(_)) {
                    stopped.push(Arc::clone(&held.event));
                }
                release.stopped.push((held.id, state));
            }
            Decision::Go { alone: true } => release.individual.push(held.id),
            Decision::Go { alone: false } => together.push(held),
        }
    }
    if let Some((view, live)) = view.and_then(|view| Some((view, view.channel(channel_id)?))) {
        release.rate_limit = admission(view, live);
        if !together.is_empty() {
            let active = active(queue, &together).await?;
            release.digest = Some(digest::of(queue, live, &together, &active, now));
        }
    }
    if release.stopped.is_empty() && release.individual.is_empty() && release.digest.is_none() {
        return Ok(Released::UntilThen(next));
    }
    for (_, state) in &release.stopped {
        if let Some(live) = view.and_then(|view| view.channel(channel_id)) {
            metrics::settled(live.channel.channel_type, state);
        }
        if let NextState::Held(evaluation) = state {
            let at = evaluation.held().map(|(_, at)| at);
            next = [next, at].into_iter().flatten().min();
        }
    }
    let gone = queue.0.store.release_held(release).await?;
    queue.pulse().worked();
    stopped.iter().for_each(|event| queue.0.stopped.note(event));
    if gone.due > 0 {
        queue.due_at(channel_id, now);
    }
    if gone.held == 0 {
        return Ok(if is_full { Released::More } else { Released::UntilThen(next) });
    }
    // What is left waits for room, at an instant that the store knows.
    let held = queue.0.store.next_releases().await?;
    let again = held.into_iter().find(|due| due.channel_id == channel_id).map(|due| due.at);
    Ok(Released::UntilThen([next, again].into_iter().flatten().min()))
}

/// The incidents that go on, if any of these tells of one.
async fn active(queue: &Queue, held: &[HeldDelivery]) -> Result<HashSet<IncidentId>, StoreError> {
    if !held.iter().any(|held| held.event.kind.is_of_incident()) {
        return Ok(HashSet::new());
    }
    Ok(queue.0.store.active_incidents().await?.into_iter().map(|record| record.incident.id).collect())
}

/// What the channel's rate limit is asked with, if it has one.
fn admission(view: &WorkspaceView, live: &LoadedChannel) -> Option<RateLimitRequest> {
    let policies = &live.channel.policies;
    let limit = policies.rate_limit.filter(|_| policies.delivery_priority != DeliveryPriority::Critical)?;
    Some(RateLimitRequest { limit, channel_name: live.channel.name.clone(), zone: view.zone.clone() })
}
