//! `tidings serve`: starts the components, prints the startup banner, and drains everything at shutdown.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidings_channels::ChannelContext;
use tidings_channels::egress::{DnsResolver, Egress, Guard, RootCertStore, native_roots};
use tidings_engine::clock::{Clock, SystemClock};
use tidings_engine::settings::instance;
use tidings_engine::{Engine, Options};
use tidings_monitor::{EngineEndpointSource, IDLE_MAX, PROBES_MAX, Prober, ProberConfig, Scheduler};
use tidings_store::Store;
use tidings_store::sqlite::SqliteStore;
use tidings_web::{CONNECTIONS_MAX, Shutdown, WebSettings, router, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::config::Settings;
use crate::first_start::{self, Created, Location};
use crate::{encryption_key, telemetry};

/// With a lower limit on open files, connections may have to wait in normal operation.
const OPEN_FILES_MIN: u64 = 4_096;
/// Enough for every bound at once: client connections, as many to receivers, probes and their idle connections, the store.
const OPEN_FILES_RECOMMENDED: u64 = 2 * CONNECTIONS_MAX as u64 + (PROBES_MAX + IDLE_MAX) as u64 + 1_024;
/// How long the runtime may take to end. What may still run then is a blocking name lookup, which cannot be cancelled.
const RUNTIME_SHUTDOWN_MAX: Duration = Duration::from_millis(100);

/// Runs the service until SIGTERM or SIGINT.
pub(super) fn run(settings: &Settings) -> Result<()> {
    telemetry::init_log(settings)?;
    raise_open_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run_service(settings));
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_MAX);
    outcome
}

/// Raises the soft limit on open files to the hard limit: each connection is an open file.
fn raise_open_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "failed to raise the open-file limit");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files < OPEN_FILES_MIN {
        tracing::warn!(
            files,
            "open-file limit is too low, connections may be delayed: raise the hard limit to {OPEN_FILES_RECOMMENDED} \
             (ulimit -Hn, LimitNOFILE=)"
        );
    } else if files < OPEN_FILES_RECOMMENDED {
        tracing::info!(files, "open-file limit is below the recommended {OPEN_FILES_RECOMMENDED}");
    }
}

async fn run_service(settings: &Settings) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let metrics = telemetry::init_metrics()?;
    // Before anything is written: a start that fails because of its port must not leave a data directory behind.
    let listener = TcpListener::bind(settings.listen).await.with_context(|| {
        format!("cannot listen on {}: stop the program that uses it, or set another with --listen", settings.listen)
    })?;
    let address = listener.local_addr()?;

    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&settings.data_dir)?);
    let is_first = store.instance_key().await?.is_none();
    let secret_key = settings.secret_key.as_ref();
    let vault = Arc::new(encryption_key::vault(secret_key, &settings.data_dir, is_first, clock.as_ref())?);
    instance::verify_secret_key(store.as_ref(), &vault, clock.as_ref()).await??;
    let is_terminal = std::io::stdout().is_terminal();
    let created = first_start::bootstrap(&store, clock.as_ref(), settings, is_terminal).await?;
    let options = Options { settings: settings.limits, ..Options::default() };
    let names = Arc::new(DnsResolver::system());
    let roots = native_roots();
    let context = channel_context(settings, &names, roots.clone());
    let engine = Engine::start(Arc::clone(&store), context, vault, Arc::clone(&clock), options).await?;
    let prober = Arc::new(prober(settings, &names, roots));
    let endpoints = Arc::new(EngineEndpointSource::new(engine.clone()).await);
    let wall_clock = Arc::clone(&clock);
    let scheduler = Scheduler::start(endpoints, Arc::clone(&prober) as _, Arc::new(move || wall_clock.now()));

    // The handlers are installed before "ready" is logged: a supervisor that reads it may send SIGTERM at once.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tracing::info!(%address, data_dir = %settings.data_dir.display(), version = env!("CARGO_PKG_VERSION"), "ready");
    // An error is ignored: the service also runs with standard output closed.
    let _ = std::io::stdout().write_all(startup_banner(settings, address, created.as_ref()).as_bytes());
    let shutdown = Shutdown::default();
    let public_url = settings.public_url.clone();
    let trusted_proxies = settings.trusted_proxies.clone();
    let web = WebSettings { clock, metrics, shutdown: shutdown.clone(), prober, trusted_proxies, public_url };
    let requested_at = Arc::new(OnceLock::new());
    let request_time = Arc::clone(&requested_at);
    let wait_for_signal = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        shutdown.request();
        tracing::info!("shutdown requested, draining in-flight requests and deliveries");
        let _ = request_time.set(Instant::now());
    };
    serve(listener, router(engine.clone(), web), wait_for_signal, settings.drain).await;
    // The drain period covers all components together: each gets what those before it have left.
    let remaining = || settings.drain.saturating_sub(requested_at.get().map_or(Duration::ZERO, Instant::elapsed));
    scheduler.stop(remaining()).await;
    if engine.stop(remaining()).await {
        tracing::info!("shutdown complete");
    } else {
        tracing::warn!("shutdown timed out, unfinished deliveries will be retried at the next start");
    }
    Ok(())
}

fn prober(settings: &Settings, names: &Arc<DnsResolver>, roots: RootCertStore) -> Prober {
    Prober::new(ProberConfig {
        guard: Guard { allow: settings.allow_watch_targets.clone(), allow_http: true },
        resolver: names.clone(),
        names: names.clone(),
        roots,
        idle_max: IDLE_MAX,
        references: settings.watch_references.clone(),
    })
}

fn channel_context(settings: &Settings, names: &Arc<DnsResolver>, roots: RootCertStore) -> ChannelContext {
    let guard = Guard { allow: settings.allow_targets.clone(), allow_http: settings.allow_http };
    let mut context = ChannelContext::new(Arc::new(Egress::with(guard, names.clone(), roots)));
    context.relay.clone_from(&settings.mail);
    context.run_header_prefix.clone_from(&settings.run_header_prefix);
    context.workflow_header_prefix.clone_from(&settings.workflow_header_prefix);
    context
}

/// The address; after the first start also where the API key is, and a first request to try.
fn startup_banner(settings: &Settings, address: SocketAddr, created: Option<&Created>) -> String {
    let mut text = format!("Tidings {} listens on http://{address}\n", env!("CARGO_PKG_VERSION"));
    let Some(Created { slug, email, password, key }) = created else { return text };
    text += &format!("\nCreated the workspace `{slug}` in {}.\n", settings.data_dir.display());
    match password {
        Location::Configured => text += &format!("Its owner signs in as {email}, with TIDINGS_ADMIN_PASSWORD.\n"),
        Location::Banner(password) => {
            text += &format!("Its owner signs in as {email}. Password, shown only now: {}\n", password.expose());
        }
        Location::File(path) => {
            text += &format!("Its owner signs in as {email}. The password is in {}. ", path.display());
            text += "Remove this file after reading it.\n";
        }
    }
    let key = match key {
        Location::Configured => "$TIDINGS_API_KEY".to_owned(),
        Location::Banner(key) => {
            text += &format!("Its API key, which is not shown again: {}\n", key.expose());
            key.expose().to_owned()
        }
        Location::File(path) => {
            text += &format!("Its API key is in {}. Remove this file after reading it.\n", path.display());
            format!("$(cat {})", shell_quoted(&path.display().to_string()))
        }
    };
    let url = settings.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    text += &format!(
        r#"
Report a failed run:

  curl -X POST {url}/api/workspaces/{slug}/runs \
    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \
    -d '{{"resourceType":"job","resourceId":"nightly-backup","runId":"1","status":"failure","errorMessage":"disk full"}}'

"#
    );
    text
}

/// The text as one word of a POSIX shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
