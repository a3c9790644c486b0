//! The streak state machine: decides whether a check opens, worsens or resolves an incident.
//!
//! `failure_threshold` consecutive failing checks open an incident, whose cause is the worst of them; as many consecutive
//! `down` checks worsen an incident that opened as degraded; `recovery_threshold` consecutive healthy checks resolve it.
//! Inconclusive checks neither count nor interrupt a streak. Whether an incident is open is not part of the state but
//! passed in, so that there is one source of truth.

use serde::{Deserialize, Serialize};

use super::{Cause, IncidentTrigger};
use crate::check::CheckStatus;
use crate::endpoint::Definition;
use crate::time::Timestamp;

/// The stored state of one endpoint: its current streak of failing or of healthy checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Streak {
    /// Consecutive failing checks, degraded or down.
    pub failing: u32,
    /// Consecutive down checks at the end of the failing ones.
    pub down: u32,
    /// The worst status of the failing checks; `None` while healthy.
    pub worst: Option<CheckStatus>,
    /// Consecutive healthy checks.
    pub healthy: u32,
    /// The time of the streak's first check; `None` before the first check.
    pub since: Option<Timestamp>,
}

/// The lengths of streaks that lead to a transition. The thresholds at the time of the check apply to the whole streak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Failing checks that open an incident, and `down` checks that worsen it.
    pub failure: u32,
    /// Healthy checks that resolve it.
    pub recovery: u32,
}

impl From<&Definition> for Thresholds {
    fn from(definition: &Definition) -> Self {
        Self { failure: definition.failure_threshold, recovery: definition.recovery_threshold }
    }
}

/// What a check does to the endpoint's incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    Opened {
        /// The worst of the streak.
        cause: Cause,
        /// When the streak started.
        failing_since: Timestamp,
    },
    /// From `endpoint_degraded` to `endpoint_down`.
    Worsened,
    Resolved,
}

impl Transition {
    /// The trigger of its event.
    pub const fn trigger(self) -> IncidentTrigger {
        match self {
            Self::Opened { .. } => IncidentTrigger::Opened,
            Self::Worsened => IncidentTrigger::Worsened,
            Self::Resolved => IncidentTrigger::Resolved,
        }
    }
}

/// The state and the transition after a check with this status at `at`. `open` is the cause of the open incident, if any.
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
    // A threshold of 0 would be reached by a check of the other kind.
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
        let continues = if status.is_failing() { self.failing > 0 } else { self.healthy > 0 };
        let since = self.since.filter(|_| continues).or(Some(at));
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
mod tests;
