//! Tests of `incident::flapping`.

use super::*;
use crate::incident::tests::at;
use proptest::prelude::*;

const LIMIT: FlapLimit = FlapLimit { changes_max: 3, window_seconds: 100 };

fn changed(changes: &mut FlapHistory, second: i64) -> Option<FlapTransition> {
    let (next, flap) = changes.after_change(at(second), LIMIT);
    *changes = next;
    flap
}

fn passed(changes: &mut FlapHistory, second: i64) -> Option<FlapTransition> {
    let (next, flap) = changes.at(at(second), LIMIT);
    *changes = next;
    flap
}

#[test]
fn flapping_and_stable_are_each_reported_once() {
    let mut changes = FlapHistory::default();
    assert_eq!([0, 20, 40].map(|second| changed(&mut changes, second)), [None; 3]);
    assert_eq!(changed(&mut changes, 99), Some(FlapTransition::Flapping { changes: 4 }));
    assert_eq!(changed(&mut changes, 110), None, "once");
    assert_eq!(changes.stable_at(LIMIT), Some(at(210)));
    assert_eq!(passed(&mut changes, 209), None);
    assert_eq!(passed(&mut changes, 210), Some(FlapTransition::Stable));
    assert_eq!((passed(&mut changes, 211), changes.stable_at(LIMIT)), (None, None), "once");
    assert_eq!([300, 301, 302].map(|second| changed(&mut changes, second)), [None; 3]);
    assert!(changed(&mut changes, 303).is_some(), "and again");
}

#[test]
fn spaced_changes_are_not_flapping() {
    let mut changes = FlapHistory::default();
    assert!((0..50).all(|number| changed(&mut changes, number * 34).is_none()));
    assert!(changes.recent.len() <= 3);
}

#[test]
fn change_before_stable_was_reported_keeps_flapping() {
    let mut changes = FlapHistory::default();
    assert_eq!((0..4).filter_map(|second| changed(&mut changes, second)).count(), 1);
    assert_eq!(changed(&mut changes, 5_000), None);
    assert_eq!(changes.stable_at(LIMIT), Some(at(5_100)));
    assert_eq!(passed(&mut changes, 5_100), Some(FlapTransition::Stable));
}

#[test]
fn extreme_limits_and_clock_jumps_are_bounded() {
    let (changes, flap) = FlapHistory::default().after_change(at(0), FlapLimit { changes_max: 0, window_seconds: 9 });
    assert_eq!(flap, None, "one change is never flapping");
    let (changes, flap) = changes.after_change(at(-50), FlapLimit { changes_max: 0, window_seconds: 9 });
    assert_eq!(
        (flap, changes.recent.as_slice()),
        (Some(FlapTransition::Flapping { changes: 2 }), &[at(-50), at(-50)][..])
    );
    let huge = FlapLimit { changes_max: u32::MAX, window_seconds: u32::MAX };
    let mut changes = FlapHistory::default();
    for second in 0..300 {
        changes = changes.after_change(at(second), huge).0;
    }
    assert_eq!(changes.recent.len(), CHANGES_LIMIT_MAX as usize + 1);
    assert_eq!(FlapTransition::Stable.trigger(), IncidentTrigger::Stable);
    assert_eq!(serde_json::from_str::<FlapHistory>("{}").unwrap(), FlapHistory::default());
}

#[test]
fn clock_set_back_does_not_keep_endpoint_flapping() {
    let mut changes = FlapHistory::default();
    assert!([900_000, 900_001, 0].iter().all(|second| changed(&mut changes, *second).is_none()));
    assert!(changed(&mut changes, 1).is_some(), "they count once more, for a window");
    assert_eq!(changes.stable_at(LIMIT), Some(at(101)));
    assert_eq!(passed(&mut changes, 101), Some(FlapTransition::Stable));
    assert!([102, 300, 500].iter().all(|second| changed(&mut changes, *second).is_none()));
}

proptest! {
    #[test]
    fn transitions_alternate_and_match_the_change_count(
        steps in proptest::collection::vec((0i64..130, any::<bool>()), 0..80), changes_max in 1u32..6
    ) {
        let limit = FlapLimit { changes_max, ..LIMIT };
        let (mut state, mut now, mut all) = (FlapHistory::default(), 0, Vec::new());
        let (mut is_flapping, mut last_flapping) = (false, None);
        for (pause, is_change) in steps {
            now += pause;
            // A restart anywhere changes nothing.
            state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            let instant = at(now);
            let (next, flap) =
                if is_change { state.after_change(instant, limit) } else { state.at(instant, limit) };
            if is_change {
                all.push(now);
            }
            let within = all.iter().filter(|second| now - **second < 100).count();
            match flap {
                Some(FlapTransition::Flapping { changes }) => {
                    prop_assert!(is_change && !is_flapping);
                    prop_assert_eq!(changes, changes_max + 1);
                    // Changes alternate: opening, resolution, opening, …; two of them are one incident.
                    let incident = (all.len() - 1) / 2;
                    prop_assert!(last_flapping.is_none_or(|last| incident > last), "never twice for one incident");
                    last_flapping = Some(incident);
                    is_flapping = true;
                }
                Some(FlapTransition::Stable) => {
                    prop_assert!(!is_change && is_flapping && within == 0);
                    is_flapping = false;
                }
                None => {
                    let is_within_limit = within <= changes_max as usize;
                    prop_assert!(is_flapping || !is_change || is_within_limit, "no transition is missed");
                    prop_assert!(is_change || !is_flapping || within > 0);
                }
            }
            prop_assert_eq!(next.is_flapping, is_flapping);
            prop_assert!(next.recent.len() <= changes_max as usize + 1);
            state = next;
        }
    }
}
