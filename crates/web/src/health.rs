//! Health checks and metrics, which need no API key.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::json;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::Clock;
use tokio::sync::Mutex;

use crate::auth::AppState;
use crate::problem::{Code, Problem};
use crate::response::{ApiResult, ok};

/// How long the result of a store check is reused. A check costs a write, and `/readyz` needs no key.
const CACHE_MS: u64 = 1_000;

/// The last check of whether the store accepts writes: its time and result.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Timestamp, bool)>>);

impl Readiness {
    /// The cached result, or that of a fresh check.
    pub(crate) async fn cached_or(&self, clock: &dyn Clock, check: impl AsyncFnOnce() -> bool) -> bool {
        // Held during the check: concurrent requests wait for its result instead of checking themselves.
        let mut cached = self.0.lock().await;
        let now = clock.now();
        match *cached {
            // Without `at <= now`, a clock that was set back would keep the result for as long as it was set back.
            Some((at, is_ready)) if at <= now && now.since_ms(at) < CACHE_MS => is_ready,
            _ => {
                let is_ready = check().await;
                *cached = Some((clock.now(), is_ready));
                is_ready
            }
        }
    }
}

/// Liveness: the process answers.
pub(crate) async fn healthz() -> ApiResult {
    ok(&json!({"status": "ok"}))
}

/// Readiness: the node is not shutting down, and the store accepts writes.
pub(crate) async fn readyz(State(state): State<AppState>) -> ApiResult {
    if state.settings().shutdown.is_requested() {
        return Err(Problem::new(Code::Unavailable, "this node is shutting down"));
    }
    if !state.is_ready().await {
        return Err(Problem::new(Code::Unavailable, "the store cannot be written"));
    }
    ok(&json!({"status": "ready"}))
}

/// The metrics, in Prometheus' text format.
pub(crate) async fn metrics(State(state): State<AppState>) -> Response {
    let text = (state.settings().metrics)();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tidings_engine::clock::ManualClock;

    use super::*;

    #[tokio::test]
    async fn readiness_checks_the_store_at_most_once_a_second() {
        let clock = ManualClock::at(Timestamp::from_unix_ms(10_000));
        let readiness = Readiness::default();
        let checks = AtomicU32::new(0);
        let ready = async |clock: &ManualClock, result: bool| {
            let fresh = async || {
                checks.fetch_add(1, Ordering::Relaxed);
                result
            };
            (readiness.cached_or(clock, fresh).await, checks.load(Ordering::Relaxed))
        };
        assert_eq!(ready(&clock, true).await, (true, 1));
        clock.advance_ms(999);
        assert_eq!(ready(&clock, false).await, (true, 1), "still cached");
        clock.advance_ms(1);
        assert_eq!(ready(&clock, false).await, (false, 2));
        assert_eq!(ready(&clock, true).await, (false, 2), "a failure is cached as long");
        let set_back = ManualClock::at(Timestamp::from_unix_ms(9_000));
        assert_eq!(ready(&set_back, true).await, (true, 3));
    }
}
