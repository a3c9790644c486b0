//! The streak machine: which check opens an incident, makes it worse or resolves it.
//!
//! `failure_threshold` failing checks in a row open one, its cause being the worst of them; as many that are `down` in
//! a row make an incident worse that was opened for less; `recovery_threshold` healthy ones resolve it. Inconclusive
//! checks neither count nor interrupt. Whether an incident is open is not kept here but taken from the incidents:
//! there is one truth about it.

use serde::{Deserialize, Serialize};

use super::{Cause, IncidentTrigger};
use crate::check::CheckStatus;
use crate::endpoint::Definition;
use crate::time::Timestamp;

/// What is remembered of an endpoint's checks: how many in a row, and how bad. Of failing and healthy checks only those
/// count that came last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Streak {
    /// Failing checks in a row, degraded or down.
    pub failing: u32,
    /// Those of them at the end that were down, in a row.
    pub down: u32,
    /// The worst of the failing ones; none if the last check was healthy.
    pub worst: Option<CheckStatus>,
    /// Healthy checks in a row.
    pub healthy: u32,
    /// When the first check of the row was; none before the first of all.
    pub since: Option<Timestamp>,
}

/// How many in a row it takes. Those of the endpoint at the time of the check count, also for a row that began before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Failing checks that open an incident, and `down` ones that make it worse.
    pub failure: u32,
    /// Healthy checks that resolve it.
    pub recovery: u32,
}

impl From<&Definition> for Thresholds {
    fn from(definition: &Definition) -> Self {
        Self { failure: definition.failure_threshold, recovery: definition.recovery_threshold }
    }
}

/// What a check does to the endpoint's incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// It opens one.
    Opened {
        /// The worst of the streak.
        cause: Cause,
        /// When the streak began.
        failing_since: Timestamp,
    },
    /// The open one is no longer `endpoint_degraded` but `endpoint_down`.
    Worsened,
    /// The open one is over.
    Resolved,
}

impl Transition {
    /// The trigger of the event that tells of it.
    pub const fn trigger(self) -> IncidentTrigger {
        match self {
            Self::Opened { .. } => IncidentTrigger::Opened,
            Self::Worsened => IncidentTrigger::Worsened,
            Self::Resolved => IncidentTrigger::Resolved,
        }
    }
}

/// What follows from a check of this status at `at`, where `open` is the cause of the open incident, if there is one.
///
/// ```
/// use tidings_domain::check::CheckStatus::{Degraded, Down};
/// use tidings_domain::incident::Cause;
/// use tidings_domain::incident::streak::{Streak, Thresholds, Transition, after_check};
/// use tidings_domain::time::Timestamp;
///
/// let (thresholds, at) = (Thresholds { failure: 2, recovery: 1 }, Timestamp::from_unix_ms);
/// let (streak, transition) = after_check(Streak::default(), None, Down, at(1), thresholds);
/// assert_eq!(transition, None, "once is not enough");
/// let (_, transition) = after_check(streak, None, Degraded, at(2), thresholds);
/// assert_eq!(transition, Some(Transition::Opened { cause: Cause::EndpointDown, failing_since: at(1) }));
/// ```
pub fn after_check(
    streak: Streak,
    open: Option<Cause>,
    status: CheckStatus,
    at: Timestamp,
    thresholds: Thresholds,
) -> (Streak, Option<Transition>) {
    let next = streak.with(status, at);
    // A threshold of 0 would be one that is passed without any check.
    let (failure, recovery) = (thresholds.failure.max(1), thresholds.recovery.max(1));
    let transition = match (status, open) {
        (CheckStatus::Degraded | CheckStatus::Down, None) if next.failing >= failure => Some(Transition::Opened {
            cause: if next.worst == Some(CheckStatus::Down) { Cause::EndpointDown } else { Cause::EndpointDegraded },
            failing_since: next.since.unwrap_or(at),
        }),
        (CheckStatus::Down, Some(Cause::EndpointDegraded)) if next.down >= failure => Some(Transition::Worsened),
        (CheckStatus::Healthy, Some(_)) if next.healthy >= recovery => Some(Transition::Resolved),
        _ => None,
    };
    (next, transition)
}

impl Streak {
    fn with(self, status: CheckStatus, at: Timestamp) -> Self {
        // A check that goes on with the row does not move its beginning.
        let goes_on = if status.is_failing() { self.failing > 0 } else { self.healthy > 0 };
        let since = self.since.filter(|_| goes_on).or(Some(at));
        match status {
            CheckStatus::Inconclusive => self,
            CheckStatus::Healthy => Self { healthy: self.healthy.saturating_add(1), since, ..Self::default() },
            CheckStatus::Degraded | CheckStatus::Down => Self {
                failing: self.failing.saturating_add(1),
                down: if status == CheckStatus::Down { self.down.saturating_add(1) } else { 0 },
                worst: self.worst.max(Some(status)),
                healthy: 0,
                since,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::tests::at;
    use CheckStatus::{Degraded, Down, Healthy, Inconclusive};
    use proptest::prelude::*;

    const USUAL: Thresholds = Thresholds { failure: 3, recovery: 2 };

    /// An endpoint as the engine keeps it: the streak, and the cause of the open incident.
    #[derive(Default)]
    struct Watched {
        streak: Streak,
        open: Option<Cause>,
    }

    impl Watched {
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

        /// The history's transitions, each with the place of its check.
        fn run(history: &[CheckStatus], thresholds: Thresholds) -> Vec<(usize, Transition)> {
            let mut watched = Self::default();
            let seconds = 0i64..;
            let checks = history.iter().zip(seconds).enumerate();
            checks
                .filter_map(|(place, (&status, second))| Some((place, watched.check(status, second, thresholds)?)))
                .collect()
        }
    }

    fn opened(cause: Cause, since: i64) -> Transition {
        Transition::Opened { cause, failing_since: at(since) }
    }

    #[test]
    fn thresholds_in_a_row_open_and_resolve() {
        let history = [Down, Down, Healthy, Down, Down, Down, Down, Healthy, Down, Healthy, Healthy, Healthy];
        assert_eq!(Watched::run(&history, USUAL), [(5, opened(Cause::EndpointDown, 3)), (10, Transition::Resolved)]);
    }

    #[test]
    fn the_worst_of_the_streak_is_the_cause() {
        let run = |history: &[CheckStatus]| Watched::run(history, USUAL);
        assert_eq!(run(&[Degraded, Degraded, Degraded]), [(2, opened(Cause::EndpointDegraded, 0))]);
        assert_eq!(run(&[Down, Degraded, Degraded]), [(2, opened(Cause::EndpointDown, 0))]);
        assert_eq!(run(&[Down, Healthy, Degraded, Degraded, Degraded]), [(4, opened(Cause::EndpointDegraded, 2))]);
    }

    #[test]
    fn a_down_streak_makes_a_degraded_incident_worse_once() {
        let history =
            [Degraded, Degraded, Degraded, Down, Down, Degraded, Down, Down, Down, Down, Down, Down, Healthy, Healthy];
        assert_eq!(
            Watched::run(&history, USUAL),
            [(2, opened(Cause::EndpointDegraded, 0)), (8, Transition::Worsened), (13, Transition::Resolved)]
        );
    }

    #[test]
    fn an_alert_from_outside_does_not_get_worse_by_checks() {
        let mut watched = Watched { open: Some(Cause::Alert), ..Watched::default() };
        assert!((0..9).all(|second| watched.check(Down, second, USUAL).is_none()));
    }

    #[test]
    fn edited_thresholds_count_from_the_next_check_on() {
        let high = Thresholds { failure: 9, recovery: 9 };
        let mut watched = Watched::default();
        assert!((0..5).all(|second| watched.check(Degraded, second, high).is_none()));
        assert_eq!(watched.check(Degraded, 5, USUAL), Some(opened(Cause::EndpointDegraded, 0)));
        assert!((6..11).all(|second| watched.check(Healthy, second, high).is_none()));
        assert_eq!(watched.check(Healthy, 11, USUAL), Some(Transition::Resolved));
        assert!((12..14).all(|second| watched.check(Down, second, USUAL).is_none()));
        assert!(watched.check(Down, 14, high).is_none(), "raised just in time");
        let none = Thresholds { failure: 0, recovery: 0 };
        assert_eq!(Watched::default().check(Healthy, 0, none), None);
        assert_eq!(
            Watched::run(&[Down, Healthy], none),
            [(0, opened(Cause::EndpointDown, 0)), (1, Transition::Resolved)]
        );
    }

    #[test]
    fn an_incident_closed_by_hand_opens_again_while_the_streak_goes_on() {
        let mut watched = Watched::default();
        assert_eq!((0..3).filter_map(|second| watched.check(Down, second, USUAL)).count(), 1);
        watched.open = None;
        assert_eq!(watched.check(Down, 3, USUAL), Some(opened(Cause::EndpointDown, 0)));
    }

    #[test]
    fn a_streak_begins_with_its_first_check_and_is_small() {
        let mut watched = Watched::default();
        watched.check(Inconclusive, 0, USUAL);
        assert_eq!(watched.streak, Streak::default());
        watched.check(Healthy, 1, USUAL);
        watched.check(Healthy, 2, USUAL);
        assert_eq!((watched.streak.healthy, watched.streak.since), (2, Some(at(1))));
        watched.check(Degraded, 3, USUAL);
        watched.check(Inconclusive, 4, USUAL);
        watched.check(Down, 5, USUAL);
        let stored = serde_json::to_string(&watched.streak).unwrap();
        assert_eq!(stored, r#"{"failing":2,"down":1,"worst":"down","healthy":0,"since":"2026-05-02T04:00:03.000Z"}"#);
        assert_eq!(serde_json::from_str::<Streak>("{}").unwrap(), Streak::default());
        let full = Streak { failing: u32::MAX, down: u32::MAX, ..watched.streak };
        assert_eq!(after_check(full, None, Down, at(6), USUAL).0.failing, u32::MAX);
    }

    fn history() -> impl Strategy<Value = Vec<CheckStatus>> {
        // Rows of one status, so that thresholds are reached often.
        let row = (0..4usize, 1..5usize).prop_map(|(status, count)| vec![CheckStatus::ALL[status]; count]);
        proptest::collection::vec(row, 0..30).prop_map(|rows| rows.concat())
    }

    fn thresholds() -> impl Strategy<Value = Thresholds> {
        (1u32..6, 1u32..5).prop_map(|(failure, recovery)| Thresholds { failure, recovery })
    }

    /// How many checks at the end of the history `fit`, inconclusive ones left out.
    fn row(history: &[CheckStatus], fit: impl Fn(CheckStatus) -> bool) -> u32 {
        history.iter().rev().filter(|status| **status != Inconclusive).take_while(|status| fit(**status)).count() as u32
    }

    proptest! {
        #[test]
        fn incidents_open_and_resolve_in_turn(history in history(), thresholds in thresholds()) {
            let mut open: Option<Cause> = None;
            for (_, transition) in Watched::run(&history, thresholds) {
                open = match transition {
                    Transition::Opened { cause, .. } => {
                        prop_assert_eq!(open, None, "never two open");
                        Some(cause)
                    }
                    Transition::Worsened => {
                        prop_assert_eq!(open, Some(Cause::EndpointDegraded), "once, and only what is not down yet");
                        Some(Cause::EndpointDown)
                    }
                    Transition::Resolved => {
                        prop_assert!(open.is_some(), "what is resolved was open");
                        None
                    }
                };
            }
        }

        /// The machine again, by looking back over the whole history at every check.
        #[test]
        fn a_transition_comes_exactly_with_its_threshold(history in history(), thresholds in thresholds()) {
            let (mut expected, mut open) = (Vec::new(), None);
            for (place, status) in history.iter().enumerate() {
                let so_far = history.get(..=place).unwrap_or_default();
                let failing = row(so_far, CheckStatus::is_failing);
                let (down, healthy) = (row(so_far, |it| it == Down), row(so_far, |it| it == Healthy));
                if *status == Inconclusive {
                    continue;
                }
                let conclusive: Vec<_> = so_far.iter().enumerate().filter(|(_, it)| **it != Inconclusive).collect();
                let of_streak = &conclusive[conclusive.len() - failing as usize..];
                if open.is_none() && failing >= thresholds.failure {
                    let is_down = of_streak.iter().any(|(_, it)| **it == Down);
                    let cause = if is_down { Cause::EndpointDown } else { Cause::EndpointDegraded };
                    expected.push((place, opened(cause, of_streak[0].0 as i64)));
                    open = Some(cause);
                } else if open == Some(Cause::EndpointDegraded) && down >= thresholds.failure {
                    expected.push((place, Transition::Worsened));
                    open = Some(Cause::EndpointDown);
                } else if open.is_some() && healthy >= thresholds.recovery {
                    expected.push((place, Transition::Resolved));
                    open = None;
                }
            }
            prop_assert_eq!(Watched::run(&history, thresholds), expected);
        }

        #[test]
        fn inconclusive_checks_never_matter(history in history(), thresholds in thresholds()) {
            let (mut with, mut without) = (Watched::default(), Watched::default());
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
        fn a_restart_at_any_point_changes_nothing(history in history(), thresholds in thresholds()) {
            let (mut kept, mut restarted) = (Watched::default(), Watched::default());
            for (&status, second) in history.iter().zip(0..) {
                let stored = serde_json::to_string(&restarted.streak).unwrap();
                restarted.streak = serde_json::from_str(&stored).unwrap();
                prop_assert_eq!(restarted.check(status, second, thresholds), kept.check(status, second, thresholds));
                prop_assert_eq!(restarted.streak, kept.streak);
            }
        }

        #[test]
        fn thresholds_may_change_at_any_check(checks in proptest::collection::vec((0..4usize, thresholds()), 0..80)) {
            let (mut watched, mut history) = (Watched::default(), Vec::new());
            for ((status, thresholds), second) in checks.into_iter().zip(0..) {
                let (status, before) = (CheckStatus::ALL[status], watched.open);
                history.push(status);
                match watched.check(status, second, thresholds) {
                    Some(Transition::Opened { .. }) => {
                        prop_assert!(before.is_none() && row(&history, CheckStatus::is_failing) >= thresholds.failure);
                    }
                    Some(Transition::Worsened) => {
                        prop_assert_eq!(before, Some(Cause::EndpointDegraded));
                        prop_assert!(row(&history, |it| it == Down) >= thresholds.failure);
                    }
                    Some(Transition::Resolved) => {
                        prop_assert!(before.is_some() && row(&history, |it| it == Healthy) >= thresholds.recovery);
                    }
                    None => {}
                }
            }
        }
    }
}
