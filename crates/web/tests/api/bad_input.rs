//! Invalid input: the status, code and pointers of each kind.

use http_body_util::Full;
use serde_json::{Value, json};
use tidings_domain::id::{ChannelId, RuleId};

use crate::harness::{Service, unknown_id};

fn rule() -> Value {
    json!({
        "resourceType": "flow", "resourceId": "f1", "triggers": ["failure"],
        "channelType": "webhook", "url": "https://example.com/hook",
    })
}

fn rule_with(key: &str, value: Value) -> Value {
    let mut rule = rule();
    rule[key] = value;
    rule
}

/// Every route with a JSON object as its body.
const OBJECTS: [(&str, &str); 5] = [
    ("POST", "/notification-rules"),
    ("POST", "/notification-rules/test"),
    ("POST", "/use-cases/uc/webhooks"),
    ("POST", "/channels"),
    ("POST", "/deliveries/recover"),
];

#[tokio::test]
async fn body_that_is_not_json_returns_400_on_every_route() {
    let service = Service::start().await;
    let deep = format!("{{\"a\":{}", "[".repeat(50_000));
    for (_, path) in OBJECTS.into_iter().chain([("POST", "/runs")]) {
        for body in ["{", "{\"a\": 1,}", "not json", "{\"a\":\"\u{0}\"}", "{} {}", "{\"a\":1,\"a\":2}", &deep] {
            let answered = service.post_raw(path, "application/json", body.to_owned()).await;
            assert!(answered.text.contains("line"), "names the line: {}", answered.text);
            answered.problem(400, "invalid_json");
        }
    }
    service.post_raw("/channels", "application/json", vec![b'"', 0xff, b'"']).await.problem(400, "invalid_json");
}

#[tokio::test]
async fn json_body_that_is_not_an_object_returns_422() {
    let service = Service::start().await;
    for (_, path) in OBJECTS {
        for body in ["", "  \n", "[]", "null", "5", "\"text\""] {
            let pointers = service.post_raw(path, "application/json", body).await.problem(422, "invalid");
            assert_eq!(pointers, [""], "{path} {body}");
        }
    }
}

#[tokio::test]
async fn unsupported_content_type_returns_415_and_none_means_json() {
    let service = Service::start().await;
    for (_, path) in OBJECTS.into_iter().chain([("POST", "/runs")]) {
        for kind in
            ["text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data; boundary=x"]
        {
            service.post_raw(path, kind, "{}").await.problem(415, "unsupported_media_type");
        }
    }
    service.post_raw("/channels", "application/x-ndjson", "{}").await.problem(415, "unsupported_media_type");
    let untyped = service.request("POST", "/notification-rules").body(Full::from(rule().to_string())).unwrap();
    service.execute(untyped).await.expect(201);
    let merge_patch = service.post_raw("/notification-rules", "application/vnd.api+json", rule().to_string()).await;
    merge_patch.expect(201);
}

#[tokio::test]
async fn body_over_1_mib_returns_413() {
    let service = Service::start().await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1_048_576));
    for (_, path) in OBJECTS {
        service.post_raw(path, "application/json", large.clone()).await.problem(413, "too_large");
    }
    let padded = format!("{}{}", rule(), " ".repeat(1_048_576 - rule().to_string().len()));
    service.post_raw("/notification-rules", "application/json", padded).await.expect(201);
}

#[tokio::test]
async fn invalid_rule_returns_422_with_pointers() {
    let service = Service::start().await;
    let wrongs = [
        ("resourceType", json!("dashboard"), "/resourceType"),
        ("resourceType", json!("channel"), "/resourceType"),
        ("resourceType", Value::Null, "/resourceType"),
        ("resourceId", json!(""), "/resourceId"),
        ("resourceId", json!(6.5), "/resourceId"),
        ("resourceId", json!("a\u{7}"), "/resourceId"),
        ("resourceId", json!("x".repeat(201)), "/resourceId"),
        ("triggers", json!([]), "/triggers"),
        ("triggers", json!("failure"), "/triggers"),
        ("triggers", json!(["failure", "exploded"]), "/triggers/1"),
        ("triggers", json!(["success", "failure", "success"]), "/triggers"),
        ("triggers", Value::Null, "/triggers"),
        ("triggerTypes", json!(["By Hand"]), "/triggerTypes/0"),
        ("triggerTypes", json!(vec!["a"; 21]), "/triggerTypes"),
        ("enabled", json!("yes"), "/enabled"),
        ("paused", json!(1), "/paused"),
        ("failureSeverity", json!("fatal"), "/failureSeverity"),
        ("channelType", json!("pigeon"), "/channelType"),
        ("channelType", Value::Null, "/channelType"),
        ("channelId", json!(unknown_id::<ChannelId>()), "/url"),
        ("recipients", json!(["a@example.com"]), "/recipients"),
        ("url", Value::Null, "/url"),
        ("url", json!(7), "/url"),
        ("url", json!("not a url"), "/url"),
        ("url", json!("ftp://example.com/"), "/url"),
        ("url", json!("http://8.8.8.8/"), "/url"),
        ("url", json!("https://user:password@example.com/"), "/url"),
        ("url", json!("https://169.254.169.254/latest/meta-data"), "/url"),
        ("url", json!("https://0xa9fea9fe/"), "/url"),
        ("url", json!("https://example.com/\r\nX-Injected: yes"), "/url"),
        ("url", json!(format!("https://example.com/{}", "x".repeat(2_048))), "/url"),
        ("rotateWebhookSecret", json!("true"), "/rotateWebhookSecret"),
        ("notAField", json!(1), "/notAField"),
    ];
    for (key, value, pointer) in wrongs {
        let body = rule_with(key, value);
        let pointers = service.post("/notification-rules", &body).await.problem(422, "invalid");
        assert_eq!(pointers, [pointer], "{body:.200}");
    }
    let list = service.get("/notification-rules?resourceType=flow&resourceId=f1").await.expect(200);
    assert_eq!(list["data"], json!([]), "nothing was made");
}

#[tokio::test]
async fn invalid_inline_channel_returns_422_with_pointers_to_inline_fields() {
    let service = Service::start().await;
    let base = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"]});
    let wrongs = [
        (json!({"channelType": "slack"}), "/slackWebhookUrl"),
        (json!({"channelType": "slack", "slackWebhookUrl": "hooks.slack.com"}), "/slackWebhookUrl"),
        (
            json!({"channelType": "slack", "slackWebhookUrl": "https://hooks.slack.com/services/a", "displayLabel": "a\nb"}),
            "/displayLabel",
        ),
        (json!({"channelType": "email"}), "/recipients"),
        (json!({"channelType": "email", "recipients": []}), "/recipients"),
        (json!({"channelType": "email", "recipients": ["a@example.com\r\nBcc: b@example.com"]}), "/recipients/0"),
        (json!({"channelType": "discord", "webhookUrl": "nonsense"}), "/webhookUrl"),
        (json!({"channelId": "nonsense"}), "/channelId"),
        (json!({"channelId": unknown_id::<ChannelId>()}), "/channelId"),
    ];
    for (fields, pointer) in wrongs {
        let mut body = base.clone();
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let pointers = service.post("/notification-rules", &body).await.problem(422, "invalid");
        assert!(pointers.contains(&pointer.to_owned()), "{body}: {pointers:?}");
    }
}

#[tokio::test]
async fn invalid_run_returns_422_with_pointers() {
    let service = Service::start().await;
    let body = json!({"resourceType": "endpoint", "resourceId": "", "runId": "r\n", "status": "failed", "nope": 1});
    let mut pointers = service.post("/runs", &body).await.problem(422, "invalid");
    pointers.sort_unstable();
    assert_eq!(pointers, ["/nope", "/resourceId", "/resourceType", "/runId", "/status"]);
    let lines = "{\"resourceType\":\"flow\",\"resourceId\":\"f\",\"runId\":\"r\",\"status\":\"success\"}\n{}\n";
    let pointers = service.post_raw("/runs", "application/x-ndjson", lines).await.problem(422, "invalid");
    assert_eq!(pointers, ["/1/resourceType", "/1/resourceId", "/1/runId", "/1/status"]);
    assert_eq!(service.post("/runs", &json!([])).await.problem(422, "invalid"), [""]);
    assert_eq!(service.post_raw("/runs", "application/json", "").await.problem(422, "invalid"), [""]);
    assert_eq!(service.get("/runs").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn invalid_channel_returns_422_with_pointers() {
    let service = Service::start().await;
    let right = json!({"name": "a", "type": "webhook", "config": {"url": "https://example.com/hook"}});
    let wrongs = [
        ("name", Value::Null, "/name"),
        ("name", json!(" "), "/name"),
        ("name", json!("x".repeat(101)), "/name"),
        ("name", json!("a\r\nb"), "/name"),
        ("type", json!("fax"), "/type"),
        ("config", Value::Null, "/config"),
        ("config", json!([]), "/config"),
        ("config", json!({}), "/config/url"),
        ("config", json!({"url": "https://127.0.0.1.nip.io:0/"}), "/config/url"),
        ("config", json!({"url": "https://example.com/", "colour": 1}), "/config/colour"),
        ("config", json!({"url": "https://example.com/", "method": "TRACE"}), "/config/method"),
        ("config", json!({"url": "https://example.com/", "tls": {"caCertificate": "x"}}), "/config/tls/caCertificate"),
        ("config", json!({"url": "https://example.com/", "tls": {"serverName": "a b"}}), "/config/tls/serverName"),
        ("config", json!({"url": "https://example.com/", "tls": {"verify": "none"}}), "/config/tls/verify"),
        ("config", json!({"url": "http://127.0.0.1/", "tls": {"serverName": "a"}}), "/config/tls"),
        ("config", json!({"url": "https://example.com/", "headers": {"X-A": "b\r\nX-C: d"}}), "/config/headers/X-A"),
        ("config", json!({"url": "https://example.com/", "headers": {"a b": "c"}}), "/config/headers/a b"),
        ("severityFilter", json!("error+"), "/severityFilter"),
        ("retryOnFailure", json!("no"), "/retryOnFailure"),
        ("retryDelaysSeconds", json!(5), "/retryDelaysSeconds"),
        ("retryDelaysSeconds", json!([1, 0]), "/retryDelaysSeconds/1"),
        ("retryDelaysSeconds", json!([86_401]), "/retryDelaysSeconds/0"),
        ("retryDelaysSeconds", json!(vec![1; 21]), "/retryDelaysSeconds"),
        ("timeoutMs", json!(999), "/timeoutMs"),
        ("timeoutMs", json!(60_001), "/timeoutMs"),
        ("timeoutMs", json!(-1), "/timeoutMs"),
        ("eventFilters", json!([]), "/eventFilters"),
        ("eventFilters", json!({"sendOpen": 1}), "/eventFilters/sendOpen"),
        ("eventFilters", json!({"sendAll": true}), "/eventFilters/sendAll"),
        ("deliveryPriority", json!("high"), "/deliveryPriority"),
    ];
    for (key, value, pointer) in wrongs {
        let mut body = right.clone();
        body[key] = value;
        let pointers = service.post("/channels", &body).await.problem(422, "invalid");
        assert_eq!(pointers, [pointer], "{body:.200}");
    }
    assert_eq!(service.get("/channels").await.expect(200)["data"], json!([]), "nothing was made");
}

#[tokio::test]
async fn invalid_subscription_returns_422_with_pointers() {
    let service = Service::start().await;
    let right = json!({"url": "https://example.com/hook", "events": ["workflow.failed"], "triggerTypes": []});
    let wrongs = [
        ("url", Value::Null, "/url"),
        ("url", json!("example.com"), "/url"),
        ("events", Value::Null, "/events"),
        ("events", json!([]), "/events"),
        ("events", json!(["workflow.exploded"]), "/events/0"),
        ("triggerTypes", json!(["With Care"]), "/triggerTypes/0"),
        ("channelType", json!("slack"), "/channelType"),
    ];
    for (key, value, pointer) in wrongs {
        let mut body = right.clone();
        body[key] = value;
        let pointers = service.post("/use-cases/uc/webhooks", &body).await.problem(422, "invalid");
        assert_eq!(pointers, [pointer], "{body}");
    }
}

#[tokio::test]
async fn invalid_query_returns_422_with_parameter_names() {
    let service = Service::start().await;
    let wrongs = [
        ("/notification-rules", vec!["/resourceType", "/resourceId"]),
        ("/notification-rules?resourceType=flow", vec!["/resourceId"]),
        ("/notification-rules?resourceType=flow&resourceId=", vec!["/resourceId"]),
        ("/notification-rules?resourceType=dashboard&resourceId=1", vec!["/resourceType"]),
        ("/notification-rules/deliveries?resourceId=1", vec!["/resourceType"]),
        ("/notification-rules/deliveries?resourceType=flow&resourceId=1&limit=0", vec!["/limit"]),
        ("/runs?limit=201", vec!["/limit"]),
        ("/runs?limit=ten", vec!["/limit"]),
        ("/runs?limit=1&limit=2", vec!["/limit"]),
        ("/runs?cursor=zzz", vec!["/cursor"]),
        ("/runs?status=done", vec!["/status"]),
        ("/runs?colour=red", vec!["/colour"]),
        ("/events?kind=nothing", vec!["/kind"]),
        ("/events?trigger=x&resourceType=x", vec!["/resourceType", "/trigger"]),
        ("/deliveries?status=lost", vec!["/status"]),
        ("/deliveries?channel=ch_1", vec!["/channel"]),
        ("/deliveries?since=yesterday&until=1", vec!["/since", "/until"]),
        ("/channels?limit=5", vec!["/limit"]),
        ("/use-cases/uc/webhooks?page=1", vec!["/page"]),
    ];
    for (path, expected) in wrongs {
        assert_eq!(service.get(path).await.problem(422, "invalid"), expected, "{path}");
    }
}

#[tokio::test]
async fn unknown_id_returns_404() {
    let service = Service::start().await;
    let (rule, channel) = (unknown_id::<RuleId>(), unknown_id::<ChannelId>());
    for path in [format!("/notification-rules/{rule}"), format!("/channels/{channel}")] {
        service.get(&path).await.problem(404, "not_found");
        service.patch(&path, &json!({"enabled": false})).await.problem(404, "not_found");
        service.delete(&path).await.problem(404, "not_found");
    }
    for path in [format!("/channels/{channel}/test"), format!("/channels/{channel}/rotate-secret")] {
        service.send("POST", &path, None).await.problem(404, "not_found");
    }
    service.post("/notification-rules/test", &json!({"ruleId": rule})).await.problem(404, "not_found");
    service.get(&format!("/use-cases/uc/webhooks/{rule}")).await.problem(404, "not_found");
    let recover = json!({"channelId": channel, "since": "2026-01-01T00:00:00Z"});
    service.post("/deliveries/recover", &recover).await.problem(404, "not_found");
}

#[tokio::test]
async fn query_or_body_that_is_not_read_is_refused_on_every_route() {
    let service = Service::start().await;
    for (method, path) in tidings_web::api::routes() {
        let path = path.replace("{id}", "x").replace("{use_case}", "x");
        let at = format!("{path}?noSuchParameter=1");
        let refused = service.send(method.as_str(), &at, None).await;
        assert!((400..500).contains(&refused.status.as_u16()), "{method} {at}: {}", refused.text);
        if refused.status == 422 {
            let pointers = refused.problem(422, "invalid");
            assert!(
                pointers.contains(&"/noSuchParameter".to_owned()) || pointers == [""],
                "{method} {at}: {pointers:?}"
            );
        }
        if method == "GET" || method == "DELETE" {
            let refused = service.send(method.as_str(), &path, Some(&serde_json::json!({"dryRun": true}))).await;
            assert!((400..500).contains(&refused.status.as_u16()), "{method} {path}: {}", refused.text);
        }
    }
}

#[tokio::test]
async fn query_and_body_that_are_not_read_change_nothing() {
    let service = Service::start().await;
    let refused = service.post("/deliveries/recover?dryRun=true", &serde_json::json!({})).await;
    assert_eq!(refused.problem(422, "invalid"), ["/dryRun"]);
    let rule = service.rule_to("https://example.com/a").await;
    let path = format!("/notification-rules/{rule}");
    assert_eq!(service.send("DELETE", &format!("{path}?force=true"), None).await.problem(422, "invalid"), ["/force"]);
    let body = serde_json::json!({"dryRun": true});
    assert_eq!(service.send("DELETE", &path, Some(&body)).await.problem(422, "invalid"), [""]);
    service.get(&path).await.expect(200);
    service.send("DELETE", &path, Some(&serde_json::json!({}))).await.expect(204);
}
