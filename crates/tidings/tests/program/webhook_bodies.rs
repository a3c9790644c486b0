//! The bodies that `docs/WEBHOOKS.md` shows have the keys of those that are sent.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Receiver, Server, Setup, snippets};

/// The paths of all keys in a value; those of a list's items are joined.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{path}/{key}");
                keys(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, &format!("{path}/*"), found)),
        _ => {}
    }
}

#[track_caller]
fn assert_same_keys(title: &str, sent: &Value) {
    let snippet = snippets::titled("docs/WEBHOOKS.md", title);
    let of = |value: &Value| {
        let mut found = BTreeSet::new();
        keys(value, "", &mut found);
        found
    };
    let shown = serde_json::from_str(&snippet.text).unwrap_or_else(|error| panic!("{snippet}: {error}"));
    assert_eq!(of(&shown), of(sent), "{snippet} and what is sent: {sent}");
    assert_eq!(shown["event"], sent["event"], "{snippet}");
}

fn start() -> (Server, Receiver) {
    (Setup::new().start(), Receiver::good())
}

#[test]
fn body_of_a_run_is_as_documented() {
    let (server, receiver) = start();
    let api = server.api();
    let rule = json!({"resourceType": "flow", "resourceId": "*", "triggers": ["failure"], "channelType": "webhook",
                      "url": receiver.url()});
    api.post("/notification-rules", rule).expect(201);
    let run = json!({"resourceType": "flow", "resourceId": "f1", "runId": "01HX", "status": "failure"});
    api.post("/runs", run).expect(202);
    assert_same_keys("body-of-a-run", &receiver.wait_for(1)[0].json());
}

#[test]
fn body_of_a_use_case_is_as_documented() {
    let (server, receiver) = start();
    let api = server.api();
    let subscription = json!({"url": receiver.url(), "events": ["workflow.completed"]});
    api.post("/use-cases/u1/webhooks", subscription).expect(201);
    let run = json!({"resourceType": "use_case", "resourceId": "u1", "runId": "01HX", "status": "success",
                     "triggerType": "schedule", "output": {"summary": "Processed 42 records"}});
    api.post("/runs", run).expect(202);
    assert_same_keys("body-of-a-use-case", &receiver.wait_for(1)[0].json());
}

#[test]
fn body_of_an_incident_is_as_documented() {
    let (server, receiver) = start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({}));
    let endpoint = api.make_endpoint(json!({"tags": ["prod"]}));
    api.wire(&endpoint, &[&channel]);
    api.open(&endpoint, "down");
    assert_same_keys("body-of-an-incident", &receiver.wait_for(1)[0].json());
}
