//! `tidings workspace`: workspaces and API keys, in the store of a stopped server.

use anyhow::{Result, anyhow, bail};
use tidings_domain::id::ApiKeyId;
use tidings_domain::secret::Secret;
use tidings_engine::EngineError;
use tidings_engine::clock::SystemClock;
use tidings_engine::settings::instance;
use tidings_store::sqlite::SqliteStore;
use tidings_store::{Store, StoreError};

use crate::config::Settings;

/// Creates a workspace and prints its first key.
pub(super) fn create(settings: &Settings, slug: &str) -> Result<()> {
    with_store(settings, async |store| match instance::create_workspace(store, &SystemClock::default(), slug).await {
        Ok((workspace, key)) => {
            println!("workspace  {} ({})", workspace.slug, workspace.id);
            println!("API key    {}   (not shown again)", Secret::expose(&key));
            Ok(())
        }
        Err(EngineError::Invalid(violations)) => {
            bail!("{slug:?}: {}", violations.first().map_or("is not a valid name", |violation| &violation.message))
        }
        Err(error) => Err(error.into()),
    })
}

/// Creates another key of a workspace and prints it.
pub(super) fn new_key(settings: &Settings, slug: &str) -> Result<()> {
    with_store(settings, async |store| {
        let made = instance::new_key(store, &SystemClock::default(), slug).await;
        let (id, key) = made.map_err(|error| name_missing(error, slug, None))?;
        println!("id         {id}");
        println!("API key    {}   (not shown again)", Secret::expose(&key));
        Ok(())
    })
}

/// Revokes a key of a workspace.
pub(super) fn revoke_key(settings: &Settings, slug: &str, key_id: &str) -> Result<()> {
    // The argument is not quoted: users may have passed the key itself.
    let id: ApiKeyId =
        key_id.parse().map_err(|_| anyhow!("the argument is not the id of a key: see `tidings workspace list`"))?;
    with_store(settings, async |store| {
        let key = instance::revoke_key(store, slug, id).await.map_err(|error| name_missing(error, slug, Some(id)))?;
        println!("revoked    {} ({})", key.id, key.name);
        if key.name == instance::OPERATOR_KEY_NAME {
            println!("The next start adds it again unless TIDINGS_API_KEY is changed or unset.");
        }
        Ok(())
    })
}

/// Names the workspace or the key that does not exist.
fn name_missing(error: EngineError, slug: &str, id: Option<ApiKeyId>) -> anyhow::Error {
    match (error, id) {
        (EngineError::NotFound("workspace"), _) => anyhow!("there is no workspace {slug:?}"),
        (EngineError::NotFound(_), Some(id)) => anyhow!("the workspace {slug:?} has no key {id}"),
        (error, _) => error.into(),
    }
}

/// Lists the workspaces and their keys.
pub(super) fn list(settings: &Settings) -> Result<()> {
    with_store(settings, async |store| {
        for record in store.workspaces().await? {
            let workspace = record.workspace;
            let keys = match record.api_keys.len() {
                1 => "1 API key".to_owned(),
                count => format!("{count} API keys"),
            };
            println!("{:<24} {}  {keys}  since {}", workspace.slug, workspace.id, workspace.created_at);
            for key in record.api_keys {
                let reads = if key.read_only { "  read-only" } else { "" };
                println!("  {:<22} {}  since {}{reads}", key.name, key.id, key.created_at);
            }
        }
        Ok(())
    })
}

fn with_store(settings: &Settings, work: impl AsyncFnOnce(&dyn Store) -> Result<()>) -> Result<()> {
    let store = match SqliteStore::open(&settings.data_dir) {
        Ok(store) => store,
        Err(StoreError::Locked(path)) => bail!("{path} is in use: stop the server that uses it first"),
        Err(error) => return Err(error.into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let outcome = work(&store).await;
        store.close().await;
        outcome
    })
}
