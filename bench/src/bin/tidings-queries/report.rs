//! The table of results.

use std::fmt;
use std::time::Duration;

use super::ms;

/// Results of all reads.
#[derive(Default)]
pub struct Report {
    /// A single read of one row.
    pub unit: Duration,
    lines: Vec<Line>,
}

struct Line {
    workspace: &'static str,
    name: &'static str,
    rows: usize,
    searches: u32,
    median: Duration,
    max: Duration,
}

impl Report {
    /// The median of some times, which it sorts.
    pub fn median(times: &mut [Duration]) -> Duration {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// Adds the times of one read.
    pub fn add(
        &mut self,
        workspace: &'static str,
        name: &'static str,
        rows: usize,
        searches: u32,
        mut times: Vec<Duration>,
    ) {
        let median = Self::median(&mut times);
        let max = times.last().copied().unwrap_or_default();
        self.lines.push(Line { workspace, name, rows, searches, median, max });
    }
}

impl Report {
    /// The slowest lists by their medians, for the benchmark: in milliseconds.
    pub fn summary(&self) -> serde_json::Value {
        let slowest = |is_text: bool| {
            let lines = self.lines.iter().filter(|line| line.name.starts_with("q=") == is_text);
            lines.map(|line| ms(line.median)).fold(0.0, f64::max)
        };
        serde_json::json!({"oneMs": ms(self.unit), "filterMs": slowest(false), "textMs": slowest(true)})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "one delivery by its id: {:.3} ms", ms(self.unit))?;
        writeln!(
            f,
            "{:9} {:44} {:>5} {:>8} {:>10} {:>10} {:>9}",
            "workspace", "list", "rows", "searches", "median ms", "max ms", "in reads"
        )?;
        for Line { workspace, name, rows, searches, median, max } in &self.lines {
            let reads = median.as_secs_f64() / self.unit.as_secs_f64();
            let (median, max) = (ms(*median), ms(*max));
            writeln!(f, "{workspace:9} {name:44} {rows:>5} {searches:>8} {median:>10.2} {max:>10.2} {reads:>9.0}")?;
        }
        Ok(())
    }
}
