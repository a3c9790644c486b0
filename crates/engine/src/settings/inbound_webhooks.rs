//! Inbound webhooks: secret URLs at which other systems report alerts in their own format.

use tidings_domain::id::{InboundWebhookId, WorkspaceId};
use tidings_domain::secret::Secret;
use tidings_store::settings::{ConfigChange, InboundWebhook};

use super::channels::name_violations;
use super::{CommitError, Settings};
use crate::Result;
use crate::clock::new_id;
use crate::error::EngineError;
use crate::snapshot::api_key_hash;

/// The most inbound webhooks of a workspace.
pub const INBOUND_WEBHOOKS_MAX: usize = 100;

impl Settings {
    /// Creates an inbound webhook. Its secret is returned only now; the store has its hash.
    pub(crate) async fn create_inbound_webhook(
        &self,
        workspace_id: WorkspaceId,
        kind: &'static str,
        name: String,
    ) -> Result<(InboundWebhook, Secret)> {
        let view = self.view(workspace_id)?;
        let violations = name_violations(&name);
        if !violations.is_empty() {
            return Err(EngineError::Invalid(violations));
        }
        if view.inbound_webhooks.len() >= INBOUND_WEBHOOKS_MAX {
            return Err(EngineError::Quota { what: "inbound webhooks", max: INBOUND_WEBHOOKS_MAX as u32 });
        }
        let now = self.clock.now();
        let mut random = [0; 24];
        self.clock.random(&mut random);
        let secret = hex::encode(random);
        let webhook = InboundWebhook {
            id: new_id(self.clock.as_ref(), now),
            workspace_id,
            kind: kind.to_owned(),
            name,
            hash: api_key_hash(&secret),
            created_at: now,
        };
        match self.commit(workspace_id, vec![ConfigChange::PutInboundWebhook(webhook.clone())]).await {
            Ok(()) => Ok((webhook, Secret::new(secret))),
            Err(CommitError::Failed(error)) => Err(error),
            Err(_) => Err(EngineError::NotFound("workspace")),
        }
    }

    pub(crate) async fn delete_inbound_webhook(&self, workspace_id: WorkspaceId, id: InboundWebhookId) -> Result<()> {
        match self.commit(workspace_id, vec![ConfigChange::DeleteInboundWebhook(id)]).await {
            Ok(()) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error),
            Err(_) => Err(EngineError::NotFound("inbound webhook")),
        }
    }
}
