//! Checks of external probers: idempotent reports, incidents, lists and summaries.

use serde_json::{Value, json};
use tidings_domain::id::{CheckId, Id, uuid_v7};
use tidings_domain::time::Timestamp;
use tidings_engine::clock::{Clock, SystemClock};

use crate::endpoints::{channel, made, path};
use crate::harness::Service;
use crate::receiver::Receiver;

/// Reports a check of the endpoint at `path`.
async fn report(service: &Service, path: &str, check: Value) -> Value {
    service.post(&format!("{path}/checks"), &check).await.expect(202)
}

/// The instant `ms` milliseconds ago.
fn ago(ms: u64) -> Timestamp {
    SystemClock::default().now().minus_ms(ms)
}

#[tokio::test]
async fn reported_checks_open_and_resolve_incident() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let channel = channel(&service, &receiver.url).await;
    let path = path(&made(&service, json!({})).await);
    let wires = json!({"channels": [{"channelId": channel, "wired": true}]});
    service.put(&format!("{path}/notifications"), &wires).await.expect(200);

    let down =
        json!({"status": "down", "statusReason": "HTTP 502 — expected 200", "statusCode": 502, "responseTimeMs": 81});
    for _ in 0..2 {
        let answer = report(&service, &path, down.clone()).await;
        assert_eq!((&answer["duplicate"], &answer["incident"]), (&json!(false), &Value::Null));
        assert!(answer["checkId"].as_str().unwrap().starts_with("chk_"));
    }
    let opened = report(&service, &path, down.clone()).await["incident"].clone();
    assert_eq!(opened["transition"], "opened");
    let event = receiver.next().await.json();
    assert_eq!((&event["event"], &event["severity"]), (&json!("incident_opened"), &json!("critical")), "{event}");
    assert_eq!(event["incident"]["id"], opened["id"]);

    let shown = service.get(&path).await.expect(200);
    assert_eq!((&shown["status"], &shown["incidentId"]), (&json!("down"), &opened["id"]));
    assert_eq!(shown["lastCheck"]["statusReason"], "HTTP 502 — expected 200");
    let still = report(&service, &path, down).await["incident"].clone();
    assert_eq!((&still["id"], &still["transition"]), (&opened["id"], &Value::Null));

    let healthy = json!({"status": "healthy", "statusCode": 200});
    assert_eq!(report(&service, &path, healthy.clone()).await["incident"]["transition"], Value::Null);
    let resolved = report(&service, &path, healthy).await["incident"].clone();
    assert_eq!((&resolved["id"], &resolved["transition"]), (&opened["id"], &json!("resolved")));
    let event = receiver.next().await.json();
    assert_eq!((&event["event"], &event["severity"]), (&json!("incident_resolved"), &json!("success")), "{event}");
    assert!(receiver.is_quiet());

    let id = opened["id"].as_str().unwrap();
    service.settled(id, &["sent"]).await;
    let incident = service.get(&format!("/incidents/{id}")).await.expect(200);
    assert_eq!((&incident["status"], &incident["notificationsSent"]), (&json!("resolved"), &json!(2)), "{incident}");
    assert_eq!(incident["causeDetail"], "HTTP 502 — expected 200");
    let kinds: Vec<_> = incident["timeline"].as_array().unwrap().iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["opened", "check", "check", "check", "resolved"]);
    let shown = service.get(&path).await.expect(200);
    assert_eq!((&shown["status"], &shown["incidentId"]), (&json!("healthy"), &Value::Null));
}

#[tokio::test]
async fn repeated_check_is_a_duplicate() {
    let service = Service::start().await;
    let path = path(&made(&service, json!({})).await);
    let check = json!({"checkId": "probe-7/42", "status": "down", "checkedAt": ago(1_000)});
    let first = report(&service, &path, check.clone()).await;
    for _ in 0..4 {
        let again = report(&service, &path, check.clone()).await;
        assert_eq!((&again["checkId"], &again["duplicate"]), (&first["checkId"], &json!(true)));
        assert_eq!(again["incident"], Value::Null, "five times is once");
    }
    // The same id at another time, or of another endpoint, is another check.
    let later = json!({"checkId": "probe-7/42", "status": "down", "checkedAt": ago(0)});
    assert_ne!(report(&service, &path, later).await["checkId"], first["checkId"]);
    let other = crate::endpoints::path(&made(&service, json!({})).await);
    let answer = report(&service, &other, check).await;
    assert_eq!(answer["duplicate"], false);
    assert_ne!(answer["checkId"], first["checkId"]);

    // Ids in the format of Tidings are idempotent, too.
    let own = CheckId::from_uuid(uuid_v7(ago(0).unix_ms().unsigned_abs(), &[7; 10])).to_string();
    let check = json!({"checkId": own, "status": "healthy"});
    let first = report(&service, &path, check.clone()).await;
    assert_eq!((&first["checkId"], &first["duplicate"]), (&json!(own), &json!(false)));
    assert_eq!(report(&service, &path, check).await["duplicate"], true);
}

#[tokio::test]
async fn invalid_check_returns_422_with_pointers() {
    let service = Service::start().await;
    let path = format!("{}/checks", path(&made(&service, json!({})).await));
    let old = CheckId::from_uuid(uuid_v7(1_000_000_000_000, &[7; 10])).to_string();
    let ahead = SystemClock::default().now().plus_ms(360_000);
    for (key, value, pointer) in [
        ("status", Value::Null, "/status"),
        ("status", json!("fine"), "/status"),
        ("status", json!("paused"), "/status"),
        ("statusReason", json!(5), "/statusReason"),
        ("statusCode", json!(99), "/statusCode"),
        ("statusCode", json!(600), "/statusCode"),
        ("statusCode", json!("502"), "/statusCode"),
        ("responseTimeMs", json!(-1), "/responseTimeMs"),
        ("responseTimeMs", json!(86_400_001), "/responseTimeMs"),
        ("checkedAt", json!("now"), "/checkedAt"),
        ("checkedAt", json!(ahead), "/checkedAt"),
        ("checkedAt", json!(ago(49 * 3_600_000)), "/checkedAt"),
        ("checkId", json!("mine"), "/checkedAt"),
        ("checkId", json!(""), "/checkId"),
        ("checkId", json!("x".repeat(201)), "/checkId"),
        ("checkId", json!("a\nb"), "/checkId"),
        ("checkId", json!("chk_mine"), "/checkId"),
        ("checkId", json!(old), "/checkId"),
        ("colour", json!("red"), "/colour"),
    ] {
        let mut check = json!({"status": "down"});
        check[key] = value;
        assert_eq!(service.post(&path, &check).await.problem(422, "invalid"), [pointer], "{check:.100}");
    }
    assert_eq!(service.get(&path).await.expect(200)["data"], json!([]), "nothing was taken");
    let close = [ago(47 * 3_600_000), SystemClock::default().now().plus_ms(240_000)];
    for checked_at in close {
        service.post(&path, &json!({"status": "healthy", "checkedAt": checked_at})).await.expect(202);
    }
}

#[tokio::test]
async fn checks_are_listed_newest_first() {
    let service = Service::start().await;
    let path = format!("{}/checks", path(&made(&service, json!({})).await));
    for (number, status) in ["healthy", "down", "inconclusive", "degraded"].into_iter().enumerate() {
        let checked_at = ago(10_000 - 1_000 * number as u64);
        service.post(&path, &json!({"status": status, "checkedAt": checked_at, "responseTimeMs": 7})).await.expect(202);
    }
    let list = service.get(&path).await.expect(200);
    let statuses: Vec<_> = list["data"].as_array().unwrap().iter().map(|check| &check["status"]).collect();
    assert_eq!(statuses, ["degraded", "inconclusive", "down", "healthy"]);
    assert_eq!((&list["data"][0]["responseTimeMs"], &list["data"][0]["statusCode"]), (&json!(7), &Value::Null));
    let first = service.get(&format!("{path}?limit=3")).await.expect(200);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = service.get(&format!("{path}?limit=3&cursor={cursor}")).await.expect(200);
    assert_eq!((&second["data"][0]["status"], second["data"].as_array().unwrap().len()), (&json!("healthy"), 1));
    let down = service.get(&format!("{path}?status=down")).await.expect(200);
    assert_eq!(down["data"].as_array().unwrap().len(), 1);
    assert_eq!(service.get(&format!("{path}?status=paused")).await.problem(422, "invalid"), ["/status"]);
}

#[tokio::test]
async fn summaries_count_checks_by_hour() {
    let service = Service::start().await;
    let path = path(&made(&service, json!({})).await);
    // Within one hour, three hours ago: that hour is closed, because its end is longer ago than late checks are accepted.
    let hour = ago(3 * 3_600_000).unix_ms() / 3_600_000 * 3_600_000;
    for (minute, status) in ["healthy", "healthy", "degraded", "down", "inconclusive"].into_iter().enumerate() {
        let checked_at = Timestamp::from_unix_ms(hour + minute as i64 * 60_000);
        report(&service, &path, json!({"status": status, "checkedAt": checked_at, "responseTimeMs": 40})).await;
    }
    service.store.summarise(SystemClock::default().now(), 10_000).await.unwrap();
    let hours = service.get(&format!("{path}/summaries?period=hour")).await.expect(200);
    assert_eq!(hours["data"].as_array().unwrap().len(), 1, "{hours}");
    let summary = &hours["data"][0];
    assert_eq!(summary["startsAt"], json!(Timestamp::from_unix_ms(hour)));
    for (key, count) in [("healthy", 2), ("degraded", 1), ("down", 1), ("inconclusive", 1)] {
        assert_eq!(summary[key], count, "{key}");
    }
    assert_eq!((&summary["uptime"], &summary["responseTimeMs"]["p95"]), (&json!(0.75), &json!(40)));
    let days = service.get(&format!("{path}/summaries?period=day")).await.expect(200);
    assert_eq!(days["data"][0]["healthy"], 2);
    let until = Timestamp::from_unix_ms(hour);
    let earlier = service.get(&format!("{path}/summaries?until={until}")).await.expect(200);
    assert_eq!(earlier["data"], json!([]));
    let uptime = service.get(&path).await.expect(200)["uptime"].clone();
    assert_eq!(uptime, json!({"last24Hours": 0.75, "last30Days": 0.75}));
    for (query, pointer) in [
        ("period=week", "/period"),
        ("from=yesterday", "/from"),
        ("period=hour&from=2020-01-01T00:00:00Z", "/from"),
        ("limit=5", "/limit"),
    ] {
        let pointers = service.get(&format!("{path}/summaries?{query}")).await.problem(422, "invalid");
        assert_eq!(pointers, [pointer], "{query}");
    }
}
