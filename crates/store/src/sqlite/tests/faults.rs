//! Failures: a full disk, operations that are refused or panic, rows that cannot be decoded.

use std::sync::mpsc;

use rusqlite::Connection;
use tidings_domain::delivery::Status;
use tidings_domain::gate::{Effect, Gate, Refusal};

use super::{
    NOW, accept_events, channel_id, event_exists, id, new_event, new_event_of_bytes, new_incident_event, open,
    workspace_id,
};
use crate::queue::{InitialState, Lease};
use crate::sqlite::SqliteStore;
use crate::sqlite::db::Db;
use crate::{Result, Store as _, StoreError};

/// Blocks the writer until the sender is dropped, so that requests pushed meanwhile form one batch.
fn block_writer(store: &SqliteStore) -> (mpsc::Sender<()>, impl Future<Output = Result<()>>) {
    let (unblock, blocked) = mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let blocking = store.writer.run_batched("block", move |_| {
        let _ = blocked.lock().map(|blocked| blocked.recv());
        Ok(())
    });
    (unblock, blocking)
}

/// Runs the operation in one batch with two accepts, and returns all three outcomes.
async fn in_one_batch<T: Send + 'static>(
    store: &SqliteStore,
    operation: impl Future<Output = Result<T>>,
) -> (Result<T>, Result<()>, Result<()>) {
    let (unblock, blocking) = block_writer(store);
    let accept = |number| async move { store.accept(vec![new_event(number)]).await.map(drop) };
    let unblock = async { drop(unblock) };
    // Polled in this order: each is pushed by its first poll, behind the one that blocks the writer.
    let (blocked, operation, one, two, ()) = tokio::join!(biased; blocking, operation, accept(1), accept(2), unblock);
    blocked.unwrap();
    (operation, one, two)
}

#[tokio::test]
async fn commit_full_disk_fails_batch_and_not_later_ones() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.accept(vec![new_event(1)]).await.unwrap();
    let set_pages_max = |pages: u32| {
        store.writer.run_batched("pages", move |db| {
            let pages = if pages == 0 { db.pragma_query_value(None, "page_count", |row| row.get(0))? } else { pages };
            db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            Ok(())
        })
    };
    set_pages_max(0).await.unwrap();
    let batch = async { store.accept(vec![new_event(2), new_event_of_bytes(3, 1 << 20), new_event(4)]).await };
    let (full, beside) = tokio::join!(biased; batch, store.accept(vec![new_event_of_bytes(5, 1 << 20)]));
    for outcome in [full, beside] {
        assert!(matches!(outcome, Err(StoreError::Database(_))), "{outcome:?}");
    }
    set_pages_max(1 << 30).await.unwrap();
    for number in 2..=5 {
        assert!(!event_exists(&store, number).await);
        assert!(!store.accept(vec![new_event(number)]).await.unwrap()[0].duplicate);
    }
    assert!(event_exists(&store, 1).await);
    store.ready().await.unwrap();
}

#[tokio::test]
async fn batch_refused_operation_does_not_affect_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let refused = store.writer.run_separately("refused", |db| {
        accept_events(db, vec![new_event(7)])?;
        Err::<(), _>(StoreError::Conflict)
    });
    let (refused, one, two) = in_one_batch(&store, refused).await;
    assert_eq!((refused, one, two), (Err(StoreError::Conflict), Ok(()), Ok(())));
    assert!(event_exists(&store, 1).await && event_exists(&store, 2).await);
    assert!(!event_exists(&store, 7).await, "what it had written is undone");
}

#[tokio::test]
async fn batch_refused_accept_does_not_affect_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let operation = async { store.accept(vec![new_event(7), twice(8)]).await };
    let (operation, one, two) = in_one_batch(&store, operation).await;
    assert_eq!((operation, one, two), (Err(StoreError::Exists), Ok(()), Ok(())));
    assert!(event_exists(&store, 1).await && event_exists(&store, 2).await);
    assert!(!event_exists(&store, 7).await && !event_exists(&store, 8).await);
}

/// An event with the same delivery twice.
fn twice(number: u64) -> crate::queue::NewEvent {
    let mut new_event = new_event(number);
    new_event.deliveries.extend(new_event.deliveries.clone());
    new_event
}

#[tokio::test]
async fn batch_panicking_operation_does_not_affect_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let panics = |db: &Db<'_>| -> Result<()> {
        accept_events(db, vec![new_event(7)])?;
        panic!("on purpose")
    };
    let (operation, one, two) = in_one_batch(&store, store.writer.run_batched("panics", panics)).await;
    assert_eq!((operation, one, two), (Err(StoreError::Defect("panics panicked".into())), Ok(()), Ok(())));
    assert!(event_exists(&store, 1).await && !event_exists(&store, 7).await);
    let separate = store.writer.run_separately("panics", panics).await;
    assert!(matches!(separate, Err(StoreError::Defect(_))));
    store.accept(vec![new_event(7)]).await.unwrap();
}

#[tokio::test]
async fn read_panicking_returns_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for _ in 0..5 {
        let outcome = store.history_readers.run(|_| -> Result<()> { panic!("on purpose") }).await;
        assert!(matches!(outcome, Err(StoreError::Defect(_))));
    }
    assert!(!event_exists(&store, 1).await, "every connection is still in the pool");
}

#[tokio::test]
async fn read_ends_its_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for outcome in [Ok(()), Err(StoreError::NotFound)] {
        let _ = store.readers.run(move |_| outcome).await;
    }
    let versions = store.versions().await.unwrap();
    store.apply_changes(workspace_id(), vec![]).await.unwrap();
    assert_ne!(store.versions().await.unwrap(), versions, "each read sees what was written before it");
}

#[tokio::test]
async fn claim_unreadable_delivery_is_failed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.accept(vec![new_event(1), new_event(2), new_event(3)]).await.unwrap();
    let corrupt = |db: &Db<'_>| {
        db.execute("DELETE FROM event WHERE run_id = 'run-1'", [])?;
        db.execute("UPDATE event SET content = '{' WHERE run_id = 'run-2'", [])?;
        Ok(())
    };
    store.writer.run_batched("corrupt", corrupt).await.unwrap();

    let lease = Lease { owner: 1, until: NOW.plus_ms(1) };
    let claimed = store.claim(NOW, lease, vec![(channel_id(), 9)]).await.unwrap();
    assert!(claimed.iter().map(|one| one.id).eq([id(3)]));
    let statuses = |db: &Connection| {
        let mut statement = db.prepare("SELECT status, due_at, last_error FROM delivery ORDER BY id")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<rusqlite::Result<Vec<(String, Option<i64>, Option<String>)>>>()?)
    };
    let found = store.readers.run(statuses).await.unwrap();
    for (status, due_at, error) in &found[..2] {
        assert_eq!((status.as_str(), *due_at), (Status::Failed.as_str(), None));
        assert!(error.as_ref().is_some_and(|error| error.starts_with("cannot be read")), "{error:?}");
    }
    assert_eq!(found[2].0, Status::Sending.as_str());
}

#[tokio::test]
async fn claim_unreadable_delivery_unblocks_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.accept(vec![new_incident_event(1, "a1"), new_incident_event(2, "a1")]).await.unwrap();
    store
        .writer
        .run_batched("corrupt", |db| Ok(db.execute("DELETE FROM event WHERE trigger = 'reminder:1'", [])?))
        .await
        .unwrap();
    let lease = Lease { owner: 1, until: NOW.plus_ms(1) };
    assert!(store.claim(NOW, lease, vec![(channel_id(), 9)]).await.unwrap().is_empty());
    let claimed = store.claim(NOW, lease, vec![(channel_id(), 9)]).await.unwrap();
    assert!(claimed.iter().map(|one| one.id).eq([id(2)]));
}

#[tokio::test]
async fn list_held_unreadable_delivery_is_failed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let held_event = |number| {
        let mut new_event = new_event(number);
        let stop = Refusal { effect: Effect::Hold, detail: String::new(), until: Some(NOW), mute_id: None };
        let delivery = &mut new_event.deliveries[0];
        (delivery.initial_state, delivery.evaluation.stopped) = (InitialState::Held, Some((Gate::QuietHours, stop)));
        new_event
    };
    store.accept(vec![held_event(1), held_event(2)]).await.unwrap();
    store
        .writer
        .run_batched("corrupt", |db| Ok(db.execute("DELETE FROM event WHERE run_id = 'run-1'", [])?))
        .await
        .unwrap();
    for _ in 0..2 {
        let found = store.list_held(workspace_id(), channel_id(), NOW, 9).await.unwrap();
        assert!(found.iter().map(|held| held.id).eq([id(2)]));
    }
    let held = |db: &Connection| {
        Ok(db.query_row("SELECT count(*) FROM delivery WHERE held_until IS NOT NULL", [], |row| row.get::<_, u32>(0))?)
    };
    assert_eq!(store.readers.run(held).await, Ok(1), "the failed one is not due again");
}
