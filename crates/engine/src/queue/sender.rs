//! The sender: one attempt of one delivery, from the gates that may have changed meanwhile to the settlement.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tidings_channels::{AttemptResult, ErrorClass};
use tidings_domain::calendar::Zone;
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, GiveUpReason, NextStep, Outcome, OutdatedReason, Status, next_step};
use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::{self, OpeningOutcome};
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::retry::{RETRY_AFTER_MS_MAX, RetryPolicy};
use tidings_domain::rule::Rule;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::StoreError;
use tidings_store::queue::{Attempt, Claimed, FollowUps, LeaseRef, NextState, Settled, Settlement};

use super::Queue;
use super::channel_queue::AttemptSample;
use super::digest;
use super::pace::PAUSE_WAIT_MS_MAX;
use super::render::{MessageParts, outbound_message, thread_of_incident};
use super::send_context::{PendingSend, apply_opening_outcome, incident_deliveries};
use crate::changes::Topic;
use crate::clock::jitter;
use crate::fanout::{self, FanOutContext};
use crate::metrics;
use crate::quiescence::ActiveGuard;
use crate::snapshot::LoadedChannel;

/// What a lease must still last beyond the attempt's own timeout, in milliseconds, for the attempt to be made.
const LEASE_SPARE_MS: u64 = 5_000;
/// Status code of a receiver that is gone for good (RFC 9110, section 15.5.11).
const HTTP_GONE: u16 = 410;
/// Attempts of a delivery, all answered 410, after which its webhook is disabled.
const GONE_ATTEMPTS_MIN: usize = 3;
/// The time between the first and the last of them, in milliseconds.
const GONE_MS_MIN: u64 = 600_000;

/// Sends one delivery, dispatches what may start after it, and settles it.
///
/// There is one such future for each delivery in flight, so it is kept small: what is rarely done is boxed.
pub(super) async fn run(queue: Queue, claimed: Claimed, _active: ActiveGuard) {
    let (settlement, return_leases) = finish_attempt(&queue, &claimed, process(&queue, &claimed).await);
    if let Some(pending) = settlement {
        let written = pending.writing.await;
        let is_written = apply_settlement(&queue, &claimed, written, pending.next);
        if is_written && pending.counts_for_health {
            let channel = (claimed.event.workspace_id, claimed.channel_id);
            queue.0.health.record(channel, pending.is_delivered, pending.at);
        }
        if let Some(loaded) = pending.gone.filter(|_| is_written) {
            Box::pin(disable_if_gone(&queue, &claimed, &loaded)).await;
        }
    }
    if !return_leases.is_empty() {
        queue.return_leases(return_leases).await;
    }
}

/// A settlement that is being written.
struct PendingSettlement<'a> {
    writing: Pin<Box<dyn Future<Output = Result<Settled, StoreError>> + Send + 'a>>,
    next: NextState,
    at: Timestamp,
    is_delivered: bool,
    counts_for_health: bool,
    /// The channel, if its receiver responded 410 and no retry follows.
    gone: Option<Arc<LoadedChannel>>,
}

/// Frees the slot, dispatches what may start now, and begins to settle. The slot is freed before the settlement is
/// written, so that it is not idle during the write. Returns also the leases to return to the store.
fn finish_attempt<'a>(
    queue: &'a Queue,
    claimed: &Claimed,
    attempted: Attempted,
) -> (Option<PendingSettlement<'a>>, Vec<LeaseRef>) {
    let completion = queue.channel_queues().complete(claimed.channel_id, queue.0.clock.now(), attempted.sample);
    if completion.needs_refill {
        queue.0.claim_wakeup.notify_one();
    }
    if completion.breaker_opened {
        tracing::warn!(
            channel = %claimed.channel_id,
            "circuit breaker opened: the destination is down, one attempt at a time until it responds"
        );
    }
    if let Some(until) = completion.paused_until {
        tracing::debug!(channel = %claimed.channel_id, %until, "the receiver limits the rate, channel paused");
    }
    queue.dispatch(completion.start);
    let pending = attempted.settlement.map(|settlement| PendingSettlement {
        next: settlement.next.clone(),
        at: settlement.now,
        is_delivered: settlement.next == NextState::Done(Status::Sent),
        counts_for_health: attempted.counts_for_health,
        gone: attempted.gone.filter(|_| settlement.next == NextState::Done(Status::Failed)),
        writing: queue.0.store.settle(settlement),
    });
    (pending, completion.return_leases)
}

/// The result of processing a due delivery.
#[derive(Default)]
struct Attempted {
    /// Evidence about the destination; none if no attempt was made or it did not reach the network.
    sample: Option<AttemptSample>,
    /// None if the lease is about to expire: the next claim of the delivery sends it.
    settlement: Option<Settlement>,
    /// The channel, if its receiver responded that it is gone for good.
    gone: Option<Arc<LoadedChannel>>,
    /// Whether it counts for the channel's health: an attempt through a shared channel that did not fail because of this
    /// machine.
    counts_for_health: bool,
}

/// What to do with a due delivery.
enum SendDecision {
    /// With the time zone of the workspace.
    Send(Arc<LoadedChannel>, Zone),
    /// A gate stopped it, or what it was planned for is gone.
    Settle(NextState),
    /// The lease could expire during the attempt, and the delivery be sent twice.
    LeaseTooShort,
}

async fn process(queue: &Queue, claimed: &Claimed) -> Attempted {
    let (loaded, zone) = match decide(queue, claimed).await {
        SendDecision::LeaseTooShort => return Attempted::default(),
        SendDecision::Settle(next) => {
            let settlement = new_settlement(claimed, queue.0.clock.now(), None, next, None);
            return Attempted { settlement: Some(settlement), ..Attempted::default() };
        }
        SendDecision::Send(loaded, zone) => (loaded, zone),
    };
    let channel = &loaded.channel;
    let started_at = queue.0.clock.now();
    let thread = thread_of_incident(queue, &loaded, &claimed.event, claimed.channel_id).await;
    // Boxed, because only digests have one.
    let updated = match claimed.event.kind {
        EventKind::Digest => Box::pin(digest::updated_event(queue, &claimed.event)).await,
        _ => None,
    };
    let event = updated.as_ref().unwrap_or(&claimed.event);
    let result = send(&loaded, claimed, event, &zone, thread.as_deref(), started_at).await;
    let now = queue.0.clock.now();
    if let Outcome::NotStarted { after_ms } = result.outcome {
        let settlement = new_settlement(
            claimed,
            now,
            None,
            NextState::RetryAt(now.plus_ms(after_ms)),
            claimed.attempt_state.clone(),
        );
        return Attempted { settlement: Some(settlement), ..Attempted::default() };
    }
    let number = claimed.attempt_count + 1;
    let times = (started_at, now);
    let attempt = metrics::attempt_record(&result, number, claimed.attempt_trigger, times, Some(channel.revision));
    let policy = channel.policies.retry_policy(&RetryPolicy::default_for(claimed.event.resource_type));
    // A resend starts the retries anew, while attempts are numbered on.
    let number_in_policy = number - claimed.attempt_base;
    let jitter = if result.is_delivered() { 0.0 } else { jitter(queue.0.clock.as_ref()) };
    let next = match result.outcome {
        // It uses up no retry: the one that it preceded is still to come, and the store knows when.
        Outcome::Retry { after_ms } if claimed.attempt_trigger == AttemptTrigger::NewerEvent => {
            NextStep::RetryAt(now.plus_ms(after_ms.unwrap_or(0)))
        }
        outcome => next_step(outcome, &policy, number_in_policy, jitter, now),
    };
    let not_before = match result.outcome {
        Outcome::Retry { after_ms } => after_ms.map(|after_ms| now.plus_ms(after_ms.min(RETRY_AFTER_MS_MAX))),
        _ => None,
    };
    metrics::record_attempt(channel.channel_type, &attempt);

    let sample = breaker_sample(&result, attempt.duration_ms);
    let next = match next {
        NextStep::RetryAt(at) => NextState::RetryAt(at),
        NextStep::Settled(status) => NextState::Done(status),
    };
    // An attempt that never reached the receiver keeps the state of the one before, such as recipients already served.
    let attempt_state = result.attempt_state.or_else(|| claimed.attempt_state.clone());
    let settlement = Settlement { not_before, ..new_settlement(claimed, now, Some(attempt), next, attempt_state) };
    let counts_for_health = loaded.is_shared() && result.error_class != Some(ErrorClass::OwnNetwork);
    let is_gone = result.http_status == Some(HTTP_GONE) && channel.channel_type == ChannelType::Webhook;
    let gone = is_gone.then_some(loaded);
    Attempted { sample, settlement: Some(settlement), gone, counts_for_health }
}

/// Disables a webhook channel if every attempt of this delivery, which has failed for good, was answered 410: at least
/// [`GONE_ATTEMPTS_MIN`] within at least [`GONE_MS_MIN`]. A receiver that is being deployed, or whose operator made a
/// mistake, answers 410 for a moment as well.
async fn disable_if_gone(queue: &Queue, claimed: &Claimed, loaded: &LoadedChannel) {
    let Ok(Some(record)) = queue.0.store.delivery(claimed.event.workspace_id, claimed.id).await else { return };
    let attempts = &record.attempts;
    let (Some(first), Some(last)) = (attempts.first(), attempts.last()) else { return };
    let is_gone = attempts.len() >= GONE_ATTEMPTS_MIN
        && attempts.iter().all(|attempt| attempt.http_status == Some(HTTP_GONE))
        && last.started_at.since_ms(first.started_at) >= GONE_MS_MIN;
    if is_gone {
        queue.0.settings.disable_on_410(loaded).await;
    }
}

fn new_settlement(
    claimed: &Claimed,
    now: Timestamp,
    attempt: Option<Attempt>,
    next: NextState,
    attempt_state: Option<String>,
) -> Settlement {
    Settlement {
        workspace_id: claimed.event.workspace_id,
        delivery_id: claimed.id,
        owner: claimed.lease.owner,
        attempt_count: claimed.attempt_count,
        now,
        attempt,
        next,
        attempt_state,
        not_before: None,
        follow_ups: follow_ups(&claimed.event),
    }
}

/// What else the store updates when a delivery of this event is settled.
fn follow_ups(event: &Event) -> FollowUps {
    if event.kind == EventKind::Digest {
        return FollowUps::Digest;
    }
    let incident_id = event.kind.is_incident().then(|| event.run_id.parse().ok()).flatten();
    incident_id.map_or(FollowUps::None, FollowUps::Incident)
}

/// Evaluates again the gates that may have changed since the delivery was planned.
async fn decide(queue: &Queue, claimed: &Claimed) -> SendDecision {
    let snapshot = queue.0.config.snapshot();
    let pending = PendingSend {
        event: &claimed.event,
        rule_id: claimed.rule_id,
        rule_generation: claimed.rule_generation,
        channel_id: claimed.channel_id,
    };
    let context = match pending.resolve(snapshot.workspace(claimed.event.workspace_id).map(AsRef::as_ref)) {
        Ok(context) => context,
        Err(reason) => return SendDecision::Settle(NextState::Skipped(reason)),
    };
    let now = queue.0.clock.now();
    let opening = current_opening_outcome(queue, claimed, context.rule).await;
    let endpoint = queue.0.active_incidents.endpoint_context_of(context.view, &claimed.event);
    let input = fanout::gate_input(
        context.view,
        context.channel,
        context.rule,
        claimed.event.trigger,
        claimed.severity,
        endpoint,
        &opening,
    );
    let channel = &context.channel.channel;
    let evaluation = apply_opening_outcome(gate::re_evaluate(&input, now), &opening, &channel.name);
    if evaluation.held().is_some() {
        return SendDecision::Settle(NextState::Held(evaluation));
    }
    if evaluation.stopped.is_some() {
        return SendDecision::Settle(NextState::Suppressed(evaluation));
    }
    if let Some(reason) = outdated_reason(queue, claimed).await {
        return SendDecision::Settle(NextState::Outdated(reason));
    }
    // Rare enough to ask under the lock only then.
    if now.since_ms(claimed.due_at) >= PAUSE_WAIT_MS_MAX
        && queue.channel_queues().is_pause_wait_exceeded(claimed.channel_id, claimed.due_at, now)
    {
        return SendDecision::Settle(NextState::GivenUp(GiveUpReason::RateLimited));
    }
    let needed_until = now.plus_ms(u64::from(channel.policies.timeout_ms) + LEASE_SPARE_MS);
    if claimed.lease.until < needed_until {
        SendDecision::LeaseTooShort
    } else {
        SendDecision::Send(Arc::clone(context.channel), context.view.zone.clone())
    }
}

/// For an escalation step or a reminder: whether there is no more need for it. A resend by hand is sent all the same.
async fn outdated_reason(queue: &Queue, claimed: &Claimed) -> Option<OutdatedReason> {
    let Trigger::Incident(IncidentTrigger::Escalated { .. } | IncidentTrigger::Reminder { .. }) = claimed.event.trigger
    else {
        return None;
    };
    if claimed.attempt_trigger == AttemptTrigger::Resend {
        return None;
    }
    let incident_id = claimed.event.run_id.parse().ok()?;
    // A failing read is no reason to withhold it.
    let (record, _) = Box::pin(queue.0.store.incident(claimed.event.workspace_id, incident_id)).await.ok()??;
    match (record.incident.resolved_at, record.incident.acknowledged_at) {
        (Some(_), _) => Some(OutdatedReason::IncidentOver),
        (None, Some(_)) => Some(OutdatedReason::Acknowledged),
        (None, None) => None,
    }
}

/// For a resolution: whether the channel was notified by now. The opening may have failed, or been suppressed or held, since the
/// resolution was planned.
async fn current_opening_outcome(queue: &Queue, claimed: &Claimed, rule: Option<&Rule>) -> OpeningOutcome {
    let FollowUps::Incident(incident_id) = follow_ups(&claimed.event) else { return OpeningOutcome::NotApplicable };
    if claimed.event.kind != EventKind::IncidentResolved {
        return OpeningOutcome::NotApplicable;
    }
    let workspace_id = claimed.event.workspace_id;
    let read = async {
        let earlier = incident_deliveries(queue, workspace_id, incident_id).await?;
        Ok::<_, StoreError>((earlier, queue.0.store.notified_channels(workspace_id, incident_id).await?))
    };
    match Box::pin(read).await {
        Ok((earlier, notified)) => {
            let context = FanOutContext { earlier: &earlier, notified: Some(&notified), ..FanOutContext::default() };
            fanout::opening_outcome(&claimed.event, rule, claimed.channel_id, context)
        }
        // A failing read is no reason to withhold the all-clear.
        Err(_) => OpeningOutcome::Sent,
    }
}

/// Makes the attempt. `event` is that of the delivery, up to date.
async fn send(
    loaded: &LoadedChannel,
    claimed: &Claimed,
    event: &Event,
    zone: &Zone,
    thread: Option<&str>,
    now: Timestamp,
) -> AttemptResult {
    let notifier = match &loaded.notifier {
        Ok(notifier) => notifier,
        Err(error) => return AttemptResult::retry(ErrorClass::Configuration, error.clone()),
    };
    let parts = MessageParts {
        delivery_id: claimed.id,
        rule_id: claimed.rule_id,
        severity: claimed.severity,
        zone,
        now,
        attempt_count: claimed.attempt_count,
        attempt_state: claimed.attempt_state.as_deref(),
        thread,
    };
    let message = outbound_message(loaded, event, parts);
    // A panic in a channel must cost one attempt, not the slot.
    AssertUnwindSafe(notifier.deliver(&message)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(delivery = %claimed.id, "BUG: an attempt panicked, please report this defect in Tidings");
        AttemptResult::retry(ErrorClass::Configuration, "internal error in Tidings, see its log")
    })
}

/// The attempt as evidence about the destination, for the breaker, the pace and the speed of the channel. None for an
/// attempt that did not reach the receiver for reasons of its own: an open breaker then stays open, and a closed one
/// closed.
fn breaker_sample(result: &AttemptResult, duration_ms: u32) -> Option<AttemptSample> {
    let is_unsent = matches!(
        result.error_class,
        Some(ErrorClass::OwnNetwork | ErrorClass::Configuration | ErrorClass::TargetRefused)
    );
    let is_outage = result.outcome != Outcome::Delivered
        && result.error_class.is_some_and(|class| class.is_outage(result.http_status));
    let sample = AttemptSample { duration_ms, is_outage, is_delivered: result.is_delivered(), rate: result.rate };
    // With a status the receiver has answered, whatever failed then.
    (!is_unsent || result.http_status.is_some()).then_some(sample)
}

/// Publishes a settlement that was written: metrics, and what may become due by it. Returns false if it did not count or
/// could not be written; then the lease expires, and the delivery is sent again.
fn apply_settlement(queue: &Queue, claimed: &Claimed, written: Result<Settled, StoreError>, next: NextState) -> bool {
    match written {
        Ok(Settled::Written) => {
            metrics::record_settled(claimed.channel_type, &next);
            queue.mark_changed(claimed.event.workspace_id, Topic::Deliveries);
            match next {
                NextState::RetryAt(at) => queue.note_due(claimed.channel_id, at),
                NextState::Held(evaluation) => {
                    evaluation.held().into_iter().for_each(|(_, at)| queue.note_held_until(at));
                    // Held deliveries do not block: those that waited for this one are due.
                    queue.note_due(claimed.channel_id, queue.0.clock.now());
                }
                next => {
                    // A suppressed opening or resolution is deferred: the timer loop sends it once the gate opens. And one
                    // that was resent by hand may have notified of an incident that is over by now.
                    let is_resent = claimed.attempt_base > 0 && next == NextState::Done(Status::Sent);
                    if matches!(next, NextState::Suppressed(_)) || is_resent {
                        queue.0.suppressed_openings.record(&claimed.event);
                    }
                    // Deliveries that were blocked by this one are due.
                    if follow_ups(&claimed.event) != FollowUps::None {
                        queue.note_due(claimed.channel_id, queue.0.clock.now());
                    }
                }
            }
            true
        }
        Ok(Settled::Stale) => {
            tracing::debug!(delivery = %claimed.id, "lease lost, the attempt does not count");
            false
        }
        Err(error) => {
            tracing::error!(delivery = %claimed.id, %error, "failed to persist attempt, will retry");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_sample_of_local_failure_is_none() {
        let sample =
            |is_outage, is_delivered| Some(AttemptSample { duration_ms: 7, is_outage, is_delivered, rate: None });
        let failed = |class| breaker_sample(&AttemptResult::retry(class, "detail"), 7);
        for class in [ErrorClass::OwnNetwork, ErrorClass::Configuration, ErrorClass::TargetRefused] {
            assert_eq!(failed(class), None, "an open breaker stays open, a closed one closed: {class}");
        }
        assert_eq!(failed(ErrorClass::Connect), sample(true, false));
        assert_eq!(failed(ErrorClass::Redirect), sample(false, false));
        assert_eq!(breaker_sample(&AttemptResult::delivered(Some(200), None), 7), sample(false, true));
        let limited = AttemptResult { http_status: Some(429), ..AttemptResult::retry(ErrorClass::Status, "limited") };
        assert_eq!(breaker_sample(&limited, 7), sample(false, false), "a limit of the rate is no outage");
    }
}
