//! Time limits of reads, and the permissions of the files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::{Instant, timeout};

use super::{event_exists, new_event, open};
use crate::sqlite::reader::Readers;
use crate::sqlite::{DATABASE_FILE, HISTORY_READERS, SqliteStore};
use crate::{Result, Store as _, StoreError};

/// Longer than anything here should take.
const TEST_TIMEOUT: Duration = Duration::from_secs(8);

/// A query that runs until it is interrupted.
fn endless(db: &Connection) -> Result<i64> {
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    Ok(db.query_row(sql, [], |row| row.get(0))?)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn read_over_time_limit_is_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    let _store = open(&directory).await;
    let readers = Readers::open(&directory.path().join(DATABASE_FILE), 1, Some(Duration::from_millis(50))).unwrap();
    for _ in 0..2 {
        let outcome = timeout(TEST_TIMEOUT, readers.run(endless)).await.expect("it ends");
        assert!(matches!(&outcome, Err(StoreError::TooSlow { .. })), "{outcome:?}");
        let one = readers.run(|db| Ok(db.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)).await;
        assert_eq!(one, Ok(1), "its connection can still be used");
    }
}

#[tokio::test]
async fn read_waiting_over_time_limit_is_busy() {
    let directory = tempfile::tempdir().unwrap();
    let _store = open(&directory).await;
    let readers = Readers::open(&directory.path().join(DATABASE_FILE), 1, Some(Duration::from_millis(50))).unwrap();
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let blocking = readers.run(move |_| Ok(blocked.recv().is_err()));
    let waiting = async {
        let outcome = readers.run(|_| Ok(())).await;
        drop(unblock);
        outcome
    };
    let (blocked, outcome) = tokio::join!(biased; blocking, waiting);
    assert_eq!((blocked, outcome), (Ok(true), Err(StoreError::Busy)));
}

#[tokio::test]
async fn read_own_error_is_returned() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    assert_eq!(store.history_readers.run(|_| Err::<(), _>(StoreError::Conflict)).await, Err(StoreError::Conflict));
}

#[tokio::test]
async fn close_interrupts_long_reads() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let began = Instant::now();
    // One more than there are connections.
    let (started, mut running) = tokio::sync::mpsc::unbounded_channel();
    let reads = (0..=HISTORY_READERS).map(|_| {
        let started = started.clone();
        store.history_readers.run(move |db| {
            let _ = started.send(());
            endless(db)
        })
    });
    let close = async {
        for _ in 0..HISTORY_READERS {
            running.recv().await;
        }
        store.close().await;
    };
    let (outcomes, ()) = tokio::join!(join_all(reads), close);
    assert!(outcomes.iter().all(|outcome| *outcome == Err(StoreError::Closed)), "{outcomes:?}");
    assert!(began.elapsed() < TEST_TIMEOUT, "{:?}", began.elapsed());
}

/// Polls all futures until each has ended.
async fn join_all<T: Send + 'static>(all: impl Iterator<Item: Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (one, slot) in all.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(outcome) = one.as_mut().poll(context)
            {
                *slot = Some(outcome);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn open_creates_private_files() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("var/data");
    let store = SqliteStore::open(&data).unwrap();
    store.ready().await.unwrap();
    assert_eq!(mode(&data), 0o700);
    for file in [DATABASE_FILE, "tidings.db-wal", "tidings.db-shm", "tidings.lock"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn open_keeps_existing_permissions() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.accept(vec![new_event(1)]).await.unwrap();
    store.close().await;
    drop(store);
    let file = directory.path().join(DATABASE_FILE);
    for (path, mode) in [(directory.path(), 0o750), (&file, 0o640)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let store = SqliteStore::open(directory.path()).unwrap();
    assert!(event_exists(&store, 1).await);
    assert_eq!((mode(directory.path()), mode(&file)), (0o750, 0o640));
}
