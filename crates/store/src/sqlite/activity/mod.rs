//! Activity: health of channels, what mutes stopped, resends of many deliveries.

mod channel_health;
mod mutes;

use async_trait::async_trait;
use tidings_domain::audit::AuditEntry;
use tidings_domain::id::WorkspaceId;
use tidings_domain::time::Timestamp;

use super::db::Db;
use super::{SqliteStore, resend};
use crate::Result;
use crate::activity::{ActivityStore, ChannelHealthRecord, MuteFilter, MuteRecord, ResendOutcome};
use crate::error::StoreError;
use crate::queue::Resend;

pub(super) use channel_health::{all as channel_health, delete as delete_channel_health, save as save_channel_health};
pub(super) use mutes::{count_stopped, list as list_mutes};

#[async_trait]
impl ActivityStore for SqliteStore {
    async fn channel_health(&self) -> Result<Vec<ChannelHealthRecord>> {
        self.readers.run(channel_health).await
    }

    async fn save_channel_health(&self, records: Vec<ChannelHealthRecord>) -> Result<()> {
        self.writer.run_batched("save_channel_health", move |db| save_channel_health(db, &records)).await
    }

    async fn mutes(&self, workspace_id: WorkspaceId, now: Timestamp, filter: MuteFilter) -> Result<Vec<MuteRecord>> {
        self.history_readers.run(move |db| list_mutes(db, workspace_id, now, filter)).await
    }

    async fn resend_all(&self, resends: Vec<(Resend, Option<AuditEntry>)>) -> Result<Vec<ResendOutcome>> {
        self.writer.run_separately("resend_all", move |db| resend_all(db, &resends)).await
    }
}

/// A refused resend has written nothing, so that the others need no savepoint.
pub(super) fn resend_all(db: &Db<'_>, resends: &[(Resend, Option<AuditEntry>)]) -> Result<Vec<ResendOutcome>> {
    let outcome = |(one, entry): &(Resend, Option<AuditEntry>)| match resend::resend(db, one, entry.as_ref()) {
        Ok(()) => Ok(ResendOutcome::Due),
        Err(StoreError::NotFound) => Ok(ResendOutcome::NotFound),
        Err(StoreError::Conflict) => Ok(ResendOutcome::NotResendable),
        Err(error) => Err(error),
    };
    resends.iter().map(outcome).collect()
}
