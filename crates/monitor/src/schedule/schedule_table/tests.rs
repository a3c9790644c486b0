//! The schedule table: single cases and properties.

use std::collections::{HashMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;
use tidings_domain::id::{Id, id_suffix, uuid_v7};

use super::*;

fn id(number: u32) -> EndpointId {
    EndpointId::from_uuid(uuid_v7(1_777_000_000_000, &id_suffix(number, [0; 10])))
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The runs that are due by then: endpoint, due time in seconds, and whether a probe starts.
fn due_runs(table: &mut ScheduleTable, now: Duration) -> Vec<(EndpointId, u64, bool)> {
    std::iter::from_fn(|| table.pop_due(now)).map(|run| (run.id, run.due.as_secs(), run.starts)).collect()
}

#[test]
fn pop_due_late_calls_keep_the_fixed_rate() {
    let mut table = ScheduleTable::default();
    table.add(id(1), s(10), s(3));
    for (at, due) in [(ms(3_900), 3), (ms(13_001), 13), (ms(32_999), 23), (ms(33_000), 33)] {
        assert_eq!(due_runs(&mut table, at), [(id(1), due, true)]);
        table.finish(id(1), at);
        assert_eq!(table.next_due(), Some(s(due + 10)));
    }
}

#[test]
fn pop_due_missed_runs_are_skipped_and_counted() {
    let mut table = ScheduleTable::default();
    table.add(id(1), s(10), s(0));
    let run = table.pop_due(s(35)).unwrap();
    assert_eq!((run.due, run.missed, run.starts), (s(0), 3, true));
    assert_eq!((table.pop_due(s(39)), table.next_due()), (None, Some(s(40))));
}

#[test]
fn pop_due_probe_in_flight_skips_runs() {
    let mut table = ScheduleTable::default();
    table.add(id(1), s(10), s(0));
    assert_eq!(due_runs(&mut table, s(0)), [(id(1), 0, true)]);
    assert_eq!(due_runs(&mut table, s(10)), [(id(1), 10, false)]);
    table.finish(id(1), s(12));
    assert_eq!(due_runs(&mut table, s(19)), []);
    assert_eq!(due_runs(&mut table, s(20)), [(id(1), 20, true)]);
}

#[test]
fn set_interval_counts_from_the_last_run() {
    let mut table = ScheduleTable::default();
    table.add(id(1), s(60), s(0));
    table.pop_due(s(0)).unwrap();
    table.finish(id(1), s(1));
    table.set_interval(id(1), s(3_600), s(30));
    assert_eq!(table.next_due(), Some(s(3_600)));
    table.set_interval(id(1), s(40), s(30));
    assert_eq!(table.next_due(), Some(s(40)));
    table.set_interval(id(1), s(10), s(30));
    assert_eq!(table.next_due(), Some(s(30)), "it is overdue: now");
    // Before the first run there is none to count from.
    table.add(id(2), s(60), s(31));
    table.set_interval(id(2), s(3_600), s(30));
    assert_eq!(due_runs(&mut table, s(31)), [(id(1), 30, true), (id(2), 31, true)]);
}

#[test]
fn remove_and_add_waits_for_the_cancelled_probe() {
    let mut table = ScheduleTable::default();
    table.add(id(1), s(10), s(0));
    table.pop_due(s(0)).unwrap();
    table.remove(id(1));
    assert_eq!((table.next_due(), table.len(), table.in_flight()), (None, 0, 1));
    table.add(id(1), s(10), s(2));
    assert_eq!(table.pop_due(s(5)), None, "the cancelled probe has not finished");
    table.finish(id(1), s(6));
    assert_eq!(due_runs(&mut table, s(6)), [(id(1), 6, true)], "at once, not an interval later");
}

#[test]
fn restart_cancels_the_probe_in_flight() {
    let mut table = ScheduleTable::default();
    table.add(id(1), s(3_600), s(0));
    table.pop_due(s(0)).unwrap();
    table.restart(id(1), s(1));
    assert_eq!(table.pop_due(s(1)), None);
    table.set_interval(id(1), s(10), s(1));
    table.finish(id(1), s(2));
    assert_eq!(due_runs(&mut table, s(2)), [(id(1), 2, true)]);
    table.finish(id(1), s(3));
    table.restart(id(1), s(4));
    assert_eq!(due_runs(&mut table, s(4)), [(id(1), 4, true)]);
}

#[test]
fn set_interval_many_edits_do_not_grow_the_queue() {
    let mut table = ScheduleTable::default();
    table.add(id(1), s(60), s(0));
    (0..100_000).for_each(|edit| table.set_interval(id(1), s(60 + edit % 7), s(0)));
    assert!(table.queue.len() <= STALE_MIN + 3);
    assert_eq!(due_runs(&mut table, s(60)).len(), 1);
}

/// An operation on the endpoint with this number.
#[derive(Debug, Clone)]
enum Step {
    Add(u32, u64),
    Remove(u32),
    Interval(u32, u64),
    Probe(u32),
    End(u32),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (number, interval_s) = (0..6_u32, 1..30_u64);
    prop_oneof![
        1 => (number.clone(), interval_s.clone()).prop_map(|(number, interval)| Step::Add(number, interval)),
        1 => number.clone().prop_map(Step::Remove),
        1 => (number.clone(), interval_s).prop_map(|(number, interval)| Step::Interval(number, interval)),
        1 => number.clone().prop_map(Step::Probe),
        6 => number.prop_map(Step::End),
        6 => (0..20_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// At most one probe per endpoint, none of a removed endpoint, none too early; edits take effect; every endpoint
    /// has a run within its interval.
    #[test]
    fn any_sequence_of_operations_keeps_the_invariants(steps in vec(step(), 1..300)) {
        let mut table = ScheduleTable::default();
        let mut now = Duration::ZERO;
        let mut intervals: HashMap<EndpointId, Duration> = HashMap::new();
        let mut in_flight: HashSet<EndpointId> = HashSet::new();
        for step in steps {
            match step {
                Step::Add(number, interval) if !intervals.contains_key(&id(number)) => {
                    intervals.insert(id(number), s(interval));
                    table.add(id(number), s(interval), now);
                }
                Step::Remove(number) => {
                    intervals.remove(&id(number));
                    table.remove(id(number));
                }
                Step::Interval(number, interval) if intervals.contains_key(&id(number)) => {
                    intervals.insert(id(number), s(interval));
                    table.set_interval(id(number), s(interval), now);
                }
                Step::Probe(number) => table.restart(id(number), now),
                Step::End(number) if in_flight.remove(&id(number)) => table.finish(id(number), now),
                Step::Wait(wait) => now += ms(wait),
                _ => {}
            }
            let mut seen = HashSet::new();
            while let Some(run) = table.pop_due(now) {
                prop_assert!(seen.insert(run.id), "one run at a time");
                prop_assert!(run.due <= now && intervals.contains_key(&run.id));
                prop_assert_eq!(run.starts, !in_flight.contains(&run.id));
                in_flight.insert(run.id);
            }
            prop_assert_eq!((table.len(), table.in_flight()), (intervals.len(), in_flight.len()));
            for (id, interval) in &intervals {
                let entry = &table.entries[id];
                if entry.is_postponed {
                    prop_assert!(in_flight.contains(id), "postponed until the cancelled one finishes");
                } else {
                    prop_assert!(entry.due > now && entry.due <= now + *interval, "{:?} of {:?}", entry.due, interval);
                }
            }
        }
    }

    /// Probes that finish in time are due exactly one interval apart, however late each run is popped.
    #[test]
    fn due_times_do_not_drift(
        interval_ms in 1_000..90_000_u64, first_ms in 0..60_000_u64, lates in vec(0..900_u64, 1..200)
    ) {
        let mut table = ScheduleTable::default();
        table.add(id(1), ms(interval_ms), ms(first_ms));
        for (runs, late) in (0..).zip(lates) {
            let due = ms(first_ms + runs * interval_ms);
            prop_assert_eq!(table.next_due(), Some(due));
            let run = table.pop_due(due + ms(late)).unwrap();
            prop_assert_eq!((run.due, run.missed, run.starts), (due, 0, true));
            table.finish(id(1), due + ms(late));
        }
    }
}
