//! Property: a simulation matches the real event at the same instant, for arbitrary channels, rules and mutes. Some of
//! the rules share a channel.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tidings_domain::calendar::DAYS;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::ManualClock;

use crate::endpoints::made;
use crate::harness::Service;

/// Each case takes a dozen requests.
const CASES: u32 = 40;
const MINUTE_MS: u64 = 60_000;

/// A channel with one rule: their policies, and whether the channel is muted.
#[derive(Debug, Clone)]
struct Listener {
    policies: Value,
    rule: Value,
    /// A rule of every resource through the same channel.
    every: Option<Value>,
    is_muted: bool,
}

#[derive(Debug, Clone)]
struct Case {
    minutes_on: u64,
    listeners: Vec<Listener>,
    muted_minutes: Option<u64>,
    /// Runs that are reported before, at the same instant.
    before: usize,
    trigger_type: Option<&'static str>,
}

fn quiet_hours() -> impl Strategy<Value = Value> {
    let zone = prop_oneof![Just("UTC"), Just("Europe/Zurich"), Just("America/New_York"), Just("Asia/Kathmandu")];
    let days = proptest::sample::subsequence(DAYS.to_vec(), 0..7);
    (0..24u8, 6..24u8, zone, days, any::<bool>(), any::<bool>()).prop_map(
        |(start, hours, timezone, days, drops, critical_passes)| {
            json!({
                "start": format!("{start:02}:00"), "end": format!("{:02}:30", (start + hours) % 24), "timezone": timezone,
                "days": days, "action": if drops { "drop" } else { "hold" }, "criticalPasses": critical_passes,
            })
        },
    )
}

fn policies() -> impl Strategy<Value = Value> {
    let limit = (1..3u32, prop_oneof![Just("digest"), Just("drop")])
        .prop_map(|(max, action)| json!({"maxPerMinute": max, "action": action}));
    let filter = prop_oneof![4 => Just("info+"), 2 => Just("warning+"), 1 => Just("critical")];
    let priority = prop_oneof![3 => Just("standard"), 1 => Just("critical")];
    (proptest::bool::weighted(0.95), filter, priority, option::weighted(0.7, quiet_hours()), option::of(limit))
        .prop_map(|(enabled, severity_filter, priority, quiet_hours, rate_limit)| {
            json!({
                "enabled": enabled, "severityFilter": severity_filter, "deliveryPriority": priority,
                "quietHours": quiet_hours, "rateLimit": rate_limit,
            })
        })
}

fn rule() -> impl Strategy<Value = Value> {
    let severity = prop_oneof![Just("critical"), Just("warning"), Just("info")];
    let triggers = prop_oneof![6 => Just(json!(["success", "failure"])), 1 => Just(json!(["success"]))];
    let trigger_types = prop_oneof![6 => Just(json!([])), 1 => Just(json!(["scheduled"]))];
    let (enabled, paused) = (proptest::bool::weighted(0.95), proptest::bool::weighted(0.08));
    (severity, triggers, trigger_types, enabled, paused).prop_map(|(severity, triggers, types, enabled, paused)| {
        json!({
            "resourceType": "flow", "triggers": triggers, "triggerTypes": types, "enabled": enabled, "paused": paused,
            "failureSeverity": severity,
        })
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let listener = (policies(), rule(), option::weighted(0.3, rule()), proptest::bool::weighted(0.2))
        .prop_map(|(policies, rule, every, is_muted)| Listener { policies, rule, every, is_muted });
    let how = option::of(prop_oneof![Just("scheduled"), Just("manual")]);
    let muted = option::weighted(0.15, 1..600u64);
    (1..3_000u64, vec(listener, 1..4), muted, 0..4usize, how).prop_map(
        |(minutes_on, listeners, muted_minutes, before, trigger_type)| Case {
            minutes_on,
            listeners,
            muted_minutes,
            before,
            trigger_type,
        },
    )
}

/// The resources of one case, which are deleted at its end.
struct World<'a> {
    service: &'a Service,
    resource_id: String,
    channels: Vec<String>,
}

impl World<'_> {
    async fn make(&mut self, number: usize, listener: &Listener) {
        let hook = format!("https://hooks.slack.com/services/T0/B0/{number}");
        let mut channel = json!({"name": format!("#{number}"), "type": "slack", "config": {"webhookUrl": hook}});
        channel.as_object_mut().unwrap().extend(listener.policies.as_object().unwrap().clone());
        let made = self.service.post("/channels", &channel).await.expect(201);
        let id = made["channel"]["id"].as_str().unwrap().to_owned();
        let mut rule = listener.rule.clone();
        (rule["resourceId"], rule["channelId"]) = (self.resource_id.as_str().into(), id.as_str().into());
        self.service.post("/notification-rules", &rule).await.expect(201);
        if let Some(mut every) = listener.every.clone() {
            (every["resourceId"], every["channelId"]) = ("*".into(), id.as_str().into());
            self.service.post("/notification-rules", &every).await.expect(201);
        }
        if listener.is_muted {
            let mute = json!({"scope": "channel", "targetId": id, "reason": "deploy"});
            self.service.post("/mutes", &mute).await.expect(201);
        }
        self.channels.push(id);
    }

    fn run(&self, trigger_type: Option<&str>) -> Value {
        json!({
            "resourceType": "flow", "resourceId": self.resource_id, "status": "failure", "triggerType": trigger_type,
        })
    }

    async fn report(&self, run_id: &str, trigger_type: Option<&str>) -> Value {
        let mut run = self.run(trigger_type);
        run["runId"] = run_id.into();
        let accepted = self.service.post("/runs", &run).await.expect(202);
        self.service.get(&format!("/events/{}", accepted["eventId"].as_str().unwrap())).await.expect(200)
    }

    async fn end(self) {
        for id in self.channels {
            self.service.delete(&format!("/channels/{id}?force=true")).await.expect(204);
        }
        self.service.patch("/notification-preferences", &json!({"globalMuteUntil": null})).await.expect(200);
    }
}

fn by_rule(list: &Value) -> Vec<Value> {
    let mut list = list.as_array().unwrap().clone();
    list.sort_by_key(|item| item["ruleId"].to_string());
    list
}

/// Asserts that the simulation matches the event.
fn compare(simulation: &Value, event: &Value) {
    assert_eq!((&simulation["kind"], &simulation["at"]), (&event["kind"], &event["receivedAt"]));
    assert_eq!(by_rule(&simulation["notRouted"]), by_rule(&event["notRouted"]));
    let (simulated, deliveries) = (by_rule(&simulation["deliveries"]), by_rule(&event["deliveries"]));
    assert_eq!(simulated.len(), deliveries.len());
    for (expected, delivery) in simulated.iter().zip(&deliveries) {
        for key in ["ruleId", "channelId", "severity", "verdicts"] {
            assert_eq!(expected[key], delivery[key], "{key} of {expected} and {delivery}");
        }
        let status = delivery["status"].as_str().unwrap();
        match expected["outcome"].as_str().unwrap() {
            "send" => assert!(matches!(status, "pending" | "sending" | "sent" | "failed"), "{delivery}"),
            "hold" => {
                assert_eq!((status, &expected["until"]), ("held", &delivery["heldUntil"]), "{delivery}");
                assert_eq!(expected["reason"], delivery["heldReason"]);
            }
            _ => {
                assert_eq!(status, "suppressed", "{delivery}");
                assert_eq!(expected["reason"], delivery["suppressedReason"]);
            }
        }
    }
}

async fn check(service: &Service, clock: &ManualClock, number: usize, case: &Case) {
    clock.advance_ms(case.minutes_on * MINUTE_MS);
    let mut world = World { service, resource_id: format!("flow-{number}"), channels: Vec::new() };
    for (index, listener) in case.listeners.iter().enumerate() {
        world.make(number * 10 + index, listener).await;
    }
    if let Some(minutes) = case.muted_minutes {
        let until = tidings_engine::clock::Clock::now(clock).plus_ms(minutes * MINUTE_MS).to_string();
        service.patch("/notification-preferences", &json!({"globalMuteUntil": until})).await.expect(200);
    }
    for earlier in 0..case.before {
        world.report(&format!("before-{earlier}"), None).await;
    }
    let simulation = service.post("/simulate", &json!({"run": world.run(case.trigger_type)})).await.expect(200);
    let event = world.report("run", case.trigger_type).await;
    compare(&simulation, &event);
    world.end().await;
}

#[test]
fn simulated_run_matches_reported_run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-03-27T00:00:00Z").unwrap()));
    let service = runtime.block_on(Service::start_at(Arc::clone(&clock)));
    let mut runner =
        TestRunner::new(Config { cases: CASES, failure_persistence: None, max_shrink_iters: 50, ..Config::default() });
    let number = std::cell::Cell::new(0);
    let outcome = runner.run(&cases(), |case| {
        number.set(number.get() + 1);
        runtime.block_on(check(&service, &clock, number.get(), &case));
        Ok(())
    });
    outcome.unwrap();
}

#[tokio::test]
async fn simulated_opening_matches_real_opening() {
    let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-05-02T23:00:00Z").unwrap()));
    let service = Service::start_at(clock).await;
    let parent = made(&service, json!({"name": "the network", "failureThreshold": 1})).await;
    let endpoint = made(&service, json!({"failureThreshold": 1, "parentId": parent["id"]})).await;
    let mut world =
        World { service: &service, resource_id: endpoint["id"].as_str().unwrap().to_owned(), channels: vec![] };
    for (number, policies) in [
        json!({"severityFilter": "critical"}),
        json!({"eventFilters": {"sendOpen": false}}),
        json!({"quietHours": {"start": "22:00", "end": "06:00", "timezone": "UTC"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let rule = json!({"resourceType": "endpoint"});
        world.make(number, &Listener { policies, rule, every: None, is_muted: false }).await;
    }
    let check = async |endpoint: &Value, status: &str| {
        let path = format!("/endpoints/{}/checks", endpoint["id"].as_str().unwrap());
        service.post(&path, &json!({"status": status})).await.expect(202);
    };
    for (parent_status, status, cause) in
        [("healthy", "degraded", "endpoint_degraded"), ("down", "down", "endpoint_down")]
    {
        check(&parent, parent_status).await;
        let question = json!({"endpoint": {"id": endpoint["id"], "event": "opened", "cause": cause}});
        let simulation = service.post("/simulate", &question).await.expect(200);
        check(&endpoint, status).await;
        let found = service.get("/events?kind=incident_opened&limit=1").await.expect(200);
        let event = service.get(&format!("/events/{}", found["data"][0]["id"].as_str().unwrap())).await.expect(200);
        compare(&simulation, &event);
        check(&endpoint, "healthy").await;
        check(&endpoint, "healthy").await;
    }
}
