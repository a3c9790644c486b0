//! `/api-keys`: the keys by which programs act in a workspace.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tidings_domain::account::validate_name;
use tidings_domain::audit::{AuditTarget, AuditVerb, changed_fields};
use tidings_domain::id::ApiKeyId;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::new_id;
use tidings_engine::settings::instance::new_api_key;
use tidings_engine::snapshot::api_key_hash;
use tidings_store::StoreError;
use tidings_store::accounts::ApiKeyRecord;
use tidings_store::settings::ApiKey;
use utoipa::ToSchema;

use crate::app::App;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, ManageApiKeys, Read};
use crate::quotas::{self, QuotaUse};
use crate::response::{Response, SecretOnce};

/// A key to create.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"name": "ci", "readOnly": false, "expiresAt": null}))]
pub struct NewApiKey {
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Whether it only reads and simulates.
    #[serde(default)]
    pub read_only: bool,
    /// When it stops working; null for never.
    pub expires_at: Option<Timestamp>,
}

/// A key, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyView {
    pub id: ApiKeyId,
    pub name: String,
    pub read_only: bool,
    /// The name of who made it.
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// Recorded at most once a minute; null before the first use.
    pub last_used_at: Option<Timestamp>,
    /// From where it was last used.
    pub last_used_address: Option<String>,
}

/// The keys of a workspace, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyList {
    pub data: Vec<ApiKeyView>,
    /// Always null: the list is complete.
    pub next_cursor: Option<String>,
    pub quota: QuotaUse,
}

/// A new key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeySaved {
    pub api_key: ApiKeyView,
    /// The key itself: it is not shown again.
    pub key_once: SecretOnce,
}

impl Response for ApiKeyView {}

impl Response for ApiKeyList {}

impl Response for ApiKeySaved {
    fn holds_secret(&self) -> bool {
        true
    }
}

impl ApiKeyView {
    fn of(record: ApiKeyRecord) -> Self {
        let ApiKeyRecord { key, last_used_at, last_used_address } = record;
        Self {
            id: key.id,
            name: key.name,
            read_only: key.read_only,
            created_by: key.created_by.name,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at,
            last_used_address,
        }
    }
}

async fn load<P>(by: &Authorized<P>) -> Result<Vec<ApiKeyView>> {
    let records = by.engine().accounts().api_keys(by.workspace_id()).await?;
    let mut views: Vec<_> = records.into_iter().map(ApiKeyView::of).collect();
    for view in &mut views {
        // A use that is not written yet.
        if let Some((at, address)) = by.accounts().last_uses().get(view.id)
            && view.last_used_at.is_none_or(|written| written < at)
        {
            (view.last_used_at, view.last_used_address) = (Some(at), address.map(|address| address.to_string()));
        }
    }
    Ok(views)
}

/// The keys.
///
/// # Errors
/// Those of the store.
pub async fn list(by: &Authorized<Read>) -> Result<ApiKeyList> {
    Ok(ApiKeyList { data: load(by).await?, next_cursor: None, quota: quotas::api_keys(by).await? })
}

/// One key.
///
/// # Errors
/// If there is no such key.
pub async fn one(by: &Authorized<Read>, id: ApiKeyId) -> Result<ApiKeyView> {
    load(by).await?.into_iter().find(|key| key.id == id).ok_or(NO_KEY)
}

const NO_KEY: AppError = AppError::not_found("API key");

/// Creates a key.
///
/// # Errors
/// [`AppError::Invalid`], [`AppError::Quota`].
pub async fn create(by: &Authorized<ManageApiKeys>, mut input: Input<NewApiKey>) -> Result<ApiKeySaved> {
    let (now, clock, store) = (by.now(), by.engine().clock(), by.engine().accounts());
    if let Some(message) = validate_name(&input.value.name) {
        input.refuse_field("/name", message);
    }
    if input.value.expires_at.is_some_and(|at| at <= now) {
        input.refuse_field("/expiresAt", "must be in the future");
    }
    let NewApiKey { name, read_only, expires_at } = input.finish()?;
    let _counted = by.accounts().counted().await;
    quotas::api_keys(by).await?.check(quotas::API_KEYS, 1)?;
    let secret = new_api_key(clock);
    let key = ApiKey {
        id: new_id(clock, now),
        workspace_id: by.workspace_id(),
        name,
        hash: api_key_hash(secret.expose()),
        read_only,
        created_by: by.actor().clone(),
        created_at: now,
        expires_at,
    };
    let record = ApiKeyRecord { key: key.clone(), last_used_at: None, last_used_address: None };
    let view = ApiKeyView::of(record);
    let changes = changed_fields(&serde_json::Value::Null, &serde_json::to_value(&view).unwrap_or_default());
    let action = AuditTarget::ApiKey.action(AuditVerb::Created);
    let audit = by.audit_entry(action, Some(key.id.to_string()), Some(&key.name), changes, now);
    store.add_api_key(key, vec![audit]).await?;
    by.mark_members_changed(by.workspace_id());
    by.engine().refresh_config().await?;
    Ok(ApiKeySaved { api_key: view, key_once: SecretOnce(secret) })
}

/// Revokes a key: requests with it fail from now on. A key may revoke itself.
///
/// # Errors
/// If there is no such key.
pub async fn revoke(by: &Authorized<ManageApiKeys>, id: ApiKeyId) -> Result<()> {
    let (store, now) = (by.engine().accounts(), by.now());
    let records = store.api_keys(by.workspace_id()).await?;
    let record = records.into_iter().find(|record| record.key.id == id).ok_or(NO_KEY)?;
    let name = record.key.name.clone();
    let view = serde_json::to_value(ApiKeyView::of(record)).unwrap_or_default();
    let changes = changed_fields(&view, &serde_json::Value::Null);
    let action = AuditTarget::ApiKey.action(AuditVerb::Deleted);
    let audit = by.audit_entry(action, Some(id.to_string()), Some(&name), changes, now);
    let outcome = store.delete_api_key(by.workspace_id(), id, vec![audit]).await;
    by.mark_members_changed(by.workspace_id());
    match outcome {
        Ok(()) => {}
        Err(StoreError::NotFound) => return Err(NO_KEY),
        Err(error) => return Err(error.into()),
    }
    by.engine().refresh_config().await?;
    Ok(())
}

/// Records that the key was used, at most once a minute, without waiting for it.
pub fn record_use(app: &App, id: ApiKeyId, address: Option<IpAddr>) {
    let Some(uses) = app.accounts().last_uses().note(id, app.engine().clock().now(), address) else { return };
    let engine = app.engine().clone();
    tokio::spawn(async move {
        if let Err(error) = engine.accounts().record_api_key_uses(uses).await {
            tracing::warn!(%error, "the uses of API keys were not recorded");
        }
    });
}
