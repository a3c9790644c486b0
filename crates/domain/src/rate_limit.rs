//! Rate limits of channels: a sliding window over the first attempts of the last 60 seconds. Gate 12 evaluates it in the
//! transaction that accepts the delivery.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::calendar::Zone;
use crate::text::with_thousands_separators;
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};

/// The highest limit. Bounds the state of a channel, which stores every admission for a minute.
pub const PER_MINUTE_MAX: u32 = 1_000;

/// The length of the sliding window, in milliseconds.
pub const WINDOW_MS: u64 = 60_000;

/// What happens to a delivery above the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateAction {
    /// The delivery is held until there is capacity, and then sent in a digest with other held deliveries.
    #[default]
    Digest,
    /// The delivery is suppressed.
    Drop,
}

impl RateAction {
    /// Every action.
    pub const ALL: [Self; 2] = [Self::Digest, Self::Drop];

    /// The wire name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Drop => "drop",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// A channel's rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// First attempts admitted in any 60 seconds; retries do not count.
    #[schema(minimum = 1, maximum = 1_000)]
    pub max_per_minute: u32,
    #[serde(default)]
    pub action: RateAction,
}

impl RateLimit {
    /// Everything wrong with the limit.
    pub fn violations(&self) -> Violations {
        let message = format!("must be a whole number from 1 to {PER_MINUTE_MAX}; for no limit leave rateLimit out");
        let is_invalid = !(1..=PER_MINUTE_MAX).contains(&self.max_per_minute);
        is_invalid.then(|| Violation::new("/maxPerMinute", message)).into_iter().collect()
    }

    /// The detail of a refusal at `now` if there is capacity again at `next_slot_at`, such as
    /// `Held until 14:03:21 Europe/Zurich: #data-alerts takes at most 30 messages a minute`.
    pub fn describe(&self, channel_name: &str, next_slot_at: Timestamp, now: Timestamp, zone: &Zone) -> String {
        let messages = if self.max_per_minute == 1 { "message" } else { "messages" };
        let limit = format!(
            "{channel_name} takes at most {} {messages} a minute",
            with_thousands_separators(self.max_per_minute.into())
        );
        match self.action {
            RateAction::Digest => format!("Held until {}: {limit}", zone.describe(next_slot_at, now)),
            RateAction::Drop => format!("Dropped: {limit}"),
        }
    }
}

/// The admissions of a channel within the window, in milliseconds since the Unix epoch, oldest first.
///
/// If the clock is set back, admissions that lie in the future are moved to `now`: they count for at least as long as they
/// should, but for no more than 60 seconds from `now`. If the clock is set forward by a minute or more, the window is
/// empty, as after a minute without admissions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<i64>", into = "Vec<i64>")]
pub struct RateWindow(VecDeque<i64>);

impl RateWindow {
    /// Admits one first attempt at `now`, or returns when there will be capacity if nothing else is admitted before.
    pub fn admit(&mut self, limit: &RateLimit, now: Timestamp) -> Result<(), Timestamp> {
        self.advance_to(now);
        match self.full_until(limit) {
            Some(next_slot_at) => Err(next_slot_at),
            None => {
                self.0.push_back(now.unix_ms());
                Ok(())
            }
        }
    }

    /// When there will be capacity; `None` if there is at `now`. [`Self::admit`] without admitting.
    pub fn next_slot_at(&self, limit: &RateLimit, now: Timestamp) -> Option<Timestamp> {
        let mut window = self.clone();
        window.advance_to(now);
        window.full_until(limit)
    }

    /// Whether the window is empty, so that there is no state to store.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Moves the window to `now`: drops admissions that no longer count.
    pub fn advance_to(&mut self, now: Timestamp) {
        for at in self.0.iter_mut().rev().take_while(|at| **at > now.unix_ms()) {
            *at = now.unix_ms();
        }
        while self.0.front().is_some_and(|at| now.since_ms(Timestamp::from_unix_ms(*at)) >= WINDOW_MS) {
            self.0.pop_front();
        }
    }

    /// When there will be capacity; `None` if there is at the instant of the last [`Self::advance_to`]. After the limit was
    /// lowered, several admissions have to expire first.
    fn full_until(&self, limit: &RateLimit) -> Option<Timestamp> {
        // An invalid limit must neither block the channel for good (0) nor let the state grow without bound.
        let max_per_minute = limit.max_per_minute.clamp(1, PER_MINUTE_MAX) as usize;
        let last_to_expire = self.0.len().checked_sub(max_per_minute)?;
        self.0.get(last_to_expire).map(|at| Timestamp::from_unix_ms(*at).plus_ms(WINDOW_MS))
    }
}

impl From<Vec<i64>> for RateWindow {
    fn from(mut instants: Vec<i64>) -> Self {
        instants.sort_unstable();
        Self(instants.into())
    }
}

impl From<RateWindow> for Vec<i64> {
    fn from(window: RateWindow) -> Self {
        window.0.into()
    }
}

#[cfg(test)]
mod tests;
