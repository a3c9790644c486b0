//! `/account`: what users see and change of themselves.

use serde::{Deserialize, Serialize};
use tidings_domain::account::{User, validate_email, validate_name};
use tidings_domain::audit::{AuditChanges, AuditTarget, AuditVerb, changed_fields, note_secret};
use tidings_domain::id::{SessionId, UserId};
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::EngineError;
use tidings_store::StoreError;
use tidings_store::accounts::PasswordChange;
use utoipa::ToSchema;

use crate::accounts::password::{SALT_BYTES, validate_password};
use crate::accounts::session::{self, Begun, Browser, SessionDetail, SessionView};
use crate::accounts::signed_in::SignedIn;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::response::Response;
use crate::revision::Expected;

/// What users can change of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"name": "Ana", "email": "ana@example.com"}))]
pub struct AccountDraft {
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// What the user signs in with; unique.
    #[schema(max_length = 254)]
    pub email: String,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    pub id: UserId,
    #[serde(flatten)]
    pub draft: AccountDraft,
    /// Whether the user makes, lists and suspends workspaces.
    pub is_operator: bool,
    pub created_at: Timestamp,
    pub password_changed_at: Timestamp,
    pub revision: u32,
}

/// A user that was edited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountSaved {
    pub account: AccountView,
}

/// A change of the password.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"currentPassword": "correct horse battery staple", "newPassword": "another long phrase"}))]
pub struct NewPassword {
    #[schema(value_type = String, max_length = 1_024, format = Password, write_only)]
    pub current_password: Secret,
    /// 8 characters to 256 bytes.
    #[schema(value_type = String, min_length = 8, max_length = 256, format = Password, write_only)]
    pub new_password: Secret,
}

/// The sessions of a user, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionList {
    pub data: Vec<SessionDetail>,
    /// Always null: the list is complete.
    pub next_cursor: Option<String>,
}

/// How many sessions were ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionsEnded {
    pub ended: u64,
}

impl Response for AccountView {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.revision)
    }
}

impl Response for AccountSaved {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.account.revision)
    }
}

impl Response for SessionList {}

impl Response for SessionsEnded {}

impl AccountDraft {
    fn of(user: &User) -> Self {
        Self { name: user.name.clone(), email: user.email.clone() }
    }

    /// What is wrong with the fields besides their schema.
    pub(crate) fn violations(&self) -> Violations {
        let name = validate_name(&self.name).map(|message| Violation::new("/name", message));
        let email = validate_email(&self.email).map(|message| Violation::new("/email", message));
        name.into_iter().chain(email).collect()
    }
}

impl AccountView {
    pub(crate) fn of(user: &User) -> Self {
        Self {
            id: user.id,
            draft: AccountDraft::of(user),
            is_operator: user.is_operator,
            created_at: user.created_at,
            password_changed_at: user.password_changed_at,
            revision: user.revision,
        }
    }
}

/// The signed-in user.
pub fn one(by: &SignedIn) -> AccountView {
    AccountView::of(by.user())
}

/// Edits the signed-in user: `change` makes the new draft of the present one, again if another edit was faster.
///
/// # Errors
/// [`AppError::Invalid`], [`EngineError::RevisionMismatch`], [`AppError::EmailTaken`].
pub async fn edit(
    by: &SignedIn,
    expected: &Expected,
    change: impl Fn(&AccountDraft) -> std::result::Result<Input<AccountDraft>, Violations>,
) -> Result<AccountSaved> {
    let store = by.engine().accounts();
    for _ in 0..EDIT_ATTEMPTS {
        let Some(record) = store.user(by.user().id).await? else { return Err(AppError::not_found("user")) };
        let mut user = record.user;
        expected.check(user.revision)?;
        let before = AccountDraft::of(&user);
        let mut input = change(&before)?;
        input.refuse(input.value.violations());
        let draft = input.finish()?;
        if draft == before {
            return Ok(AccountSaved { account: AccountView::of(&user) });
        }
        let revision = user.revision;
        let changes = changed_fields(&json(&before), &json(&draft));
        (user.name, user.email, user.revision) = (draft.name, draft.email, revision + 1);
        let action = AuditTarget::User.action(AuditVerb::Updated);
        let audit = by.audit(None, action, (user.id, &user.email), changes, by.now());
        match store.update_user(user.clone(), revision, vec![audit]).await {
            Ok(()) => return Ok(AccountSaved { account: AccountView::of(&user) }),
            Err(StoreError::Exists) => return Err(AppError::EmailTaken),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(EngineError::RevisionMismatch.into())
}

/// How often an edit is repeated that another one overtook.
pub(crate) const EDIT_ATTEMPTS: usize = 3;

fn json(draft: &AccountDraft) -> serde_json::Value {
    serde_json::to_value(draft).unwrap_or_default()
}

/// Changes the password of the signed-in user. All of its sessions end; this browser gets a new one.
///
/// # Errors
/// [`AppError::Invalid`] (also if the current password is wrong), [`AppError::TooManyAttempts`], and those of the store.
pub async fn change_password(
    by: &SignedIn,
    browser: Browser<'_>,
    mut input: Input<NewPassword>,
) -> Result<Begun<SessionView>> {
    let email = by.user().email.clone();
    if let Some(message) = validate_password(input.value.new_password.expose(), &email) {
        input.refuse_field("/newPassword", message);
    }
    let NewPassword { current_password, new_password } = input.finish()?;
    let wrong = || AppError::invalid("/currentPassword", "is not the current password");
    let verified = match session::verify(by, by.origin(), &email, &current_password).await {
        Ok(user) if user.id == by.user().id => user.password_changed_at,
        // The email was changed meanwhile, and another user has it now.
        Ok(_) | Err(AppError::WrongCredentials) => return Err(wrong()),
        Err(error) => return Err(error),
    };
    let mut salt = [0; SALT_BYTES];
    by.engine().clock().random(&mut salt);
    let password_hash = by.accounts().passwords().hash(new_password, salt).await?;
    let (secret, renewed) = session::begin(by, by.user().id, by.origin(), browser);
    let (session, now) = (renewed.session.clone(), renewed.session.created_at);
    let mut changes = AuditChanges::new();
    note_secret(&mut changes, "password");
    let action = AuditTarget::User.action(AuditVerb::PasswordChanged);
    let audit = by.audit(None, action, (by.user().id, &email), changes, now);
    let (user_id, verified, renewed) = (by.user().id, Some(verified), Some(renewed));
    let change = PasswordChange { user_id, password_hash, at: now, verified, renewed };
    match by.engine().accounts().change_password(change, vec![audit]).await {
        // Another change was faster.
        Err(StoreError::Conflict) => return Err(wrong()),
        outcome => outcome?,
    }
    let user = User { password_changed_at: now, ..by.user().clone() };
    Ok(Begun { secret, view: session::view(by, &user, &session).await? })
}

/// The sessions of the signed-in user.
///
/// # Errors
/// Those of the store.
pub async fn sessions(by: &SignedIn) -> Result<SessionList> {
    let sessions = by.engine().accounts().sessions(by.user().id, by.now()).await?;
    let data = sessions.iter().map(|session| SessionDetail::of(session, by.session().id)).collect();
    Ok(SessionList { data, next_cursor: None })
}

/// Ends a session of the signed-in user.
///
/// # Errors
/// If the user has no such session.
pub async fn end_session(by: &SignedIn, id: SessionId) -> Result<()> {
    let action = AuditTarget::Session.action(AuditVerb::Deleted);
    let audit = by.audit(None, action, (id, &by.user().email), AuditChanges::new(), by.now());
    match by.engine().accounts().delete_session(by.user().id, id, vec![audit]).await {
        Err(StoreError::NotFound) => Err(AppError::not_found("session")),
        outcome => Ok(outcome?),
    }
}

/// Ends all other sessions of the signed-in user.
///
/// # Errors
/// Those of the store.
pub async fn end_other_sessions(by: &SignedIn) -> Result<SessionsEnded> {
    let (user, current) = (by.user(), by.session().id);
    let action = AuditTarget::Session.action(AuditVerb::Deleted);
    let audit = by.audit(None, action, (user.id, &user.email), AuditChanges::new(), by.now());
    let ended = by.engine().accounts().delete_sessions(user.id, Some(current), vec![audit]).await?;
    Ok(SessionsEnded { ended })
}
