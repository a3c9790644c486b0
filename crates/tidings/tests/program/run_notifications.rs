//! Notifications of runs: rules of queries and flows, their webhooks and their log, as the clients of that API expect them.

use std::thread::spawn;

use serde_json::{Value, json};

use crate::support::signed::{is_signed_as_mako, is_signed_as_standard, is_signing_secret};
use crate::support::{Api, Receiver, Server, Setup};

/// The example of the contract, with another URL.
fn example(url: &str) -> Value {
    json!({
        "resourceType": "scheduled_query",
        "resourceId": "65f...",
        "enabled": true,
        "triggers": ["failure"],
        "channelType": "webhook",
        "url": url
    })
}

/// A run that the example rule matches.
fn run(id: &str, status: &str) -> Value {
    json!({
        "resourceType": "scheduled_query", "resourceId": "65f...", "resourceName": "Daily revenue rollup",
        "runId": id, "status": status, "triggerType": "scheduled", "completedAt": "2026-05-02T04:00:12.345Z",
        "durationMs": 1842, "rowCount": 124, "deepLink": "https://app.mako.ai/workspace/65a.../console/65f..."
    })
}

/// A server with the example rule.
struct World {
    api: Api,
    receiver: Receiver,
    rule: String,
    secret: String,
    _server: Server,
}

fn world() -> World {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let created = api.post("/notification-rules", example(&receiver.url())).expect(201);
    let secret = created["signingSecretOnce"].as_str().expect("a new webhook has a new secret").to_owned();
    let rule = created["rule"]["id"].as_str().unwrap().to_owned();
    World { api, receiver, rule, secret, _server: server }
}

impl World {
    fn log(&self) -> Vec<Value> {
        let path = "/notification-rules/deliveries?resourceType=scheduled_query&resourceId=65f...&limit=50";
        self.api.get(path).expect(200)["data"].as_array().unwrap().clone()
    }
}

#[test]
fn example_rule_is_created_and_its_secret_returned_once() {
    let world = world();
    assert!(is_signing_secret(&world.secret), "{}", world.secret);
    let listed = world.api.get("/notification-rules?resourceType=scheduled_query&resourceId=65f...").expect(200);
    let rule = &listed["data"][0];
    assert_eq!((&rule["id"], &rule["resourceId"]), (&json!(world.rule), &json!("65f...")), "{listed}");
    assert_eq!((&rule["triggers"], &rule["channelType"]), (&json!(["failure"]), &json!("webhook")));
    assert_eq!((&rule["url"], &rule["enabled"]), (&json!(world.receiver.url()), &json!(true)));
    assert!(!listed.to_string().contains("whsec_"), "{listed}");
    let missing = world.api.get("/notification-rules").expect_problem(422, "invalid");
    assert_eq!(missing, ["/resourceType", "/resourceId"]);
    let none = world.api.get("/notification-rules?resourceType=flow&resourceId=65f...").expect(200);
    assert_eq!(none["data"], json!([]));
    assert_eq!(world.api.get("/channels").expect(200)["data"], json!([]), "a rule's own channel is not shared");
}

#[test]
fn webhook_of_a_failed_run_matches_the_contract() {
    let world = world();
    let mut report = run("01HX...", "failure");
    report["errorMessage"] = json!("relation \"orders\" does not exist");
    let accepted = world.api.post("/runs", report).expect(202);
    assert_eq!(accepted["deliveries"], json!({"pending": 1, "held": 0, "suppressed": 0}));
    let request = &world.receiver.wait_for(1)[0];
    assert!(request.line().starts_with("POST /hook "), "{}", request.line());
    assert_eq!(request.header("Content-Type"), "application/json");
    assert!(is_signed_as_mako(request, &world.secret));
    assert!(is_signed_as_standard(request, &world.secret));
    assert!(!request.has("X-MagOne-Signature"), "that is for use cases");

    let body = request.json();
    let workspace = body["workspaceId"].as_str().unwrap();
    assert!(workspace.starts_with("ws_"), "{workspace}");
    let expected = json!({
        "version": 1, "event": "flow.run.terminal", "trigger": "failure", "resourceType": "scheduled_query",
        "resourceId": "65f...", "resourceName": "Daily revenue rollup", "runId": "01HX...",
        "completedAt": "2026-05-02T04:00:12.345Z", "durationMs": 1842, "rowCount": 124,
        "errorMessage": "relation \"orders\" does not exist", "triggerType": "scheduled", "workspaceId": workspace,
        "deepLink": "https://app.mako.ai/workspace/65a.../console/65f..."
    });
    assert_eq!(body, expected);

    let delivery = world.api.delivery_once(accepted["eventId"].as_str().unwrap(), "sent");
    assert_eq!(delivery["id"], request.header("webhook-id"));
    let key = format!("scheduled_query:65f...:01HX...:failure:webhook:{}", world.rule);
    assert_eq!(delivery["idempotencyKey"], key);
}

#[test]
fn unknown_values_are_null_in_the_webhook() {
    let world = world();
    let bare = json!({"resourceType": "scheduled_query", "resourceId": "65f...", "runId": "1", "status": "failure"});
    world.api.post("/runs", bare).expect(202);
    let body = world.receiver.wait_for(1)[0].json();
    for key in ["resourceName", "durationMs", "rowCount", "errorMessage", "triggerType", "deepLink"] {
        assert_eq!(body.get(key), Some(&Value::Null), "{key}");
    }
    assert!(body["completedAt"].is_string(), "{body}");
}

#[test]
fn rule_notifies_of_its_triggers_only_and_not_while_disabled() {
    let world = world();
    let path = format!("/notification-rules/{}", world.rule);
    let not_routed = |accepted: Value| {
        assert_eq!(accepted["deliveries"], json!({"pending": 0, "held": 0, "suppressed": 0}), "{accepted}");
        let event = world.api.get(&format!("/events/{}", accepted["eventId"].as_str().unwrap())).expect(200);
        event["notRouted"].clone()
    };
    let success = world.api.post("/runs", run("1", "success")).expect(202);
    assert_eq!(not_routed(success), json!([{"ruleId": world.rule, "reason": "trigger"}]));
    world.api.patch(&path, json!({"enabled": false})).expect(200);
    let failure = world.api.post("/runs", run("2", "failure")).expect(202);
    assert_eq!(not_routed(failure), json!([{"ruleId": world.rule, "reason": "rule_disabled"}]));

    world.api.patch(&path, json!({"enabled": true, "triggers": ["success", "failure"]})).expect(200);
    world.api.post("/runs", run("3", "success")).expect(202);
    assert_eq!(world.receiver.wait_for(1)[0].json()["trigger"], "success");
    world.api.delete(&path).expect(204);
    let failure = world.api.post("/runs", run("4", "failure")).expect(202);
    assert_eq!(not_routed(failure), json!([]));
    assert_eq!(world.receiver.count(), 1);
}

#[test]
fn run_reported_fifty_times_at_once_is_one_event() {
    let world = world();
    let report = || {
        let api = world.api.clone();
        spawn(move || api.post("/runs", run("1", "failure")).expect(202))
    };
    let reports: Vec<_> = (0..50).map(|_| report()).collect();
    let answers: Vec<_> = reports.into_iter().map(|report| report.join().unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| answer["duplicate"] == false).count(), 1);
    assert!(answers.iter().all(|answer| answer["eventId"] == answers[0]["eventId"]));
    assert!(answers.iter().all(|answer| answer["deliveries"] == answers[0]["deliveries"]), "the same answer");
    world.api.wait_until_settled();
    assert_eq!((world.receiver.count(), world.log().len()), (1, 1));
}

#[test]
fn rotated_secret_overlaps_with_the_old_one() {
    let world = world();
    let path = format!("/notification-rules/{}", world.rule);
    let config = json!({"channelType": "webhook", "url": world.receiver.url(), "rotateWebhookSecret": false});
    let kept = world.api.patch(&path, config.clone()).expect(200);
    assert_eq!(kept.get("signingSecretOnce"), None, "{kept}");
    let mut rotate = config;
    rotate["rotateWebhookSecret"] = json!(true);
    let rotated = world.api.patch(&path, rotate).expect(200);
    let fresh = rotated["signingSecretOnce"].as_str().unwrap();
    assert!(is_signing_secret(fresh) && fresh != world.secret);

    world.api.post("/runs", run("1", "failure")).expect(202);
    let request = &world.receiver.wait_for(1)[0];
    assert!(is_signed_as_mako(request, fresh) && !is_signed_as_mako(request, &world.secret), "the newest signs alone");
    assert!(is_signed_as_standard(request, fresh) && is_signed_as_standard(request, &world.secret), "both sign");
}

#[test]
fn rule_test_is_sent_at_once_and_not_in_the_log() {
    let world = world();
    let saved = world.api.post("/notification-rules/test", json!({"ruleId": world.rule})).expect(200);
    assert_eq!((&saved["ok"], &saved["httpStatus"], &saved["error"]), (&json!(true), &json!(204), &Value::Null));
    assert!(saved["durationMs"].is_u64() && saved.get("signingSecretOnce").is_none(), "{saved}");
    assert!(is_signed_as_mako(&world.receiver.requests()[0], &world.secret));

    let adhoc = world.api.post("/notification-rules/test", example(&world.receiver.url())).expect(200);
    let throwaway = adhoc["signingSecretOnce"].as_str().unwrap();
    assert!(is_signing_secret(throwaway) && throwaway != world.secret, "{adhoc}");
    assert!(is_signed_as_mako(&world.receiver.requests()[1], throwaway));

    let down = format!("http://{}/", crate::support::receiver::closed_port());
    let failed = world.api.post("/notification-rules/test", example(&down)).expect(200);
    assert_eq!((&failed["ok"], &failed["httpStatus"]), (&json!(false), &Value::Null));
    assert!(failed["error"].as_str().unwrap().contains("refused the connection"), "{failed}");
    assert_eq!(world.log(), Vec::<Value>::new());
    assert!(world.api.deliveries("").is_empty());
}

#[test]
fn rule_log_rows_have_the_ten_fields_of_the_contract() {
    let world = world();
    world.api.post("/runs", run("1", "failure")).expect(202);
    world.api.wait_until_settled();
    let rows = world.log();
    let row = &rows[0];
    for (field, value) in [
        ("ruleId", json!(world.rule)),
        ("runId", json!("1")),
        ("trigger", json!("failure")),
        ("channelType", json!("webhook")),
        ("status", json!("sent")),
        ("attempts", json!(1)),
        ("httpStatus", json!(204)),
        ("lastError", Value::Null),
    ] {
        assert_eq!(row.get(field), Some(&value), "{field} in {row}");
    }
    assert!(row["sentAt"].is_string() && row["completedAt"].is_string(), "{row}");
    world.api.get("/notification-rules/deliveries?resourceType=flow").expect_problem(422, "invalid");
}

#[test]
fn failed_delivery_is_retried_after_15_seconds() {
    let receiver = Receiver::always(500);
    let server = Setup::new().start();
    let api = server.api();
    api.post("/notification-rules", example(&receiver.url())).expect(201);
    let accepted = api.post("/runs", run("1", "failure")).expect(202);
    let waiting = api.delivery_after_attempts(accepted["eventId"].as_str().unwrap(), 1);
    assert_eq!(
        (&waiting["status"], &waiting["lastError"]),
        (&json!("pending"), &json!("HTTP 500 Internal Server Error"))
    );
    assert!(waiting["nextAttemptAt"].as_str() > waiting["createdAt"].as_str(), "{waiting}");
}

#[test]
fn other_channel_types_of_the_contract_are_accepted() {
    let setup = Setup::new()
        .with("TIDINGS_SMTP_URL", "smtp://127.0.0.1:1?tls=none")
        .with("TIDINGS_MAIL_FROM", "Tidings <tidings@example.com>");
    let server = setup.start();
    let api = server.api();
    let rule = |channel: Value| {
        let mut rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["success", "failure"]});
        rule.as_object_mut().unwrap().extend(channel.as_object().unwrap().clone());
        api.post("/notification-rules", rule).expect(201)
    };
    let recipients = json!(["alerts@example.com", "ops@example.com"]);
    let email = rule(json!({"channelType": "email", "recipients": recipients}));
    assert_eq!((&email["rule"]["recipients"], email.get("signingSecretOnce")), (&recipients, None), "{email}");
    let slack = rule(json!({"channelType": "slack", "displayLabel": "#data-alerts",
                            "slackWebhookUrl": "https://hooks.slack.com/services/T.../B.../..."}));
    assert_eq!(slack["rule"]["displayLabel"], "#data-alerts");
    assert!(slack["rule"]["slackWebhookUrl"].as_str().unwrap().starts_with("https://hooks.slack.com/services/"));
    assert!(!slack.to_string().contains("T..."), "the webhook URL is masked: {slack}");
    let webhook = rule(json!({"channelType": "webhook", "url": "https://example.com/hooks/mako",
                              "rotateWebhookSecret": false}));
    assert!(is_signing_secret(webhook["signingSecretOnce"].as_str().unwrap()));
}
