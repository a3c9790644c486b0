//! `/session`: signing in and out.
//!
//! A session begins with 256 fresh random bits, of which only the SHA-256 is stored. What a browser sends before it signs
//! in is never adopted: an attacker who planted it would otherwise be signed in with it, too.

use serde::{Deserialize, Serialize};
use tidings_domain::access::Role;
use tidings_domain::account::{SESSION_MAX_MS, Session, User, email_key};
use tidings_domain::audit::{AuditChanges, AuditTarget, AuditVerb};
use tidings_domain::id::{Id as _, SessionId, UserId, WorkspaceId};
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::{Clock, new_id};
use tidings_engine::snapshot::api_key_hash;
use tidings_store::StoreError;
use tidings_store::accounts::NewSession;
use utoipa::ToSchema;

use crate::accounts::account::AccountView;
use crate::accounts::password::PasswordError;
use crate::accounts::signed_in::{SignedIn, entry};
use crate::accounts::throttle::{Attempt, client_network};
use crate::app::App;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::Origin;
use crate::response::Response;

/// How long a browser keeps the cookie. The store ends sessions earlier, if they are not used.
pub const COOKIE_SECONDS: u64 = SESSION_MAX_MS / 1_000;
/// Bytes of a session's secret.
const SECRET_BYTES: usize = 32;

/// The credentials of a user.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"email": "ana@example.com", "password": "correct horse battery staple"}))]
pub struct Credentials {
    #[schema(max_length = 254)]
    pub email: String,
    #[schema(value_type = String, max_length = 1_024, format = Password, write_only)]
    pub password: Secret,
}

/// Who is signed in.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    pub user: AccountView,
    pub session: SessionDetail,
    /// The workspaces of the user, by slug.
    pub workspaces: Vec<MembershipView>,
}

/// A session of a user.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionDetail {
    pub id: SessionId,
    /// Whether it is the one by which the request was made.
    pub is_current: bool,
    pub created_at: Timestamp,
    /// Recorded at most once a minute.
    pub last_seen_at: Timestamp,
    pub expires_at: Timestamp,
    /// From where it was last used.
    pub address: Option<String>,
    /// What the browser called itself at sign-in.
    pub user_agent: Option<String>,
}

/// A workspace of a user.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MembershipView {
    pub id: WorkspaceId,
    pub slug: String,
    pub name: String,
    pub role: Role,
    /// Set while an operator has suspended it.
    pub suspended_at: Option<Timestamp>,
}

impl Response for SessionView {}

impl SessionDetail {
    pub(crate) fn of(session: &Session, current: SessionId) -> Self {
        Self {
            id: session.id,
            is_current: session.id == current,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            expires_at: session.expires_at,
            address: session.address.clone(),
            user_agent: session.user_agent.clone(),
        }
    }
}

/// A session that begins, with the secret for the cookie.
#[derive(Debug)]
pub struct Begun<T> {
    pub secret: Secret,
    pub view: T,
}

/// What a browser sent beside its credentials.
#[derive(Debug, Clone, Copy, Default)]
pub struct Browser<'a> {
    /// The secret of its session so far, which ends.
    pub replaces: Option<&'a Secret>,
    pub user_agent: Option<&'a str>,
}

/// A fresh secret.
pub(crate) fn new_secret(clock: &dyn Clock) -> Secret {
    let mut random = [0; SECRET_BYTES];
    clock.random(&mut random);
    Secret::new(random.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// What is stored of a secret.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    api_key_hash(secret)
}

/// A session of this user that begins now.
pub(crate) fn begin(app: &App, user_id: UserId, origin: &Origin, browser: Browser<'_>) -> (Secret, NewSession) {
    let clock = app.engine().clock();
    let now = clock.now();
    let secret = new_secret(clock);
    let address = origin.address.map(|address| address.to_string());
    let session = Session::new(new_id(clock, now), user_id, now, address, browser.user_agent);
    let new = NewSession {
        session,
        hash: hash(secret.expose()),
        replaces: browser.replaces.map(|secret| hash(secret.expose())),
    };
    (secret, new)
}

/// Signs a user in.
///
/// An unknown email and a wrong password take the same steps, reads and hashing included, and have the same answer.
///
/// # Errors
/// [`AppError::WrongCredentials`], [`AppError::TooManyAttempts`], and those of the store.
pub async fn sign_in(
    app: &App,
    origin: &Origin,
    browser: Browser<'_>,
    input: Input<Credentials>,
) -> Result<Begun<SessionView>> {
    let Credentials { email, password } = input.finish()?;
    let user = verify(app, origin, &email, &password).await?;
    let (secret, new) = begin(app, user.id, origin, browser);
    let session = new.session.clone();
    let now = session.created_at;
    let action = AuditTarget::Session.action(AuditVerb::SignedIn);
    let audit = entry(app, (user.actor(), origin), None, action, (session.id, &user.email), AuditChanges::new(), now);
    match app.engine().accounts().create_session(new, user.password_changed_at, vec![audit]).await {
        Ok(()) => {}
        // The password was changed after it was verified.
        Err(StoreError::Conflict | StoreError::NotFound) => return Err(AppError::WrongCredentials),
        Err(error) => return Err(error.into()),
    }
    let view = view(app, &user, &session).await?;
    Ok(Begun { secret, view })
}

/// The user with this email and password, within the limits on attempts.
pub(crate) async fn verify(app: &App, origin: &Origin, email: &str, password: &Secret) -> Result<User> {
    let (accounts, store) = (app.accounts(), app.engine().accounts());
    let now = app.engine().clock().now();
    let record = store.user_by_email(email).await?;
    // The sessions of no user are read, too, so that the time does not show whether there is such a user.
    let id = record.as_ref().map_or(UserId::from_bytes([0; 16]), |record| record.user.id);
    let sessions = store.sessions(id, now).await?;
    // Behind an unknown peer all clients are one.
    let client = client_network(origin.address.unwrap_or([0, 0, 0, 0].into()));
    let is_known_client = sessions.iter().any(|session| {
        let address = session.address.as_deref().and_then(|address| address.parse().ok());
        address.is_some_and(|address| client_network(address) == client)
    });
    // Of a user by the id: who holds a stolen session could otherwise begin anew at zero by changing the email.
    let key = record.as_ref().map_or_else(|| email_key(email), |record| record.user.id.to_string());
    let attempt = Attempt { account: &key, client, is_known_client };
    let admitted = accounts.throttle().admit(attempt, now);
    admitted.map_err(|retry_after_seconds| AppError::TooManyAttempts { retry_after_seconds })?;
    let stored = record.as_ref().map(|record| record.password_hash.clone());
    match accounts.passwords().verify(password.clone(), stored).await {
        Ok(is_right) => match record.filter(|_| is_right) {
            Some(record) => {
                accounts.throttle().succeeded(attempt, now);
                Ok(record.user)
            }
            None => Err(AppError::WrongCredentials),
        },
        Err(error) => {
            if matches!(error, PasswordError::Busy) {
                accounts.throttle().undecided(attempt, now);
            }
            Err(error.into())
        }
    }
}

/// Who is signed in.
///
/// # Errors
/// Those of the store.
pub async fn one(by: &SignedIn) -> Result<SessionView> {
    view(by, by.user(), by.session()).await
}

pub(crate) async fn view(app: &App, user: &User, session: &Session) -> Result<SessionView> {
    Ok(SessionView {
        user: AccountView::of(user),
        session: SessionDetail::of(session, session.id),
        workspaces: memberships(app, user.id).await?,
    })
}

/// The workspaces of a user, by slug.
pub(crate) async fn memberships(app: &App, user_id: UserId) -> Result<Vec<MembershipView>> {
    let mut found: Vec<_> = app.engine().accounts().user_workspaces(user_id).await?;
    found.sort_by(|a, b| a.workspace.slug.cmp(&b.workspace.slug));
    let view = |one: tidings_store::accounts::UserWorkspace| MembershipView {
        id: one.workspace.id,
        slug: one.workspace.slug,
        name: one.workspace.name,
        role: one.role,
        suspended_at: one.workspace.suspended_at,
    };
    Ok(found.into_iter().map(view).collect())
}

/// Signs out: ends the session by which the request was made.
///
/// # Errors
/// Those of the store. That it has ended meanwhile is none.
pub async fn sign_out(by: &SignedIn) -> Result<()> {
    let (store, session_id) = (by.engine().accounts(), by.session().id);
    let action = AuditTarget::Session.action(AuditVerb::Deleted);
    let audit = by.audit(None, action, (session_id, &by.user().email), AuditChanges::new(), by.now());
    match store.delete_session(by.user().id, session_id, vec![audit]).await {
        Ok(()) | Err(StoreError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
