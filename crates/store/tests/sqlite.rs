//! What the embedded store promises beyond the conformance suite: one process per directory, no newer schema, and no
//! loss of answered writes, however the process ended.

use std::path::Path;
use std::sync::Arc;

use tidings_domain::event::Event;
use tidings_domain::id::{EventId, Id, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_store::queue::NewEvent;
use tidings_store::sqlite::{DATABASE_FILE, SqliteStore};
use tidings_store::{Store, StoreError};

const NOW: Timestamp = Timestamp::from_unix_ms(1_780_000_000_000);

fn workspace_id() -> WorkspaceId {
    WorkspaceId::from_bytes([1; 16])
}

fn event_id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

fn new_event(number: u8) -> NewEvent {
    let mut event = Event::sample(event_id(number), workspace_id(), ResourceType::Flow, "f1", NOW);
    event.run_id = format!("run-{number}");
    NewEvent { event: Arc::new(event), fingerprint: None, not_routed: vec![], deliveries: vec![] }
}

async fn event_exists(store: &SqliteStore, number: u8) -> bool {
    store.event(workspace_id(), event_id(number)).await.unwrap().is_some()
}

fn open_error(directory: &Path) -> StoreError {
    SqliteStore::open(directory).err().expect("open fails")
}

#[tokio::test]
async fn open_locked_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(open_error(directory.path()), StoreError::Locked(directory.path().display().to_string()));
    store.accept(vec![new_event(1)]).await.unwrap();
    drop(store);
    SqliteStore::open(directory.path()).unwrap();
}

#[test]
fn open_newer_schema_is_refused_and_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(directory.path()).unwrap());
    let database = rusqlite::Connection::open(directory.path().join(DATABASE_FILE)).unwrap();
    database.pragma_update(None, "user_version", 9_999).unwrap();
    drop(database);
    let before = std::fs::read(directory.path().join(DATABASE_FILE)).unwrap();
    assert!(matches!(open_error(directory.path()), StoreError::TooNew { found: 9_999, known: 1.. }));
    assert_eq!(std::fs::read(directory.path().join(DATABASE_FILE)).unwrap(), before);
}

#[test]
fn open_schema_of_other_build_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(directory.path()).unwrap());
    let database = rusqlite::Connection::open(directory.path().join(DATABASE_FILE)).unwrap();
    database.pragma_update(None, "application_id", 0).unwrap();
    drop(database);
    let before = std::fs::read(directory.path().join(DATABASE_FILE)).unwrap();
    let message = open_error(directory.path()).to_string();
    assert!(message.contains(&directory.path().display().to_string()) && message.contains("--data-dir"), "{message}");
    assert_eq!(std::fs::read(directory.path().join(DATABASE_FILE)).unwrap(), before);
}

#[test]
fn open_unusable_directory_is_named_in_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("taken");
    std::fs::write(&file, "").unwrap();
    let message = open_error(&file.join("data")).to_string();
    assert!(message.contains(&file.join("data").display().to_string()), "{message}");
}

#[tokio::test]
async fn drop_without_close_keeps_answered_writes() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..5 {
        let store = SqliteStore::open(directory.path()).unwrap();
        for earlier in 0..number {
            assert!(event_exists(&store, earlier).await);
        }
        store.accept(vec![new_event(number)]).await.unwrap();
    }
}

/// The files at the moment of the answer are what a crash of the process leaves behind.
#[tokio::test]
async fn answered_writes_are_in_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    for number in 0..5 {
        store.accept(vec![new_event(number)]).await.unwrap();
        let crashed = tempfile::tempdir().unwrap();
        for file in [DATABASE_FILE.to_owned(), format!("{DATABASE_FILE}-wal")] {
            std::fs::copy(directory.path().join(&file), crashed.path().join(&file)).unwrap();
        }
        let reopened = SqliteStore::open(crashed.path()).unwrap();
        for earlier in 0..=number {
            assert!(event_exists(&reopened, earlier).await);
        }
    }
}

#[tokio::test]
async fn close_leaves_everything_in_database_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    store.accept(vec![new_event(1)]).await.unwrap();
    store.close().await;
    let copied = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join(DATABASE_FILE), copied.path().join(DATABASE_FILE)).unwrap();
    assert!(event_exists(&SqliteStore::open(copied.path()).unwrap(), 1).await);
}
