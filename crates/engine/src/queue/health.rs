//! Health of channels as this process has seen it since it started: in memory, a few bytes for each channel, so that the
//! event pipeline writes nothing for it. Tests of channels do not count; their result is part of the channel's record.

use std::sync::{Mutex, MutexGuard};

use tidings_domain::id::ChannelId;
use tidings_domain::time::Timestamp;

use crate::ById;
use crate::sync::lock;

/// Attempts that the success rate covers.
const WINDOW: u32 = 100;

/// How recent attempts through a channel went, as far as this process has made any.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Health {
    pub last_sent_at: Option<Timestamp>,
    pub last_failed_at: Option<Timestamp>,
    /// The first failure after the last success; none after a success.
    pub failing_since: Option<Timestamp>,
    /// Success rate over the last 100 attempts, from 0 to 1.
    pub success_rate: Option<f64>,
    /// Until when the receiver wants no attempt, because it limits the rate.
    pub paused_until: Option<Timestamp>,
}

/// The health of one channel with its sliding window.
#[derive(Debug, Clone, Copy, Default)]
struct HealthWindow {
    health: Health,
    /// Results of the last attempts, 1 for success, the newest in the lowest bit.
    outcomes: u128,
    /// How many bits of `outcomes` are in use.
    count: u32,
}

impl HealthWindow {
    fn record(&mut self, is_delivered: bool, at: Timestamp) {
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
pub(super) struct ChannelHealthMap(Mutex<ById<ChannelId, HealthWindow>>);

impl ChannelHealthMap {
    fn windows(&self) -> MutexGuard<'_, ById<ChannelId, HealthWindow>> {
        lock(&self.0)
    }

    /// Records a settled attempt.
    pub(super) fn record(&self, id: ChannelId, is_delivered: bool, at: Timestamp) {
        self.windows().entry(id).or_default().record(is_delivered, at);
    }

    pub(super) fn of(&self, id: ChannelId) -> Health {
        self.windows().get(&id).map(|window| window.health).unwrap_or_default()
    }

    /// Drops the health of a deleted channel.
    pub(super) fn forget(&self, id: ChannelId) {
        self.windows().remove(&id);
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
    fn failing_since_is_first_failure_after_last_success() {
        let (map, id) = (ChannelHealthMap::default(), ChannelId::from_bytes([1; 16]));
        assert_eq!(map.of(id), Health::default());
        for (ms, is_delivered) in [(1, false), (2, true), (3, false), (4, false)] {
            map.record(id, is_delivered, at(ms));
        }
        let expected = Health {
            last_sent_at: Some(at(2)),
            last_failed_at: Some(at(4)),
            failing_since: Some(at(3)),
            success_rate: Some(0.25),
            paused_until: None,
        };
        assert_eq!(map.of(id), expected);
        map.record(id, true, at(5));
        assert_eq!(map.of(id).failing_since, None);
        map.forget(id);
        assert_eq!(map.of(id), Health::default());
    }

    #[test]
    fn success_rate_covers_last_hundred_attempts() {
        let (map, id) = (ChannelHealthMap::default(), ChannelId::from_bytes([1; 16]));
        for ms in 0..200 {
            map.record(id, ms >= 150, at(ms));
        }
        assert_eq!(map.of(id).success_rate, Some(0.5));
        for ms in 200..260 {
            map.record(id, true, at(ms));
        }
        assert_eq!(map.of(id).success_rate, Some(1.0));
    }
}
