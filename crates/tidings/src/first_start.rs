//! What the first start creates: the workspace `default`, its owner, who operates the instance, and its first API key.
//!
//! Where the password of the owner and the API key go depends on the configuration and on standard output:
//!
//! - Configured (`TIDINGS_ADMIN_PASSWORD`, `TIDINGS_API_KEY`): that one is used. It is neither printed nor written to a file.
//! - Standard output is a terminal: it is generated, and the startup banner prints it.
//! - Otherwise standard output is likely collected as a log, which is no place for a secret: it is generated into a file,
//!   which the log names.
//!
//! The files are written before the workspace is created, so that no secret can be lost. An interrupted start leaves
//! nothing, or files without the workspace, and the next start then uses the secrets in them. Nothing is generated for a
//! store that has a workspace `default` or users: later starts only warn as long as the files are still there.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use tidings_app::accounts::password::validate_password;
use tidings_app::accounts::provision::{self, NewUser};
use tidings_domain::secret::Secret;
use tidings_engine::EngineError;
use tidings_engine::clock::Clock;
use tidings_engine::settings::instance;
use tidings_store::Store;

use crate::config::Settings;
use crate::secret_file;

const KEY_FILE: &str = "initial-api-key";
const PASSWORD_FILE: &str = "initial-password";

/// What this start created.
pub(crate) struct Created {
    /// The slug of the workspace.
    pub slug: String,
    /// The email of the owner.
    pub email: String,
    pub password: Location,
    pub key: Location,
}

/// Where the operator finds a secret.
pub(crate) enum Location {
    /// In the configuration.
    Configured,
    /// Nowhere yet: the startup banner must print it.
    Banner(Secret),
    /// In this file; the path is absolute.
    File(PathBuf),
}

/// A secret that the first start needs.
struct Needed<'a> {
    /// For messages, such as `API key`.
    what: &'a str,
    /// The variable that sets it.
    variable: &'a str,
    configured: Option<&'a Secret>,
    path: PathBuf,
    generate: fn(&dyn Clock) -> Secret,
    is_valid: &'a dyn Fn(&Secret) -> bool,
}

/// Makes sure that an empty store gets its workspace, owner and key, and that the configured key, if any, is one of the
/// keys of `default`. Returns what was created.
pub(crate) async fn bootstrap(
    store: &Arc<dyn Store>,
    clock: &dyn Clock,
    settings: &Settings,
    stdout_is_terminal: bool,
) -> Result<Option<Created>> {
    let is_key = |key: &Secret| instance::validate_api_key(key.expose()).is_none();
    let is_password = |password: &Secret| validate_password(password.expose(), &settings.admin_email).is_none();
    let key = Needed {
        what: "API key",
        variable: "TIDINGS_API_KEY",
        configured: settings.api_key.as_ref(),
        path: std::path::absolute(settings.data_dir.join(KEY_FILE))?,
        generate: instance::new_api_key,
        is_valid: &is_key,
    };
    let password = Needed {
        what: "password",
        variable: "TIDINGS_ADMIN_PASSWORD",
        configured: settings.admin_password.as_ref(),
        path: std::path::absolute(settings.data_dir.join(PASSWORD_FILE))?,
        generate: provision::generate_password,
        is_valid: &is_password,
    };
    for needed in [&key, &password] {
        secret_file::remove_draft(&needed.path);
    }
    let has_users = store.has_users().await?;
    let is_applied = instance::apply_operator_key(store.as_ref(), clock, key.configured).await.map_err(name_setting)?;
    if is_applied || has_users {
        if !is_applied && key.configured.is_some() {
            tracing::warn!(
                "TIDINGS_API_KEY is a key of the workspace `default`, which does not exist: it opens nothing"
            );
        }
        if !has_users {
            tracing::warn!("no one can sign in yet: make the first user with `tidings user create EMAIL`");
        }
        for needed in [&key, &password].into_iter().filter(|needed| needed.path.exists()) {
            let (path, what) = (needed.path.display(), needed.what);
            tracing::warn!(%path, "the file with the initial {what} still exists: remove it");
        }
        return Ok(None);
    }
    let (api_key, key) = key.obtain(clock, stdout_is_terminal)?;
    let (owner_password, password) = password.obtain(clock, stdout_is_terminal)?;
    let key_name = if matches!(key, Location::Configured) { instance::OPERATOR_KEY_NAME } else { "first key" };
    let owner = NewUser { email: &settings.admin_email, name: None, password: &owner_password, is_operator: true };
    let (workspace, user) = provision::first_workspace(store.as_ref(), clock, (key_name, &api_key), owner).await?;
    for (what, location) in [("API key", &key), ("password", &password)] {
        if let Location::File(path) = location {
            tracing::warn!(path = %path.display(), "the initial {what} is in this file: remove it after reading it");
        }
    }
    Ok(Some(Created { slug: workspace.slug, email: user.email, password, key }))
}

impl Needed<'_> {
    /// The secret, and where the operator finds it.
    fn obtain(&self, clock: &dyn Clock, stdout_is_terminal: bool) -> Result<(Secret, Location)> {
        if let Some(configured) = self.configured {
            return Ok((configured.clone(), Location::Configured));
        }
        // A file without the workspace is left by an interrupted start. Its secret is used, also on a terminal.
        if stdout_is_terminal && !self.path.exists() {
            let secret = (self.generate)(clock);
            return Ok((secret.clone(), Location::Banner(secret)));
        }
        Ok((self.load_or_generate(clock)?, Location::File(self.path.clone())))
    }

    fn load_or_generate(&self, clock: &dyn Clock) -> Result<Secret> {
        let Self { what, variable, path, .. } = self;
        if let Some(secret) = secret_file::read(path)? {
            // An invalid one was not written by Tidings, which writes a secret as a whole or not at all.
            return match (self.is_valid)(&secret) {
                true => Ok(secret),
                false => Err(anyhow!("{} has no valid {what}: remove it and start again", path.display())),
            };
        }
        let secret = (self.generate)(clock);
        secret_file::create(path, &secret).with_context(|| {
            format!(
                "cannot write the initial {what} to {}: correct this and start again, or set {variable} yourself",
                path.display()
            )
        })?;
        Ok(secret)
    }
}

/// Names the setting that an invalid key comes from.
fn name_setting(error: EngineError) -> anyhow::Error {
    match error {
        EngineError::Invalid(violations) => {
            anyhow!("{}", violations.first().map_or("is invalid", |violation| &violation.message))
                .context("api-key (TIDINGS_API_KEY)")
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_engine::clock::SystemClock;

    fn needed(path: PathBuf) -> Needed<'static> {
        Needed {
            what: "API key",
            variable: "TIDINGS_API_KEY",
            configured: None,
            path,
            generate: instance::new_api_key,
            is_valid: &|key| instance::validate_api_key(key.expose()).is_none(),
        }
    }

    #[test]
    fn key_of_an_interrupted_start_is_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let needed = needed(directory.path().join(KEY_FILE));
        let first = needed.load_or_generate(&SystemClock::default()).unwrap();
        let second = needed.load_or_generate(&SystemClock::default()).unwrap();
        assert_eq!(first.expose(), second.expose());
        assert_eq!(instance::validate_api_key(first.expose()), None);
    }

    #[test]
    fn file_without_a_key_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(KEY_FILE);
        secret_file::create(&path, &Secret::new("hunter2")).unwrap();
        let error = needed(path).load_or_generate(&SystemClock::default()).err().unwrap().to_string();
        assert!(error.contains(KEY_FILE) && !error.contains("hunter2"), "{error}");
    }
}
