//! The instance's own settings: its sealing key is recognised, and the first start makes a workspace to begin with.

use std::sync::Arc;

use tidings_domain::id::{ApiKeyId, WorkspaceId};
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::{Workspace, is_slug};
use tidings_store::settings::{ApiKey, WorkspaceRecord};
use tidings_store::{Store, StoreError};

use crate::Result;
use crate::clock::{Clock, new_id};
use crate::error::EngineError;
use crate::snapshot::api_key_hash;
use crate::vault::{Vault, VaultError};

/// What API keys begin with.
pub const API_KEY_PREFIX: &str = "tdg_";
/// The shortest API key that an operator may set, in characters after the prefix.
pub const API_KEY_CHARS_MIN: usize = 32;
/// The name of the key that the operator sets; the variable's, so that a list of keys says where it comes from.
pub const CHOSEN_KEY_NAME: &str = "TIDINGS_API_KEY";
/// The slug of the workspace that the first start makes.
pub const DEFAULT_WORKSPACE: &str = "default";

/// Keeps what recognises the vault's key at the first start; at every later one, sees that it is the same key.
///
/// # Errors
/// The outer error is the store's, the inner says that it is another key.
pub async fn verify_secret_key(
    store: &dyn Store,
    vault: &Vault,
    clock: &dyn Clock,
) -> Result<std::result::Result<(), VaultError>> {
    if store.instance_key().await?.is_none() {
        match store.set_instance_key(vault.instance_key(clock)).await {
            Ok(()) | Err(StoreError::Exists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let kept = store.instance_key().await?.ok_or(StoreError::NotFound)?;
    Ok(vault.verify(&kept))
}

/// A key that was made, to be shown this once.
#[derive(Debug)]
pub struct BootstrapKey {
    /// The workspace that it opens.
    pub workspace: Workspace,
    /// The key, unless the operator chose it.
    pub made: Option<Secret>,
}

/// Sees that there is a workspace to begin with, and that the operator's key (if one is set) opens it, and no earlier
/// one that the operator set. Answers what it made: at the first start, as a rule.
///
/// # Errors
/// [`EngineError::Invalid`] if the operator's key opens another workspace.
pub async fn bootstrap(
    store: &Arc<dyn Store>,
    clock: &dyn Clock,
    chosen: Option<&Secret>,
) -> Result<Option<BootstrapKey>> {
    let existing = store.workspaces().await?;
    let now = clock.now();
    let default = existing.iter().find(|record| record.workspace.slug == DEFAULT_WORKSPACE);
    if let Some(chosen) = chosen {
        let hash = api_key_hash(chosen.expose());
        let opens = existing.iter().find(|record| record.api_keys.iter().any(|key| key.hash == hash));
        if let Some(other) = opens.filter(|record| record.workspace.slug != DEFAULT_WORKSPACE) {
            let why = format!("opens the workspace `{}` already: choose another", other.workspace.slug);
            return Err(EngineError::invalid("/apiKey", why));
        }
    }
    match (default, chosen) {
        (None, chosen) => {
            let made = chosen.is_none().then(|| new_api_key(clock));
            let name = if made.is_some() { "first key" } else { CHOSEN_KEY_NAME };
            let key = made.as_ref().or(chosen).cloned().unwrap_or_default();
            let workspace = insert(store.as_ref(), clock, DEFAULT_WORKSPACE, name, &key, now).await?;
            Ok(Some(BootstrapKey { workspace, made }))
        }
        (Some(default), Some(chosen)) => {
            let new = api_key(clock, default.workspace.id, CHOSEN_KEY_NAME, chosen, now);
            // First the new one: whatever breaks off between, one of them opens the workspace.
            store.add_api_key(new.clone()).await?;
            let outdated = |key: &&ApiKey| key.name == CHOSEN_KEY_NAME && key.hash != new.hash;
            for key in default.api_keys.iter().filter(outdated) {
                store.delete_api_key(default.workspace.id, key.id).await?;
                tracing::info!(api_key_id = %key.id, "TIDINGS_API_KEY has changed: the key that it held is revoked");
            }
            Ok(None)
        }
        (Some(_), None) => Ok(None),
    }
}

/// Makes a workspace and its first API key.
///
/// # Errors
/// [`EngineError::Invalid`] for a slug that is none, [`EngineError::SlugTaken`].
pub async fn create_workspace(store: &dyn Store, clock: &dyn Clock, slug: &str) -> Result<(Workspace, Secret)> {
    if !is_slug(slug) {
        let wanted = "must be 1 to 63 of a-z, 0-9 and -, a letter or digit first";
        return Err(EngineError::invalid("/slug", wanted));
    }
    let key = new_api_key(clock);
    let workspace = insert(store, clock, slug, "first key", &key, clock.now()).await?;
    Ok((workspace, key))
}

/// Makes another API key of a workspace.
///
/// # Errors
/// [`EngineError::NotFound`] if there is no workspace of this slug.
pub async fn new_key(store: &dyn Store, clock: &dyn Clock, slug: &str) -> Result<(ApiKeyId, Secret)> {
    let workspace = named(store, slug).await?.workspace;
    let key = new_api_key(clock);
    let record = api_key(clock, workspace.id, "new key", &key, clock.now());
    let id = record.id;
    store.add_api_key(record).await?;
    Ok((id, key))
}

/// Revokes an API key of a workspace, and answers what it was.
///
/// # Errors
/// [`EngineError::NotFound`] if there is no workspace of this slug, or if it has no key of this id.
pub async fn revoke_key(store: &dyn Store, slug: &str, id: ApiKeyId) -> Result<ApiKey> {
    let record = named(store, slug).await?;
    let key = record.api_keys.into_iter().find(|key| key.id == id).ok_or(EngineError::NotFound("API key"))?;
    store.delete_api_key(record.workspace.id, id).await?;
    Ok(key)
}

async fn named(store: &dyn Store, slug: &str) -> Result<WorkspaceRecord> {
    let all = store.workspaces().await?;
    all.into_iter().find(|record| record.workspace.slug == slug).ok_or(EngineError::NotFound("workspace"))
}

async fn insert(
    store: &dyn Store,
    clock: &dyn Clock,
    slug: &str,
    key_name: &str,
    key: &Secret,
    now: Timestamp,
) -> Result<Workspace> {
    let workspace = Workspace { id: new_id(clock, now), slug: slug.to_owned(), created_at: now };
    let first = api_key(clock, workspace.id, key_name, key, now);
    match store.create_workspace(WorkspaceRecord { workspace: workspace.clone(), api_keys: vec![first] }).await {
        Ok(()) => Ok(workspace),
        Err(StoreError::Exists) => Err(EngineError::SlugTaken),
        Err(error) => Err(error.into()),
    }
}

/// A fresh key: the prefix and 48 hex digits.
fn new_api_key(clock: &dyn Clock) -> Secret {
    let mut random = [0; 24];
    clock.random(&mut random);
    Secret::new(format!("{API_KEY_PREFIX}{}", hex::encode(random)))
}

fn api_key(clock: &dyn Clock, workspace_id: WorkspaceId, name: &str, key: &Secret, now: Timestamp) -> ApiKey {
    ApiKey {
        id: new_id(clock, now),
        workspace_id,
        name: name.to_owned(),
        hash: api_key_hash(key.expose()),
        read_only: false,
        created_at: now,
    }
}

/// Why an operator's key cannot be one, in words that do not quote it; `None` if it can.
pub fn validate_api_key(key: &str) -> Option<&'static str> {
    let rest = key.strip_prefix(API_KEY_PREFIX);
    let fits = rest.is_some_and(|rest| {
        (API_KEY_CHARS_MIN..=200).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_graphic())
    });
    (!fits).then_some("must be tdg_ and at least 32 more characters, without spaces")
}
