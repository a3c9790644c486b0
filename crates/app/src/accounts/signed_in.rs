//! A user whose session was verified.

use std::fmt;
use std::ops::Deref;

use tidings_domain::access::{Access, Actor, Role};
use tidings_domain::account::{Session, User};
use tidings_domain::audit::{AuditAction, AuditChanges, AuditEntry};
use tidings_domain::id::{UserId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_engine::clock::new_id;

use crate::accounts::last_use::INTERVAL_MS;
use crate::app::App;
use crate::error::{AppError, Result};
use crate::principal::{Origin, Principal};

/// A user with a valid session, and access to the services.
#[derive(Clone)]
pub struct SignedIn {
    app: App,
    user: User,
    session: Session,
    memberships: Vec<(WorkspaceId, Role)>,
    origin: Origin,
}

impl SignedIn {
    /// The user of the session with this secret, as the cookie carries it; `None` if there is no such session, or if it
    /// has ended. Its use is recorded, at most once a minute.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn from_secret(app: &App, secret: &str, origin: Origin) -> Result<Option<Self>> {
        let now = app.engine().clock().now();
        let found = app.engine().accounts().session(super::session::hash(secret), now).await?;
        let Some(tidings_store::accounts::SignedIn { session, user, memberships }) = found else { return Ok(None) };
        let found = Self { app: app.clone(), user, session, memberships, origin };
        found.record_use(now);
        Ok(Some(found))
    }

    fn record_use(&self, now: Timestamp) {
        let is_recent = now.since_ms(self.session.last_seen_at) < INTERVAL_MS;
        if is_recent || !self.app.accounts().session_uses().is_due(self.session.id, now) {
            return;
        }
        let address = self.origin.address.map(|address| address.to_string());
        let (engine, id) = (self.app.engine().clone(), self.session.id);
        tokio::spawn(async move {
            let uses = vec![tidings_store::accounts::Use { id, at: now, address }];
            if let Err(error) = engine.accounts().record_session_uses(uses).await {
                tracing::warn!(%error, "the use of a session was not recorded");
            }
        });
    }

    /// The user.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The session by which it is signed in.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The workspaces of the user, with its role in each.
    pub fn memberships(&self) -> &[(WorkspaceId, Role)] {
        &self.memberships
    }

    /// Where the request came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The user as an actor.
    pub fn actor(&self) -> Actor {
        self.user.actor()
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.app.engine().clock().now()
    }

    /// The user in a workspace; `None` if it is no member.
    pub fn in_workspace(&self, workspace_id: WorkspaceId) -> Option<Principal> {
        let (_, role) = self.memberships.iter().find(|(id, _)| *id == workspace_id)?;
        Some(Principal {
            workspace_id,
            actor: self.actor(),
            access: Access::Member(*role),
            origin: self.origin.clone(),
        })
    }

    /// An entry of the audit log for an act of this user.
    pub(crate) fn audit(
        &self,
        workspace_id: Option<WorkspaceId>,
        action: AuditAction,
        target: (impl fmt::Display, &str),
        changes: AuditChanges,
        now: Timestamp,
    ) -> AuditEntry {
        let by = (self.actor(), &self.origin);
        entry(&self.app, by, workspace_id, action, target, changes, now)
    }
}

/// An entry of the audit log.
pub(crate) fn entry(
    app: &App,
    (actor, origin): (Actor, &Origin),
    workspace_id: Option<WorkspaceId>,
    action: AuditAction,
    (target_id, target_name): (impl fmt::Display, &str),
    changes: AuditChanges,
    now: Timestamp,
) -> AuditEntry {
    AuditEntry {
        id: new_id(app.engine().clock(), now),
        workspace_id,
        at: now,
        actor,
        action,
        target_id: Some(target_id.to_string()),
        target_name: Some(target_name.to_owned()),
        changes,
        address: origin.address.map(|address| address.to_string()),
        request_id: origin.request_id.clone(),
    }
}

impl Deref for SignedIn {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("user", &self.user.id).field("session", &self.session.id).finish()
    }
}

/// A signed-in user who operates the instance: makes, lists and suspends workspaces, and sees nothing in those of which it
/// is not a member.
#[derive(Debug, Clone)]
pub struct Operator(SignedIn);

impl Operator {
    /// Checks the flag.
    ///
    /// # Errors
    /// [`AppError::OperatorsOnly`].
    pub fn new(user: SignedIn) -> Result<Self> {
        if user.user.is_operator { Ok(Self(user)) } else { Err(AppError::OperatorsOnly) }
    }

    /// Its id.
    pub fn user_id(&self) -> UserId {
        self.0.user.id
    }
}

impl Deref for Operator {
    type Target = SignedIn;

    fn deref(&self) -> &SignedIn {
        &self.0
    }
}
