//! Rules that are disabled, deleted or paused while a delivery waits for its retry: it is skipped or suppressed for good.

use serde_json::{Value, json};

use crate::support::{Api, Receiver, Reply, Server, Setup};

/// A delivery that failed once and waits for its retry.
struct Waiting {
    server: Server,
    api: Api,
    receiver: Receiver,
    rule: String,
    event: String,
}

fn waiting() -> Waiting {
    let receiver = Receiver::start(|_, number| Reply::Status(if number == 1 { 503 } else { 204 }));
    let server = Setup::new().start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [2]}));
    let rule = api.make_rule("backup", &channel);
    let event = api.fail("backup", "1");
    let delivery = api.delivery_after_attempts(&event, 1);
    assert_eq!((&delivery["status"], &delivery["attemptCount"]), (&json!("pending"), &json!(1)), "{delivery}");
    Waiting { server, api, receiver, rule, event }
}

impl Waiting {
    /// Asserts that it is skipped and cannot be resent, and that nothing more was sent.
    fn assert_skipped(&self) -> Value {
        let delivery = self.api.delivery_once(&self.event, "skipped");
        assert_eq!((&delivery["attemptCount"], self.receiver.count()), (&json!(1), 1), "{delivery}");
        assert!(delivery["nextAttemptAt"].is_null() && delivery["completedAt"].is_string(), "{delivery}");
        let path = format!("/deliveries/{}/resend", delivery["id"].as_str().unwrap());
        self.api.post(&path, json!({})).expect(409);
        assert!(!self.server.stderr().contains("ERROR"), "{}", self.server.stderr());
        delivery
    }
}

#[test]
fn rule_disabled_before_retry_skips_the_delivery() {
    let waiting = waiting();
    let path = format!("/notification-rules/{}", waiting.rule);
    waiting.api.patch(&path, json!({"enabled": false})).expect(200);
    let skipped = waiting.assert_skipped();
    waiting.api.patch(&path, json!({"enabled": true})).expect(200);
    waiting.api.fail("backup", "2");
    let requests = waiting.receiver.wait_for(2);
    assert_eq!(requests[1].json()["runId"], "2", "the enabled rule notifies of new runs");
    assert_eq!(waiting.api.delivery(&waiting.event), skipped, "and not of what was skipped");
}

#[test]
fn rule_reenabled_before_retry_still_skips_the_delivery() {
    let waiting = waiting();
    let path = format!("/notification-rules/{}", waiting.rule);
    waiting.api.patch(&path, json!({"enabled": false})).expect(200);
    waiting.api.patch(&path, json!({"enabled": true})).expect(200);
    waiting.assert_skipped();
}

#[test]
fn rule_deleted_before_retry_skips_the_delivery() {
    let waiting = waiting();
    assert_eq!(waiting.api.delete(&format!("/notification-rules/{}", waiting.rule)).status, 204);
    waiting.assert_skipped();
}

#[test]
fn rule_paused_before_retry_suppresses_the_delivery() {
    let waiting = waiting();
    waiting.api.patch(&format!("/notification-rules/{}", waiting.rule), json!({"paused": true})).expect(200);
    let delivery = waiting.api.delivery_once(&waiting.event, "suppressed");
    assert_eq!((&delivery["suppressedReason"], waiting.receiver.count()), (&json!("rule_paused"), 1), "{delivery}");
    let verdicts: Vec<_> = delivery["verdicts"].as_array().unwrap().iter().map(|verdict| &verdict["verdict"]).collect();
    assert_eq!(verdicts.last(), Some(&&json!("suppress")), "the later evaluation is appended: {delivery}");
    assert!(verdicts.len() > 1, "{delivery}");
}
