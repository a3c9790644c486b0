//! The timetable: single cases, and what holds whatever happens.

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

/// The turns that are due by then, as seconds at which they were due.
fn taken(table: &mut Timetable, now: Duration) -> Vec<(EndpointId, u64, bool)> {
    std::iter::from_fn(|| table.take(now)).map(|turn| (turn.id, turn.due.as_secs(), turn.starts)).collect()
}

#[test]
fn turns_come_at_a_fixed_rate_however_late_they_are_taken() {
    let mut table = Timetable::default();
    table.add(id(1), s(10), s(3));
    for (at, due) in [(ms(3_900), 3), (ms(13_001), 13), (ms(32_999), 23), (ms(33_000), 33)] {
        assert_eq!(taken(&mut table, at), [(id(1), due, true)]);
        table.ended(id(1), at);
        assert_eq!(table.next_due(), Some(s(due + 10)));
    }
}

#[test]
fn turns_that_were_missed_are_skipped_and_counted() {
    let mut table = Timetable::default();
    table.add(id(1), s(10), s(0));
    let turn = table.take(s(35)).unwrap();
    assert_eq!((turn.due, turn.missed, turn.starts), (s(0), 3, true));
    assert_eq!((table.take(s(39)), table.next_due()), (None, Some(s(40))));
}

#[test]
fn while_a_probe_is_under_way_the_endpoints_turns_are_skipped() {
    let mut table = Timetable::default();
    table.add(id(1), s(10), s(0));
    assert_eq!(taken(&mut table, s(0)), [(id(1), 0, true)]);
    assert_eq!(taken(&mut table, s(10)), [(id(1), 10, false)]);
    table.ended(id(1), s(12));
    assert_eq!(taken(&mut table, s(19)), []);
    assert_eq!(taken(&mut table, s(20)), [(id(1), 20, true)]);
}

#[test]
fn another_interval_counts_from_the_last_turn() {
    let mut table = Timetable::default();
    table.add(id(1), s(60), s(0));
    table.take(s(0)).unwrap();
    table.ended(id(1), s(1));
    table.set_interval(id(1), s(3_600), s(30));
    assert_eq!(table.next_due(), Some(s(3_600)));
    table.set_interval(id(1), s(40), s(30));
    assert_eq!(table.next_due(), Some(s(40)));
    table.set_interval(id(1), s(10), s(30));
    assert_eq!(table.next_due(), Some(s(30)), "it lies behind: now");
    // Before the first turn there is none to count from.
    table.add(id(2), s(60), s(31));
    table.set_interval(id(2), s(3_600), s(30));
    assert_eq!(taken(&mut table, s(31)), [(id(1), 30, true), (id(2), 31, true)]);
}

#[test]
fn who_is_struck_out_has_no_more_turns_and_who_comes_back_waits_for_the_end_of_the_old_probe() {
    let mut table = Timetable::default();
    table.add(id(1), s(10), s(0));
    table.take(s(0)).unwrap();
    table.remove(id(1));
    assert_eq!((table.next_due(), table.len(), table.under_way()), (None, 0, 1));
    table.add(id(1), s(10), s(2));
    assert_eq!(table.take(s(5)), None, "the old probe was given up and has not ended");
    table.ended(id(1), s(6));
    assert_eq!(taken(&mut table, s(6)), [(id(1), 6, true)], "at once, not an interval later");
}

#[test]
fn what_is_probed_anew_gives_the_old_probe_up() {
    let mut table = Timetable::default();
    table.add(id(1), s(3_600), s(0));
    table.take(s(0)).unwrap();
    table.turn_to(id(1), s(1));
    assert_eq!(table.take(s(1)), None);
    table.set_interval(id(1), s(10), s(1));
    table.ended(id(1), s(2));
    assert_eq!(taken(&mut table, s(2)), [(id(1), 2, true)]);
    table.ended(id(1), s(3));
    table.turn_to(id(1), s(4));
    assert_eq!(taken(&mut table, s(4)), [(id(1), 4, true)]);
}

#[test]
fn edits_do_not_make_the_queue_grow() {
    let mut table = Timetable::default();
    table.add(id(1), s(60), s(0));
    (0..100_000).for_each(|edit| table.set_interval(id(1), s(60 + edit % 7), s(0)));
    assert!(table.queue.len() <= STALE_MIN + 3);
    assert_eq!(taken(&mut table, s(60)).len(), 1);
}

/// What may happen to the endpoint with this number.
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
    let (who, interval_s) = (0..6_u32, 1..30_u64);
    prop_oneof![
        1 => (who.clone(), interval_s.clone()).prop_map(|(who, interval)| Step::Add(who, interval)),
        1 => who.clone().prop_map(Step::Remove),
        1 => (who.clone(), interval_s).prop_map(|(who, interval)| Step::Interval(who, interval)),
        1 => who.clone().prop_map(Step::Probe),
        6 => who.prop_map(Step::End),
        6 => (0..20_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Never two probes of one endpoint, never one of an endpoint that is not there, never too early; an edit takes
    /// effect; and whoever is there has a turn within its interval.
    #[test]
    fn whatever_happens_probes_keep_apart_and_turns_keep_coming(steps in vec(step(), 1..300)) {
        let mut table = Timetable::default();
        let mut now = Duration::ZERO;
        let mut intervals: HashMap<EndpointId, Duration> = HashMap::new();
        let mut under_way: HashSet<EndpointId> = HashSet::new();
        for step in steps {
            match step {
                Step::Add(who, interval) if !intervals.contains_key(&id(who)) => {
                    intervals.insert(id(who), s(interval));
                    table.add(id(who), s(interval), now);
                }
                Step::Remove(who) => {
                    intervals.remove(&id(who));
                    table.remove(id(who));
                }
                Step::Interval(who, interval) if intervals.contains_key(&id(who)) => {
                    intervals.insert(id(who), s(interval));
                    table.set_interval(id(who), s(interval), now);
                }
                Step::Probe(who) => table.turn_to(id(who), now),
                Step::End(who) if under_way.remove(&id(who)) => table.ended(id(who), now),
                Step::Wait(wait) => now += ms(wait),
                _ => {}
            }
            let mut seen = HashSet::new();
            while let Some(turn) = table.take(now) {
                prop_assert!(seen.insert(turn.id), "one turn at a time");
                prop_assert!(turn.due <= now && intervals.contains_key(&turn.id));
                prop_assert_eq!(turn.starts, !under_way.contains(&turn.id));
                under_way.insert(turn.id);
            }
            prop_assert_eq!((table.len(), table.under_way()), (intervals.len(), under_way.len()));
            for (id, interval) in &intervals {
                let row = &table.rows[id];
                if row.is_owed {
                    prop_assert!(under_way.contains(id), "owed until the old one ends");
                } else {
                    prop_assert!(row.due > now && row.due <= now + *interval, "{:?} of {:?}", row.due, interval);
                }
            }
        }
    }

    /// Probes that end in time are made exactly one interval apart, for as long as one likes, whatever the time between
    /// a turn and its taking.
    #[test]
    fn there_is_no_drift(interval_ms in 1_000..90_000_u64, first_ms in 0..60_000_u64, lates in vec(0..900_u64, 1..200)) {
        let mut table = Timetable::default();
        table.add(id(1), ms(interval_ms), ms(first_ms));
        for (turns, late) in (0..).zip(lates) {
            let due = ms(first_ms + turns * interval_ms);
            prop_assert_eq!(table.next_due(), Some(due));
            let turn = table.take(due + ms(late)).unwrap();
            prop_assert_eq!((turn.due, turn.missed, turn.starts), (due, 0, true));
            table.ended(id(1), due + ms(late));
        }
    }
}
