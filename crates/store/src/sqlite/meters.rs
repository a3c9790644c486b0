//! What is measured of the writer: transactions, how long they take, and what they carry.

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};
use tokio::time::Instant;

use super::waiting::Batch;

const COMMITS: &str = "tidings_store_commits_total";
const DURATION: &str = "tidings_store_commit_duration_seconds";
const OPERATIONS: &str = "tidings_store_operations_total";

/// Says what each series means.
pub(super) fn describe() {
    describe_counter!(COMMITS, Unit::Count, "Transactions committed; each is one fsync of the log.");
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "How long transactions took, from their first statement until they were on the disk."
    );
    describe_counter!(OPERATIONS, Unit::Count, "Operations written, by operation. Many share a commit.");
}

/// The series, each looked up once.
pub(super) struct Meters {
    commits: Counter,
    durations: Histogram,
    operations: Vec<(&'static str, Counter)>,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self { commits: counter!(COMMITS), durations: histogram!(DURATION), operations: Vec::new() }
    }

    /// A batch was committed that began to be written at this instant.
    pub(super) fn committed(&mut self, batch: &Batch, began: Instant) {
        self.commits.increment(1);
        self.durations.record(began.elapsed().as_secs_f64());
        self.count("accept", batch.accepts.len());
        self.count("settle", batch.settlements.len());
        batch.others.iter().for_each(|operation| self.count(operation.name(), 1));
    }

    fn count(&mut self, name: &'static str, operations: usize) {
        let index = self.operations.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.operations.push((name, counter!(OPERATIONS, "operation" => name)));
            self.operations.len() - 1
        });
        self.operations[index].1.increment(operations as u64);
    }
}
