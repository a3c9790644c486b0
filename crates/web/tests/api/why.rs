//! “Why did I not hear of it?”, asked over HTTP. What the sentences are is tested where they are made.

use serde_json::{Value, json};
use tidings_domain::id::{ChannelId, EventId};

use crate::endpoints::{channel, made, path};
use crate::harness::{Service, nobodys};
use crate::receiver::Receiver;

async fn rule(service: &Service, body: Value) -> Value {
    service.post("/notification-rules", &body).await.expect(201)["rule"]["id"].clone()
}

async fn why(service: &Service, event: &Value, channel: Option<&str>) -> Value {
    let query = channel.map(|id| format!("?channel={id}")).unwrap_or_default();
    service.get(&format!("/events/{}/why{query}", event.as_str().unwrap())).await.expect(200)
}

#[tokio::test]
async fn each_channel_has_its_answer() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let (heard, paused, passed) = (
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
    let of_heard = rule(&service, on(&heard, "enabled", json!(true))).await;
    let of_paused = rule(&service, on(&paused, "paused", json!(true))).await;
    let of_passed = rule(&service, on(&passed, "triggers", json!(["success"]))).await;
    let event = service.failed("run-1").await["eventId"].clone();
    receiver.next().await;
    service.settled("run-1", &["sent", "suppressed"]).await;

    let all = why(&service, &event, None).await;
    assert_eq!(all["answer"], "2 deliveries: 1 sent, 1 suppressed; 1 rule was passed over");
    assert_eq!((&all["eventId"], &all["kind"]), (&event, &json!("flow.run.terminal")));
    assert_eq!((all["deliveries"].as_array().unwrap().len(), &all["channelId"]), (2, &Value::Null));
    let of_channel = async |id: &str| {
        let answered = why(&service, &event, Some(id)).await;
        assert_eq!(answered["channelId"], id);
        answered
    };
    let sent = of_channel(&heard).await;
    assert!(sent["answer"].as_str().unwrap().starts_with("Sent at "), "{sent}");
    assert!(sent["answer"].as_str().unwrap().ends_with(" UTC, attempt 1 of 6"), "{sent}");
    let told = &sent["deliveries"][0];
    assert_eq!((&told["ruleId"], &told["channelName"]), (&of_heard, &json!("a channel")));
    assert_eq!(told["verdicts"].as_array().unwrap().len(), 13);
    let stopped = of_channel(&paused).await;
    assert_eq!(stopped["answer"], "Not told: the rule is paused");
    assert_eq!(stopped["deliveries"][0]["ruleId"], of_paused);
    let not_routed = of_channel(&passed).await;
    let answer = "Not told: the rule does not ask for runs that fail";
    let expected = json!([{
        "ruleId": of_passed, "channelId": passed, "channelName": "a channel", "reason": "trigger", "answer": answer,
    }]);
    assert_eq!((&not_routed["answer"], &not_routed["notRouted"]), (&json!(answer), &expected));
    let nobody = of_channel(&unwired).await;
    assert_eq!(nobody["answer"], "Nobody asked: no rule joins flow f1 to a channel");
    rule(&service, on(&unwired, "enabled", json!(true))).await;
    let answer = "Nobody asked: no rule joined flow f1 to a channel when it came in; one does now";
    assert_eq!(of_channel(&unwired).await["answer"], answer);
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let service = Service::start().await;
    let event = service.failed("run-1").await["eventId"].clone();
    let path = format!("/events/{}/why", event.as_str().unwrap());
    assert_eq!(service.get(&path).await.expect(200)["answer"], "Nobody asked: no rule joins flow f1 to a channel");
    service.get(&format!("{path}?channel={}", nobodys::<ChannelId>())).await.problem(404, "not_found");
    assert_eq!(service.get(&format!("{path}?channel=ops")).await.problem(422, "invalid"), ["/channel"]);
    assert_eq!(service.get(&format!("{path}?chanel=ops")).await.problem(422, "invalid"), ["/chanel"]);
    service.get(&format!("/events/{}/why", nobodys::<EventId>())).await.problem(404, "not_found");
    let theirs = service.bare("GET", &format!("/api/workspaces/other{path}"));
    let theirs = theirs.header("authorization", format!("Bearer {}", service.other_key));
    service.ask(theirs.body(Default::default()).unwrap()).await.problem(404, "not_found");
}

#[tokio::test]
async fn events_of_incidents_tell_of_the_incident() {
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
    let answer = "Not told: the endpoint does not want its recoveries to be said";
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
