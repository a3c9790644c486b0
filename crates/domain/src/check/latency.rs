//! A histogram of response times with logarithmic buckets, as in HdrHistogram: small, and of the same relative precision
//! everywhere.
//!
//! Up to 63 ms each value has a bucket of its own; above, each power of two is divided into 32 buckets, so that a
//! percentile lies within 1.6 % of the true value. Integer arithmetic only, so results are the same on every machine.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Each power of two is divided into `2^SUB_BUCKET_BITS` buckets.
const SUB_BUCKET_BITS: u32 = 5;

/// A distribution of response times, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latency {
    sum: u64,
    min: u32,
    max: u32,
    /// Counts by bucket number, without empty buckets.
    buckets: BTreeMap<u32, u32>,
}

impl Latency {
    /// Adds one value.
    pub fn add(&mut self, ms: u32) {
        (self.min, self.max) = if self.is_empty() { (ms, ms) } else { (self.min.min(ms), self.max.max(ms)) };
        self.sum = self.sum.saturating_add(u64::from(ms));
        let count = self.buckets.entry(bucket(ms)).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds the values of another histogram.
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

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.buckets.values().map(|count| u64::from(*count)).sum()
    }

    /// The sum of all values, in milliseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The least value, exact.
    pub fn min(&self) -> Option<u32> {
        (!self.is_empty()).then_some(self.min)
    }

    /// The greatest value, exact.
    pub fn max(&self) -> Option<u32> {
        (!self.is_empty()).then_some(self.max)
    }

    /// The arithmetic mean, exact.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// The value that `percent` (1 to 100) of the values do not exceed, by nearest rank, within 1.6 % or 1 ms.
    pub fn percentile(&self, percent: u32) -> Option<u32> {
        let rank = (self.count() * u64::from(percent.clamp(1, 100))).div_ceil(100);
        let mut cumulative = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            cumulative += u64::from(**count);
            cumulative >= rank
        });
        found.map(|(bucket, _)| midpoint(*bucket).min(self.max).max(self.min))
    }
}

/// The number of the bucket that the value belongs to.
fn bucket(ms: u32) -> u32 {
    let doublings = (u32::BITS - (ms >> (SUB_BUCKET_BITS + 1)).leading_zeros()).min(u32::BITS);
    (doublings << SUB_BUCKET_BITS) + (ms >> doublings)
}

/// The middle of the bucket's range.
fn midpoint(bucket: u32) -> u32 {
    let doublings = (bucket >> SUB_BUCKET_BITS).saturating_sub(1).min(u32::BITS - SUB_BUCKET_BITS - 1);
    let first = u64::from(bucket - (doublings << SUB_BUCKET_BITS)) << doublings;
    let last = first + (1 << doublings) - 1;
    u32::try_from(first.midpoint(last)).unwrap_or(u32::MAX)
}

/// The stored form: `buckets` alternates the distance from the previous bucket number and the count.
#[derive(Serialize, Deserialize)]
struct StoredHistogram {
    sum: u64,
    min: u32,
    max: u32,
    buckets: Vec<u32>,
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut previous = 0;
        let buckets = self.buckets.iter().flat_map(|(bucket, count)| {
            let distance = bucket - previous;
            previous = *bucket;
            [distance, *count]
        });
        let buckets = buckets.collect();
        StoredHistogram { sum: self.sum, min: self.min, max: self.max, buckets }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredHistogram::deserialize(deserializer)?;
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

    fn histogram(all: &[u32]) -> Latency {
        let mut latency = Latency::default();
        all.iter().for_each(|ms| latency.add(*ms));
        latency
    }

    #[test]
    fn bucket_numbers_have_no_gaps() {
        let mut previous = 0;
        for ms in 0..300_000 {
            let now = bucket(ms);
            assert!(now == previous || now == previous + 1, "{ms}");
            previous = now;
        }
        assert!((0..64).all(|ms| bucket(ms) == ms && midpoint(ms) == ms));
        assert!(midpoint(bucket(u32::MAX)) > u32::MAX - (1 << 26));
        assert!(bucket(60_000) < 400, "a minute has a small number");
    }

    #[test]
    fn empty_histogram_has_no_percentile() {
        let none = Latency::default();
        assert_eq!((none.percentile(50), none.min(), none.max(), none.mean()), (None, None, None, None));
        let one = histogram(&[1_234]);
        assert_eq!((one.percentile(1), one.percentile(99), one.mean()), (Some(1_234), Some(1_234), Some(1_234.0)));
    }

    #[test]
    fn stored_histogram_out_of_range_saturates() {
        let read = serde_json::from_str::<Latency>;
        assert!(read(r#"{"sum":1,"min":1,"max":1,"buckets":[1]}"#).is_err());
        let odd = read(r#"{"sum":1,"min":1,"max":4294967295,"buckets":[4294967295,1,4294967295,4294967295]}"#).unwrap();
        assert_eq!(odd.percentile(100), Some(u32::MAX));
    }

    proptest! {
        #[test]
        fn percentiles_are_within_the_stated_precision(
            mut all in proptest::collection::vec(prop_oneof![0u32..100, 0u32..30_000, any::<u32>()], 1..300),
            percent in 1u32..=100
        ) {
            let latency = histogram(&all);
            all.sort_unstable();
            for percent in [percent, 50, 95, 99] {
                let rank = (all.len() * percent as usize).div_ceil(100);
                let exact = all[rank - 1];
                let found = latency.percentile(percent).unwrap();
                prop_assert!(found.abs_diff(exact) <= exact / 64 + 1, "{} of {}: {} for {}", percent, all.len(), found, exact);
            }
            prop_assert_eq!(latency.count(), all.len() as u64);
            prop_assert_eq!((latency.min(), latency.max()), (all.first().copied(), all.last().copied()));
            prop_assert_eq!(latency.sum(), all.iter().map(|ms| u64::from(*ms)).sum::<u64>());
        }
    }
}
