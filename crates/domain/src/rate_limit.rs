//! The rate limit of a channel: how many first attempts it admits in any 60 seconds. Gate 12 counts by it, in the
//! transaction that accepts.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::calendar::Zone;
use crate::text::with_thousands_separators;
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};

/// The most that a limit may admit in a minute, as each admission is remembered that long. A channel that takes more
/// needs no limit.
pub const PER_MINUTE_MAX: u32 = 1_000;

/// How long an admission counts, in milliseconds.
pub const WINDOW_MS: u64 = 60_000;

/// What becomes of a delivery that is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateAction {
    /// It is held until there is room, and then said together with what else waits.
    #[default]
    Digest,
    /// It is suppressed.
    Drop,
}

impl RateAction {
    /// Every action.
    pub const ALL: [Self; 2] = [Self::Digest, Self::Drop];

    /// The word for it in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Drop => "drop",
        }
    }

    /// The action that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// A channel's rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// First attempts admitted in any 60 seconds.
    pub max_per_minute: u32,
    /// What becomes of those beyond.
    #[serde(default)]
    pub action: RateAction,
}

impl RateLimit {
    /// Everything wrong with it.
    pub fn violations(&self) -> Violations {
        let message = format!("must be a whole number from 1 to {PER_MINUTE_MAX}; for no limit leave rateLimit out");
        let is_wrong = !(1..=PER_MINUTE_MAX).contains(&self.max_per_minute);
        is_wrong.then(|| Violation::new("/maxPerMinute", message)).into_iter().collect()
    }

    /// What a verdict of `now` says when there is room again at `next_slot_at`, such as
    /// `Held until 14:03:21 Europe/Zurich: #data-alerts takes at most 30 messages a minute`.
    pub fn describe(&self, channel_name: &str, next_slot_at: Timestamp, now: Timestamp, zone: &Zone) -> String {
        let messages = if self.max_per_minute == 1 { "message" } else { "messages" };
        let takes = format!(
            "{channel_name} takes at most {} {messages} a minute",
            with_thousands_separators(self.max_per_minute.into())
        );
        match self.action {
            RateAction::Digest => format!("Held until {}: {takes}", zone.describe(next_slot_at, now)),
            RateAction::Drop => format!("Dropped: {takes}"),
        }
    }
}

/// When a channel admitted, as far back as it counts; kept as milliseconds since the Unix epoch, oldest first.
///
/// An admission counts until the clock has run on for 60 seconds. When the clock is set back, admissions that now lie
/// in its future are taken to be of this instant: they count at least as long as they should, and no longer than 60
/// seconds from here. When it is set forward by a minute or more, none counts any longer, as after a minute without
/// any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<i64>", into = "Vec<i64>")]
pub struct RateWindow(VecDeque<i64>);

impl RateWindow {
    /// Admits one first attempt at `now`, or says when there will be room if nothing else is admitted until then.
    pub fn admit(&mut self, limit: &RateLimit, now: Timestamp) -> Result<(), Timestamp> {
        self.advance_to(now);
        match self.has_capacity_at(limit) {
            Some(next_slot_at) => Err(next_slot_at),
            None => {
                self.0.push_back(now.unix_ms());
                Ok(())
            }
        }
    }

    /// When there will be room, if there is none at `now`: what [`Self::admit`] would say, without admitting.
    pub fn next_slot_at(&self, limit: &RateLimit, now: Timestamp) -> Option<Timestamp> {
        let mut seen = self.clone();
        seen.advance_to(now);
        seen.has_capacity_at(limit)
    }

    /// Whether nothing is remembered, so that the state need not be kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets what no longer counts at `now`.
    pub fn advance_to(&mut self, now: Timestamp) {
        for at in self.0.iter_mut().rev().take_while(|at| **at > now.unix_ms()) {
            *at = now.unix_ms();
        }
        while self.0.front().is_some_and(|at| now.since_ms(Timestamp::from_unix_ms(*at)) >= WINDOW_MS) {
            self.0.pop_front();
        }
    }

    /// When there will be room, seen from the instant last moved to; `None` if there is. A limit that was lowered has
    /// to wait for more than one to be forgotten.
    fn has_capacity_at(&self, limit: &RateLimit) -> Option<Timestamp> {
        // A limit that has violations must neither shut the door nor let the memory of it grow.
        let max_per_minute = limit.max_per_minute.clamp(1, PER_MINUTE_MAX) as usize;
        let last_in_the_way = self.0.len().checked_sub(max_per_minute)?;
        self.0.get(last_in_the_way).map(|at| Timestamp::from_unix_ms(*at).plus_ms(WINDOW_MS))
    }
}

impl From<Vec<i64>> for RateWindow {
    fn from(mut instants: Vec<i64>) -> Self {
        instants.sort_unstable();
        Self(instants.into())
    }
}

impl From<RateWindow> for Vec<i64> {
    fn from(admissions: RateWindow) -> Self {
        admissions.0.into()
    }
}

#[cfg(test)]
mod tests {
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
    fn the_json_is_that_of_the_api() {
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
    fn a_limit_has_bounds() {
        for (max, is_right) in [(0, false), (1, true), (PER_MINUTE_MAX, true), (PER_MINUTE_MAX + 1, false)] {
            let violations = limit(max).violations();
            assert_eq!(violations.is_empty(), is_right, "{max}");
            assert!(violations.iter().all(|violation| violation.pointer == "/maxPerMinute"));
        }
    }

    #[test]
    fn there_is_room_again_when_the_oldest_is_a_minute_old() {
        let mut admissions = RateWindow::default();
        assert_eq!(admissions.admit(&limit(2), at(0)), Ok(()));
        assert_eq!(admissions.admit(&limit(2), at(10)), Ok(()));
        assert_eq!(admissions.admit(&limit(2), at(59_999)), Err(at(60_000)));
        assert_eq!(admissions.admit(&limit(2), at(60_000)), Ok(()));
        assert_eq!(admissions.admit(&limit(2), at(60_000)), Err(at(60_010)));
        assert_eq!(admissions.admit(&limit(1), at(60_009)), Err(at(120_000)), "lowered: both have to go");
        assert_eq!(admissions.admit(&limit(3), at(60_009)), Ok(()), "raised");
    }

    #[test]
    fn a_limit_out_of_bounds_is_taken_for_the_nearest_one_within() {
        let admitted = |max| {
            let mut admissions = RateWindow::default();
            (0..2 * PER_MINUTE_MAX).filter(|_| admissions.admit(&limit(max), at(0)).is_ok()).count()
        };
        assert_eq!((admitted(0), admitted(u32::MAX)), (1, PER_MINUTE_MAX as usize));
    }

    #[test]
    fn a_clock_that_is_set_back_neither_opens_nor_shuts_the_door() {
        let mut admissions = RateWindow::default();
        assert_eq!(admissions.admit(&limit(1), at(HOUR_MS)), Ok(()));
        assert_eq!(admissions.admit(&limit(1), at(0)), Err(at(60_000)), "counts from here");
        assert_eq!(admissions.admit(&limit(1), at(60_000)), Ok(()), "and a minute only");
    }

    #[test]
    fn the_words_say_until_when_and_why() {
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

    /// Milliseconds from one call to the next: mostly few, so that limits are met.
    fn pauses() -> impl Strategy<Value = i64> {
        prop_oneof![4 => 0..2_000i64, 2 => 0..40_000i64, 1 => Just(60_000i64), 1 => 0..3 * HOUR_MS]
    }

    /// How far the clock is set back before a call: mostly not at all.
    fn jumps_back() -> impl Strategy<Value = i64> {
        prop_oneof![12 => Just(0i64), 1 => 0..100i64, 1 => 0..90_000i64, 1 => Just(HOUR_MS)]
    }

    /// Whether none of the half-open windows of 60 seconds holds more than `max` of these, which rise.
    fn is_within(max: u32, admitted: &[i64]) -> bool {
        admitted.windows(max as usize + 1).all(|run| run[max as usize] - run[0] >= WINDOW_MS as i64)
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_in_any_minute(max in 1u32..6, pauses in vec(pauses(), 1..200)) {
            let (mut admissions, mut now, mut admitted) = (RateWindow::default(), 0, Vec::new());
            for pause in pauses {
                now += pause;
                let foretold = admissions.next_slot_at(&limit(max), at(now));
                match admissions.admit(&limit(max), at(now)) {
                    Ok(()) => {
                        prop_assert_eq!(foretold, None);
                        admitted.push(now);
                    }
                    Err(next_slot_at) => {
                        prop_assert_eq!(foretold, Some(next_slot_at));
                        prop_assert!(at(now) < next_slot_at && next_slot_at <= at(now + 60_000));
                        let before = next_slot_at.minus_ms(1);
                        prop_assert_eq!(admissions.clone().admit(&limit(max), before), Err(next_slot_at), "not before");
                        prop_assert_eq!(admissions.clone().admit(&limit(max), next_slot_at), Ok(()), "but then");
                        let in_window = admitted.iter().filter(|seen| now - **seen < 60_000).count();
                        prop_assert_eq!(in_window, max as usize, "refused only if it is full");
                    }
                }
                prop_assert!(admissions.0.len() <= max as usize);
            }
            prop_assert!(is_within(max, &admitted));
        }

        /// The time that really passes is told apart from what the clock shows.
        #[test]
        fn nor_with_a_clock_that_is_set_back(
            max in 1u32..6, calls in vec((pauses(), jumps_back()), 1..200)
        ) {
            let (mut admissions, mut real, mut clock, mut admitted) = (RateWindow::default(), 0, 0, Vec::new());
            for (pause, jump) in calls {
                real += pause;
                clock += pause - jump;
                match admissions.admit(&limit(max), at(clock)) {
                    Ok(()) => admitted.push(real),
                    Err(next_slot_at) => prop_assert!(at(clock) < next_slot_at && next_slot_at <= at(clock + 60_000), "not stuck"),
                }
                prop_assert!(admissions.0.len() <= max as usize);
            }
            prop_assert!(is_within(max, &admitted));
        }

        #[test]
        fn it_recovers_wherever_the_clock_goes(max in 1u32..6, jumps in vec(-3 * HOUR_MS..3 * HOUR_MS, 1..40)) {
            let (mut admissions, mut clock) = (RateWindow::default(), 0);
            for jump in jumps {
                clock += jump;
                let room = (0..=max).take_while(|_| admissions.admit(&limit(max), at(clock)).is_ok()).count();
                prop_assert!(room <= max as usize);
                prop_assert!(jump < 60_000 || room == max as usize, "forward: as if nothing had been");
                prop_assert_eq!(admissions.next_slot_at(&limit(max), at(clock + 60_000)), None);
            }
        }

        #[test]
        fn the_state_reads_back_from_the_store(max in 1u32..6, calls in vec((pauses(), jumps_back()), 0..40)) {
            let (mut admissions, mut clock) = (RateWindow::default(), 0);
            for (pause, jump) in calls {
                clock += pause - jump;
                let _ = admissions.admit(&limit(max), at(clock));
            }
            let stored = serde_json::to_string(&admissions).unwrap();
            prop_assert_eq!(serde_json::from_str::<RateWindow>(&stored).unwrap(), admissions.clone());
            let mut backwards: Vec<i64> = admissions.clone().into();
            backwards.reverse();
            prop_assert_eq!(RateWindow::from(backwards), admissions.clone());
            admissions.advance_to(at(clock + 60_000));
            prop_assert!(admissions.is_empty());
        }
    }
}
