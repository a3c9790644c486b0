//! Tests of `incident::reminders`.

use super::*;
use crate::access::Actor;
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
    let sent = Reminders { count, last_at: last.map(at) };
    next_reminder(&open(), Some(every), sent, at(now)).map(|due| (due.number, due.due_at))
}

#[test]
fn escalation_steps_are_due_in_order_of_their_time() {
    let steps = [step(3600), step(900)];
    assert_eq!(escalation(&steps, &[]), Some((900, at(900))));
    assert_eq!(escalation(&steps, &[900]), Some((3600, at(3600))));
    assert_eq!(escalation(&steps, &[900, 3600]), None);
    assert_eq!(escalation(&[], &[]), None);
    let due = next_escalation(&incident(Cause::Alert), &steps, &[]).unwrap();
    assert_eq!(due.trigger().to_string(), "escalated:900");
}

#[test]
fn edited_escalation_does_not_repeat_a_step() {
    assert_eq!(escalation(&[step(300), step(900)], &[900]), Some((300, at(300))), "new, and due");
    assert_eq!(escalation(&[step(900)], &[300, 900]), None, "one was dropped");
}

#[test]
fn reminders_are_due_on_the_grid_and_missed_ones_become_one() {
    assert_eq!(reminder(10, 0, None, 0), Some((1, at(600))));
    assert_eq!(reminder(10, 0, None, 599), Some((1, at(600))));
    assert_eq!(reminder(10, 0, None, 600), Some((1, at(600))));
    assert_eq!(reminder(10, 1, Some(601), 602), Some((2, at(1200))), "sent a little late");
    assert_eq!(reminder(10, 2, Some(1200), 5 * 600 + 30), Some((3, at(3000))), "three were missed");
    assert_eq!(reminder(10, 3, Some(3030), 3031), Some((4, at(3600))));
    assert_eq!(reminder(10, 3, Some(3030), 100), Some((4, at(3600))), "the clock was set back");
    assert_eq!(reminder(0, 0, None, 600), None);
    assert_eq!(next_reminder(&open(), None, Reminders::default(), at(9999)), None);
    let due = next_reminder(&open(), Some(10), Reminders { count: 1, last_at: Some(at(600)) }, at(700)).unwrap();
    assert_eq!(due.trigger().to_string(), "reminder:2");
}

#[test]
fn changed_reminder_interval_takes_effect_at_once() {
    assert_eq!(reminder(60, 5, Some(3000), 3001), Some((6, at(3600))), "from every 10 minutes");
    assert_eq!(reminder(10, 1, Some(3600), 3700), Some((2, at(4200))), "from every 60");
}

#[test]
fn nothing_is_due_once_acknowledged_or_resolved() {
    let steps = [step(900)];
    for ended in [open().acknowledged(&Actor::system(), at(60)), open().resolved(at(60))] {
        let ended = ended.unwrap();
        assert_eq!(next_escalation(&ended, &steps, &[]), None);
        assert_eq!(next_reminder(&ended, Some(10), Reminders::default(), at(9999)), None);
    }
}

proptest! {
    /// The caller polls at random times and sends what is due.
    #[test]
    fn reminders_are_numbered_without_gaps_and_sent_once_per_slot(
        pauses in proptest::collection::vec(1i64..4_000, 1..40), every in 1u32..30
    ) {
        let (mut sent, mut now, mut last_due) = (Reminders::default(), 0, at(0));
        for pause in pauses {
            now += pause;
            let mut times = 0;
            let next = |sent| next_reminder(&open(), Some(every), sent, at(now)).unwrap();
            while next(sent).due_at <= at(now) {
                let due = next(sent);
                prop_assert_eq!(due.number, sent.count + 1);
                prop_assert!(due.due_at > last_due && at(now).since_ms(due.due_at) < u64::from(every) * 60_000);
                prop_assert_eq!(due.due_at.since_ms(at(0)) % (u64::from(every) * 60_000), 0);
                let stored = serde_json::to_string(&sent.recorded(at(now))).unwrap();
                (sent, last_due, times) = (serde_json::from_str(&stored).unwrap(), due.due_at, times + 1);
            }
            prop_assert!(times <= 1, "missed ones become one");
            let next = next(sent);
            prop_assert!(next.due_at > at(now) && next.due_at.since_ms(at(now)) <= u64::from(every) * 60_000);
        }
    }

    #[test]
    fn every_escalation_step_is_done_once_and_in_order(
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
