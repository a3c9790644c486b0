//! The next escalation step and the next reminder of an incident.
//!
//! Both functions return what is due next and when, in the past or in the future. The caller sleeps until then, calls
//! again and sends. Nothing is due once the incident is acknowledged or resolved.

use serde::{Deserialize, Serialize};

use super::{Incident, IncidentTrigger};
use crate::endpoint::EscalationStep;
use crate::time::Timestamp;

/// An escalation step with its due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EscalationDue<'a> {
    pub step: &'a EscalationStep,
    pub due_at: Timestamp,
}

impl EscalationDue<'_> {
    /// The trigger of its event.
    pub const fn trigger(self) -> IncidentTrigger {
        IncidentTrigger::Escalated { after_seconds: self.step.after_seconds }
    }
}

/// The earliest step that is not done. `done` has the `afterSeconds` of the completed steps, which identifies a step: no
/// step is repeated if steps are added, removed or moved while an incident is open.
///
/// Steps missed while Tidings was not running are not skipped, because each notifies another channel: they are all due
/// at once.
pub fn next_escalation<'a>(
    incident: &Incident,
    steps: &'a [EscalationStep],
    done: &[u32],
) -> Option<EscalationDue<'a>> {
    let remaining = steps.iter().filter(|step| !done.contains(&step.after_seconds));
    let step = remaining.min_by_key(|step| step.after_seconds).filter(|_| incident.is_unacknowledged())?;
    let due_at = incident.started_at.plus_ms(u64::from(step.after_seconds) * 1000);
    Some(EscalationDue { step, due_at })
}

/// The reminders that were sent for an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reminders {
    pub count: u32,
    pub last_at: Option<Timestamp>,
}

impl Reminders {
    /// The state after another reminder at `now`.
    #[must_use]
    pub const fn recorded(self, now: Timestamp) -> Self {
        Self { count: self.count.saturating_add(1), last_at: Some(now) }
    }
}

/// A reminder with its due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReminderDue {
    /// From 1, without gaps: only reminders that are sent are numbered.
    pub number: u32,
    pub due_at: Timestamp,
}

impl ReminderDue {
    /// The trigger of its event.
    pub const fn trigger(self) -> IncidentTrigger {
        IncidentTrigger::Reminder { number: self.number }
    }
}

/// The next reminder, on a grid of `every_minutes` from the opening; `None` for no reminders.
///
/// Reminders missed while Tidings was not running become one, due at the time of the last of them. The next slot follows
/// from the time of the last reminder and not from its number, so that a changed `every_minutes` takes effect at once.
pub fn next_reminder(
    incident: &Incident,
    every_minutes: Option<u32>,
    sent: Reminders,
    now: Timestamp,
) -> Option<ReminderDue> {
    let every_ms =
        every_minutes.filter(|minutes| *minutes > 0 && incident.is_unacknowledged()).map(u64::from)? * 60_000;
    let start = incident.started_at;
    let slots_until = |at: Timestamp| at.since_ms(start) / every_ms;
    let first_unsent = sent.last_at.map_or(0, slots_until) + 1;
    let slot = first_unsent.max(slots_until(now));
    Some(ReminderDue { number: sent.count.saturating_add(1), due_at: start.plus_ms(slot.saturating_mul(every_ms)) })
}

#[cfg(test)]
mod tests;
