//! The sender: one attempt, from the gates that may have changed meanwhile to the settlement.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tidings_channels::{AttemptResult, ErrorClass, OutboundMessage};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{NextStep, Outcome, SkipReason, Status, next_step};
use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::{self, Effect, Gate, GateEvaluation, OpeningOutcome, Refusal};
use tidings_domain::id::{ChannelId, IncidentId, RuleId, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::retry::RetryPolicy;
use tidings_domain::rule::Rule;
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::monitoring::IncidentDelivery;
use tidings_store::queue::{Attempt, Claimed, FollowUps, LeaseRef, NextState, Settled, Settlement};

use super::Queue;
use crate::clock::jitter;
use crate::fanout::{self, EndpointSituation};
use crate::incidents::Down;
use crate::metrics;
use crate::quiescence::Busy;
use crate::snapshot::{LoadedChannel, LoadedEndpoint, WorkspaceView};

/// What a lease must still last beyond the attempt's own timeout, in milliseconds, for the attempt to be made.
const LEASE_SPARE_MS: u64 = 5_000;
/// The status code that says that the receiver is gone for good (RFC 9110).
const GONE: u16 = 410;

/// Sends one delivery, starts what may start after it, and settles it.
///
/// There is such a future for each delivery, so it is kept small: what is rarely done has a box of its own.
pub(super) async fn run(queue: Queue, claimed: Claimed, _busy: Busy) {
    let (settling, give_back) = conclude(&queue, &claimed, tried(&queue, &claimed).await);
    if let Some(settling) = settling {
        let written = settling.writing.await;
        let written = note(&queue, &claimed, written, settling.next);
        if written && settling.is_of_health {
            queue.0.healths.note(claimed.channel_id, settling.is_delivered, settling.at);
        }
        if let Some(live) = settling.gone.filter(|_| written) {
            Box::pin(queue.0.settings.disable_gone(&live)).await;
        }
    }
    if !give_back.is_empty() {
        tracing::warn!(channel = %claimed.channel_id, "the destination is down: one attempt at a time until it answers");
        let now = queue.0.clock.now();
        if let Err(error) = queue.0.store.return_leases(now, give_back).await {
            tracing::warn!(%error, "leases could not be given back; they end by themselves");
        }
        queue.due_at(claimed.channel_id, now);
    }
}

/// A settlement that is being written down.
struct Settling<'a> {
    writing: Pin<Box<dyn Future<Output = Result<Settled, StoreError>> + Send + 'a>>,
    next: NextState,
    at: Timestamp,
    is_delivered: bool,
    /// Whether it says something of the channel's health: an attempt through one that stands by itself.
    is_of_health: bool,
    /// The channel, if its receiver says that it is gone for good and nothing more is tried.
    gone: Option<Arc<LoadedChannel>>,
}

/// Frees the slot as soon as the receiver has answered (it need not stand empty while that is written down), starts what
/// may start now and begins to settle. Answers also which leases are to be given back.
fn conclude<'a>(queue: &'a Queue, claimed: &Claimed, tried: Tried) -> (Option<Settling<'a>>, Vec<LeaseRef>) {
    let finished = queue.lanes().finish(claimed.channel_id, queue.0.clock.now(), tried.took);
    if finished.wants_more {
        queue.0.wake.notify_one();
    }
    queue.send(finished.start);
    let settling = tried.settlement.map(|settlement| Settling {
        next: settlement.next.clone(),
        at: settlement.now,
        is_delivered: settlement.next == NextState::Done(Status::Sent),
        is_of_health: tried.took.is_some() && tried.is_shared,
        gone: tried.gone.filter(|_| settlement.next == NextState::Done(Status::Failed)),
        writing: queue.0.store.settle(settlement),
    });
    (settling, finished.give_back)
}

/// What came of a delivery that came up.
#[derive(Default)]
struct Tried {
    /// How long the attempt took, in milliseconds, and whether it speaks of an outage; if one was made that says
    /// something of the receiver.
    took: Option<(u32, bool)>,
    /// What is to be written down. Nothing if its lease is nearly over: whoever claims it next sends it.
    settlement: Option<Settlement>,
    /// The channel, if its receiver says that it is gone for good.
    gone: Option<Arc<LoadedChannel>>,
    /// Whether how it went is to be remembered: of channels that stand by themselves.
    is_shared: bool,
}

/// What is to be done with a delivery that came up.
enum Decision {
    Send(Arc<LoadedChannel>),
    Settle(NextState),
    /// Its lease is nearly over.
    Leave,
}

async fn tried(queue: &Queue, claimed: &Claimed) -> Tried {
    let live = match decide(queue, claimed).await {
        Decision::Leave => return Tried::default(),
        Decision::Settle(next) => {
            let settlement = settlement(claimed, queue.0.clock.now(), None, next, None);
            return Tried { settlement: Some(settlement), ..Tried::default() };
        }
        Decision::Send(live) => live,
    };
    let channel = &live.channel;
    let started_at = queue.0.clock.now();
    let thread = thread(queue, &live, claimed).await;
    let report = attempt(&live, claimed, thread.as_deref(), started_at).await;
    let now = queue.0.clock.now();
    let number = claimed.attempt_count + 1;
    let attempt = metrics::attempt(&report, number, claimed.attempt_trigger, started_at, now);
    let policy = channel.policies.retries(&RetryPolicy::of(claimed.event.resource_type));
    let number_in_policy = number - claimed.attempt_base;
    let jitter = if report.is_delivered() { 0.0 } else { jitter(queue.0.clock.as_ref()) };
    let next = next_step(report.outcome, &policy, number_in_policy, jitter, now);
    metrics::attempted(channel.channel_type, &attempt);

    let took = learnt(&report, attempt.duration_ms);
    let next = match next {
        NextStep::RetryAt(at) => NextState::RetryAt(at),
        NextStep::Settled(status) => NextState::Done(status),
    };
    // An attempt that never spoke to the receiver leaves what is known as it was.
    let attempt_state = report.attempt_state.or_else(|| claimed.attempt_state.clone());
    let settlement = settlement(claimed, now, Some(attempt), next, attempt_state);
    let is_shared = channel.owner_rule_id.is_none();
    let gone = (report.http_status == Some(GONE)).then_some(live);
    Tried { took, settlement: Some(settlement), gone, is_shared }
}

fn settlement(
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
        follow_ups: concerns(&claimed.event),
    }
}

/// What else the end of a delivery of this event concerns.
fn concerns(event: &Event) -> FollowUps {
    if event.kind == EventKind::Digest {
        return FollowUps::Digest;
    }
    let incident_id = event.kind.is_of_incident().then(|| event.run_id.parse().ok()).flatten();
    incident_id.map_or(FollowUps::None, FollowUps::Incident)
}

/// Asks again what may have changed since the delivery was made.
async fn decide(queue: &Queue, claimed: &Claimed) -> Decision {
    let snapshot = queue.0.live.now();
    let target = Target {
        event: &claimed.event,
        rule_id: claimed.rule_id,
        rule_generation: claimed.rule_generation,
        channel_id: claimed.channel_id,
    };
    let found = match target.find(snapshot.workspace(claimed.event.workspace_id).map(AsRef::as_ref)) {
        Ok(found) => found,
        Err(reason) => return Decision::Settle(NextState::Skipped(reason)),
    };
    let now = queue.0.clock.now();
    let opening = opening(queue, claimed, found.rule).await;
    let situation = endpoint_situation(&queue.0.down, found.view, &claimed.event);
    let endpoint = situation.as_ref().map(EndpointNow::as_situation);
    let facts =
        fanout::facts(found.view, found.live, found.rule, claimed.event.trigger, claimed.severity, endpoint, &opening);
    let evaluation = after_opening(gate::re_evaluate(&facts, now), &opening, &found.live.channel.name);
    if evaluation.held().is_some() {
        return Decision::Settle(NextState::Held(evaluation));
    }
    if evaluation.stopped.is_some() {
        return Decision::Settle(NextState::Suppressed(evaluation));
    }
    let needed = now.plus_ms(u64::from(found.live.channel.policies.timeout_ms) + LEASE_SPARE_MS);
    if claimed.lease.until < needed { Decision::Leave } else { Decision::Send(Arc::clone(found.live)) }
}

/// What became of the opening by now, if this is the resolution of an incident: it may have failed, or been stopped or held
/// back, since the resolution was made.
async fn opening(queue: &Queue, claimed: &Claimed, rule: Option<&Rule>) -> OpeningOutcome {
    let FollowUps::Incident(incident_id) = concerns(&claimed.event) else { return OpeningOutcome::NotApplicable };
    if claimed.event.kind != EventKind::IncidentResolved {
        return OpeningOutcome::NotApplicable;
    }
    match Box::pin(told(queue, claimed.event.workspace_id, incident_id)).await {
        Ok(told) => fanout::opening(&claimed.event, rule, claimed.channel_id, &told),
        // That it cannot be read now is no reason to keep the all-clear back.
        Err(_) => OpeningOutcome::Sent,
    }
}

/// What was told of an incident. What is carried by a digest that is held back itself is held back as long as that.
pub(super) async fn told(
    queue: &Queue,
    workspace_id: WorkspaceId,
    incident_id: IncidentId,
) -> Result<Vec<IncidentDelivery>, StoreError> {
    let mut told = queue.0.store.incident_deliveries(workspace_id, incident_id).await?;
    for told in told.iter_mut().filter(|told| told.status == Status::Held) {
        let Some(digest_id) = told.digest_id else { continue };
        let digest = queue.0.store.delivery(workspace_id, digest_id).await?;
        if let Some(mut digest) = digest.filter(|digest| digest.status == Status::Held) {
            (told.digest_id, told.held_until, told.evaluation) =
                (None, digest.held_until, digest.gate_evaluations.pop());
        }
    }
    Ok(told)
}

/// The evaluation of a resolution that comes up, with what the gates that do not change had to say of its opening.
pub(super) fn after_opening(
    evaluation: GateEvaluation,
    opening: &OpeningOutcome,
    channel_name: &str,
) -> GateEvaluation {
    let is_before = |gate: Gate| Gate::ORDER.into_iter().take_while(|it| *it != Gate::NeverOpened).any(|it| it == gate);
    match (opening, &evaluation.stopped) {
        (OpeningOutcome::NotSent, stopped) if stopped.as_ref().is_none_or(|(gate, _)| !is_before(*gate)) => {
            let passed = evaluation.passed_gates().filter(|gate| is_before(*gate)).map(|gate| 1 << gate as u8).sum();
            let detail = format!("{channel_name} was never told that it had begun");
            let stop = Refusal { effect: Effect::Suppress, detail, until: None, mute_id: None };
            GateEvaluation { passed, stopped: Some((Gate::NeverOpened, stop)), ..evaluation }
        }
        (OpeningOutcome::Held { gate, refusal: stop }, None) => evaluation.stopped_at(*gate, stop.clone()),
        _ => evaluation,
    }
}

/// A delivery that is about to be said, and what must still be there for that.
pub(super) struct Target<'a> {
    pub(super) event: &'a Event,
    pub(super) rule_id: Option<RuleId>,
    pub(super) rule_generation: u32,
    pub(super) channel_id: ChannelId,
}

/// What a delivery was made for, as it is now.
pub(super) struct Found<'a> {
    pub(super) view: &'a WorkspaceView,
    pub(super) rule: Option<&'a Rule>,
    pub(super) live: &'a Arc<LoadedChannel>,
}

impl Target<'_> {
    /// The delivery's rule, if it is still the one that the delivery was made under, and its channel.
    pub(super) fn find<'a>(&self, view: Option<&'a WorkspaceView>) -> Result<Found<'a>, SkipReason> {
        let view = view.ok_or(SkipReason::RuleDeleted)?;
        let live = view.channel(self.channel_id).ok_or(SkipReason::ChannelDeleted);
        if self.event.resource_type == ResourceType::Endpoint {
            let id = self.event.resource_id.parse().ok();
            id.and_then(|id| view.endpoint(id)).ok_or(SkipReason::EndpointDeleted)?;
        }
        let Some(rule_id) = self.rule_id else { return Ok(Found { view, rule: None, live: live? }) };
        let rule = view.rule(rule_id).ok_or(SkipReason::RuleDeleted)?;
        if rule.channel_id != self.channel_id {
            return Err(SkipReason::RuleChanged);
        }
        if !rule.enabled || rule.generation != self.rule_generation {
            return Err(SkipReason::RuleDisabled);
        }
        Ok(Found { view, rule: Some(rule), live: live? })
    }
}

/// What the gates that are asked again know of an endpoint.
pub(super) struct EndpointNow<'a> {
    live: &'a LoadedEndpoint,
    parent_down: Option<&'a str>,
}

/// No opening is asked about again by the gates that look at earlier ones.
static NO_OPENINGS: BTreeMap<ChannelId, Timestamp> = BTreeMap::new();

impl<'a> EndpointNow<'a> {
    pub(super) fn as_situation(&self) -> EndpointSituation<'a> {
        EndpointSituation { live: self.live, parent_down: self.parent_down, openings: &NO_OPENINGS }
    }
}

/// The endpoint that the event is about, if it is about one.
pub(super) fn endpoint_situation<'a>(down: &Down, view: &'a WorkspaceView, event: &Event) -> Option<EndpointNow<'a>> {
    if event.resource_type != ResourceType::Endpoint {
        return None;
    }
    let live = view.endpoint(event.resource_id.parse().ok()?)?;
    Some(EndpointNow { live, parent_down: down.parent_of(view, live) })
}

/// What the first message of the incident left that this channel was told of it, where the channel can come back to that.
async fn thread(queue: &Queue, live: &LoadedChannel, claimed: &Claimed) -> Option<String> {
    let event = &claimed.event;
    let is_later = event.kind.is_of_incident() && event.kind != EventKind::IncidentOpened;
    let incident_id = event.run_id.parse().ok().filter(|_| is_later)?;
    if live.channel.channel_type != ChannelType::Slack {
        return None;
    }
    // That it cannot be read now is no reason not to say it.
    let told = queue.0.store.incident_deliveries(event.workspace_id, incident_id).await.ok()?;
    let first = told.into_iter().find(|it| it.channel_id == claimed.channel_id && it.status == Status::Sent)?;
    first.attempt_state
}

async fn attempt(live: &LoadedChannel, claimed: &Claimed, thread: Option<&str>, now: Timestamp) -> AttemptResult {
    let destination = match &live.destination {
        Ok(destination) => destination,
        Err(why) => return AttemptResult::retry(ErrorClass::Configuration, why.clone()),
    };
    let letter = OutboundMessage {
        delivery_id: claimed.id,
        rule_id: claimed.rule_id,
        event: &claimed.event,
        severity: claimed.severity,
        now,
        timeout: Duration::from_millis(live.channel.policies.timeout_ms.into()),
        attempt_state: claimed.attempt_state.as_deref(),
        thread,
    };
    // A defect in a channel must cost one attempt, not the slot.
    AssertUnwindSafe(destination.deliver(&letter)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(delivery = %claimed.id, "an attempt panicked: this is a defect in Tidings");
        AttemptResult::retry(ErrorClass::Configuration, "the attempt failed inside Tidings; its log says where")
    })
}

/// What the channel's lane and health learn from an attempt: how long it took and whether it speaks of an outage. Nothing
/// from one that never left this machine.
fn learnt(report: &AttemptResult, duration_ms: u32) -> Option<(u32, bool)> {
    let is_outage = report.error_class.is_some_and(|class| class.is_outage(report.http_status));
    let is_own = report.error_class == Some(ErrorClass::OwnNetwork);
    (!is_own).then_some((duration_ms, report.outcome != Outcome::Delivered && is_outage))
}

/// Makes known what was written down; false if it did not count or could not be written (then the lease ends, and it is
/// sent again).
fn note(queue: &Queue, claimed: &Claimed, written: Result<Settled, StoreError>, next: NextState) -> bool {
    match written {
        Ok(Settled::Written) => {
            metrics::settled(claimed.channel_type, &next);
            match next {
                NextState::RetryAt(at) => queue.due_at(claimed.channel_id, at),
                NextState::Held(evaluation) => {
                    evaluation.held().into_iter().for_each(|(_, at)| queue.held_until(at));
                    // Nobody waits for what is held back.
                    queue.due_at(claimed.channel_id, queue.0.clock.now());
                }
                // What waited for this one is due, or may be said late in its stead.
                next => {
                    if matches!(next, NextState::Suppressed(_)) {
                        queue.0.stopped.note(&claimed.event);
                    }
                    if concerns(&claimed.event) != FollowUps::None {
                        queue.due_at(claimed.channel_id, queue.0.clock.now());
                    }
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_left_this_machine_teaches_nothing() {
        let failed = |class| learnt(&AttemptResult::retry(class, "words"), 7);
        assert_eq!(failed(ErrorClass::OwnNetwork), None, "an open breaker stays open, a closed one closed");
        assert_eq!(failed(ErrorClass::Connect), Some((7, true)));
        assert_eq!(failed(ErrorClass::Configuration), Some((7, false)));
        assert_eq!(learnt(&AttemptResult::delivered(Some(200), None), 7), Some((7, false)));
    }
}
