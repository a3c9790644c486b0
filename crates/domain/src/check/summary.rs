//! Summaries: aggregated checks of a period, kept after the checks themselves are pruned.
//!
//! Summaries can be merged in any order, so that a day is the sum of its hours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Check, CheckStatus, FailureClass};

pub use super::latency::Latency;

/// Counts and latencies of the checks of a period. Inconclusive checks are only counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    #[serde(skip_serializing_if = "is_zero")]
    pub healthy: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub degraded: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub down: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub inconclusive: u32,
    /// Response times of the checks that got a response.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub latency: Latency,
    /// How often there was no response, by reason. Does not count unexpected responses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<FailureClass, u32>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Summary {
    /// The summary of these checks.
    pub fn from_checks<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Self {
        let mut summary = Self::default();
        for check in checks {
            summary.add(check.status, check.response_time_ms, check.failure);
        }
        summary
    }

    /// Adds one check.
    pub fn add(&mut self, status: CheckStatus, response_time_ms: Option<u32>, failure: Option<FailureClass>) {
        let count = match status {
            CheckStatus::Healthy => &mut self.healthy,
            CheckStatus::Degraded => &mut self.degraded,
            CheckStatus::Down => &mut self.down,
            CheckStatus::Inconclusive => &mut self.inconclusive,
        };
        *count = count.saturating_add(1);
        if status == CheckStatus::Inconclusive {
            return;
        }
        if let Some(ms) = response_time_ms {
            self.latency.add(ms);
        }
        if let Some(class) = failure {
            let count = self.failures.entry(class).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Adds the checks of another period.
    pub fn merge(&mut self, other: &Self) {
        self.healthy = self.healthy.saturating_add(other.healthy);
        self.degraded = self.degraded.saturating_add(other.degraded);
        self.down = self.down.saturating_add(other.down);
        self.inconclusive = self.inconclusive.saturating_add(other.inconclusive);
        self.latency.merge(&other.latency);
        for (class, more) in &other.failures {
            let count = self.failures.entry(*class).or_default();
            *count = count.saturating_add(*more);
        }
    }

    /// The number of checks without the inconclusive ones.
    pub fn conclusive(&self) -> u32 {
        self.healthy.saturating_add(self.degraded).saturating_add(self.down)
    }

    /// The share of conclusive checks that were not down, from 0 to 1; degraded counts as up. `None` without conclusive
    /// checks.
    pub fn uptime(&self) -> Option<f64> {
        let all = self.conclusive();
        (all > 0).then(|| f64::from(all - self.down.min(all)) / f64::from(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckStatus::{Degraded, Down, Healthy, Inconclusive};
    use proptest::prelude::*;

    type Sample = (CheckStatus, Option<u32>, Option<FailureClass>);

    fn summarize(all: &[Sample]) -> Summary {
        let mut summary = Summary::default();
        all.iter().for_each(|(status, ms, failure)| summary.add(*status, *ms, *failure));
        summary
    }

    #[test]
    fn uptime_counts_degraded_as_up_and_ignores_inconclusive() {
        let summary = summarize(&[
            (Healthy, Some(10), None),
            (Degraded, Some(9_000), None),
            (Down, None, Some(FailureClass::Timeout)),
            (Down, Some(12), None),
            (Inconclusive, None, Some(FailureClass::OwnNetwork)),
        ]);
        assert_eq!((summary.conclusive(), summary.inconclusive), (4, 1));
        assert_eq!(summary.uptime(), Some(0.5));
        assert_eq!(summary.failures, BTreeMap::from([(FailureClass::Timeout, 1)]));
        assert_eq!((summary.latency.min(), summary.latency.max()), (Some(10), Some(9_000)));
        assert_eq!(summarize(&[(Inconclusive, Some(1), None)]).uptime(), None);
        assert_eq!(Summary::default().uptime(), None);
    }

    #[test]
    fn zero_counts_are_not_serialised() {
        assert_eq!(serde_json::to_string(&Summary::default()).unwrap(), "{}");
        let plain = summarize(&[(Healthy, Some(40), None), (Healthy, Some(40), None)]);
        assert_eq!(
            serde_json::to_value(&plain).unwrap(),
            serde_json::json!({"healthy": 2, "latency": {"sum": 80, "min": 40, "max": 40, "buckets": [40, 2]}})
        );
    }

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let status = proptest::sample::select(CheckStatus::ALL.to_vec());
        let failure = proptest::option::of(proptest::sample::select(FailureClass::ALL.to_vec()));
        proptest::collection::vec((status, proptest::option::of(0u32..20_000), failure), 0..60)
    }

    proptest! {
        #[test]
        fn merge_equals_the_whole_in_any_order(one in samples(), two in samples()) {
            let whole: Vec<Sample> = one.iter().chain(&two).copied().collect();
            let (mut forward, mut backward) = (summarize(&one), summarize(&two));
            backward.merge(&forward);
            forward.merge(&summarize(&two));
            prop_assert_eq!(&forward, &summarize(&whole));
            prop_assert_eq!(&backward, &forward);
            let stored = serde_json::to_string(&forward).unwrap();
            prop_assert_eq!(serde_json::from_str::<Summary>(&stored).unwrap(), forward);
        }
    }
}
