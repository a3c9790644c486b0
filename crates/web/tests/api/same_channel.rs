//! Several rules that match one event and share a channel: one delivery.

use serde_json::{Value, json};

use crate::endpoints::{made, path};
use crate::harness::Service;
use crate::receiver::Receiver;

async fn shared_channel(service: &Service, url: &str) -> String {
    let channel = json!({"name": "#ops", "type": "webhook", "config": {"url": url}});
    service.post("/channels", &channel).await.expect(201)["channel"]["id"].as_str().unwrap().to_owned()
}

async fn event_of(service: &Service, run_id: &str) -> String {
    service.failed(run_id).await["eventId"].as_str().unwrap().to_owned()
}

async fn rule(service: &Service, rule: &Value) -> String {
    service.post("/notification-rules", rule).await.expect(201)["rule"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn rules_that_share_a_channel_send_one_delivery() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let channel = shared_channel(&service, &receiver.url).await;
    let of = |resource: &str, severity: &str, triggers: Value| {
        json!({"resourceType": "flow", "resourceId": resource, "triggers": triggers, "channelId": channel,
               "failureSeverity": severity})
    };
    // The oldest is the one of every flow, and a specific one that does not match; neither gets the delivery.
    let every = rule(&service, &of("*", "critical", json!(["failure"]))).await;
    let unmatched = rule(&service, &of("f1", "critical", json!(["success"]))).await;
    let first = rule(&service, &of("f1", "info", json!(["failure"]))).await;
    let second = rule(&service, &of("f1", "critical", json!(["success", "failure"]))).await;
    let private = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelType": "webhook",
                         "url": receiver.url});
    let private = [rule(&service, &private).await, rule(&service, &private).await];

    let simulated = json!({"run": {"resourceType": "flow", "resourceId": "f1", "status": "failure"}});
    let simulated = service.post("/simulate", &simulated).await.expect(200);
    let event_id = event_of(&service, "run-1").await;
    for _ in 0..3 {
        receiver.next().await;
    }
    let event = service.get(&format!("/events/{event_id}")).await.expect(200);
    let deliveries = event["deliveries"].as_array().unwrap();
    let mut rules: Vec<_> = deliveries.iter().map(|delivery| delivery["ruleId"].as_str().unwrap()).collect();
    rules.sort_unstable();
    let mut expected = vec![first.as_str(), &private[0], &private[1]];
    expected.sort_unstable();
    assert_eq!(rules, expected, "private channels always get their own");
    let delivery = deliveries.iter().find(|delivery| delivery["ruleId"] == *first).unwrap();
    assert_eq!(delivery["severity"], "info", "of the rule that got the delivery");
    let not_routed = json!([
        {"ruleId": unmatched, "reason": "trigger"},
        {"ruleId": second, "reason": "same_channel"},
        {"ruleId": every, "reason": "same_channel"},
    ]);
    assert_eq!(event["notRouted"], not_routed);
    assert_eq!(simulated["notRouted"], not_routed);
    let simulated = simulated["deliveries"].as_array().unwrap();
    assert!(simulated.iter().any(|delivery| delivery["ruleId"] == *first && delivery["severity"] == "info"));
    let why = service.get(&format!("/events/{event_id}/why?channel={channel}")).await.expect(200);
    assert_eq!(why["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(why["notRouted"].as_array().unwrap().len(), 3);
    assert!(why["answer"].as_str().unwrap().ends_with("1 rule did not match"), "{why}");
}

#[tokio::test]
async fn pause_of_the_rule_that_gets_the_delivery_applies() {
    let service = Service::start().await;
    let channel = shared_channel(&service, "https://example.com/hook").await;
    let of = |resource: &str, paused: bool| {
        json!({"resourceType": "flow", "resourceId": resource, "triggers": ["failure"], "channelId": channel,
               "paused": paused})
    };
    let every = rule(&service, &of("*", false)).await;
    let specific = rule(&service, &of("f1", true)).await;
    let event_id = event_of(&service, "run-1").await;
    let event = service.get(&format!("/events/{event_id}")).await.expect(200);
    let delivery = &event["deliveries"][0];
    assert_eq!(
        (&delivery["ruleId"], &delivery["suppressedReason"]),
        (&json!(specific), &json!("rule_paused")),
        "the specific rule decides"
    );
    assert_eq!(event["notRouted"], json!([{"ruleId": every, "reason": "same_channel"}]));
    // Disabled, it does not match, and the rule of every flow gets the next event.
    service.patch(&format!("/notification-rules/{specific}"), &json!({"enabled": false})).await.expect(200);
    let event_id = event_of(&service, "run-2").await;
    let event = service.get(&format!("/events/{event_id}")).await.expect(200);
    assert_eq!(event["deliveries"][0]["ruleId"], json!(every));
    assert_eq!(event["notRouted"], json!([{"ruleId": specific, "reason": "rule_disabled"}]));
}

#[tokio::test]
async fn identical_rule_on_a_shared_channel_is_refused() {
    let service = Service::start().await;
    let channel = shared_channel(&service, "https://example.com/hook").await;
    let body = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["success", "failure"],
                      "triggerTypes": ["scheduled", "api"], "channelId": channel});
    let first = rule(&service, &body).await;
    let with = |key: &str, value: Value| {
        let mut changed = body.clone();
        changed[key] = value;
        changed
    };
    let same = with("triggers", json!(["failure", "success"]));
    let same = json!({"triggerTypes": ["api", "schedule"], "enabled": false, "failureSeverity": "critical",
        "resourceType": same["resourceType"], "resourceId": "f1", "triggers": same["triggers"], "channelId": channel});
    let refused = service.post("/notification-rules", &same).await;
    let rules = refused.json()["rules"].clone();
    refused.problem(409, "rule_exists");
    assert_eq!(rules, json!([first]), "names the rule that exists");
    for other in
        [with("triggers", json!(["failure"])), with("triggerTypes", json!([])), with("resourceId", json!("f2"))]
    {
        rule(&service, &other).await;
    }
    let private = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelType": "webhook",
                         "url": "https://example.com/hook"});
    assert_ne!(rule(&service, &private).await, rule(&service, &private).await);
    // An edit cannot make it identical either; one that changes something else is no problem.
    let other = rule(&service, &with("triggers", json!(["success"]))).await;
    let at = format!("/notification-rules/{other}");
    service.patch(&at, &json!({"triggers": ["success", "failure"]})).await.problem(409, "rule_exists");
    service.patch(&at, &json!({"paused": true})).await.expect(200);
}

#[tokio::test]
async fn notifications_of_an_endpoint_show_rules_of_every_endpoint() {
    let service = Service::start().await;
    let wired = shared_channel(&service, "https://example.com/1").await;
    let other = shared_channel(&service, "https://example.com/2").await;
    let endpoint = made(&service, json!({})).await;
    let at = format!("{}/notifications", path(&endpoint));
    let every = json!({"resourceType": "endpoint", "resourceId": "*", "triggers": ["opened"], "channelId": other,
                       "paused": true});
    let every = rule(&service, &every).await;
    let private = json!({"resourceType": "endpoint", "resourceId": endpoint["id"], "channelType": "webhook",
                         "url": "https://example.com/3"});
    let private = rule(&service, &private).await;
    let wires = json!({"channels": [{"channelId": wired, "wired": true}]});
    let answer = service.put(&at, &wires).await.expect(200);
    assert_eq!(answer, service.get(&at).await.expect(200));
    assert_eq!(answer["channels"][1]["wired"], false, "the rule of every endpoint is none of its own");
    let others = answer["otherRules"].as_array().unwrap();
    let ids: Vec<_> = others.iter().map(|rule| rule["ruleId"].as_str().unwrap()).collect();
    assert_eq!(ids, [private.as_str(), &every]);
    assert_eq!(
        others[1],
        json!({"ruleId": every, "resourceId": "*", "channelId": other, "channelName": "#ops",
               "channelType": "webhook", "channelEnabled": true, "enabled": true, "paused": true,
               "triggers": ["opened"]})
    );
}
