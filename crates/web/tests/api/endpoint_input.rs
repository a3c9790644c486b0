//! Invalid endpoints: each violation with its pointer, on creation, edit and test.

use serde_json::{Value, json};
use tidings_domain::id::{ChannelId, EndpointId};

use crate::endpoints::{channel, made, path};
use crate::harness::{Service, unknown_id};

fn right() -> Value {
    json!({"name": "a", "type": "http", "url": "https://api.example.com/health"})
}

fn assertion(kind: &str, operator: &str, target: Value, value: Value) -> Value {
    json!([{"kind": kind, "operator": operator, "target": target, "value": value, "severity": "down"}])
}

fn once(starts_at: &str, ends_at: &str) -> Value {
    json!([{"kind": "once", "startsAt": starts_at, "endsAt": ends_at}])
}

fn recurring(key: &str, value: Value) -> Value {
    let mut window =
        json!({"kind": "recurring", "days": ["sat"], "start": "02:00", "durationMinutes": 60, "timezone": "UTC"});
    window[key] = value;
    json!([window])
}

/// A change that makes a body invalid, and the pointer of the violation.
fn wrongs() -> Vec<(&'static str, Value, &'static str)> {
    let many = |item: Value, count: usize| Value::from(vec![item; count]);
    let steps = |seconds: &[u32]| {
        let step = |after: &u32| json!({"afterSeconds": after, "channelId": unknown_id::<ChannelId>()});
        Value::from(seconds.iter().map(step).collect::<Vec<_>>())
    };
    vec![
        ("name", json!(" "), "/name"),
        ("name", json!("x".repeat(101)), "/name"),
        ("name", json!("a\nb"), "/name"),
        ("name", json!(5), "/name"),
        ("type", json!("gopher"), "/type"),
        ("url", json!(""), "/url"),
        ("url", json!(5), "/url"),
        ("url", json!("ftp://example.com/"), "/url"),
        ("url", json!("https://user:password@example.com/"), "/url"),
        ("url", json!("https://example.com/a b"), "/url"),
        ("url", json!(format!("https://example.com/{}", "x".repeat(2_048))), "/url"),
        ("url", json!("http://169.254.169.254/latest/meta-data"), "/url"),
        ("url", json!("http://10.0.0.1/"), "/url"),
        ("url", json!("http://0xa000001/"), "/url"),
        ("method", json!("TRACE"), "/method"),
        ("method", json!("get"), "/method"),
        ("headers", json!([]), "/headers"),
        ("headers", json!({"X-A": 1}), "/headers/X-A"),
        ("headers", json!({"X-A": "b\r\nX-C: d"}), "/headers/X-A"),
        ("headers", json!({"a b": "c"}), "/headers/a b"),
        ("headers", json!({"Content-Length": "5"}), "/headers/Content-Length"),
        ("headers", json!({"X-A": "1", "x-a": "2"}), "/headers/x-a"),
        ("body", json!({}), "/body"),
        ("body", json!("x".repeat(65_537)), "/body"),
        ("auth", json!({"type": "basic", "username": "a:b", "password": "c"}), "/auth/username"),
        ("auth", json!({"type": "basic", "username": "a"}), "/auth/password"),
        ("auth", json!({"username": "a", "password": "b"}), "/auth/type"),
        ("followRedirects", json!("yes"), "/followRedirects"),
        ("expectedStatusCodes", json!([]), "/expectedStatusCodes"),
        ("expectedStatusCodes", json!(200), "/expectedStatusCodes"),
        ("expectedStatusCodes", json!([200, "2xx"]), "/expectedStatusCodes/1"),
        ("expectedStatusCodes", json!([200, 600]), "/expectedStatusCodes/1"),
        ("expectedStatusCodes", json!([200, "299-200"]), "/expectedStatusCodes/1"),
        ("expectedStatusCodes", json!(["200-600"]), "/expectedStatusCodes/0"),
        ("expectedStatusCodes", json!([200.5]), "/expectedStatusCodes/0"),
        ("expectedStatusCodes", many(json!(200), 101), "/expectedStatusCodes"),
        ("tls", json!(true), "/tls"),
        ("tls", json!({"verify": "sometimes"}), "/tls/verify"),
        ("tls", json!({"verify": 1}), "/tls/verify"),
        ("tls", json!({"caCertificate": "nonsense"}), "/tls/caCertificate"),
        ("tls", json!({"serverName": "a b"}), "/tls/serverName"),
        ("tls", json!({"colour": 1}), "/tls/colour"),
        ("heartbeatSeconds", json!(60), "/heartbeatSeconds"),
        ("severity", json!("success"), "/severity"),
        ("severity", json!(1), "/severity"),
        ("assertions", json!("status"), "/assertions"),
        ("assertions", json!([5]), "/assertions/0"),
        ("assertions", many(json!({"kind": "body", "operator": "exists"}), 11), "/assertions"),
        ("assertions", assertion("colour", "eq", Value::Null, json!("1")), "/assertions/0/kind"),
        ("assertions", assertion("latency", "about", Value::Null, json!("1")), "/assertions/0/operator"),
        ("assertions", assertion("latency", "contains", Value::Null, json!("1")), "/assertions/0/operator"),
        ("assertions", assertion("latency", "lt", Value::Null, json!("fast")), "/assertions/0/value"),
        ("assertions", assertion("latency", "lt", Value::Null, Value::Null), "/assertions/0/value"),
        ("assertions", assertion("latency", "lt", Value::Null, json!(5)), "/assertions/0/value"),
        ("assertions", assertion("json", "exists", json!("a["), Value::Null), "/assertions/0/target"),
        ("assertions", assertion("header", "exists", json!("a b"), Value::Null), "/assertions/0/target"),
        ("assertions", json!([{"kind": "body", "operator": "exists", "severity": "fatal"}]), "/assertions/0/severity"),
        ("assertions", json!([{"kind": "body", "operator": "exists", "colour": 1}]), "/assertions/0/colour"),
        ("intervalSeconds", json!(9), "/intervalSeconds"),
        ("intervalSeconds", json!(86_401), "/intervalSeconds"),
        ("intervalSeconds", json!(-1), "/intervalSeconds"),
        ("intervalSeconds", json!(1.5), "/intervalSeconds"),
        ("intervalSeconds", json!("60"), "/intervalSeconds"),
        ("intervalSeconds", json!(4_294_967_356_u64), "/intervalSeconds"),
        ("timeoutMs", json!(99), "/timeoutMs"),
        ("timeoutMs", json!(60_001), "/timeoutMs"),
        ("latencyThresholdMs", json!(0), "/latencyThresholdMs"),
        ("sslWarningDays", json!(3_651), "/sslWarningDays"),
        ("failureThreshold", json!(0), "/failureThreshold"),
        ("recoveryThreshold", json!(0), "/recoveryThreshold"),
        ("recoveryThreshold", json!(1_001), "/recoveryThreshold"),
        ("cooldownSeconds", json!(2_592_001), "/cooldownSeconds"),
        ("recoveryAlert", json!(1), "/recoveryAlert"),
        ("parentId", json!("ep_1"), "/parentId"),
        ("parentId", json!(unknown_id::<EndpointId>()), "/parentId"),
        ("reminderMinutes", json!(0), "/reminderMinutes"),
        ("maintenanceWindows", json!({}), "/maintenanceWindows"),
        ("maintenanceWindows", json!([{"startsAt": "2026-05-02T01:00:00Z"}]), "/maintenanceWindows/0/kind"),
        ("maintenanceWindows", json!([{"kind": "never"}]), "/maintenanceWindows/0/kind"),
        ("maintenanceWindows", once("2026-05-02T02:00:00Z", "2026-05-02T01:00:00Z"), "/maintenanceWindows/0/endsAt"),
        ("maintenanceWindows", once("2026-05-02T02:00:00Z", "2026-05-02T02:00:00Z"), "/maintenanceWindows/0/endsAt"),
        ("maintenanceWindows", once("2026-05-02T02:00:00Z", "2029-05-02T02:00:00Z"), "/maintenanceWindows/0/endsAt"),
        ("maintenanceWindows", once("tomorrow", "2029-05-02T02:00:00Z"), "/maintenanceWindows/0/startsAt"),
        ("maintenanceWindows", recurring("timezone", json!("Mars/Olympus")), "/maintenanceWindows/0/timezone"),
        ("maintenanceWindows", recurring("timezone", Value::Null), "/maintenanceWindows/0/timezone"),
        ("maintenanceWindows", recurring("start", json!("25:00")), "/maintenanceWindows/0/start"),
        ("maintenanceWindows", recurring("durationMinutes", json!(0)), "/maintenanceWindows/0/durationMinutes"),
        ("maintenanceWindows", recurring("durationMinutes", json!(10_080)), "/maintenanceWindows/0/durationMinutes"),
        ("maintenanceWindows", recurring("days", json!(["saturday"])), "/maintenanceWindows/0/days/0"),
        ("maintenanceWindows", recurring("days", json!(["sat", "sat"])), "/maintenanceWindows/0/days/1"),
        ("maintenanceWindows", recurring("monthDay", json!(1)), "/maintenanceWindows/0/monthDay"),
        ("maintenanceWindows", recurring("endsAt", json!("2026-05-02T02:00:00Z")), "/maintenanceWindows/0/endsAt"),
        ("maintenanceWindows", many(recurring("start", json!("02:00"))[0].clone(), 21), "/maintenanceWindows"),
        ("escalation", json!([{"afterSeconds": 900}]), "/escalation/0/channelId"),
        ("escalation", json!([{"afterSeconds": 900, "channelId": "ch_1"}]), "/escalation/0/channelId"),
        ("escalation", steps(&[900]), "/escalation/0/channelId"),
        ("escalation", json!([{"channelId": unknown_id::<ChannelId>()}]), "/escalation/0/afterSeconds"),
        ("escalation", steps(&(1..=11).collect::<Vec<_>>()), "/escalation"),
        ("tags", json!("a"), "/tags"),
        ("tags", json!(["a", 5]), "/tags/1"),
        ("tags", json!(["a", "a"]), "/tags/1"),
        ("tags", json!(["x".repeat(51)]), "/tags/0"),
        ("tags", Value::from((0..21).map(|n| json!(n.to_string())).collect::<Vec<_>>()), "/tags"),
        ("enabled", json!("true"), "/enabled"),
        ("host", json!("example.com"), "/host"),
        ("status", json!("healthy"), "/status"),
        ("notAField", json!(1), "/notAField"),
    ]
}

#[tokio::test]
async fn invalid_endpoint_returns_422_with_pointers_on_create_and_edit() {
    let service = Service::start().await;
    let path = path(&made(&service, json!({})).await);
    for (key, value, pointer) in wrongs() {
        let mut body = right();
        body[key] = value.clone();
        let pointers = service.post("/endpoints", &body).await.problem(422, "invalid");
        assert_eq!(pointers, [pointer], "made: {body:.200}");
        // In an edit absent fields keep their value, the type included, and `null` may be a value.
        if !(key == "auth" && value.get("type").is_none()) {
            let pointers = service.patch(&path, &json!({ (key): value })).await.problem(422, "invalid");
            assert_eq!(pointers, [pointer], "edited: {body:.200}");
        }
    }
    let list = service.get("/endpoints").await.expect(200);
    assert_eq!((list["data"].as_array().unwrap().len(), &list["data"][0]["revision"]), (1, &json!(1)));
}

#[tokio::test]
async fn forbidden_target_returns_422_naming_the_setting() {
    let service = Service::start().await;
    for (body, pointer) in [
        (json!({"name": "a", "type": "http", "url": "http://192.168.1.1/"}), "/url"),
        (json!({"name": "a", "type": "tcp", "host": "10.0.0.7", "port": 22}), "/host"),
        (json!({"name": "a", "type": "icmp", "host": "[::1]"}), "/host"),
    ] {
        for path in ["/endpoints", "/endpoints/test"] {
            let answered = service.post(path, &body).await;
            assert!(answered.text.contains("TIDINGS_ALLOW_WATCH_TARGETS"), "{}", answered.text);
            assert_eq!(answered.problem(422, "invalid"), [pointer]);
        }
    }
}

#[tokio::test]
async fn all_violations_are_returned_at_once() {
    let service = Service::start().await;
    let mut pointers = service.post("/endpoints", &json!({})).await.problem(422, "invalid");
    pointers.sort_unstable();
    assert_eq!(pointers, ["/name", "/type"]);
    let body = json!({"name": "a", "type": "tcp", "host": "a", "port": 0, "tags": 5, "nope": 1, "enabled": "no"});
    let mut pointers = service.post("/endpoints", &body).await.problem(422, "invalid");
    pointers.sort_unstable();
    assert_eq!(pointers, ["/enabled", "/nope", "/port", "/tags"]);
    let body = json!({"name": "", "type": "tcp", "host": "a b", "port": 1, "failureThreshold": 0, "timeoutMs": 1});
    let mut pointers = service.post("/endpoints", &body).await.problem(422, "invalid");
    pointers.sort_unstable();
    assert_eq!(pointers, ["/failureThreshold", "/host", "/name", "/timeoutMs"]);
}

#[tokio::test]
async fn circular_parents_return_422() {
    let service = Service::start().await;
    let top = made(&service, json!({})).await;
    let middle = made(&service, json!({"parentId": top["id"]})).await;
    let low = made(&service, json!({"parentId": middle["id"]})).await;
    for (endpoint, parent) in [(&top, &low), (&top, &middle), (&top, &top), (&middle, &low)] {
        let edit = json!({"parentId": parent["id"]});
        let pointers = service.patch(&path(endpoint), &edit).await.problem(422, "invalid");
        assert!(!pointers.is_empty() && pointers.iter().all(|at| at == "/parentId"), "{pointers:?}");
    }
    service.patch(&path(&low), &json!({"parentId": top["id"]})).await.expect(200);
    service.patch(&path(&low), &json!({"parentId": null})).await.expect(200);
}

#[tokio::test]
async fn escalation_channel_must_be_shared_and_of_the_workspace() {
    let service = Service::start().await;
    let step = |id: &str| json!({"escalation": [{"afterSeconds": 60, "channelId": id}]});
    let shared = channel(&service, "https://example.com/1").await;
    let path = path(&made(&service, step(&shared)).await);
    // A channel of another workspace, and one that a rule owns.
    let foreign = {
        let body = json!({"name": "a", "type": "webhook", "config": {"url": "https://example.com/2"}}).to_string();
        let request = service.bare("POST", "/api/workspaces/other/channels");
        let request = request.header("authorization", format!("Bearer {}", service.other_key));
        service.execute(request.body(body.into()).unwrap()).await.expect(201)["channel"]["id"].clone()
    };
    let rule = service.rule_to("https://example.com/3").await;
    let own = service.get(&format!("/notification-rules/{rule}")).await.expect(200)["channelId"].clone();
    for id in [foreign, own] {
        let edit = step(id.as_str().unwrap());
        assert_eq!(service.patch(&path, &edit).await.problem(422, "invalid"), ["/escalation/0/channelId"]);
    }
}

#[tokio::test]
async fn endpoint_routes_reject_invalid_bodies() {
    let service = Service::start().await;
    let path = path(&made(&service, json!({})).await);
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1_048_576));
    for path in
        ["/endpoints", "/endpoints/test", "/inbound-webhooks", &format!("{path}/checks"), &format!("{path}/clone")]
    {
        for text in ["{", "{\"a\":1,\"a\":2}"] {
            service.post_raw(path, "application/json", text).await.problem(400, "invalid_json");
        }
        for text in ["[]", "null", "5"] {
            assert_eq!(service.post_raw(path, "application/json", text).await.problem(422, "invalid"), [""], "{path}");
        }
        service.post_raw(path, "text/plain", "{}").await.problem(415, "unsupported_media_type");
        service.post_raw(path, "application/json", large.clone()).await.problem(413, "too_large");
    }
}
