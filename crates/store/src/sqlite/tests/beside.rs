//! A second process beside the one that serves the directory.

use super::*;
use crate::error::StoreError;
use crate::settings::ApiKey;
use tidings_domain::id::ApiKeyId;

fn api_key(number: u64) -> ApiKey {
    ApiKey {
        id: id::<ApiKeyId>(number),
        workspace_id: workspace_id(),
        name: format!("key {number}"),
        hash: [number as u8; 32],
        read_only: false,
        created_by: tidings_domain::access::Actor::system(),
        expires_at: None,
        created_at: NOW,
    }
}

#[tokio::test]
async fn open_beside_changes_keys_that_the_first_process_sees() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&directory).await;
    assert!(matches!(SqliteStore::open(directory.path()), Err(StoreError::Locked(_))));
    let beside = SqliteStore::open_beside(directory.path()).unwrap();
    beside.add_api_key(api_key(1), Vec::new()).await.unwrap();
    assert_eq!(first.workspaces().await.unwrap()[0].api_keys, [api_key(1)]);

    // The first goes on writing while the other is open, closes, and after it has.
    first.accept(vec![new_event(1)]).await.unwrap();
    beside.close().await;
    drop(beside);
    first.accept(vec![new_event(2)]).await.unwrap();
    assert!(event_exists(&first, 1).await && event_exists(&first, 2).await);
    first.close().await;
}

#[tokio::test]
async fn open_beside_two_processes_write_at_once_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&directory).await;
    let beside = SqliteStore::open_beside(directory.path()).unwrap();
    let events = async {
        for number in 0..200 {
            first.accept(vec![new_event(number)]).await.unwrap();
        }
    };
    let keys = async {
        for number in 0..50 {
            beside.add_api_key(api_key(number), Vec::new()).await.unwrap();
        }
    };
    tokio::join!(events, keys);
    assert_eq!(first.workspaces().await.unwrap()[0].api_keys.len(), 50);
    assert!(event_exists(&first, 199).await);
}

#[test]
fn open_beside_creates_and_migrates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    assert!(SqliteStore::open_beside(directory.path()).is_err());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    std::fs::write(directory.path().join(crate::sqlite::DATABASE_FILE), "").unwrap();
    assert!(matches!(SqliteStore::open_beside(directory.path()), Err(StoreError::OtherSchema(_))));
}
