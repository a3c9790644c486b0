//! Tests of `incident::streak`.

use super::*;
use crate::incident::tests::at;
use CheckStatus::{Degraded, Down, Healthy, Inconclusive};
use proptest::prelude::*;

const USUAL: Thresholds = Thresholds { failure: 3, recovery: 2 };

/// The state that the engine keeps of an endpoint: the streak and the cause of the open incident.
#[derive(Default)]
struct StreakInput {
    streak: Streak,
    open: Option<Cause>,
}

impl StreakInput {
    fn check(&mut self, status: CheckStatus, second: i64, thresholds: Thresholds) -> Option<Transition> {
        let (streak, transition) = after_check(self.streak, self.open, status, at(second), thresholds);
        self.streak = streak;
        match transition {
            Some(Transition::Opened { cause, .. }) => self.open = Some(cause),
            Some(Transition::Worsened) => self.open = Some(Cause::EndpointDown),
            Some(Transition::Resolved) => self.open = None,
            None => {}
        }
        transition
    }

    /// The transitions of a history, each with the index of its check.
    fn run(history: &[CheckStatus], thresholds: Thresholds) -> Vec<(usize, Transition)> {
        let mut input = Self::default();
        let seconds = 0i64..;
        let checks = history.iter().zip(seconds).enumerate();
        checks
            .filter_map(|(index, (&status, second))| Some((index, input.check(status, second, thresholds)?)))
            .collect()
    }
}

fn opened(cause: Cause, since: i64) -> Transition {
    Transition::Opened { cause, failing_since: at(since) }
}

#[test]
fn consecutive_checks_open_and_resolve_at_the_thresholds() {
    let history = [Down, Down, Healthy, Down, Down, Down, Down, Healthy, Down, Healthy, Healthy, Healthy];
    assert_eq!(StreakInput::run(&history, USUAL), [(5, opened(Cause::EndpointDown, 3)), (10, Transition::Resolved)]);
}

#[test]
fn cause_is_the_worst_status_of_the_streak() {
    let run = |history: &[CheckStatus]| StreakInput::run(history, USUAL);
    assert_eq!(run(&[Degraded, Degraded, Degraded]), [(2, opened(Cause::EndpointDegraded, 0))]);
    assert_eq!(run(&[Down, Degraded, Degraded]), [(2, opened(Cause::EndpointDown, 0))]);
    assert_eq!(run(&[Down, Healthy, Degraded, Degraded, Degraded]), [(4, opened(Cause::EndpointDegraded, 2))]);
}

#[test]
fn down_streak_worsens_a_degraded_incident_once() {
    let history =
        [Degraded, Degraded, Degraded, Down, Down, Degraded, Down, Down, Down, Down, Down, Down, Healthy, Healthy];
    assert_eq!(
        StreakInput::run(&history, USUAL),
        [(2, opened(Cause::EndpointDegraded, 0)), (8, Transition::Worsened), (13, Transition::Resolved)]
    );
}

#[test]
fn checks_do_not_worsen_an_external_alert() {
    let mut input = StreakInput { open: Some(Cause::Alert), ..StreakInput::default() };
    assert!((0..9).all(|second| input.check(Down, second, USUAL).is_none()));
}

#[test]
fn edited_thresholds_apply_from_the_next_check() {
    let high = Thresholds { failure: 9, recovery: 9 };
    let mut input = StreakInput::default();
    assert!((0..5).all(|second| input.check(Degraded, second, high).is_none()));
    assert_eq!(input.check(Degraded, 5, USUAL), Some(opened(Cause::EndpointDegraded, 0)));
    assert!((6..11).all(|second| input.check(Healthy, second, high).is_none()));
    assert_eq!(input.check(Healthy, 11, USUAL), Some(Transition::Resolved));
    assert!((12..14).all(|second| input.check(Down, second, USUAL).is_none()));
    assert!(input.check(Down, 14, high).is_none(), "raised just in time");
    let none = Thresholds { failure: 0, recovery: 0 };
    assert_eq!(StreakInput::default().check(Healthy, 0, none), None);
    assert_eq!(
        StreakInput::run(&[Down, Healthy], none),
        [(0, opened(Cause::EndpointDown, 0)), (1, Transition::Resolved)]
    );
}

#[test]
fn manually_resolved_incident_reopens_while_the_streak_continues() {
    let mut input = StreakInput::default();
    assert_eq!((0..3).filter_map(|second| input.check(Down, second, USUAL)).count(), 1);
    input.open = None;
    assert_eq!(input.check(Down, 3, USUAL), Some(opened(Cause::EndpointDown, 0)));
}

#[test]
fn streak_records_its_start_and_has_a_compact_stored_form() {
    let mut input = StreakInput::default();
    input.check(Inconclusive, 0, USUAL);
    assert_eq!(input.streak, Streak::default());
    input.check(Healthy, 1, USUAL);
    input.check(Healthy, 2, USUAL);
    assert_eq!((input.streak.healthy, input.streak.since), (2, Some(at(1))));
    input.check(Degraded, 3, USUAL);
    input.check(Inconclusive, 4, USUAL);
    input.check(Down, 5, USUAL);
    let stored = serde_json::to_string(&input.streak).unwrap();
    assert_eq!(stored, r#"{"failing":2,"down":1,"worst":"down","healthy":0,"since":"2026-05-02T04:00:03.000Z"}"#);
    assert_eq!(serde_json::from_str::<Streak>("{}").unwrap(), Streak::default());
    let full = Streak { failing: u32::MAX, down: u32::MAX, ..input.streak };
    assert_eq!(after_check(full, None, Down, at(6), USUAL).0.failing, u32::MAX);
}

fn history() -> impl Strategy<Value = Vec<CheckStatus>> {
    // Runs of one status, so that thresholds are reached often.
    let row = (0..4usize, 1..5usize).prop_map(|(status, count)| vec![CheckStatus::ALL[status]; count]);
    proptest::collection::vec(row, 0..30).prop_map(|rows| rows.concat())
}

fn thresholds() -> impl Strategy<Value = Thresholds> {
    (1u32..6, 1u32..5).prop_map(|(failure, recovery)| Thresholds { failure, recovery })
}

/// The number of checks at the end of the history that `fit`, without inconclusive ones.
fn streak_length(history: &[CheckStatus], fit: impl Fn(CheckStatus) -> bool) -> u32 {
    history.iter().rev().filter(|status| **status != Inconclusive).take_while(|status| fit(**status)).count() as u32
}

proptest! {
    #[test]
    fn openings_and_resolutions_alternate(history in history(), thresholds in thresholds()) {
        let mut open: Option<Cause> = None;
        for (_, transition) in StreakInput::run(&history, thresholds) {
            open = match transition {
                Transition::Opened { cause, .. } => {
                    prop_assert_eq!(open, None, "never two open");
                    Some(cause)
                }
                Transition::Worsened => {
                    prop_assert_eq!(open, Some(Cause::EndpointDegraded), "once, and only from degraded");
                    Some(Cause::EndpointDown)
                }
                Transition::Resolved => {
                    prop_assert!(open.is_some(), "only an open incident is resolved");
                    None
                }
            };
        }
    }

    /// The oracle recomputes every transition from the whole history.
    #[test]
    fn transition_happens_exactly_at_its_threshold(history in history(), thresholds in thresholds()) {
        let (mut expected, mut open) = (Vec::new(), None);
        for (index, status) in history.iter().enumerate() {
            let so_far = history.get(..=index).unwrap_or_default();
            let failing = streak_length(so_far, CheckStatus::is_failing);
            let (down, healthy) = (streak_length(so_far, |it| it == Down), streak_length(so_far, |it| it == Healthy));
            if *status == Inconclusive {
                continue;
            }
            let conclusive: Vec<_> = so_far.iter().enumerate().filter(|(_, it)| **it != Inconclusive).collect();
            let of_streak = &conclusive[conclusive.len() - failing as usize..];
            if open.is_none() && failing >= thresholds.failure {
                let is_down = of_streak.iter().any(|(_, it)| **it == Down);
                let cause = if is_down { Cause::EndpointDown } else { Cause::EndpointDegraded };
                expected.push((index, opened(cause, of_streak[0].0 as i64)));
                open = Some(cause);
            } else if open == Some(Cause::EndpointDegraded) && down >= thresholds.failure {
                expected.push((index, Transition::Worsened));
                open = Some(Cause::EndpointDown);
            } else if open.is_some() && healthy >= thresholds.recovery {
                expected.push((index, Transition::Resolved));
                open = None;
            }
        }
        prop_assert_eq!(StreakInput::run(&history, thresholds), expected);
    }

    #[test]
    fn inconclusive_checks_change_nothing(history in history(), thresholds in thresholds()) {
        let (mut with, mut without) = (StreakInput::default(), StreakInput::default());
        for (&status, second) in history.iter().zip(0..) {
            let transition = with.check(status, second, thresholds);
            if status == Inconclusive {
                prop_assert_eq!(transition, None);
            } else {
                prop_assert_eq!(transition, without.check(status, second, thresholds));
            }
            prop_assert_eq!(with.streak, without.streak);
        }
    }

    #[test]
    fn restart_at_any_check_changes_nothing(history in history(), thresholds in thresholds()) {
        let (mut kept, mut restarted) = (StreakInput::default(), StreakInput::default());
        for (&status, second) in history.iter().zip(0..) {
            let stored = serde_json::to_string(&restarted.streak).unwrap();
            restarted.streak = serde_json::from_str(&stored).unwrap();
            prop_assert_eq!(restarted.check(status, second, thresholds), kept.check(status, second, thresholds));
            prop_assert_eq!(restarted.streak, kept.streak);
        }
    }

    #[test]
    fn thresholds_may_change_at_any_check(checks in proptest::collection::vec((0..4usize, thresholds()), 0..80)) {
        let (mut input, mut history) = (StreakInput::default(), Vec::new());
        for ((status, thresholds), second) in checks.into_iter().zip(0..) {
            let (status, before) = (CheckStatus::ALL[status], input.open);
            history.push(status);
            match input.check(status, second, thresholds) {
                Some(Transition::Opened { .. }) => {
                    prop_assert!(before.is_none() && streak_length(&history, CheckStatus::is_failing) >= thresholds.failure);
                }
                Some(Transition::Worsened) => {
                    prop_assert_eq!(before, Some(Cause::EndpointDegraded));
                    prop_assert!(streak_length(&history, |it| it == Down) >= thresholds.failure);
                }
                Some(Transition::Resolved) => {
                    prop_assert!(before.is_some() && streak_length(&history, |it| it == Healthy) >= thresholds.recovery);
                }
                None => {}
            }
        }
    }
}
