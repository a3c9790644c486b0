//! `tidings user`: people who sign in, also beside a running server.

use anyhow::{Result, anyhow};
use tidings_app::accounts::provision::{self, NewUser, ProvisionError};
use tidings_domain::access::Role;
use tidings_domain::account::email_key;
use tidings_domain::secret::Secret;
use tidings_engine::clock::SystemClock;
use tidings_store::StoreError;

use super::with_store;
use super::workspace::find_workspace;
use crate::config::Settings;
use crate::prompt;

/// A user to create.
pub(super) struct Creation<'a> {
    pub email: &'a str,
    pub name: Option<&'a str>,
    pub is_operator: bool,
    /// A slug or id.
    pub workspace: Option<&'a str>,
    pub role: Role,
    pub generate: bool,
}

/// Creates a user.
pub(super) fn create(settings: &Settings, creation: &Creation<'_>) -> Result<()> {
    let Creation { email, name, is_operator, workspace, role, generate } = *creation;
    // Before the store is opened: nothing is held while a person types.
    let password = password(email, generate)?;
    with_store(settings, async |store| {
        let workspace = match workspace {
            Some(slug) => Some(find_workspace(store, slug).await?.workspace),
            None => None,
        };
        let new = NewUser { email, name, password: &password, is_operator };
        let membership = workspace.as_ref().map(|workspace| (workspace, role));
        let made = provision::create_user(store, &SystemClock::default(), new, membership).await;
        let made = made.map_err(|error| explained(error, email))?;
        println!("user       {} ({})", made.user.email, made.user.id);
        for (workspace, role) in &made.memberships {
            println!("{:<10} of the workspace {}", role.as_str(), workspace.slug);
        }
        if made.user.is_operator {
            println!("operator   of this instance");
        }
        if generate {
            println!("password   {}   (not shown again)", password.expose());
        }
        if made.memberships.is_empty() {
            println!("Member of no workspace yet: `tidings workspace add-member SLUG {email}`, or invite them.");
        }
        Ok(())
    })
}

/// Sets the password of a user, whose sessions end.
pub(super) fn set_password(settings: &Settings, email: &str, generate: bool) -> Result<()> {
    let password = password(email, generate)?;
    with_store(settings, async |store| {
        let set = provision::set_password(store, &SystemClock::default(), email, &password).await;
        let user = set.map_err(|error| explained(error, email))?;
        println!("changed    the password of {} ({}), who is signed out everywhere", user.email, user.id);
        if generate {
            println!("password   {}   (not shown again)", password.expose());
        }
        Ok(())
    })
}

/// Lists the users with their workspaces.
pub(super) fn list(settings: &Settings) -> Result<()> {
    with_store(settings, async |store| {
        let mut users = store.users().await?;
        users.sort_by_key(|user| email_key(&user.email));
        for user in users {
            let operates = if user.is_operator { "  operator" } else { "" };
            println!("{:<32} {}  since {}{operates}  {}", user.email, user.id, user.created_at, user.name);
            for membership in store.user_workspaces(user.id).await? {
                println!("  {:<30} {}", membership.workspace.slug, membership.role.as_str());
            }
        }
        Ok(())
    })
}

fn password(email: &str, generate: bool) -> Result<Secret> {
    if generate { Ok(provision::generate_password(&SystemClock::default())) } else { prompt::new_password(email) }
}

/// Adds what to do about it.
pub(super) fn explained(error: ProvisionError, email: &str) -> anyhow::Error {
    match error {
        ProvisionError::EmailTaken => {
            anyhow!("there is a user {email:?} already: set the password with `tidings user password {email}`")
        }
        ProvisionError::NoUser => anyhow!("there is no user {email:?}: see `tidings user list`"),
        ProvisionError::Store(StoreError::Exists) => anyhow!("{email:?} is a member already"),
        error => error.into(),
    }
}
