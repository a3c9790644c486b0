//! What else changes when a delivery is settled: what its incident keeps of it, the deliveries that it blocks, the
//! members of a digest.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::delivery::Status;
use tidings_domain::event::EventKind;
use tidings_domain::gate::Gate;
use tidings_domain::id::{ChannelId, EventId, Id, IncidentId, WorkspaceId};
use tidings_domain::incident::{IncidentTrigger, NotifiedBy};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use super::chain;
use super::db::Db;
use super::index::mark_deliveries_stale;
use super::settle::StopColumns;
use crate::Result;
use crate::queue::{FollowUps, Settlement};

/// Whether the incident counts this delivery: it is sent now, for the first time. Must be asked before the settlement
/// is written, which sets `sent_at`.
pub(super) fn is_first_sent(db: &Connection, settlement: &Settlement, status: Status) -> Result<bool> {
    if status != Status::Sent || !matches!(settlement.follow_ups, FollowUps::Incident(_)) {
        return Ok(false);
    }
    let (sort_key, id) = (settlement.delivery_id.sort_key(), settlement.delivery_id.as_bytes());
    let unsent: u32 = db
        .prepare_cached("SELECT count(*) FROM delivery WHERE sort_key = ? AND id = ? AND sent_at IS NULL")?
        .query_row(params![sort_key, id], |row| row.get(0))?;
    Ok(unsent == 1)
}

/// Applies the follow-ups of a settlement that was written.
pub(super) fn apply(
    db: &Db<'_>,
    settlement: &Settlement,
    status: Status,
    stop: Option<&StopColumns>,
    is_first_sent: bool,
) -> Result<()> {
    let (sort_key, now) = (settlement.delivery_id.sort_key(), settlement.now);
    match settlement.follow_ups {
        FollowUps::None => return Ok(()),
        FollowUps::Incident(id) => {
            if is_first_sent {
                count_sent(db, settlement.workspace_id, id, 1)?;
            }
            apply_to_incidents(db, Of::Delivery(sort_key), now, status, stop)?;
        }
        FollowUps::Digest => match stop.filter(|stop| stop.status == Status::Held) {
            Some(stop) => hold_digest_members(db, sort_key, stop)?,
            None if status.is_settled() => {
                let settled = settle_digest_members(db, settlement.workspace_id, sort_key, now, status, stop)?;
                if let Some(stop) = stop {
                    stop.count_stopped(db, settlement.workspace_id, settled)?;
                }
            }
            None => {}
        },
    }
    // A held delivery blocks nothing, because it may be held all night.
    if status.is_settled() || status == Status::Held {
        chain::leave(db, settlement.workspace_id, sort_key, status, now)
    } else if settlement.attempt.is_some() {
        chain::record_retry(db, sort_key, settlement.not_before)
    } else {
        Ok(())
    }
}

/// Holds the members of a digest that a gate stopped, as if it had never been created. The digest that carries them when
/// the gate opens shows the state of then; this one, sent later, would not. `failed` members are included, as in
/// [`settle_digest_members`]: those of a digest that is resent.
fn hold_digest_members(db: &Connection, sort_key: i64, stop: &StopColumns) -> Result<()> {
    mark_failed_members_stale(db, sort_key)?;
    db.prepare_cached(
        "UPDATE delivery SET status = 'held', reason = ?1, held_until = ?2, completed_at = NULL, digest_sort_key = NULL, \
         digest_id = NULL, \
         gate_evaluations = iif(?3 IS NULL, gate_evaluations, json_insert(gate_evaluations, '$[#]', json(?3))) \
         WHERE digest_sort_key = ?4 AND status IN ('held', 'failed')",
    )?
    .execute(params![stop.reason, stop.held_until, stop.evaluation, sort_key])?;
    Ok(())
}

/// Settles the members of a digest as the digest itself. `failed` members are included: those failed with the digest
/// before and share the result of its resend. One that was resent by itself has left the digest. Returns their number.
pub(super) fn settle_digest_members(
    db: &Db<'_>,
    workspace_id: WorkspaceId,
    sort_key: i64,
    now: Timestamp,
    status: Status,
    stop: Option<&StopColumns>,
) -> Result<usize> {
    // Before the update: it selects by the statuses and the `sent_at` that the update overwrites.
    if status == Status::Sent {
        count_digest_members(db, sort_key)?;
    }
    apply_to_incidents(db, Of::Digest(sort_key), now, status, stop)?;
    mark_failed_members_stale(db, sort_key)?;
    let settled = db
        .prepare_cached(
            "UPDATE delivery SET status = ?1, reason = ?2, held_until = NULL, completed_at = ?3, \
         sent_at = iif(?1 = 'sent', ?3, sent_at), \
         gate_evaluations = iif(?4 IS NULL, gate_evaluations, json_insert(gate_evaluations, '$[#]', json(?4))) \
         WHERE digest_sort_key = ?5 AND status IN ('held', 'failed')",
        )?
        .execute(params![
            status.as_str(),
            stop.map(|stop| stop.reason),
            now.unix_ms(),
            stop.and_then(|stop| stop.evaluation.as_ref()),
            sort_key,
        ])?;
    db.notes.settled(workspace_id, status, now, settled as u64);
    Ok(settled)
}

/// The members that failed with the digest before may be indexed as failed.
fn mark_failed_members_stale(db: &Connection, sort_key: i64) -> Result<()> {
    let failed: Vec<i64> = db
        .prepare_cached("SELECT sort_key FROM delivery WHERE digest_sort_key = ? AND status = 'failed'")?
        .query_map([sort_key], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    mark_deliveries_stale(db, &failed)
}

/// Counts the members that are sent for the first time with this digest, each for its incident.
fn count_digest_members(db: &Connection, sort_key: i64) -> Result<()> {
    let kinds = EventKind::ALL.into_iter().filter(|kind| kind.is_incident());
    let kinds: Vec<_> = kinds.map(|kind| format!("'{}'", kind.as_str())).collect();
    let mut statement = db.prepare_cached(&format!(
        "SELECT e.workspace_id, e.run_id FROM delivery d CROSS JOIN event e ON e.sort_key = d.event_sort_key \
         WHERE d.digest_sort_key = ? AND d.status IN ('held', 'failed') AND d.sent_at IS NULL AND e.kind IN ({})",
        kinds.join(", ")
    ))?;
    let mut rows = statement.query([sort_key])?;
    let mut sent = BTreeMap::new();
    while let Some(row) = rows.next()? {
        if let Ok(incident_id) = row.get_ref("run_id")?.as_str().unwrap_or_default().parse::<IncidentId>() {
            let workspace_id = WorkspaceId::from_bytes(row.get("workspace_id")?);
            *sent.entry((workspace_id, incident_id)).or_default() += 1;
        }
    }
    sent.into_iter().try_for_each(|((workspace_id, id), sent)| count_sent(db, workspace_id, id, sent))
}

/// Which deliveries, by sort key.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Delivery(i64),
    /// The members of a digest that settle with it.
    Digest(i64),
}

/// Writes into the incidents what they keep of these deliveries, which get this status: which channels were notified,
/// and that a notified channel is still to be notified of the end.
pub(super) fn apply_to_incidents(
    db: &Connection,
    of: Of,
    now: Timestamp,
    status: Status,
    stop: Option<&StopColumns>,
) -> Result<()> {
    let is_deferred = stop.is_some_and(|stop| is_deferrable(stop.reason));
    if !(status == Status::Sent || status == Status::Suppressed && is_deferred) {
        return Ok(());
    }
    let (condition, key) = match of {
        Of::Delivery(key) => ("d.sort_key = ?", key),
        Of::Digest(key) => ("d.digest_sort_key = ? AND d.status IN ('held', 'failed')", key),
    };
    let mut statement = db.prepare_cached(&format!(
        "SELECT e.workspace_id, e.run_id, e.trigger, d.channel_id, d.rule_id FROM delivery d \
         CROSS JOIN event e ON e.sort_key = d.event_sort_key \
         WHERE {condition} AND e.resource_type IN ('endpoint', 'alert')"
    ))?;
    let mut rows = statement.query([key])?;
    while let Some(row) = rows.next()? {
        let Some(Trigger::Incident(trigger)) = Trigger::parse(row.get_ref("trigger")?.as_str().unwrap_or_default())
        else {
            continue;
        };
        let Ok(id) = row.get_ref("run_id")?.as_str().unwrap_or_default().parse::<IncidentId>() else { continue };
        let workspace_id = WorkspaceId::from_bytes(row.get("workspace_id")?);
        let channel_id: ChannelId = super::row::id(row, "channel_id")?;
        if status == Status::Sent && trigger.notifies() {
            let without_rule = row.get::<_, Option<[u8; 16]>>("rule_id")?.is_none();
            let by = if without_rule { NotifiedBy::Step } else { NotifiedBy::Rule };
            // An endpoint that starts to flap as it recovers is no outage.
            let is_active_only = trigger == IncidentTrigger::Flapping;
            let is_resolved = record_notified(db, workspace_id, id, channel_id, by, is_active_only)?;
            if is_resolved && was_resolution_suppressed(db, workspace_id, id, channel_id)? {
                wake_resolved(db, workspace_id, id, channel_id, now)?;
            }
        } else if status == Status::Suppressed && trigger == IncidentTrigger::Resolved {
            wake_resolved(db, workspace_id, id, channel_id, now)?;
        }
    }
    Ok(())
}

/// Whether a gate with this reason defers the resolution that it suppresses.
fn is_deferrable(reason: &str) -> bool {
    Gate::ORDER.into_iter().any(|gate| gate.allows_deferred_resolution() && gate.reason() == reason)
}

/// Returns whether the incident is resolved and the channel was recorded.
fn record_notified(
    db: &Connection,
    workspace_id: WorkspaceId,
    id: IncidentId,
    channel_id: ChannelId,
    by: NotifiedBy,
    is_active_only: bool,
) -> Result<bool> {
    // A step without a rule overrides what a rule wrote, and not the other way round.
    let function = match by {
        NotifiedBy::Rule => "json_insert",
        NotifiedBy::Step => "json_set",
    };
    let mut update = db.prepare_cached(&format!(
        "UPDATE incident SET notified_channels = {function}(notified_channels, ?, ?) WHERE sort_key = ? AND id = ? \
         AND workspace_id = ? AND (resolved_at IS NULL OR NOT ?) RETURNING resolved_at IS NOT NULL"
    ))?;
    let (sort_key, path) = (id.sort_key(), json_path(channel_id));
    let values = params![path, by.as_str(), sort_key, id.as_bytes(), workspace_id.as_bytes(), is_active_only];
    Ok(update.query_row(values, |row| row.get(0)).optional()?.unwrap_or(false))
}

/// Whether the resolution of the incident was suppressed for this channel: it was planned before a delivery that was
/// resent by hand notified the channel.
fn was_resolution_suppressed(
    db: &Connection,
    workspace_id: WorkspaceId,
    id: IncidentId,
    channel_id: ChannelId,
) -> Result<bool> {
    let mut events = db.prepare_cached(
        "SELECT event_id FROM idempotency_key WHERE run_id = ? AND workspace_id = ? AND trigger = 'resolved' \
         AND resource_type IN ('endpoint', 'alert')",
    )?;
    let mut rows = events.query(params![id.to_string(), workspace_id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    let event_id: EventId = super::row::id(row, "event_id")?;
    let suppressed: u32 = db
        .prepare_cached(
            "SELECT count(*) FROM delivery WHERE event_sort_key = ? AND workspace_id = ? AND channel_id = ? \
             AND status = 'suppressed'",
        )?
        .query_row(params![event_id.sort_key(), workspace_id.as_bytes(), channel_id.as_bytes()], |row| row.get(0))?;
    Ok(suppressed > 0)
}

/// Gives a resolved incident a wake-up if the channel was notified of it: the end is still to be notified. The revision
/// changes, so that a transition that was decided before cannot remove the wake-up.
fn wake_resolved(
    db: &Connection,
    workspace_id: WorkspaceId,
    id: IncidentId,
    channel_id: ChannelId,
    now: Timestamp,
) -> Result<()> {
    db.prepare_cached(
        "UPDATE incident SET wake_at = min(coalesce(wake_at, ?1), ?1), revision = revision + 1 WHERE sort_key = ?2 \
         AND id = ?3 AND workspace_id = ?4 AND resolved_at IS NOT NULL \
         AND json_extract(notified_channels, ?5) IS NOT NULL",
    )?
    .execute(params![
        now.unix_ms(),
        id.sort_key(),
        id.as_bytes(),
        workspace_id.as_bytes(),
        json_path(channel_id)
    ])?;
    Ok(())
}

fn json_path(channel_id: ChannelId) -> String {
    format!("$.{channel_id}")
}

fn count_sent(db: &Connection, workspace_id: WorkspaceId, id: IncidentId, sent: u32) -> Result<()> {
    db.prepare_cached(
        "UPDATE incident SET notifications_sent = notifications_sent + ? WHERE sort_key = ? \
         AND id = ? AND workspace_id = ?",
    )?
    .execute(params![sent, id.sort_key(), id.as_bytes(), workspace_id.as_bytes()])?;
    Ok(())
}
