//! Reads that would take for ever, and who may read the files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::{Instant, timeout};

use super::{is_there, new_event, open};
use crate::sqlite::reader::Readers;
use crate::sqlite::{FILE, LOG_READERS, SqliteStore};
use crate::{Result, Store as _, StoreError};

/// Longer than anything here takes.
const SURELY: Duration = Duration::from_secs(8);

/// Counts until it is stopped.
fn endless(db: &Connection) -> Result<i64> {
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    Ok(db.query_row(sql, [], |row| row.get(0))?)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_broken_off() {
    let directory = tempfile::tempdir().unwrap();
    let _store = open(&directory).await;
    let readers = Readers::open(&directory.path().join(FILE), 1, Some(Duration::from_millis(50))).unwrap();
    for _ in 0..2 {
        let outcome = timeout(SURELY, readers.run(endless)).await.expect("it ends");
        assert!(matches!(&outcome, Err(StoreError::TooSlow { .. })), "{outcome:?}");
        let one = readers.run(|db| Ok(db.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)).await;
        assert_eq!(one, Ok(1), "its connection goes on");
    }
}

#[tokio::test]
async fn a_read_waits_for_others_no_longer_than_it_may_take() {
    let directory = tempfile::tempdir().unwrap();
    let _store = open(&directory).await;
    let readers = Readers::open(&directory.path().join(FILE), 1, Some(Duration::from_millis(50))).unwrap();
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let holding = readers.run(move |_| Ok(held.recv().is_err()));
    let waiting = async {
        let outcome = readers.run(|_| Ok(())).await;
        drop(let_go);
        outcome
    };
    let (held, outcome) = tokio::join!(biased; holding, waiting);
    assert_eq!((held, outcome), (Ok(true), Err(StoreError::Busy)));
}

#[tokio::test]
async fn a_failure_of_its_own_keeps_its_words() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    assert_eq!(store.log_readers.run(|_| Err::<(), _>(StoreError::Conflict)).await, Err(StoreError::Conflict));
}

#[tokio::test]
async fn closing_does_not_wait_for_long_reads() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let began = Instant::now();
    // One more than there are readers: it waits for its turn.
    let (begun, mut under_way) = tokio::sync::mpsc::unbounded_channel();
    let reads = (0..=LOG_READERS).map(|_| {
        let begun = begun.clone();
        store.log_readers.run(move |db| {
            let _ = begun.send(());
            endless(db)
        })
    });
    let close = async {
        for _ in 0..LOG_READERS {
            under_way.recv().await;
        }
        store.close().await;
    };
    let (outcomes, ()) = tokio::join!(futures_of(reads), close);
    assert!(outcomes.iter().all(|outcome| *outcome == Err(StoreError::Closed)), "{outcomes:?}");
    assert!(began.elapsed() < SURELY, "{:?}", began.elapsed());
}

/// All at once, to the end of each.
async fn futures_of<T: Send + 'static>(all: impl Iterator<Item: Future<Output = T>>) -> Vec<T> {
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
async fn what_is_made_is_the_services_own() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("var/data");
    let store = SqliteStore::open(&data).unwrap();
    store.ready().await.unwrap();
    assert_eq!(mode(&data), 0o700);
    for file in [FILE, "tidings.db-wal", "tidings.db-shm", "tidings.lock"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn what_is_there_stays_as_open_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.accept(vec![new_event(1)]).await.unwrap();
    store.close().await;
    drop(store);
    let file = directory.path().join(FILE);
    for (path, mode) in [(directory.path(), 0o750), (&file, 0o640)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let store = SqliteStore::open(directory.path()).unwrap();
    assert!(is_there(&store, 1).await);
    assert_eq!((mode(directory.path()), mode(&file)), (0o750, 0o640));
}
