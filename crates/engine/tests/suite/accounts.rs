//! API keys and workspaces that change while the engine runs, also by another process.

use tidings_domain::id::{ApiKeyId, Id as _, WorkspaceId};
use tidings_domain::secret::Secret;
use tidings_domain::workspace::Workspace;
use tidings_engine::clock::new_id;
use tidings_engine::settings::instance;
use tidings_engine::snapshot::api_key_hash;
use tidings_store::settings::{ApiKey, ConfigChange, Preferences, WorkspaceRecord};

use crate::world::{World, ana};

const KEY: &str = "tdg_0123456789abcdef0123456789abcdef";

/// Writes a key to the store, as another process does.
fn add_key(world: &World, expires_in_seconds: Option<u64>) -> ApiKeyId {
    let key = ApiKey {
        id: new_id(world.clock.as_ref(), world.now()),
        workspace_id: world.workspace_id,
        name: "CI".into(),
        hash: api_key_hash(KEY),
        read_only: true,
        created_by: ana(),
        created_at: world.now(),
        expires_at: expires_in_seconds.map(|seconds| world.now().plus_ms(seconds * 1_000)),
    };
    let id = key.id;
    world.wait(world.engine().accounts().add_api_key(key, vec![])).unwrap();
    id
}

#[test]
fn api_key_of_another_process_is_found_and_revoked_by_the_poll() {
    let world = World::new();
    let id = add_key(&world, None);
    assert!(world.engine().authenticate(KEY).is_none(), "it is not read with each request");
    world.settle();
    let caller = world.engine().authenticate(KEY).expect("the poll read it");
    assert_eq!((caller.workspace_id, caller.api_key_id, caller.read_only), (world.workspace_id, id, true));
    world.wait(world.engine().accounts().delete_api_key(world.workspace_id, id, vec![])).unwrap();
    world.settle();
    assert!(world.engine().authenticate(KEY).is_none());
}

#[test]
fn api_key_expires_at_its_instant() {
    let world = World::new();
    add_key(&world, Some(60));
    world.wait(world.engine().refresh_config()).unwrap();
    world.clock.advance_ms(59_999);
    assert!(world.engine().authenticate(KEY).is_some());
    world.clock.advance_ms(1);
    assert!(world.engine().authenticate(KEY).is_none(), "although nothing was reloaded");
}

#[test]
fn workspace_is_found_by_its_present_slug_only() {
    let world = World::new();
    let rename = |slug: &str| {
        world.change(|view| {
            let (before, slug) = (view.workspace.clone(), slug.to_owned());
            let expected = before.revision;
            vec![ConfigChange::PutWorkspace(Workspace { slug, revision: expected + 1, ..before }, expected)]
        });
    };
    rename("renamed");
    assert_eq!(world.engine().workspace_id("renamed"), Some(world.workspace_id));
    assert_eq!(world.engine().workspace_id("default"), None);
    let other = Workspace::new(WorkspaceId::from_bytes([9; 16]), "default", world.now());
    let record = WorkspaceRecord { workspace: other.clone(), preferences: Preferences::default(), api_keys: vec![] };
    world.wait(world.engine().accounts().create_workspace(record, None, vec![])).unwrap();
    world.wait(world.engine().refresh_config()).unwrap();
    rename("renamed-again");
    assert_eq!(world.engine().workspace_id("default"), Some(other.id), "not lost with the former owner's rename");
    assert_eq!(world.engine().workspace_id("renamed"), None);
}

#[test]
fn suspended_workspace_sends_no_reminders_until_it_is_resumed() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.reminder_minutes = Some(10)), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    let suspend = |is_suspended: bool| {
        let now = world.now();
        world.change(|view| {
            let (before, suspended_at) = (view.workspace.clone(), is_suspended.then_some(now));
            let expected = before.revision;
            vec![ConfigChange::PutWorkspace(Workspace { suspended_at, revision: expected + 1, ..before }, expected)]
        });
    };
    suspend(true);
    world.advance_in_steps(2 * 3_600, 600);
    assert_eq!(world.outcomes(hook), ["opened sent"], "no one could acknowledge it");
    suspend(false);
    world.advance_in_steps(1_200, 600);
    assert_eq!(world.outcomes(hook)[1], "reminder:1 sent");
}

/// The keys of the operator that a start with this one leaves, with the slugs of their workspaces.
fn operator_keys_after(world: &World, configured: &Secret) -> Vec<(String, bool)> {
    let store = world.engine().store();
    let applied = world.wait(instance::apply_operator_key(store, world.clock.as_ref(), Some(configured)));
    assert!(applied.expect("the start goes on"));
    let records = world.wait(store.workspaces()).unwrap();
    let of = |record: &WorkspaceRecord| {
        let slug = record.workspace.slug.clone();
        let keys = record.api_keys.iter().filter(|key| key.name == instance::OPERATOR_KEY_NAME);
        keys.map(|key| (slug.clone(), key.hash == api_key_hash(configured.expose()))).collect::<Vec<_>>()
    };
    records.iter().flat_map(of).collect()
}

#[test]
fn operator_key_stays_with_its_workspace_when_that_is_renamed() {
    let world = World::new();
    let (first, second) =
        (Secret::new(format!("tdg_{}", "1".repeat(32))), Secret::new(format!("tdg_{}", "2".repeat(32))));
    assert_eq!(operator_keys_after(&world, &first), [("default".to_owned(), true)]);
    world.change(|view| {
        let (before, slug) = (view.workspace.clone(), "acme".to_owned());
        let expected = before.revision;
        vec![ConfigChange::PutWorkspace(Workspace { slug, revision: expected + 1, ..before }, expected)]
    });
    assert_eq!(operator_keys_after(&world, &first), [("acme".to_owned(), true)]);
    assert_eq!(operator_keys_after(&world, &second), [("acme".to_owned(), true)], "the former one is revoked");
}

#[test]
fn deleted_workspace_sends_nothing_more() {
    let mut world = World::new();
    let endpoint = world.endpoint("API", |definition| definition.reminder_minutes = Some(10));
    let (hook, quiet) = (world.webhook("hook"), world.webhook("quiet"));
    world.rule(endpoint, hook);
    world.rule(endpoint, quiet);
    world.set_quiet(quiet, Some(world.quiet_for(60)));
    world.set_broken("hook", true);
    world.down(endpoint);
    let before = world.receiver.requests().len();
    assert!(before > 0, "the opening was attempted, and is to be retried");
    world.set_broken("hook", false);
    world.wait(world.engine().accounts().delete_workspace(world.workspace_id, world.now(), vec![])).unwrap();
    world.settle();
    assert_eq!(world.engine().workspace_id("default"), None);
    // Past the retry, the reminders and the end of the quiet hours.
    world.advance_in_steps(2 * 3_600, 600);
    world.restart();
    world.advance_in_steps(2 * 3_600, 600);
    assert_eq!(world.receiver.requests().len(), before);
}
