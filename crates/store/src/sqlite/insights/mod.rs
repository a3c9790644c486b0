//! Insights: what is folded behind the event pipeline, and reads for pages.

pub(super) mod activity;
pub(super) mod backlog;
pub(super) mod erase;
pub(super) mod fold;
mod recent;
pub(super) mod resource;
pub(super) mod staged;
pub(super) mod uptime;

use async_trait::async_trait;
use tidings_domain::audit::AuditEntry;
use tidings_domain::id::{ChannelId, EndpointId, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::SqliteStore;
use super::accounts::audit;
use super::db::Db;
use crate::Result;
use crate::insights::{
    Activity, ActivityFilter, AttentionCounts, Backlog, EndpointUptime, EraseProgress, ErasureRecord, FoldProgress,
    InsightStore, ResourceEdit, ResourceFilter, ResourceKey, ResourceRecord, Upcoming,
};

/// Events that one fold before a read takes, and how many folds. While more are reported than that, a read is late by
/// some of them.
const FOLD_EVENTS: u32 = 10_000;
const FOLDS_MAX: u32 = 2;

impl SqliteStore {
    /// Folds what was not folded yet, before a read.
    pub(super) async fn catch_up(&self) -> Result<()> {
        for _ in 0..FOLDS_MAX {
            if !fold::fold(self, FOLD_EVENTS).await?.has_more {
                break;
            }
        }
        Ok(())
    }
}

fn record_audit(db: &Db<'_>, workspace_id: WorkspaceId, entry: Option<&AuditEntry>) -> Result<()> {
    entry.map_or(Ok(()), |entry| audit::record_of(db, workspace_id, entry))
}

#[async_trait]
impl InsightStore for SqliteStore {
    async fn fold(&self, limit: u32) -> Result<FoldProgress> {
        fold::fold(self, limit).await
    }

    async fn resources(
        &self,
        workspace_id: WorkspaceId,
        filter: ResourceFilter,
        now: Timestamp,
    ) -> Result<Vec<ResourceRecord>> {
        self.catch_up().await?;
        self.history_readers.run(move |db| resource::list(db, workspace_id, &filter, now)).await
    }

    async fn resource(&self, key: ResourceKey, now: Timestamp) -> Result<Option<ResourceRecord>> {
        self.catch_up().await?;
        self.history_readers.run(move |db| resource::get(db, &key, now)).await
    }

    async fn edit_resource(
        &self,
        edit: ResourceEdit,
        now: Timestamp,
        audit: Option<AuditEntry>,
    ) -> Result<ResourceRecord> {
        self.catch_up().await?;
        let edit = move |db: &Db<'_>| {
            record_audit(db, edit.key.workspace_id, audit.as_ref())?;
            resource::edit(db, &edit, now)
        };
        self.writer.run_separately("edit_resource", edit).await
    }

    async fn erase_resource(&self, key: ResourceKey, now: Timestamp, audit: Option<AuditEntry>) -> Result<()> {
        let request = move |db: &Db<'_>| {
            record_audit(db, key.workspace_id, audit.as_ref())?;
            erase::request(db, &key, now)
        };
        self.writer.run_separately("erase_resource", request).await
    }

    async fn erasure(&self, key: ResourceKey) -> Result<Option<ErasureRecord>> {
        self.history_readers.run(move |db| erase::record(db, &key)).await
    }

    async fn erase(&self, now: Timestamp, limit: u32) -> Result<EraseProgress> {
        // Nearly always nothing is: no write then.
        if !self.readers.run(move |db| erase::is_due(db, now)).await? {
            return Ok(EraseProgress::default());
        }
        self.writer.run_batched("erase", move |db| erase::erase(db, now, limit)).await
    }

    async fn activity(&self, workspace_id: WorkspaceId, filter: ActivityFilter) -> Result<Vec<(Timestamp, Activity)>> {
        if filter.is_up_to_date {
            self.catch_up().await?;
        }
        self.history_readers.run(move |db| activity::list(db, workspace_id, &filter)).await
    }

    async fn backlog(&self, channels: Vec<ChannelId>) -> Result<Vec<Backlog>> {
        self.history_readers.run(move |db| backlog::backlog(db, &channels)).await
    }

    async fn upcoming(&self, channels: Vec<ChannelId>, now: Timestamp, limit: u32) -> Result<Upcoming> {
        self.history_readers.run(move |db| backlog::upcoming(db, &channels, now, limit)).await
    }

    async fn attention(
        &self,
        workspace_id: WorkspaceId,
        channels: Vec<ChannelId>,
        since: Timestamp,
        limit: u32,
    ) -> Result<AttentionCounts> {
        self.history_readers.run(move |db| backlog::attention(db, workspace_id, &channels, since, limit)).await
    }

    async fn uptime(
        &self,
        workspace_id: WorkspaceId,
        endpoints: Vec<EndpointId>,
        now: Timestamp,
        days: u32,
    ) -> Result<Vec<EndpointUptime>> {
        self.history_readers.run(move |db| uptime::list(db, workspace_id, &endpoints, now, days)).await
    }
}
