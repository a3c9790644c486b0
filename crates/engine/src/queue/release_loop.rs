//! The release loop: releases held deliveries when the gate that holds them opens, together in a digest, or one by one
//! where messages are never merged.
//!
//! Woken at the next release that is known, when a delivery becomes held, when the configuration changes (an edit may
//! have ended quiet hours), and at least every [`POLL_INTERVAL`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_domain::channel::DeliveryPriority;
use tidings_domain::id::{ChannelId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::queue::{Due, NextState, RateLimitRequest, ReleaseBatch};

use super::recheck::{ReleaseDecision, recheck_all};
use super::{Queue, digest};
use crate::changes::Topic;
use crate::metrics;
use crate::quiescence::Listener;
use crate::snapshot::{LoadedChannel, WorkspaceView};

/// How often the store is polled without a wake-up.
const POLL_INTERVAL: Duration = Duration::from_secs(15);
/// Pause after the store failed.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// The most that is released of one channel in one write; the next write follows at once.
const BATCH_MAX: u32 = 2_000;

pub(super) async fn run(queue: Queue, mut quiescence: Listener) {
    let mut changes = queue.0.config.changes();
    // The first round rechecks everything that is held, as after a change of the configuration.
    changes.mark_changed();
    loop {
        // Both are observed *before* the store is polled, so that a change in between causes another round.
        quiescence.observe_tick();
        let is_config_changed = changes.has_changed().unwrap_or(false);
        changes.mark_unchanged();
        let pause = match run_once(&queue, is_config_changed).await {
            Ok(next) => {
                quiescence.complete();
                queue.0.next_release_ms.store(next.map_or(i64::MAX, Timestamp::unix_ms), Ordering::Relaxed);
                let now = queue.0.clock.now();
                next.map_or(POLL_INTERVAL, |at| Duration::from_millis(at.since_ms(now))).min(POLL_INTERVAL)
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "failed to release held deliveries, will retry");
                ERROR_PAUSE
            }
        };
        tokio::select! {
            () = queue.0.release_wakeup.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = quiescence.poll_requested() => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                // `changed` marked it as seen; the next round must see it.
                changes.mark_changed();
            }
        }
    }
}

/// Releases everything that is due, and returns when the next release is. After a change of the configuration all held
/// deliveries are rechecked, not only those that are due.
async fn run_once(queue: &Queue, is_config_changed: bool) -> Result<Option<Timestamp>, StoreError> {
    let now = queue.0.clock.now();
    let mut next: Option<Timestamp> = None;
    for Due { workspace_id, channel_id, at } in queue.0.store.next_releases().await? {
        let at = if at <= now || is_config_changed {
            let until = if is_config_changed { Timestamp::from_unix_ms(i64::MAX) } else { now };
            loop {
                match release_channel(queue, workspace_id, channel_id, until, now).await? {
                    ReleaseProgress::More => {}
                    ReleaseProgress::Next(next) => break next,
                }
            }
        } else {
            Some(at)
        };
        next = [next, at].into_iter().flatten().min();
    }
    Ok(next)
}

/// The result of one release write.
enum ReleaseProgress {
    /// The batch was full: there may be more to release now.
    More,
    /// When the channel is to be polled again.
    Next(Option<Timestamp>),
}

/// Releases one batch of a channel's held deliveries that are due until `until`.
async fn release_channel(
    queue: &Queue,
    workspace_id: WorkspaceId,
    channel_id: ChannelId,
    until: Timestamp,
    now: Timestamp,
) -> Result<ReleaseProgress, StoreError> {
    let held = queue.0.store.list_held(workspace_id, channel_id, until, BATCH_MAX).await?;
    let is_full = held.len() >= BATCH_MAX as usize;
    let snapshot = queue.0.config.snapshot();
    let view = snapshot.workspace(workspace_id);
    let decisions = recheck_all(queue, view.map(AsRef::as_ref), &held, channel_id, now).await?;
    let mut batch = ReleaseBatch {
        workspace_id,
        channel_id,
        now,
        not_sent: Vec::new(),
        individual: Vec::new(),
        digest: None,
        rate_limit: None,
    };
    let mut merged = Vec::new();
    let mut suppressed = Vec::new();
    let mut next: Option<Timestamp> = None;
    for (held, decision) in held.into_iter().zip(decisions) {
        match decision {
            ReleaseDecision::KeepHeld(at) => next = Some(next.map_or(at, |known| known.min(at))),
            ReleaseDecision::Settle(state) => {
                if matches!(state, NextState::Suppressed(_)) {
                    suppressed.push(Arc::clone(&held.event));
                }
                batch.not_sent.push((held.id, state));
            }
            ReleaseDecision::Release { individually: true } => batch.individual.push(held.id),
            ReleaseDecision::Release { individually: false } => merged.push(held),
        }
    }
    let loaded = view.and_then(|view| Some((view, view.channel(channel_id)?)));
    if let Some((view, loaded)) = loaded {
        batch.rate_limit = rate_limit_request(view, loaded);
        if !merged.is_empty() {
            batch.digest = Some(digest::new_digest(queue, loaded, &merged, now).await?);
        }
    }
    if batch.not_sent.is_empty() && batch.individual.is_empty() && batch.digest.is_none() {
        return Ok(ReleaseProgress::Next(next));
    }
    for (_, state) in &batch.not_sent {
        if let Some((_, loaded)) = loaded {
            metrics::record_settled(loaded.channel.channel_type, state);
        }
        if let NextState::Held(evaluation) = state {
            let at = evaluation.held().map(|(_, at)| at);
            next = [next, at].into_iter().flatten().min();
        }
    }
    let workspace_id = batch.workspace_id;
    let outcome = queue.0.store.release_held(batch).await?;
    queue.mark_changed(workspace_id, Topic::Deliveries);
    queue.quiescence().record_work();
    suppressed.iter().for_each(|event| queue.0.suppressed_openings.record(event));
    if outcome.due > 0 {
        queue.note_due(channel_id, now);
    }
    if outcome.held == 0 {
        return Ok(if is_full { ReleaseProgress::More } else { ReleaseProgress::Next(next) });
    }
    // The rate limit, which the store counts within the write, keeps the rest held until a new instant.
    let releases = queue.0.store.next_releases().await?;
    let at = releases.into_iter().find(|due| due.channel_id == channel_id).map(|due| due.at);
    Ok(ReleaseProgress::Next([next, at].into_iter().flatten().min()))
}

/// The channel's rate limit, if it has one that applies: critical priority passes it.
fn rate_limit_request(view: &WorkspaceView, loaded: &LoadedChannel) -> Option<RateLimitRequest> {
    let policies = &loaded.channel.policies;
    let limit = policies.rate_limit.filter(|_| policies.delivery_priority != DeliveryPriority::Critical)?;
    Some(RateLimitRequest { limit, channel_name: loaded.channel.name.clone(), zone: view.zone.clone() })
}
