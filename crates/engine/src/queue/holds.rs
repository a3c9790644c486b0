//! What is held back: let go when the gate that holds it back opens, together in a digest, or one by one where messages are
//! never merged.
//!
//! Woken at the next instant that is known, when something new is held, when the configuration changes (quiet hours may
//! have ended by an edit), and now and then in any case.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_domain::channel::{ChannelType, DeliveryPriority};
use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, EventKind};
use tidings_domain::gate::{self, Gate, Opening, Walk};
use tidings_domain::id::{ChannelId, DeliveryId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::queue::{Admission, Due, HeldBack, LetGo, NextState};
use tidings_store::watching::Told;

use super::{Queue, digest};
use crate::measure;
use crate::pulse::Listener;
use crate::snapshot::{LiveChannel, WorkspaceView};
use crate::tell;

/// How often the store is looked at if nothing else is heard.
const POLL: Duration = Duration::from_secs(15);
/// How long to wait after the store failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// The most that is let go of one channel at once; the rest follows at once.
const BATCH_MAX: u32 = 2_000;
/// After how long to look again at what should be let go by now, and is not, in milliseconds.
const AGAIN_MS: u64 = 1_000;

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
    for Due { workspace_id, channel_id, at } in queue.0.store.held().await? {
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
    let held = queue.0.store.held_back(workspace_id, channel_id, until, BATCH_MAX).await?;
    let is_full = held.len() >= BATCH_MAX as usize;
    let snapshot = queue.0.live.now();
    let view = snapshot.workspace(workspace_id);
    let decisions = decide_all(queue, view.map(AsRef::as_ref), &held, channel_id, now).await?;
    let mut release = LetGo {
        workspace_id,
        channel_id,
        now,
        stopped: Vec::new(),
        singles: Vec::new(),
        digest: None,
        admission: None,
    };
    let mut together = Vec::new();
    let mut stopped = Vec::new();
    let mut next: Option<Timestamp> = None;
    for (held, decision) in held.into_iter().zip(decisions) {
        match decision {
            Decision::Stay(at) => next = Some(next.map_or(at, |known| known.min(at))),
            Decision::Stop(state) => {
                if matches!(state, NextState::Suppressed(_)) {
                    stopped.push(Arc::clone(&held.event));
                }
                release.stopped.push((held.id, state));
            }
            Decision::Go { alone: true } => release.singles.push(held.id),
            Decision::Go { alone: false } => together.push(held),
        }
    }
    if let Some((view, live)) = view.and_then(|view| Some((view, view.channel(channel_id)?))) {
        release.admission = admission(view, live);
        if !together.is_empty() {
            release.digest = Some(digest::of(queue, live, &together, now));
        }
    }
    if release.stopped.is_empty() && release.singles.is_empty() && release.digest.is_none() {
        return Ok(Released::UntilThen(next));
    }
    for (_, state) in &release.stopped {
        if let Some(live) = view.and_then(|view| view.channel(channel_id)) {
            measure::settled(live.channel.channel_type, state);
        }
        if let NextState::Held(walk) = state {
            let at = walk.held().map(|(_, at)| at);
            next = [next, at].into_iter().flatten().min();
        }
    }
    let gone = queue.0.store.let_go(release).await?;
    queue.pulse().worked();
    stopped.iter().for_each(|event| queue.0.stopped.note(event));
    if gone.due > 0 {
        queue.due_at(channel_id, now);
    }
    if gone.held == 0 {
        return Ok(if is_full { Released::More } else { Released::UntilThen(next) });
    }
    // What is left waits for room, at an instant that the store knows.
    let held = queue.0.store.held().await?;
    let again = held.into_iter().find(|due| due.channel_id == channel_id).map(|due| due.at);
    Ok(Released::UntilThen([next, again].into_iter().flatten().min()))
}

/// What becomes of one that is held back.
#[derive(Clone)]
enum Decision {
    /// It is still held, until then.
    Stay(Timestamp),
    /// It is not said now.
    Stop(NextState),
    /// It is said: by itself, or with others.
    Go { alone: bool },
}

/// Decides for all of them: for resolutions last, as they depend on what becomes of their openings.
async fn decide_all(
    queue: &Queue,
    view: Option<&WorkspaceView>,
    held: &[HeldBack],
    channel_id: ChannelId,
    now: Timestamp,
) -> Result<Vec<Decision>, StoreError> {
    let is_resolution = |held: &HeldBack| held.event.kind == EventKind::IncidentResolved;
    let first = |held: &HeldBack| match is_resolution(held) {
        true => Decision::Stay(now),
        false => decide(queue, view, held, channel_id, &Opening::Beside, now),
    };
    let mut decisions: Vec<Decision> = held.iter().map(first).collect();
    let places: HashMap<DeliveryId, usize> = held.iter().enumerate().map(|(place, held)| (held.id, place)).collect();
    for (place, resolution) in held.iter().enumerate().filter(|(_, held)| is_resolution(held)) {
        let Ok(incident_id) = resolution.event.run_id.parse() else { continue };
        let mut told = queue.0.store.told(resolution.event.workspace_id, incident_id).await?;
        for told in &mut told {
            if let Some(decision) = places.get(&told.delivery_id).and_then(|place| decisions.get(*place)) {
                apply(decision, told);
            }
        }
        let rule = view.zip(resolution.rule_id).and_then(|(view, id)| view.rule(id)).map(AsRef::as_ref);
        let opening = tell::opening(&resolution.event, rule, channel_id, &told);
        decisions[place] = decide(queue, view, resolution, channel_id, &opening, now);
    }
    Ok(decisions)
}

/// Looks at what was told as it will be once this is done.
fn apply(decision: &Decision, told: &mut Told) {
    match decision {
        Decision::Stay(_) => {}
        Decision::Go { .. } => told.status = Status::Pending,
        Decision::Stop(NextState::Held(walk)) => {
            told.held_until = walk.held().map(|(_, until)| until);
            told.walk = Some(walk.clone());
        }
        Decision::Stop(NextState::Suppressed(walk)) => {
            (told.status, told.walk) = (Status::Suppressed, Some(walk.clone()));
        }
        Decision::Stop(_) => told.status = Status::Skipped,
    }
}

fn decide(
    queue: &Queue,
    view: Option<&WorkspaceView>,
    held: &HeldBack,
    channel_id: ChannelId,
    opening: &Opening,
    now: Timestamp,
) -> Decision {
    let target = super::sender::Target {
        event: &held.event,
        rule_id: held.rule_id,
        rule_generation: held.rule_generation,
        channel_id,
    };
    let found = match target.find(view) {
        Ok(found) => found,
        Err(reason) => return Decision::Stop(NextState::Skipped(reason)),
    };
    let situation = super::sender::endpoint_situation(&queue.0.down, found.view, &held.event);
    let facts = tell::facts(
        found.view,
        found.live,
        found.rule,
        held.event.trigger,
        held.severity,
        situation.as_ref().map(|situation| situation.as_situation()),
        opening,
    );
    let (gate, until) = held.walk.held().unwrap_or((Gate::QuietHours, now));
    // Before its time only the gate that holds it is asked: what another one says counts when it comes up.
    let is_early = until > now;
    if is_early
        && gate == Gate::QuietHours
        && let Some(stop) = gate.ask(&facts, now).filter(|stop| stop.effect == gate::Effect::Hold)
    {
        let is_same = stop.until == Some(until);
        let walk = Walk { evaluated_at: now, passed: 0, stopped: Some((gate, stop)) };
        return if is_same { Decision::Stay(until) } else { Decision::Stop(NextState::Held(walk)) };
    }
    let has_limit = gate::rate_limit::is_asked(&facts).is_some();
    if is_early && gate == Gate::RateLimit && has_limit {
        return Decision::Stay(until);
    }
    let walk = super::sender::after_opening(gate::walk_again(&facts, now), opening, &found.live.channel.name);
    if let Some((_, stop)) = &walk.stopped {
        return match stop.effect {
            // What waits with its opening waits as long as that; the store knows until when.
            gate::Effect::Hold if walk.held() == Some((gate, until)) => {
                Decision::Stay(until.max(now.plus_ms(AGAIN_MS)))
            }
            gate::Effect::Hold => Decision::Stop(NextState::Held(walk)),
            _ => Decision::Stop(NextState::Suppressed(walk)),
        };
    }
    let is_digest = matches!(held.event.content, Content::Digest(_));
    Decision::Go { alone: is_digest || found.live.channel.channel_type == ChannelType::Webhook }
}

/// What the channel's rate limit is asked with, if it has one.
fn admission(view: &WorkspaceView, live: &LiveChannel) -> Option<Admission> {
    let policies = &live.channel.policies;
    let limit = policies.rate_limit.filter(|_| policies.delivery_priority != DeliveryPriority::Critical)?;
    Some(Admission { limit, channel_name: live.channel.name.clone(), zone: view.zone.clone() })
}
