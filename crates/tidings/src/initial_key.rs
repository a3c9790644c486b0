//! The workspace `default` and its first API key, which the first start creates.
//!
//! Where the key goes depends on the configuration and on standard output:
//!
//! - `TIDINGS_API_KEY` is set: that key is used. It is neither printed nor written to a file.
//! - Standard output is a terminal: the key is generated, and the startup banner prints it.
//! - Otherwise standard output is likely collected as a log, which is no place for a key: the key is generated into a file,
//!   which the log names.
//!
//! The file is written before the workspace is created, so that the key cannot be lost. An interrupted start leaves
//! nothing, or the file without the workspace, and the next start then uses the key in the file. A key is never generated
//! for a workspace that exists: later starts only warn as long as the file is still there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use tidings_domain::access::Actor;
use tidings_domain::secret::Secret;
use tidings_domain::workspace::Workspace;
use tidings_engine::EngineError;
use tidings_engine::clock::{Clock, new_id};
use tidings_engine::settings::instance;
use tidings_engine::snapshot::api_key_hash;
use tidings_store::Store;
use tidings_store::settings::{ApiKey, Preferences, WorkspaceRecord};

use crate::config::Settings;
use crate::secret_file;

const FILE: &str = "initial-api-key";

/// The workspace that this start created.
pub(crate) struct Created {
    pub slug: String,
    pub key: KeyLocation,
}

/// Where the operator finds the first API key.
pub(crate) enum KeyLocation {
    /// In `TIDINGS_API_KEY`.
    Configured,
    /// Nowhere yet: the startup banner must print it.
    Banner(Secret),
    /// In this file; the path is absolute.
    File(PathBuf),
}

/// Makes sure that the workspace `default` exists and that the configured key, if any, is one of its keys. Returns the
/// workspace if it was created.
pub(crate) async fn bootstrap(
    store: &Arc<dyn Store>,
    clock: &dyn Clock,
    settings: &Settings,
    stdout_is_terminal: bool,
) -> Result<Option<Created>> {
    let path = std::path::absolute(settings.data_dir.join(FILE))?;
    secret_file::remove_draft(&path);
    // A file without the workspace is left by an interrupted start. Its key is used whatever standard output is now.
    let uses_file = settings.api_key.is_none() && (!stdout_is_terminal || path.exists());
    if uses_file && !has_default_workspace(store.as_ref()).await? {
        let key = load_or_generate(&path, clock)?;
        let workspace = create_default_workspace(store.as_ref(), clock, &key).await?;
        tracing::warn!(path = %path.display(), "the initial API key is in this file: remove it after reading it");
        return Ok(Some(Created { slug: workspace.slug, key: KeyLocation::File(path) }));
    }
    let created = instance::bootstrap(store, clock, settings.api_key.as_ref()).await.map_err(name_setting)?;
    if path.exists() {
        tracing::warn!(path = %path.display(), "the file with the initial API key still exists: remove it");
    }
    Ok(created.map(|created| Created {
        slug: created.workspace.slug,
        key: created.generated.map_or(KeyLocation::Configured, KeyLocation::Banner),
    }))
}

async fn has_default_workspace(store: &dyn Store) -> Result<bool> {
    let workspaces = store.workspaces().await?;
    Ok(workspaces.iter().any(|record| record.workspace.slug == instance::DEFAULT_WORKSPACE))
}

fn load_or_generate(path: &Path, clock: &dyn Clock) -> Result<Secret> {
    if let Some(key) = secret_file::read(path)? {
        // It was not written by Tidings, which writes a key as a whole or not at all.
        if instance::validate_api_key(key.expose()).is_some() {
            return Err(anyhow!("{} does not contain an API key: remove it and start again", path.display()));
        }
        return Ok(key);
    }
    let key = generate(clock);
    secret_file::create(path, &key).with_context(|| {
        format!(
            "cannot write the initial API key to {}: correct this and start again, or set TIDINGS_API_KEY to a key of \
             your own",
            path.display()
        )
    })?;
    Ok(key)
}

/// The prefix and 24 random bytes in hex.
fn generate(clock: &dyn Clock) -> Secret {
    let mut random = [0; 24];
    clock.random(&mut random);
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::new(format!("{}{hex}", instance::API_KEY_PREFIX))
}

/// As [`instance::bootstrap`] does it, with a key that is known before the workspace exists.
async fn create_default_workspace(store: &dyn Store, clock: &dyn Clock, key: &Secret) -> Result<Workspace> {
    let now = clock.now();
    let workspace = Workspace::new(new_id(clock, now), instance::DEFAULT_WORKSPACE, now);
    let api_key = ApiKey {
        id: new_id(clock, now),
        workspace_id: workspace.id,
        name: "first key".to_owned(),
        hash: api_key_hash(key.expose()),
        read_only: false,
        created_by: Actor::system(),
        created_at: now,
        expires_at: None,
    };
    let record =
        WorkspaceRecord { workspace: workspace.clone(), preferences: Preferences::default(), api_keys: vec![api_key] };
    store.create_workspace(record, None, vec![]).await?;
    Ok(workspace)
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

    #[test]
    fn key_of_an_interrupted_start_is_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let first = load_or_generate(&path, &SystemClock::default()).unwrap();
        let second = load_or_generate(&path, &SystemClock::default()).unwrap();
        assert_eq!(first.expose(), second.expose());
        assert_eq!(instance::validate_api_key(first.expose()), None);
    }

    #[test]
    fn file_without_a_key_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        secret_file::create(&path, &Secret::new("hunter2")).unwrap();
        let error = load_or_generate(&path, &SystemClock::default()).err().unwrap().to_string();
        assert!(error.contains(FILE) && !error.contains("hunter2"), "{error}");
    }
}
