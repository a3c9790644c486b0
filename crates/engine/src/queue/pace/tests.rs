//! Tests of pauses, of the delivery that goes first, and of the window that follows.

use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_000_000 + ms)
}

/// The answer to an attempt that started `ms` after the origin.
fn answer(started_ms: i64, is_delivered: bool, rate: Option<RateSignal>) -> Answer {
    Answer { rate, is_delivered, started_at: at(started_ms) }
}

fn refused(started_ms: i64, after_ms: Option<u64>) -> Answer {
    answer(started_ms, false, Some(RateSignal::Refused { after_ms }))
}

fn taken(started_ms: i64) -> Answer {
    answer(started_ms, true, None)
}

#[test]
fn pause_lasts_as_long_as_requested_at_most_an_hour() {
    for (after_ms, until) in [(2_000, 2_010), (90_000_000, 3_600_010)] {
        let mut pace = Pace::known();
        assert!(pace.record_answer(refused(0, Some(after_ms)), 0, at(10)));
        assert_eq!(pace.paused_until(at(10)), Some(at(until)));
        assert_eq!(pace.concurrency(0, at(until - 1)), 0);
        assert_eq!((pace.paused_until(at(until)), pace.concurrency(0, at(until))), (None, 1), "one goes first");
    }
}

#[test]
fn pause_without_request_doubles_while_refusals_go_on() {
    let mut pace = Pace::known();
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..9 {
        pace.record_answer(refused(now, None), 0, at(now));
        let until = pace.paused_until(at(now)).unwrap();
        pauses.push(until.since_ms(at(now)));
        now += pauses.last().copied().unwrap() as i64;
    }
    assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    pace.record_answer(taken(now), 0, at(now));
    pace.record_answer(refused(now, None), 0, at(now));
    assert_eq!(pace.paused_until(at(now)), Some(at(now + 1_000)), "the receiver had taken one");
}

#[test]
fn refusals_of_one_burst_count_once() {
    let mut pace = Pace::known();
    assert!(pace.record_answer(refused(0, None), 9, at(5)));
    for others in (0..9).rev() {
        assert!(!pace.record_answer(refused(1, None), others, at(6)));
    }
    assert_eq!(pace.paused_until(at(6)), Some(at(1_005)));
    pace.record_answer(refused(2, Some(7_000)), 0, at(8));
    assert_eq!(pace.paused_until(at(8)), Some(at(7_008)), "the longest request counts");
}

#[test]
fn probe_is_followed_by_others_only_if_taken() {
    let mut pace = Pace::known();
    pace.record_answer(refused(0, Some(1_000)), 31, at(0));
    assert_eq!(pace.concurrency(0, at(1_000)), 1);
    pace.record_answer(answer(1_000, false, None), 0, at(1_100));
    assert_eq!(pace.concurrency(0, at(1_100)), 1, "a failure does not show that the receiver takes more");
    let mut taken_count = 0;
    let mut seen = Vec::new();
    while pace.concurrency(0, at(1_200)) < 18 {
        seen.push(pace.concurrency(0, at(1_200)));
        pace.record_answer(taken(1_150), 0, at(1_200));
        taken_count += 1;
    }
    assert!(seen.is_sorted() && taken_count > 20, "it grows fast to half of what was refused, then slowly: {seen:?}");
}

#[test]
fn unknown_receiver_gets_one_first_until_it_answers() {
    let mut pace = Pace::unknown();
    assert_eq!(pace.concurrency(0, at(0)), 1);
    assert!(!pace.is_over(64, at(0)));
    pace.record_answer(answer(0, false, None), 0, at(9));
    assert_eq!(pace.concurrency(0, at(9)), usize::MAX);
    assert!(pace.is_over(64, at(9)));
}

#[test]
fn allowance_counts_those_in_progress_and_resets() {
    let mut pace = Pace::known();
    let allowance = |remaining| Some(RateSignal::Allowance { remaining, reset_after_ms: 2_000 });
    // Four were started at once; the first answer says that four more are taken, but three are on their way.
    pace.record_answer(answer(0, true, allowance(4)), 3, at(100));
    assert_eq!(pace.concurrency(3, at(100)), 4, "one more");
    pace.record_start(at(100));
    assert_eq!(pace.concurrency(4, at(100)), 0);
    assert_eq!(pace.paused_until(at(100)), Some(at(2_100)));
    assert!(!pace.record_answer(answer(0, true, allowance(3)), 3, at(110)), "a known pause");
    assert_eq!(pace.paused_until(at(110)), Some(at(2_110)));
    assert_eq!(pace.concurrency(0, at(2_110)), 1, "one goes first");
    pace.record_start(at(2_110));
    pace.record_answer(answer(2_110, true, allowance(4)), 0, at(2_200));
    assert_eq!(pace.concurrency(0, at(2_200)), 4, "the rest of the window follows");
}

#[test]
fn exhausted_allowance_begins_a_pause() {
    let mut pace = Pace::known();
    let exhausted = Some(RateSignal::Allowance { remaining: 0, reset_after_ms: 1_500 });
    assert!(pace.record_answer(answer(0, true, exhausted), 0, at(100)));
    assert_eq!(pace.paused_until(at(100)), Some(at(1_600)));
}

#[test]
fn wait_is_exceeded_after_a_day_of_pauses() {
    let mut pace = Pace::known();
    let day = PAUSE_WAIT_MS_MAX as i64;
    pace.record_answer(refused(0, Some(1_000)), 0, at(0));
    assert!(!pace.is_wait_exceeded(at(-2 * day), at(day - 1)), "only the wait since the first pause counts");
    assert!(pace.is_wait_exceeded(at(-2 * day), at(day)));
    assert!(!pace.is_wait_exceeded(at(5), at(day)), "it became due later");
    pace.record_caught_up(at(500));
    assert!(pace.is_wait_exceeded(at(0), at(day)), "still paused");
    pace.record_caught_up(at(1_000));
    assert!(!pace.is_wait_exceeded(at(0), at(day)));
}

#[test]
fn clock_set_back_ends_a_pause() {
    let mut pace = Pace::known();
    pace.record_answer(refused(0, Some(60_000)), 0, at(0));
    assert_eq!(pace.paused_until(at(-86_400_000)), None);
}
