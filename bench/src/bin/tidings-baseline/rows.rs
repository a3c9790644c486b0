//! The store's work without the server: keys, events, deliveries and attempts in SQLite, durable at every commit.
//!
//! Each commit accepts some events and settles those of the commit before it, as the server's writer does at
//! saturation. There is no HTTP, routing or threading: the server cannot write less than this.

use std::{path::Path, time::Duration};

use serde_json::json;
use tidings_bench::{clock, procfs};

use crate::tables;

/// More than any machine commits in ten minutes.
const COMMITS_MAX: u64 = 10_000_000;

/// Writes until the time limit.
pub fn measure(dir: &Path, limit: Duration, operations: u64, body_bytes: usize) -> anyhow::Result<serde_json::Value> {
    let path = dir.join("rows.db");
    anyhow::ensure!(!path.exists(), "{} exists already", path.display());
    let mut connection = tables::open(&path)?;
    let body = vec![b'x'; body_bytes];
    let per_commit = operations / 2;

    let cpu_before = procfs::own_cpu_seconds()?;
    let start = clock::now_nanos();
    let (mut commits, mut seconds) = (0, 0.0);
    while seconds < limit.as_secs_f64() && commits < COMMITS_MAX {
        let transaction = connection.transaction()?;
        let first = commits * per_commit;
        for number in first..first + per_commit {
            tables::accept(&transaction, number, 1, &body)?;
        }
        for number in first.saturating_sub(per_commit)..first {
            tables::settle(&transaction, number)?;
        }
        transaction.commit()?;
        commits += 1;
        seconds = clock::seconds_between(start, clock::now_nanos());
    }
    let events = (commits * per_commit) as f64;
    let cpu_ms = (procfs::own_cpu_seconds()? - cpu_before) * 1e3;
    Ok(json!({
        "bodyBytes": body_bytes,
        "operationsPerCommit": operations,
        "eventsPerSecond": events / seconds,
        "rowInsertsPerSecond": events * 4.0 / seconds,
        "commitsPerSecond": commits as f64 / seconds,
        "cpuMsPerEvent": cpu_ms / events,
    }))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn measure_settles_events_one_commit_later() {
        let dir = std::env::temp_dir().join(format!("tidings-baseline-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let measured = measure(&dir, Duration::from_millis(100), 20, 600).unwrap();
        assert!(measured["eventsPerSecond"].as_f64().unwrap() > 0.0);
        let connection = Connection::open(dir.join("rows.db")).unwrap();
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM deliveries WHERE status = 3"), 10);
        assert_eq!(count("SELECT count(*) FROM deliveries"), count("SELECT count(*) FROM attempts") + 10);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
