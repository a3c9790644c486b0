//! `GET /events/{id}/why`. Its sentences are tested in `view::why`.

use serde_json::{Value, json};
use tidings_domain::id::{ChannelId, EventId};

use crate::endpoints::{channel, made, path};
use crate::harness::{Service, unknown_id};
use crate::receiver::Receiver;

async fn rule(service: &Service, body: Value) -> Value {
    service.post("/notification-rules", &body).await.expect(201)["rule"]["id"].clone()
}

async fn why(service: &Service, event: &Value, channel: Option<&str>) -> Value {
    let query = channel.map(|id| format!("?channel={id}")).unwrap_or_default();
    service.get(&format!("/events/{}/why{query}", event.as_str().unwrap())).await.expect(200)
}

#[tokio::test]
async fn why_explains_each_channel() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let (notified, paused, unmatched) = (
        channel(&service, &receiver.url).await,
        channel(&service, "https://example.com/2").await,
        channel(&service, "https://example.com/3").await,
    );
    let unwired = channel(&service, "https://example.com/4").await;
    let base = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"]});
    let on = |channel: &str, key: &str, value: Value| {
        let mut body = base.clone();
        (body["channelId"], body[key]) = (channel.into(), value);
        body
    };
    let rule_of_notified = rule(&service, on(&notified, "enabled", json!(true))).await;
    let rule_of_paused = rule(&service, on(&paused, "paused", json!(true))).await;
    let rule_of_unmatched = rule(&service, on(&unmatched, "triggers", json!(["success"]))).await;
    let event = service.failed("run-1").await["eventId"].clone();
    receiver.next().await;
    service.settled("run-1", &["sent", "suppressed"]).await;

    let all = why(&service, &event, None).await;
    assert_eq!(all["answer"], "2 deliveries: 1 sent, 1 suppressed; 1 rule did not match");
    assert_eq!((&all["eventId"], &all["kind"]), (&event, &json!("flow.run.terminal")));
    assert_eq!((all["deliveries"].as_array().unwrap().len(), &all["channelId"]), (2, &Value::Null));
    let of_channel = async |id: &str| {
        let answered = why(&service, &event, Some(id)).await;
        assert_eq!(answered["channelId"], id);
        answered
    };
    let sent = of_channel(&notified).await;
    assert!(sent["answer"].as_str().unwrap().starts_with("Sent at "), "{sent}");
    assert!(sent["answer"].as_str().unwrap().ends_with(" UTC, attempt 1 of 6"), "{sent}");
    let delivery = &sent["deliveries"][0];
    assert_eq!((&delivery["ruleId"], &delivery["channelName"]), (&rule_of_notified, &json!("a channel")));
    assert_eq!(delivery["verdicts"].as_array().unwrap().len(), 13);
    let stopped = of_channel(&paused).await;
    assert_eq!(stopped["answer"], "Not notified: the rule is paused");
    assert_eq!(stopped["deliveries"][0]["ruleId"], rule_of_paused);
    let not_routed = of_channel(&unmatched).await;
    let answer = "Not notified: the rule is not triggered by runs that fail";
    let expected = json!([{
        "ruleId": rule_of_unmatched, "channelId": unmatched, "channelName": "a channel", "reason": "trigger", "answer": answer,
    }]);
    assert_eq!((&not_routed["answer"], &not_routed["notRouted"]), (&json!(answer), &expected));
    let none = of_channel(&unwired).await;
    assert_eq!(none["answer"], "No rule joins flow f1 to a channel");
    rule(&service, on(&unwired, "enabled", json!(true))).await;
    let answer = "No rule joined flow f1 to a channel when the event was received; one does now";
    assert_eq!(of_channel(&unwired).await["answer"], answer);
}

#[tokio::test]
async fn why_of_unknown_event_or_channel_returns_404() {
    let service = Service::start().await;
    let event = service.failed("run-1").await["eventId"].clone();
    let path = format!("/events/{}/why", event.as_str().unwrap());
    assert_eq!(service.get(&path).await.expect(200)["answer"], "No rule joins flow f1 to a channel");
    service.get(&format!("{path}?channel={}", unknown_id::<ChannelId>())).await.problem(404, "not_found");
    assert_eq!(service.get(&format!("{path}?channel=ops")).await.problem(422, "invalid"), ["/channel"]);
    assert_eq!(service.get(&format!("{path}?chanel=ops")).await.problem(422, "invalid"), ["/chanel"]);
    service.get(&format!("/events/{}/why", unknown_id::<EventId>())).await.problem(404, "not_found");
    let theirs = service.bare("GET", &format!("/api/workspaces/other{path}"));
    let theirs = theirs.header("authorization", format!("Bearer {}", service.other_key));
    service.execute(theirs.body(Default::default()).unwrap()).await.problem(404, "not_found");
}

#[tokio::test]
async fn incident_event_has_incident_content() {
    let service = Service::start().await;
    let endpoint = made(&service, json!({"failureThreshold": 1, "recoveryAlert": false, "recoveryThreshold": 1})).await;
    let receiver = Receiver::start().await;
    let id = channel(&service, &receiver.url).await;
    let wire = json!({"channels": [{"channelId": id, "wired": true, "paused": false}]});
    service.put(&format!("{}/notifications", path(&endpoint)), &wire).await.expect(200);
    let check = async |status: &str| {
        let body = json!({"status": status, "statusReason": "HTTP 502 — expected 200"});
        service.post(&format!("{}/checks", path(&endpoint)), &body).await.expect(202)["incident"]["id"].clone()
    };
    let incident = check("down").await;
    check("healthy").await;
    let page = service.get("/events?resourceType=endpoint").await.expect(200);
    let [resolved, opened] = page["data"].as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!((&opened["kind"], &opened["trigger"]), (&json!("incident_opened"), &json!("opened")));
    assert_eq!((&opened["incident"]["id"], &opened["runId"]), (&incident, &incident));
    assert_eq!(
        (&opened["incident"]["cause"], &opened["incident"]["status"]),
        (&json!("endpoint_down"), &json!("active"))
    );
    assert_eq!((&opened["endpoint"]["id"], &opened["resourceName"]), (&endpoint["id"], &json!("Production API")));
    assert_eq!((&opened["detail"], opened.get("completedAt")), (&json!("HTTP 502 — expected 200"), None));
    assert_eq!((&resolved["incident"]["status"], &resolved["kind"]), (&json!("resolved"), &json!("incident_resolved")));
    service.settled(incident.as_str().unwrap(), &["sent"]).await;
    let answer = why(&service, &opened["id"], Some(&id)).await["answer"].clone();
    assert!(answer.as_str().unwrap().starts_with("Sent at "), "{answer}");
    let answer = "Not notified: recovery notifications are disabled for the endpoint";
    assert_eq!(why(&service, &resolved["id"], Some(&id)).await["answer"], answer);

    for (query, count) in
        [("trigger=opened", 1), ("kind=incident_resolved", 1), ("trigger=escalated:900", 0), ("resourceType=alert", 0)]
    {
        let found = service.get(&format!("/events?{query}")).await.expect(200);
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!(service.get("/runs").await.expect(200)["data"], json!([]), "an incident is no run");
    let of_incident = format!("/deliveries?incident={}", incident.as_str().unwrap());
    let found = service.get(&of_incident).await.expect(200);
    assert_eq!((found["data"].as_array().unwrap().len(), &found["data"][0]["runId"]), (1, &incident));
    assert_eq!(service.get("/deliveries?incident=1").await.problem(422, "invalid"), ["/incident"]);
    let rows =
        format!("/notification-rules/deliveries?resourceType=endpoint&resourceId={}", endpoint["id"].as_str().unwrap());
    assert_eq!(service.get(&rows).await.expect(200)["data"][0]["trigger"], "opened");
}
