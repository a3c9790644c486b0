//! Health and metrics: for whoever runs the service, without a key.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::json;

use crate::answer::{Answer, ok};
use crate::auth::App;
use crate::problem::{Code, Problem};

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
