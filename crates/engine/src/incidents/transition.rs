//! Transitions of incidents: what follows from a check, an acknowledgement, a resolution or the passing of time. Pure:
//! state and an instant in; changes to write and notifications to send out.

use tidings_domain::audit::AuditEntry;
use tidings_domain::check::{Check, CheckStatus};
use tidings_domain::endpoint::{Definition, EscalationStep};
use tidings_domain::id::{ChannelId, IncidentId, WorkspaceId};
use tidings_domain::incident::flapping::{FlapLimit, FlapTransition};
use tidings_domain::incident::reminders::{Reminders, next_escalation, next_reminder};
use tidings_domain::incident::streak::{Thresholds, Transition, after_check};
use tidings_domain::incident::{
    Cause, Incident, IncidentStart, IncidentTrigger, Notified, Subject, SubjectInfo, TimelineEntry, TimelineKind,
};
use tidings_domain::time::Timestamp;
use tidings_store::monitoring::{EndpointState, EpisodeEnd, IncidentRecord};

use super::state::{IncidentState, UnfinishedIncident};

/// Changes to one subject, to be written together, and the notifications about them.
#[derive(Debug, Default)]
pub(super) struct IncidentTransition {
    /// The endpoint's state, if it changes. Its revision is the one before the write.
    pub(super) endpoint: Option<EndpointState>,
    /// The incident, if one is opened or changes. Its revision is the one before the write, 0 for a new one.
    pub(super) incident: Option<IncidentRecord>,
    /// Entries to add to the incident's timeline.
    pub(super) timeline: Vec<TimelineEntry>,
    /// In the order in which they are sent.
    pub(super) notifications: Vec<IncidentNotification>,
    /// The end of an alert's episode.
    pub(super) episode_end: Option<EpisodeEnd>,
    /// The entry of the audit log, if a person caused it.
    pub(super) audit: Option<AuditEntry>,
}

/// A notification about an incident: becomes an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IncidentNotification {
    pub(super) trigger: IncidentTrigger,
    /// Openings and resolutions within the window, if the endpoint is flapping.
    pub(super) changes: Option<u32>,
    /// For an escalation step: the only channel that it goes to.
    pub(super) escalates_to: Option<ChannelId>,
    /// For a resolution: how the incident ended, if its subject did not recover.
    pub(super) resolution: Option<String>,
}

impl IncidentNotification {
    pub(super) const fn of(trigger: IncidentTrigger) -> Self {
        Self { trigger, changes: None, escalates_to: None, resolution: None }
    }
}

/// Who made a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckOrigin {
    /// The own prober, whose checks arrive in the order in which they ended.
    Prober,
    /// A prober outside, whose reports may be late.
    Reported,
}

/// A new incident's record before its first write.
pub(super) fn new_record(incident: Incident, subject_info: SubjectInfo) -> IncidentRecord {
    IncidentRecord {
        incident,
        subject_info,
        escalations_done: Vec::new(),
        reminders: Reminders::default(),
        wake_at: None,
        notified: Notified::new(),
        episode_started_at: None,
        revision: 0,
    }
}

/// The transition of a check. `new_id` becomes the id of an incident, should one be opened. A reported check that is older
/// than the last one is stored and changes nothing; those of the own prober count in the order in which they ended.
pub(super) fn on_check(
    current: &IncidentState,
    workspace_id: WorkspaceId,
    definition: &Definition,
    subject_info: impl FnOnce() -> SubjectInfo,
    (check, origin): (&Check, CheckOrigin),
    new_id: IncidentId,
    now: Timestamp,
) -> IncidentTransition {
    let mut change = IncidentTransition::default();
    let mut endpoint = current.endpoint.clone();
    // A last check that claims to be of the future must not silence those that follow it.
    let last = endpoint.last_check.as_ref().map(|last| last.checked_at.min(now));
    if origin == CheckOrigin::Reported && last.is_some_and(|last| check.checked_at < last) {
        return change;
    }
    let thresholds = Thresholds::from(definition);
    let (streak, transition) =
        after_check(endpoint.streak, current.cause(), check.status, check.checked_at, thresholds);
    endpoint.streak = streak;
    endpoint.last_check = Some(check.clone());
    let subject = Subject::Endpoint(endpoint.endpoint_id);
    match (transition, &current.active) {
        // The check opens an incident: the streak of failing checks reached the threshold.
        (Some(Transition::Opened { cause, failing_since }), _) => {
            let start = IncidentStart { subject, cause, detail: check.reason.clone(), failing_since, at: now };
            let incident =
                Incident { severity: definition.severity_of(cause), ..Incident::open(new_id, workspace_id, start) };
            change.add_to_timeline(now, TimelineKind::Opened { cause, detail: check.reason.clone() });
            change.notifications.push(IncidentNotification::of(IncidentTrigger::Opened));
            endpoint.incident_id = Some(new_id);
            change.incident = Some(new_record(incident, subject_info()));
            change.record_flap(&mut endpoint, now);
        }
        // A degraded endpoint went down.
        (Some(Transition::Worsened), Some(active)) => {
            change.timeline.push(TimelineEntry::from_check(check));
            let severity = definition.severity_of(Cause::EndpointDown);
            if let Some(incident) = active.record.incident.worsened(severity, check.reason.clone()) {
                change.add_to_timeline(now, TimelineKind::Worsened { detail: check.reason.clone() });
                change.notifications.push(IncidentNotification::of(IncidentTrigger::Worsened));
                change.incident = Some(IncidentRecord { incident, ..active.record.clone() });
            }
        }
        // The check resolves the incident: the streak of healthy checks reached the threshold.
        (Some(Transition::Resolved), Some(active)) => {
            change.timeline.push(TimelineEntry::from_check(check));
            change.resolve(&active.record, None, now);
            endpoint.incident_id = None;
            change.record_flap(&mut endpoint, now);
        }
        (_, Some(_)) if check.status != CheckStatus::Inconclusive => {
            change.timeline.push(TimelineEntry::from_check(check));
        }
        _ => {}
    }
    change.endpoint = Some(endpoint);
    change
}

/// The transition of time: escalation steps and reminders that are due by `now`. (Deferred openings are handled apart,
/// as they depend on gates.)
pub(super) fn on_time(current: &IncidentState, definition: Option<&Definition>, now: Timestamp) -> IncidentTransition {
    let mut change = IncidentTransition::default();
    let Some(active) = &current.active else { return change };
    let mut record = active.record.clone();
    let steps = definition.map(|definition| definition.escalation.as_slice()).unwrap_or_default();
    // All steps that became due while no process ran, one after the other.
    while let Some(due) =
        next_escalation(&record.incident, steps, &record.escalations_done).filter(|due| due.due_at <= now)
    {
        let EscalationStep { after_seconds, channel_id } = *due.step;
        change.add_to_timeline(now, TimelineKind::Escalated { after_seconds, channel_id });
        let notification = IncidentNotification::of(due.trigger());
        change.notifications.push(IncidentNotification { escalates_to: Some(channel_id), ..notification });
        record.escalations_done.push(after_seconds);
    }
    // Missed reminders become one.
    let every = definition.and_then(|definition| definition.reminder_minutes);
    if let Some(due) = next_reminder(&record.incident, every, record.reminders, now).filter(|due| due.due_at <= now) {
        change.add_to_timeline(now, TimelineKind::Reminded { number: due.number });
        change.notifications.push(IncidentNotification::of(due.trigger()));
        record.reminders = record.reminders.recorded(now);
    }
    if !change.notifications.is_empty() {
        change.incident = Some(record);
    }
    change
}

/// The state of a flapping endpoint that has become stable by `now`; none if it is still flapping, or was not.
pub(super) fn stabilized(endpoint: &EndpointState, now: Timestamp) -> Option<EndpointState> {
    let (flap_history, transition) = endpoint.flap_history.at(now, FlapLimit::default());
    (transition == Some(FlapTransition::Stable)).then(|| EndpointState { flap_history, ..endpoint.clone() })
}

/// When the subject is to be processed next, if nothing happens before.
pub(super) fn next_wake(current: &IncidentState, definition: Option<&Definition>, now: Timestamp) -> Option<Timestamp> {
    let stable_at = current.endpoint.flap_history.stable_at(FlapLimit::default());
    let incident = current.active.as_ref().and_then(|active| incident_wake(&active.record, definition, now));
    let unfinished = current.unfinished.iter().map(UnfinishedIncident::wake_at).min();
    [stable_at, incident, deferred_wake(current), unfinished].into_iter().flatten().min()
}

/// When the incident's next escalation step or reminder is due.
pub(super) fn incident_wake(
    record: &IncidentRecord,
    definition: Option<&Definition>,
    now: Timestamp,
) -> Option<Timestamp> {
    let steps = definition.map(|definition| definition.escalation.as_slice()).unwrap_or_default();
    let escalation = next_escalation(&record.incident, steps, &record.escalations_done).map(|due| due.due_at);
    let every = definition.and_then(|definition| definition.reminder_minutes);
    let reminder = next_reminder(&record.incident, every, record.reminders, now).map(|due| due.due_at);
    [escalation, reminder].into_iter().flatten().min()
}

/// When the next deferred opening may be sent, as far as that is known.
fn deferred_wake(current: &IncidentState) -> Option<Timestamp> {
    current.active.as_ref()?.deferred.iter().filter_map(|deferred| deferred.until).min()
}

impl IncidentTransition {
    fn add_to_timeline(&mut self, at: Timestamp, kind: TimelineKind) {
        self.timeline.push(TimelineEntry { at, kind });
    }

    /// Resolves the incident, unless it is resolved already.
    pub(super) fn resolve(&mut self, record: &IncidentRecord, detail: Option<String>, now: Timestamp) {
        if let Some(incident) = record.incident.resolved(now) {
            self.add_to_timeline(now, TimelineKind::Resolved { detail });
            self.notifications.push(IncidentNotification::of(IncidentTrigger::Resolved));
            self.incident = Some(IncidentRecord { incident, wake_at: None, ..record.clone() });
        }
    }

    /// Adds an opening or a resolution to the flap history. Notifies if that starts the flapping.
    fn record_flap(&mut self, endpoint: &mut EndpointState, now: Timestamp) {
        let (history, transition) = endpoint.flap_history.after_change(now, FlapLimit::default());
        endpoint.flap_history = history;
        if let Some(FlapTransition::Flapping { changes }) = transition {
            self.add_to_timeline(now, TimelineKind::Flapping { changes });
            let notification = IncidentNotification::of(IncidentTrigger::Flapping);
            self.notifications.push(IncidentNotification { changes: Some(changes), ..notification });
        }
    }
}
