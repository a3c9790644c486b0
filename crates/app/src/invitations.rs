//! `/invitations`: people who were invited into a workspace; and `/api/invitations/{secret}`, where they accept.
//!
//! The link of an invitation is shown once and works once. It is for one email: a user who is signed in accepts with that
//! email's account, a new user makes the account with it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_domain::access::Role;
use tidings_domain::account::{INVITATION_MS, Invitation, User, email_key, validate_email, validate_name};
use tidings_domain::audit::{AuditEntry, AuditTarget, AuditVerb, changed_fields};
use tidings_domain::id::InvitationId;
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::Workspace;
use tidings_engine::clock::new_id;
use tidings_store::StoreError;
use tidings_store::accounts::{Acceptor, UserRecord};
use utoipa::ToSchema;

use crate::accounts::password::{SALT_BYTES, validate_password};
use crate::accounts::session::{self, Begun, Browser, MembershipView};
use crate::accounts::{SignedIn, entry};
use crate::app::App;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::members::require_over;
use crate::principal::{Authorized, ManageMembers, Origin};
use crate::quotas;
use crate::response::{Response, SecretOnce};

/// Whom to invite.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"email": "ben@example.com", "role": "member"}))]
pub struct NewInvitation {
    #[schema(max_length = 254)]
    pub email: String,
    pub role: Role,
}

/// An invitation that can be accepted.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvitationView {
    pub id: InvitationId,
    pub email: String,
    pub role: Role,
    /// The name of who invited.
    pub invited_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The open invitations of a workspace.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvitationList {
    pub data: Vec<InvitationView>,
    /// Always null: the list is complete.
    pub next_cursor: Option<String>,
}

/// A new invitation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvitationSaved {
    pub invitation: InvitationView,
    /// The link to send to the person: it is not shown again. A path where no public URL is configured.
    pub url: SecretOnce,
}

/// What an invitation is for, as its link shows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvitationOffer {
    pub workspace_slug: String,
    pub workspace_name: String,
    pub email: String,
    pub role: Role,
    pub invited_by: String,
    pub expires_at: Timestamp,
    /// Whether the email has a user, who accepts after signing in. Otherwise accepting makes one.
    pub has_user: bool,
}

/// The account that is made by accepting. A user who is signed in sends `{}`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(example = json!({"name": "Ben", "password": "correct horse battery staple"}))]
pub struct Acceptance {
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// 8 characters to 256 bytes.
    #[schema(value_type = Option<String>, max_length = 256, format = Password, write_only)]
    pub password: Option<Secret>,
}

/// An invitation that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The workspace that the user belongs to now.
    pub workspace: MembershipView,
}

impl Response for InvitationList {}

impl Response for InvitationSaved {
    fn holds_secret(&self) -> bool {
        true
    }
}

impl Response for InvitationOffer {}

impl Response for Accepted {}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        let Invitation { id, email, role, invited_by, created_at, expires_at, .. } = invitation;
        Self { id, email, role, invited_by: invited_by.name, created_at, expires_at }
    }
}

/// The open invitations.
///
/// # Errors
/// Those of the store.
pub async fn list(by: &Authorized<ManageMembers>) -> Result<InvitationList> {
    let open = by.engine().accounts().invitations(by.workspace_id(), by.now()).await?;
    Ok(InvitationList { data: open.into_iter().map(InvitationView::from).collect(), next_cursor: None })
}

/// Invites a person. A former invitation of the same email is replaced, which is to withdraw it.
///
/// # Errors
/// [`AppError::Invalid`], [`AppError::Forbidden`] for owners by who is none (also to replace their invitation),
/// [`AppError::Quota`], [`AppError::AlreadyMember`].
pub async fn create(by: &Authorized<ManageMembers>, mut input: Input<NewInvitation>) -> Result<InvitationSaved> {
    if let Some(message) = validate_email(&input.value.email) {
        input.refuse_field("/email", message);
    }
    let NewInvitation { email, role } = input.finish()?;
    require_over(by, role)?;
    let (store, now, clock) = (by.engine().accounts(), by.now(), by.engine().clock());
    let _counted = by.accounts().counted().await;
    let open = store.invitations(by.workspace_id(), now).await?;
    let former = open.into_iter().find(|other| email_key(&other.email) == email_key(&email));
    if let Some(former) = &former {
        require_over(by, former.role)?;
    }
    quotas::members(by).await?.check(quotas::MEMBERS, former.is_none().into())?;
    let secret = session::new_secret(clock);
    let invitation = Invitation {
        id: new_id(clock, now),
        workspace_id: by.workspace_id(),
        email,
        role,
        invited_by: by.actor().clone(),
        created_at: now,
        expires_at: now.plus_ms(INVITATION_MS),
        accepted_at: None,
    };
    let changes = changed_fields(&json!({}), &json!({"email": invitation.email, "role": role}));
    let action = AuditTarget::Invitation.action(AuditVerb::Created);
    let created = by.audit_entry(action, Some(invitation.id.to_string()), Some(&invitation.email), changes, now);
    let audit = former.iter().map(|former| withdrawn(by, former, now)).chain([created]).collect();
    let outcome = store.create_invitation(invitation.clone(), session::hash(secret.expose()), audit).await;
    by.mark_members_changed(by.workspace_id());
    match outcome {
        Ok(()) => {}
        Err(StoreError::Exists) => return Err(AppError::AlreadyMember),
        Err(error) => return Err(error.into()),
    }
    let base = by.public_url().unwrap_or_default().trim_end_matches('/');
    let url = Secret::new(format!("{base}/invitations/{}", secret.expose()));
    Ok(InvitationSaved { invitation: invitation.into(), url: SecretOnce(url) })
}

/// Withdraws an invitation.
///
/// # Errors
/// If there is no such invitation, or if it was accepted.
pub async fn delete(by: &Authorized<ManageMembers>, id: InvitationId) -> Result<()> {
    let (store, now) = (by.engine().accounts(), by.now());
    let open = store.invitations(by.workspace_id(), now).await?;
    let found = open.into_iter().find(|invitation| invitation.id == id).ok_or(NO_INVITATION)?;
    require_over(by, found.role)?;
    let outcome = store.delete_invitation(by.workspace_id(), id, vec![withdrawn(by, &found, now)]).await;
    by.mark_members_changed(by.workspace_id());
    match outcome {
        Err(StoreError::NotFound) => Err(NO_INVITATION),
        outcome => Ok(outcome?),
    }
}

/// The entry for an invitation that is withdrawn or replaced.
fn withdrawn(by: &Authorized<ManageMembers>, invitation: &Invitation, now: Timestamp) -> AuditEntry {
    let changes = changed_fields(&json!({"email": invitation.email, "role": invitation.role}), &json!({}));
    let action = AuditTarget::Invitation.action(AuditVerb::Deleted);
    by.audit_entry(action, Some(invitation.id.to_string()), Some(&invitation.email), changes, now)
}

const NO_INVITATION: AppError = AppError::not_found("invitation");

/// What the invitation with this secret is for.
///
/// # Errors
/// If there is no such invitation, [`AppError::InvitationUsed`], [`AppError::InvitationExpired`].
pub async fn offer(app: &App, secret: &str) -> Result<InvitationOffer> {
    let (invitation, workspace) = open(app, secret).await?;
    let has_user = app.engine().accounts().user_by_email(&invitation.email).await?.is_some();
    Ok(InvitationOffer {
        workspace_slug: workspace.slug,
        workspace_name: workspace.name,
        email: invitation.email,
        role: invitation.role,
        invited_by: invitation.invited_by.name,
        expires_at: invitation.expires_at,
        has_user,
    })
}

async fn open(app: &App, secret: &str) -> Result<(Invitation, Workspace)> {
    let found = app.engine().accounts().invitation(session::hash(secret)).await?;
    let (invitation, workspace) = found.ok_or(NO_INVITATION)?;
    if invitation.accepted_at.is_some() {
        return Err(AppError::InvitationUsed);
    }
    if invitation.expires_at <= app.engine().clock().now() {
        return Err(AppError::InvitationExpired);
    }
    Ok((invitation, workspace))
}

/// Accepts an invitation as the signed-in user.
///
/// # Errors
/// As [`offer`]; [`AppError::InvitationForAnother`] if it is for another email, [`AppError::AlreadyMember`].
pub async fn accept(by: &SignedIn, secret: &str, mut input: Input<Acceptance>) -> Result<Accepted> {
    let sent = [("/name", input.value.name.is_some()), ("/password", input.value.password.is_some())];
    for (pointer, _) in sent.into_iter().filter(|(_, is_sent)| *is_sent) {
        input.refuse_field(pointer, "is for new users: you are signed in");
    }
    input.finish()?;
    let (invitation, workspace) = open(by, secret).await?;
    if email_key(&invitation.email) != email_key(&by.user().email) {
        return Err(AppError::InvitationForAnother);
    }
    let (hash, now) = (session::hash(secret), by.now());
    let changes = changed_fields(&json!({}), &json!({"role": invitation.role}));
    let action = AuditTarget::Invitation.action(AuditVerb::Accepted);
    let audit = by.audit(Some(workspace.id), action, (invitation.id, &invitation.email), changes, now);
    let acceptor = Acceptor::Existing(by.user().id);
    let accepted = by.engine().accounts().accept_invitation(hash, now, acceptor, None, vec![audit]).await;
    by.mark_members_changed(workspace.id);
    match accepted {
        Ok(()) => Ok(accepted_by(&workspace, invitation.role)),
        Err(StoreError::Exists) => Err(AppError::AlreadyMember),
        Err(error) => Err(taken(error)),
    }
}

/// Accepts an invitation by making the account that it is for, and signs in.
///
/// # Errors
/// As [`offer`]; [`AppError::Invalid`], and [`AppError::Unauthenticated`] if the email has a user, who must sign in first.
pub async fn accept_as_new_user(
    app: &App,
    origin: &Origin,
    browser: Browser<'_>,
    secret: &str,
    mut input: Input<Acceptance>,
) -> Result<Begun<Accepted>> {
    let (invitation, workspace) = open(app, secret).await?;
    let (store, clock) = (app.engine().accounts(), app.engine().clock());
    if store.user_by_email(&invitation.email).await?.is_some() {
        return Err(SIGN_IN_FIRST);
    }
    let name = input.value.name.clone().unwrap_or_default();
    let password = input.value.password.clone().unwrap_or_default();
    if let Some(message) = validate_name(&name) {
        input.refuse_field("/name", message);
    }
    if let Some(message) = validate_password(password.expose(), &invitation.email) {
        input.refuse_field("/password", message);
    }
    input.finish()?;
    let mut salt = [0; SALT_BYTES];
    clock.random(&mut salt);
    let password_hash = app.accounts().passwords().hash(password, salt).await?;
    let now = clock.now();
    let user = User {
        id: new_id(clock, now),
        email: invitation.email.clone(),
        name,
        is_operator: false,
        created_at: now,
        password_changed_at: now,
        revision: 1,
    };
    let (session_secret, new) = session::begin(app, user.id, origin, browser);
    let role = invitation.role;
    let by = (user.actor(), origin);
    let view = json!({"email": user.email, "name": user.name});
    let made = AuditTarget::User.action(AuditVerb::Created);
    let changes = changed_fields(&json!({}), &view);
    let made = entry(app, by.clone(), None, made, (user.id, &user.email), changes, now);
    let accepted = AuditTarget::Invitation.action(AuditVerb::Accepted);
    let changes = changed_fields(&json!({}), &json!({"role": invitation.role}));
    let target = (invitation.id, invitation.email.as_str());
    let accepted = entry(app, by, Some(workspace.id), accepted, target, changes, now);
    let acceptor = Acceptor::New(UserRecord { user: user.clone(), password_hash });
    let (hash, audit) = (session::hash(secret), vec![made, accepted]);
    let outcome = store.accept_invitation(hash, now, acceptor, Some(new), audit).await;
    app.mark_members_changed(workspace.id);
    match outcome {
        Ok(()) => Ok(Begun { secret: session_secret, view: accepted_by(&workspace, role) }),
        Err(StoreError::Exists) => Err(SIGN_IN_FIRST),
        Err(error) => Err(taken(error)),
    }
}

const SIGN_IN_FIRST: AppError = AppError::Unauthenticated("there is a user with this email: sign in, then accept");

/// The error of an acceptance that another one overtook.
fn taken(error: StoreError) -> AppError {
    match error {
        StoreError::Conflict => AppError::InvitationUsed,
        StoreError::NotFound => NO_INVITATION,
        error => error.into(),
    }
}

fn accepted_by(workspace: &Workspace, role: Role) -> Accepted {
    let Workspace { id, slug, name, suspended_at, .. } = workspace.clone();
    Accepted { workspace: MembershipView { id, slug, name, role, suspended_at } }
}
