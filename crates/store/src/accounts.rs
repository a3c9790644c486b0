//! Accounts and the audit log: the part of the store that concerns who may do what, and who did what.

use async_trait::async_trait;
use tidings_domain::audit::{AuditAction, AuditEntry, AuditTarget};
use tidings_domain::id::{AuditEntryId, WorkspaceId};
use tidings_domain::time::Timestamp;

use crate::Result;

/// Which entries of the audit log to list.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only those after this one in the list (pagination).
    pub before: Option<AuditEntryId>,
    pub limit: u32,
    /// Only those of the user or API key with this id.
    pub actor_id: Option<String>,
    pub action: Option<AuditAction>,
    /// Only those about things of this kind.
    pub target: Option<AuditTarget>,
    pub target_id: Option<String>,
    /// Only those made at or after this instant.
    pub since: Option<Timestamp>,
    /// Only those made before this instant.
    pub until: Option<Timestamp>,
}

/// Operations on accounts, each one transaction, with the promises of [`crate::Store`].
#[async_trait]
pub trait AccountStore: Send + Sync {
    // Audit log -------------------------------------------------------------------------------------------------------

    /// Writes entries of the audit log about acts that change no row of their own. Entries about other acts are passed
    /// to the operation that carries them out.
    ///
    /// # Errors
    /// [`crate::StoreError::Exists`] if an entry has the id of another.
    async fn record_audit(&self, entries: Vec<AuditEntry>) -> Result<()>;

    /// Entries about a workspace, or those about the instance, newest first. A history read.
    async fn audit_log(&self, workspace_id: Option<WorkspaceId>, filter: AuditFilter) -> Result<Vec<AuditEntry>>;
}
