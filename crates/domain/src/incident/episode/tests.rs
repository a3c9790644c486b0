//! Late, repeated, redundant and lost reports of alerts.

use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_777_694_400_000);

/// The instant this many seconds after the first start.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOW.unix_ms() - 3_600_000 + seconds * 1_000)
}

fn firing_at(seconds: i64) -> Report {
    Report::Firing { since: Some(at(seconds)) }
}

fn resolved_at(seconds: i64) -> Report {
    Report::Resolved { at: Some(at(seconds)) }
}

/// Applies a step as the engine does.
fn apply(known: &mut Known, report: Report, now: Timestamp) -> Step {
    let step = step(*known, report, now);
    let note = |known: &mut Known, end: Timestamp| known.last_end = known.last_end.max(Some(end));
    match step {
        Step::Unchanged => {}
        Step::Open { since } | Step::Antedate { since } => known.active_since = Some(since),
        Step::Resolve { end } => {
            known.active_since = None;
            note(known, end);
        }
        Step::Replace { end, since } => {
            known.active_since = Some(since);
            note(known, end);
        }
        Step::NoteEnd { end } => note(known, end),
    }
    step
}

/// The steps of these reports, one after the other.
fn steps(reports: &[Report]) -> Vec<Step> {
    let mut known = Known::default();
    reports.iter().map(|report| apply(&mut known, *report, NOW)).collect()
}

const fn opened(seconds: Timestamp) -> Step {
    Step::Open { since: seconds }
}

#[test]
fn late_firing_of_an_ended_episode_changes_nothing() {
    let reports = [firing_at(0), resolved_at(60), firing_at(0), resolved_at(60), firing_at(61)];
    let end = Step::Resolve { end: at(60) };
    assert_eq!(steps(&reports), [opened(at(0)), end, Step::Unchanged, Step::Unchanged, opened(at(61))]);
    assert_eq!(steps(&[firing_at(0), resolved_at(60), firing_at(60)])[2], Step::Unchanged, "not after the end");
}

#[test]
fn late_resolution_of_an_earlier_episode_ends_no_later_one() {
    let reports = [firing_at(0), resolved_at(60), firing_at(900), resolved_at(60), resolved_at(899), resolved_at(900)];
    assert_eq!(steps(&reports)[3..], [Step::Unchanged, Step::Unchanged, Step::Resolve { end: at(900) }]);
}

#[test]
fn firing_that_begins_later_replaces_an_episode_whose_end_was_lost() {
    let replaced = Step::Replace { end: at(300), since: at(900) };
    let reports = [firing_at(0), firing_at(900), firing_at(0), firing_at(280), firing_at(890), firing_at(900)];
    let unchanged = Step::Unchanged;
    let antedated = Step::Antedate { since: at(890) };
    assert_eq!(steps(&reports), [opened(at(0)), replaced, unchanged, unchanged, antedated, unchanged]);
}

#[test]
fn redundant_servers_report_one_episode_in_either_order() {
    assert_eq!(steps(&[firing_at(0), firing_at(20), firing_at(300)])[1..], [Step::Unchanged, Step::Unchanged]);
    assert_eq!(steps(&[firing_at(20), firing_at(0)])[1], Step::Antedate { since: at(0) });
    for (one, other) in [(0, 20), (20, 0)] {
        // Both report it, one says that it is over, and the other lags.
        let reports =
            [firing_at(one), firing_at(other), resolved_at(600), firing_at(other), resolved_at(610), firing_at(one)];
        let seen = steps(&reports);
        assert_eq!(seen[2..4], [Step::Resolve { end: at(600) }, Step::Unchanged]);
        assert_eq!(seen[4..], [Step::NoteEnd { end: at(610) }, Step::Unchanged]);
    }
}

#[test]
fn reports_without_instants_concern_the_present() {
    let (firing, resolved) = (Report::Firing { since: None }, Report::Resolved { at: None });
    let end = Step::Resolve { end: NOW };
    assert_eq!(steps(&[firing, firing, resolved, resolved]), [opened(NOW), Step::Unchanged, end, Step::Unchanged]);
    assert_eq!(steps(&[resolved, firing_at(0)])[1], opened(at(0)), "an unknown end silences nothing");
    assert_eq!(steps(&[resolved_at(60), firing])[1], opened(NOW));
    assert_eq!(steps(&[firing_at(0), firing])[1], Step::Unchanged, "the active episode");
    assert_eq!(
        steps(&[firing_at(7_200), resolved])[1],
        Step::Resolve { end: at(7_200) },
        "the source's clock is ahead"
    );
}

#[test]
fn resolution_that_overtakes_its_firing_is_remembered() {
    assert_eq!(steps(&[resolved_at(60), firing_at(0), firing_at(61)])[1..], [Step::Unchanged, opened(at(61))]);
}

#[test]
fn end_in_the_far_future_does_not_silence_the_alert() {
    let far = Report::Resolved { at: Some(NOW.plus_ms(2 * AHEAD_MAX_MS)) };
    let later = Report::Firing { since: Some(NOW.plus_ms(1)) };
    assert_eq!(steps(&[firing_at(0), far, later])[1..], [Step::Resolve { end: NOW }, opened(NOW.plus_ms(1))]);
}

proptest! {
    /// Of any reports, in any order and repeated: what was over is never reported as new, and the same report twice
    /// changes nothing the second time.
    #[test]
    fn any_order_of_reports_opens_each_episode_once(reports in proptest::collection::vec((any::<bool>(), 0i64..4_000), 1..40)) {
        let mut known = Known::default();
        for (is_firing, seconds) in reports {
            let report = if is_firing { firing_at(seconds) } else { resolved_at(seconds) };
            let before = known;
            let step = apply(&mut known, report, NOW);
            if let Step::Open { since } | Step::Antedate { since } | Step::Replace { since, .. } = step {
                prop_assert!(before.last_end.is_none_or(|end| end < since), "{step:?} after {before:?}");
            }
            prop_assert!(known.last_end >= before.last_end);
            prop_assert_eq!(apply(&mut known, report, NOW), Step::Unchanged, "repeated {:?}", report);
            if let Some(since) = known.active_since {
                prop_assert!(known.last_end.is_none_or(|end| end < since), "{known:?}");
            }
        }
    }
}

#[test]
fn start_far_in_the_future_counts_as_none() {
    let far = NOW.plus_ms(AHEAD_MAX_MS + 1);
    let mut known = Known::default();
    let mut apply = |report| apply(&mut known, report, NOW);
    assert_eq!(apply(Report::Firing { since: Some(far) }), opened(NOW));
    assert_eq!(apply(Report::Firing { since: Some(far) }), Step::Unchanged);
    assert_eq!(apply(Report::Resolved { at: Some(NOW) }), Step::Resolve { end: NOW }, "it ends");
    assert_eq!(apply(Report::Firing { since: Some(NOW.plus_ms(1)) }), opened(NOW.plus_ms(1)), "and is not silenced");
}
