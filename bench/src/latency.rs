//! Latency histograms: recorded in nanoseconds, reported in milliseconds.

use hdrhistogram::Histogram;
use serde::Serialize;

/// One minute; longer latencies count as this.
const NANOS_MAX: u64 = 60_000_000_000;

/// A latency histogram.
pub struct Latencies(Histogram<u64>);

/// Summary of a histogram, as JSON.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names suffice")]
pub struct Summary {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, NANOS_MAX, 3).expect("these bounds are valid"))
    }
}

impl Latencies {
    /// Adds a latency.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos.max(1));
    }

    /// Adds all latencies of another histogram.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// Removes all latencies.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// `None` if the histogram is empty.
    pub fn summary(&self) -> Option<Summary> {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e6;
        (!self.0.is_empty()).then(|| Summary {
            count: self.0.len(),
            mean_ms: self.0.mean() / 1e6,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: self.0.max() as f64 / 1e6,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_reports_quantiles_in_milliseconds() {
        let (mut latencies, mut others) = (Latencies::default(), Latencies::default());
        assert!(latencies.summary().is_none());
        (1..=50).for_each(|ms| latencies.record(ms * 1_000_000));
        (51..=100).for_each(|ms| others.record(ms * 1_000_000));
        latencies.merge(&others);
        let summary = latencies.summary().unwrap();
        assert_eq!(summary.count, 100);
        assert!((summary.p50_ms - 50.0).abs() < 0.1, "{summary:?}");
        assert!((summary.p99_ms - 99.0).abs() < 0.1, "{summary:?}");
    }
}
