//! `/inbound-webhooks`: secret URLs at which other products report alerts in their own format.

use serde::{Deserialize, Serialize};
use tidings_domain::audit::{AuditTarget, AuditVerb};
use tidings_domain::id::InboundWebhookId;
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::new_id;
use tidings_engine::settings::ConfigPlan;
use tidings_engine::settings::channels::name_violations;
use tidings_engine::snapshot::{WorkspaceView, api_key_hash};
use tidings_store::settings::{self, ConfigChange};
use utoipa::ToSchema;

use crate::audit::Change;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Configure, Read};
use crate::quotas::{self, Quota};
use crate::response::{Response, SecretOnce};

/// A product whose format is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    #[default]
    Alertmanager,
}

impl Source {
    /// The wire name: API, store and URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
        }
    }
}

/// An inbound webhook to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboundWebhookDraft {
    #[serde(rename = "type", default)]
    #[schema(required)]
    pub source: Source,
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100)]
    pub name: String,
}

/// An inbound webhook, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboundWebhook {
    pub id: InboundWebhookId,
    #[serde(rename = "type")]
    pub source: String,
    pub name: String,
    pub created_at: Timestamp,
}

/// The inbound webhooks of a workspace, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboundWebhookList {
    pub data: Vec<InboundWebhook>,
    /// Always null: the list is complete.
    pub next_cursor: Option<String>,
}

/// An inbound webhook that was created.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboundWebhookSaved {
    pub inbound_webhook: InboundWebhook,
    /// The URL, which is the credential: it is not shown again. A path, if the instance has no public URL.
    pub url: SecretOnce,
}

impl Response for InboundWebhookList {}

impl Response for InboundWebhookSaved {
    fn holds_secret(&self) -> bool {
        true
    }
}

impl InboundWebhook {
    fn of(webhook: &settings::InboundWebhook) -> Self {
        Self {
            id: webhook.id,
            source: webhook.kind.clone(),
            name: webhook.name.clone(),
            created_at: webhook.created_at,
        }
    }
}

/// The inbound webhooks.
///
/// # Errors
/// If the workspace was deleted meanwhile.
pub fn list(by: &Authorized<Read>) -> Result<InboundWebhookList> {
    let data = by.view()?.inbound_webhooks.iter().map(InboundWebhook::of).collect();
    Ok(InboundWebhookList { data, next_cursor: None })
}

/// Creates an inbound webhook.
///
/// # Errors
/// [`AppError::Invalid`], and [`AppError::Quota`].
pub async fn create(by: &Authorized<Configure>, input: Input<InboundWebhookDraft>) -> Result<InboundWebhookSaved> {
    let plan = |view: &WorkspaceView, now| {
        quotas::check(by, view, Quota::InboundWebhooks, 1)?;
        let mut input = input.clone();
        input.refuse(name_violations(&input.value.name));
        let draft = input.finish()?;
        let mut random = [0; 24];
        by.engine().clock().random(&mut random);
        let secret = hex::encode(random);
        let webhook = settings::InboundWebhook {
            id: new_id(by.engine().clock(), now),
            workspace_id: by.workspace_id(),
            kind: draft.source.as_str().to_owned(),
            name: draft.name,
            hash: api_key_hash(&secret),
            created_at: now,
        };
        let created = audit(by, AuditVerb::Created, &webhook, now);
        let changes = vec![ConfigChange::PutInboundWebhook(webhook.clone()), created];
        Ok::<_, AppError>(ConfigPlan { changes, value: (webhook, secret) })
    };
    let (webhook, secret) = by.engine().settings().update(by.workspace_id(), plan).await?;
    let base = by.public_url().unwrap_or_default().trim_end_matches('/');
    let url = SecretOnce(Secret::new(format!("{base}/in/{}/{secret}", webhook.kind)));
    Ok(InboundWebhookSaved { inbound_webhook: InboundWebhook::of(&webhook), url })
}

/// Deletes an inbound webhook; its URL returns 404 from then on.
///
/// # Errors
/// If there is no such inbound webhook.
pub async fn delete(by: &Authorized<Configure>, id: InboundWebhookId) -> Result<()> {
    let plan = |view: &WorkspaceView, now| {
        let webhook = view.inbound_webhooks.iter().find(|webhook| webhook.id == id);
        let webhook = webhook.ok_or(AppError::not_found("inbound webhook"))?;
        let deleted = audit(by, AuditVerb::Deleted, webhook, now);
        Ok::<_, AppError>(ConfigPlan { changes: vec![ConfigChange::DeleteInboundWebhook(id), deleted], value: () })
    };
    by.engine().settings().update(by.workspace_id(), plan).await
}

fn audit(
    by: &Authorized<Configure>,
    verb: AuditVerb,
    webhook: &settings::InboundWebhook,
    now: Timestamp,
) -> ConfigChange {
    let shown = InboundWebhook::of(webhook);
    let (before, after) = if verb == AuditVerb::Created { (None, Some(&shown)) } else { (Some(&shown), None) };
    let change = Change { id: webhook.id.to_string(), name: &webhook.name, before, after };
    by.audit(AuditTarget::InboundWebhook.action(verb), &change, now, |_| {})
}
