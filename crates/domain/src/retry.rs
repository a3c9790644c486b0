//! Retries: a list of delays with jitter, never shorter than the receiver requested.

use crate::resource::ResourceType;

/// The longest delay that a receiver can request with `Retry-After`, in milliseconds.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// Most delays of a channel's own policy.
pub const RETRY_DELAYS_MAX: usize = 20;
/// The longest delay of a channel's own policy, in seconds (a day).
pub const RETRY_DELAY_SECONDS_MAX: u32 = 86_400;

/// The delays between attempts, in milliseconds. There is one more attempt than delays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy(Vec<u64>);

impl RetryPolicy {
    /// A single attempt.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// A policy with these delays.
    pub fn from_seconds(seconds: &[u32]) -> Self {
        Self(seconds.iter().map(|&s| u64::from(s) * 1000).collect())
    }

    /// The default policy for events of a resource type.
    pub fn default_for(resource_type: ResourceType) -> Self {
        match resource_type {
            ResourceType::UseCase => Self::from_seconds(&[30, 120, 450, 1200]),
            _ => Self::from_seconds(&[15, 60, 240, 480, 960]),
        }
    }

    /// The number of attempts.
    pub fn attempts_max(&self) -> u32 {
        self.0.len() as u32 + 1
    }

    /// The delay in milliseconds after attempt `number` (from 1) failed; `None` if it was the last. `jitter` from −1 to 1
    /// changes the delay by up to ±10 %. `retry_after_ms` is a lower bound, capped at [`RETRY_AFTER_MS_MAX`].
    ///
    /// ```
    /// use tidings_domain::{resource::ResourceType, retry::RetryPolicy};
    ///
    /// let policy = RetryPolicy::default_for(ResourceType::Flow);
    /// assert_eq!(policy.delay_ms(1, 0.0, None), Some(15_000));
    /// assert_eq!(policy.delay_ms(1, 0.0, Some(60_000)), Some(60_000), "the receiver requested a minute");
    /// assert_eq!(policy.delay_ms(policy.attempts_max(), 0.0, None), None, "that was the last");
    /// ```
    pub fn delay_ms(&self, number: u32, jitter: f64, retry_after_ms: Option<u64>) -> Option<u64> {
        let delay = *self.0.get(number.checked_sub(1)? as usize)?;
        let jittered = delay as f64 * (1.0 + 0.1 * jitter.clamp(-1.0, 1.0));
        Some((jittered as u64).max(retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn default_delays_match_the_documentation() {
        let flow = RetryPolicy::default_for(ResourceType::Flow);
        let delays: Vec<_> = (1..=6).map(|n| flow.delay_ms(n, 0.0, None)).collect();
        assert_eq!(delays, [Some(15_000), Some(60_000), Some(240_000), Some(480_000), Some(960_000), None]);
        let use_case = RetryPolicy::default_for(ResourceType::UseCase);
        assert_eq!(use_case.attempts_max(), 5);
        let total: u64 = (1..=4).filter_map(|n| use_case.delay_ms(n, 0.0, None)).sum();
        assert_eq!(total, 30 * 60 * 1000, "roughly thirty minutes");
    }

    proptest! {
        #[test]
        fn delay_is_within_ten_percent_and_at_least_retry_after(
            n in 1u32..6, jitter in -3.0f64..3.0, after in proptest::option::of(0u64..10_000_000)
        ) {
            let policy = RetryPolicy::default_for(ResourceType::Job);
            let plain = policy.delay_ms(n, 0.0, None).unwrap() as f64;
            let free = policy.delay_ms(n, jitter, None).unwrap() as f64;
            prop_assert!((free - plain).abs() <= plain * 0.1 + 1.0);
            let floored = policy.delay_ms(n, jitter, after).unwrap();
            prop_assert!(floored >= after.unwrap_or(0).min(RETRY_AFTER_MS_MAX));
            prop_assert!(floored <= (free as u64).max(RETRY_AFTER_MS_MAX));
        }
    }
}
