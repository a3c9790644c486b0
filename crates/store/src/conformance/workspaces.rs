//! Workspaces and their API keys.

use tidings_domain::access::{Actor, Role};
use tidings_domain::id::WorkspaceId;
use tidings_domain::workspace::Workspace;

use super::fixture::{Fixture, Tenant};
use super::monitoring_fixture::healthy;
use super::samples::{NOW, after_ms, assert_refused};
use crate::accounts::{ApiKeyRecord, NewOwner, Use, WorkspaceCounts};
use crate::history::{DeliveryFilter, EventFilter};
use crate::monitoring::IncidentFilter;
use crate::queue::InitialState;
use crate::retention::{PruneCursor, Retention};
use crate::settings::{ApiKey, ConfigChange, Preferences, WorkspaceRecord};

impl Fixture {
    async fn workspace(&self, id: WorkspaceId) -> WorkspaceRecord {
        let all = self.store.workspaces().await.unwrap();
        all.into_iter().find(|record| record.workspace.id == id).expect("it was created")
    }

    fn new_workspace(&self, slug: &str) -> WorkspaceRecord {
        let workspace = Workspace::new(self.id(), slug, after_ms(7));
        let api_keys = vec![self.api_key(workspace.id)];
        WorkspaceRecord { workspace, preferences: Preferences::default(), api_keys }
    }

    /// What a workspace has, as text.
    async fn everything(&self, tenant: Tenant) -> String {
        let events = EventFilter { limit: 99, ..EventFilter::default() };
        let deliveries = DeliveryFilter { limit: 99, with_attempts: true, ..DeliveryFilter::default() };
        let incidents = IncidentFilter { limit: 99, ..IncidentFilter::default() };
        let mut all = format!("{:?}", self.configuration(tenant).await);
        all += &format!("{:?}", self.store.events(tenant.id, events).await.unwrap());
        all += &format!("{:?}", self.store.deliveries(tenant.id, deliveries).await.unwrap());
        all += &format!("{:?}", self.store.incidents(tenant.id, incidents).await.unwrap());
        all += &format!("{:?}", self.store.endpoint_states(tenant.id).await.unwrap());
        all += &format!("{:?}", self.audit_log(Some(tenant.id)).await);
        all
    }
}

pub(super) async fn workspace_created_reads_back_with_api_keys(fixture: Fixture) {
    let mut record = fixture.new_workspace("data-team-2");
    let id = record.workspace.id;
    record.workspace.name = "Data — Zürich".into();
    record.workspace.plan = "large".into();
    record.workspace.suspended_at = Some(after_ms(9));
    record.preferences.timezone = "Europe/Zurich".into();
    fixture.store.create_workspace(record.clone(), None, fixture.audited(id)).await.unwrap();
    let mut second = fixture.api_key(id);
    (second.read_only, second.expires_at) = (false, None);
    second.name = "Grafana — Zürich".into();
    second.created_by = Actor::user(fixture.id(), "Ana \"A\"");
    fixture.store.add_api_key(second.clone(), fixture.audited(id)).await.unwrap();
    record.api_keys.push(second);
    assert_eq!(fixture.workspace(id).await, record);
    assert_eq!(fixture.store.configuration(id, 0).await.unwrap().workspace, record.workspace);
    assert_eq!(fixture.store.workspaces().await.unwrap().len(), 3, "and the two of the fixture");
    assert_eq!(fixture.audit_count(id).await, 2);
}

pub(super) async fn create_workspace_with_owner_creates_both_or_neither(fixture: Fixture) {
    let store = &fixture.store;
    let ana = fixture.new_user("ana@example.com");
    let first = fixture.new_workspace("first");
    store.create_workspace(first.clone(), Some(NewOwner::New(ana.clone())), vec![]).await.unwrap();
    let second = fixture.new_workspace("second");
    store.create_workspace(second.clone(), Some(NewOwner::Existing(ana.user.id)), vec![]).await.unwrap();
    let workspaces = store.user_workspaces(ana.user.id).await.unwrap();
    assert!(workspaces.iter().map(|found| &found.workspace).eq([&first.workspace, &second.workspace]));
    assert!(workspaces.iter().all(|found| found.role == Role::Owner && found.joined_at == after_ms(7)));

    let third = fixture.new_workspace("third");
    let id = third.workspace.id;
    let taken = NewOwner::New(fixture.new_user("ANA@example.com"));
    assert_refused!(store.create_workspace(third.clone(), Some(taken), fixture.audited(id)).await, Exists);
    let unknown = NewOwner::Existing(fixture.id());
    assert_refused!(store.create_workspace(third, Some(unknown), fixture.audited(id)).await, NotFound);
    assert_eq!(store.workspaces().await.unwrap().len(), 4);
    assert_eq!(fixture.audit_count(id).await, 0);
}

pub(super) async fn create_workspace_taken_slug_is_refused(fixture: Fixture) {
    let record = fixture.new_workspace("ours");
    let owner = fixture.new_user("ana@example.com");
    let outcome = fixture.store.create_workspace(record, Some(NewOwner::New(owner)), vec![]).await;
    assert_refused!(outcome, Exists);
    assert_eq!(fixture.store.workspaces().await.unwrap().len(), 2, "neither workspace nor key was stored");
    assert!(!fixture.store.has_users().await.unwrap());
}

pub(super) async fn put_workspace_is_fenced_by_its_revision(fixture: Fixture) {
    let ours = fixture.ours;
    let before = fixture.workspace(ours.id).await.workspace;
    let edited = Workspace {
        slug: "renamed".into(),
        name: "Renamed".into(),
        plan: "large".into(),
        suspended_at: Some(NOW),
        revision: 2,
        ..before.clone()
    };
    let put = |workspace: Workspace, expected| ConfigChange::PutWorkspace(workspace, expected);
    fixture.apply_change(ours, put(edited.clone(), 1)).await.unwrap();
    assert_eq!(fixture.workspace(ours.id).await.workspace, edited);
    assert_eq!(fixture.configuration(ours).await.workspace, edited);
    assert_refused!(fixture.apply_change(ours, put(edited.clone(), 1)).await, Conflict);
    let taken = Workspace { slug: "theirs".into(), revision: 3, ..edited.clone() };
    assert_refused!(fixture.apply_change(ours, put(taken, 2)).await, Exists);
    assert_refused!(fixture.apply_change(fixture.theirs, put(edited.clone(), 1)).await, NotFound);
    assert_eq!(fixture.workspace(ours.id).await.workspace, edited);
    fixture.store.create_workspace(fixture.new_workspace("ours"), None, vec![]).await.expect("the former slug is free");
}

pub(super) async fn workspace_counts_are_per_workspace(fixture: Fixture) {
    fixture.member("ana@example.com", Role::Owner).await;
    fixture.member("bo@example.com", Role::Viewer).await;
    fixture.another_channel().await;
    let of =
        |tenant: Tenant, members, channels| WorkspaceCounts { workspace_id: tenant.id, members, api_keys: 1, channels };
    let expected = [of(fixture.ours, 2, 2), of(fixture.theirs, 0, 1)];
    assert_eq!(fixture.store.workspace_counts().await.unwrap(), expected);
}

pub(super) async fn add_api_key_twice_stores_it_once(fixture: Fixture) {
    let ours = fixture.ours;
    let mut key = fixture.api_key(ours.id);
    let version = fixture.version(ours).await;
    fixture.store.add_api_key(key.clone(), fixture.audited(ours.id)).await.unwrap();
    assert_eq!(fixture.version(ours).await, version + 1, "so that caches find it");
    fixture.store.add_api_key(key.clone(), fixture.audited(ours.id)).await.unwrap();
    key.id = fixture.id();
    key.name = "the same hash under another id".into();
    fixture.store.add_api_key(key.clone(), fixture.audited(ours.id)).await.unwrap();
    let keys = fixture.workspace(ours.id).await.api_keys;
    assert_eq!(keys.iter().filter(|there| there.hash == key.hash).count(), 1);
    assert_eq!(fixture.version(ours).await, version + 1);
    assert_eq!(fixture.audit_count(ours.id).await, 1);
}

pub(super) async fn add_api_key_unknown_workspace_is_not_found(fixture: Fixture) {
    let key = fixture.api_key(fixture.id());
    assert_refused!(fixture.store.add_api_key(key, fixture.audited(fixture.ours.id)).await, NotFound);
    assert_eq!(fixture.audit_count(fixture.ours.id).await, 0);
}

pub(super) async fn delete_api_key_deletes_only_that_key(fixture: Fixture) {
    let (store, ours) = (&fixture.store, fixture.ours);
    let (deleted, kept) = (fixture.api_key(ours.id), fixture.api_key(ours.id));
    for key in [&deleted, &kept] {
        store.add_api_key(key.clone(), vec![]).await.unwrap();
    }
    let before = fixture.workspace(ours.id).await.api_keys;
    let version = fixture.version(ours).await;
    let audit = || fixture.audited(ours.id);
    assert_refused!(store.delete_api_key(fixture.theirs.id, deleted.id, audit()).await, NotFound);
    assert_refused!(store.delete_api_key(ours.id, fixture.id(), audit()).await, NotFound);
    assert_eq!(fixture.workspace(ours.id).await.api_keys, before);
    assert_eq!(fixture.version(ours).await, version);

    store.delete_api_key(ours.id, deleted.id, audit()).await.unwrap();
    let left: Vec<_> = before.into_iter().filter(|key| key.id != deleted.id).collect();
    assert_eq!(fixture.workspace(ours.id).await.api_keys, left);
    assert_eq!(fixture.version(ours).await, version + 1, "so that caches drop it");
    assert!(left.contains(&kept));
    assert_refused!(store.delete_api_key(ours.id, deleted.id, audit()).await, NotFound);
    assert_eq!(fixture.audit_count(ours.id).await, 1);
    store.add_api_key(deleted.clone(), vec![]).await.unwrap();
    assert!(fixture.workspace(ours.id).await.api_keys.contains(&deleted), "its hash is free again");
}

pub(super) async fn api_key_uses_keep_the_latest(fixture: Fixture) {
    let (store, ours) = (&fixture.store, fixture.ours);
    let used = ApiKey { expires_at: Some(NOW.minus_ms(1)), ..fixture.api_key(ours.id) };
    store.add_api_key(used.clone(), vec![]).await.unwrap();
    let version = fixture.version(ours).await;
    let of = |id, ms, address: Option<&str>| Use { id, at: after_ms(ms), address: address.map(str::to_owned) };
    let uses = vec![of(used.id, 2_000, Some("192.0.2.1")), of(used.id, 1_000, Some("late")), of(fixture.id(), 1, None)];
    store.record_api_key_uses(uses).await.unwrap();
    let first = store.api_keys(ours.id).await.unwrap().remove(0).key;
    let unused = ApiKeyRecord { key: first, last_used_at: None, last_used_address: None };
    let expected = ApiKeyRecord {
        key: used.clone(),
        last_used_at: Some(after_ms(2_000)),
        last_used_address: Some("192.0.2.1".into()),
    };
    assert_eq!(store.api_keys(ours.id).await.unwrap(), [unused, expected.clone()]);
    store.record_api_key_uses(vec![of(used.id, 3_000, None)]).await.unwrap();
    let latest = ApiKeyRecord { last_used_at: Some(after_ms(3_000)), last_used_address: None, ..expected };
    assert_eq!(store.api_keys(ours.id).await.unwrap()[1], latest);
    assert_eq!(fixture.version(ours).await, version, "uses are no configuration");
    assert!(store.api_keys(fixture.id()).await.unwrap().is_empty());
}

pub(super) async fn deleted_workspace_is_missing_at_once(fixture: Fixture) {
    let (store, ours) = (&fixture.store, fixture.ours);
    let ana = fixture.member("ana@example.com", Role::Owner).await;
    let invitation = fixture.invite("bo@example.com", Role::Admin).await;
    fixture.open_incident(ours).await;
    let instance = fixture.audit_entry(None, NOW);
    store.delete_workspace(ours.id, NOW, vec![instance.clone()]).await.unwrap();

    assert!(store.workspaces().await.unwrap().iter().all(|record| record.workspace.id != ours.id));
    assert!(store.workspace_counts().await.unwrap().iter().all(|counts| counts.workspace_id != ours.id));
    assert!(store.versions().await.unwrap().iter().all(|(id, _)| *id != ours.id));
    assert!(store.active_incidents().await.unwrap().is_empty());
    assert!(store.members(ours.id).await.unwrap().is_empty());
    assert!(store.api_keys(ours.id).await.unwrap().is_empty());
    assert!(store.user_workspaces(ana.id).await.unwrap().is_empty());
    assert_eq!(store.invitation(invitation).await.unwrap(), None);
    assert_refused!(store.configuration(ours.id, 0).await, NotFound);
    assert_refused!(store.apply_changes(ours.id, vec![]).await, NotFound);
    assert_refused!(store.add_api_key(fixture.api_key(ours.id), vec![]).await, NotFound);
    assert_refused!(store.add_member(ours.id, ana.id, Role::Owner, NOW, vec![]).await, NotFound);
    let open = fixture.new_invitation(ours, "cy@example.com", Role::Owner);
    assert_refused!(store.create_invitation(open, fixture.hash(), vec![]).await, NotFound);
    assert_refused!(store.delete_workspace(ours.id, NOW, vec![]).await, NotFound);
    assert_refused!(store.delete_workspace(fixture.id(), NOW, vec![]).await, NotFound);
    assert_eq!(fixture.audit_log(None).await, [instance]);
    store.create_workspace(fixture.new_workspace("ours"), None, vec![]).await.expect("its slug is free");
    assert_eq!(store.workspaces().await.unwrap().len(), 2);
}

pub(super) async fn prune_deletes_all_rows_of_a_deleted_workspace_in_small_batches(fixture: Fixture) {
    let (store, ours, theirs) = (&fixture.store, fixture.ours, fixture.theirs);
    let mut endpoints = Vec::new();
    for tenant in [ours, theirs] {
        fixture.open_incident(tenant).await;
        let endpoint_id = fixture.new_endpoint(tenant).await;
        fixture.record_check(tenant, endpoint_id, healthy(NOW)).await;
        endpoints.push(endpoint_id);
        for start in [InitialState::Due, InitialState::Held, InitialState::Suppressed] {
            let deliveries = (0..4).map(|_| fixture.delivery(tenant, start)).collect();
            fixture.accept(fixture.new_event(fixture.event(tenant), deliveries)).await;
        }
        store.record_audit(fixture.audited(tenant.id)).await.unwrap();
    }
    let kept = fixture.everything(theirs).await;
    store.delete_workspace(ours.id, NOW, vec![]).await.unwrap();
    let prune = async |ms, limit| {
        let (mut from, mut rows) = (PruneCursor::default(), 0);
        loop {
            let pruned = store.prune(after_ms(ms), Retention::default(), from, limit).await.unwrap();
            assert!(pruned.workspace_rows <= limit);
            rows += pruned.workspace_rows;
            match pruned.next {
                Some(next) => from = next,
                None => return rows,
            }
        }
    };
    assert_eq!(prune(1_000, 3).await, 0, "another node may still accept events for it");
    let rows = prune(60_000, 3).await;
    assert!(rows >= 3 * 5 + 4, "events and deliveries, incident, rule, channel, workspace: {rows}");
    assert_eq!(prune(60_000, 3).await, 0);
    let filter = EventFilter { limit: 9, ..EventFilter::default() };
    assert!(store.events(ours.id, filter).await.unwrap().records.is_empty());
    assert!(fixture.delivery_ids(ours, DeliveryFilter { limit: 9, ..DeliveryFilter::default() }).await.is_empty());
    assert!(store.due().await.unwrap().iter().all(|due| due.workspace_id == theirs.id));
    assert!(store.next_releases().await.unwrap().iter().all(|due| due.workspace_id == theirs.id));
    assert!(fixture.checks(ours, endpoints[0]).await.is_empty());
    assert_eq!(fixture.audit_count(ours.id).await, 0);
    assert_eq!(fixture.everything(theirs).await, kept);
    assert_eq!(fixture.checks(theirs, endpoints[1]).await.len(), 1);
}
