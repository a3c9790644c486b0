//! [`AccountStore`] of the embedded store.

use async_trait::async_trait;
use tidings_domain::access::Role;
use tidings_domain::account::{Invitation, Session, User};
use tidings_domain::audit::AuditEntry;
use tidings_domain::id::{ApiKeyId, InvitationId, SessionId, UserId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::Workspace;

use super::{api_key, audit, invitation, member, session, user, workspace};
use crate::Result;
use crate::accounts::{
    Acceptor, AccountStore, ApiKeyRecord, AuditFilter, Member, NewOwner, NewSession, PasswordChange, SignedIn, Use,
    UserRecord, UserWorkspace, WorkspaceCounts,
};
use crate::settings::{ApiKey, WorkspaceRecord};
use crate::sqlite::SqliteStore;
use crate::sqlite::db::Db;

impl SqliteStore {
    /// Runs an operation, and writes its entries of the audit log in the same transaction.
    async fn run_audited<T: Send + 'static>(
        &self,
        name: &'static str,
        entries: Vec<AuditEntry>,
        work: impl Fn(&Db<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let audited = move |db: &Db<'_>| {
            let outcome = work(db)?;
            audit::record(db, &entries)?;
            Ok(outcome)
        };
        self.writer.run_separately(name, audited).await
    }
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>> {
        self.readers.run(workspace::all).await
    }

    async fn workspace_counts(&self) -> Result<Vec<WorkspaceCounts>> {
        self.history_readers.run(workspace::counts).await
    }

    async fn create_workspace(
        &self,
        record: WorkspaceRecord,
        owner: Option<NewOwner>,
        audit: Vec<AuditEntry>,
    ) -> Result<()> {
        let create = move |db: &Db<'_>| workspace::create(db, &record, owner.as_ref());
        self.run_audited("create_workspace", audit, create).await
    }

    async fn delete_workspace(&self, id: WorkspaceId, at: Timestamp, audit: Vec<AuditEntry>) -> Result<()> {
        self.run_audited("delete_workspace", audit, move |db| workspace::delete(db, id, at)).await
    }

    async fn add_api_key(&self, key: ApiKey, audit: Vec<AuditEntry>) -> Result<()> {
        let add = move |db: &Db<'_>| {
            let is_new = api_key::add(db, &key)?;
            audit::record(db, if is_new { &audit } else { &[] })
        };
        self.writer.run_separately("add_api_key", add).await
    }

    async fn delete_api_key(&self, workspace_id: WorkspaceId, id: ApiKeyId, audit: Vec<AuditEntry>) -> Result<()> {
        self.run_audited("delete_api_key", audit, move |db| api_key::delete(db, workspace_id, id)).await
    }

    async fn api_keys(&self, workspace_id: WorkspaceId) -> Result<Vec<ApiKeyRecord>> {
        self.readers.run(move |db| api_key::all(db, workspace_id)).await
    }

    async fn record_api_key_uses(&self, uses: Vec<Use<ApiKeyId>>) -> Result<()> {
        self.writer.run_batched("record_api_key_uses", move |db| api_key::record_uses(db, &uses)).await
    }

    async fn has_users(&self) -> Result<bool> {
        self.readers.run(user::any).await
    }

    async fn users(&self) -> Result<Vec<User>> {
        self.history_readers.run(user::all).await
    }

    async fn create_user(
        &self,
        record: UserRecord,
        memberships: Vec<(WorkspaceId, Role)>,
        audit: Vec<AuditEntry>,
    ) -> Result<()> {
        let create = move |db: &Db<'_>| {
            user::insert(db, &record)?;
            let User { id, created_at, .. } = record.user;
            memberships
                .iter()
                .try_for_each(|(workspace_id, role)| member::add(db, *workspace_id, id, *role, created_at))
        };
        self.run_audited("create_user", audit, create).await
    }

    async fn user(&self, id: UserId) -> Result<Option<UserRecord>> {
        self.readers.run(move |db| user::get(db, id)).await
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<UserRecord>> {
        let email = email.to_owned();
        self.readers.run(move |db| user::by_email(db, &email)).await
    }

    async fn update_user(&self, user: User, expected_revision: u32, audit: Vec<AuditEntry>) -> Result<()> {
        self.run_audited("update_user", audit, move |db| user::update(db, &user, expected_revision)).await
    }

    async fn change_password(&self, change: PasswordChange, audit: Vec<AuditEntry>) -> Result<()> {
        self.run_audited("change_password", audit, move |db| user::change_password(db, &change)).await
    }

    async fn members(&self, workspace_id: WorkspaceId) -> Result<Vec<Member>> {
        self.readers.run(move |db| member::all(db, workspace_id)).await
    }

    async fn user_workspaces(&self, user_id: UserId) -> Result<Vec<UserWorkspace>> {
        self.readers.run(move |db| member::workspaces(db, user_id)).await
    }

    async fn add_member(
        &self,
        workspace_id: WorkspaceId,
        user_id: UserId,
        role: Role,
        at: Timestamp,
        audit: Vec<AuditEntry>,
    ) -> Result<()> {
        self.run_audited("add_member", audit, move |db| member::add(db, workspace_id, user_id, role, at)).await
    }

    async fn set_member_role(
        &self,
        workspace_id: WorkspaceId,
        user_id: UserId,
        from: Role,
        to: Role,
        audit: Vec<AuditEntry>,
    ) -> Result<()> {
        let set = move |db: &Db<'_>| member::set_role(db, workspace_id, user_id, from, to);
        self.run_audited("set_member_role", audit, set).await
    }

    async fn remove_member(
        &self,
        workspace_id: WorkspaceId,
        user_id: UserId,
        role: Role,
        audit: Vec<AuditEntry>,
    ) -> Result<()> {
        self.run_audited("remove_member", audit, move |db| member::remove(db, workspace_id, user_id, role)).await
    }

    async fn create_session(
        &self,
        session: NewSession,
        password_changed_at: Timestamp,
        audit: Vec<AuditEntry>,
    ) -> Result<()> {
        let create = move |db: &Db<'_>| {
            user::check_password_unchanged(db, session.session.user_id, password_changed_at)?;
            session::begin(db, &session)
        };
        self.run_audited("create_session", audit, create).await
    }

    async fn session(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<SignedIn>> {
        self.readers.run(move |db| session::get(db, &hash, now)).await
    }

    async fn record_session_uses(&self, uses: Vec<Use<SessionId>>) -> Result<()> {
        self.writer.run_batched("record_session_uses", move |db| session::record_uses(db, &uses)).await
    }

    async fn sessions(&self, user_id: UserId, now: Timestamp) -> Result<Vec<Session>> {
        self.readers.run(move |db| session::all(db, user_id, now)).await
    }

    async fn delete_session(&self, user_id: UserId, id: SessionId, audit: Vec<AuditEntry>) -> Result<()> {
        self.run_audited("delete_session", audit, move |db| session::delete(db, user_id, id)).await
    }

    async fn delete_sessions(&self, user_id: UserId, except: Option<SessionId>, audit: Vec<AuditEntry>) -> Result<u64> {
        let delete = move |db: &Db<'_>| {
            let deleted = session::delete_all(db, user_id, except)?;
            audit::record(db, if deleted > 0 { &audit } else { &[] })?;
            Ok(deleted)
        };
        self.writer.run_separately("delete_sessions", delete).await
    }

    async fn create_invitation(&self, invitation: Invitation, hash: [u8; 32], audit: Vec<AuditEntry>) -> Result<()> {
        self.run_audited("create_invitation", audit, move |db| invitation::create(db, &invitation, &hash)).await
    }

    async fn invitations(&self, workspace_id: WorkspaceId, now: Timestamp) -> Result<Vec<Invitation>> {
        self.readers.run(move |db| invitation::open(db, workspace_id, now)).await
    }

    async fn invitation(&self, hash: [u8; 32]) -> Result<Option<(Invitation, Workspace)>> {
        self.readers.run(move |db| invitation::by_hash(db, &hash)).await
    }

    async fn delete_invitation(
        &self,
        workspace_id: WorkspaceId,
        id: InvitationId,
        audit: Vec<AuditEntry>,
    ) -> Result<()> {
        self.run_audited("delete_invitation", audit, move |db| invitation::delete(db, workspace_id, id)).await
    }

    async fn accept_invitation(
        &self,
        hash: [u8; 32],
        at: Timestamp,
        acceptor: Acceptor,
        session: Option<NewSession>,
        audit: Vec<AuditEntry>,
    ) -> Result<()> {
        let accept = move |db: &Db<'_>| {
            invitation::accept(db, &hash, at, &acceptor)?;
            session.iter().try_for_each(|session| session::begin(db, session))
        };
        self.run_audited("accept_invitation", audit, accept).await
    }

    async fn record_audit(&self, entries: Vec<AuditEntry>) -> Result<()> {
        self.writer.run_separately("record_audit", move |db| audit::record(db, &entries)).await
    }

    async fn audit_log(&self, workspace_id: Option<WorkspaceId>, filter: AuditFilter) -> Result<Vec<AuditEntry>> {
        self.history_readers.run(move |db| audit::list(db, workspace_id, &filter)).await
    }
}
