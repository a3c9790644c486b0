//! How live sends through channels go, as this process has seen it: kept in memory, a few bytes a channel, so that the way
//! of an event writes nothing for it. Tests of channels do not count; they have a memory of their own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings_domain::id::ChannelId;
use tidings_domain::time::Timestamp;

use crate::ById;

/// How many attempts the success rate looks back on.
const WINDOW: u32 = 100;

/// How live sends through a channel go, as far as this process has seen any.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Health {
    /// When a receiver last took something.
    pub last_sent_at: Option<Timestamp>,
    /// When an attempt last failed.
    pub last_failed_at: Option<Timestamp>,
    /// The first failure since the last success, while there is none after it.
    pub failing_since: Option<Timestamp>,
    /// The share of the last 100 attempts that went through, from 0 to 1.
    pub success_rate: Option<f64>,
}

/// What is kept of a channel.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    health: Health,
    /// How the last attempts went, the newest in the lowest bit, and how many of them there are.
    outcomes: u128,
    count: u32,
}

impl Kept {
    fn note(&mut self, is_delivered: bool, at: Timestamp) {
        let health = &mut self.health;
        if is_delivered {
            (health.last_sent_at, health.failing_since) = (Some(at), None);
        } else {
            health.last_failed_at = Some(at);
            health.failing_since = health.failing_since.or(Some(at));
        }
        self.outcomes = (self.outcomes << 1 | u128::from(is_delivered)) & ((1 << WINDOW) - 1);
        self.count = (self.count + 1).min(WINDOW);
        health.success_rate = Some(f64::from(self.outcomes.count_ones()) / f64::from(self.count));
    }
}

/// The health of all channels.
#[derive(Default)]
pub(super) struct Healths(Mutex<ById<ChannelId, Kept>>);

impl Healths {
    fn kept(&self) -> MutexGuard<'_, ById<ChannelId, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt was settled.
    pub(super) fn note(&self, id: ChannelId, is_delivered: bool, at: Timestamp) {
        self.kept().entry(id).or_default().note(is_delivered, at);
    }

    /// What is known of a channel.
    pub(super) fn of(&self, id: ChannelId) -> Health {
        self.kept().get(&id).map(|kept| kept.health).unwrap_or_default()
    }

    /// The channel is gone.
    pub(super) fn forget(&self, id: ChannelId) {
        self.kept().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use tidings_domain::id::Id;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn failing_since_is_the_first_failure_after_the_last_success() {
        let (healths, id) = (Healths::default(), ChannelId::from_bytes([1; 16]));
        assert_eq!(healths.of(id), Health::default());
        for (ms, is_delivered) in [(1, false), (2, true), (3, false), (4, false)] {
            healths.note(id, is_delivered, at(ms));
        }
        let expected = Health {
            last_sent_at: Some(at(2)),
            last_failed_at: Some(at(4)),
            failing_since: Some(at(3)),
            success_rate: Some(0.25),
        };
        assert_eq!(healths.of(id), expected);
        healths.note(id, true, at(5));
        assert_eq!(healths.of(id).failing_since, None);
        healths.forget(id);
        assert_eq!(healths.of(id), Health::default());
    }

    #[test]
    fn the_rate_looks_back_on_a_hundred_attempts() {
        let (healths, id) = (Healths::default(), ChannelId::from_bytes([1; 16]));
        for ms in 0..200 {
            healths.note(id, ms >= 150, at(ms));
        }
        assert_eq!(healths.of(id).success_rate, Some(0.5));
        for ms in 200..260 {
            healths.note(id, true, at(ms));
        }
        assert_eq!(healths.of(id).success_rate, Some(1.0));
    }
}
