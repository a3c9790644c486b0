//! Accounts and the audit log: the part of the store that concerns who may do what, and who did what.

use async_trait::async_trait;
use tidings_domain::access::Role;
use tidings_domain::account::{Invitation, Session, User};
use tidings_domain::audit::{AuditAction, AuditEntry, AuditTarget};
use tidings_domain::id::{ApiKeyId, AuditEntryId, InvitationId, SessionId, UserId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::Workspace;

use crate::Result;
use crate::settings::{ApiKey, WorkspaceRecord};

/// The most sessions of one user; a further one ends the oldest.
pub const SESSIONS_MAX: u32 = 100;

/// A user with the hash of the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    pub user: User,
    /// In the PHC string format, with algorithm, parameters and salt.
    pub password_hash: String,
}

/// The first owner of a new workspace.
#[derive(Debug, Clone)]
pub enum NewOwner {
    Existing(UserId),
    /// The user is created.
    New(UserRecord),
}

/// Who accepts an invitation.
#[derive(Debug, Clone)]
pub enum Acceptor {
    Existing(UserId),
    /// The user is created.
    New(UserRecord),
}

/// A session to begin.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub session: Session,
    /// SHA-256 of the cookie's secret.
    pub hash: [u8; 32],
    /// The hash of the session that the browser had before, which ends.
    pub replaces: Option<[u8; 32]>,
}

/// A new password. All sessions of the user end.
#[derive(Debug, Clone)]
pub struct PasswordChange {
    pub user_id: UserId,
    /// In the PHC string format.
    pub password_hash: String,
    pub at: Timestamp,
    /// The `password_changed_at` of the password that the user proved to know; `None` for a reset by the operator.
    pub verified: Option<Timestamp>,
    /// The session of the browser that changed it.
    pub renewed: Option<NewSession>,
}

/// A session with what the user is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub session: Session,
    pub user: User,
    /// The workspaces of the user, oldest first.
    pub memberships: Vec<(WorkspaceId, Role)>,
}

/// A member of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user: User,
    pub role: Role,
    pub joined_at: Timestamp,
    /// Latest use of a session that still exists.
    pub last_seen_at: Option<Timestamp>,
    pub sessions: u32,
}

/// A workspace of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserWorkspace {
    pub workspace: Workspace,
    pub role: Role,
    pub joined_at: Timestamp,
}

/// A use of a session or API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use<I> {
    pub id: I,
    pub at: Timestamp,
    /// The client's IP address.
    pub address: Option<String>,
}

/// An API key with its latest use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    pub key: ApiKey,
    pub last_used_at: Option<Timestamp>,
    pub last_used_address: Option<String>,
}

/// How much a workspace has, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkspaceCounts {
    pub workspace_id: WorkspaceId,
    pub members: u32,
    pub api_keys: u32,
    /// Shared channels.
    pub channels: u32,
}

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
///
/// Entries of the audit log that are passed with an operation are written in its transaction, and only if it changed
/// something. A deleted workspace counts as missing.
#[async_trait]
pub trait AccountStore: Send + Sync {
    // Workspaces ------------------------------------------------------------------------------------------------------

    /// All workspaces with their preferences and API keys. Read at the start and whenever the configuration cache
    /// reloads.
    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>>;

    /// How much each workspace has, in the order of [`AccountStore::workspaces`].
    async fn workspace_counts(&self) -> Result<Vec<WorkspaceCounts>>;

    /// Creates a workspace with its first API keys and its first owner.
    ///
    /// # Errors
    /// [`crate::StoreError::Exists`] if the slug, the hash of a key or the new owner's email is taken,
    /// [`crate::StoreError::NotFound`] if there is no such owner.
    async fn create_workspace(
        &self,
        record: WorkspaceRecord,
        owner: Option<NewOwner>,
        audit: Vec<AuditEntry>,
    ) -> Result<()>;

    /// Deletes a workspace. Its keys, members, invitations and inbound webhooks are deleted at once, its slug is free,
    /// and no operation finds it any more; [`crate::Store::prune`] deletes its other rows, however many they are, in
    /// small batches. Entries of its audit log go with it; an entry about the deletion must therefore be one about the
    /// instance.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] if there is no such workspace.
    async fn delete_workspace(&self, id: WorkspaceId, at: Timestamp, audit: Vec<AuditEntry>) -> Result<()>;

    // API keys --------------------------------------------------------------------------------------------------------

    /// Adds an API key and increments the configuration version. Does nothing if a key with this hash exists, so that a
    /// start can repeat it.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] if there is no such workspace.
    async fn add_api_key(&self, key: ApiKey, audit: Vec<AuditEntry>) -> Result<()>;

    /// Deletes an API key of a workspace and increments the configuration version.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] if the workspace has no such key.
    async fn delete_api_key(&self, workspace_id: WorkspaceId, id: ApiKeyId, audit: Vec<AuditEntry>) -> Result<()>;

    /// The API keys of a workspace with their latest uses, expired ones included, oldest first.
    async fn api_keys(&self, workspace_id: WorkspaceId) -> Result<Vec<ApiKeyRecord>>;

    /// Records uses of API keys, of any workspaces. Called with the uses of some time together, because a write for each
    /// request would be too many. Unknown keys are ignored, and so are uses before the latest one.
    async fn record_api_key_uses(&self, uses: Vec<Use<ApiKeyId>>) -> Result<()>;

    // Users -----------------------------------------------------------------------------------------------------------

    /// Whether there is any user.
    async fn has_users(&self) -> Result<bool>;

    /// All users of the instance, by email. Called by the operator.
    async fn users(&self) -> Result<Vec<User>>;

    /// Creates a user who is a member of these workspaces.
    ///
    /// # Errors
    /// [`crate::StoreError::Exists`] if the email is taken, [`crate::StoreError::NotFound`] if there is no such
    /// workspace.
    async fn create_user(
        &self,
        record: UserRecord,
        memberships: Vec<(WorkspaceId, Role)>,
        audit: Vec<AuditEntry>,
    ) -> Result<()>;

    /// One user.
    async fn user(&self, id: UserId) -> Result<Option<UserRecord>>;

    /// The user with this email, in any case.
    async fn user_by_email(&self, email: &str) -> Result<Option<UserRecord>>;

    /// Writes email, name and operator's flag of a user; `user.revision` must be the one after `expected_revision`.
    ///
    /// # Errors
    /// [`crate::StoreError::Conflict`] if the user is at another revision, [`crate::StoreError::Exists`] if the email is
    /// taken, [`crate::StoreError::NotFound`] if there is no such user.
    async fn update_user(&self, user: User, expected_revision: u32, audit: Vec<AuditEntry>) -> Result<()>;

    /// Changes the password of a user, and ends all sessions but the renewed one.
    ///
    /// # Errors
    /// [`crate::StoreError::Conflict`] if the password was changed since it was verified,
    /// [`crate::StoreError::NotFound`] if there is no such user.
    async fn change_password(&self, change: PasswordChange, audit: Vec<AuditEntry>) -> Result<()>;

    // Members ---------------------------------------------------------------------------------------------------------

    /// The members of a workspace, in the order in which they joined.
    async fn members(&self, workspace_id: WorkspaceId) -> Result<Vec<Member>>;

    /// The workspaces of a user, oldest first.
    async fn user_workspaces(&self, user_id: UserId) -> Result<Vec<UserWorkspace>>;

    /// Makes a user a member.
    ///
    /// # Errors
    /// [`crate::StoreError::Exists`] if the user is a member, [`crate::StoreError::NotFound`] if there is no such
    /// workspace or user.
    async fn add_member(
        &self,
        workspace_id: WorkspaceId,
        user_id: UserId,
        role: Role,
        at: Timestamp,
        audit: Vec<AuditEntry>,
    ) -> Result<()>;

    /// Changes the role of a member.
    ///
    /// # Errors
    /// [`crate::StoreError::Conflict`] unless the role is `from`, [`crate::StoreError::LastOwner`] if no owner would be
    /// left, [`crate::StoreError::NotFound`] if there is no such member.
    async fn set_member_role(
        &self,
        workspace_id: WorkspaceId,
        user_id: UserId,
        from: Role,
        to: Role,
        audit: Vec<AuditEntry>,
    ) -> Result<()>;

    /// Removes a member, whose role is expected to be `role`.
    ///
    /// # Errors
    /// As [`AccountStore::set_member_role`].
    async fn remove_member(
        &self,
        workspace_id: WorkspaceId,
        user_id: UserId,
        role: Role,
        audit: Vec<AuditEntry>,
    ) -> Result<()>;

    // Sessions --------------------------------------------------------------------------------------------------------

    /// Begins a session of a user whose password was `password_changed_at` when it was verified. The oldest session ends
    /// if the user has [`SESSIONS_MAX`].
    ///
    /// # Errors
    /// [`crate::StoreError::Conflict`] if the password was changed since, [`crate::StoreError::NotFound`] if there is no
    /// such user.
    async fn create_session(
        &self,
        session: NewSession,
        password_changed_at: Timestamp,
        audit: Vec<AuditEntry>,
    ) -> Result<()>;

    /// The session with this hash; `None` if there is none or it has expired. Read with every request that has a cookie.
    async fn session(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<SignedIn>>;

    /// Records uses of sessions, which defers their expiry. Called with the uses of some time together. Sessions that
    /// ended or expired meanwhile are ignored.
    async fn record_session_uses(&self, uses: Vec<Use<SessionId>>) -> Result<()>;

    /// The sessions of a user that have not expired, newest first.
    async fn sessions(&self, user_id: UserId, now: Timestamp) -> Result<Vec<Session>>;

    /// Ends a session of a user.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] if the user has no such session.
    async fn delete_session(&self, user_id: UserId, id: SessionId, audit: Vec<AuditEntry>) -> Result<()>;

    /// Ends all sessions of a user, but for one. Returns how many.
    async fn delete_sessions(&self, user_id: UserId, except: Option<SessionId>, audit: Vec<AuditEntry>) -> Result<u64>;

    // Invitations -----------------------------------------------------------------------------------------------------

    /// Creates an invitation with the SHA-256 of its secret. It replaces an earlier one for this email that was not
    /// accepted.
    ///
    /// # Errors
    /// [`crate::StoreError::Exists`] if the user with this email is a member, [`crate::StoreError::NotFound`] if there
    /// is no such workspace.
    async fn create_invitation(&self, invitation: Invitation, hash: [u8; 32], audit: Vec<AuditEntry>) -> Result<()>;

    /// The invitations of a workspace that can be accepted, oldest first.
    async fn invitations(&self, workspace_id: WorkspaceId, now: Timestamp) -> Result<Vec<Invitation>>;

    /// The invitation with this hash, also if it was accepted or has expired, with its workspace.
    async fn invitation(&self, hash: [u8; 32]) -> Result<Option<(Invitation, Workspace)>>;

    /// Deletes an invitation that was not accepted.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] if the workspace has no such invitation, or if it was accepted.
    async fn delete_invitation(
        &self,
        workspace_id: WorkspaceId,
        id: InvitationId,
        audit: Vec<AuditEntry>,
    ) -> Result<()>;

    /// Accepts an invitation: creates the user if it is a new one, and the membership, and begins a session.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] if there is no such invitation or user, [`crate::StoreError::Conflict`] if it
    /// was accepted or has expired, [`crate::StoreError::Exists`] if the new user's email is taken or the existing user is
    /// a member.
    async fn accept_invitation(
        &self,
        hash: [u8; 32],
        at: Timestamp,
        acceptor: Acceptor,
        session: Option<NewSession>,
        audit: Vec<AuditEntry>,
    ) -> Result<()>;

    // Audit log -------------------------------------------------------------------------------------------------------

    /// Writes entries of the audit log about acts that change no row of their own.
    ///
    /// # Errors
    /// [`crate::StoreError::Exists`] if an entry has the id of another.
    async fn record_audit(&self, entries: Vec<AuditEntry>) -> Result<()>;

    /// Entries about a workspace, or those about the instance, newest first. A history read.
    async fn audit_log(&self, workspace_id: Option<WorkspaceId>, filter: AuditFilter) -> Result<Vec<AuditEntry>>;
}
