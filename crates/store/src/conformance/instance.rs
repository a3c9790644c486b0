//! The fingerprint of the sealing key, and the readiness of the store.

use super::fixture::Fixture;
use super::samples::assert_refused;
use crate::settings::InstanceKey;

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
