//! Incidents: lists, responses, acknowledgement.

use std::sync::Arc;

use http_body_util::Full;
use serde_json::{Value, json};
use tidings_domain::id::IncidentId;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::ManualClock;

use crate::endpoints::{channel, made, path};
use crate::harness::{Service, unknown_id};
use crate::receiver::Receiver;

/// Creates an endpoint with an open incident. Returns the endpoint and the id of the incident.
async fn broken(service: &Service, body: Value) -> (Value, String) {
    let mut whole = json!({"failureThreshold": 1, "recoveryThreshold": 1});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let endpoint = made(service, whole).await;
    let check = json!({"status": "down", "statusReason": "timed out"});
    let answer = service.post(&format!("{}/checks", path(&endpoint)), &check).await.expect(202);
    (endpoint, answer["incident"]["id"].as_str().unwrap().to_owned())
}

async fn recovers(service: &Service, endpoint: &Value) {
    let answer = service.post(&format!("{}/checks", path(endpoint)), &json!({"status": "healthy"})).await.expect(202);
    assert_eq!(answer["incident"]["transition"], "resolved");
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn incident_list_filters_by_subject_and_status() {
    let service = Service::start().await;
    let (first, first_id) = broken(&service, json!({"name": "one", "tags": ["eu"]})).await;
    let (second, second_id) = broken(&service, json!({"name": "two"})).await;
    recovers(&service, &first).await;
    let (one, two) = (first["id"].as_str().unwrap(), second["id"].as_str().unwrap());
    let nobodys_endpoint = unknown_id::<tidings_domain::id::EndpointId>();
    for (query, expected) in [
        (String::new(), vec![second_id.as_str(), first_id.as_str()]),
        ("?status=active".to_owned(), vec![&second_id]),
        ("?status=resolved".to_owned(), vec![&first_id]),
        (format!("?endpoint={one}"), vec![&first_id]),
        (format!("?endpoint={one}&status=active"), vec![]),
        (format!("?resourceType=endpoint&resourceId={two}"), vec![&second_id]),
        (format!("?resourceType=endpoint&resourceId={two}&endpoint={one}"), vec![]),
        ("?resourceType=alert&resourceId=x".to_owned(), vec![]),
        ("?resourceType=endpoint&resourceId=x".to_owned(), vec![]),
        (format!("?endpoint={nobodys_endpoint}"), vec![]),
        ("?until=2020-01-01T00:00:00Z".to_owned(), vec![]),
        ("?since=2020-01-01T00:00:00Z&limit=1".to_owned(), vec![&second_id]),
    ] {
        assert_eq!(ids(&service.get(&format!("/incidents{query}")).await.expect(200)), expected, "{query}");
    }
    let page = service.get("/incidents?limit=1").await.expect(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    assert_eq!(ids(&service.get(&format!("/incidents?cursor={cursor}")).await.expect(200)), [first_id.as_str()]);
    for (query, pointers) in [
        ("?status=over", vec!["/status"]),
        ("?endpoint=1", vec!["/endpoint"]),
        ("?resourceType=flow&resourceId=1", vec!["/resourceType"]),
        ("?resourceId=1", vec!["/resourceType"]),
        ("?resourceType=alert", vec!["/resourceId"]),
        ("?since=x&colour=1", vec!["/since", "/colour"]),
    ] {
        assert_eq!(service.get(&format!("/incidents{query}")).await.problem(422, "invalid"), pointers, "{query}");
    }
    let shown = service.get(&format!("/incidents/{first_id}")).await.expect(200);
    for (key, value) in [
        ("resourceType", json!("endpoint")),
        ("resourceId", first["id"].clone()),
        ("resourceName", json!("one")),
        ("url", json!("https://api.example.com/health")),
        ("status", json!("resolved")),
        ("cause", json!("endpoint_down")),
        ("causeDetail", json!("timed out")),
        ("severity", json!("critical")),
        ("acknowledgedAt", Value::Null),
        ("notificationsSent", json!(0)),
        ("tags", json!(["eu"])),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert!(shown["durationMs"].is_u64() && shown["startedAt"].is_string() && shown["resolvedAt"].is_string());
    assert_eq!(shown["timeline"][0]["detail"], "timed out");
    service.get(&format!("/incidents/{}", unknown_id::<IncidentId>())).await.problem(404, "not_found");
}

#[tokio::test]
async fn incident_is_acknowledged_once_and_while_active() {
    let service = Service::start().await;
    let (endpoint, id) = broken(&service, json!({})).await;
    let acknowledge = format!("/incidents/{id}/acknowledge");
    let request = service.bare("POST", &format!("/api/workspaces/default{acknowledge}"));
    let request = request.header("authorization", format!("Bearer {}", service.read_only_key));
    service.execute(request.body(Full::default()).unwrap()).await.problem(403, "read_only");
    for (body, pointer) in [
        (json!({"note": 5}), "/note"),
        (json!({"note": "x".repeat(1_001)}), "/note"),
        (json!({"note": "a\u{7}"}), "/note"),
        (json!({"by": "me"}), "/by"),
    ] {
        assert_eq!(service.post(&acknowledge, &body).await.problem(422, "invalid"), [pointer]);
    }
    let first = service.post(&acknowledge, &json!({"note": "Looking\ninto it"})).await.expect(200)["incident"].clone();
    assert_eq!((&first["acknowledgedBy"], &first["status"]), (&json!("first key"), &json!("active")));
    let again = service.send("POST", &acknowledge, None).await.expect(200)["incident"].clone();
    assert_eq!(again["acknowledgedAt"], first["acknowledgedAt"]);
    let shown = service.get(&format!("/incidents/{id}")).await.expect(200);
    let entries: Vec<_> = shown["timeline"].as_array().unwrap().iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(entries, ["opened", "acknowledged"], "once");
    assert_eq!(
        (&shown["timeline"][1]["by"], &shown["timeline"][1]["note"]),
        (&json!("first key"), &json!("Looking\ninto it"))
    );
    recovers(&service, &endpoint).await;
    service.post(&acknowledge, &json!({})).await.problem(409, "incident_resolved");
    let unknown_id = unknown_id::<IncidentId>();
    service.post(&format!("/incidents/{unknown_id}/acknowledge"), &json!({})).await.problem(404, "not_found");
}

#[tokio::test]
async fn acknowledgement_stops_escalation() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let channel = channel(&service, &receiver.url).await;
    let steps = json!({"escalation": [{"afterSeconds": 1, "channelId": channel}]});
    let (_, taken) = broken(&service, steps.clone()).await;
    service.post(&format!("/incidents/{taken}/acknowledge"), &json!({})).await.expect(200);
    // Its escalation would have been sent before that of this incident, which is not acknowledged.
    let (_, left) = broken(&service, steps).await;
    let event = receiver.next().await.json();
    assert_eq!((&event["event"], &event["incident"]["id"]), (&json!("incident_escalated"), &json!(left)), "{event}");
    assert!(receiver.is_quiet());
    let deliveries = service.get(&format!("/deliveries?q={taken}")).await.expect(200);
    assert_eq!(deliveries["data"], json!([]));
}

#[tokio::test]
async fn incident_of_another_workspace_returns_404() {
    let service = Service::start().await;
    let (_, id) = broken(&service, json!({})).await;
    for (method, path) in [("GET", format!("/incidents/{id}")), ("POST", format!("/incidents/{id}/acknowledge"))] {
        let request = service.bare(method, &format!("/api/workspaces/other{path}"));
        let request = request.header("authorization", format!("Bearer {}", service.other_key));
        service.execute(request.body(Full::default()).unwrap()).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn incident_has_the_severity_of_its_endpoint_while_that_is_down() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let channel = channel(&service, &receiver.url).await;
    // (the endpoint's severity, what is reported, the severity that follows)
    for (severity, status, expected) in [
        ("info", "down", "info"),
        ("warning", "down", "warning"),
        ("critical", "down", "critical"),
        ("info", "degraded", "warning"),
    ] {
        let endpoint =
            made(&service, json!({"severity": severity, "failureThreshold": 1, "recoveryThreshold": 1})).await;
        let path = path(&endpoint);
        let wires = json!({"channels": [{"channelId": channel, "wired": true}]});
        service.put(&format!("{path}/notifications"), &wires).await.expect(200);
        let answer = service.post(&format!("{path}/checks"), &json!({"status": status})).await.expect(202);
        let opened = receiver.next().await.json();
        assert_eq!((&opened["event"], &opened["severity"]), (&json!("incident_opened"), &json!(expected)), "{opened}");
        let incident = format!("/incidents/{}", answer["incident"]["id"].as_str().unwrap());
        assert_eq!(service.get(&incident).await.expect(200)["severity"], expected);
        if status == "degraded" {
            // Worse: the severity becomes that of an endpoint that is down.
            service.post(&format!("{path}/checks"), &json!({"status": "down"})).await.expect(202);
            let worse = receiver.next().await.json();
            assert_eq!(
                (&worse["event"], &worse["severity"]),
                (&json!("incident_escalated"), &json!(severity)),
                "{worse}"
            );
        }
        recovers(&service, &endpoint).await;
        assert_eq!(receiver.next().await.json()["severity"], "success");
    }
}

#[tokio::test]
async fn minor_endpoint_passes_neither_severity_filter_nor_quiet_hours() {
    let night = Timestamp::parse("2026-05-02T23:00:00Z").unwrap();
    let service = Service::start_at(Arc::new(ManualClock::at(night))).await;
    let receiver = Receiver::start().await;
    let filtered = channel(&service, &receiver.url).await;
    service.patch(&format!("/channels/{filtered}"), &json!({"severityFilter": "critical"})).await.expect(200);
    let quiet = channel(&service, &receiver.url).await;
    let hours = json!({"quietHours": {"start": "22:00", "end": "07:00", "timezone": "UTC", "action": "drop"}});
    service.patch(&format!("/channels/{quiet}"), &hours).await.expect(200);
    let endpoint = made(&service, json!({"severity": "warning", "failureThreshold": 1})).await;
    let wires = json!({"channels": [{"channelId": filtered, "wired": true}, {"channelId": quiet, "wired": true}]});
    service.put(&format!("{}/notifications", path(&endpoint)), &wires).await.expect(200);
    let answer = service.post(&format!("{}/checks", path(&endpoint)), &json!({"status": "down"})).await.expect(202);
    let deliveries = service.settled(answer["incident"]["id"].as_str().unwrap(), &["suppressed"]).await;
    let mut reasons: Vec<_> = deliveries.iter().map(|it| it["suppressedReason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["quiet_hours", "severity_filter"]);
}
