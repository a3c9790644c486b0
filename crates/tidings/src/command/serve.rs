//! `tidings serve`: puts the rooms together, says where it listens and what to do next, and ends cleanly.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidings_channels::ChannelContext;
use tidings_channels::egress::{Egress, Guard};
use tidings_engine::clock::{Clock, SystemClock};
use tidings_engine::settings::instance::{self, BootstrapKey};
use tidings_engine::{Engine, EngineError, Options};
use tidings_monitor::{EngineEndpointSource, IDLE_MAX, PROBES_MAX, Prober, ProberConfig, Scheduler};
use tidings_store::Store;
use tidings_store::sqlite::SqliteStore;
use tidings_web::{CONNECTIONS_MAX, Draining, WebSettings, router, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::config::Settings;
use crate::{key, telemetry};

/// Below so many open files it runs, but may have to leave connections waiting.
const FILES_FEW: u64 = 4_096;
/// So many are enough whatever comes: for all connections, for as many to receivers, for probes under way and connections
/// that they keep, and for the store.
const FILES_AMPLE: u64 = 2 * CONNECTIONS_MAX as u64 + (PROBES_MAX + IDLE_MAX) as u64 + 1_024;
/// How long a lookup of a name that hangs is waited for at the very end, when all else is done.
const LEFTOVERS: Duration = Duration::from_millis(100);

/// Runs the service until it is told to end.
pub(super) fn run(settings: &Settings) -> Result<()> {
    telemetry::log(settings)?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(service(settings));
    runtime.shutdown_timeout(LEFTOVERS);
    outcome
}

/// Lets the process have as many open files as the system grants it: each connection is one.
fn raise_file_limit() {
    let granted = getrlimit(Resource::Nofile);
    if granted.current != granted.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: granted.maximum, ..granted })
    {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files < FILES_FEW {
        tracing::warn!(
            files,
            "few files may be open at once: {CONNECTIONS_MAX} connections and their deliveries may need up to \
             {FILES_AMPLE}; raise the hard limit (ulimit -Hn, LimitNOFILE=)"
        );
    } else if files < FILES_AMPLE {
        tracing::info!(files, ample = FILES_AMPLE, "files may be open at once: enough, if not for every extreme");
    }
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
    instance::verify_secret_key(store.as_ref(), &vault, clock.as_ref()).await??;
    let first = instance::bootstrap(&store, clock.as_ref(), settings.api_key.as_ref()).await.map_err(unfit_key)?;
    let options = Options { settings: settings.limits, ..Options::default() };
    let engine = Engine::start(Arc::clone(&store), environment(settings), vault, Arc::clone(&clock), options).await?;
    let prober = Arc::new(prober(settings));
    let watchman = Arc::new(EngineEndpointSource::new(engine.clone()).await);
    let wall_clock = Arc::clone(&clock);
    let watching = Scheduler::start(watchman, Arc::clone(&prober) as _, Arc::new(move || wall_clock.now()));

    // Whoever reads that it is ready may tell it to end at once.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tracing::info!(%address, data_dir = %settings.data_dir.display(), version = env!("CARGO_PKG_VERSION"), "ready");
    // It runs as well for those who do not read this.
    let _ = std::io::stdout().write_all(welcome(settings, address, first.as_ref()).as_bytes());
    let draining = Draining::default();
    let public_url = settings.public_url.clone();
    let web = WebSettings { clock, metrics, draining: draining.clone(), prober, public_url };
    let told = Arc::new(OnceLock::new());
    let told_at = Arc::clone(&told);
    let told_to_end = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        draining.begin();
        tracing::info!("told to end: finishing what is being sent");
        let _ = told_at.set(Instant::now());
    };
    serve(listener, router(engine.clone(), web), told_to_end, settings.drain).await;
    // One bound for both: what callers took of it, receivers do not get.
    let taken = told.get().map_or(Duration::ZERO, Instant::elapsed);
    watching.stop(settings.drain.saturating_sub(taken)).await;
    let taken = told.get().map_or(Duration::ZERO, Instant::elapsed);
    if engine.stop(settings.drain.saturating_sub(taken)).await {
        tracing::info!("ended: what was being sent is sent and written down");
    } else {
        tracing::warn!("ended with attempts under way: they are made again at the next start");
    }
    Ok(())
}

/// The error in the words of the configuration.
fn unfit_key(error: EngineError) -> anyhow::Error {
    match error {
        EngineError::Invalid(violations) => {
            anyhow!("{}", violations.first().map_or("is unfit", |violation| &violation.message))
                .context("api-key (TIDINGS_API_KEY)")
        }
        error => error.into(),
    }
}

/// Looks at what is watched.
fn prober(settings: &Settings) -> Prober {
    let guard = Guard { allow: settings.allow_watch_targets.clone(), allow_http: true };
    let references = settings.watch_references.clone();
    Prober::new(ProberConfig { references, ..ProberConfig::of_system(guard) })
}

fn environment(settings: &Settings) -> ChannelContext {
    let guard = Guard { allow: settings.allow_targets.clone(), allow_http: settings.allow_http };
    let mut environment = ChannelContext::new(Arc::new(Egress::new(guard)));
    environment.mail.clone_from(&settings.mail);
    environment.run_header_prefix.clone_from(&settings.run_header_prefix);
    environment.workflow_header_prefix.clone_from(&settings.workflow_header_prefix);
    environment
}

/// Says where it listens, and on the first start what to do next.
fn welcome(settings: &Settings, address: SocketAddr, first: Option<&BootstrapKey>) -> String {
    let mut text = format!("Tidings {} listens on http://{address}\n", env!("CARGO_PKG_VERSION"));
    let Some(first) = first else { return text };
    text += &format!("\nMade the workspace `{}` in {}.\n", first.workspace.slug, settings.data_dir.display());
    let key = match &first.made {
        Some(key) => {
            text += &format!("Its API key, shown this once: {}\n", key.expose());
            key.expose()
        }
        None => "$TIDINGS_API_KEY",
    };
    let url = settings.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    text += &format!(
        r#"
Report a run that failed:

  curl -X POST {url}/api/workspaces/default/runs \
    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \
    -d '{{"resourceType":"job","resourceId":"nightly-backup","runId":"1","status":"failure","errorMessage":"disk full"}}'

"#
    );
    text
}
