//! `tidings workspace`: workspaces, their members and API keys, also beside a running server.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};
use tidings_app::accounts::provision;
use tidings_domain::access::Role;
use tidings_domain::account::validate_name;
use tidings_domain::audit::{AuditTarget, AuditVerb, changed_fields};
use tidings_domain::id::ApiKeyId;
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::Workspace;
use tidings_engine::clock::{Clock as _, SystemClock};
use tidings_engine::settings::instance;
use tidings_store::settings::WorkspaceRecord;
use tidings_store::{Store, StoreError};

use super::user::explained;
use super::with_store;
use crate::config::Settings;

/// Creates a workspace and prints its first key.
pub(super) fn create(settings: &Settings, slug: &str, owner: Option<&str>) -> Result<()> {
    with_store(settings, async |store| {
        let owner = match owner {
            None => None,
            Some(email) => {
                let record = store.user_by_email(email).await?;
                Some(record.ok_or_else(|| anyhow!("there is no user {email:?}: see `tidings user list`"))?.user)
            }
        };
        let made = provision::create_workspace(store, &SystemClock::default(), slug, owner.as_ref()).await;
        let (workspace, key) = made.with_context(|| format!("{slug:?}"))?;
        println!("workspace  {} ({})", workspace.slug, workspace.id);
        if let Some(owner) = owner {
            println!("owner      {}", owner.email);
        }
        println!("API key    {}   (not shown again)", Secret::expose(&key));
        Ok(())
    })
}

/// A key to create.
pub(super) struct KeyCreation<'a> {
    pub slug: &'a str,
    pub name: &'a str,
    pub read_only: bool,
    pub expires_in: Option<Duration>,
}

/// Creates another key of a workspace and prints it.
pub(super) fn new_key(settings: &Settings, creation: &KeyCreation<'_>) -> Result<()> {
    let KeyCreation { slug, name, read_only, expires_in } = *creation;
    if let Some(why) = validate_name(name) {
        bail!("--name: {why}");
    }
    with_store(settings, async |store| {
        let clock = SystemClock::default();
        let workspace = find_workspace(store, slug).await?.workspace;
        let secret = instance::new_api_key(&clock);
        let mut key = instance::api_key(&clock, workspace.id, name, &secret, clock.now());
        key.read_only = read_only;
        key.created_by = provision::command_line();
        key.expires_at = expires_in.map(|span| key.created_at.plus_ms(span.as_millis() as u64));
        let (id, expires_at) = (key.id, key.expires_at);
        let view = json!({"name": name, "readOnly": read_only, "expiresAt": expires_at});
        let action = AuditTarget::ApiKey.action(AuditVerb::Created);
        let changes = changed_fields(&Value::Null, &view);
        let audit = provision::entry(&clock, Some(workspace.id), action, (id.to_string(), name), changes);
        store.add_api_key(key, vec![audit]).await?;
        println!("id         {id}");
        if read_only {
            println!("read-only  reads and simulates");
        }
        if let Some(at) = expires_at {
            println!("expires    {at}");
        }
        println!("API key    {}   (not shown again)", Secret::expose(&secret));
        Ok(())
    })
}

/// Revokes a key of a workspace.
pub(super) fn revoke_key(settings: &Settings, slug: &str, key_id: &str) -> Result<()> {
    // The argument is not quoted: users may have passed the key itself.
    let id: ApiKeyId =
        key_id.parse().map_err(|_| anyhow!("the argument is not the id of a key: see `tidings workspace list`"))?;
    with_store(settings, async |store| {
        let record = find_workspace(store, slug).await?;
        let none = || anyhow!("the workspace {slug:?} has no key {id}");
        let key = record.api_keys.into_iter().find(|key| key.id == id).ok_or_else(none)?;
        let view = json!({"name": key.name, "readOnly": key.read_only, "expiresAt": key.expires_at});
        let action = AuditTarget::ApiKey.action(AuditVerb::Deleted);
        let changes = changed_fields(&view, &Value::Null);
        let (workspace_id, target) = (record.workspace.id, (id.to_string(), key.name.as_str()));
        let audit = provision::entry(&SystemClock::default(), Some(workspace_id), action, target, changes);
        match store.delete_api_key(workspace_id, id, vec![audit]).await {
            Err(StoreError::NotFound) => return Err(none()),
            outcome => outcome?,
        }
        println!("revoked    {} ({})", key.id, key.name);
        if key.name == instance::OPERATOR_KEY_NAME {
            println!("The next start adds it again unless TIDINGS_API_KEY is changed or unset.");
        }
        Ok(())
    })
}

/// Makes a user a member of a workspace.
pub(super) fn add_member(settings: &Settings, slug: &str, email: &str, role: Role) -> Result<()> {
    with_store(settings, async |store| {
        let workspace = find_workspace(store, slug).await?.workspace;
        let added = provision::add_member(store, &SystemClock::default(), email, &workspace, role).await;
        let user = added.map_err(|error| explained(error, email))?;
        println!("{:<10} of the workspace {}: {}", role.as_str(), workspace.slug, user.email);
        Ok(())
    })
}

/// Lists the workspaces and their keys.
pub(super) fn list(settings: &Settings) -> Result<()> {
    with_store(settings, async |store| {
        let now = SystemClock::default().now();
        for record in store.workspaces().await? {
            let Workspace { slug, id, created_at, suspended_at, .. } = record.workspace;
            let keys = match record.api_keys.len() {
                1 => "1 API key".to_owned(),
                count => format!("{count} API keys"),
            };
            let suspended = suspended_at.map_or_else(String::new, |at| format!("  suspended since {at}"));
            println!("{slug:<24} {id}  {keys}  since {created_at}{suspended}");
            for record in store.api_keys(id).await? {
                let key = record.key;
                let reads = if key.read_only { "  read-only" } else { "" };
                let expires = key.expires_at.map_or_else(String::new, |at| expiry(at, now));
                let used = record.last_used_at.map_or_else(String::new, |at| format!("  last used {at}"));
                println!("  {:<22} {}  since {}{reads}{expires}{used}", key.name, key.id, key.created_at);
            }
        }
        Ok(())
    })
}

fn expiry(at: Timestamp, now: Timestamp) -> String {
    if at <= now { format!("  expired {at}") } else { format!("  expires {at}") }
}

/// The workspace with this slug or id.
pub(super) async fn find_workspace(store: &dyn Store, name: &str) -> Result<WorkspaceRecord> {
    let all = store.workspaces().await?;
    let found = all.into_iter().find(|record| {
        let workspace = &record.workspace;
        workspace.slug == name || workspace.id.to_string() == name
    });
    found.ok_or_else(|| anyhow!("there is no workspace {name:?}: see `tidings workspace list`"))
}
