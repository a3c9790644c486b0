//! Who asks for an operation, and the proof that it may.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use tidings_domain::access::{Access, Actor, Permission};
use tidings_domain::id::WorkspaceId;
use tidings_domain::time::Timestamp;
use tidings_engine::Engine;
use tidings_engine::snapshot::WorkspaceView;

use crate::app::{App, TestSlot};
use crate::error::{AppError, Result};

/// Where a request came from, for the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The id by which the log is searched.
    pub request_id: Option<String>,
}

/// An authenticated caller in one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub workspace_id: WorkspaceId,
    pub actor: Actor,
    pub access: Access,
    pub origin: Origin,
}

impl Principal {
    /// Whether it has the permission.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], and [`AppError::ReadOnlyKey`] for what another API key of the workspace could do.
    pub fn require(&self, permission: Permission) -> Result<()> {
        if self.access.may(permission) {
            Ok(())
        } else if self.access == Access::ReadOnlyKey && Access::ApiKey.may(permission) {
            Err(AppError::ReadOnlyKey)
        } else {
            Err(AppError::Forbidden(permission))
        }
    }
}

/// A permission as a type, so that a function can demand it.
pub trait Granted: Send + Sync + 'static {
    /// The permission.
    const PERMISSION: Permission;
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Granted for $name {
            const PERMISSION: Permission = Permission::$name;
        }
    )*};
}

permissions! {
    /// [`Permission::Read`].
    Read
    /// [`Permission::Simulate`].
    Simulate
    /// [`Permission::Acknowledge`].
    Acknowledge
    /// [`Permission::Report`].
    Report
    /// [`Permission::Configure`].
    Configure
    /// [`Permission::SendNow`].
    SendNow
    /// [`Permission::ReadAuditLog`].
    ReadAuditLog
    /// [`Permission::ManageMembers`].
    ManageMembers
    /// [`Permission::ManageApiKeys`].
    ManageApiKeys
    /// [`Permission::ManageOwners`].
    ManageOwners
    /// [`Permission::DeleteWorkspace`].
    DeleteWorkspace
}

/// A caller that has the permission `P` in its workspace, and access to the services. Operations take it, so that none can
/// be called without the check.
pub struct Authorized<P> {
    app: App,
    principal: Arc<Principal>,
    permission: PhantomData<P>,
}

impl<P: Granted> Authorized<P> {
    /// Checks the permission.
    ///
    /// # Errors
    /// As [`Principal::require`].
    pub fn new(app: App, principal: Principal) -> Result<Self> {
        principal.require(P::PERMISSION)?;
        Ok(Self { app, principal: Arc::new(principal), permission: PhantomData })
    }
}

impl<P> Authorized<P> {
    /// The caller's workspace.
    pub fn workspace_id(&self) -> WorkspaceId {
        self.principal.workspace_id
    }

    /// The configuration of the caller's workspace at one instant.
    ///
    /// # Errors
    /// If the workspace was deleted meanwhile.
    pub fn view(&self) -> Result<Arc<WorkspaceView>> {
        Ok(self.app.engine().view(self.principal.workspace_id)?)
    }

    /// The caller.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Who the caller is, as it is recorded.
    pub fn actor(&self) -> &Actor {
        &self.principal.actor
    }

    /// The event pipeline and its configuration.
    pub fn engine(&self) -> &Engine {
        self.app.engine()
    }

    /// A slot for an endpoint test.
    ///
    /// # Errors
    /// [`AppError::Busy`] if all of the workspace or of the instance are in use.
    pub fn endpoint_test_slot(&self) -> Result<TestSlot<'_>> {
        self.app.endpoint_tests().acquire(self.workspace_id())
    }

    /// A slot for a test of a channel or rule.
    ///
    /// # Errors
    /// As [`Self::endpoint_test_slot`].
    pub fn channel_test_slot(&self) -> Result<TestSlot<'_>> {
        self.app.channel_tests().acquire(self.workspace_id())
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.app.engine().clock().now()
    }
}

impl<P> Deref for Authorized<P> {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl<P> fmt::Debug for Authorized<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorized").field(&self.principal).finish()
    }
}
