//! The server's `/metrics`.

use anyhow::Context as _;

/// Committed transactions.
pub const COMMITS: &str = "tidings_store_commits_total";
/// Operations in them, by operation.
pub const OPERATIONS: &str = "tidings_store_operations_total";

/// One scrape.
pub struct Metrics(String);

impl Metrics {
    /// From the Prometheus text format.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The sum of a counter over all of its series that have all of these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let values = self.series(name).filter_map(|(series, value)| {
            labels.iter().all(|label| series.contains(label)).then(|| value.parse::<f64>().ok()).flatten()
        });
        values.sum()
    }

    /// Increase of a counter since an earlier scrape, over all series.
    pub fn grown(&self, before: &Self, name: &str) -> anyhow::Result<f64> {
        self.must_have(name)?;
        Ok(self.sum(name, &[]) - before.sum(name, &[]))
    }

    /// Fails unless there is such a metric: with a wrong name every increase would be zero.
    pub fn must_have(&self, name: &str) -> anyhow::Result<()> {
        let is_there = self.0.lines().any(|line| {
            let rest = line.strip_prefix("# TYPE ").unwrap_or(line).strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        anyhow::ensure!(is_there, "/metrics has no `{name}`");
        Ok(())
    }

    /// A quantile, in milliseconds, of a histogram in seconds since an earlier scrape. Interpolates linearly within a
    /// bucket, as Prometheus' `histogram_quantile` does.
    pub fn quantile_ms(&self, before: &Self, name: &str, quantile: f64) -> anyhow::Result<f64> {
        let (then, now) = (before.buckets(name), self.buckets(name));
        let grown = |(bound, count): &(f64, f64)| {
            let earlier = then.iter().find(|(earlier, _)| earlier == bound).map_or(0.0, |(_, count)| *count);
            (*bound, count - earlier)
        };
        let grown: Vec<(f64, f64)> = now.iter().map(grown).collect();
        let seconds =
            self::quantile(&grown, quantile).with_context(|| format!("`{name}` at /metrics has no new samples"))?;
        Ok(seconds * 1e3)
    }

    /// Upper bounds and cumulative counts of a histogram.
    fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let bound = |series: &str| series.split_once("le=\"")?.1.split_once('"')?.0.parse().ok();
        let name = format!("{name}_bucket");
        self.series(&name).filter_map(|(series, value)| Some((bound(series)?, value.parse().ok()?))).collect()
    }

    /// The labels and the value of each series of this name.
    fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            rest.rsplit_once(' ')
        })
    }
}

/// A quantile from ascending upper bounds and cumulative counts.
fn quantile(buckets: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let rank = buckets.last().map(|(_, all)| all * quantile).filter(|rank| *rank > 0.0)?;
    let index = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (bound, count) = buckets[index];
    let (lower, below) = if index == 0 { (0.0, 0.0) } else { buckets[index - 1] };
    // Of the `+Inf` bucket only the lower bound is known.
    Some(if bound.is_finite() { lower + (bound - lower) * (rank - below) / (count - below) } else { lower })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_adds_series_with_matching_labels() {
        let metrics = Metrics(
            "# HELP a_total x\n# TYPE a_total counter\na_total{type=\"x\",status=\"sent\"} 3\n\
             a_total{type=\"y\",status=\"sent\"} 4\na_total{type=\"y\",status=\"failed\"} 5\na_total_more 9\nb_total 2\n"
                .to_owned(),
        );
        assert_eq!(metrics.sum("a_total", &[]), 12.0);
        assert_eq!(metrics.sum("a_total", &[("status", "sent")]), 7.0);
        assert_eq!(metrics.sum("a_total", &[("status", "sent"), ("type", "y")]), 4.0);
        assert_eq!(metrics.sum("b_total", &[]), 2.0);
        assert!(metrics.must_have("a_total").is_ok() && metrics.must_have("a_tot").is_err());
        assert_eq!(metrics.grown(&Metrics("b_total 1.5\n".to_owned()), "b_total").unwrap(), 0.5);
    }

    #[test]
    fn quantile_ms_counts_samples_since_the_earlier_scrape() {
        let metrics = |counts: [u32; 4]| {
            let line = |(bound, count)| format!("lag_seconds_bucket{{le=\"{bound}\"}} {count}\n");
            let lines = ["0.001", "0.1", "0.2", "+Inf"].into_iter().zip(counts).map(line);
            Metrics(lines.chain(["lag_seconds_sum 3\nlag_seconds_count 9\n".to_owned()]).collect())
        };
        let (before, after) = (metrics([5, 5, 5, 5]), metrics([5, 55, 105, 115]));
        let at = |quantile| after.quantile_ms(&before, "lag_seconds", quantile).unwrap().round();
        assert_eq!((at(0.25), at(0.5), at(0.99)), (55.0, 110.0, 200.0));
        assert!(after.quantile_ms(&after, "lag_seconds", 0.5).is_err());
    }
}
