//! What comes next for an incident that nobody takes on: the next step of its escalation, the next reminder.
//!
//! Both say what is due and when, be it past or to come: the caller wakes up then, asks again, and tells. Nothing is
//! due once the incident is acknowledged or over.

use serde::{Deserialize, Serialize};

use super::{Incident, IncidentTrigger};
use crate::endpoint::EscalationStep;
use crate::time::Timestamp;

/// A step of the escalation, and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EscalationDue<'a> {
    /// The step.
    pub step: &'a EscalationStep,
    /// When.
    pub due_at: Timestamp,
}

impl EscalationDue<'_> {
    /// The trigger of its event.
    pub const fn trigger(self) -> IncidentTrigger {
        IncidentTrigger::Escalated { after_seconds: self.step.after_seconds }
    }
}

/// The earliest step that is not done. `done` names those that are by their `afterSeconds`, which is what a step is
/// known by: steps that are added, dropped or moved while an incident is open do not bring back one that is done.
///
/// Steps that were missed while Tidings was not running are not dropped, since each tells somebody else: they are due
/// one after the other, at once.
pub fn next_escalation<'a>(
    incident: &Incident,
    steps: &'a [EscalationStep],
    done: &[u32],
) -> Option<EscalationDue<'a>> {
    let left = steps.iter().filter(|step| !done.contains(&step.after_seconds));
    let step = left.min_by_key(|step| step.after_seconds).filter(|_| incident.is_unacknowledged())?;
    let due_at = incident.started_at.plus_ms(u64::from(step.after_seconds) * 1000);
    Some(EscalationDue { step, due_at })
}

/// How often an incident was said again, and when last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reminders {
    /// How often.
    pub count: u32,
    /// When last.
    pub last_at: Option<Timestamp>,
}

impl Reminders {
    /// The reminders after one more, said at `now`.
    #[must_use]
    pub const fn recorded(self, now: Timestamp) -> Self {
        Self { count: self.count.saturating_add(1), last_at: Some(now) }
    }
}

/// A reminder, and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReminderDue {
    /// From 1, without gaps: they number what is said, not what might have been.
    pub number: u32,
    /// When.
    pub due_at: Timestamp,
}

impl ReminderDue {
    /// The trigger of its event.
    pub const fn trigger(self) -> IncidentTrigger {
        IncidentTrigger::Reminder { number: self.number }
    }
}

/// The next reminder: `every_minutes` from the opening on, `none` for never.
///
/// Those missed while Tidings was not running become one, which is due at the time of the last of them. It goes by when
/// the last one was said, not by its number, so that another `every_minutes` takes effect at once.
pub fn next_reminder(
    incident: &Incident,
    every_minutes: Option<u32>,
    said: Reminders,
    now: Timestamp,
) -> Option<ReminderDue> {
    let every_ms =
        every_minutes.filter(|minutes| *minutes > 0 && incident.is_unacknowledged()).map(u64::from)? * 60_000;
    let start = incident.started_at;
    let full_since_start = |at: Timestamp| at.since_ms(start) / every_ms;
    let first_unsaid = said.last_at.map_or(0, full_since_start) + 1;
    let slot = first_unsaid.max(full_since_start(now));
    Some(ReminderDue { number: said.count.saturating_add(1), due_at: start.plus_ms(slot.saturating_mul(every_ms)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelId, Id};
    use crate::incident::Cause;
    use crate::incident::tests::{at, incident};
    use proptest::prelude::*;

    fn step(after_seconds: u32) -> EscalationStep {
        EscalationStep { after_seconds, channel_id: ChannelId::from_bytes([4; 16]) }
    }

    fn open() -> Incident {
        incident(Cause::EndpointDown)
    }

    fn escalation(steps: &[EscalationStep], done: &[u32]) -> Option<(u32, Timestamp)> {
        next_escalation(&open(), steps, done).map(|due| (due.step.after_seconds, due.due_at))
    }

    fn reminder(every: u32, count: u32, last: Option<i64>, now: i64) -> Option<(u32, Timestamp)> {
        let said = Reminders { count, last_at: last.map(at) };
        next_reminder(&open(), Some(every), said, at(now)).map(|due| (due.number, due.due_at))
    }

    #[test]
    fn steps_are_due_in_the_order_of_their_time() {
        let steps = [step(3600), step(900)];
        assert_eq!(escalation(&steps, &[]), Some((900, at(900))));
        assert_eq!(escalation(&steps, &[900]), Some((3600, at(3600))));
        assert_eq!(escalation(&steps, &[900, 3600]), None);
        assert_eq!(escalation(&[], &[]), None);
        let due = next_escalation(&incident(Cause::Alert), &steps, &[]).unwrap();
        assert_eq!(due.trigger().to_string(), "escalated:900");
    }

    #[test]
    fn steps_that_are_edited_meanwhile_do_not_come_twice() {
        assert_eq!(escalation(&[step(300), step(900)], &[900]), Some((300, at(300))), "new, and due");
        assert_eq!(escalation(&[step(900)], &[300, 900]), None, "one was dropped");
    }

    #[test]
    fn reminders_come_at_their_times_and_missed_ones_become_one() {
        assert_eq!(reminder(10, 0, None, 0), Some((1, at(600))));
        assert_eq!(reminder(10, 0, None, 599), Some((1, at(600))));
        assert_eq!(reminder(10, 0, None, 600), Some((1, at(600))));
        assert_eq!(reminder(10, 1, Some(601), 602), Some((2, at(1200))), "said a little late");
        assert_eq!(reminder(10, 2, Some(1200), 5 * 600 + 30), Some((3, at(3000))), "three were missed");
        assert_eq!(reminder(10, 3, Some(3030), 3031), Some((4, at(3600))));
        assert_eq!(reminder(10, 3, Some(3030), 100), Some((4, at(3600))), "the clock was set back");
        assert_eq!(reminder(0, 0, None, 600), None);
        assert_eq!(next_reminder(&open(), None, Reminders::default(), at(9999)), None);
        let due = next_reminder(&open(), Some(10), Reminders { count: 1, last_at: Some(at(600)) }, at(700)).unwrap();
        assert_eq!(due.trigger().to_string(), "reminder:2");
    }

    #[test]
    fn another_interval_takes_effect_at_once() {
        assert_eq!(reminder(60, 5, Some(3000), 3001), Some((6, at(3600))), "from every 10 minutes");
        assert_eq!(reminder(10, 1, Some(3600), 3700), Some((2, at(4200))), "from every 60");
    }

    #[test]
    fn nothing_is_due_once_it_is_acknowledged_or_over() {
        let steps = [step(900)];
        for attended in [open().acknowledged("usr_1", at(60)), open().resolved(at(60))] {
            let attended = attended.unwrap();
            assert_eq!(next_escalation(&attended, &steps, &[]), None);
            assert_eq!(next_reminder(&attended, Some(10), Reminders::default(), at(9999)), None);
        }
    }

    proptest! {
        /// Tidings looks now and then, and says what is due.
        #[test]
        fn reminders_are_numbered_without_gaps_and_never_come_twice_for_one_time(
            pauses in proptest::collection::vec(1i64..4_000, 1..40), every in 1u32..30
        ) {
            let (mut said, mut now, mut last_due) = (Reminders::default(), 0, at(0));
            for pause in pauses {
                now += pause;
                let mut times = 0;
                let next = |said| next_reminder(&open(), Some(every), said, at(now)).unwrap();
                while next(said).due_at <= at(now) {
                    let due = next(said);
                    prop_assert_eq!(due.number, said.count + 1);
                    prop_assert!(due.due_at > last_due && at(now).since_ms(due.due_at) < u64::from(every) * 60_000);
                    prop_assert_eq!(due.due_at.since_ms(at(0)) % (u64::from(every) * 60_000), 0);
                    let stored = serde_json::to_string(&said.recorded(at(now))).unwrap();
                    (said, last_due, times) = (serde_json::from_str(&stored).unwrap(), due.due_at, times + 1);
                }
                prop_assert!(times <= 1, "missed ones become one");
                let next = next(said);
                prop_assert!(next.due_at > at(now) && next.due_at.since_ms(at(now)) <= u64::from(every) * 60_000);
            }
        }

        #[test]
        fn every_step_is_done_once_and_in_order(
            seconds in proptest::collection::btree_set(1u32..5_000, 0..10),
            pauses in proptest::collection::vec(1i64..2_000, 1..40)
        ) {
            let steps: Vec<_> = seconds.iter().rev().copied().map(step).collect();
            let (mut done, mut now) = (Vec::new(), 0);
            for pause in pauses {
                now += pause;
                while let Some(due) = next_escalation(&open(), &steps, &done).filter(|due| due.due_at <= at(now)) {
                    done.push(due.step.after_seconds);
                }
                let expected: Vec<_> = seconds.iter().copied().filter(|after| i64::from(*after) <= now).collect();
                prop_assert_eq!(&done, &expected);
            }
        }
    }
}
