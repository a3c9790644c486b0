//! `tidings serve`: puts the rooms together, says where it listens and what to do next, and ends cleanly.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tidings_channels::Environment;
use tidings_channels::egress::{Egress, Guard};
use tidings_engine::clock::{Clock, SystemClock};
use tidings_engine::settings::instance::{self, FirstKey};
use tidings_engine::{Engine, Options};
use tidings_store::Store;
use tidings_store::sqlite::SqliteStore;
use tidings_web::{Draining, WebSettings, router, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Settings;
use crate::{key, telemetry};

/// Runs the service until it is told to end.
pub(super) fn run(settings: &Settings) -> Result<()> {
    telemetry::log(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(service(settings))
}

async fn service(settings: &Settings) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let metrics = telemetry::measure()?;
    // Listen first: a port that is taken must change nothing.
    let listener = TcpListener::bind(settings.listen).await.with_context(|| {
        format!("cannot listen on {}: is another program there? Name another with --listen", settings.listen)
    })?;
    let address = listener.local_addr()?;

    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&settings.data_dir)?);
    let is_first = store.instance_key().await?.is_none();
    let vault = Arc::new(key::vault(settings.secret_key.as_ref(), &settings.data_dir, is_first, clock.as_ref())?);
    instance::recognise_key(store.as_ref(), &vault, clock.as_ref()).await??;
    let first = instance::bootstrap(&store, clock.as_ref(), settings.api_key.as_ref()).await?;
    let engine =
        Engine::start(Arc::clone(&store), environment(settings), vault, Arc::clone(&clock), Options::default()).await?;

    // Whoever reads that it is ready may tell it to end at once.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    welcome(settings, address, first.as_ref());
    let draining = Draining::default();
    let web = WebSettings { clock, metrics, draining: draining.clone() };
    let told_to_end = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        draining.begin();
        tracing::info!("told to end: finishing what is being sent");
        draining.begin();
    };
    serve(listener, router(engine.clone(), web), told_to_end, settings.drain).await;
    if engine.stop(settings.drain).await {
        tracing::info!("ended: nothing was left behind");
    } else {
        tracing::warn!("ended with attempts under way: they are made again at the next start");
    }
    Ok(())
}

fn environment(settings: &Settings) -> Environment {
    let guard = Guard { allow: settings.allow_targets.clone(), allow_http: settings.allow_http };
    let mut environment = Environment::new(Arc::new(Egress::new(guard)));
    environment.mail.clone_from(&settings.mail);
    environment.run_header_prefix.clone_from(&settings.run_header_prefix);
    environment.workflow_header_prefix.clone_from(&settings.workflow_header_prefix);
    environment
}

/// Says where it listens, and on the first start what to do next.
fn welcome(settings: &Settings, address: SocketAddr, first: Option<&FirstKey>) {
    tracing::info!(%address, data_dir = %settings.data_dir.display(), version = env!("CARGO_PKG_VERSION"), "ready");
    println!("Tidings {} listens on http://{address}", env!("CARGO_PKG_VERSION"));
    let Some(first) = first else { return };
    println!();
    println!("First start: made the workspace `{}` in {}.", first.workspace.slug, settings.data_dir.display());
    let key = match &first.made {
        Some(key) => {
            println!("Its API key, shown this once: {}", key.expose());
            key.expose()
        }
        None => "$TIDINGS_API_KEY",
    };
    println!();
    let url = settings.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    println!("Report a run that failed:");
    println!();
    println!("  curl -X POST {url}/api/workspaces/default/runs \\");
    println!("    -H \"Authorization: Bearer {key}\" -H \"Content-Type: application/json\" \\");
    println!(
        "    -d '{{\"resourceType\":\"job\",\"resourceId\":\"nightly-backup\",\"runId\":\"1\",\"status\":\"failure\",\"errorMessage\":\"disk full\"}}'"
    );
    println!();
}
