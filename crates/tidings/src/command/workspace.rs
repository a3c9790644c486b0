//! `tidings workspace`: workspaces made and listed while the server is stopped.

use anyhow::{Result, bail};
use tidings_domain::secret::Secret;
use tidings_engine::EngineError;
use tidings_engine::clock::SystemClock;
use tidings_engine::settings::instance;
use tidings_store::sqlite::SqliteStore;
use tidings_store::{Store, StoreError};

use crate::config::Settings;

/// Makes a workspace and shows its first key.
pub(super) fn create(settings: &Settings, slug: &str) -> Result<()> {
    with_store(settings, async |store| match instance::create_workspace(store, &SystemClock::default(), slug).await {
        Ok((workspace, key)) => {
            println!("workspace  {} ({})", workspace.slug, workspace.id);
            println!("API key    {}   (shown this once)", Secret::expose(&key));
            Ok(())
        }
        Err(EngineError::Invalid(violations)) => {
            bail!("{slug:?}: {}", violations.first().map_or("is no slug", |violation| &violation.message))
        }
        Err(error) => Err(error.into()),
    })
}

/// Lists the workspaces.
pub(super) fn list(settings: &Settings) -> Result<()> {
    with_store(settings, async |store| {
        for record in store.workspaces().await? {
            let workspace = record.workspace;
            println!(
                "{:<24} {}  {} API key(s)  since {}",
                workspace.slug,
                workspace.id,
                record.api_keys.len(),
                workspace.created_at
            );
        }
        Ok(())
    })
}

fn with_store(settings: &Settings, work: impl AsyncFnOnce(&dyn Store) -> Result<()>) -> Result<()> {
    let store = match SqliteStore::open(&settings.data_dir) {
        Ok(store) => store,
        Err(StoreError::Locked(path)) => bail!("{path} is in use: stop the server that runs on it first"),
        Err(error) => return Err(error.into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let outcome = work(&store).await;
        store.close().await;
        outcome
    })
}
