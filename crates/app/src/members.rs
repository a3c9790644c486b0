//! `/members`: who belongs to a workspace, and as what.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_domain::access::{ActorKind, Permission, Role};
use tidings_domain::audit::{AuditTarget, AuditVerb, changed_fields};
use tidings_domain::id::UserId;
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::accounts::Member;
use utoipa::ToSchema;

use crate::accounts::account::EDIT_ATTEMPTS;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, ManageMembers, Read};
use crate::quotas::{self, QuotaUse};
use crate::response::Response;

/// A member of a workspace.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    pub user_id: UserId,
    pub name: String,
    pub email: String,
    pub role: Role,
    pub joined_at: Timestamp,
    /// When it was last signed in anywhere on this instance; null if never.
    pub last_seen_at: Option<Timestamp>,
}

/// The members of a workspace, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberList {
    pub data: Vec<MemberView>,
    /// Always null: the list is complete.
    pub next_cursor: Option<String>,
    /// Members, and those who are invited.
    pub quota: QuotaUse,
}

/// What can be changed of a member.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"role": "admin"}))]
pub struct MemberEdit {
    pub role: Role,
}

/// A member that was edited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberSaved {
    pub member: MemberView,
}

impl Response for MemberView {}

impl Response for MemberList {}

impl Response for MemberSaved {}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        let Member { user, role, joined_at, last_seen_at, .. } = member;
        Self { user_id: user.id, name: user.name, email: user.email, role, joined_at, last_seen_at }
    }
}

/// The members.
///
/// # Errors
/// Those of the store.
pub async fn list(by: &Authorized<Read>) -> Result<MemberList> {
    let members = by.engine().accounts().members(by.workspace_id()).await?;
    let quota = quotas::members(by).await?;
    Ok(MemberList { data: members.into_iter().map(MemberView::from).collect(), next_cursor: None, quota })
}

/// One member.
///
/// # Errors
/// If the user is no member.
pub async fn one(by: &Authorized<Read>, id: UserId) -> Result<MemberView> {
    Ok(find(by, id).await?.into())
}

async fn find<P>(by: &Authorized<P>, id: UserId) -> Result<Member> {
    let members = by.engine().accounts().members(by.workspace_id()).await?;
    members.into_iter().find(|member| member.user.id == id).ok_or(AppError::not_found("member"))
}

/// Changes the role of a member. Only owners make owners, and change what they are.
///
/// # Errors
/// [`AppError::Forbidden`], [`AppError::LastOwner`], and if the user is no member.
pub async fn edit(by: &Authorized<ManageMembers>, id: UserId, input: Input<MemberEdit>) -> Result<MemberSaved> {
    let MemberEdit { role } = input.finish()?;
    for _ in 0..EDIT_ATTEMPTS {
        let mut member = find(by, id).await?;
        require_over(by, member.role.max(role))?;
        let before = member.role;
        member.role = role;
        if before != role {
            let changes = changed_fields(&json!({"role": before}), &json!({"role": role}));
            let action = AuditTarget::Member.action(AuditVerb::Updated);
            let name = Some(member.user.name.as_str());
            let audit = by.audit_entry(action, Some(id.to_string()), name, changes, by.now());
            let edited = by.engine().accounts().set_member_role(by.workspace_id(), id, before, role, vec![audit]).await;
            by.mark_members_changed(by.workspace_id());
            match edited {
                Ok(()) => {}
                // Changed or removed meanwhile: look again.
                Err(StoreError::Conflict | StoreError::NotFound) => continue,
                Err(StoreError::LastOwner) => return Err(AppError::LastOwner),
                Err(error) => return Err(error.into()),
            }
        }
        return Ok(MemberSaved { member: member.into() });
    }
    Err(tidings_engine::EngineError::RevisionMismatch.into())
}

/// Removes a member, or leaves: any member may remove itself. Only owners remove owners.
///
/// # Errors
/// [`AppError::Forbidden`], [`AppError::LastOwner`], and if the user is no member.
pub async fn remove(by: &Authorized<Read>, id: UserId) -> Result<()> {
    let actor = by.actor();
    let leaves = actor.kind == ActorKind::User && actor.id.as_deref() == Some(id.to_string().as_str());
    for _ in 0..EDIT_ATTEMPTS {
        let member = find(by, id).await?;
        if !leaves {
            by.principal().require(Permission::ManageMembers)?;
            require_over(by, member.role)?;
        }
        let verb = if leaves { AuditVerb::Left } else { AuditVerb::Deleted };
        let changes = changed_fields(&json!({"role": member.role}), &json!({}));
        let action = AuditTarget::Member.action(verb);
        let name = Some(member.user.name.as_str());
        let audit = by.audit_entry(action, Some(id.to_string()), name, changes, by.now());
        let removed = by.engine().accounts().remove_member(by.workspace_id(), id, member.role, vec![audit]).await;
        by.mark_members_changed(by.workspace_id());
        match removed {
            Err(StoreError::Conflict) => {}
            Err(StoreError::LastOwner) => return Err(AppError::LastOwner),
            Err(StoreError::NotFound) => return Err(AppError::not_found("member")),
            outcome => return Ok(outcome?),
        }
    }
    Err(tidings_engine::EngineError::RevisionMismatch.into())
}

/// Owners are changed by owners only.
pub(crate) fn require_over<P>(by: &Authorized<P>, role: Role) -> Result<()> {
    if role == Role::Owner { by.principal().require(Permission::ManageOwners) } else { Ok(()) }
}
