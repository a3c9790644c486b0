//! Flapping: an endpoint that goes up and down too often.
//!
//! A change is an opening or a resolution of an incident. More than `changes_max` of them within the window say
//! `flapping`, once; when there was none for a whole window, that says `stable`, once. The two take turns. Calm needs a
//! whole window, rather than one change less than too many, so that an endpoint at the edge does not flap between
//! flapping and stable; it also makes sure that no incident is said to flap twice, as by then all its changes but one
//! lie behind.

use serde::{Deserialize, Serialize};

use super::IncidentTrigger;
use crate::time::Timestamp;

/// How often is too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlapLimit {
    /// Changes within the window that are still in order; from 1 to [`CHANGES_MAX_MAX`].
    pub changes_max: u32,
    /// The window, in seconds.
    pub window_seconds: u32,
}

/// The highest limit of changes; so many instants are remembered for each endpoint.
pub const CHANGES_MAX_MAX: u32 = 100;

impl Default for FlapLimit {
    /// Three outages in an hour.
    fn default() -> Self {
        Self { changes_max: 6, window_seconds: 3600 }
    }
}

impl FlapLimit {
    fn changes_max(self) -> usize {
        self.changes_max.clamp(1, CHANGES_MAX_MAX) as usize
    }

    fn window_ms(self) -> u64 {
        u64::from(self.window_seconds) * 1000
    }
}

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlapTransition {
    /// It goes up and down too often.
    Flapping {
        /// The changes within the window.
        changes: u32,
    },
    /// It has calmed down.
    Stable,
}

impl FlapTransition {
    /// The trigger of the event that tells of it; its incident is that of the last change.
    pub const fn trigger(self) -> IncidentTrigger {
        match self {
            Self::Flapping { .. } => IncidentTrigger::Flapping,
            Self::Stable => IncidentTrigger::Stable,
        }
    }
}

/// What is remembered of an endpoint's changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FlapHistory {
    /// The last ones, oldest first: those within the window, and no more than it takes to be too many.
    pub recent: Vec<Timestamp>,
    /// Whether `flapping` was said, and `stable` not yet.
    pub is_flapping: bool,
}

impl FlapHistory {
    /// The state after a change at `at`. A change that comes late, after it would have been calm but before that was
    /// said, finds it still flapping.
    #[must_use]
    pub fn after_change(&self, at: Timestamp, limit: FlapLimit) -> (Self, Option<FlapTransition>) {
        // Changes that lie ahead, because the clock was set back, are taken to be of this instant. Otherwise they would
        // count, and keep it flapping, until the clock has caught up.
        let until_now = self.recent.iter().map(|earlier| at.min(*earlier));
        let mut recent: Vec<_> = until_now.filter(|earlier| at.since_ms(*earlier) < limit.window_ms()).collect();
        recent.push(at);
        recent.drain(..recent.len().saturating_sub(limit.changes_max() + 1));
        let is_too_often = recent.len() > limit.changes_max();
        let flap =
            (is_too_often && !self.is_flapping).then_some(FlapTransition::Flapping { changes: recent.len() as u32 });
        (Self { recent, is_flapping: self.is_flapping || is_too_often }, flap)
    }

    /// When it will have been calm for a window, unless it changes before; none if it is not flapping.
    pub fn stable_at(&self, limit: FlapLimit) -> Option<Timestamp> {
        let last = self.recent.last().copied().unwrap_or_default();
        self.is_flapping.then(|| last.plus_ms(limit.window_ms()))
    }

    /// The state at `now`, without a change. Worth asking at [`Self::stable_at`].
    #[must_use]
    pub fn at(&self, now: Timestamp, limit: FlapLimit) -> (Self, Option<FlapTransition>) {
        match self.stable_at(limit) {
            Some(stable_at) if stable_at <= now => (Self::default(), Some(FlapTransition::Stable)),
            _ => (self.clone(), None),
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn too_many_changes_say_flapping_once_and_calm_says_stable_once() {
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
    fn changes_that_lie_apart_are_in_order() {
        let mut changes = FlapHistory::default();
        assert!((0..50).all(|number| changed(&mut changes, number * 34).is_none()));
        assert!(changes.recent.len() <= 3);
    }

    #[test]
    fn a_change_before_stable_was_said_finds_it_flapping() {
        let mut changes = FlapHistory::default();
        assert_eq!((0..4).filter_map(|second| changed(&mut changes, second)).count(), 1);
        assert_eq!(changed(&mut changes, 5_000), None);
        assert_eq!(changes.stable_at(LIMIT), Some(at(5_100)));
        assert_eq!(passed(&mut changes, 5_100), Some(FlapTransition::Stable));
    }

    #[test]
    fn odd_limits_and_clocks_do_no_harm() {
        let (changes, flap) =
            FlapHistory::default().after_change(at(0), FlapLimit { changes_max: 0, window_seconds: 9 });
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
        assert_eq!(changes.recent.len(), CHANGES_MAX_MAX as usize + 1);
        assert_eq!(FlapTransition::Stable.trigger(), IncidentTrigger::Stable);
        assert_eq!(serde_json::from_str::<FlapHistory>("{}").unwrap(), FlapHistory::default());
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_keep_it_flapping() {
        let mut changes = FlapHistory::default();
        assert!([900_000, 900_001, 0].iter().all(|second| changed(&mut changes, *second).is_none()));
        assert!(changed(&mut changes, 1).is_some(), "they count once more, for a window");
        assert_eq!(changes.stable_at(LIMIT), Some(at(101)));
        assert_eq!(passed(&mut changes, 101), Some(FlapTransition::Stable));
        assert!([102, 300, 500].iter().all(|second| changed(&mut changes, *second).is_none()));
    }

    proptest! {
        #[test]
        fn flapping_and_stable_take_turns_and_each_has_its_reason(
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
                        // Changes take turns: opening, resolution, opening, …; two of them are one incident.
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
                        let is_in_order = within <= changes_max as usize;
                        prop_assert!(is_flapping || !is_change || is_in_order, "nothing is kept back");
                        prop_assert!(is_change || !is_flapping || within > 0);
                    }
                }
                prop_assert_eq!(next.is_flapping, is_flapping);
                prop_assert!(next.recent.len() <= changes_max as usize + 1);
                state = next;
            }
        }
    }
}
