//! Flapping: detects endpoints that go up and down too often.
//!
//! A change is an opening or a resolution of an incident. More than `changes_max` changes within the window start
//! flapping; a whole window without a change ends it. Each transition is notified once, and the two alternate.
//!
//! Why a whole window and not merely fewer changes than the limit: an endpoint at the limit would otherwise alternate
//! between flapping and stable. It also ensures that no incident is reported as flapping twice, because by then all of
//! its changes but one are outside the window.

use serde::{Deserialize, Serialize};

use super::IncidentTrigger;
use crate::time::Timestamp;

/// The number of changes that counts as flapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlapLimit {
    /// Changes within the window that do not count as flapping yet; from 1 to [`CHANGES_LIMIT_MAX`].
    pub changes_max: u32,
    pub window_seconds: u32,
}

/// The highest limit of changes. Bounds the instants that are stored for each endpoint.
pub const CHANGES_LIMIT_MAX: u32 = 100;

impl Default for FlapLimit {
    /// Three outages in an hour.
    fn default() -> Self {
        Self { changes_max: 6, window_seconds: 3600 }
    }
}

impl FlapLimit {
    fn changes_max(self) -> usize {
        self.changes_max.clamp(1, CHANGES_LIMIT_MAX) as usize
    }

    fn window_ms(self) -> u64 {
        u64::from(self.window_seconds) * 1000
    }
}

/// The start or the end of flapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlapTransition {
    Flapping {
        /// The changes within the window.
        changes: u32,
    },
    Stable,
}

impl FlapTransition {
    /// The trigger of its event. The event belongs to the incident of the last change.
    pub const fn trigger(self) -> IncidentTrigger {
        match self {
            Self::Flapping { .. } => IncidentTrigger::Flapping,
            Self::Stable => IncidentTrigger::Stable,
        }
    }
}

/// The stored state of flap detection for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FlapHistory {
    /// The changes within the window, oldest first; at most one more than the limit.
    pub recent: Vec<Timestamp>,
    /// Whether the last transition was [`FlapTransition::Flapping`].
    pub is_flapping: bool,
}

impl FlapHistory {
    /// The state after a change at `at`. If the endpoint was due to be stable but [`Self::at`] was not called in time, it
    /// is still flapping.
    #[must_use]
    pub fn after_change(&self, at: Timestamp, limit: FlapLimit) -> (Self, Option<FlapTransition>) {
        // After the clock was set back, earlier changes lie in the future. They are moved to `at`; otherwise they would
        // count as recent, and keep the endpoint flapping, until the clock has caught up.
        let clamped = self.recent.iter().map(|earlier| at.min(*earlier));
        let mut recent: Vec<_> = clamped.filter(|earlier| at.since_ms(*earlier) < limit.window_ms()).collect();
        recent.push(at);
        recent.drain(..recent.len().saturating_sub(limit.changes_max() + 1));
        let is_over_limit = recent.len() > limit.changes_max();
        let transition =
            (is_over_limit && !self.is_flapping).then_some(FlapTransition::Flapping { changes: recent.len() as u32 });
        (Self { recent, is_flapping: self.is_flapping || is_over_limit }, transition)
    }

    /// When flapping ends if there is no further change; `None` if the endpoint is not flapping.
    pub fn stable_at(&self, limit: FlapLimit) -> Option<Timestamp> {
        let last = self.recent.last().copied().unwrap_or_default();
        self.is_flapping.then(|| last.plus_ms(limit.window_ms()))
    }

    /// The state at `now` without a change. Called at [`Self::stable_at`].
    #[must_use]
    pub fn at(&self, now: Timestamp, limit: FlapLimit) -> (Self, Option<FlapTransition>) {
        match self.stable_at(limit) {
            Some(stable_at) if stable_at <= now => (Self::default(), Some(FlapTransition::Stable)),
            _ => (self.clone(), None),
        }
    }
}

#[cfg(test)]
mod tests;
