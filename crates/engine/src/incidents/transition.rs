//! What follows for a case: from a check, from an acknowledgement, from the end, from the passing of time. Pure: a case and
//! an instant in, what is to be written and told out.

use tidings_domain::check::{Check, CheckStatus};
use tidings_domain::endpoint::{Definition, EscalationStep};
use tidings_domain::id::{ChannelId, IncidentId, WorkspaceId};
use tidings_domain::incident::flapping::{FlapLimit, FlapTransition};
use tidings_domain::incident::reminders::{next_escalation, next_reminder};
use tidings_domain::incident::streak::{Thresholds, Transition, after_check};
use tidings_domain::incident::{
    Incident, IncidentStart, IncidentTrigger, Subject, SubjectInfo, TimelineEntry, TimelineKind,
};
use tidings_domain::time::Timestamp;
use tidings_store::monitoring::{EndpointState, IncidentRecord};

use super::state::Case;

/// What is to be written of a case, and told.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The endpoint's state, if it changes. Its revision is still that before.
    pub(super) state: Option<EndpointState>,
    /// The incident, if one is opened or changes. Its revision is still that before, 0 for a new one.
    pub(super) incident: Option<IncidentRecord>,
    /// What is added to its timeline.
    pub(super) timeline: Vec<TimelineEntry>,
    /// What happened to the incident, in order.
    pub(super) happenings: Vec<Happening>,
}

/// Something that happened to an incident and is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happening {
    /// What.
    pub(super) trigger: IncidentTrigger,
    /// Openings and resolutions within the window, if it is flapping.
    pub(super) changes: Option<u32>,
    /// The channel that it is told through, and no other.
    pub(super) escalates_to: Option<ChannelId>,
}

impl Happening {
    pub(super) const fn of(trigger: IncidentTrigger) -> Self {
        Self { trigger, changes: None, escalates_to: None }
    }
}

/// A new incident's record, before its first write.
pub(super) fn new_record(incident: Incident, about: SubjectInfo) -> IncidentRecord {
    IncidentRecord {
        incident,
        subject_info: about,
        escalations_done: Vec::new(),
        reminders: tidings_domain::incident::reminders::Reminders::default(),
        wake_at: None,
        revision: 0,
    }
}

/// What a check of an endpoint does. `new_id` is the id of an incident, should one be opened. A check that is older than
/// the last one is kept, and changes nothing.
pub(super) fn on_check(
    case: &Case,
    workspace_id: WorkspaceId,
    definition: &Definition,
    about: impl FnOnce() -> SubjectInfo,
    check: &Check,
    new_id: IncidentId,
    now: Timestamp,
) -> Change {
    let mut change = Change::default();
    let mut state = case.state.clone();
    if state.last_check.as_ref().is_some_and(|last| check.checked_at < last.checked_at) {
        return change;
    }
    let thresholds = Thresholds::from(definition);
    let (streak, transition) = after_check(state.streak, case.cause(), check.status, check.checked_at, thresholds);
    state.streak = streak;
    state.last_check = Some(check.clone());
    let subject = Subject::Endpoint(state.endpoint_id);
    match (transition, &case.open) {
        (Some(Transition::Opened { cause, failing_since }), _) => {
            let opening = IncidentStart { subject, cause, detail: check.reason.clone(), failing_since, at: now };
            let incident = Incident::open(new_id, workspace_id, opening);
            change.add(now, TimelineKind::Opened { cause, detail: check.reason.clone() });
            change.happenings.push(Happening::of(IncidentTrigger::Opened));
            state.incident_id = Some(new_id);
            change.incident = Some(new_record(incident, about()));
            change.flap(&mut state, now);
        }
        (Some(Transition::Worsened), Some(open)) => {
            change.timeline.push(TimelineEntry::of_check(check));
            if let Some(incident) = open.record.incident.worsened(check.reason.clone()) {
                change.add(now, TimelineKind::Worsened { detail: check.reason.clone() });
                change.happenings.push(Happening::of(IncidentTrigger::Worsened));
                change.incident = Some(IncidentRecord { incident, ..open.record.clone() });
            }
        }
        (Some(Transition::Resolved), Some(open)) => {
            change.timeline.push(TimelineEntry::of_check(check));
            change.resolve(&open.record, None, now);
            state.incident_id = None;
            change.flap(&mut state, now);
        }
        (_, Some(_)) if check.status != CheckStatus::Inconclusive => {
            change.timeline.push(TimelineEntry::of_check(check));
        }
        _ => {}
    }
    change.state = Some(state);
    change
}

/// What time has brought about by `now`, beside openings that may be said late.
pub(super) fn on_time(case: &Case, definition: Option<&Definition>, now: Timestamp) -> Change {
    let mut change = Change::default();
    let Some(open) = &case.open else { return change };
    let mut record = open.record.clone();
    let steps = definition.map(|definition| definition.escalation.as_slice()).unwrap_or_default();
    while let Some(due) =
        next_escalation(&record.incident, steps, &record.escalations_done).filter(|due| due.due_at <= now)
    {
        let EscalationStep { after_seconds, channel_id } = *due.step;
        change.add(now, TimelineKind::Escalated { after_seconds, channel_id });
        change.happenings.push(Happening { escalates_to: Some(channel_id), ..Happening::of(due.trigger()) });
        record.escalations_done.push(after_seconds);
    }
    let every = definition.and_then(|definition| definition.reminder_minutes);
    if let Some(due) = next_reminder(&record.incident, every, record.reminders, now).filter(|due| due.due_at <= now) {
        change.add(now, TimelineKind::Reminded { number: due.number });
        change.happenings.push(Happening::of(due.trigger()));
        record.reminders = record.reminders.recorded(now);
    }
    if !change.happenings.is_empty() {
        change.incident = Some(record);
    }
    change
}

/// Whether the endpoint has calmed down by `now`; its state after that.
pub(super) fn calmed(state: &EndpointState, now: Timestamp) -> Option<EndpointState> {
    let (changes, flap) = state.flap_history.at(now, FlapLimit::default());
    (flap == Some(FlapTransition::Stable)).then(|| EndpointState { flap_history: changes, ..state.clone() })
}

/// When the case is next to be looked at, if nothing happens before; what is known of the time alone.
pub(super) fn next_wake(case: &Case, definition: Option<&Definition>, now: Timestamp) -> Option<Timestamp> {
    let calm = case.state.flap_history.stable_at(FlapLimit::default());
    [calm, case.open.as_ref().and_then(|open| incident_wake(&open.record, definition, now)), late_wake(case)]
        .into_iter()
        .flatten()
        .min()
}

/// When an incident is next to be looked at for its escalation and its reminders.
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

/// When an opening that was stopped may be said late, as far as that is known.
fn late_wake(case: &Case) -> Option<Timestamp> {
    case.open.as_ref()?.unsaid.iter().filter_map(|unsaid| unsaid.until).min()
}

impl Change {
    fn add(&mut self, at: Timestamp, kind: TimelineKind) {
        self.timeline.push(TimelineEntry { at, kind });
    }

    /// The incident is over.
    pub(super) fn resolve(&mut self, record: &IncidentRecord, detail: Option<String>, now: Timestamp) {
        if let Some(incident) = record.incident.resolved(now) {
            self.add(now, TimelineKind::Resolved { detail });
            self.happenings.push(Happening::of(IncidentTrigger::Resolved));
            self.incident = Some(IncidentRecord { incident, wake_at: None, ..record.clone() });
        }
    }

    /// Notes an opening or resolution, and whether there were too many.
    fn flap(&mut self, state: &mut EndpointState, now: Timestamp) {
        let (changes, flap) = state.flap_history.after_change(now, FlapLimit::default());
        state.flap_history = changes;
        if let Some(FlapTransition::Flapping { changes }) = flap {
            self.add(now, TimelineKind::Flapping { changes });
            let happening = Happening::of(IncidentTrigger::Flapping);
            self.happenings.push(Happening { changes: Some(changes), ..happening });
        }
    }
}
