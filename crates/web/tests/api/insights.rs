//! Aggregates for pages: overview, queue, counts by period, uptime, maintenance windows, uses of channels.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_domain::id::EndpointId;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::{Clock as _, ManualClock};

use crate::endpoints::{channel, made, path};
use crate::harness::{Service, unknown_id};
use crate::receiver::Receiver;

fn clock(text: &str) -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::parse(text).unwrap()))
}

async fn down(service: &Service, endpoint: &Value) -> Value {
    let check = json!({"status": "down", "statusReason": "timed out"});
    service.post(&format!("{}/checks", path(endpoint)), &check).await.expect(202)
}

#[tokio::test]
async fn overview_counts_what_is_wrong_now() {
    let receiver = Receiver::start().await;
    let clock = clock("2026-05-02T04:00:00Z");
    let service = Service::start_at(Arc::clone(&clock)).await;
    let empty = service.get("/overview").await.expect(200);
    let none = json!({"count": 0, "isMore": false});
    assert_eq!(empty["deliveries"], json!({"failed": none, "pending": none, "held": none}));
    assert_eq!(empty["incidents"], json!({"active": none, "critical": 0, "warning": 0, "info": 0, "acknowledged": 0}));

    let broken = made(&service, json!({"name": "one", "failureThreshold": 1})).await;
    made(&service, json!({"name": "two"})).await;
    made(&service, json!({"name": "three", "enabled": false})).await;
    let incident = down(&service, &broken).await["incident"]["id"].as_str().unwrap().to_owned();
    let counts = service.get("/overview").await.expect(200);
    let endpoints = json!({
        "total": 3, "healthy": 0, "degraded": 0, "down": 1, "inconclusive": 0, "pending": 1, "paused": 1,
    });
    assert_eq!(counts["endpoints"], endpoints);
    let incidents =
        json!({"active": {"count": 1, "isMore": false}, "critical": 1, "warning": 0, "info": 0, "acknowledged": 0});
    assert_eq!(counts["incidents"], incidents);
    service.post(&format!("/incidents/{incident}/acknowledge"), &json!({})).await.expect(200);
    assert_eq!(service.get("/overview").await.expect(200)["incidents"]["acknowledged"], 1);

    // A failed delivery, its channel failing; a failed test counts as connectivity only.
    receiver.answer(500);
    let channel = json!({
        "name": "#ops", "type": "webhook", "config": {"url": receiver.url}, "retryOnFailure": false,
    });
    let id = service.post("/channels", &channel).await.expect(201)["channel"]["id"].as_str().unwrap().to_owned();
    let quiet = json!({
        "name": "quiet", "type": "webhook", "config": {"url": receiver.url}, "enabled": false,
    });
    service.post("/channels", &quiet).await.expect(201);
    service.post(&format!("/channels/{id}/test"), &json!({})).await.expect(200);
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["success", "failure"], "channelId": id});
    service.post("/notification-rules", &rule).await.expect(201);
    service.failed("r1").await;
    service.settle().await;
    let counts = service.get("/overview").await.expect(200);
    assert_eq!(counts["deliveries"]["failed"], json!({"count": 1, "isMore": false}), "{counts}");
    let channels = json!({
        "total": 2, "connected": 0, "notConnected": 1, "untested": 1, "disabled": 1, "failing": 1, "paused": 0,
    });
    assert_eq!(counts["channels"], channels);
    service.get("/deliveries/stats").await.expect(200);
    let day = service.get("/overview").await.expect(200)["last24Hours"].clone();
    assert_eq!((&day["failed"], &day["runsFailed"], &day["sent"]), (&1.into(), &1.into(), &0.into()));
    clock.advance_ms(25 * 3_600_000);
    assert_eq!(service.get("/overview").await.expect(200)["deliveries"]["failed"]["count"], 0, "a day later");
}

#[tokio::test]
async fn queue_shows_backlog_pauses_and_what_is_next() {
    let receiver = Receiver::start().await;
    let clock = clock("2026-05-02T21:59:00Z");
    let service = Service::start_at(Arc::clone(&clock)).await;
    let empty = service.get("/queue").await.expect(200);
    assert_eq!((&empty["pending"], &empty["oldestMadeAt"], &empty["channels"]), (&0.into(), &Value::Null, &json!([])));
    receiver.answer(500);
    service.rule_to(&receiver.url).await;
    service.failed("r1").await;
    service.settle().await;
    let waiting = service.get("/queue").await.expect(200);
    assert_eq!((&waiting["pending"], &waiting["sending"], &waiting["held"]), (&1.into(), &0.into(), &0.into()));
    assert_eq!(waiting["oldestMadeAt"], "2026-05-02T21:59:00.000Z");
    let retry = &waiting["next"]["retries"][0];
    let at = Timestamp::parse(retry["at"].as_str().unwrap()).unwrap();
    assert!((13_000..=17_000).contains(&at.since_ms(clock.now())), "{retry}");
    let channel = &waiting["channels"][0];
    assert_eq!(
        (&channel["isPrivate"], &channel["pending"], &channel["channelId"]),
        (&true.into(), &1.into(), &retry["channelId"])
    );
    assert_eq!(waiting["nextDueAt"], retry["at"]);

    // Quiet hours hold a second delivery, through a shared channel.
    let quiet = json!({
        "name": "#ops", "type": "slack", "config": {"webhookUrl": "https://hooks.slack.com/services/T0/B0/x"},
        "quietHours": {"start": "21:00", "end": "07:00", "timezone": "UTC"},
    });
    let id = service.post("/channels", &quiet).await.expect(201)["channel"]["id"].as_str().unwrap().to_owned();
    let rule = json!({"resourceType": "flow", "resourceId": "f2", "triggers": ["failure"], "channelId": id});
    service.post("/notification-rules", &rule).await.expect(201);
    let run = json!({"resourceType": "flow", "resourceId": "f2", "runId": "r2", "status": "failure"});
    service.post("/runs", &run).await.expect(202);
    let held = service.get("/queue").await.expect(200);
    let release = json!({"channelId": id, "at": "2026-05-03T07:00:00.000Z", "held": 1, "isDigest": true});
    assert_eq!((&held["held"], &held["next"]["releases"]), (&1.into(), &json!([release])));
    assert_eq!(held["next"]["held"][0]["at"], "2026-05-03T07:00:00.000Z");
    assert_eq!(held["channels"].as_array().unwrap().len(), 2);
    assert_eq!(service.get("/queue?limit=1").await.expect(200)["channels"].as_array().unwrap().len(), 1);
    assert_eq!(service.get("/overview").await.expect(200)["deliveries"]["held"]["count"], 1);
    assert_eq!(service.get("/queue?limit=101").await.problem(422, "invalid"), ["/limit"]);
}

#[tokio::test]
async fn delivery_stats_count_by_period() {
    let receiver = Receiver::start().await;
    let service = Service::start_at(clock("2026-05-02T04:00:30Z")).await;
    service.rule_to(&receiver.url).await;
    service.failed("r1").await;
    service.failed("r1").await;
    service.settle().await;
    let stats =
        service.get("/deliveries/stats?since=2026-05-02T03:58:00Z&until=2026-05-02T04:01:00Z").await.expect(200);
    let idle = |starts_at: &str| json!({"startsAt": starts_at, "sent": 0, "failed": 0, "suppressed": 0, "skipped": 0, "runsSucceeded": 0, "runsFailed": 0});
    let mut busy = idle("2026-05-02T04:00:00.000Z");
    (busy["sent"], busy["runsFailed"]) = (1.into(), 1.into());
    let data = json!([idle("2026-05-02T03:58:00.000Z"), idle("2026-05-02T03:59:00.000Z"), busy]);
    assert_eq!(stats, json!({"periodMinutes": 1, "data": data}));
    let by_day = service.get("/deliveries/stats?since=2026-05-01T00:00:00Z&periodMinutes=1440").await.expect(200);
    let sent: Vec<_> = by_day["data"].as_array().unwrap().iter().map(|day| day["sent"].clone()).collect();
    assert_eq!(sent, [0, 1]);
    assert_eq!(service.get("/deliveries/stats").await.expect(200)["data"].as_array().unwrap().len(), 61);
    for (query, pointer) in [
        ("?since=2026-05-02T04:00:30Z&until=2026-05-02T04:00:30Z", "/since"),
        ("?since=2026-05-01T00:00:00Z", "/since"),
        ("?periodMinutes=0", "/periodMinutes"),
        ("?periodMinutes=1441", "/periodMinutes"),
        ("?until=yesterday", "/until"),
    ] {
        let found = service.get(&format!("/deliveries/stats{query}")).await.problem(422, "invalid");
        assert_eq!(found, [pointer], "{query}");
    }
}

#[tokio::test]
async fn uptime_of_many_endpoints_is_by_day() {
    let clock = clock("2026-05-02T23:59:00Z");
    let service = Service::start_at(Arc::clone(&clock)).await;
    let one = made(&service, json!({"name": "one", "failureThreshold": 1, "recoveryThreshold": 1})).await;
    let two = made(&service, json!({"name": "two"})).await;
    down(&service, &one).await;
    clock.advance_ms(120_000);
    service.post(&format!("{}/checks", path(&one)), &json!({"status": "healthy"})).await.expect(202);
    let (one, two) = (one["id"].as_str().unwrap(), two["id"].as_str().unwrap());
    let foreign = unknown_id::<EndpointId>();
    let found = service.get(&format!("/endpoints/uptime?ids={two},{one},{foreign},{two}")).await.expect(200);
    let day = |starts_at: &str, uptime: f64, counts: [u32; 3], down_ms: u64| {
        let [healthy, down, incidents] = counts;
        json!({
            "startsAt": starts_at, "uptime": uptime, "healthy": healthy, "degraded": 0, "down": down, "inconclusive": 0,
            "incidents": incidents, "downMs": down_ms,
        })
    };
    let days = json!([
        day("2026-05-02T00:00:00.000Z", 0.0, [0, 1, 1], 60_000),
        day("2026-05-03T00:00:00.000Z", 1.0, [1, 0, 0], 60_000),
    ]);
    let expected = json!({"data": [
        {"endpointId": two, "uptime": null, "days": []},
        {"endpointId": one, "uptime": 0.5, "days": days},
    ]});
    assert_eq!(found, expected);
    let today = service.get(&format!("/endpoints/uptime?ids={one}&days=1")).await.expect(200);
    assert_eq!(today["data"][0]["days"].as_array().unwrap().len(), 1);
    let many = vec![one; 101].join(",");
    for (query, pointer) in [
        ("", "/ids"),
        ("?ids=", "/ids"),
        ("?ids=x", "/ids/0"),
        (&*format!("?ids={one}&days=91"), "/days"),
        (&*format!("?ids={many}"), "/ids"),
    ] {
        assert_eq!(
            service.get(&format!("/endpoints/uptime{query}")).await.problem(422, "invalid"),
            [pointer],
            "{query}"
        );
    }
}

#[tokio::test]
async fn maintenance_windows_occur_at_the_right_instants() {
    let service = Service::start_at(clock("2026-03-28T00:00:00Z")).await;
    let nightly = json!({"kind": "recurring", "start": "02:30", "durationMinutes": 60, "timezone": "Europe/Zurich"});
    let once = json!({"kind": "once", "startsAt": "2026-03-29T00:00:00Z", "endsAt": "2026-03-29T06:00:00Z"});
    let one = made(&service, json!({"name": "one", "maintenanceWindows": [nightly, once]})).await;
    let two = made(&service, json!({"name": "two", "maintenanceWindows": [nightly]})).await;
    let (one, two) = (one["id"].as_str().unwrap(), two["id"].as_str().unwrap());
    let all = service.get("/maintenance-windows?until=2026-03-30T00:00:00Z").await.expect(200);
    let shown: Vec<_> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["startsAt"].as_str().unwrap(), it["endpointId"].as_str().unwrap(), it["window"].clone()))
        .collect();
    // In the night to the 29th the clock skips from 02:00 to 03:00.
    let expected = [
        ("2026-03-28T01:30:00.000Z", one, json!(0)),
        ("2026-03-28T01:30:00.000Z", two, json!(0)),
        ("2026-03-29T00:00:00.000Z", one, json!(1)),
        ("2026-03-29T01:30:00.000Z", one, json!(0)),
        ("2026-03-29T01:30:00.000Z", two, json!(0)),
    ];
    assert_eq!(shown, expected);
    let first = json!({
        "startsAt": "2026-03-28T01:30:00.000Z", "endsAt": "2026-03-28T02:30:00.000Z", "endpointId": one,
        "endpointName": "one", "window": 0, "timezone": "Europe/Zurich",
    });
    assert_eq!(all["data"][0], first);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page =
            service.get(&format!("/maintenance-windows?until=2026-03-30T00:00:00Z&limit=2{cursor}")).await.expect(200);
        paged.extend(page["data"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(json!(paged), all["data"]);
    let of_two = service.get(&format!("/maintenance-windows?endpoint={two}")).await.expect(200);
    assert_eq!(of_two["data"].as_array().unwrap().len(), 30, "one a night for 30 days");
    for (query, pointer) in [
        ("?since=2026-03-28T00:00:00Z&until=2026-03-28T00:00:00Z", "/until"),
        ("?until=2026-06-29T00:00:00Z", "/until"),
        ("?cursor=1.2.3", "/cursor"),
        ("?limit=1001", "/limit"),
        ("?endpoint=x", "/endpoint"),
    ] {
        let found = service.get(&format!("/maintenance-windows{query}")).await.problem(422, "invalid");
        assert_eq!(found, [pointer], "{query}");
    }
}

#[tokio::test]
async fn channel_shows_how_many_rules_and_steps_use_it() {
    let service = Service::start().await;
    let id = channel(&service, "https://example.com/hook").await;
    let uses = async || service.get(&format!("/channels/{id}")).await.expect(200)["uses"].clone();
    assert_eq!(uses().await, json!({"rules": 0, "escalationSteps": 0}));
    for resource in ["f1", "f2"] {
        let rule = json!({"resourceType": "flow", "resourceId": resource, "triggers": ["failure"], "channelId": id});
        service.post("/notification-rules", &rule).await.expect(201);
    }
    let steps = json!([{"afterSeconds": 60, "channelId": id}, {"afterSeconds": 120, "channelId": id}]);
    made(&service, json!({"name": "API", "escalation": steps})).await;
    assert_eq!(uses().await, json!({"rules": 2, "escalationSteps": 2}));
    let listed = service.get("/channels").await.expect(200);
    assert_eq!(listed["data"][0]["uses"], json!({"rules": 2, "escalationSteps": 2}));
}

#[tokio::test]
async fn rules_of_the_workspace_are_filtered_and_paged() {
    let service = Service::start().await;
    let id = channel(&service, "https://example.com/hook").await;
    let mut made_rules = Vec::new();
    for (resource_type, resource_id, enabled, paused) in
        [("flow", "Import", true, false), ("flow", "*", false, false), ("job", "backup", true, true)]
    {
        let rule = json!({
            "resourceType": resource_type, "resourceId": resource_id, "triggers": ["failure"], "channelId": id,
            "enabled": enabled, "paused": paused,
        });
        made_rules.push(service.post("/notification-rules", &rule).await.expect(201)["rule"].clone());
    }
    let own = service.rule_to("https://example.com/own").await;
    let ids: Vec<&str> = made_rules.iter().map(|rule| rule["id"].as_str().unwrap()).chain([own.as_str()]).collect();
    let listed = async |query: &str| -> Vec<String> {
        let page = service.get(&format!("/rules{query}")).await.expect(200);
        page["data"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap().to_owned()).collect()
    };
    for (query, expected) in [
        (String::new(), vec![3, 2, 1, 0]),
        ("?resourceType=flow".to_owned(), vec![3, 1, 0]),
        ("?resourceId=*".to_owned(), vec![1]),
        (format!("?channel={id}"), vec![2, 1, 0]),
        ("?enabled=false".to_owned(), vec![1]),
        ("?paused=true".to_owned(), vec![2]),
        ("?q=IMPORT".to_owned(), vec![0]),
        ("?q=a%20CHANNEL&enabled=true".to_owned(), vec![2, 0]),
        ("?q=absent".to_owned(), vec![]),
        ("?limit=1".to_owned(), vec![3]),
        (format!("?cursor={}", ids[2]), vec![1, 0]),
    ] {
        let expected: Vec<&str> = expected.into_iter().map(|index: usize| ids[index]).collect();
        assert_eq!(listed(&query).await, expected, "{query}");
    }
    let page = service.get("/rules?limit=3").await.expect(200);
    assert_eq!((&page["data"][1], &page["nextCursor"]), (&made_rules[2], &made_rules[1]["id"]));
    assert_eq!(service.get("/rules?limit=4").await.expect(200)["nextCursor"], Value::Null);
    for (query, pointer) in
        [("?cursor=x", "/cursor"), ("?resourceType=channel", "/resourceType"), ("?enabled=maybe", "/enabled")]
    {
        assert_eq!(service.get(&format!("/rules{query}")).await.problem(422, "invalid"), [pointer], "{query}");
    }
}
