//! The server itself: health, metrics, unknown paths and methods, connection limits, shutdown.

use std::time::Duration;

use http_body_util::Full;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ApiResponse, Service};

async fn bare(service: &Service, method: &str, path: &str) -> ApiResponse {
    service.execute(service.bare(method, path).body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn health_routes_need_no_api_key() {
    let service = Service::start().await;
    bare(&service, "GET", "/healthz").await.expect(200);
    bare(&service, "GET", "/readyz").await.expect(200);
    let metrics = bare(&service, "GET", "/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(metrics.text, "# nothing\n");

    service.shutdown.request();
    let shutdown = bare(&service, "GET", "/readyz").await;
    assert_eq!(shutdown.header("retry-after"), Some("5"));
    shutdown.problem(503, "unavailable");
    bare(&service, "GET", "/healthz").await.expect(200);
}

#[tokio::test]
async fn closed_store_makes_readyz_and_writes_return_503() {
    let service = Service::start().await;
    service.store.close().await;
    bare(&service, "GET", "/readyz").await.problem(503, "unavailable");
    let run = serde_json::json!({"resourceType": "flow", "resourceId": "f", "runId": "r", "status": "success"});
    let answered = service.post("/runs", &run).await;
    assert_eq!(answered.header("retry-after"), Some("5"));
    answered.problem(503, "unavailable");
}

#[tokio::test]
async fn unknown_path_and_method_return_problems() {
    let service = Service::start().await;
    for path in ["/", "/api", "/api/workspaces/default/nothing", "/healthz/x", "/%ff"] {
        bare(&service, "GET", path).await.problem(404, "not_found");
    }
    service.get("/channels/not-an-id").await.problem(404, "not_found");
    service.get("/channels/rule_00000000000000000000000000000000").await.problem(404, "not_found");
    for (method, path, allowed) in [
        ("PUT", "/api/workspaces/default/channels", "GET,HEAD,POST"),
        ("POST", "/healthz", "GET,HEAD"),
        ("OPTIONS", "/api/workspaces/default/events", "GET,HEAD"),
    ] {
        let answered = bare(&service, method, path).await;
        assert_eq!(answered.header("allow"), Some(allowed), "{method} {path}");
        answered.problem(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let service = Service::start().await;
    let paths = [
        ("GET", "/healthz", 200),
        ("HEAD", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/healthz", 405),
        ("GET", "/api/workspaces/default/channels", 401),
        ("POST", "/in/alertmanager/unknown", 404),
    ];
    let mut ids = std::collections::HashSet::new();
    for (method, path, status) in paths {
        let made = service.execute(service.bare(method, path).body(Full::default()).unwrap()).await;
        assert_eq!(made.status.as_u16(), status, "{method} {path}");
        ids.insert(made.header("x-request-id").unwrap().to_owned());
        let request = service.bare(method, path).header("x-request-id", "7f3c8e51-0b0a").body(Full::default());
        let kept = service.execute(request.unwrap()).await;
        assert_eq!(kept.header("x-request-id"), Some("7f3c8e51-0b0a"), "{method} {path}");
    }
    assert_eq!(ids.len(), paths.len(), "each another");
    let write = service.post("/channels", &json!({})).await;
    assert!(write.header("x-request-id").is_some());
    assert!(!write.text.contains("requestId"), "only internal errors need it: {}", write.text);
}

#[tokio::test]
async fn head_returns_headers_of_get() {
    let service = Service::start().await;
    let answered = service.send("HEAD", "/channels", None).await;
    assert_eq!((answered.status.as_u16(), answered.text.as_str()), (200, ""));
}

#[tokio::test]
async fn declared_body_over_limit_is_rejected_before_reading() {
    let service = Service::start().await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = format!(
        "POST /api/workspaces/default/runs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 99999999\r\n\r\n",
        service.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn endless_headers_are_rejected() {
    let service = Service::start().await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ").await.unwrap();
    // The server may close the connection while the client still writes.
    let _ = stream.write_all(&vec![b'x'; 200_000]).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{:?}", String::from_utf8_lossy(&answer));
    bare(&service, "GET", "/healthz").await.expect(200);
}

#[tokio::test]
async fn shutdown_waits_for_requests_in_flight() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
    let (release, released) = tokio::sync::watch::channel(false);
    let handler = axum::routing::get(async move || {
        begun.send(()).await.unwrap();
        released.clone().wait_for(|released| *released).await.unwrap();
        "done"
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = axum::Router::new().route("/slow", handler);
    let serving =
        tokio::spawn(tidings_web::serve(listener, router, async { drop(stopped.await) }, Duration::from_secs(30)));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    has_begun.recv().await.unwrap();
    stop.send(()).unwrap();
    release.send(true).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    assert!(serving.await.unwrap(), "all was finished");
    assert!(TcpStream::connect(address).await.is_err(), "nothing more is taken");
}

#[tokio::test]
async fn shutdown_closes_idle_connections() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = axum::Router::new().route("/", axum::routing::get(async || "done"));
    let serving =
        tokio::spawn(tidings_web::serve(listener, router, async { drop(stopped.await) }, Duration::from_secs(30)));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        answer.clear();
        while !answer.ends_with(b"done") {
            stream.read_buf(&mut answer).await.unwrap();
        }
    }
    stop.send(()).unwrap();
    assert_eq!(stream.read_to_end(&mut answer).await.unwrap(), 0);
    assert!(serving.await.unwrap(), "all was finished");
}
