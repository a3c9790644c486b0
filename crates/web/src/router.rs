//! The router: every route, what stands around each of them, and what answers where there is none.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::routing::MethodFilter;
use tidings_engine::Engine;
use tidings_engine::clock::Clock;
use tidings_monitor::Prober;

use crate::auth::App;
use crate::observe::{Carried, Observed, observed};
use crate::problem::{Code, Problem};
use crate::{api, health, observe};

/// Renders the metrics as Prometheus reads them.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// How the doors are set.
#[derive(Clone)]
pub struct WebSettings {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Renders the metrics.
    pub metrics: RenderMetrics,
    /// Whether this node is about to stop.
    pub draining: Draining,
    /// Looks at endpoints, for those who test one.
    pub prober: Arc<Prober>,
    /// How the service is reached from outside, for URLs that are shown; none if it was not told.
    pub public_url: Option<String>,
}

/// A flag that is raised once, when the node is about to stop: from then on it is not ready. All clones are one.
#[derive(Clone, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// Raises it.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was raised.
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Draining").field(&self.has_begun()).finish()
    }
}

/// Everything that is served.
pub fn router(engine: Engine, settings: WebSettings) -> Router {
    observe::describe();
    let method_not_allowed = async || Problem::new(Code::MethodNotAllowed, "the Allow header names those it knows");
    api::router()
        .route("/in/alertmanager/{secret}", observed(MethodFilter::POST, Carried(api::alertmanager)))
        .route("/healthz", observed(MethodFilter::GET, health::alive))
        .route("/readyz", observed(MethodFilter::GET, health::ready))
        .route("/metrics", observed(MethodFilter::GET, health::metrics))
        .fallback(Observed(async || Problem::not_found("path")))
        .method_not_allowed_fallback(Observed(method_not_allowed))
        .with_state(App::new(engine, settings))
}
