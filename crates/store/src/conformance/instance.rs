//! Workspaces, their API keys, and the fingerprint of the sealing key.

use tidings_domain::id::WorkspaceId;
use tidings_domain::workspace::Workspace;

use super::fixture::Fixture;
use super::samples::{NOW, after_ms, assert_refused};
use crate::settings::{InstanceKey, WorkspaceRecord};

impl Fixture {
    async fn workspace(&self, id: WorkspaceId) -> WorkspaceRecord {
        let all = self.store.workspaces().await.unwrap();
        all.into_iter().find(|record| record.workspace.id == id).expect("it was created")
    }
}

pub(super) async fn workspace_created_reads_back_with_api_keys(fixture: Fixture) {
    let id = fixture.id();
    let workspace = Workspace { id, slug: "data-team-2".into(), created_at: after_ms(7) };
    let mut record = WorkspaceRecord { workspace, api_keys: vec![fixture.api_key(id)] };
    fixture.store.create_workspace(record.clone()).await.unwrap();
    let mut second = fixture.api_key(id);
    second.read_only = false;
    second.name = "Grafana — Zürich".into();
    fixture.store.add_api_key(second.clone()).await.unwrap();
    record.api_keys.push(second);
    assert_eq!(fixture.workspace(id).await, record);
    assert_eq!(fixture.store.workspaces().await.unwrap().len(), 3, "and the two of the fixture");
}

pub(super) async fn create_workspace_taken_slug_is_refused(fixture: Fixture) {
    let id = fixture.id();
    let workspace = Workspace { id, slug: "ours".into(), created_at: NOW };
    let record = WorkspaceRecord { workspace, api_keys: vec![fixture.api_key(id)] };
    assert_refused!(fixture.store.create_workspace(record).await, Exists);
    assert_eq!(fixture.store.workspaces().await.unwrap().len(), 2, "neither workspace nor key was stored");
}

pub(super) async fn add_api_key_twice_stores_it_once(fixture: Fixture) {
    let mut key = fixture.api_key(fixture.ours.id);
    fixture.store.add_api_key(key.clone()).await.unwrap();
    fixture.store.add_api_key(key.clone()).await.unwrap();
    key.id = fixture.id();
    key.name = "the same hash under another id".into();
    fixture.store.add_api_key(key.clone()).await.unwrap();
    let keys = fixture.workspace(fixture.ours.id).await.api_keys;
    assert_eq!(keys.iter().filter(|there| there.hash == key.hash).count(), 1);
}

pub(super) async fn add_api_key_unknown_workspace_is_not_found(fixture: Fixture) {
    let key = fixture.api_key(fixture.id());
    assert_refused!(fixture.store.add_api_key(key).await, NotFound);
}

pub(super) async fn delete_api_key_deletes_only_that_key(fixture: Fixture) {
    let (deleted, kept) = (fixture.api_key(fixture.ours.id), fixture.api_key(fixture.ours.id));
    for key in [&deleted, &kept] {
        fixture.store.add_api_key(key.clone()).await.unwrap();
    }
    let before = fixture.workspace(fixture.ours.id).await.api_keys;
    assert_refused!(fixture.store.delete_api_key(fixture.theirs.id, deleted.id).await, NotFound);
    assert_refused!(fixture.store.delete_api_key(fixture.ours.id, fixture.id()).await, NotFound);
    assert_eq!(fixture.workspace(fixture.ours.id).await.api_keys, before);

    fixture.store.delete_api_key(fixture.ours.id, deleted.id).await.unwrap();
    let left: Vec<_> = before.into_iter().filter(|key| key.id != deleted.id).collect();
    assert_eq!(fixture.workspace(fixture.ours.id).await.api_keys, left);
    assert!(left.contains(&kept));
    assert_refused!(fixture.store.delete_api_key(fixture.ours.id, deleted.id).await, NotFound);
    fixture.store.add_api_key(deleted.clone()).await.unwrap();
    assert!(fixture.workspace(fixture.ours.id).await.api_keys.contains(&deleted), "its hash is free again");
}

pub(super) async fn set_instance_key_twice_is_refused(fixture: Fixture) {
    assert_eq!(fixture.store.instance_key().await.unwrap(), None);
    let key = InstanceKey { key_id: "k1".into(), canary: vec![0, 159, 146, 150] };
    fixture.store.set_instance_key(key.clone()).await.unwrap();
    let other = InstanceKey { key_id: "k2".into(), canary: vec![] };
    assert_refused!(fixture.store.set_instance_key(other).await, Exists);
    assert_eq!(fixture.store.instance_key().await.unwrap(), Some(key));
}

pub(super) async fn ready_open_store_succeeds_and_changes_nothing(fixture: Fixture) {
    fixture.store.ready().await.unwrap();
    let versions = fixture.store.versions().await.unwrap();
    fixture.store.ready().await.unwrap();
    assert_eq!(fixture.store.versions().await.unwrap(), versions, "it changed nothing");
}
