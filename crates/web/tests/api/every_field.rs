//! Every field that can be set has an effect: for each, two things that differ in it alone behave differently.
//!
//! The fields come from the service itself, which lists those that it knows when it refuses one that it does not. A field
//! without a scenario here fails the test.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidings_domain::time::Timestamp;
use tidings_engine::clock::{Clock, ManualClock};
use tokio::net::TcpListener;

use crate::endpoints::{made, path};
use crate::harness::Service;
use crate::receiver::Receiver;

const HOOK: &str = "https://example.com/hook";

/// The fields that this request knows, `within` an object in its body.
async fn known(service: &Service, method: &str, path: &str, body: &Value, within: &str) -> BTreeSet<String> {
    let mut body = body.clone();
    let object = if within.is_empty() { &mut body } else { &mut body[within] };
    object.as_object_mut().unwrap().insert("noSuchField".into(), json!(1));
    let refused = service.send(method, path, Some(&body)).await.expect(422);
    let errors = refused["errors"].as_array().unwrap().clone();
    let unknown = errors.iter().find(|error| error["pointer"].as_str().unwrap().ends_with("/noSuchField"));
    let detail = unknown.unwrap_or_else(|| panic!("{refused}"))["detail"].as_str().unwrap().to_owned();
    let (_, list) = detail.split_once(" are: ").or(detail.split_once(" are ")).unwrap_or_else(|| panic!("{detail}"));
    list.split(", ").map(|name| name.trim_end_matches('.').to_owned()).collect()
}

/// A service whose clock stands at 23:30 UTC.
struct World {
    service: Service,
    clock: Arc<ManualClock>,
    /// Numbers what must be unique.
    next: std::cell::Cell<u32>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-05-02T23:30:00Z").unwrap()));
        let service = Service::start_at(Arc::clone(&clock)).await;
        Self { service, clock, next: std::cell::Cell::new(0) }
    }

    fn number(&self) -> u32 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    fn later(&self, ms: u64) -> String {
        self.clock.now().plus_ms(ms).to_string()
    }

    /// A channel with these fields over those of a plain webhook, and its id.
    async fn channel(&self, fields: &Value) -> String {
        let mut body = json!({"name": "#ops", "type": "webhook", "config": {"url": HOOK}});
        merge(&mut body, fields);
        let made = self.service.post("/channels", &body).await.expect(201);
        made["channel"]["id"].as_str().unwrap().to_owned()
    }

    /// A rule with these fields over those of a plain one of a flow of its own, and the flow.
    async fn rule(&self, fields: &Value) -> String {
        let flow = format!("flow-{}", self.number());
        let mut body = json!({"resourceType": "flow", "resourceId": flow, "triggers": ["failure"]});
        merge(&mut body, fields);
        if body.get("channelId").is_none() && body.get("channelType").is_none() {
            merge(&mut body, &json!({"channelType": "webhook", "url": HOOK}));
        }
        self.service.post("/notification-rules", &body).await.expect(201);
        flow
    }

    /// What would become of a failed run of the flow.
    async fn simulate_run(&self, flow: &str) -> Value {
        let run = json!({"resourceType": "flow", "resourceId": flow, "status": "failure", "triggerType": "manual"});
        outcome(&self.service.post("/simulate", &json!({ "run": run })).await.expect(200))
    }

    /// What would become of an event of the endpoint's incident.
    async fn simulate_incident(&self, endpoint: &Value, event: &str) -> Value {
        let incident = json!({"id": endpoint["id"], "event": event});
        outcome(&self.service.post("/simulate", &json!({ "endpoint": incident })).await.expect(200))
    }

    /// What would become of a failed run through a channel with these fields. One run is sent before.
    async fn through_channel(&self, fields: &Value, severity: &str) -> Value {
        let channel = self.channel(fields).await;
        let flow = self.rule(&json!({"channelId": channel, "failureSeverity": severity})).await;
        self.report(&flow).await;
        self.simulate_run(&flow).await
    }

    async fn report(&self, flow: &str) -> Value {
        let run_id = format!("run-{}", self.number());
        let run = json!({"resourceType": "flow", "resourceId": flow, "runId": run_id, "status": "failure"});
        self.service.post("/runs", &run).await.expect(202)
    }

    /// The only delivery of a failed run through a channel with these fields, after its first attempt.
    async fn attempted(&self, fields: &Value) -> Value {
        let channel = self.channel(fields).await;
        let flow = self.rule(&json!({"channelId": channel})).await;
        let event = self.report(&flow).await["eventId"].as_str().unwrap().to_owned();
        loop {
            let found = self.service.get(&format!("/deliveries?event={event}")).await.expect(200)["data"][0].clone();
            if found["attemptCount"] == 1 {
                return found;
            }
            tokio::task::yield_now().await;
        }
    }

    /// An endpoint that opens an incident with its first failing check, and a rule of it for a webhook.
    async fn watched(&self, fields: &Value, channel: &Value) -> Value {
        let mut body = json!({"failureThreshold": 1, "recoveryThreshold": 1});
        merge(&mut body, fields);
        let endpoint = made(&self.service, body).await;
        let channel = self.channel(channel).await;
        let rule = json!({"resourceType": "endpoint", "resourceId": endpoint["id"], "channelId": channel});
        self.service.post("/notification-rules", &rule).await.expect(201);
        endpoint
    }

    async fn check(&self, endpoint: &Value, status: &str) -> Value {
        let checks = format!("{}/checks", path(endpoint));
        self.service.post(&checks, &json!({ "status": status })).await.expect(202)
    }

    async fn mute(&self, fields: &Value) {
        let mut body = json!({"scope": "global", "reason": "deploy"});
        merge(&mut body, fields);
        self.service.post("/mutes", &body).await.expect(201);
    }
}

fn merge(body: &mut Value, fields: &Value) {
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
}

/// What a simulation says of its deliveries, without ids.
fn outcome(simulation: &Value) -> Value {
    let deliveries = simulation["deliveries"].as_array().unwrap().iter();
    let one =
        |delivery: &Value| json!([delivery["outcome"], delivery["reason"], delivery["until"], delivery["severity"]]);
    let reasons: Vec<_> = simulation["notRouted"].as_array().unwrap().iter().map(|rule| &rule["reason"]).collect();
    json!({"deliveries": deliveries.map(one).collect::<Vec<_>>(), "notRouted": reasons})
}

/// An object with one field changed.
fn with(base: &Value, key: &str, value: Value) -> Value {
    let mut changed = base.clone();
    changed[key] = value;
    changed
}

/// What happens with two values of a field of a channel.
async fn channel_effect(field: &str) -> [Value; 2] {
    let world = World::new().await;
    let plain = json!({});
    match field {
        "name" => {
            let mut shown = Vec::new();
            for name in ["#ops", "#data"] {
                let channel = world.channel(&json!({ "name": name })).await;
                let flow = world.rule(&json!({ "channelId": channel })).await;
                let run = json!({"run": {"resourceType": "flow", "resourceId": flow, "status": "failure"}});
                let simulated = world.service.post("/simulate", &run).await.expect(200);
                shown.push(simulated["deliveries"][0]["channelName"].clone());
            }
            shown.try_into().unwrap()
        }
        "type" => {
            let refused = async |kind: &str| {
                let body = json!({"name": "a", "type": kind, "config": {}});
                json!(world.service.post("/channels", &body).await.problem(422, "invalid"))
            };
            [refused("webhook").await, refused("slack").await]
        }
        "config" => {
            let (mut one, mut other) = (Receiver::start().await, Receiver::start().await);
            world.attempted(&json!({"config": {"url": one.url}})).await;
            world.attempted(&json!({"config": {"url": other.url, "headers": {"x-team": "data"}}})).await;
            let team = |headers: &http::HeaderMap| json!(headers.get("x-team").map(|value| value.to_str().unwrap()));
            [team(&one.next().await.headers), team(&other.next().await.headers)]
        }
        "enabled" => {
            let disabled = world.through_channel(&json!({"enabled": false}), "warning").await;
            [world.through_channel(&plain, "warning").await, disabled]
        }
        "severityFilter" => {
            let strict = world.through_channel(&json!({"severityFilter": "critical"}), "warning").await;
            [world.through_channel(&plain, "warning").await, strict]
        }
        "deliveryPriority" => {
            let limited = json!({"rateLimit": {"maxPerMinute": 1, "action": "drop"}});
            let critical = with(&limited, "deliveryPriority", json!("critical"));
            [world.through_channel(&limited, "warning").await, world.through_channel(&critical, "warning").await]
        }
        "retryOnFailure" => {
            let receiver = Receiver::start().await;
            receiver.answer(500);
            let base = json!({"config": {"url": receiver.url}});
            let once = world.attempted(&with(&base, "retryOnFailure", json!(false))).await;
            [world.attempted(&base).await["status"].clone(), once["status"].clone()]
        }
        "retryDelaysSeconds" => {
            let receiver = Receiver::start().await;
            receiver.answer(500);
            let base = json!({"config": {"url": receiver.url}});
            let late = world.attempted(&with(&base, "retryDelaysSeconds", json!([3600]))).await;
            [world.attempted(&base).await["nextAttemptAt"].clone(), late["nextAttemptAt"].clone()]
        }
        "timeoutMs" => {
            // It accepts connections and never answers.
            let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", silent.local_addr().unwrap());
            let test = async |ms: u32| {
                let channel = world.channel(&json!({"config": {"url": url}, "timeoutMs": ms})).await;
                let began = tokio::time::Instant::now();
                let tested = world.service.send("POST", &format!("/channels/{channel}/test"), None).await.expect(200);
                assert_eq!(tested["ok"], false);
                json!(began.elapsed().as_millis() >= 1_400)
            };
            let (short, long) = tokio::join!(test(1_000), test(1_500));
            [short, long]
        }
        other => panic!("no scenario shows the effect of the channel's field {other}"),
    }
}

/// What happens with two values of a field within `eventFilters`, `quietHours` or `rateLimit` of a channel.
async fn policy_effect(object: &str, field: &str) -> [Value; 2] {
    let world = World::new().await;
    let (base, changed) = match (object, field) {
        ("eventFilters", _) => (json!({}), json!({ field: false })),
        ("quietHours", "start") => (quiet_hours(), with(&quiet_hours(), "start", json!("23:45"))),
        ("quietHours", "end") => (quiet_hours(), with(&quiet_hours(), "end", json!("07:00"))),
        ("quietHours", "timezone") => (quiet_hours(), with(&quiet_hours(), "timezone", json!("Asia/Tokyo"))),
        // It is a Saturday.
        ("quietHours", "days") => (quiet_hours(), with(&quiet_hours(), "days", json!(["mon"]))),
        ("quietHours", "action") => (quiet_hours(), with(&quiet_hours(), "action", json!("drop"))),
        ("quietHours", "criticalPasses") => (quiet_hours(), with(&quiet_hours(), "criticalPasses", json!(false))),
        ("rateLimit", "maxPerMinute") => (json!({"maxPerMinute": 2}), json!({"maxPerMinute": 1})),
        ("rateLimit", "action") => {
            (json!({"maxPerMinute": 1, "action": "digest"}), json!({"maxPerMinute": 1, "action": "drop"}))
        }
        _ => panic!("no scenario shows the effect of {object}.{field}"),
    };
    let mut seen = Vec::new();
    for value in [base, changed] {
        let channel = json!({ object: value });
        seen.push(match field {
            "sendOpen" => world.simulate_incident(&world.watched(&json!({}), &channel).await, "opened").await,
            "sendResolved" => world.simulate_incident(&world.watched(&json!({}), &channel).await, "resolved").await,
            "sendEscalated" => world.simulate_incident(&world.watched(&json!({}), &channel).await, "worsened").await,
            "criticalPasses" => world.through_channel(&channel, "critical").await,
            _ => world.through_channel(&channel, "warning").await,
        });
    }
    seen.try_into().unwrap()
}

fn quiet_hours() -> Value {
    json!({"start": "22:00", "end": "06:00", "timezone": "UTC"})
}

/// What happens with two values of a field of a webhook's `config`.
async fn webhook_effect(field: &str) -> Option<[Value; 2]> {
    let world = World::new().await;
    let mut receiver = Receiver::start().await;
    let base = json!({"url": receiver.url});
    let changed = match field {
        "url" => {
            let mut other = Receiver::start().await;
            world.attempted(&json!({"config": {"url": other.url}})).await;
            return Some([json!(receiver.is_quiet()), json!(other.is_quiet())]);
        }
        "method" => with(&base, "method", json!("PUT")),
        "headers" => with(&base, "headers", json!({"x-team": "data"})),
        "bodyTemplate" => with(&base, "bodyTemplate", json!("{\"text\": {{ title | tojson }}}")),
        // Needs a server with a certificate: the channels' own tests have one.
        "tls" => return None,
        other => panic!("no scenario shows the effect of the webhook's field {other}"),
    };
    let mut seen = Vec::new();
    for config in [base, changed] {
        world.attempted(&json!({ "config": config })).await;
        let request = receiver.next().await;
        let team = request.headers.get("x-team").map(|team| team.to_str().unwrap().to_owned());
        let is_standard = request.json().get("version").is_some();
        seen.push(json!([request.method.as_str(), team, is_standard]));
    }
    Some(seen.try_into().unwrap())
}

/// What happens with two values of a field of a rule.
async fn rule_effect(field: &str) -> [Value; 2] {
    let world = World::new().await;
    let (base, changed) = match field {
        "resourceType" => (json!({}), json!({"resourceType": "job"})),
        "resourceId" => (json!({}), json!({"resourceId": "another"})),
        "triggers" => (json!({}), json!({"triggers": ["success"]})),
        "triggerTypes" => (json!({}), json!({"triggerTypes": ["scheduled"]})),
        "enabled" => (json!({}), json!({"enabled": false})),
        "paused" => (json!({}), json!({"paused": true})),
        "failureSeverity" => (json!({}), json!({"failureSeverity": "critical"})),
        "channelId" => {
            let silenced = world.channel(&json!({"enabled": false})).await;
            (json!({}), json!({"channelId": silenced}))
        }
        "channelType" | "recipients" | "url" | "slackWebhookUrl" | "webhookUrl" | "displayLabel" => {
            return inline_effect(&world, field).await;
        }
        "rotateWebhookSecret" => {
            let id = world.service.rule_to(HOOK).await;
            let edit = async |rotate: bool| {
                let edit = json!({"rotateWebhookSecret": rotate});
                let edited = world.service.patch(&format!("/notification-rules/{id}"), &edit).await.expect(200);
                json!(edited.get("signingSecretOnce").is_some())
            };
            return [edit(false).await, edit(true).await];
        }
        other => panic!("no scenario shows the effect of the rule's field {other}"),
    };
    let mut seen = Vec::new();
    for fields in [base, changed] {
        let flow = world.rule(&fields).await;
        seen.push(world.simulate_run(&flow).await);
    }
    seen.try_into().unwrap()
}

/// The inline fields: the destination that a test of the rule finds, or the name that explanations show.
async fn inline_effect(world: &World, field: &str) -> [Value; 2] {
    let slack = json!({"channelType": "slack", "slackWebhookUrl": "https://hooks.slack.com/services/T0/B0/x1y2z3"});
    match field {
        "displayLabel" => {
            let mut names = Vec::new();
            for rule in [slack.clone(), with(&slack, "displayLabel", json!("#data-alerts"))] {
                let flow = world.rule(&rule).await;
                let run = json!({"run": {"resourceType": "flow", "resourceId": flow, "status": "failure"}});
                let simulated = world.service.post("/simulate", &run).await.expect(200);
                names.push(json!(simulated["deliveries"][0]["channelName"] == "#data-alerts"));
            }
            names.try_into().unwrap()
        }
        "url" => {
            let (mut one, mut other) = (Receiver::start().await, Receiver::start().await);
            let test = json!({"channelType": "webhook", "url": other.url});
            world.service.post("/notification-rules/test", &test).await.expect(200);
            [json!(one.is_quiet()), json!(other.is_quiet())]
        }
        // They need the vendors' hosts or a mail server: their own tests deliver to stand-ins. Here, that each is the
        // destination of its type: without it there is none.
        _ => {
            let (kind, valid) = match field {
                "recipients" => ("email", json!(["ops@example.com"])),
                "slackWebhookUrl" => ("slack", slack["slackWebhookUrl"].clone()),
                "webhookUrl" => {
                    ("discord", json!("https://discord.com/api/webhooks/123456789012345678/abcdefghijklmnop"))
                }
                _ => ("webhook", json!(HOOK)),
            };
            let destination = if field == "channelType" { "url" } else { field };
            let rule = |fields: Value| {
                let mut rule = json!({"resourceType": "flow", "resourceId": "f", "triggers": ["failure"]});
                merge(&mut rule, &fields);
                rule
            };
            let with_it = rule(json!({"channelType": kind, destination: valid}));
            let without = if field == "channelType" {
                rule(json!({ destination: valid }))
            } else {
                rule(json!({"channelType": kind}))
            };
            // Without a mail server at the instance, recipients are refused, but otherwise than none.
            let answer = async |rule: &Value| {
                let response = world.service.post("/notification-rules", rule).await;
                json!([response.status.as_u16(), response.json()["errors"]])
            };
            [answer(&with_it).await, answer(&without).await]
        }
    }
}

/// What happens with two values of a field of a mute.
async fn mute_effect(field: &str) -> [Value; 2] {
    let world = World::new().await;
    let endpoint = world.watched(&json!({}), &json!({})).await;
    let other = world.watched(&json!({}), &json!({})).await;
    let of_endpoint = |endpoint: &Value| json!({"scope": "endpoint", "targetId": endpoint["id"]});
    let opened = async |fields: Value| {
        world.mute(&fields).await;
        world.simulate_incident(&endpoint, "opened").await
    };
    match field {
        "scope" => [opened(of_endpoint(&other)).await, opened(json!({"scope": "global"})).await],
        "targetId" => [opened(of_endpoint(&other)).await, opened(of_endpoint(&endpoint)).await],
        "expiresAt" => {
            world.mute(&with(&of_endpoint(&endpoint), "expiresAt", json!(world.later(60_000)))).await;
            world.mute(&of_endpoint(&other)).await;
            world.clock.advance_ms(120_000);
            [world.simulate_incident(&endpoint, "opened").await, world.simulate_incident(&other, "opened").await]
        }
        "reason" => {
            let detail = async |reason: &str| {
                let world = World::new().await;
                let endpoint = world.watched(&json!({}), &json!({})).await;
                world.mute(&with(&of_endpoint(&endpoint), "reason", json!(reason))).await;
                let incident = json!({"endpoint": {"id": endpoint["id"], "event": "opened"}});
                world.service.post("/simulate", &incident).await.expect(200)["deliveries"][0]["detail"].clone()
            };
            [detail("deploy").await, detail("holidays").await]
        }
        "endsOnRecovery" => {
            let mut left = Vec::new();
            for ends in [false, true] {
                let endpoint = world.watched(&json!({}), &json!({})).await;
                world.check(&endpoint, "down").await;
                world.mute(&with(&of_endpoint(&endpoint), "endsOnRecovery", json!(ends))).await;
                world.check(&endpoint, "healthy").await;
                left.push(world.simulate_incident(&endpoint, "opened").await);
            }
            left.try_into().unwrap()
        }
        other => panic!("no scenario shows the effect of the mute's field {other}"),
    }
}

/// What happens with two values of a preference.
async fn preference_effect(field: &str) -> [Value; 2] {
    let seen = async |edit: Value| {
        let world = World::new().await;
        let edit = match edit.get("globalMuteUntil") {
            Some(_) => json!({"globalMuteUntil": world.later(60_000)}),
            None => edit,
        };
        world.service.patch("/notification-preferences", &edit).await.expect(200);
        match field {
            "timezone" => {
                let channel = json!({"quietHours": {"start": "22:00", "end": "06:00", "timezone": "UTC"}});
                let channel = world.channel(&channel).await;
                let flow = world.rule(&json!({ "channelId": channel })).await;
                world.mute(&json!({"scope": "channel", "targetId": channel, "expiresAt": world.later(60_000)})).await;
                let event = world.report(&flow).await["eventId"].as_str().unwrap().to_owned();
                world.service.get(&format!("/events/{event}/why")).await.expect(200)["answer"].clone()
            }
            "defaultEventFilters" => {
                let endpoint = world.watched(&json!({}), &json!({})).await;
                world.simulate_incident(&endpoint, "opened").await
            }
            _ => world.through_channel(&json!({}), "warning").await,
        }
    };
    let changed = match field {
        "globalMuteUntil" => json!({"globalMuteUntil": true}),
        "defaultSeverityFilter" => json!({"defaultSeverityFilter": "critical"}),
        "defaultEventFilters" => json!({"defaultEventFilters": {"sendOpen": false}}),
        "timezone" => json!({"timezone": "Asia/Tokyo"}),
        other => panic!("no scenario shows the effect of the preference {other}"),
    };
    [seen(json!({})).await, seen(changed).await]
}

fn assert_differ(what: &str, [one, other]: &[Value; 2]) {
    assert_ne!(one, other, "{what} has no effect");
}

#[tokio::test]
async fn every_field_of_a_channel_has_an_effect() {
    let service = Service::start().await;
    let body = json!({"name": "a", "type": "webhook", "config": {"url": HOOK}});
    let objects = ["eventFilters", "quietHours", "rateLimit"];
    for field in known(&service, "POST", "/channels", &body, "").await {
        if !objects.contains(&&*field) {
            assert_differ(&field, &channel_effect(&field).await);
        }
    }
    for object in objects {
        let value = if object == "quietHours" { quiet_hours() } else { json!({}) };
        for field in known(&service, "POST", "/channels", &with(&body, object, value), object).await {
            assert_differ(&format!("{object}.{field}"), &policy_effect(object, &field).await);
        }
    }
    for field in known(&service, "POST", "/channels", &body, "config").await {
        if let Some(seen) = webhook_effect(&field).await {
            assert_differ(&format!("config.{field}"), &seen);
        }
    }
}

#[tokio::test]
async fn every_field_of_a_rule_has_an_effect() {
    let service = Service::start().await;
    for field in known(&service, "POST", "/notification-rules", &Value::Object(Map::new()), "").await {
        assert_differ(&field, &rule_effect(&field).await);
    }
}

#[tokio::test]
async fn every_field_of_a_mute_has_an_effect() {
    let service = Service::start().await;
    for field in known(&service, "POST", "/mutes", &json!({}), "").await {
        assert_differ(&field, &mute_effect(&field).await);
    }
}

#[tokio::test]
async fn every_preference_has_an_effect() {
    let service = Service::start().await;
    for field in known(&service, "PATCH", "/notification-preferences", &json!({}), "").await {
        assert_differ(&field, &preference_effect(&field).await);
    }
}
