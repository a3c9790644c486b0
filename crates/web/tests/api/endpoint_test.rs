//! `POST /endpoints/test`: the result is returned at once, and nothing is stored.

use std::sync::Arc;

use futures_util::future::join_all;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::endpoints::{made, path};
use crate::harness::Service;
use crate::receiver::Receiver;

async fn test(service: &Service, body: Value) -> Value {
    service.post("/endpoints/test", &body).await.expect(200)
}

#[tokio::test]
async fn endpoint_test_returns_timings_and_assertions() {
    let service = Service::start().await;
    let target = Receiver::start().await;
    let seen = test(
        &service,
        json!({"type": "http", "url": target.url, "assertions": [
            {"kind": "body", "operator": "contains", "value": "answered"},
            {"kind": "latency", "operator": "lt", "value": "5000"},
            {"kind": "header", "operator": "exists", "target": "x-not-there", "severity": "degraded"},
        ]}),
    )
    .await;
    assert_eq!((&seen["status"], &seen["statusCode"]), (&json!("degraded"), &json!(200)), "{seen}");
    assert!(seen["statusReason"].as_str().unwrap().contains("x-not-there"), "{seen}");
    assert!(seen["timings"]["totalMs"].is_u64() && seen["timings"]["connectMs"].is_u64(), "{seen}");
    assert_eq!(
        (&seen["timings"]["tlsMs"], &seen["certificate"], &seen["failure"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let assertions = seen["assertions"].as_array().unwrap();
    let passed: Vec<_> = assertions.iter().map(|one| one["passed"] == true).collect();
    assert_eq!(passed, [true, true, false]);
    assert_eq!((&assertions[0]["kind"], &assertions[0]["value"]), (&json!("body"), &json!("answered")));
    assert_eq!(assertions[0]["actual"], "answered 200");
    assert_eq!((&assertions[2]["severity"], &assertions[2]["actual"]), (&json!("degraded"), &Value::Null));
    assert!(assertions[2]["description"].is_string());
}

#[tokio::test]
async fn endpoint_test_describes_each_failure() {
    let service = Service::start().await;
    let target = Receiver::start().await;
    target.answer(502);
    let seen = test(&service, json!({"type": "http", "url": target.url})).await;
    assert_eq!((&seen["status"], &seen["statusReason"]), (&json!("down"), &json!("HTTP 502 — expected 200")));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let seen = test(&service, json!({"type": "tcp", "host": "127.0.0.1", "port": closed.port()})).await;
    assert_eq!((&seen["status"], &seen["failure"]), (&json!("down"), &json!("refused")), "{seen}");
    assert_eq!((&seen["statusCode"], &seen["responseTimeMs"]), (&Value::Null, &Value::Null));
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = open.local_addr().unwrap().port();
    assert_eq!(test(&service, json!({"type": "tcp", "host": "127.0.0.1", "port": port})).await["status"], "healthy");
    let never = Receiver::start_waiting().await;
    let seen = test(&service, json!({"type": "http", "url": never.url, "timeoutMs": 200})).await;
    assert_eq!((&seen["status"], &seen["failure"]), (&json!("down"), &json!("timeout")), "{seen}");
}

#[tokio::test]
async fn endpoint_test_merges_overrides_without_storing_them() {
    let service = Service::start().await;
    let mut target = Receiver::start().await;
    let body = json!({"url": target.url, "auth": {"type": "bearer", "token": "t0p"}, "headers": {"X-A": "1"}});
    let endpoint = made(&service, body).await;
    let id = &endpoint["id"];
    assert_eq!(test(&service, json!({"endpointId": id})).await["status"], "healthy");
    let asked = target.next().await;
    assert_eq!((asked.header("authorization"), asked.header("x-a")), ("Bearer t0p", "1"));
    assert!(asked.header("user-agent").starts_with("Tidings/"));
    let over = json!({"endpointId": id, "expectedStatusCodes": [204], "headers": {"X-A": "2"}, "auth": {"token": ""}});
    assert_eq!(test(&service, over).await["statusReason"], "HTTP 200 — expected 204");
    let asked = target.next().await;
    assert_eq!((asked.header("authorization"), asked.header("x-a")), ("Bearer t0p", "2"));
    let none = json!({"endpointId": id, "auth": null});
    test(&service, none).await;
    assert!(!target.next().await.headers.contains_key("authorization"));

    // A secret that was set for one origin is not sent to another.
    let mut elsewhere = Receiver::start().await;
    let moved = json!({"endpointId": id, "url": elsewhere.url});
    assert_eq!(service.post("/endpoints/test", &moved).await.problem(422, "invalid"), ["/headers/X-A", "/auth/token"]);
    assert!(elsewhere.is_quiet());
    let anew = json!({"endpointId": id, "url": elsewhere.url, "auth": {"token": "other"}, "headers": {}});
    test(&service, anew).await;
    assert_eq!(elsewhere.next().await.header("authorization"), "Bearer other");

    let mut after = service.get(&path(&endpoint)).await.expect(200);
    after.as_object_mut().unwrap().remove("uptime");
    assert_eq!(after, endpoint, "nothing is kept");
    assert_eq!(service.get(&format!("{}/checks", path(&endpoint))).await.expect(200)["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_endpoint_tests_of_a_workspace_are_limited() {
    let service = Arc::new(Service::start().await);
    let mut target = Receiver::start_waiting().await;
    let body = json!({"type": "http", "url": target.url});
    let under_way: Vec<_> = (0..8)
        .map(|_| {
            let (service, body) = (Arc::clone(&service), body.clone());
            tokio::spawn(async move { test(&service, body).await["status"].clone() })
        })
        .collect();
    for _ in 0..8 {
        target.next().await;
    }
    let refused = service.post("/endpoints/test", &body).await;
    assert!(refused.header("retry-after").is_some());
    refused.problem(503, "unavailable");
    // Another workspace has slots of its own.
    let request =
        service.bare("POST", "/api/workspaces/other/endpoints/test").header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {}", service.other_key));
    let other = {
        let (service, body) = (Arc::clone(&service), Full::from(body.to_string()));
        tokio::spawn(async move { service.execute(request.body(body).unwrap()).await.expect(200)["status"].clone() })
    };
    target.next().await;
    target.may_answer.add_permits(10);
    assert_eq!(other.await.unwrap(), "healthy");
    for one in join_all(under_way).await {
        assert_eq!(one.unwrap(), "healthy");
    }
    assert_eq!(test(&service, body).await["status"], "healthy", "a slot is free again");
}

#[tokio::test]
async fn invalid_endpoint_test_returns_422() {
    let service = Service::start().await;
    let id = made(&service, json!({})).await["id"].clone();
    for (body, pointer) in [
        (json!({}), "/type"),
        (json!({"endpointId": 5}), "/endpointId"),
        (json!({"endpointId": "ep_1"}), "/endpointId"),
        (json!({"endpointId": id, "timeoutMs": 0}), "/timeoutMs"),
        (json!({"endpointId": id, "type": "dns"}), "/host"),
        (json!({"type": "http", "url": "nonsense"}), "/url"),
        (json!({"type": "http", "url": "https://example.com/", "colour": 1}), "/colour"),
        (json!({"type": "dns", "host": "example.com", "recordType": "SRV"}), "/recordType"),
    ] {
        assert_eq!(service.post("/endpoints/test", &body).await.problem(422, "invalid"), [pointer], "{body}");
    }
    let unknown_id = crate::harness::unknown_id::<tidings_domain::id::EndpointId>();
    service.post("/endpoints/test", &json!({"endpointId": unknown_id})).await.problem(404, "not_found");
}
