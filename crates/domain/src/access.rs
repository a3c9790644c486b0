//! Who may do what: actors, roles, and the table of permissions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{ApiKeyId, UserId};

/// The kind of an [`Actor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    User,
    /// A program.
    ApiKey,
    /// Tidings itself.
    System,
}

impl ActorKind {
    /// The wire name: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ApiKey => "api_key",
            Self::System => "system",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::User, Self::ApiKey, Self::System].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Who did something, as it is recorded: later changes of a name or the deletion of a user do not change it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    pub kind: ActorKind,
    /// The id of the user or API key; `None` for the system.
    pub id: Option<String>,
    /// The name at the time, for people.
    pub name: String,
}

impl Actor {
    /// Tidings itself.
    pub fn system() -> Self {
        Self { kind: ActorKind::System, id: None, name: "Tidings".into() }
    }

    /// A user.
    pub fn user(id: UserId, name: impl Into<String>) -> Self {
        Self { kind: ActorKind::User, id: Some(id.to_string()), name: name.into() }
    }

    /// An API key.
    pub fn api_key(id: ApiKeyId, name: impl Into<String>) -> Self {
        Self { kind: ActorKind::ApiKey, id: Some(id.to_string()), name: name.into() }
    }
}

/// What a member of a workspace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Viewer,
    Member,
    Admin,
    Owner,
}

impl Role {
    /// Every role, the one with the fewest permissions first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Member, Self::Admin, Self::Owner];

    /// The wire name: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// What a caller is in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// A user with this role.
    Member(Role),
    /// An API key with write access.
    ApiKey,
    /// An API key without.
    ReadOnlyKey,
}

/// Something that a caller may or may not do in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Read configuration and history.
    Read,
    /// Ask what would be sent.
    Simulate,
    /// Acknowledge incidents.
    Acknowledge,
    /// Report runs and checks.
    Report,
    /// Change channels, rules, endpoints, mutes, preferences, resources, inbound webhooks.
    Configure,
    /// Have Tidings send something now: tests, resends.
    SendNow,
    /// Read the audit log.
    ReadAuditLog,
    /// Invite, change and remove members up to the role `admin`.
    ManageMembers,
    /// Make and revoke API keys.
    ManageApiKeys,
    /// Make, change and remove owners.
    ManageOwners,
    /// Delete the workspace.
    DeleteWorkspace,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 11] = [
        Self::Read,
        Self::Simulate,
        Self::Acknowledge,
        Self::Report,
        Self::Configure,
        Self::SendNow,
        Self::ReadAuditLog,
        Self::ManageMembers,
        Self::ManageApiKeys,
        Self::ManageOwners,
        Self::DeleteWorkspace,
    ];

    /// The wire name: problems and documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Simulate => "simulate",
            Self::Acknowledge => "acknowledge",
            Self::Report => "report",
            Self::Configure => "configure",
            Self::SendNow => "send",
            Self::ReadAuditLog => "read_audit_log",
            Self::ManageMembers => "manage_members",
            Self::ManageApiKeys => "manage_api_keys",
            Self::ManageOwners => "manage_owners",
            Self::DeleteWorkspace => "delete_workspace",
        }
    }

    /// The least role that has it, and whether an API key with write access has it, and a read-only key. This is the one
    /// table of who may do what.
    pub const fn grants(self) -> Grants {
        let (role, key, read_only_key) = match self {
            Self::Read => (Role::Viewer, true, true),
            Self::Simulate => (Role::Viewer, true, true),
            Self::Acknowledge => (Role::Member, true, false),
            Self::Report => (Role::Admin, true, false),
            Self::Configure => (Role::Admin, true, false),
            Self::SendNow => (Role::Admin, true, false),
            Self::ReadAuditLog => (Role::Admin, true, false),
            Self::ManageMembers => (Role::Admin, true, false),
            Self::ManageApiKeys => (Role::Admin, true, false),
            Self::ManageOwners => (Role::Owner, false, false),
            Self::DeleteWorkspace => (Role::Owner, false, false),
        };
        Grants { role, key, read_only_key }
    }
}

/// Who has a [`Permission`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grants {
    /// Members with this role or a higher one.
    pub role: Role,
    /// API keys with write access.
    pub key: bool,
    /// Read-only API keys.
    pub read_only_key: bool,
}

impl Access {
    /// Whether it has the permission.
    pub fn may(self, permission: Permission) -> bool {
        let grants = permission.grants();
        match self {
            Self::Member(role) => role >= grants.role,
            Self::ApiKey => grants.key,
            Self::ReadOnlyKey => grants.read_only_key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_roles_have_all_permissions_of_lower_ones() {
        for permission in Permission::ALL {
            let having = Role::ALL.map(|role| Access::Member(role).may(permission));
            assert!(having.is_sorted(), "{permission:?}");
            assert!(having[3], "{permission:?}: an owner has all");
            assert!(!Access::ReadOnlyKey.may(permission) || Access::ApiKey.may(permission), "{permission:?}");
        }
    }

    #[test]
    fn roles_have_the_permissions_of_the_documentation() {
        let of = |access: Access| Permission::ALL.into_iter().filter(|p| access.may(*p)).collect::<Vec<_>>();
        use Permission::{Acknowledge, DeleteWorkspace, ManageOwners, Read, Simulate};
        assert_eq!(of(Access::Member(Role::Viewer)), [Read, Simulate]);
        assert_eq!(of(Access::Member(Role::Member)), [Read, Simulate, Acknowledge]);
        assert_eq!(of(Access::ReadOnlyKey), [Read, Simulate]);
        let withheld = |access: Access| Permission::ALL.into_iter().filter(|p| !access.may(*p)).collect::<Vec<_>>();
        assert_eq!(withheld(Access::Member(Role::Admin)), [ManageOwners, DeleteWorkspace]);
        assert_eq!(withheld(Access::ApiKey), [ManageOwners, DeleteWorkspace]);
    }
}
