//! Requests that a fuzzer makes from the description, valid and invalid ones, get only what the description announces.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use super::{Description, printed, python};
use crate::support::api::id;
use crate::support::server::API_KEY;
use crate::support::{Api, Receiver, Setup};

/// The same requests in every run.
const SEED: &str = "20261130";
/// Requests that are made at random for each operation, beside those that cover its parameters and bodies systematically: some
/// 20,000 in all, which takes up to two minutes on two busy cores. The bound is three.
const RANDOM_REQUESTS: &str = "10";
/// What each answer is checked for.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
    response_headers_conformance,missing_required_header,unsupported_method,allow_header_conformance,ignored_auth";
/// How often a parameter that is an id has that of something that exists.
const KNOWN_ID_PROBABILITY: f32 = 0.8;

/// Ids of things that exist, by the segment of the path before them.
fn existing(api: &Api, receiver: &Receiver) -> BTreeMap<&'static str, String> {
    let channel = api.make_webhook(receiver, json!({}));
    let rule = api.make_rule("nightly-import", &channel);
    let event = api.fail("nightly-import", "run-1");
    let delivery = id(&api.delivery_once(&event, "sent"));
    let endpoint = id(&api
        .post("/endpoints", json!({"name": "External", "type": "external", "failureThreshold": 1}))
        .expect(201)["endpoint"]);
    let incident = api.open(&endpoint, "down");
    let mute = id(&api.post("/mutes", json!({"scope": "channel", "targetId": channel})).expect(201)["mute"]);
    let inbound = json!({"type": "alertmanager", "name": "Prometheus"});
    let inbound = id(&api.post("/inbound-webhooks", inbound).expect(201)["inboundWebhook"]);
    BTreeMap::from([
        ("channels", channel),
        ("notification-rules", rule),
        ("events", event),
        ("deliveries", delivery),
        ("endpoints", endpoint),
        ("incidents", incident),
        ("mutes", mute),
        ("inbound-webhooks", inbound),
    ])
}

/// The fuzzer's configuration: ids that exist, so that not every request ends with 404.
fn configuration(document: &Value, existing: &BTreeMap<&str, String>) -> String {
    let mut text = String::from("[dictionaries.workspace]\nvalues = [\"default\"]\n");
    for (segment, id) in existing {
        writeln!(text, "[dictionaries.{segment}]\nvalues = [{id:?}]").unwrap();
    }
    text.push_str("[parameters]\n\"path.workspace\" = { dictionary = \"workspace\", probability = 0.97 }\n");
    for path in document["paths"].as_object().unwrap().keys() {
        let before_id = path.split_once("/{id}").and_then(|(before, _)| before.rsplit('/').next());
        if let Some(segment) = before_id.filter(|segment| existing.contains_key(segment)) {
            let dictionary = format!("{{ dictionary = {segment:?}, probability = {KNOWN_ID_PROBABILITY} }}");
            writeln!(
                text,
                "[[operations]]\ninclude-path = {path:?}\n[operations.parameters]\n\"path.id\" = {dictionary}"
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn fuzzed_requests_get_described_answers() {
    let receiver = Receiver::good();
    let server = Setup::new().with("TIDINGS_PUBLIC_URL", "https://tidings.example.com").start();
    let existing = existing(&server.api(), &receiver);
    let description = Description::of(&server);
    std::fs::write(description.directory().join("schemathesis.toml"), configuration(&description.document, &existing))
        .unwrap();

    let mut command = Command::new(python());
    command
        .args(["-m", "schemathesis.cli", "--no-color", "run", "openapi.json", "--seed", SEED])
        .args(["--max-examples", RANDOM_REQUESTS, "--phases", "examples,coverage,fuzzing", "--checks", CHECKS])
        // A stream, which has no end.
        .args(["--exclude-path", "/api/workspaces/{workspace}/changes"])
        .args(["--url", &format!("http://{}", server.address)])
        .args(["--header", &format!("Authorization: Bearer {API_KEY}")]);
    let output = description.run(command);
    let report = printed(&output);
    assert!(output.status.success(), "{report}");
    // Printed with `--no-capture`: how many requests were sent.
    println!("{report}");
    let log = server.stderr();
    assert!(!log.contains("panicked") && !log.contains(" ERROR "), "{log}");
}
