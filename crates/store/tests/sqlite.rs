//! What the embedded store promises beyond the suite: one process a directory, no newer data, and nothing lost that was
//! answered, however the process ended.

use std::path::Path;
use std::sync::Arc;

use tidings_domain::event::Event;
use tidings_domain::id::{EventId, Id, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_store::queue::NewEvent;
use tidings_store::sqlite::{FILE, SqliteStore};
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
    NewEvent { event: Arc::new(event), not_routed: vec![], deliveries: vec![] }
}

async fn is_there(store: &SqliteStore, number: u8) -> bool {
    store.event(workspace_id(), event_id(number)).await.unwrap().is_some()
}

fn refusal(directory: &Path) -> StoreError {
    SqliteStore::open(directory).err().expect("it is refused")
}

#[tokio::test]
async fn one_store_at_a_time_has_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(refusal(directory.path()), StoreError::Locked(directory.path().display().to_string()));
    store.accept(vec![new_event(1)]).await.unwrap();
    drop(store);
    SqliteStore::open(directory.path()).unwrap();
}

#[test]
fn data_of_a_newer_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(directory.path()).unwrap());
    let database = rusqlite::Connection::open(directory.path().join(FILE)).unwrap();
    database.pragma_update(None, "user_version", 9_999).unwrap();
    drop(database);
    let before = std::fs::read(directory.path().join(FILE)).unwrap();
    assert!(matches!(refusal(directory.path()), StoreError::TooNew { found: 9_999, known: 1.. }));
    assert_eq!(std::fs::read(directory.path().join(FILE)).unwrap(), before);
}

#[test]
fn open_data_of_another_unreleased_build_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(directory.path()).unwrap());
    let database = rusqlite::Connection::open(directory.path().join(FILE)).unwrap();
    database.pragma_update(None, "application_id", 0).unwrap();
    drop(database);
    let before = std::fs::read(directory.path().join(FILE)).unwrap();
    let message = refusal(directory.path()).to_string();
    assert!(message.contains(&directory.path().display().to_string()) && message.contains("--data-dir"), "{message}");
    assert_eq!(std::fs::read(directory.path().join(FILE)).unwrap(), before);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("taken");
    std::fs::write(&file, "").unwrap();
    let message = refusal(&file.join("data")).to_string();
    assert!(message.contains(&file.join("data").display().to_string()), "{message}");
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_drop_without_close() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..5 {
        let store = SqliteStore::open(directory.path()).unwrap();
        for earlier in 0..number {
            assert!(is_there(&store, earlier).await);
        }
        store.accept(vec![new_event(number)]).await.unwrap();
    }
}

/// The files as they lie on the disk at the moment of the answer are what a crash of the process leaves behind.
#[tokio::test]
async fn what_was_answered_is_in_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    for number in 0..5 {
        store.accept(vec![new_event(number)]).await.unwrap();
        let crashed = tempfile::tempdir().unwrap();
        for file in [FILE.to_owned(), format!("{FILE}-wal")] {
            std::fs::copy(directory.path().join(&file), crashed.path().join(&file)).unwrap();
        }
        let left = SqliteStore::open(crashed.path()).unwrap();
        for earlier in 0..=number {
            assert!(is_there(&left, earlier).await);
        }
    }
}

#[tokio::test]
async fn after_a_close_one_file_holds_everything() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    store.accept(vec![new_event(1)]).await.unwrap();
    store.close().await;
    let copied = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join(FILE), copied.path().join(FILE)).unwrap();
    assert!(is_there(&SqliteStore::open(copied.path()).unwrap(), 1).await);
}
