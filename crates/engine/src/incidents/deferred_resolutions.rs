//! Deferred resolutions: who was notified of an incident is notified of its end. A resolution that a gate suppressed is
//! sent in a new delivery once that gate opens, and deferred again if another gate stops it.
//!
//! It is dropped if a later incident of the subject was notified through the channel, because that message names the end
//! of this one; after [`DEFERRED_MS_MAX`]; and if there is no one to notify any more: the channel is deleted, or no rule
//! to it is left.

use std::sync::Arc;

use tidings_domain::event::{Content, Event};
use tidings_domain::gate::Effect;
use tidings_domain::id::ChannelId;
use tidings_domain::incident::{IncidentTrigger, Notified, NotifiedBy};
use tidings_domain::routing;
use tidings_domain::rule::Rule;
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::monitoring::{
    IncidentDelivery, IncidentFilter, IncidentRecord, TransitionOutcome, TransitionRecord,
};

use super::deferred::{Carrier, GateRecheck};
use super::state::{DeferredDelivery, IncidentState, UnfinishedIncident, may_be_notified};
use super::{Incidents, SubjectKey};
use crate::accept::{AcceptBatch, NotificationSequence};
use crate::fanout::{self, FanOut, FanOutContext, is_in_progress};
use crate::snapshot::WorkspaceView;
use crate::sync::Conflict as _;

/// For how long after the end of an incident its resolution may be deferred, in milliseconds: seven days.
const DEFERRED_MS_MAX: u64 = 7 * 86_400_000;
/// When to look again at a resolution that waits for a later incident's delivery to be settled, in milliseconds.
const RECHECK_AFTER_MS: u64 = 10_000;
/// The most later incidents of the subject that are read. One of the newest suffices to drop a resolution.
const LATER_INCIDENTS_MAX: u32 = 50;

impl UnfinishedIncident {
    /// When its deferred resolutions are dropped.
    pub(super) fn expires_at(&self) -> Timestamp {
        expires_at(&self.record)
    }

    /// When it is to be processed next. Without a known instant when it expires, without a deferred resolution at once, to
    /// be done with.
    pub(super) fn wake_at(&self) -> Timestamp {
        wake_at(&self.record, &self.deferred).unwrap_or(Timestamp::from_unix_ms(0))
    }
}

fn expires_at(record: &IncidentRecord) -> Timestamp {
    record.incident.resolved_at.unwrap_or(record.incident.started_at).plus_ms(DEFERRED_MS_MAX)
}

/// The stored wake-up of a resolved incident with these deferred resolutions; none if it has none.
pub(super) fn wake_at(record: &IncidentRecord, deferred: &[DeferredDelivery]) -> Option<Timestamp> {
    let known = deferred.iter().filter_map(|it| it.until).min();
    (!deferred.is_empty()).then(|| known.map_or(expires_at(record), |at| at.min(expires_at(record))))
}

/// What becomes of a deferred resolution now.
enum Verdict {
    /// The gate is closed until this instant, if that is known.
    Keep(Option<Timestamp>),
    Send(Option<Arc<Rule>>),
    Drop,
}

/// What was sent of later incidents of the subject.
#[derive(Default)]
struct Later {
    notified: Notified,
    in_progress: Vec<ChannelId>,
}

impl Incidents {
    /// Does what is due for the unfinished incidents of a subject, oldest first.
    pub(super) async fn process_unfinished(
        &self,
        key: &SubjectKey,
        view: &Arc<WorkspaceView>,
        state: &mut IncidentState,
    ) -> Result<(), StoreError> {
        let ids: Vec<_> = state.unfinished.iter().map(UnfinishedIncident::id).collect();
        for id in ids {
            let Some(index) = state.unfinished.iter().position(|it| it.id() == id) else { continue };
            let now = self.0.clock.now();
            let kept = match self.process_one(key, view, &state.unfinished[index], now).await {
                Ok(kept) => kept,
                Err(error) => {
                    if error.is_conflict() {
                        self.reload(key, state).await?;
                    }
                    return Err(error);
                }
            };
            match kept {
                Some(unfinished) => state.unfinished[index] = unfinished,
                None => drop(state.unfinished.remove(index)),
            }
        }
        Ok(())
    }

    /// Sends or drops what can be, and returns the incident with what is left; `None` if nothing is.
    async fn process_one(
        &self,
        key: &SubjectKey,
        view: &Arc<WorkspaceView>,
        unfinished: &UnfinishedIncident,
        now: Timestamp,
    ) -> Result<Option<UnfinishedIncident>, StoreError> {
        let endpoint = self.loaded_endpoint(view, key);
        let incident_id = unfinished.id();
        let event = unfinished.resolution.as_ref().map(|event| present_resolution(event, &unfinished.record, now));
        let (mut kept, mut due) = (Vec::new(), Vec::new());
        for deferred in &unfinished.deferred {
            let verdict = match &event {
                Some(event) if now < unfinished.expires_at() => {
                    self.verdict(key, view, &unfinished.record.notified, event, deferred, now)
                }
                _ => Verdict::Drop,
            };
            match verdict {
                Verdict::Keep(until) => kept.push(DeferredDelivery { until, ..deferred.clone() }),
                Verdict::Send(rule) => due.push((deferred, rule)),
                Verdict::Drop => {}
            }
        }
        let mut batch = AcceptBatch::default();
        if let Some(event) = event.filter(|_| !due.is_empty()) {
            let mut earlier = self.0.store.incident_deliveries(key.0, incident_id).await?;
            let notified = self.0.store.notified_channels(key.0, incident_id).await?;
            let later = self.later(key, &unfinished.record, &due).await?;
            for (deferred, rule) in due {
                if later.notified.contains_key(&deferred.channel_id)
                    || !may_be_notified(deferred.channel_id, &earlier, &notified)
                {
                    continue;
                }
                // Behind it in the queue this one would be sent even if that one is; it is dropped then.
                if later.in_progress.contains(&deferred.channel_id) {
                    kept.push(DeferredDelivery { until: Some(now.plus_ms(RECHECK_AFTER_MS)), ..deferred.clone() });
                    continue;
                }
                let context = FanOutContext {
                    endpoint: self.endpoint_context(view, endpoint),
                    last_openings: None,
                    earlier: &earlier,
                    notified: Some(&notified),
                };
                let planned = fanout::plan_for_rule(view, &event, rule.as_ref(), deferred.channel_id, context, now);
                let is_unrouted = |effect| effect == Effect::Unroute;
                let Some(planned) = planned.filter(|it| {
                    !it.evaluation.stopped.as_ref().is_some_and(|(_, refusal)| is_unrouted(refusal.effect))
                }) else {
                    continue;
                };
                let sequence =
                    NotificationSequence { number: deferred.sequence + 1, replaces_id: Some(deferred.delivery_id) };
                let fan_out = FanOut { not_routed: Vec::new(), planned: vec![planned] };
                batch.add(&self.0.queue, self.0.clock.as_ref(), Arc::clone(&event), fan_out, sequence);
                let new = batch.last().and_then(|new_event| new_event.deliveries.first());
                kept.extend(new.and_then(|new| DeferredDelivery::from_new(new, IncidentTrigger::Resolved)));
                earlier.extend(batch.last().into_iter().flat_map(super::notify::incident_deliveries_of));
            }
        }
        let mut record = unfinished.record.clone();
        if !batch.is_empty() || kept.is_empty() {
            record.wake_at = wake_at(&record, &kept);
            record.revision += 1;
            self.write_resolutions(key, &record, batch).await?;
        }
        let resolution = unfinished.resolution.clone();
        Ok((!kept.is_empty()).then_some(UnfinishedIncident { record, resolution, deferred: kept }))
    }

    async fn write_resolutions(
        &self,
        key: &SubjectKey,
        record: &IncidentRecord,
        batch: AcceptBatch,
    ) -> Result<(), StoreError> {
        let (events, post_commit) = batch.split();
        let transition = TransitionRecord { incident: Some(record.clone()), events, ..TransitionRecord::default() };
        let outcome = self.0.store.record_transition(key.0, transition).await;
        let acceptances = match &outcome {
            Ok(TransitionOutcome::Applied(acceptances)) => Ok(acceptances.as_slice()),
            Ok(TransitionOutcome::Duplicate) => Ok([].as_slice()),
            Err(error) => Err(error),
        };
        // In every case: it also cancels the reservations of what was not written.
        post_commit.apply(&self.0.queue, acceptances);
        outcome?;
        self.0.queue.quiescence().record_work();
        Ok(())
    }

    fn verdict(
        &self,
        key: &SubjectKey,
        view: &WorkspaceView,
        notified: &Notified,
        event: &Event,
        deferred: &DeferredDelivery,
        now: Timestamp,
    ) -> Verdict {
        let Some(channel) = view.channel(deferred.channel_id) else { return Verdict::Drop };
        let rule = carrying_rule(view, event, deferred);
        let by_step = deferred.rule_id.is_none() || notified.get(&deferred.channel_id) == Some(&NotifiedBy::Step);
        if rule.is_none() && !by_step {
            return Verdict::Drop;
        }
        let endpoint = self.endpoint_context(view, self.loaded_endpoint(view, key));
        let carrier = Carrier { view, endpoint, rule: rule.map(AsRef::as_ref), channel };
        match carrier.recheck(deferred.gate, event, now) {
            GateRecheck::Closed(refusal) => Verdict::Keep(refusal.until),
            GateRecheck::Open | GateRecheck::Inapplicable => Verdict::Send(rule.cloned()),
        }
    }

    /// What was sent of later incidents of the subject through the channels of these resolutions, or is being sent.
    async fn later<T>(
        &self,
        key: &SubjectKey,
        record: &IncidentRecord,
        due: &[(&DeferredDelivery, T)],
    ) -> Result<Later, StoreError> {
        let filter = IncidentFilter {
            subject: Some(key.1.clone()),
            since: Some(record.incident.started_at),
            limit: LATER_INCIDENTS_MAX,
            ..IncidentFilter::default()
        };
        let mut later = Later::default();
        for other in self.0.store.incidents(key.0, filter).await? {
            if other.incident.id <= record.incident.id {
                continue;
            }
            let deliveries = self.0.store.incident_deliveries(key.0, other.incident.id).await?;
            let is_wanted =
                |it: &&IncidentDelivery| due.iter().any(|(deferred, _)| deferred.channel_id == it.channel_id);
            let in_progress = deliveries.iter().filter(is_wanted).filter(|it| is_in_progress(it));
            later.in_progress.extend(in_progress.map(|it| it.channel_id));
            // Read after the deliveries, so that one that is settled in between counts.
            later.notified.extend(self.0.store.notified_channels(key.0, other.incident.id).await?);
        }
        Ok(later)
    }
}

/// The rule that carries a deferred resolution: its own, or else another one to the channel that matches, as fan-out would
/// choose it.
fn carrying_rule<'a>(view: &'a WorkspaceView, event: &'a Event, deferred: &DeferredDelivery) -> Option<&'a Arc<Rule>> {
    let mut rules = view.rules_of(event.resource_type, &event.resource_id);
    let matching = |rule: &&Arc<Rule>| rule.channel_id == deferred.channel_id && routing::route(event, rule).is_ok();
    let own = deferred.rule_id.and_then(|id| view.rule(id)).filter(matching);
    own.or_else(|| rules.find(matching))
}

/// The resolution's event as of now: its receiver reads it long after the incident ended.
fn present_resolution(event: &Arc<Event>, record: &IncidentRecord, now: Timestamp) -> Arc<Event> {
    let Some(snapshot) = event.incident() else { return Arc::clone(event) };
    let mut snapshot = snapshot.clone();
    (snapshot.at, snapshot.resolved_at) = (now, record.incident.resolved_at);
    Arc::new(Event { content: Content::Incident(Box::new(snapshot)), ..Event::clone(event) })
}
