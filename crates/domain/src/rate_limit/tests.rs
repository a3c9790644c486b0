//! Tests of `rate_limit`.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const HOUR_MS: i64 = 3_600_000;

fn limit(max_per_minute: u32) -> RateLimit {
    RateLimit { max_per_minute, action: RateAction::Digest }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_777_000_000_000 + ms)
}

#[test]
fn api_json_round_trips() {
    let json = r#"{"maxPerMinute":30,"action":"digest"}"#;
    let read: RateLimit = serde_json::from_str(json).unwrap();
    assert_eq!(read, limit(30));
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    assert_eq!(serde_json::from_str::<RateLimit>(r#"{"maxPerMinute":30}"#).unwrap(), read, "digest is the default");
    assert!(serde_json::from_str::<RateLimit>(r#"{"maxPerMinute":30,"per":"hour"}"#).is_err());
    for action in RateAction::ALL {
        assert_eq!(RateAction::parse(action.as_str()), Some(action));
    }
}

#[test]
fn limit_outside_its_bounds_is_reported() {
    for (max, is_valid) in [(0, false), (1, true), (PER_MINUTE_MAX, true), (PER_MINUTE_MAX + 1, false)] {
        let violations = limit(max).violations();
        assert_eq!(violations.is_empty(), is_valid, "{max}");
        assert!(violations.iter().all(|violation| violation.pointer == "/maxPerMinute"));
    }
}

#[test]
fn capacity_returns_when_the_oldest_admission_expires() {
    let mut window = RateWindow::default();
    assert_eq!(window.admit(&limit(2), at(0)), Ok(()));
    assert_eq!(window.admit(&limit(2), at(10)), Ok(()));
    assert_eq!(window.admit(&limit(2), at(59_999)), Err(at(60_000)));
    assert_eq!(window.admit(&limit(2), at(60_000)), Ok(()));
    assert_eq!(window.admit(&limit(2), at(60_000)), Err(at(60_010)));
    assert_eq!(window.admit(&limit(1), at(60_009)), Err(at(120_000)), "lowered: both have to expire");
    assert_eq!(window.admit(&limit(3), at(60_009)), Ok(()), "raised");
}

#[test]
fn limit_out_of_bounds_is_clamped() {
    let admitted = |max| {
        let mut window = RateWindow::default();
        (0..2 * PER_MINUTE_MAX).filter(|_| window.admit(&limit(max), at(0)).is_ok()).count()
    };
    assert_eq!((admitted(0), admitted(u32::MAX)), (1, PER_MINUTE_MAX as usize));
}

#[test]
fn clock_set_back_neither_resets_nor_extends_the_window() {
    let mut window = RateWindow::default();
    assert_eq!(window.admit(&limit(1), at(HOUR_MS)), Ok(()));
    assert_eq!(window.admit(&limit(1), at(0)), Err(at(60_000)), "counts from now");
    assert_eq!(window.admit(&limit(1), at(60_000)), Ok(()), "for a minute only");
}

#[test]
fn description_gives_release_time_and_limit() {
    let zurich = Zone::from_name("Europe/Zurich").unwrap();
    let now = Timestamp::parse("2026-05-02T12:03:00Z").unwrap();
    assert_eq!(
        limit(30).describe("#data-alerts", now.plus_ms(20_001), now, &zurich),
        "Held until 14:03:21 Europe/Zurich: #data-alerts takes at most 30 messages a minute"
    );
    let most = RateLimit { max_per_minute: PER_MINUTE_MAX, action: RateAction::Drop };
    assert_eq!(most.describe("ops", now, now, &Zone::UTC), "Dropped: ops takes at most 1,000 messages a minute");
    let one = RateLimit { max_per_minute: 1, action: RateAction::Drop };
    assert_eq!(one.describe("ops", now, now, &Zone::UTC), "Dropped: ops takes at most 1 message a minute");
}

/// Milliseconds between two calls: mostly few, so that limits are reached.
fn pauses() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..2_000i64, 2 => 0..40_000i64, 1 => Just(60_000i64), 1 => 0..3 * HOUR_MS]
}

/// How far the clock is set back before a call: mostly 0.
fn jumps_back() -> impl Strategy<Value = i64> {
    prop_oneof![12 => Just(0i64), 1 => 0..100i64, 1 => 0..90_000i64, 1 => Just(HOUR_MS)]
}

/// Whether no half-open window of 60 seconds contains more than `max` of the sorted instants.
fn is_within(max: u32, admitted: &[i64]) -> bool {
    admitted.windows(max as usize + 1).all(|run| run[max as usize] - run[0] >= WINDOW_MS as i64)
}

proptest! {
    #[test]
    fn admissions_never_exceed_the_limit_in_any_minute(max in 1u32..6, pauses in vec(pauses(), 1..200)) {
        let (mut window, mut now, mut admitted) = (RateWindow::default(), 0, Vec::new());
        for pause in pauses {
            now += pause;
            let preview = window.next_slot_at(&limit(max), at(now));
            match window.admit(&limit(max), at(now)) {
                Ok(()) => {
                    prop_assert_eq!(preview, None);
                    admitted.push(now);
                }
                Err(next_slot_at) => {
                    prop_assert_eq!(preview, Some(next_slot_at));
                    prop_assert!(at(now) < next_slot_at && next_slot_at <= at(now + 60_000));
                    let before = next_slot_at.minus_ms(1);
                    prop_assert_eq!(window.clone().admit(&limit(max), before), Err(next_slot_at), "not earlier");
                    prop_assert_eq!(window.clone().admit(&limit(max), next_slot_at), Ok(()), "but then");
                    let in_window = admitted.iter().filter(|at| now - **at < 60_000).count();
                    prop_assert_eq!(in_window, max as usize, "refused only if the window is full");
                }
            }
            prop_assert!(window.0.len() <= max as usize);
        }
        prop_assert!(is_within(max, &admitted));
    }

    /// Elapsed time and clock time differ here.
    #[test]
    fn admissions_never_exceed_the_limit_if_the_clock_is_set_back(
        max in 1u32..6, calls in vec((pauses(), jumps_back()), 1..200)
    ) {
        let (mut window, mut elapsed, mut clock, mut admitted) = (RateWindow::default(), 0, 0, Vec::new());
        for (pause, jump) in calls {
            elapsed += pause;
            clock += pause - jump;
            match window.admit(&limit(max), at(clock)) {
                Ok(()) => admitted.push(elapsed),
                Err(next_slot_at) => prop_assert!(at(clock) < next_slot_at && next_slot_at <= at(clock + 60_000), "not stuck"),
            }
            prop_assert!(window.0.len() <= max as usize);
        }
        prop_assert!(is_within(max, &admitted));
    }

    #[test]
    fn window_recovers_from_any_clock_jump(max in 1u32..6, jumps in vec(-3 * HOUR_MS..3 * HOUR_MS, 1..40)) {
        let (mut window, mut clock) = (RateWindow::default(), 0);
        for jump in jumps {
            clock += jump;
            let admitted = (0..=max).take_while(|_| window.admit(&limit(max), at(clock)).is_ok()).count();
            prop_assert!(admitted <= max as usize);
            prop_assert!(jump < 60_000 || admitted == max as usize, "forward: the window is empty");
            prop_assert_eq!(window.next_slot_at(&limit(max), at(clock + 60_000)), None);
        }
    }

    #[test]
    fn window_round_trips_through_json(max in 1u32..6, calls in vec((pauses(), jumps_back()), 0..40)) {
        let (mut window, mut clock) = (RateWindow::default(), 0);
        for (pause, jump) in calls {
            clock += pause - jump;
            let _ = window.admit(&limit(max), at(clock));
        }
        let stored = serde_json::to_string(&window).unwrap();
        prop_assert_eq!(serde_json::from_str::<RateWindow>(&stored).unwrap(), window.clone());
        let mut backwards: Vec<i64> = window.clone().into();
        backwards.reverse();
        prop_assert_eq!(RateWindow::from(backwards), window.clone());
        window.advance_to(at(clock + 60_000));
        prop_assert!(window.is_empty());
    }
}
