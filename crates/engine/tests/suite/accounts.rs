//! API keys and workspaces that change while the engine runs, also by another process.

use tidings_domain::id::{ApiKeyId, Id as _, WorkspaceId};
use tidings_domain::workspace::Workspace;
use tidings_engine::clock::new_id;
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
