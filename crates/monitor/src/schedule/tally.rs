//! What is said in the log about a check engine that does not keep up: once in a while, not once a check.

use std::time::Duration;

use tokio::time::Instant;

use crate::measure::{self, Skipped};

/// How often it is said, at most.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Probes that begin so late are worth a word.
const LATE: Duration = Duration::from_secs(1);

/// What has happened since it was last said.
#[derive(Debug)]
pub(crate) struct Tally {
    since: Instant,
    skipped: [u64; Skipped::ALL.len()],
    latest: Duration,
}

impl Tally {
    /// Nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { since: now, skipped: [0; Skipped::ALL.len()], latest: Duration::ZERO }
    }

    /// Turns were skipped.
    pub fn skipped(&mut self, why: Skipped, turns: u64) {
        if turns > 0 {
            self.skipped[why as usize] += turns;
            measure::skipped(why, turns);
        }
    }

    /// A probe was begun so late.
    pub fn began(&mut self, late: Duration) {
        self.latest = self.latest.max(late);
    }

    /// Says it if it is time to and there is something to say.
    pub fn say(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) < SAID_EVERY {
            return;
        }
        let [under_way, behind, unwritten] = self.skipped;
        let late_ms = self.latest.as_millis();
        if behind + unwritten > 0 || self.latest >= LATE {
            tracing::warn!(behind, unwritten, under_way, late_ms, "the check engine does not keep up: it skips turns");
        } else if under_way > 0 {
            tracing::info!(under_way, "turns were skipped because the endpoint's probe before was still under way");
        }
        *self = Self::new(now);
    }
}
