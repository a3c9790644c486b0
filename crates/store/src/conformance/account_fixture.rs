//! Steps of the cases about accounts.

use tidings_domain::access::{Actor, Role};
use tidings_domain::account::{INVITATION_MS, Invitation, Session, User};
use tidings_domain::audit::{AuditTarget, AuditVerb};
use tidings_domain::id::{Id as _, UserId, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::fixture::{Fixture, Tenant};
use super::samples::NOW;
use crate::accounts::{NewSession, UserRecord};
use tidings_domain::audit::AuditEntry;

impl Fixture {
    /// A user who is not stored.
    pub(super) fn new_user(&self, email: &str) -> UserRecord {
        let user = User {
            id: self.id(),
            email: email.into(),
            name: "Zoë \"Z\" Müller".into(),
            is_operator: false,
            created_at: NOW,
            password_changed_at: NOW,
            revision: 1,
        };
        UserRecord { user, password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into() }
    }

    /// Creates a user who is a member of our workspace.
    pub(super) async fn member(&self, email: &str, role: Role) -> User {
        let record = self.new_user(email);
        self.store.create_user(record.clone(), vec![(self.ours.id, role)], vec![]).await.unwrap();
        record.user
    }

    pub(super) async fn role(&self, tenant: Tenant, user_id: UserId) -> Option<Role> {
        let members = self.store.members(tenant.id).await.unwrap();
        members.into_iter().find(|member| member.user.id == user_id).map(|member| member.role)
    }

    /// A hash that was not returned before.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hash = [9; 32];
        hash[..8].copy_from_slice(&self.next_number().to_be_bytes());
        hash
    }

    pub(super) fn new_session(&self, user_id: UserId, at: Timestamp) -> NewSession {
        let session = Session::new(self.id_at(at), user_id, at, Some("192.0.2.7".into()), Some("Firefox"));
        NewSession { session, hash: self.hash(), replaces: None }
    }

    /// Begins a session of a user.
    pub(super) async fn session(&self, user: &User, at: Timestamp) -> NewSession {
        let session = self.new_session(user.id, at);
        self.store.create_session(session.clone(), user.password_changed_at, vec![]).await.unwrap();
        session
    }

    pub(super) fn new_invitation(&self, tenant: Tenant, email: &str, role: Role) -> Invitation {
        Invitation {
            id: self.id(),
            workspace_id: tenant.id,
            email: email.into(),
            role,
            invited_by: Actor::user(UserId::from_bytes([5; 16]), "Ana"),
            created_at: NOW,
            expires_at: NOW.plus_ms(INVITATION_MS),
            accepted_at: None,
        }
    }

    /// Creates an invitation into our workspace, and returns its hash.
    pub(super) async fn invite(&self, email: &str, role: Role) -> [u8; 32] {
        let hash = self.hash();
        self.store.create_invitation(self.new_invitation(self.ours, email, role), hash, vec![]).await.unwrap();
        hash
    }

    /// One entry of the audit log about a member, for an operation that takes entries.
    pub(super) fn audited(&self, workspace_id: WorkspaceId) -> Vec<AuditEntry> {
        let action = AuditTarget::Member.action(AuditVerb::Updated);
        vec![AuditEntry { action, ..self.audit_entry(Some(workspace_id), NOW) }]
    }

    /// How many entries the audit log of a workspace has.
    pub(super) async fn audit_count(&self, workspace_id: WorkspaceId) -> usize {
        self.audit_log(Some(workspace_id)).await.len()
    }
}
