//! The summary: what many checks came to, as far as it is to be remembered when they are gone.
//!
//! Summaries of two spans of time add up to that of both, in any order, so that days are made of hours.

mod latency;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Check, CheckStatus, FailureClass};

pub use latency::Latency;

/// What the checks of a span of time came to. Inconclusive checks are counted as such and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// Checks that were healthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub healthy: u32,
    /// Checks that were degraded.
    #[serde(skip_serializing_if = "is_zero")]
    pub degraded: u32,
    /// Checks that were down.
    #[serde(skip_serializing_if = "is_zero")]
    pub down: u32,
    /// Checks that say nothing about the endpoint.
    #[serde(skip_serializing_if = "is_zero")]
    pub inconclusive: u32,
    /// How long the answers took, of those checks that got one.
    #[serde(skip_serializing_if = "Latency::is_empty")]
    pub latency: Latency,
    /// Why no answer came, how often each. A check that got an answer that was wrong is not among them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<FailureClass, u32>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Summary {
    /// The summary of these.
    pub fn of<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Self {
        let mut summary = Self::default();
        for check in checks {
            summary.add(check.status, check.response_time_ms, check.failure);
        }
        summary
    }

    /// Counts one check: how the endpoint stood, how long the answer took, why none came.
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

    /// Adds what is said of another span of time.
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

    /// How many checks say something about the endpoint: all but the inconclusive ones.
    pub fn conclusive(&self) -> u32 {
        self.healthy.saturating_add(self.degraded).saturating_add(self.down)
    }

    /// The share of checks in which the endpoint was up, from 0 to 1: degraded is up, as it does what it is for.
    /// Inconclusive checks do not count; none if there are no others.
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

    type Seen = (CheckStatus, Option<u32>, Option<FailureClass>);

    fn of(all: &[Seen]) -> Summary {
        let mut summary = Summary::default();
        all.iter().for_each(|(status, ms, failure)| summary.add(*status, *ms, *failure));
        summary
    }

    #[test]
    fn degraded_is_up_and_inconclusive_is_nothing() {
        let summary = of(&[
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
        assert_eq!(of(&[(Inconclusive, Some(1), None)]).uptime(), None);
        assert_eq!(Summary::default().uptime(), None);
    }

    #[test]
    fn what_is_not_there_is_not_written() {
        assert_eq!(serde_json::to_string(&Summary::default()).unwrap(), "{}");
        let plain = of(&[(Healthy, Some(40), None), (Healthy, Some(40), None)]);
        assert_eq!(
            serde_json::to_value(&plain).unwrap(),
            serde_json::json!({"healthy": 2, "latency": {"sum": 80, "min": 40, "max": 40, "buckets": [40, 2]}})
        );
    }

    fn seen() -> impl Strategy<Value = Vec<Seen>> {
        let status = proptest::sample::select(CheckStatus::ALL.to_vec());
        let failure = proptest::option::of(proptest::sample::select(FailureClass::ALL.to_vec()));
        proptest::collection::vec((status, proptest::option::of(0u32..20_000), failure), 0..60)
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole_in_any_order(one in seen(), two in seen()) {
            let whole: Vec<Seen> = one.iter().chain(&two).copied().collect();
            let (mut there, mut back) = (of(&one), of(&two));
            back.merge(&there);
            there.merge(&of(&two));
            prop_assert_eq!(&there, &of(&whole));
            prop_assert_eq!(&back, &there);
            let stored = serde_json::to_string(&there).unwrap();
            prop_assert_eq!(serde_json::from_str::<Summary>(&stored).unwrap(), there);
        }
    }
}
