//! Workspaces, their API keys, and what recognises the sealing key.

use tidings_domain::id::WorkspaceId;
use tidings_domain::workspace::Workspace;

use super::samples::{NOW, after_ms, assert_refused};
use super::world::World;
use crate::settings::{InstanceKey, WorkspaceRecord};

impl World {
    async fn workspace(&self, id: WorkspaceId) -> WorkspaceRecord {
        let all = self.store.workspaces().await.unwrap();
        all.into_iter().find(|record| record.workspace.id == id).expect("it was made")
    }
}

pub(super) async fn a_workspace_reads_back_with_its_keys(world: World) {
    let id = world.id();
    let workspace = Workspace { id, slug: "data-team-2".into(), created_at: after_ms(7) };
    let mut record = WorkspaceRecord { workspace, api_keys: vec![world.api_key(id)] };
    world.store.create_workspace(record.clone()).await.unwrap();
    let mut second = world.api_key(id);
    second.read_only = false;
    second.name = "Grafana — Zürich".into();
    world.store.add_api_key(second.clone()).await.unwrap();
    record.api_keys.push(second);
    assert_eq!(world.workspace(id).await, record);
    assert_eq!(world.store.workspaces().await.unwrap().len(), 3, "beside the two that were there");
}

pub(super) async fn a_taken_slug_is_refused(world: World) {
    let id = world.id();
    let workspace = Workspace { id, slug: "ours".into(), created_at: NOW };
    let record = WorkspaceRecord { workspace, api_keys: vec![world.api_key(id)] };
    assert_refused!(world.store.create_workspace(record).await, Exists);
    assert_eq!(world.store.workspaces().await.unwrap().len(), 2, "neither workspace nor key was kept");
}

pub(super) async fn a_key_added_twice_is_there_once(world: World) {
    let mut key = world.api_key(world.ours.id);
    world.store.add_api_key(key.clone()).await.unwrap();
    world.store.add_api_key(key.clone()).await.unwrap();
    key.id = world.id();
    key.name = "the same hash under another id".into();
    world.store.add_api_key(key.clone()).await.unwrap();
    let keys = world.workspace(world.ours.id).await.api_keys;
    assert_eq!(keys.iter().filter(|there| there.hash == key.hash).count(), 1);
}

pub(super) async fn a_key_of_no_workspace_is_refused(world: World) {
    let key = world.api_key(world.id());
    assert_refused!(world.store.add_api_key(key).await, NotFound);
}

pub(super) async fn a_deleted_key_is_gone_and_no_other(world: World) {
    let (gone, stays) = (world.api_key(world.ours.id), world.api_key(world.ours.id));
    for key in [&gone, &stays] {
        world.store.add_api_key(key.clone()).await.unwrap();
    }
    let before = world.workspace(world.ours.id).await.api_keys;
    assert_refused!(world.store.delete_api_key(world.theirs.id, gone.id).await, NotFound);
    assert_refused!(world.store.delete_api_key(world.ours.id, world.id()).await, NotFound);
    assert_eq!(world.workspace(world.ours.id).await.api_keys, before);

    world.store.delete_api_key(world.ours.id, gone.id).await.unwrap();
    let left: Vec<_> = before.into_iter().filter(|key| key.id != gone.id).collect();
    assert_eq!(world.workspace(world.ours.id).await.api_keys, left);
    assert!(left.contains(&stays));
    assert_refused!(world.store.delete_api_key(world.ours.id, gone.id).await, NotFound);
    world.store.add_api_key(gone.clone()).await.unwrap();
    assert!(world.workspace(world.ours.id).await.api_keys.contains(&gone), "its hash is free again");
}

pub(super) async fn the_instance_key_is_set_once(world: World) {
    assert_eq!(world.store.instance_key().await.unwrap(), None);
    let key = InstanceKey { key_id: "k1".into(), canary: vec![0, 159, 146, 150] };
    world.store.set_instance_key(key.clone()).await.unwrap();
    let other = InstanceKey { key_id: "k2".into(), canary: vec![] };
    assert_refused!(world.store.set_instance_key(other).await, Exists);
    assert_eq!(world.store.instance_key().await.unwrap(), Some(key));
}

pub(super) async fn a_ready_store_says_so(world: World) {
    world.store.ready().await.unwrap();
    let versions = world.store.versions().await.unwrap();
    world.store.ready().await.unwrap();
    assert_eq!(world.store.versions().await.unwrap(), versions, "it changed nothing");
}
