//! What happens when the disk is full, an operation is refused or panics, or a row makes no sense.

use std::sync::mpsc;

use rusqlite::Connection;
use tidings_domain::delivery::Status;
use tidings_domain::gate::{Effect, Gate, Refusal};

use super::{NOW, channel_id, id, incoming_of_bytes, is_there, new_event, open, take_in, workspace_id};
use crate::queue::{InitialState, Lease};
use crate::sqlite::SqliteStore;
use crate::sqlite::db::Db;
use crate::{Result, Store as _, StoreError};

/// Holds the writer, so that what is sent meanwhile becomes one batch. Lets it go when the sender is dropped.
fn hold(store: &SqliteStore) -> (mpsc::Sender<()>, impl Future<Output = Result<()>>) {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let holding = store.writer.run("hold", move |_| {
        let _ = held.lock().map(|held| held.recv());
        Ok(())
    });
    (release, holding)
}

/// Runs these three as one batch, the last two beside the first.
async fn in_one_batch<T: Send + 'static>(
    store: &SqliteStore,
    odd: impl Future<Output = Result<T>>,
) -> (Result<T>, Result<()>, Result<()>) {
    let (release, holding) = hold(store);
    let accept = |number| async move { store.accept(vec![new_event(number)]).await.map(drop) };
    let let_go = async { drop(release) };
    // Polled in this order: each is queued by its first poll, behind the one that holds the writer.
    let (held, odd, one, two, ()) = tokio::join!(biased; holding, odd, accept(1), accept(2), let_go);
    held.unwrap();
    (odd, one, two)
}

#[tokio::test]
async fn a_full_disk_fails_the_batch_and_not_what_comes_after() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.accept(vec![new_event(1)]).await.unwrap();
    let set_pages_max = |pages: u32| {
        store.writer.run("pages", move |db| {
            let pages = if pages == 0 { db.pragma_query_value(None, "page_count", |row| row.get(0))? } else { pages };
            db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            Ok(())
        })
    };
    set_pages_max(0).await.unwrap();
    let batch = async { store.accept(vec![new_event(2), incoming_of_bytes(3, 1 << 20), new_event(4)]).await };
    let (full, beside) = tokio::join!(biased; batch, store.accept(vec![incoming_of_bytes(5, 1 << 20)]));
    for outcome in [full, beside] {
        assert!(matches!(outcome, Err(StoreError::Database(_))), "{outcome:?}");
    }
    set_pages_max(1 << 30).await.unwrap();
    for number in 2..=5 {
        assert!(!is_there(&store, number).await);
        assert!(!store.accept(vec![new_event(number)]).await.unwrap()[0].duplicate);
    }
    assert!(is_there(&store, 1).await);
    store.ready().await.unwrap();
}

#[tokio::test]
async fn a_refused_operation_takes_nobody_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let refused = store.writer.run_alone("refused", |db| {
        take_in(db, vec![new_event(7)])?;
        Err::<(), _>(StoreError::Conflict)
    });
    let (refused, one, two) = in_one_batch(&store, refused).await;
    assert_eq!((refused, one, two), (Err(StoreError::Conflict), Ok(()), Ok(())));
    assert!(is_there(&store, 1).await && is_there(&store, 2).await);
    assert!(!is_there(&store, 7).await, "what it had written is undone");
}

#[tokio::test]
async fn a_hot_operation_that_fails_for_its_own_reason_takes_nobody_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let odd = async { store.accept(vec![new_event(7), twice(8)]).await };
    let (odd, one, two) = in_one_batch(&store, odd).await;
    assert_eq!((odd, one, two), (Err(StoreError::Exists), Ok(()), Ok(())));
    assert!(is_there(&store, 1).await && is_there(&store, 2).await);
    assert!(!is_there(&store, 7).await && !is_there(&store, 8).await);
}

/// An event with the same delivery twice.
fn twice(number: u64) -> crate::queue::NewEvent {
    let mut new_event = new_event(number);
    new_event.deliveries.extend(new_event.deliveries.clone());
    new_event
}

#[tokio::test]
async fn an_operation_that_panics_takes_nobody_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let panics = |db: &Db<'_>| -> Result<()> {
        take_in(db, vec![new_event(7)])?;
        panic!("on purpose")
    };
    let (odd, one, two) = in_one_batch(&store, store.writer.run("panics", panics)).await;
    assert_eq!((odd, one, two), (Err(StoreError::Defect("panics panicked".into())), Ok(()), Ok(())));
    assert!(is_there(&store, 1).await && !is_there(&store, 7).await);
    let alone = store.writer.run_alone("panics", panics).await;
    assert!(matches!(alone, Err(StoreError::Defect(_))));
    store.accept(vec![new_event(7)]).await.unwrap();
}

#[tokio::test]
async fn a_read_that_panics_gives_its_connection_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for _ in 0..5 {
        let outcome = store.log_readers.run(|_| -> Result<()> { panic!("on purpose") }).await;
        assert!(matches!(outcome, Err(StoreError::Defect(_))));
    }
    assert!(!is_there(&store, 1).await, "there are readers left");
}

#[tokio::test]
async fn no_read_leaves_its_transaction_open() {
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
async fn a_delivery_that_cannot_be_read_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.accept(vec![new_event(1), new_event(2), new_event(3)]).await.unwrap();
    let spoil = |db: &Db<'_>| {
        db.execute("DELETE FROM event WHERE run_id = 'run-1'", [])?;
        db.execute("UPDATE event SET content = '{' WHERE run_id = 'run-2'", [])?;
        Ok(())
    };
    store.writer.run("spoil", spoil).await.unwrap();

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
async fn what_is_given_up_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let mut waits = new_event(2);
    waits.deliveries[0].blocked_by = Some(id(1));
    store.accept(vec![new_event(1), waits]).await.unwrap();
    store.writer.run("spoil", |db| Ok(db.execute("DELETE FROM event WHERE run_id = 'run-1'", [])?)).await.unwrap();
    let lease = Lease { owner: 1, until: NOW.plus_ms(1) };
    assert!(store.claim(NOW, lease, vec![(channel_id(), 9)]).await.unwrap().is_empty());
    let claimed = store.claim(NOW, lease, vec![(channel_id(), 9)]).await.unwrap();
    assert!(claimed.iter().map(|one| one.id).eq([id(2)]));
}

#[tokio::test]
async fn what_is_held_and_cannot_be_read_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let holds = |number| {
        let mut new_event = new_event(number);
        let stop = Refusal { effect: Effect::Hold, detail: String::new(), until: Some(NOW), mute_id: None };
        let delivery = &mut new_event.deliveries[0];
        (delivery.start, delivery.evaluation.stopped) = (InitialState::Held, Some((Gate::QuietHours, stop)));
        new_event
    };
    store.accept(vec![holds(1), holds(2)]).await.unwrap();
    store.writer.run("spoil", |db| Ok(db.execute("DELETE FROM event WHERE run_id = 'run-1'", [])?)).await.unwrap();
    for _ in 0..2 {
        let found = store.list_held(workspace_id(), channel_id(), NOW, 9).await.unwrap();
        assert!(found.iter().map(|held| held.id).eq([id(2)]));
    }
    let held = |db: &Connection| {
        Ok(db.query_row("SELECT count(*) FROM delivery WHERE held_until IS NOT NULL", [], |row| row.get::<_, u32>(0))?)
    };
    assert_eq!(store.readers.run(held).await, Ok(1), "the other one does not come up again");
}
