//! Users and workspaces that are made without a request: by the command line, and by the first start.
//!
//! They work on the store itself, because a command has no engine. A server beside it sees the changes as it polls.

use serde_json::{Value, json};
use tidings_domain::access::{Actor, Role};
use tidings_domain::account::{User, validate_email, validate_name};
use tidings_domain::audit::{
    AuditAction, AuditChanges, AuditEntry, AuditTarget, AuditVerb, changed_fields, note_secret,
};
use tidings_domain::id::WorkspaceId;
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::{Workspace, is_slug};
use tidings_engine::clock::{Clock, new_id};
use tidings_engine::settings::instance::{DEFAULT_WORKSPACE, api_key, new_api_key};
use tidings_store::accounts::{NewOwner, PasswordChange, UserRecord};
use tidings_store::settings::{ApiKey, Preferences, WorkspaceRecord};
use tidings_store::{Store, StoreError};

use crate::accounts::password::{PasswordError, SALT_BYTES, hash_blocking, validate_password};

/// Characters of a generated password: no two look alike. 32 of them, so that each is 5 random bits.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const GENERATED_CHARS: usize = 24;

/// Why a user was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// With the field, and what is wrong with it.
    #[error("the {0} {1}")]
    Invalid(&'static str, &'static str),
    #[error("there is a user with this email already")]
    EmailTaken,
    #[error("there is a workspace with this slug already")]
    SlugTaken,
    #[error("there is no user with this email")]
    NoUser,
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A user to make.
#[derive(Debug)]
pub struct NewUser<'a> {
    pub email: &'a str,
    /// `None`: the part of the email before the `@`.
    pub name: Option<&'a str>,
    pub password: &'a Secret,
    pub is_operator: bool,
}

/// A user that was made, and what it belongs to.
#[derive(Debug)]
pub struct Provisioned {
    pub user: User,
    pub memberships: Vec<(Workspace, Role)>,
}

/// A random password.
pub fn generate_password(clock: &dyn Clock) -> Secret {
    let mut random = [0; GENERATED_CHARS];
    clock.random(&mut random);
    let characters = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    Secret::new(characters.collect::<String>())
}

/// The actor of commands.
pub fn command_line() -> Actor {
    Actor { name: "command line".into(), ..Actor::system() }
}

/// Makes a user, as a member of `workspace` if one is given.
///
/// The first user of a store operates the instance, and owns all workspaces, because no one else could let
/// it in; without any workspace, `default` is made.
///
/// # Errors
/// [`ProvisionError`]. [`StoreError::NotFound`] if there is no such workspace.
pub async fn create_user(
    store: &dyn Store,
    clock: &dyn Clock,
    new: NewUser<'_>,
    workspace: Option<(&Workspace, Role)>,
) -> Result<Provisioned, ProvisionError> {
    let is_first = !store.has_users().await?;
    let record = user_record(clock, &NewUser { is_operator: new.is_operator || is_first, ..new })?;
    let user = record.user.clone();
    let mut memberships: Vec<(Workspace, Role)> =
        workspace.map(|(workspace, role)| (workspace.clone(), role)).into_iter().collect();
    if is_first && workspace.is_none() {
        let all = store.workspaces().await?;
        memberships.extend(all.into_iter().map(|record| (record.workspace, Role::Owner)));
        if memberships.is_empty() {
            let (workspace, audit) = new_workspace(clock, DEFAULT_WORKSPACE, &user);
            let created =
                WorkspaceRecord { workspace: workspace.clone(), preferences: Preferences::default(), api_keys: vec![] };
            store.create_workspace(created, Some(NewOwner::New(record)), audit).await?;
            return Ok(Provisioned { user, memberships: vec![(workspace, Role::Owner)] });
        }
    }
    let mut audit = vec![user_created(clock, &user)];
    audit.extend(memberships.iter().map(|(workspace, role)| joined(clock, workspace.id, &user, *role)));
    let ids = memberships.iter().map(|(workspace, role)| (workspace.id, *role)).collect();
    match store.create_user(record, ids, audit).await {
        Ok(()) => Ok(Provisioned { user, memberships }),
        Err(StoreError::Exists) => Err(ProvisionError::EmailTaken),
        Err(error) => Err(error.into()),
    }
}

/// Makes a user that exists a member of a workspace.
///
/// # Errors
/// [`ProvisionError`]. [`StoreError::Exists`] if it is one.
pub async fn add_member(
    store: &dyn Store,
    clock: &dyn Clock,
    email: &str,
    workspace: &Workspace,
    role: Role,
) -> Result<User, ProvisionError> {
    let user = store.user_by_email(email).await?.ok_or(ProvisionError::NoUser)?.user;
    let audit = vec![joined(clock, workspace.id, &user, role)];
    store.add_member(workspace.id, user.id, role, clock.now(), audit).await?;
    Ok(user)
}

/// The workspace `default` with its first key and its first owner, in one transaction.
///
/// # Errors
/// [`ProvisionError`]. [`StoreError::Exists`] if there is such a workspace, user or key.
pub async fn first_workspace(
    store: &dyn Store,
    clock: &dyn Clock,
    key: (&str, &Secret),
    owner: NewUser<'_>,
) -> Result<(Workspace, User), ProvisionError> {
    let record = user_record(clock, &owner)?;
    let user = record.user.clone();
    let (workspace, mut audit) = new_workspace(clock, DEFAULT_WORKSPACE, &user);
    let (key, made) = first_key(clock, workspace.id, key);
    audit.push(made);
    let created =
        WorkspaceRecord { workspace: workspace.clone(), preferences: Preferences::default(), api_keys: vec![key] };
    store.create_workspace(created, Some(NewOwner::New(record)), audit).await?;
    Ok((workspace, user))
}

/// A workspace with its first key, and with an owner if one is given.
///
/// # Errors
/// [`ProvisionError`]
pub async fn create_workspace(
    store: &dyn Store,
    clock: &dyn Clock,
    slug: &str,
    owner: Option<&User>,
) -> Result<(Workspace, Secret), ProvisionError> {
    if !is_slug(slug) {
        return Err(ProvisionError::Invalid("slug", "must be 1 to 63 of a-z, 0-9 and -, a letter or digit first"));
    }
    let workspace = Workspace::new(new_id(clock, clock.now()), slug, clock.now());
    let mut audit = vec![workspace_created(clock, &workspace)];
    audit.extend(owner.map(|owner| joined(clock, workspace.id, owner, Role::Owner)));
    let secret = new_api_key(clock);
    let (key, made) = first_key(clock, workspace.id, ("first key", &secret));
    audit.push(made);
    let record =
        WorkspaceRecord { workspace: workspace.clone(), preferences: Preferences::default(), api_keys: vec![key] };
    match store.create_workspace(record, owner.map(|owner| NewOwner::Existing(owner.id)), audit).await {
        Ok(()) => Ok((workspace, secret)),
        Err(StoreError::Exists) => Err(ProvisionError::SlugTaken),
        Err(error) => Err(error.into()),
    }
}

/// A key with its entry.
fn first_key(clock: &dyn Clock, workspace_id: WorkspaceId, (name, secret): (&str, &Secret)) -> (ApiKey, AuditEntry) {
    let key = api_key(clock, workspace_id, name, secret, clock.now());
    let action = AuditTarget::ApiKey.action(AuditVerb::Created);
    let changes = changed_fields(&Value::Null, &json!({"name": name, "readOnly": false}));
    let made = entry(clock, Some(workspace_id), action, (key.id.to_string(), name), changes);
    (key, made)
}

/// Sets the password of a user and ends its sessions.
///
/// # Errors
/// [`ProvisionError`]
pub async fn set_password(
    store: &dyn Store,
    clock: &dyn Clock,
    email: &str,
    password: &Secret,
) -> Result<User, ProvisionError> {
    let user = store.user_by_email(email).await?.ok_or(ProvisionError::NoUser)?.user;
    let password_hash = checked_hash(clock, password, &user.email)?;
    let mut changes = AuditChanges::new();
    note_secret(&mut changes, "password");
    let action = AuditTarget::User.action(AuditVerb::PasswordChanged);
    let audit = entry(clock, None, action, (user.id.to_string(), &user.email), changes);
    let change = PasswordChange { user_id: user.id, password_hash, at: clock.now(), verified: None, renewed: None };
    store.change_password(change, vec![audit]).await?;
    Ok(user)
}

fn checked_hash(clock: &dyn Clock, password: &Secret, email: &str) -> Result<String, ProvisionError> {
    if let Some(message) = validate_password(password.expose(), email) {
        return Err(ProvisionError::Invalid("password", message));
    }
    let mut salt = [0; SALT_BYTES];
    clock.random(&mut salt);
    Ok(hash_blocking(password, &salt)?)
}

fn user_record(clock: &dyn Clock, new: &NewUser<'_>) -> Result<UserRecord, ProvisionError> {
    let NewUser { email, name, password, is_operator } = new;
    if let Some(message) = validate_email(email) {
        return Err(ProvisionError::Invalid("email", message));
    }
    let name = name.unwrap_or_else(|| email.split('@').next().unwrap_or(email));
    if let Some(message) = validate_name(name) {
        return Err(ProvisionError::Invalid("name", message));
    }
    let password_hash = checked_hash(clock, password, email)?;
    let now = clock.now();
    let user = User {
        id: new_id(clock, now),
        email: (*email).to_owned(),
        name: name.to_owned(),
        is_operator: *is_operator,
        created_at: now,
        password_changed_at: now,
        revision: 1,
    };
    Ok(UserRecord { user, password_hash })
}

/// A workspace, with the entries for it and for its owner, who is made with it.
fn new_workspace(clock: &dyn Clock, slug: &str, owner: &User) -> (Workspace, Vec<AuditEntry>) {
    let now = clock.now();
    let workspace = Workspace::new(new_id(clock, now), slug, now);
    let joined = joined(clock, workspace.id, owner, Role::Owner);
    let audit = vec![user_created(clock, owner), workspace_created(clock, &workspace), joined];
    (workspace, audit)
}

fn workspace_created(clock: &dyn Clock, workspace: &Workspace) -> AuditEntry {
    let action = AuditTarget::Workspace.action(AuditVerb::Created);
    let changes = changed_fields(&Value::Null, &json!({"slug": workspace.slug}));
    entry(clock, Some(workspace.id), action, (workspace.id.to_string(), &workspace.slug), changes)
}

fn user_created(clock: &dyn Clock, user: &User) -> AuditEntry {
    let view = json!({"email": user.email, "name": user.name, "isOperator": user.is_operator});
    let changes = changed_fields(&Value::Null, &view);
    entry(clock, None, AuditTarget::User.action(AuditVerb::Created), (user.id.to_string(), &user.email), changes)
}

fn joined(clock: &dyn Clock, workspace_id: WorkspaceId, user: &User, role: Role) -> AuditEntry {
    let changes = changed_fields(&Value::Null, &json!({"role": role}));
    let action = AuditTarget::Member.action(AuditVerb::Created);
    entry(clock, Some(workspace_id), action, (user.id.to_string(), &user.name), changes)
}

/// An entry for what a command does.
pub fn entry(
    clock: &dyn Clock,
    workspace_id: Option<WorkspaceId>,
    action: AuditAction,
    (target_id, target_name): (String, &str),
    changes: AuditChanges,
) -> AuditEntry {
    let now: Timestamp = clock.now();
    AuditEntry {
        id: new_id(clock, now),
        workspace_id,
        at: now,
        actor: command_line(),
        action,
        target_id: Some(target_id),
        target_name: Some(target_name.to_owned()),
        changes,
        address: None,
        request_id: None,
    }
}
