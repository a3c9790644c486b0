//! Health and metrics: for whoever runs the service, without a key.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::json;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::Clock;
use tokio::sync::Mutex;

use crate::answer::{Answer, ok};
use crate::auth::App;
use crate::problem::{Code, Problem};

/// How long an answer on the store holds, in milliseconds. Asking costs a write, and anybody may ask.
const ANSWER_HOLDS_MS: u64 = 1_000;

/// When it was last asked whether the store can be written, and the answer.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Timestamp, bool)>>);

impl Readiness {
    /// The answer while it holds, else a fresh one. Who comes while one is fetched waits for it.
    pub(crate) async fn known_or(&self, clock: &dyn Clock, ask: impl AsyncFnOnce() -> bool) -> bool {
        let mut known = self.0.lock().await;
        let now = clock.now();
        match *known {
            // A clock that was set back makes no answer last longer.
            Some((at, is_ready)) if at <= now && now.since_ms(at) < ANSWER_HOLDS_MS => is_ready,
            _ => {
                let is_ready = ask().await;
                *known = Some((clock.now(), is_ready));
                is_ready
            }
        }
    }
}

/// The process lives.
pub(crate) async fn alive() -> Answer {
    ok(&json!({"status": "ok"}))
}

/// It can take events in: it is not about to stop, and the store can be written.
pub(crate) async fn ready(State(app): State<App>) -> Answer {
    if app.settings().draining.has_begun() {
        return Err(Problem::new(Code::Unavailable, "this node is about to stop"));
    }
    if !app.is_ready().await {
        return Err(Problem::new(Code::Unavailable, "the store cannot be written"));
    }
    ok(&json!({"status": "ready"}))
}

/// The metrics, in Prometheus' text format.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let text = (app.settings().metrics)();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tidings_engine::clock::ManualClock;

    use super::*;

    #[tokio::test]
    async fn many_probes_ask_the_store_once_a_second() {
        let clock = ManualClock::at(Timestamp::from_unix_ms(10_000));
        let readiness = Readiness::default();
        let asked = AtomicU32::new(0);
        let ask = async |clock: &ManualClock, answer: bool| {
            let fresh = async || {
                asked.fetch_add(1, Ordering::Relaxed);
                answer
            };
            (readiness.known_or(clock, fresh).await, asked.load(Ordering::Relaxed))
        };
        assert_eq!(ask(&clock, true).await, (true, 1));
        clock.advance_ms(999);
        assert_eq!(ask(&clock, false).await, (true, 1), "still known");
        clock.advance_ms(1);
        assert_eq!(ask(&clock, false).await, (false, 2));
        assert_eq!(ask(&clock, true).await, (false, 2), "a refusal holds as long");
        let set_back = ManualClock::at(Timestamp::from_unix_ms(9_000));
        assert_eq!(ask(&set_back, true).await, (true, 3));
    }
}
