//! The router: the routes of workspaces, those that need no API key, and the fallbacks.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::routing::MethodFilter;
use ipnet::IpNet;
use tidings_engine::Engine;
use tidings_engine::clock::Clock;
use tidings_monitor::Prober;
use tokio::sync::watch;

use crate::auth::AppState;
use crate::instrument::{Instrumented, RunToCompletion, instrumented};
use crate::problem::{Code, Problem};
use crate::{api, docs, health, instrument};

/// Renders all metrics in Prometheus' text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the server needs besides the engine.
#[derive(Clone)]
pub struct WebSettings {
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// For `/metrics`.
    pub metrics: RenderMetrics,
    /// Set when the node begins to shut down.
    pub shutdown: Shutdown,
    /// Probes endpoints for `POST /endpoints/test`.
    pub prober: Arc<Prober>,
    /// Peers whose forwarding headers are read.
    pub trusted_proxies: Vec<IpNet>,
    /// The base of the URLs in responses. None: not configured, and such URLs have a path only.
    pub public_url: Option<String>,
}

/// Whether a shutdown was requested: set once, after which `/readyz` answers 503 and streams end. Clones share the flag.
#[derive(Clone)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Shutdown {
    /// Requests the shutdown.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is requested.
    pub async fn requested(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|is_requested| *is_requested).await;
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shutdown").field(&self.is_requested()).finish()
    }
}

/// The router with every route of the service.
pub fn router(engine: Engine, settings: WebSettings) -> Router {
    instrument::describe_metrics();
    let method_not_allowed =
        async || Problem::new(Code::MethodNotAllowed, "see the Allow header for those it supports");
    api::router()
        .merge(docs::router())
        .route("/in/alertmanager/{secret}", instrumented(MethodFilter::POST, RunToCompletion(api::ingest_alertmanager)))
        .route("/healthz", instrumented(MethodFilter::GET, health::healthz))
        .route("/readyz", instrumented(MethodFilter::GET, health::readyz))
        .route("/metrics", instrumented(MethodFilter::GET, health::metrics))
        .fallback(Instrumented(async || Problem::not_found("path")))
        .method_not_allowed_fallback(Instrumented(method_not_allowed))
        .with_state(AppState::new(engine, settings))
}
