//! External endpoints: their checks are reported, silence is one, and they are never probed.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_domain::time::Timestamp;
use tidings_engine::clock::ManualClock;

use crate::endpoints::{made, path};
use crate::harness::Service;

const MINUTE_MS: u64 = 60_000;

async fn at_noon() -> (Service, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-05-02T12:00:00Z").unwrap()));
    (Service::start_at(Arc::clone(&clock)).await, clock)
}

async fn external(service: &Service, body: Value) -> Value {
    let mut whole = json!({"name": "Nightly backup", "type": "external"});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    service.post("/endpoints", &whole).await.expect(201)["endpoint"].clone()
}

#[tokio::test]
async fn silent_external_endpoint_goes_down_and_recovers_with_a_report() {
    let (service, clock) = at_noon().await;
    let body = json!({"heartbeatSeconds": 300, "failureThreshold": 2, "recoveryThreshold": 1, "severity": "warning"});
    let path = path(&external(&service, body).await);
    service.settle().await;
    let shown = service.get(&path).await.expect(200);
    assert_eq!((&shown["status"], &shown["heartbeatSeconds"]), (&json!("pending"), &json!(300)));
    let report = async |check: Value| service.post(&format!("{path}/checks"), &check).await.expect(202);
    report(json!({"status": "healthy", "responseTimeMs": 12})).await;
    assert_eq!(service.get(&path).await.expect(200)["status"], "healthy");
    let mut passed_ms = 0;
    for (minutes, status, has_incident) in [(4, "healthy", false), (5, "down", false), (10, "down", true)] {
        clock.advance_ms(minutes * MINUTE_MS - passed_ms);
        passed_ms = minutes * MINUTE_MS;
        service.settle().await;
        let shown = service.get(&path).await.expect(200);
        assert_eq!(shown["status"], status, "after {minutes} minutes: {shown}");
        assert_eq!(shown["incidentId"].is_string(), has_incident, "after {minutes} minutes");
        if status == "down" {
            assert_eq!(shown["lastCheck"]["statusReason"], "nothing reported for 5 min");
        }
    }
    let incident = service.get(&path).await.expect(200)["incidentId"].as_str().unwrap().to_owned();
    let incident = service.get(&format!("/incidents/{incident}")).await.expect(200);
    assert_eq!((&incident["severity"], &incident["url"]), (&json!("warning"), &Value::Null), "{incident}");
    assert_eq!(report(json!({"status": "healthy"})).await["incident"]["transition"], "resolved");
    clock.advance_ms(4 * MINUTE_MS);
    service.settle().await;
    assert_eq!(service.get(&path).await.expect(200)["status"], "healthy");
    let checks = service.get(&format!("{path}/checks")).await.expect(200);
    assert_eq!(checks["data"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn external_endpoint_has_no_test() {
    let (service, _) = at_noon().await;
    let id = external(&service, json!({})).await["id"].clone();
    for (body, pointer) in [
        (json!({"endpointId": id}), "/endpointId"),
        (json!({"type": "external"}), "/type"),
        (json!({"endpointId": id, "type": "external"}), "/type"),
    ] {
        let answered = service.post("/endpoints/test", &body).await;
        assert!(answered.text.contains("/endpoints/{id}/checks"), "{}", answered.text);
        assert_eq!(answered.problem(422, "invalid"), [pointer], "{body}");
    }
}

#[tokio::test]
async fn settings_of_probes_are_refused_on_external_endpoints() {
    let (service, _) = at_noon().await;
    for (key, value, pointer) in [
        ("url", json!("https://example.com/"), "/url"),
        ("host", json!("example.com"), "/host"),
        ("tls", json!({"verify": "none"}), "/tls"),
        ("intervalSeconds", json!(30), "/intervalSeconds"),
        ("timeoutMs", json!(1_000), "/timeoutMs"),
        ("latencyThresholdMs", json!(1_000), "/latencyThresholdMs"),
        ("sslWarningDays", json!(30), "/sslWarningDays"),
        ("assertions", json!([{"kind": "latency", "operator": "lt", "value": "5"}]), "/assertions/0/kind"),
        ("heartbeatSeconds", json!(9), "/heartbeatSeconds"),
        ("heartbeatSeconds", json!(2_592_001), "/heartbeatSeconds"),
        ("heartbeatSeconds", json!("60"), "/heartbeatSeconds"),
    ] {
        let body = json!({"name": "a", "type": "external", key: value});
        assert_eq!(service.post("/endpoints", &body).await.problem(422, "invalid"), [pointer], "{key}");
    }
    // What a reading client sends back is no violation.
    let endpoint = external(&service, json!({"heartbeatSeconds": 60})).await;
    let same = json!({"intervalSeconds": endpoint["intervalSeconds"], "assertions": [], "heartbeatSeconds": 60});
    service.patch(&path(&endpoint), &same).await.expect(200);
}

#[tokio::test]
async fn endpoint_becomes_external_and_is_probed_again() {
    let (service, clock) = at_noon().await;
    let assertions = json!([{"kind": "body", "operator": "contains", "value": "ok"}]);
    let before = made(&service, json!({"intervalSeconds": 30, "timeoutMs": 5_000, "assertions": assertions})).await;
    let path = path(&before);
    let edited = service.patch(&path, &json!({"type": "external", "heartbeatSeconds": 60})).await.expect(200);
    let edited = &edited["endpoint"];
    assert_eq!((&edited["type"], &edited["assertions"], edited.get("url")), (&json!("external"), &json!([]), None));
    service.settle().await;
    clock.advance_ms(MINUTE_MS);
    service.settle().await;
    assert_eq!(service.get(&path).await.expect(200)["lastCheck"]["statusReason"], "nothing reported for 1 min");
    let cloned = service.post(&format!("{path}/clone"), &json!({})).await.expect(201)["endpoint"].clone();
    assert_eq!((&cloned["type"], &cloned["heartbeatSeconds"]), (&json!("external"), &json!(60)));
    assert_eq!(service.get("/endpoints?type=external").await.expect(200)["data"].as_array().unwrap().len(), 2);
    let back = json!({"type": "tcp", "host": "db.example.com", "port": 5432});
    let back = service.patch(&path, &back).await.expect(200)["endpoint"].clone();
    assert_eq!((&back["type"], back.get("heartbeatSeconds")), (&json!("tcp"), None));
    clock.advance_ms(10 * MINUTE_MS);
    service.settle().await;
    let checks = service.get(&format!("{path}/checks")).await.expect(200);
    assert_eq!(checks["data"].as_array().unwrap().len(), 1, "no heartbeat any more");
}
