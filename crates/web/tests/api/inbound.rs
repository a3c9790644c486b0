//! Inbound webhooks: their secret URL, and messages of Alertmanager.

use std::sync::Arc;

use futures_util::future::join_all;
use http_body_util::Full;
use serde_json::{Value, json};
use tidings_domain::id::InboundWebhookId;

use crate::endpoints::channel;
use crate::harness::{ApiResponse, Service, unknown_id};
use crate::receiver::Receiver;

/// Creates an inbound webhook and returns its path and id.
async fn create_webhook(service: &Service) -> (String, String) {
    let answered = service.post("/inbound-webhooks", &json!({"type": "alertmanager", "name": "Prometheus"})).await;
    assert_eq!(answered.header("cache-control"), Some("no-store"));
    let made = answered.expect(201);
    let path = made["url"].as_str().unwrap().strip_prefix("https://tidings.example.com").unwrap().to_owned();
    assert!(path.starts_with("/in/alertmanager/") && path.len() > 60, "{path}");
    (path, made["inboundWebhook"]["id"].as_str().unwrap().to_owned())
}

async fn send(service: &Service, path: &str, message: &Value) -> ApiResponse {
    let request = service.bare("POST", path).header("content-type", "application/json");
    service.execute(request.body(Full::from(message.to_string())).unwrap()).await
}

/// An alert as Alertmanager writes it.
fn alert(fingerprint: &str, status: &str) -> Value {
    json!({
        "status": status,
        "labels": {"alertname": "HighLatency", "instance": "web-1:9100", "severity": "page", "team": "shop"},
        "annotations": {"summary": "Requests take 3 s", "description": "The p99 of web-1 has been high for 5 minutes."},
        "startsAt": "2026-05-02T04:00:12.345678Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up&g0.tab=1",
        "fingerprint": fingerprint,
    })
}

fn message(alerts: Value) -> Value {
    json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "tidings",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager:9093",
        "alerts": alerts,
    })
}

#[tokio::test]
async fn firing_alert_opens_and_resolved_alert_resolves_incident() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let channel = channel(&service, &receiver.url).await;
    let rule =
        json!({"resourceType": "alert", "resourceId": "*", "channelId": channel, "triggers": ["opened", "resolved"]});
    service.post("/notification-rules", &rule).await.expect(201);
    let (path, _) = create_webhook(&service).await;
    let firing = message(json!([alert("a1", "firing")]));
    let counts = send(&service, &path, &firing).await.expect(200);
    assert_eq!(counts, json!({"opened": 1, "resolved": 0, "unchanged": 0, "truncated": 0}));
    let event = receiver.next().await.json();
    assert_eq!((&event["event"], &event["severity"]), (&json!("incident_opened"), &json!("critical")), "{event}");
    assert_eq!(event["link"], "http://prometheus:9090/graph?g0.expr=up&g0.tab=1");
    let counts = send(&service, &path, &firing).await.expect(200);
    assert_eq!(counts, json!({"opened": 0, "resolved": 0, "unchanged": 1, "truncated": 0}), "repeated");

    let incident = service.get("/incidents?resourceType=alert&resourceId=a1").await.expect(200)["data"][0].clone();
    for (key, value) in [
        ("resourceName", json!("HighLatency (web-1:9100)")),
        ("cause", json!("alert")),
        ("causeDetail", json!("Requests take 3 s")),
        ("severity", json!("critical")),
        ("failingSince", json!("2026-05-02T04:00:12.345Z")),
        ("tags", json!(["instance=web-1:9100", "severity=page", "team=shop"])),
    ] {
        assert_eq!(incident[key], value, "{key}");
    }
    assert_eq!(incident["fields"][0]["label"], "description");
    assert_eq!(incident["fields"][3], json!({"label": "team", "value": "shop"}));

    let both = message(json!([alert("a1", "resolved"), alert("unknown", "resolved")]));
    let counts = send(&service, &path, &both).await.expect(200);
    assert_eq!(counts, json!({"opened": 0, "resolved": 1, "unchanged": 1, "truncated": 0}));
    assert_eq!(receiver.next().await.json()["event"], "incident_resolved");
    assert_eq!(send(&service, &path, &firing).await.expect(200)["unchanged"], 1, "late: that episode is over");
    let mut anew = alert("a1", "firing");
    anew["startsAt"] = Value::Null;
    assert_eq!(send(&service, &path, &message(json!([anew]))).await.expect(200)["opened"], 1, "since now");
    let again = receiver.next().await.json();
    assert_eq!(again["event"], "incident_opened");
    assert_ne!(again["incident"]["id"], event["incident"]["id"], "another incident");
}

#[tokio::test]
async fn late_and_repeated_alerts_are_no_news() {
    let service = Service::start().await;
    let (path, _) = create_webhook(&service).await;
    let alert_at = |status: &str, starts_at: &str, ends_at: &str| {
        let mut one = alert("a1", status);
        (one["startsAt"], one["endsAt"]) = (json!(starts_at), json!(ends_at));
        message(json!([one]))
    };
    let year_1 = "0001-01-01T00:00:00Z";
    let (first, second, third) = ("2026-11-30T08:38:00.032Z", "2026-11-30T09:00:00Z", "2026-11-30T10:00:00Z");
    let end = "2026-11-30T08:39:00.032Z";
    for (body, [opened, resolved, unchanged]) in [
        (alert_at("firing", first, year_1), [1, 0, 0]),
        // A second server, some seconds apart.
        (alert_at("firing", "2026-11-30T08:38:20Z", year_1), [0, 0, 1]),
        (alert_at("firing", "2026-11-30T08:37:50Z", year_1), [0, 0, 1]),
        (alert_at("resolved", first, end), [0, 1, 0]),
        (alert_at("firing", first, year_1), [0, 0, 1]),
        (alert_at("resolved", first, end), [0, 0, 1]),
        (alert_at("firing", second, year_1), [1, 0, 0]),
        (alert_at("resolved", first, end), [0, 0, 1]),
        // The report that the second episode was over got lost.
        (alert_at("firing", third, year_1), [1, 1, 0]),
        (alert_at("firing", year_1, year_1), [0, 0, 1]),
        (alert_at("resolved", third, year_1), [0, 1, 0]),
        (alert_at("firing", year_1, year_1), [1, 0, 0]),
    ] {
        let counts = send(&service, &path, &body).await.expect(200);
        let expected = json!({"opened": opened, "resolved": resolved, "unchanged": unchanged, "truncated": 0});
        assert_eq!(counts, expected, "{body}");
    }
    let incidents = service.get("/incidents").await.expect(200)["data"].clone();
    let statuses: Vec<_> = incidents.as_array().unwrap().iter().map(|it| it["status"].clone()).collect();
    assert_eq!(statuses, ["active", "resolved", "resolved", "resolved"]);
    assert_eq!(incidents[3]["failingSince"], "2026-11-30T08:37:50.000Z", "the earliest start");
}

#[tokio::test]
async fn truncated_alerts_are_recorded_and_returned() {
    let service = Service::start().await;
    let (path, _) = create_webhook(&service).await;
    let mut body = message(json!([alert("a1", "firing")]));
    body["truncatedAlerts"] = json!(12);
    assert_eq!(send(&service, &path, &body).await.expect(200)["truncated"], 12);
    let incident = service.get("/incidents").await.expect(200)["data"][0].clone();
    let field = json!({"label": "Truncated alerts", "value": "12 more of this group, see max_alerts in Alertmanager"});
    assert_eq!(incident["fields"][0], field);
    let events = service.get("/events?kind=incident_opened").await.expect(200);
    assert!(events.to_string().contains("12 more of this group"), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_alert_from_two_alertmanagers_opens_one_incident() {
    let service = Arc::new(Service::start().await);
    let (one, _) = create_webhook(&service).await;
    let (two, _) = create_webhook(&service).await;
    for (status, key) in [("firing", "opened"), ("resolved", "resolved")] {
        let requests = (0..20).map(|n| {
            let (service, path) = (Arc::clone(&service), if n % 2 == 0 { one.clone() } else { two.clone() });
            tokio::spawn(async move { send(&service, &path, &message(json!([alert("a1", status)]))).await.expect(200) })
        });
        let counts: Vec<_> = join_all(requests).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(counts.iter().map(|count| count[key].as_u64().unwrap()).sum::<u64>(), 1, "{status}");
    }
    assert_eq!(service.get("/incidents").await.expect(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn message_with_the_maximum_of_alerts_is_accepted() {
    let service = Service::start().await;
    let (path, _) = create_webhook(&service).await;
    for (status, key) in [("firing", "opened"), ("resolved", "resolved")] {
        let alerts: Vec<_> = (0..1_000).map(|n| alert(&format!("a{n}"), status)).collect();
        assert_eq!(send(&service, &path, &message(json!(alerts))).await.expect(200)[key], 1_000);
    }
}

#[tokio::test]
async fn alert_labels_map_to_severity_and_name() {
    let service = Service::start().await;
    let (path, _) = create_webhook(&service).await;
    for (number, (severity, expected)) in [
        (json!("critical"), "critical"),
        (json!("PAGE"), "critical"),
        (json!("info"), "info"),
        (json!("none"), "info"),
        (json!("ticket"), "warning"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut one = alert(&format!("s{number}"), "firing");
        one["labels"] = json!({"severity": severity, "long": "x".repeat(5_000), "broken": "a\nb"});
        one["annotations"] = json!({});
        one["generatorURL"] = json!("javascript:alert(1)");
        send(&service, &path, &message(json!([one]))).await.expect(200);
        let query = format!("/incidents?resourceType=alert&resourceId=s{number}");
        let incident = service.get(&query).await.expect(200)["data"][0].clone();
        assert_eq!((&incident["severity"], &incident["causeDetail"]), (&json!(expected), &Value::Null));
        assert_eq!(incident["resourceName"], format!("alert s{number}"));
        assert_eq!(incident["link"], "http://alertmanager:9093", "no other scheme leads anywhere");
        assert_eq!(incident["fields"][0]["value"], "a b");
        let longest = |list: &str, key: &str| {
            let texts = incident[list].as_array().unwrap().iter();
            texts.map(|it| it.get(key).unwrap_or(it).as_str().unwrap().chars().count()).max()
        };
        assert_eq!((longest("fields", "value"), longest("tags", "")), (Some(300), Some(50)));
    }
}

#[tokio::test]
async fn invalid_message_returns_422_and_changes_nothing() {
    let service = Service::start().await;
    let (path, _) = create_webhook(&service).await;
    let with = |key: &str, value: Value| {
        let mut one = alert("a2", "firing");
        one[key] = value;
        message(json!([alert("a1", "firing"), one]))
    };
    for (body, pointers) in [
        (json!({}), vec!["/version"]),
        (json!({"version": "3", "alerts": []}), vec!["/version"]),
        (json!({"version": 4, "alerts": []}), vec!["/version"]),
        (message(json!({})), vec!["/alerts"]),
        (message(json!([5])), vec!["/alerts/0"]),
        (message(json!([{}])), vec!["/alerts/0/status", "/alerts/0/fingerprint"]),
        (with("status", json!("maybe")), vec!["/alerts/1/status"]),
        (with("fingerprint", json!("")), vec!["/alerts/1/fingerprint"]),
        (with("fingerprint", json!("*")), vec!["/alerts/1/fingerprint"]),
        (with("fingerprint", json!("x".repeat(201))), vec!["/alerts/1/fingerprint"]),
        (with("startsAt", json!("now")), vec!["/alerts/1/startsAt"]),
        (with("startsAt", json!("1999-01-01T00:00:00Z")), vec!["/alerts/1/startsAt"]),
        (with("endsAt", json!("later")), vec!["/alerts/1/endsAt"]),
        (with("labels", json!([])), vec!["/alerts/1/labels"]),
        (with("labels", json!({"a": 1})), vec!["/alerts/1/labels"]),
        (with("annotations", json!("text")), vec!["/alerts/1/annotations"]),
        (message(Value::from(vec![json!({}); 1_001])), vec!["/alerts"]),
    ] {
        assert_eq!(send(&service, &path, &body).await.problem(422, "invalid"), pointers, "{body:.200}");
    }
    let large = format!("{{\"version\":\"4\",\"x\":\"{}\"}}", "x".repeat(1_048_576));
    let raw = async |body: String, kind: &str| {
        let request = service.bare("POST", &path).header("content-type", kind);
        service.execute(request.body(Full::from(body)).unwrap()).await
    };
    raw(large, "application/json").await.problem(413, "too_large");
    raw("{".to_owned(), "application/json").await.problem(400, "invalid_json");
    raw("[]".to_owned(), "application/json").await.problem(422, "invalid");
    raw("a=b".to_owned(), "application/x-www-form-urlencoded").await.problem(415, "unsupported_media_type");
    assert_eq!(service.get("/incidents").await.expect(200)["data"], json!([]), "nothing was done");
    let mut more = with("startsAt", json!("2026-05-02T04:00:12+02:00"));
    more["newField"] = json!({"of": "a later version"});
    more["alerts"][0]["another"] = json!(1);
    assert_eq!(send(&service, &path, &more).await.expect(200)["opened"], 2, "unknown fields are ignored");
    assert_eq!(send(&service, &path, &message(json!([]))).await.expect(200)["unchanged"], 0);
}

#[tokio::test]
async fn inbound_webhook_url_works_until_deletion() {
    let service = Service::start().await;
    let (path, id) = create_webhook(&service).await;
    let list = service.get("/inbound-webhooks").await;
    assert!(!list.text.contains(path.rsplit('/').next().unwrap()), "the secret is not shown again");
    let list = list.expect(200);
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["type"]), (&json!(id), &json!("alertmanager")));
    for wrong in ["/in/alertmanager/0123456789abcdef", "/in/alertmanager/", "/in/github/0", &path[..path.len() - 1]] {
        send(&service, wrong, &message(json!([]))).await.problem(404, "not_found");
    }
    service.execute(service.bare("GET", &path).body(Full::default()).unwrap()).await.problem(405, "method_not_allowed");
    for (body, pointer) in [
        (json!({"name": "a"}), "/type"),
        (json!({"name": "a", "type": "fax"}), "/type"),
        (json!({"type": "alertmanager"}), "/name"),
        (json!({"name": "", "type": "alertmanager"}), "/name"),
        (json!({"name": "a", "type": "alertmanager", "secret": "mine"}), "/secret"),
    ] {
        assert_eq!(service.post("/inbound-webhooks", &body).await.problem(422, "invalid"), [pointer], "{body}");
    }
    let foreign = service.bare("DELETE", &format!("/api/workspaces/other/inbound-webhooks/{id}"));
    let foreign = foreign.header("authorization", format!("Bearer {}", service.other_key));
    service.execute(foreign.body(Full::default()).unwrap()).await.problem(404, "not_found");
    service.delete(&format!("/inbound-webhooks/{id}")).await.expect(204);
    send(&service, &path, &message(json!([]))).await.problem(404, "not_found");
    service.delete(&format!("/inbound-webhooks/{id}")).await.problem(404, "not_found");
    let unknown_id = unknown_id::<InboundWebhookId>();
    service.delete(&format!("/inbound-webhooks/{unknown_id}")).await.problem(404, "not_found");
}
