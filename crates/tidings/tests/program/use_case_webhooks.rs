//! Webhook subscriptions of use cases, as the clients of that API expect them.

use serde_json::{Value, json};

use crate::support::signed::{is_signed_as_magone, is_signed_as_standard, is_signing_secret};
use crate::support::{Api, Receiver, Reply, Request, Server, Setup};

const WEBHOOKS: &str = "/use-cases/uc_01HX.../webhooks";

/// A server with a subscription.
struct World {
    api: Api,
    receiver: Receiver,
    id: String,
    secret: String,
    _server: Server,
}

fn world(receiver: Receiver, subscription: Value) -> World {
    let server = Setup::new().start();
    let api = server.api();
    let (id, secret) = subscribe(&api, &receiver, subscription);
    World { api, receiver, id, secret, _server: server }
}

fn subscribe(api: &Api, receiver: &Receiver, mut subscription: Value) -> (String, String) {
    subscription["url"] = json!(receiver.url());
    let created = api.post(WEBHOOKS, subscription).expect(201);
    let secret = created["signingSecretOnce"].as_str().expect("it is returned once").to_owned();
    assert!(is_signing_secret(&secret), "{secret}");
    (created["rule"]["id"].as_str().unwrap().to_owned(), secret)
}

impl World {
    /// Reports an execution and returns its event's id.
    fn report(&self, execution: &str, status: &str, how: Value, more: Value) -> String {
        let mut run = json!({"resourceType": "use_case", "resourceId": "uc_01HX...", "runId": execution,
                             "status": status, "triggerType": how});
        run.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.api.post("/runs", run).expect(202)["eventId"].as_str().unwrap().to_owned()
    }

    fn history(&self) -> Vec<Value> {
        let page = self.api.get(&format!("{WEBHOOKS}/{}/deliveries", self.id)).expect(200);
        page["data"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn assert_genuine(&self, request: &Request, event: &str) {
        assert!(is_signed_as_magone(request, &self.secret));
        assert!(is_signed_as_standard(request, &self.secret));
        assert_eq!((request.header("X-MagOne-Event"), request.header("X-MagOne-Webhook-Id")), (event, &*self.id));
        assert!(!request.has("X-Mako-Signature"), "that is for queries and flows");
    }
}

const BOTH: [&str; 2] = ["workflow.completed", "workflow.failed"];

#[test]
fn webhook_of_a_completed_execution_matches_the_contract() {
    let world = world(Receiver::good(), json!({"events": BOTH}));
    let output = json!({"summary": "Processed 42 records"});
    world.report("exec_01HX...", "success", json!("schedule"), json!({"output": output}));
    let request = &world.receiver.wait_for(1)[0];
    world.assert_genuine(request, "workflow.completed");
    let expected = json!({
        "event": "workflow.completed", "execution_id": "exec_01HX...", "use_case_id": "uc_01HX...",
        "status": "completed", "trigger_type": "schedule", "output": {"summary": "Processed 42 records"}
    });
    assert_eq!(request.json(), expected);
}

#[test]
fn webhook_of_a_failed_execution_has_its_error() {
    let world = world(Receiver::good(), json!({"events": BOTH}));
    world.report("exec_1", "failure", json!("api"), json!({"errorMessage": "no quota", "output": {"half": true}}));
    let request = &world.receiver.wait_for(1)[0];
    world.assert_genuine(request, "workflow.failed");
    let body = request.json();
    assert_eq!((&body["event"], &body["status"]), (&json!("workflow.failed"), &json!("failed")));
    assert_eq!(
        (&body["output"], &body["error"], &body["trigger_type"]),
        (&Value::Null, &json!("no quota"), &json!("api"))
    );
}

#[test]
fn each_subscription_receives_its_own_events() {
    let world = world(Receiver::good(), json!({"events": ["workflow.failed"]}));
    let application = Receiver::good();
    subscribe(&world.api, &application, json!({"events": ["workflow.completed"]}));
    world.report("exec_1", "success", Value::Null, json!({}));
    world.report("exec_2", "failure", Value::Null, json!({}));
    world.api.wait_until_settled();
    let executions = |receiver: &Receiver| {
        receiver.requests().iter().map(|request| request.json()["execution_id"].clone()).collect()
    };
    let (alerting, application): (Vec<_>, Vec<_>) = (executions(&world.receiver), executions(&application));
    assert_eq!((alerting, application), (vec![json!("exec_2")], vec![json!("exec_1")]));
    let listed = world.api.get(WEBHOOKS).expect(200);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(world.api.get("/use-cases/another/webhooks").expect(200)["data"], json!([]));
}

#[test]
fn trigger_type_filter_accepts_the_names_of_the_contract() {
    let world = world(Receiver::good(), json!({"events": BOTH, "triggerTypes": ["schedule", "manual"]}));
    let listed = world.api.get(&format!("{WEBHOOKS}/{}", world.id)).expect(200);
    assert_eq!(listed["triggerTypes"], json!(["schedule", "manual"]), "{listed}");
    for (execution, how) in [("1", "schedule"), ("2", "scheduled"), ("3", "manual"), ("4", "in_app")] {
        world.report(execution, "success", json!(how), json!({}));
    }
    for (execution, how) in [("5", json!("chat")), ("6", json!("api")), ("7", Value::Null)] {
        let event = world.report(execution, "success", how, json!({}));
        let event = world.api.get(&format!("/events/{event}")).expect(200);
        assert_eq!(event["notRouted"], json!([{"ruleId": world.id, "reason": "trigger_type"}]));
    }
    world.api.wait_until_settled();
    let mut trigger_types: Vec<_> =
        world.receiver.requests().iter().map(|request| request.json()["trigger_type"].clone()).collect();
    trigger_types.sort_by_key(Value::to_string);
    assert_eq!(trigger_types, ["manual", "manual", "schedule", "schedule"]);
}

#[test]
fn test_event_is_signed_and_in_the_history() {
    let world = world(Receiver::good(), json!({"events": ["workflow.failed"]}));
    let tested = world.api.post(&format!("{WEBHOOKS}/{}/test", world.id), json!({})).expect(200);
    assert_eq!((&tested["ok"], &tested["httpStatus"]), (&json!(true), &json!(204)), "{tested}");
    let request = &world.receiver.wait_for(1)[0];
    world.assert_genuine(request, "workflow.failed");
    assert_eq!(request.json()["test"], true);
    let history = world.history();
    assert_eq!((history.len(), &history[0]["test"], &history[0]["status"]), (1, &json!(true), &json!("sent")));
    assert_eq!(world.api.get("/runs").expect(200)["data"], json!([]), "a test is no run");
}

#[test]
fn history_has_each_attempt_with_status_and_body() {
    let sorry = b"HTTP/1.1 503 Unavailable\r\ncontent-length: 10\r\n\r\ntry later!".to_vec();
    let receiver = Receiver::start(move |_, _| Reply::Bytes(sorry.clone()));
    let world = world(receiver, json!({"events": BOTH}));
    let event = world.report("exec_1", "success", json!("schedule"), json!({}));
    let waiting = world.api.delivery_after_attempts(&event, 1);
    assert_eq!(waiting["status"], "pending");
    let row = &world.history()[0];
    assert_eq!((&row["execution_id"], &row["executionId"]), (&Value::Null, &json!("exec_1")), "{row}");
    assert_eq!((&row["event"], &row["attemptCount"]), (&json!("workflow.completed"), &json!(1)));
    let attempt = &row["attempts"][0];
    assert_eq!((&attempt["httpStatus"], &attempt["responseBody"]), (&json!(503), &json!("try later!")), "{attempt}");
    assert!(row["nextAttemptAt"].as_str() > row["createdAt"].as_str(), "{row}");
}

#[test]
fn deleted_subscription_receives_nothing() {
    let world = world(Receiver::good(), json!({"events": BOTH}));
    let path = format!("{WEBHOOKS}/{}", world.id);
    world.api.delete(&format!("/use-cases/another/webhooks/{}", world.id)).expect_problem(404, "not_found");
    world.api.delete(&path).expect(204);
    world.api.get(&path).expect_problem(404, "not_found");
    let event = world.report("exec_1", "success", Value::Null, json!({}));
    assert_eq!(world.api.get(&format!("/events/{event}")).expect(200)["deliveries"], json!([]));
    assert_eq!(world.receiver.count(), 0);
}

#[test]
fn invalid_subscription_is_rejected_with_pointers() {
    let world = world(Receiver::good(), json!({"events": BOTH}));
    let wrong = |body: Value| world.api.post(WEBHOOKS, body).expect_problem(422, "invalid");
    assert_eq!(wrong(json!({})), ["/url", "/events"]);
    let url = world.receiver.url();
    assert_eq!(wrong(json!({"url": url, "events": []})), ["/events"]);
    assert_eq!(wrong(json!({"url": url, "events": ["workflow.started"]})), ["/events/0"]);
    assert_eq!(wrong(json!({"url": "ftp://example.com/", "events": BOTH})), ["/url"]);
}
