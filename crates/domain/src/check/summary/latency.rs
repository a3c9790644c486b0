//! How long answers took: a histogram whose buckets grow with what they hold, so that it stays small and is equally sharp
//! everywhere.
//!
//! Up to 63 ms each number has a bucket of its own; from there on each doubling is divided into 32, so that what is read
//! from it lies within 1.6 % of what was put in. Integers alone: the same on every machine.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Each doubling is divided into 2 to the power of this.
const FINENESS: u32 = 5;

/// How long many answers took, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latency {
    sum: u64,
    min: u32,
    max: u32,
    /// How many are in each bucket, those without any left out.
    buckets: BTreeMap<u32, u32>,
}

impl Latency {
    /// Adds one.
    pub fn add(&mut self, ms: u32) {
        (self.min, self.max) = if self.is_empty() { (ms, ms) } else { (self.min.min(ms), self.max.max(ms)) };
        self.sum = self.sum.saturating_add(u64::from(ms));
        let count = self.buckets.entry(bucket(ms)).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        let is_first = self.is_empty();
        self.min = if is_first { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
        for (bucket, more) in &other.buckets {
            let count = self.buckets.entry(*bucket).or_default();
            *count = count.saturating_add(*more);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.values().map(|count| u64::from(*count)).sum()
    }

    /// The sum of all.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The shortest, exactly.
    pub fn min(&self) -> Option<u32> {
        (!self.is_empty()).then_some(self.min)
    }

    /// The longest, exactly.
    pub fn max(&self) -> Option<u32> {
        (!self.is_empty()).then_some(self.max)
    }

    /// The mean.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// The one that so many per cent (1 to 100) do not exceed, by the nearest sort key, within 1.6 % (or 1 ms).
    pub fn percentile(&self, percent: u32) -> Option<u32> {
        let wanted = (self.count() * u64::from(percent.clamp(1, 100))).div_ceil(100);
        let mut passed = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            passed += u64::from(**count);
            passed >= wanted
        });
        found.map(|(bucket, _)| middle(*bucket).min(self.max).max(self.min))
    }
}

/// The bucket that this goes into.
fn bucket(ms: u32) -> u32 {
    let doublings = (u32::BITS - (ms >> (FINENESS + 1)).leading_zeros()).min(u32::BITS);
    (doublings << FINENESS) + (ms >> doublings)
}

/// The middle of a bucket.
fn middle(bucket: u32) -> u32 {
    let doublings = (bucket >> FINENESS).saturating_sub(1).min(u32::BITS - FINENESS - 1);
    let first = u64::from(bucket - (doublings << FINENESS)) << doublings;
    let last = first + (1 << doublings) - 1;
    u32::try_from(first.midpoint(last)).unwrap_or(u32::MAX)
}

/// As it is stored: buckets in one list, each as its distance from the one before and its count.
#[derive(Serialize, Deserialize)]
struct Stored {
    sum: u64,
    min: u32,
    max: u32,
    buckets: Vec<u32>,
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut before = 0;
        let buckets = self.buckets.iter().flat_map(|(bucket, count)| {
            let distance = bucket - before;
            before = *bucket;
            [distance, *count]
        });
        let buckets = buckets.collect();
        Stored { sum: self.sum, min: self.min, max: self.max, buckets }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let (pairs, rest) = stored.buckets.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(D::Error::custom("expected pairs of distance and count"));
        }
        let mut bucket = 0u32;
        let pairs = pairs.iter().map(|[distance, count]| {
            bucket = bucket.saturating_add(*distance);
            (bucket, *count)
        });
        let buckets = pairs.collect();
        Ok(Self { sum: stored.sum, min: stored.min, max: stored.max, buckets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(all: &[u32]) -> Latency {
        let mut latency = Latency::default();
        all.iter().for_each(|ms| latency.add(*ms));
        latency
    }

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        let mut before = 0;
        for ms in 0..300_000 {
            let now = bucket(ms);
            assert!(now == before || now == before + 1, "{ms}");
            before = now;
        }
        assert!((0..64).all(|ms| bucket(ms) == ms && middle(ms) == ms));
        assert!(middle(bucket(u32::MAX)) > u32::MAX - (1 << 26));
        assert!(bucket(60_000) < 400, "a minute is not far");
    }

    #[test]
    fn none_has_no_percentile() {
        let none = Latency::default();
        assert_eq!((none.percentile(50), none.min(), none.max(), none.mean()), (None, None, None, None));
        let one = of(&[1_234]);
        assert_eq!((one.percentile(1), one.percentile(99), one.mean()), (Some(1_234), Some(1_234), Some(1_234.0)));
    }

    #[test]
    fn odd_texts_do_no_harm() {
        let read = serde_json::from_str::<Latency>;
        assert!(read(r#"{"sum":1,"min":1,"max":1,"buckets":[1]}"#).is_err());
        let odd = read(r#"{"sum":1,"min":1,"max":4294967295,"buckets":[4294967295,1,4294967295,4294967295]}"#).unwrap();
        assert_eq!(odd.percentile(100), Some(u32::MAX));
    }

    proptest! {
        #[test]
        fn percentiles_are_near_the_true_ones(
            mut all in proptest::collection::vec(prop_oneof![0u32..100, 0u32..30_000, any::<u32>()], 1..300),
            percent in 1u32..=100
        ) {
            let latency = of(&all);
            all.sort_unstable();
            for percent in [percent, 50, 95, 99] {
                let sort_key = (all.len() * percent as usize).div_ceil(100);
                let exact = all[sort_key - 1];
                let found = latency.percentile(percent).unwrap();
                prop_assert!(found.abs_diff(exact) <= exact / 64 + 1, "{} of {}: {} for {}", percent, all.len(), found, exact);
            }
            prop_assert_eq!(latency.count(), all.len() as u64);
            prop_assert_eq!((latency.min(), latency.max()), (all.first().copied(), all.last().copied()));
            prop_assert_eq!(latency.sum(), all.iter().map(|ms| u64::from(*ms)).sum::<u64>());
        }
    }
}
