//! The sender: one attempt, from the gates that may have changed meanwhile to the settlement.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tidings_channels::{ErrorClass, Letter, Report};
use tidings_domain::delivery::{Next, Outcome, SkipReason, Status, after_attempt};
use tidings_domain::gate::{self, Facts};
use tidings_domain::retry::RetryPolicy;
use tidings_domain::rule::Rule;
use tidings_domain::time::Timestamp;
use tidings_store::queue::{Attempt, Claimed, NextState, Settled, Settlement};

use super::Queue;
use crate::clock::jitter;
use crate::measure;
use crate::snapshot::{LiveChannel, WorkspaceView};

/// What a lease must still last beyond the attempt's own timeout, in milliseconds, for the attempt to be made.
const LEASE_SPARE_MS: u64 = 5_000;
/// The status code that says that the receiver is gone for good (RFC 9110).
const GONE: u16 = 410;

/// Sends one delivery, starts what may start after it, and settles it. The slot is free as soon as the receiver has
/// answered: it need not stand empty while that is written down.
pub(super) async fn run(queue: Queue, claimed: Claimed) {
    let tried = tried(&queue, &claimed).await;
    let now = queue.0.clock.now();
    let finished = queue.lanes().finish(claimed.channel_id, now, tried.took);
    if finished.wants_more {
        queue.0.wake.notify_one();
    }
    queue.send(finished.start);
    if let Some(settlement) = tried.settlement {
        let is_gone = tried.gone.filter(|_| settlement.next == NextState::Done(Status::Failed));
        let written = settle(&queue, &claimed, settlement).await;
        if let Some(live) = is_gone.filter(|_| written) {
            queue.0.settings.disable_gone(&live).await;
        }
    }
    if !finished.give_back.is_empty() {
        tracing::warn!(channel = %claimed.channel_id, "the destination is down: one attempt at a time until it answers");
        if let Err(error) = queue.0.store.release(now, Some(finished.give_back)).await {
            tracing::warn!(%error, "leases could not be given back; they end by themselves");
        }
        queue.due_at(claimed.channel_id, now);
    }
}

/// What came of a delivery that came up.
#[derive(Default)]
struct Tried {
    /// How long the attempt took, in milliseconds, and whether it speaks of an outage; if one was made.
    took: Option<(u32, bool)>,
    /// What is to be written down. Nothing if its lease is nearly over: whoever claims it next sends it.
    settlement: Option<Settlement>,
    /// The channel, if its receiver says that it is gone for good.
    gone: Option<Arc<LiveChannel>>,
}

/// What is to be done with a delivery that came up.
enum Decision {
    Send(Arc<LiveChannel>),
    Settle(NextState),
    /// Its lease is nearly over.
    Leave,
}

async fn tried(queue: &Queue, claimed: &Claimed) -> Tried {
    let live = match decide(queue, claimed) {
        Decision::Leave => return Tried::default(),
        Decision::Settle(next) => {
            let settlement = settlement(claimed, queue.0.clock.now(), None, next, None);
            return Tried { settlement: Some(settlement), ..Tried::default() };
        }
        Decision::Send(live) => live,
    };
    let channel = &live.channel;
    let started_at = queue.0.clock.now();
    let report = attempt(&live, claimed, started_at).await;
    let now = queue.0.clock.now();
    let number = claimed.attempt_count + 1;
    let attempt = measure::attempt(&report, number, claimed.attempt_trigger, started_at, now);
    let policy = channel.policies.retries(&RetryPolicy::of(claimed.event.resource_type));
    let number_in_policy = number - claimed.attempt_base;
    let jitter = if report.is_delivered() { 0.0 } else { jitter(queue.0.clock.as_ref()) };
    let next = after_attempt(report.outcome, &policy, number_in_policy, jitter, now);
    measure::attempted(channel.channel_type, &attempt);

    let took = (attempt.duration_ms, is_outage(&report));
    let next = match next {
        Next::RetryAt(at) => NextState::RetryAt(at),
        Next::Settled(status) => NextState::Done(status),
    };
    // An attempt that never spoke to the receiver leaves what is known as it was.
    let carry = report.carry.or_else(|| claimed.carry.clone());
    let settlement = settlement(claimed, now, Some(attempt), next, carry);
    Tried { took: Some(took), settlement: Some(settlement), gone: (report.http_status == Some(GONE)).then_some(live) }
}

fn settlement(
    claimed: &Claimed,
    now: Timestamp,
    attempt: Option<Attempt>,
    next: NextState,
    carry: Option<String>,
) -> Settlement {
    Settlement {
        workspace_id: claimed.event.workspace_id,
        delivery_id: claimed.id,
        owner: claimed.lease.owner,
        attempt_count: claimed.attempt_count,
        now,
        attempt,
        next,
        carry,
    }
}

/// Asks again what may have changed since the delivery was made.
fn decide(queue: &Queue, claimed: &Claimed) -> Decision {
    let snapshot = queue.0.live.glance();
    let view = snapshot.workspace(claimed.event.workspace_id);
    let (rule, live) = match view.ok_or(SkipReason::RuleDeleted).and_then(|view| live_rule(view, claimed)) {
        Ok(found) => found,
        Err(reason) => return Decision::Settle(NextState::Skipped(reason)),
    };
    let now = queue.0.clock.now();
    let facts = Facts { rule, channel: &live.channel, severity: claimed.severity };
    let walk = gate::walk_again(&facts, now);
    if walk.stopped.is_some() {
        return Decision::Settle(NextState::Suppressed(walk));
    }
    let needed = now.plus_ms(u64::from(live.channel.policies.timeout_ms) + LEASE_SPARE_MS);
    if claimed.lease.until < needed { Decision::Leave } else { Decision::Send(Arc::clone(live)) }
}

/// The delivery's rule, if it is still the one that the delivery was made under, and its channel.
fn live_rule<'a>(
    view: &'a WorkspaceView,
    claimed: &Claimed,
) -> Result<(&'a Arc<Rule>, &'a Arc<LiveChannel>), SkipReason> {
    let rule = view.rule(claimed.rule_id).ok_or(SkipReason::RuleDeleted)?;
    if rule.channel_id != claimed.channel_id {
        return Err(SkipReason::RuleChanged);
    }
    if !rule.enabled || rule.generation != claimed.rule_generation {
        return Err(SkipReason::RuleDisabled);
    }
    Ok((rule, view.channel(claimed.channel_id).ok_or(SkipReason::ChannelDeleted)?))
}

async fn attempt(live: &LiveChannel, claimed: &Claimed, now: Timestamp) -> Report {
    let destination = match &live.destination {
        Ok(destination) => destination,
        Err(why) => return Report::retry(ErrorClass::Configuration, why.clone()),
    };
    let letter = Letter {
        delivery_id: claimed.id,
        rule_id: Some(claimed.rule_id),
        event: &claimed.event,
        severity: claimed.severity,
        now,
        timeout: Duration::from_millis(live.channel.policies.timeout_ms.into()),
        carry: claimed.carry.as_deref(),
    };
    // A defect in a channel must cost one attempt, not the slot.
    AssertUnwindSafe(destination.deliver(&letter)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(delivery = %claimed.id, "an attempt panicked: this is a defect in Tidings");
        Report::retry(ErrorClass::Configuration, "the attempt failed inside Tidings; its log says where")
    })
}

fn is_outage(report: &Report) -> bool {
    report.outcome != Outcome::Delivered && report.error_class.is_some_and(|class| class.is_outage(report.http_status))
}

/// Writes it down; false if it did not count or could not be written (then the lease ends, and it is sent again).
async fn settle(queue: &Queue, claimed: &Claimed, settlement: Settlement) -> bool {
    let next = settlement.next.clone();
    match queue.0.store.settle(settlement).await {
        Ok(Settled::Written) => {
            measure::settled(claimed.channel_type, &next);
            if let NextState::RetryAt(at) = next {
                queue.due_at(claimed.channel_id, at);
            }
            true
        }
        Ok(Settled::Stale) => {
            tracing::debug!(delivery = %claimed.id, "the lease had passed on: this attempt does not count");
            false
        }
        Err(error) => {
            tracing::error!(delivery = %claimed.id, %error, "an attempt could not be written down; it is made again");
            false
        }
    }
}
