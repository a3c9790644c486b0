//! Settings of the instance itself: verification of its secret key, and the bootstrap of a default workspace with an API
//! key.

use std::sync::Arc;

use tidings_domain::access::Actor;
use tidings_domain::id::{ApiKeyId, WorkspaceId};
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::{Workspace, is_slug};
use tidings_store::settings::{ApiKey, Preferences, WorkspaceRecord};
use tidings_store::{Store, StoreError};

use crate::Result;
use crate::clock::{Clock, new_id};
use crate::error::EngineError;
use crate::snapshot::api_key_hash;
use crate::vault::{Vault, VaultError};

/// Prefix of API keys.
pub const API_KEY_PREFIX: &str = "tdg_";
/// Least length of an API key set by the operator, in characters after the prefix.
pub const API_KEY_CHARS_MIN: usize = 32;
/// Name of the operator's key: that of the environment variable, so that a list of keys shows where it comes from.
pub const OPERATOR_KEY_NAME: &str = "TIDINGS_API_KEY";
/// Slug of the workspace that the first start creates.
pub const DEFAULT_WORKSPACE: &str = "default";

/// Stores a sealed canary at the first start; at every later one, verifies with it that the vault's key is the same.
///
/// # Errors
/// The outer error is the store's; the inner one means another key.
pub async fn verify_secret_key(
    store: &dyn Store,
    vault: &Vault,
    clock: &dyn Clock,
) -> Result<std::result::Result<(), VaultError>> {
    if store.instance_key().await?.is_none() {
        match store.set_instance_key(vault.instance_key(clock)).await {
            // Another process may have been faster: then its canary counts.
            Ok(()) | Err(StoreError::Exists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let stored = store.instance_key().await?.ok_or(StoreError::NotFound)?;
    Ok(vault.verify(&stored))
}

/// The result of a bootstrap that created the default workspace.
#[derive(Debug)]
pub struct BootstrapKey {
    pub workspace: Workspace,
    /// The generated API key, to be shown only now. None if the operator configured one.
    pub generated: Option<Secret>,
}

/// Ensures that the default workspace exists, and that the operator's API key, if one is configured, is the only valid
/// one of that name. Returns what it created, which is usually at the first start only.
///
/// # Errors
/// [`EngineError::Invalid`] if the operator's key belongs to another workspace.
pub async fn bootstrap(
    store: &Arc<dyn Store>,
    clock: &dyn Clock,
    configured: Option<&Secret>,
) -> Result<Option<BootstrapKey>> {
    let existing = store.workspaces().await?;
    let now = clock.now();
    let default = existing.iter().find(|record| record.workspace.slug == DEFAULT_WORKSPACE);
    if let Some(configured) = configured {
        let hash = api_key_hash(configured.expose());
        let owner = existing.iter().find(|record| record.api_keys.iter().any(|key| key.hash == hash));
        if let Some(other) = owner.filter(|record| record.workspace.slug != DEFAULT_WORKSPACE) {
            let message = format!("is an API key of workspace `{}` already: choose another", other.workspace.slug);
            return Err(EngineError::invalid("/apiKey", message));
        }
    }
    match (default, configured) {
        (None, configured) => {
            let made = configured.is_none().then(|| new_api_key(clock));
            let name = if made.is_some() { "first key" } else { OPERATOR_KEY_NAME };
            let key = made.as_ref().or(configured).cloned().unwrap_or_default();
            let workspace = insert_workspace(store.as_ref(), clock, DEFAULT_WORKSPACE, name, &key, now).await?;
            Ok(Some(BootstrapKey { workspace, generated: made }))
        }
        (Some(default), Some(configured)) => {
            let new = api_key(clock, default.workspace.id, OPERATOR_KEY_NAME, configured, now);
            // The new key first: if the process ends in between, one of the two is valid.
            store.add_api_key(new.clone(), vec![]).await?;
            let outdated = |key: &&ApiKey| key.name == OPERATOR_KEY_NAME && key.hash != new.hash;
            for key in default.api_keys.iter().filter(outdated) {
                store.delete_api_key(default.workspace.id, key.id, vec![]).await?;
                tracing::info!(api_key_id = %key.id, "TIDINGS_API_KEY changed, previous key revoked");
            }
            Ok(None)
        }
        (Some(_), None) => Ok(None),
    }
}

/// Creates a workspace and its first API key.
///
/// # Errors
/// [`EngineError::Invalid`] for an invalid slug, [`EngineError::SlugTaken`].
pub async fn create_workspace(store: &dyn Store, clock: &dyn Clock, slug: &str) -> Result<(Workspace, Secret)> {
    if !is_slug(slug) {
        let message = "must be 1 to 63 of a-z, 0-9 and -, a letter or digit first";
        return Err(EngineError::invalid("/slug", message));
    }
    let key = new_api_key(clock);
    let workspace = insert_workspace(store, clock, slug, "first key", &key, clock.now()).await?;
    Ok((workspace, key))
}

/// Creates another API key of a workspace.
///
/// # Errors
/// [`EngineError::NotFound`] if there is no workspace with this slug.
pub async fn new_key(store: &dyn Store, clock: &dyn Clock, slug: &str) -> Result<(ApiKeyId, Secret)> {
    let workspace = workspace_by_slug(store, slug).await?.workspace;
    let key = new_api_key(clock);
    let record = api_key(clock, workspace.id, "new key", &key, clock.now());
    let id = record.id;
    store.add_api_key(record, vec![]).await?;
    Ok((id, key))
}

/// Revokes an API key of a workspace, and returns it.
///
/// # Errors
/// [`EngineError::NotFound`] if there is no workspace with this slug, or if it has no key with this id.
pub async fn revoke_key(store: &dyn Store, slug: &str, id: ApiKeyId) -> Result<ApiKey> {
    let record = workspace_by_slug(store, slug).await?;
    let key = record.api_keys.into_iter().find(|key| key.id == id).ok_or(EngineError::NotFound("API key"))?;
    store.delete_api_key(record.workspace.id, id, vec![]).await?;
    Ok(key)
}

async fn workspace_by_slug(store: &dyn Store, slug: &str) -> Result<WorkspaceRecord> {
    let all = store.workspaces().await?;
    all.into_iter().find(|record| record.workspace.slug == slug).ok_or(EngineError::NotFound("workspace"))
}

async fn insert_workspace(
    store: &dyn Store,
    clock: &dyn Clock,
    slug: &str,
    key_name: &str,
    key: &Secret,
    now: Timestamp,
) -> Result<Workspace> {
    let workspace = Workspace::new(new_id(clock, now), slug, now);
    let first = api_key(clock, workspace.id, key_name, key, now);
    let record =
        WorkspaceRecord { workspace: workspace.clone(), preferences: Preferences::default(), api_keys: vec![first] };
    match store.create_workspace(record, None, vec![]).await {
        Ok(()) => Ok(workspace),
        Err(StoreError::Exists) => Err(EngineError::SlugTaken),
        Err(error) => Err(error.into()),
    }
}

/// A new key: the prefix and 48 hex digits.
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
        created_by: Actor::system(),
        created_at: now,
        expires_at: None,
    }
}

/// Why an operator's API key is not acceptable, in a message that does not quote it; `None` if it is.
pub fn validate_api_key(key: &str) -> Option<&'static str> {
    let rest = key.strip_prefix(API_KEY_PREFIX);
    let is_valid = rest.is_some_and(|rest| {
        (API_KEY_CHARS_MIN..=200).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_graphic())
    });
    (!is_valid).then_some("must be tdg_ and at least 32 more characters, without spaces")
}
