//! The write-ahead log is checkpointed while the store is in use, and does not grow without bound.

use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::{new_event_of_bytes, open, workspace_id};
use crate::Store as _;
use crate::history::EventFilter;
use crate::sqlite::checkpoint::CHECKPOINT_BYTES;

fn wal_bytes(directory: &TempDir) -> u64 {
    std::fs::metadata(directory.path().join("tidings.db-wal")).unwrap().len()
}

/// Writes about this many bytes in many commits, with event numbers from `first` on. Returns the largest size of the
/// WAL.
async fn write(store: &crate::sqlite::SqliteStore, directory: &TempDir, first: u64, bytes: u64) -> u64 {
    const EACH: u64 = 20_000;
    let mut largest = 0;
    for number in first..first + bytes / EACH {
        store.accept(vec![new_event_of_bytes(number, EACH as usize)]).await.unwrap();
        largest = largest.max(wal_bytes(directory));
    }
    largest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wal_restarts_under_sustained_writes_and_reads() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let written = AtomicBool::new(false);
    let reads = async {
        let mut reads = 0;
        while !written.load(Ordering::Relaxed) {
            let filter = EventFilter { limit: 50, ..EventFilter::default() };
            store.events(workspace_id(), filter).await.unwrap();
            reads += 1;
        }
        reads
    };
    let writes = async {
        let largest = write(&store, &directory, 0, 16 * CHECKPOINT_BYTES).await;
        written.store(true, Ordering::Relaxed);
        largest
    };
    let (largest, reads) = tokio::join!(writes, reads);
    assert!(reads > 10, "{reads} reads");
    assert!(largest < 12 * CHECKPOINT_BYTES, "{largest} bytes");
}

#[tokio::test]
async fn wal_restarts_after_long_read_ends() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let reader = rusqlite::Connection::open(directory.path().join(crate::sqlite::DATABASE_FILE)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM workspace").unwrap();
    let largest = write(&store, &directory, 0, 6 * CHECKPOINT_BYTES).await;
    assert!(largest >= 6 * CHECKPOINT_BYTES, "the reader pins the WAL: {largest} bytes");
    reader.execute_batch("ROLLBACK").unwrap();
    // How soon depends on how fast the helper copies during these writes.
    for round in 1..=50 {
        write(&store, &directory, round * 10_000, CHECKPOINT_BYTES).await;
        if wal_bytes(&directory) <= 2 * CHECKPOINT_BYTES {
            return;
        }
    }
    panic!("it never restarted: {} bytes", wal_bytes(&directory));
}

#[tokio::test]
async fn close_removes_wal() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    write(&store, &directory, 0, CHECKPOINT_BYTES / 4).await;
    assert!(wal_bytes(&directory) > CHECKPOINT_BYTES / 4);
    store.close().await;
    assert!(!directory.path().join("tidings.db-wal").exists(), "the last connection removes it");
}
