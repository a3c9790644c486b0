//! Endpoints: creation, edits, lists.

use std::sync::Arc;

use http_body_util::Full;
use serde_json::{Value, json};
use tidings_engine::Options;
use tidings_engine::clock::SystemClock;
use tidings_engine::settings::SettingsLimits;

use crate::harness::{ApiResponse, Service};

/// Creates an endpoint of this body, with a default name and URL.
pub async fn made(service: &Service, body: Value) -> Value {
    let mut whole = json!({"name": "Production API", "type": "http", "url": "https://api.example.com/health"});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    service.post("/endpoints", &whole).await.expect(201)["endpoint"].clone()
}

/// The path of a created endpoint.
pub fn path(endpoint: &Value) -> String {
    format!("/endpoints/{}", endpoint["id"].as_str().unwrap())
}

/// Creates a shared webhook channel and returns its id.
pub async fn channel(service: &Service, url: &str) -> String {
    let body = json!({"name": "a channel", "type": "webhook", "config": {"url": url}});
    service.post("/channels", &body).await.expect(201)["channel"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn new_endpoint_has_documented_defaults() {
    let service = Service::start().await;
    let body = json!({"name": "Production API", "type": "http", "url": "https://api.example.com/health", "body": null});
    let answered = service.post("/endpoints", &body).await;
    assert_eq!(answered.header("etag"), Some("\"1\""));
    let mut endpoint = answered.expect(201)["endpoint"].clone();
    let shown = service.get(&path(&endpoint)).await.expect(200);
    assert_eq!(shown["uptime"], json!({"last24Hours": null, "last30Days": null}));
    for varying in ["id", "createdAt", "updatedAt"] {
        assert_eq!(shown[varying], endpoint[varying]);
        assert!(endpoint.as_object_mut().unwrap().remove(varying).unwrap().is_string(), "{varying}");
    }
    assert_eq!(
        endpoint,
        json!({
            "name": "Production API", "type": "http", "url": "https://api.example.com/health", "method": "GET",
            "headers": {}, "body": null, "auth": null, "followRedirects": true, "expectedStatusCodes": [200],
            "tls": {"verify": "full"},
            "assertions": [], "intervalSeconds": 60, "timeoutMs": 10_000, "latencyThresholdMs": 5_000,
            "sslWarningDays": 14, "severity": "critical", "failureThreshold": 3, "recoveryThreshold": 2,
            "cooldownSeconds": 0,
            "recoveryAlert": true, "parentId": null, "reminderMinutes": null, "maintenanceWindows": [],
            "escalation": [], "tags": [], "enabled": true, "status": "pending", "lastCheck": null, "incidentId": null,
            "revision": 1,
        })
    );
}

#[tokio::test]
async fn endpoint_fields_round_trip() {
    let service = Service::start().await;
    let parent = made(&service, json!({})).await;
    let channel = channel(&service, "https://example.com/hook").await;
    let body = json!({
        "name": "Shop", "type": "http", "url": "https://shop.example.com/api?x=1", "method": "POST",
        "headers": {"X-B": "1", "Content-Type": "application/json"}, "body": "{}",
        "auth": {"type": "basic", "username": "u", "password": "hunter2"}, "followRedirects": false,
        "expectedStatusCodes": [200, "204-206"],
        "assertions": [
            {"kind": "json", "operator": "equals", "target": "status", "value": "ok", "severity": "down"},
            {"kind": "latency", "operator": "lt", "value": "800", "severity": "degraded"},
        ],
        "intervalSeconds": 30, "timeoutMs": 5_000, "latencyThresholdMs": 900, "sslWarningDays": 30, "severity": "info",
        "failureThreshold": 2, "recoveryThreshold": 1, "cooldownSeconds": 600, "recoveryAlert": false,
        "parentId": parent["id"], "reminderMinutes": 30,
        "maintenanceWindows": [
            {"kind": "once", "startsAt": "2026-05-02T01:00:00.000Z", "endsAt": "2026-05-02T04:30:00.000Z"},
            {"kind": "recurring", "days": ["sat"], "start": "02:00", "durationMinutes": 60, "timezone": "Europe/Zurich"},
        ],
        "escalation": [{"afterSeconds": 900, "channelId": channel}], "tags": ["shop", "eu"], "enabled": false,
    });
    let answered = service.post("/endpoints", &body).await;
    assert!(!answered.text.contains("hunter2"), "the password is not shown");
    let endpoint = answered.expect(201)["endpoint"].clone();
    let shown = service.get(&path(&endpoint)).await.expect(200);
    for (key, value) in body.as_object().unwrap() {
        let masked = match key.as_str() {
            "auth" => Some(json!({"type": "basic", "username": "u"})),
            "headers" => Some(json!({"X-B": "•••", "Content-Type": "application/json"})),
            "body" => Some(json!("•••")),
            _ => None,
        };
        let expected = masked.as_ref().unwrap_or(value);
        assert_eq!((&shown[key], &endpoint[key]), (expected, expected), "{key}");
    }
    assert_eq!(shown["status"], "paused");
}

#[tokio::test]
async fn each_endpoint_type_has_its_own_fields() {
    let service = Service::start().await;
    for body in [
        json!({"name": "a", "type": "tcp", "host": "db.example.com", "port": 5432}),
        json!({"name": "a", "type": "icmp", "host": "db.example.com"}),
        json!({"name": "a", "type": "dns", "host": "example.com", "recordType": "MX", "expectedValue": "mail.example.com"}),
        json!({"name": "a", "type": "tls", "host": "example.com", "port": 8443, "tls": {"verify": "none"}}),
        json!({"name": "a", "type": "tls", "host": "db.example.com", "port": 443,
               "tls": {"verify": "expiry_only", "serverName": "example.com"}}),
        json!({"name": "a", "type": "external", "heartbeatSeconds": 300}),
        json!({"name": "a", "type": "external", "heartbeatSeconds": null}),
    ] {
        let endpoint = service.post("/endpoints", &body).await.expect(201)["endpoint"].clone();
        for (key, value) in body.as_object().unwrap() {
            assert_eq!(&endpoint[key], value, "{key}");
        }
        assert_eq!(endpoint.get("url"), None);
    }
}

#[tokio::test]
async fn endpoint_patch_changes_named_fields_only() {
    let service = Service::start().await;
    let before = made(&service, json!({"reminderMinutes": 5, "tags": ["a"], "headers": {"Accept": "1"}})).await;
    let edit = json!({"name": "Other", "reminderMinutes": null, "headers": {"Pragma": "2"}, "timeoutMs": 3_000});
    let answered = service.patch(&path(&before), &edit).await;
    assert_eq!(answered.header("etag"), Some("\"2\""));
    let mut after = answered.expect(200)["endpoint"].clone();
    for (key, value) in edit.as_object().unwrap() {
        assert_eq!(&after[key], value, "{key}");
        after[key] = before[key].clone();
    }
    (after["revision"], after["updatedAt"]) = (json!(1), before["updatedAt"].clone());
    assert_eq!(after, before);
}

#[tokio::test]
async fn type_change_requires_new_fields_and_drops_old_ones() {
    let service = Service::start().await;
    let endpoint = made(&service, json!({"intervalSeconds": 90, "auth": {"type": "bearer", "token": "t"}})).await;
    let path = path(&endpoint);
    let pointers = service.patch(&path, &json!({"type": "tcp"})).await.problem(422, "invalid");
    assert_eq!(pointers, ["/host", "/port"]);
    let mixed = json!({"type": "tcp", "host": "db.example.com", "port": 5432, "url": "https://a.example.com/"});
    assert_eq!(service.patch(&path, &mixed).await.problem(422, "invalid"), ["/url"]);
    let edit = json!({"type": "tcp", "host": "db.example.com", "port": 5432});
    let edited = service.patch(&path, &edit).await.expect(200)["endpoint"].clone();
    assert_eq!((&edited["host"], &edited["intervalSeconds"], edited.get("url")), (&edit["host"], &json!(90), None));
    let back = json!({"type": "http", "url": "https://api.example.com/"});
    let edited = service.patch(&path, &back).await.expect(200)["endpoint"].clone();
    assert_eq!((&edited["auth"], &edited["method"]), (&Value::Null, &json!("GET")), "nothing is remembered");
}

#[tokio::test]
async fn endpoint_secret_is_hidden_and_bound_to_its_origin() {
    let service = Service::start().await;
    let auth = json!({"auth": {"type": "basic", "username": "u", "password": "hunter2"}});
    let path = path(&made(&service, auth).await);
    for kept in [
        json!({"name": "b"}),
        json!({"auth": {"type": "basic", "username": "v"}}),
        json!({"auth": {"password": ""}}),
        json!({"url": "https://api.example.com/other"}),
    ] {
        let answered = service.patch(&path, &kept).await;
        assert!(!answered.text.contains("hunter2"), "{}", answered.text);
        answered.expect(200);
    }
    for shown in [service.get(&path).await, service.get("/endpoints").await] {
        assert!(shown.text.contains("\"username\":\"v\"") && !shown.text.contains("hunter2"), "{}", shown.text);
    }
    for (edit, pointer) in [
        (json!({"url": "https://elsewhere.example.com/"}), "/auth/password"),
        (json!({"url": "http://api.example.com/"}), "/auth/password"),
        (json!({"url": "https://api.example.com:8443/", "auth": {"username": "w"}}), "/auth/password"),
        (json!({"auth": {"type": "bearer"}}), "/auth/token"),
        (json!({"auth": {"type": "bearer", "token": ""}}), "/auth/token"),
        (json!({"auth": {"type": "bearer", "token": "a\nb"}}), "/auth/token"),
        (json!({"auth": {"type": "bearer", "token": "a", "password": "b"}}), "/auth/password"),
        (json!({"auth": {"type": "digest"}}), "/auth/type"),
        (json!({"auth": "Basic Zm9v"}), "/auth"),
    ] {
        assert_eq!(service.patch(&path, &edit).await.problem(422, "invalid"), [pointer], "{edit}");
    }
    let moved = json!({"url": "https://elsewhere.example.com/", "auth": {"password": "another"}});
    assert_eq!(service.patch(&path, &moved).await.expect(200)["endpoint"]["auth"]["username"], "v");
    let none = service.patch(&path, &json!({"auth": null})).await.expect(200);
    assert_eq!(none["endpoint"]["auth"], Value::Null);
    assert_eq!(
        service.patch(&path, &json!({"auth": {"type": "bearer"}})).await.problem(422, "invalid"),
        ["/auth/token"]
    );
}

async fn if_match(service: &Service, method: &str, path: &str, tag: &str) -> ApiResponse {
    let request = service.request(method, path).header("if-match", tag).header("content-type", "application/json");
    service.execute(request.body(Full::from(if method == "PATCH" { "{\"name\":\"x\"}" } else { "" })).unwrap()).await
}

#[tokio::test]
async fn stale_endpoint_edit_returns_412() {
    let service = Service::start().await;
    let path = path(&made(&service, json!({})).await);
    if_match(&service, "PATCH", &path, "\"1\"").await.expect(200);
    for (method, path) in [("PATCH", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/pause"))] {
        if_match(&service, method, &path, "\"1\"").await.problem(412, "revision_mismatch");
    }
    if_match(&service, "DELETE", &path, "\"2\"").await.expect(204);
    service.get(&path).await.problem(404, "not_found");
}

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn endpoint_list_supports_filters_and_pages() {
    let service = Service::start().await;
    made(&service, json!({"name": "one", "tags": ["eu", "shop"]})).await;
    made(&service, json!({"name": "two", "url": "https://www.example.org/", "enabled": false})).await;
    let tcp = json!({"name": "three", "type": "tcp", "host": "db.example.net", "port": 1, "tags": ["eu"]});
    let three = service.post("/endpoints", &tcp).await.expect(201)["endpoint"].clone();
    service.post(&format!("{}/checks", path(&three)), &json!({"status": "degraded"})).await.expect(202);
    for (query, expected) in [
        ("", &["three", "two", "one"][..]),
        ("?tag=eu", &["three", "one"]),
        ("?type=http", &["two", "one"]),
        ("?status=degraded", &["three"]),
        ("?status=paused", &["two"]),
        ("?status=pending", &["one"]),
        ("?status=down", &[]),
        ("?q=EXAMPLE.org", &["two"]),
        ("?q=shop", &["one"]),
        ("?q=HREE&tag=eu", &["three"]),
    ] {
        assert_eq!(names(&service.get(&format!("/endpoints{query}")).await.expect(200)), expected, "{query}");
    }
    let first = service.get("/endpoints?limit=2").await.expect(200);
    assert_eq!(names(&first), ["three", "two"]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = service.get(&format!("/endpoints?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((names(&second), &second["nextCursor"]), (vec!["one"], &Value::Null));
    for (query, pointer) in
        [("?status=fine", "/status"), ("?type=ftp", "/type"), ("?limit=0", "/limit"), ("?colour=red", "/colour")]
    {
        assert_eq!(service.get(&format!("/endpoints{query}")).await.problem(422, "invalid"), [pointer]);
    }
}

#[tokio::test]
async fn tls_settings_are_merged_and_kept_in_their_normal_form() {
    let service = Service::start().await;
    let endpoint = made(&service, json!({"tls": {"verify": "none", "serverName": "a.example.com"}})).await;
    assert_eq!(endpoint["tls"], json!({"verify": "none", "serverName": "a.example.com"}));
    for (edit, expected) in [
        (json!({"verify": "full"}), json!({"verify": "full", "serverName": "a.example.com"})),
        (json!({"serverName": null}), json!({"verify": "full"})),
        (json!({"verify": "expiry_only", "serverName": ""}), json!({"verify": "expiry_only"})),
        (json!({}), json!({"verify": "expiry_only"})),
        (Value::Null, json!({"verify": "full"})),
    ] {
        let edited = service.patch(&path(&endpoint), &json!({"tls": edit})).await.expect(200)["endpoint"].clone();
        assert_eq!(edited["tls"], expected, "{edit}");
        assert_eq!(service.get(&path(&endpoint)).await.expect(200)["tls"], expected);
    }
    service.patch(&path(&endpoint), &json!({"tls": {"verify": "none"}})).await.expect(200);
    let cloned = service.post(&format!("{}/clone", path(&endpoint)), &json!({})).await.expect(201);
    assert_eq!(cloned["endpoint"]["tls"]["verify"], "none");
}

#[tokio::test]
async fn unverified_tls_is_refused_together_with_secrets() {
    let service = Service::start().await;
    let auth = json!({"type": "bearer", "token": "t0p"});
    for verify in ["none", "expiry_only"] {
        let tls = json!({"verify": verify});
        for secret in [
            json!({"auth": auth}),
            json!({"headers": {"X-Api-Key": "1"}}),
            json!({"headers": {"Cookie": "session=1"}}),
            json!({"headers": {"X-Auth-Token": "1"}}),
        ] {
            let mut body = json!({"name": "a", "type": "http", "url": "https://example.com/", "tls": tls});
            body.as_object_mut().unwrap().extend(secret.as_object().unwrap().clone());
            for path in ["/endpoints", "/endpoints/test"] {
                let refused = service.post(path, &body).await;
                assert!(refused.text.contains("TIDINGS_ALLOW_INSECURE_TLS"), "{}", refused.text);
                assert_eq!(refused.problem(422, "invalid"), ["/tls/verify"], "{body}");
            }
        }
        made(&service, json!({"tls": tls, "headers": {"X-Region": "eu"}})).await;
        // Neither order of two edits goes around it.
        let unverified = made(&service, json!({"tls": tls})).await;
        let refused = service.patch(&path(&unverified), &json!({"auth": auth})).await;
        assert_eq!(refused.problem(422, "invalid"), ["/tls/verify"]);
        let secretive = made(&service, json!({"auth": auth})).await;
        let refused = service.patch(&path(&secretive), &json!({"tls": tls})).await;
        assert_eq!(refused.problem(422, "invalid"), ["/tls/verify"]);
    }
    let settings = SettingsLimits { allow_insecure_tls: true, ..SettingsLimits::default() };
    let options = Options { settings, ..Options::default() };
    let service = Service::start_with(options, Arc::new(SystemClock::default())).await;
    made(&service, json!({"tls": {"verify": "none"}, "auth": auth})).await;
}
