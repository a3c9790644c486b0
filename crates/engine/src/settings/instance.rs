//! Settings of the instance itself: verification of its secret key, and API keys that are made without a request.

use tidings_domain::access::Actor;
use tidings_domain::audit::{AuditChanges, AuditEntry, AuditTarget, AuditVerb};
use tidings_domain::id::WorkspaceId;
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_store::settings::{ApiKey, WorkspaceRecord};
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

/// Ensures that the operator's API key, if one is configured, is the only one of that name in its workspace: that which has
/// it from a former start, whatever its slug is now, else `default`. Returns whether there is such a workspace.
///
/// # Errors
/// [`EngineError::Invalid`] if the operator's key belongs to another workspace.
pub async fn apply_operator_key(store: &dyn Store, clock: &dyn Clock, configured: Option<&Secret>) -> Result<bool> {
    let existing = store.workspaces().await?;
    // Its admins can rename it; no request makes a key of the system.
    let is_operators = |key: &ApiKey| key.name == OPERATOR_KEY_NAME && key.created_by == Actor::system();
    let holds = |record: &&WorkspaceRecord| record.api_keys.iter().any(is_operators);
    let is_default = |record: &&WorkspaceRecord| record.workspace.slug == DEFAULT_WORKSPACE;
    let default = existing.iter().find(holds).or_else(|| existing.iter().find(is_default));
    if let Some(configured) = configured {
        let hash = api_key_hash(configured.expose());
        let owner = existing.iter().find(|record| record.api_keys.iter().any(|key| key.hash == hash));
        if let Some(other) =
            owner.filter(|record| default.is_none_or(|default| default.workspace.id != record.workspace.id))
        {
            let message = format!("is an API key of workspace `{}` already: choose another", other.workspace.slug);
            return Err(EngineError::invalid("/apiKey", message));
        }
    }
    if let (Some(default), Some(configured)) = (default, configured) {
        let new = api_key(clock, default.workspace.id, OPERATOR_KEY_NAME, configured, clock.now());
        // The new key first: if the process ends in between, one of the two is valid.
        store.add_api_key(new.clone(), vec![of_start(clock, &new, AuditVerb::Created)]).await?;
        let outdated = |key: &&ApiKey| key.name == OPERATOR_KEY_NAME && key.hash != new.hash;
        for key in default.api_keys.iter().filter(outdated) {
            let audit = vec![of_start(clock, key, AuditVerb::Deleted)];
            store.delete_api_key(default.workspace.id, key.id, audit).await?;
            tracing::info!(api_key_id = %key.id, "TIDINGS_API_KEY changed, previous key revoked");
        }
    }
    Ok(default.is_some())
}

/// The entry of the audit log for what a start does to the operator's key.
fn of_start(clock: &dyn Clock, key: &ApiKey, verb: AuditVerb) -> AuditEntry {
    let now = clock.now();
    AuditEntry {
        id: new_id(clock, now),
        workspace_id: Some(key.workspace_id),
        at: now,
        actor: Actor::system(),
        action: AuditTarget::ApiKey.action(verb),
        target_id: Some(key.id.to_string()),
        target_name: Some(key.name.clone()),
        changes: AuditChanges::new(),
        address: None,
        request_id: None,
    }
}

/// A new key: the prefix and 48 hex digits.
pub fn new_api_key(clock: &dyn Clock) -> Secret {
    let mut random = [0; 24];
    clock.random(&mut random);
    Secret::new(format!("{API_KEY_PREFIX}{}", hex::encode(random)))
}

/// An API key with write access that does not expire, made by the system.
pub fn api_key(clock: &dyn Clock, workspace_id: WorkspaceId, name: &str, key: &Secret, now: Timestamp) -> ApiKey {
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
