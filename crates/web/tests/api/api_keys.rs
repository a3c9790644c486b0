//! API keys: made, used, expired, revoked.

use std::sync::Arc;

use http_body_util::Full;
use serde_json::{Value, json};
use tidings_domain::access::Role;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::ManualClock;

use crate::harness::{ApiResponse, Service};
use crate::people::{Browser, default, person};

async fn with_key(service: &Service, method: &str, path: &str, key: &str) -> ApiResponse {
    let request = service.bare(method, &default(path)).header("authorization", format!("Bearer {key}"));
    let request = request.header("x-forwarded-for", "203.0.113.5").header("content-type", "application/json");
    service.execute(request.body(Full::from(if method == "GET" { "" } else { "{}" })).unwrap()).await
}

fn key_of(made: &Value) -> String {
    made["keyOnce"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn key_is_made_shown_once_used_and_revoked() {
    let service = Service::start().await;
    person(&service, "ana@example.com", Some(Role::Admin)).await;
    let mut ana = Browser::of(&service, "ana@example.com").await;
    let made = ana.post(&default("/api-keys"), &json!({"name": "ci"})).await;
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let made = made.expect(201);
    let (key, id) = (key_of(&made), made["apiKey"]["id"].as_str().unwrap().to_owned());
    assert!(key.starts_with("tdg_"), "{key}");
    assert_eq!((&made["apiKey"]["createdBy"], &made["apiKey"]["lastUsedAt"]), (&json!("ana"), &Value::Null));

    with_key(&service, "GET", "/channels", &key).await.expect(200);
    let view = ana.get(&default(&format!("/api-keys/{id}"))).await.expect(200);
    assert!(view["lastUsedAt"].is_string() && view["lastUsedAddress"] == "203.0.113.5", "{view}");
    let listed = ana.get(&default("/api-keys")).await.expect(200);
    assert!(!listed.to_string().contains(&key), "{listed}");
    assert_eq!(listed["quota"], json!({"used": 3, "max": 100}));

    // Of another workspace it cannot be seen or revoked.
    let foreign = service.bare("DELETE", &format!("/api/workspaces/other/api-keys/{id}"));
    let foreign = foreign.header("authorization", format!("Bearer {}", service.other_key));
    service.execute(foreign.body(Full::default()).unwrap()).await.problem(404, "not_found");
    ana.delete(&default(&format!("/api-keys/{id}"))).await.expect(204);
    with_key(&service, "GET", "/channels", &key).await.problem(401, "unauthenticated");
    ana.delete(&default(&format!("/api-keys/{id}"))).await.problem(404, "not_found");
    ana.get(&default(&format!("/api-keys/{id}"))).await.problem(404, "not_found");
}

#[tokio::test]
async fn read_only_key_reads_and_key_expires() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_790_000_000_000)));
    let service = Service::start_at(Arc::clone(&clock)).await;
    let expires_at = clock_after(&clock, 60_000);
    let body = json!({"name": "reader", "readOnly": true, "expiresAt": expires_at});
    let key = key_of(&service.post("/api-keys", &body).await.expect(201));
    with_key(&service, "GET", "/channels", &key).await.expect(200);
    with_key(&service, "POST", "/channels", &key).await.problem(403, "read_only");
    with_key(&service, "POST", "/api-keys", &key).await.problem(403, "read_only");
    clock.advance_ms(59_999);
    with_key(&service, "GET", "/channels", &key).await.expect(200);
    clock.advance_ms(1);
    with_key(&service, "GET", "/channels", &key).await.problem(401, "unauthenticated");
}

fn clock_after(clock: &ManualClock, ms: u64) -> Value {
    use tidings_engine::clock::Clock as _;
    json!(clock.now().plus_ms(ms))
}

#[tokio::test]
async fn key_bad_input_is_named() {
    let service = Service::start().await;
    for (body, pointers) in [
        (json!({}), vec!["/name"]),
        (json!({"name": " ", "readOnly": "yes", "expiresAt": "tomorrow"}), vec!["/expiresAt", "/name", "/readOnly"]),
        (json!({"name": "a", "expiresAt": "2020-01-01T00:00:00Z"}), vec!["/expiresAt"]),
        (json!({"name": "x".repeat(201), "role": "owner"}), vec!["/name", "/role"]),
    ] {
        let mut found = service.post("/api-keys", &body).await.problem(422, "invalid");
        found.sort();
        assert_eq!(found, pointers, "{body}");
    }
    service.delete("/api-keys/nonsense").await.problem(404, "not_found");
}
