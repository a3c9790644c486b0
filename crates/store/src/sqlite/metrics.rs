//! Metrics of the writer: commits, their duration and the operations in them.

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};
use tokio::time::Instant;

use super::write_queue::Batch;

const COMMITS: &str = "tidings_store_commits_total";
const DURATION: &str = "tidings_store_commit_duration_seconds";
const OPERATIONS: &str = "tidings_store_operations_total";

/// Registers the help texts.
pub(super) fn describe() {
    describe_counter!(COMMITS, Unit::Count, "Committed transactions. Each is one fsync of the write-ahead log.");
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "Duration of transactions, from their first statement until they are on disk."
    );
    describe_counter!(OPERATIONS, Unit::Count, "Committed operations, by operation. One commit may hold many.");
}

/// The writer's series, each looked up once.
pub(super) struct WriterMetrics {
    commits: Counter,
    durations: Histogram,
    operations: Vec<(&'static str, Counter)>,
}

impl WriterMetrics {
    pub(super) fn new() -> Self {
        Self { commits: counter!(COMMITS), durations: histogram!(DURATION), operations: Vec::new() }
    }

    /// Records a committed batch whose transaction began at `started_at`.
    pub(super) fn record_commit(&mut self, batch: &Batch, started_at: Instant) {
        self.commits.increment(1);
        self.durations.record(started_at.elapsed().as_secs_f64());
        self.count("accept", batch.accepts.len());
        self.count("settle", batch.settlements.len());
        batch.others.iter().for_each(|operation| self.count(operation.name(), 1));
    }

    fn count(&mut self, name: &'static str, operations: usize) {
        // A linear search: there are about twenty names.
        let index = self.operations.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.operations.push((name, counter!(OPERATIONS, "operation" => name)));
            self.operations.len() - 1
        });
        self.operations[index].1.increment(operations as u64);
    }
}
