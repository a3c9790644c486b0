//! Panics, disconnects, and request ids in answers and logs.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::StatusCode;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::oneshot;

use super::*;

fn request(method: &str) -> Request {
    Request::builder().method(method).uri("/").body(Body::empty()).unwrap()
}

#[tokio::test]
async fn panicking_handler_answers_500() {
    async fn panics() -> StatusCode {
        panic!("expected by this test")
    }
    let spawned = instrumented(MethodFilter::POST, RunToCompletion(panics));
    let router = Router::new().route("/", instrumented(MethodFilter::GET, panics).merge(spawned));
    let service = TowerToHyperService::new(router);
    for method in ["GET", "POST"] {
        let response = service.call(request(method)).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{method}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["code"], &body["requestId"]), (&"internal".into(), &id.into()));
    }
}

/// A log that tests read.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn log_lines_and_answer_have_the_request_id() {
    let lines = Lines::default();
    let writer = lines.clone();
    // With the highest threshold, as an operator may set it.
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::ERROR)
        .with_writer(move || writer.clone());
    let _log = tracing::subscriber::set_default(log.finish());
    async fn fails() -> StatusCode {
        tracing::error!("first");
        tokio::task::yield_now().await;
        tracing::error!("second");
        StatusCode::NO_CONTENT
    }
    let spawned = instrumented(MethodFilter::POST, RunToCompletion(fails));
    let router = Router::new().route("/", instrumented(MethodFilter::GET, fails).merge(spawned));
    let service = TowerToHyperService::new(router);
    for method in ["GET", "POST"] {
        let mut asked = request(method);
        asked.headers_mut().insert("x-request-id", HeaderValue::from_static("from-the-proxy"));
        for (asked, kept) in [(asked, true), (request(method), false)] {
            lines.0.lock().unwrap().clear();
            let response = service.call(asked).await.unwrap();
            let id = response.headers()["x-request-id"].to_str().unwrap();
            assert_eq!(id == "from-the-proxy", kept, "{id}");
            let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            let with_id = logged.lines().filter(|line| line.contains(&format!("id=\"{id}\"")));
            assert_eq!(with_id.count(), 2, "{method}: {logged}");
        }
    }
}

#[tokio::test]
async fn run_to_completion_survives_a_client_disconnect() {
    let (begun, has_begun) = oneshot::channel();
    let (ended, has_ended) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let signals = std::sync::Mutex::new(Some((begun, ended, released)));
    let handler = async move || {
        let (begun, ended, released) = signals.lock().unwrap().take().unwrap();
        begun.send(()).unwrap();
        released.await.unwrap();
        ended.send(()).unwrap();
    };
    let shared = Arc::new(handler);
    let handler = move || {
        let shared = Arc::clone(&shared);
        async move { shared().await }
    };
    let router = Router::new().route("/", post(RunToCompletion(handler)));
    let request = tokio::spawn(TowerToHyperService::new(router).call(request("POST")));
    has_begun.await.unwrap();
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    release.send(()).unwrap();
    has_ended.await.unwrap();
}
