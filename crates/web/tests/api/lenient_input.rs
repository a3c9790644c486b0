//! Input in forms that other programs write: packed bodies, byte order marks, numbers as ids, floats that are whole, long
//! errors.

use std::io::Write;

use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{ApiResponse, Service};
use crate::receiver::Receiver;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn post_coded(service: &Service, path: &str, coding: &str, body: Vec<u8>) -> ApiResponse {
    let request = service.bare("POST", path).header("authorization", format!("Bearer {}", service.key));
    let request = request.header("content-type", "application/json").header("content-encoding", coding);
    service.execute(request.body(Full::from(body)).unwrap()).await
}

fn run(id: &str) -> Value {
    json!({"resourceType": "flow", "resourceId": "f1", "runId": id, "status": "failure"})
}

async fn event(service: &Service, accepted: &Value) -> Value {
    service.get(&format!("/events/{}", accepted["eventId"].as_str().unwrap())).await.expect(200)
}

async fn raw_run(service: &Service, body: &str) -> ApiResponse {
    service.post_raw("/runs", "application/json", body.to_owned()).await
}

#[tokio::test]
async fn packed_bodies_are_read_on_every_route() {
    let service = Service::start().await;
    let runs = "/api/workspaces/default/runs";
    let channels = "/api/workspaces/default/channels";
    post_coded(&service, runs, "gzip", gzip(run("1").to_string().as_bytes())).await.expect(202);
    let channel = json!({"name": "a", "type": "webhook", "config": {"url": "https://example.com/"}}).to_string();
    post_coded(&service, channels, "x-gzip", gzip(channel.as_bytes())).await.expect(201);
    let inbound = service.post("/inbound-webhooks", &json!({"type": "alertmanager", "name": "am"})).await.expect(201);
    let inbound = inbound["url"].as_str().unwrap();
    let inbound = inbound[inbound.find("/in/").unwrap()..].to_owned();
    let message = json!({"version": "4", "alerts": []}).to_string();
    post_coded(&service, &inbound, "gzip", gzip(message.as_bytes())).await.expect(200);

    for path in [runs, channels, &inbound] {
        let refused = post_coded(&service, path, "br", b"x".to_vec()).await;
        assert!(refused.text.contains("Content-Encoding br"), "{}", refused.text);
        assert_eq!(refused.header("accept-encoding"), Some("gzip"));
        refused.problem(415, "unsupported_content_encoding");
        post_coded(&service, path, "gzip", b"{}".to_vec()).await.problem(400, "invalid_content_encoding");
        let bomb = gzip(&vec![b' '; 32 << 20]);
        post_coded(&service, path, "gzip", bomb).await.problem(413, "too_large");
    }
}

#[tokio::test]
async fn byte_order_mark_is_skipped_and_other_encodings_are_named() {
    let service = Service::start().await;
    let marked = format!("\u{feff}{}", run("1"));
    raw_run(&service, &marked).await.expect(202);
    let lines = format!("\u{feff}{}\n{}\n", run("2"), run("3"));
    service.post_raw("/runs", "application/x-ndjson", lines).await.expect(202);
    let channel = "\u{feff}{\"name\": \"a\", \"type\": \"webhook\", \"config\": {\"url\": \"https://example.com/\"}}";
    service.post_raw("/channels", "application/json", channel).await.expect(201);
    let latin_1 = b"{\"name\": \"Gr\xf6\xdfe\"}".to_vec();
    for path in ["/runs", "/channels"] {
        let refused = service.post_raw(path, "application/json", latin_1.clone()).await;
        assert!(refused.text.contains("UTF-8"), "{}", refused.text);
        refused.problem(400, "invalid_json");
    }
}

#[tokio::test]
async fn ids_written_as_numbers_are_their_digits() {
    let service = Service::start().await;
    let rule = json!({"resourceType": "flow", "resourceId": 65, "triggers": ["failure"], "channelType": "webhook",
                      "url": "https://example.com/"});
    let rule = service.post("/notification-rules", &rule).await.expect(201)["rule"].clone();
    assert_eq!(rule["resourceId"], "65");
    let repeated = json!({"resourceId": 65, "paused": true});
    service.patch(&format!("/notification-rules/{}", rule["id"].as_str().unwrap()), &repeated).await.expect(200);
    for digits in ["42", "-7", "18446744073709551615", "123456789012345678901234567890"] {
        let body = format!(r#"{{"resourceType":"flow","resourceId":65,"runId":{digits},"status":"failure"}}"#);
        let accepted = raw_run(&service, &body).await.expect(202);
        let event = event(&service, &accepted).await;
        assert_eq!((&event["runId"], &event["resourceId"]), (&json!(digits), &json!("65")));
        assert_eq!(event["deliveries"][0]["ruleId"], rule["id"]);
    }
    for id in ["1.5", "1e3", "true", "[1]", "null"] {
        let body = format!(r#"{{"resourceType":"flow","resourceId":"f1","runId":{id},"status":"failure"}}"#);
        assert_eq!(raw_run(&service, &body).await.problem(422, "invalid"), ["/runId"], "{id}");
    }
    let simulated = json!({"run": {"resourceType": "flow", "resourceId": 65, "status": "failure"}});
    let simulated = service.post("/simulate", &simulated).await.expect(200);
    assert_eq!(simulated["deliveries"][0]["ruleId"], rule["id"]);
}

#[tokio::test]
async fn whole_numbers_are_read_in_every_form() {
    let service = Service::start().await;
    let body = r#"{"resourceType":"flow","resourceId":"f1","runId":"r","status":"failure","durationMs":1842.0,"rowCount":1e3}"#;
    let accepted = raw_run(&service, body).await.expect(202);
    let event = event(&service, &accepted).await;
    assert_eq!((&event["durationMs"], &event["rowCount"]), (&json!(1842), &json!(1000)));
    let channel = r#"{"name": "a", "type": "webhook", "config": {"url": "https://example.com/"}, "timeoutMs": 2e3,
                      "retryDelaysSeconds": [15.0, 60]}"#;
    let channel = service.post_raw("/channels", "application/json", channel).await.expect(201)["channel"].clone();
    assert_eq!((&channel["timeoutMs"], &channel["retryDelaysSeconds"]), (&json!(2_000), &json!([15, 60])));
    for number in ["1842.5", "-1.0", "1e300", "\"1\""] {
        let body = body.replace("1842.0", number);
        assert_eq!(raw_run(&service, &body).await.problem(422, "invalid"), ["/durationMs"], "{number}");
    }
}

#[tokio::test]
async fn trigger_types_are_read_as_each_caller_writes_them() {
    let service = Service::start().await;
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelType": "webhook",
        "url": "https://example.com/", "triggerTypes": ["In-App", "API", "Schedule", "Chat", "manual"]});
    let rule = service.post("/notification-rules", &rule).await.expect(201);
    assert_eq!(rule["rule"]["triggerTypes"], json!(["manual", "api", "scheduled", "chat"]), "each once");
    for (index, (sent, kept)) in [
        ("in-app", "manual"),
        ("in_app", "manual"),
        ("API", "api"),
        ("schedule", "scheduled"),
        ("Backfill", "backfill"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut run = run(&index.to_string());
        run["triggerType"] = sent.into();
        let accepted = service.post("/runs", &run).await.expect(202);
        let event = event(&service, &accepted).await;
        assert_eq!(event["triggerType"], kept, "{sent}");
        assert_eq!(event["deliveries"].as_array().unwrap().len(), usize::from(kept != "backfill"), "{sent}");
    }
}

#[tokio::test]
async fn long_error_and_output_of_a_failure_are_cut_and_not_refused() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    service.rule_to(&receiver.url).await;
    let mut failed = run("1");
    failed["errorMessage"] = format!("it began\n{}\nit ended", "é".repeat(200_000)).into();
    failed["output"] = json!({"log": "x".repeat(300_000)});
    let accepted = service.post("/runs", &failed).await.expect(202);
    assert_eq!(accepted["truncated"], json!(["errorMessage", "output"]));
    let sent = receiver.next().await.json();
    let error = sent["errorMessage"].as_str().unwrap();
    assert!(error.starts_with("it began\n") && error.ends_with("\nit ended") && error.len() <= 16 * 1_024);
    let event = event(&service, &accepted).await;
    assert_eq!((&event["truncated"], &event["output"]), (&json!(["errorMessage", "output"]), &Value::Null));
    let again = service.post("/runs", &failed).await.expect(202);
    assert_eq!((&again["duplicate"], again.get("differs")), (&json!(true), None), "as it was sent it is the same");

    let mut succeeded = run("2");
    (succeeded["status"], succeeded["output"]) = ("success".into(), failed["output"].clone());
    let list = json!([run("3"), succeeded]);
    assert_eq!(service.post("/runs", &list).await.problem(422, "invalid"), ["/1/output"]);
    // In a batch, a long one takes no other along.
    let mut other = failed.clone();
    other["runId"] = "4".into();
    let answers = service.post("/runs", &json!([run("3"), other])).await.expect(202);
    assert_eq!((answers[0].get("truncated"), &answers[1]["truncated"]), (None, &json!(["errorMessage", "output"])));
}

#[tokio::test]
async fn half_characters_are_replaced_in_errors_and_refused_elsewhere() {
    let service = Service::start().await;
    let of = |status: &str, field: &str| {
        format!(r#"{{"resourceType":"use_case","resourceId":"u","runId":"{status}","status":"{status}",{field}}}"#)
    };
    let accepted = raw_run(&service, &of("failure", r#""errorMessage":"cut \ud83d, \ud83d\ude00""#)).await.expect(202);
    assert_eq!(event(&service, &accepted).await["errorMessage"], "cut \u{fffd}, 😀");
    for (field, pointer) in [
        (r#""output":{"a":["done \ud83d"]}"#, "/output"),
        (r#""output":{"\ude00":1}"#, "/output"),
        (r#""resourceName":"\ud83d""#, "/resourceName"),
        (r#""deepLink":"https://example.com/\udfff""#, "/deepLink"),
    ] {
        assert_eq!(raw_run(&service, &of("success", field)).await.problem(422, "invalid"), [pointer], "{field}");
    }
    raw_run(&service, &of("success", r#""output":"\ud83d\ude00 \\ud83d""#)).await.expect(202);
    let dropped = raw_run(&service, &of("failure", r#""output":"\ud83d""#).replace(r#""u""#, r#""v""#)).await;
    assert_eq!(dropped.expect(202)["truncated"], json!(["output"]), "a failure is not refused for it");
    let channel = r#"{"name": "\ud83d", "type": "webhook", "config": {"url": "https://example.com/", "headers": {"x": "\ude00"}}}"#;
    let refused = service.post_raw("/channels", "application/json", channel).await;
    assert_eq!(refused.problem(422, "invalid"), ["/config/headers/x", "/name"]);
}

#[tokio::test]
async fn report_of_up_to_8_mib_is_read() {
    let service = Service::start().await;
    let mut failed = run("1");
    failed["errorMessage"] = "x".repeat(8 * 1_048_576 - 200).into();
    service.post("/runs", &failed).await.expect(202);
    failed["errorMessage"] = "x".repeat(8 * 1_048_576).into();
    let refused = service.post("/runs", &failed).await;
    assert!(refused.text.contains("send fewer runs"), "says how to cut: {}", refused.text);
    refused.problem(413, "too_large");
}

#[tokio::test]
async fn repeated_run_with_another_body_differs() {
    let service = Service::start().await;
    let body = json!({"resourceType": "flow", "resourceId": "f1", "runId": "r", "status": "success",
        "triggerType": "schedule", "startedAt": "2026-05-02T04:00:00Z", "durationMs": 1842, "output": {"a": 1}});
    let first = service.post("/runs", &body).await.expect(202);
    assert_eq!((&first["duplicate"], first.get("differs")), (&json!(false), None));
    let with = |key: &str, value: Value| {
        let mut changed = body.clone();
        changed[key] = value;
        changed
    };
    let same = [
        body.clone(),
        with("triggerType", json!("Scheduled")),
        with("startedAt", json!("2026-05-02T06:00:00+02:00")),
        with("durationMs", json!(1842.0)),
        with("errorMessage", Value::Null),
    ];
    for repeated in same {
        let answer = service.post("/runs", &repeated).await.expect(202);
        assert_eq!((&answer["duplicate"], answer.get("differs")), (&json!(true), None), "{repeated}");
        assert_eq!((&answer["eventId"], &answer["deliveries"]), (&first["eventId"], &first["deliveries"]));
    }
    let others = [
        with("output", json!({"a": 2})),
        with("completedAt", json!("2026-05-02T04:00:00Z")),
        with("durationMs", Value::Null),
        with("resourceName", json!("Nightly")),
        with("errorMessage", json!("")),
    ];
    for repeated in others {
        let answer = service.post("/runs", &repeated).await.expect(202);
        assert_eq!((&answer["duplicate"], &answer["differs"]), (&json!(true), &json!(true)), "{repeated}");
        assert_eq!(answer["eventId"], first["eventId"]);
    }
    let batch = json!([run("b"), {"resourceType": "flow", "resourceId": "f1", "runId": "b", "status": "failure", "rowCount": 1}]);
    let answers = service.post("/runs", &batch).await.expect(202);
    assert_eq!((answers[0].get("differs"), &answers[1]["differs"]), (None, &json!(true)), "the first of a batch wins");
}

#[tokio::test]
async fn blank_names_count_as_absent_where_there_is_a_default() {
    let service = Service::start().await;
    for (number, name) in ["", " ", "\u{200b}", "\u{3000}"].into_iter().enumerate() {
        let mut run = run(&number.to_string());
        run["resourceName"] = name.into();
        let accepted = service.post("/runs", &run).await.expect(202);
        assert_eq!(event(&service, &accepted).await["resourceName"], Value::Null, "{name:?}");
        let channel = json!({"name": name, "type": "webhook", "config": {"url": "https://example.com/"}});
        assert_eq!(service.post("/channels", &channel).await.problem(422, "invalid"), ["/name"], "{name:?}");
        let inbound = json!({"type": "alertmanager", "name": name});
        assert_eq!(service.post("/inbound-webhooks", &inbound).await.problem(422, "invalid"), ["/name"], "{name:?}");
        let endpoint = json!({"name": name, "type": "http", "url": "https://example.com/"});
        assert_eq!(service.post("/endpoints", &endpoint).await.problem(422, "invalid"), ["/name"], "{name:?}");
    }
}

#[tokio::test]
async fn star_within_a_resource_id_is_refused() {
    let service = Service::start().await;
    let rule = |id: &str| {
        json!({"resourceType": "flow", "resourceId": id, "triggers": ["failure"], "channelType": "webhook",
               "url": "https://example.com/"})
    };
    for id in ["import-*", "*x", "**"] {
        assert_eq!(service.post("/notification-rules", &rule(id)).await.problem(422, "invalid"), ["/resourceId"]);
        let mut run = run("1");
        run["resourceId"] = id.into();
        assert_eq!(service.post("/runs", &run).await.problem(422, "invalid"), ["/resourceId"]);
        let simulated = json!({"run": {"resourceType": "flow", "resourceId": id, "status": "failure"}});
        assert_eq!(service.post("/simulate", &simulated).await.problem(422, "invalid"), ["/run/resourceId"]);
    }
    service.post("/notification-rules", &rule("*")).await.expect(201);
    let mut run = run("1");
    run["resourceId"] = "*".into();
    assert_eq!(service.post("/runs", &run).await.problem(422, "invalid"), ["/resourceId"]);
}

#[tokio::test]
async fn if_match_takes_a_list_of_tags() {
    let service = Service::start().await;
    let id = service.rule_to("https://example.com/").await;
    let path = format!("/notification-rules/{id}");
    let edit = async |tags: &str| {
        let request = service.request("PATCH", &path).header("content-type", "application/json");
        let request = request.header("if-match", tags).body(Full::from(r#"{"paused": true}"#)).unwrap();
        service.execute(request).await
    };
    edit("\"7\", \"8\"").await.problem(412, "revision_mismatch");
    edit("\"7\", W/\"1\"").await.expect(200);
    edit("\"1\", \"etag of a proxy\"").await.problem(412, "revision_mismatch");
    edit("*").await.expect(200);
    edit("2").await.problem(412, "invalid_if_match");
    let request = service.request("DELETE", &path).header("if-match", "\"1\", \"3\"").body(Full::default()).unwrap();
    service.execute(request).await.expect(204);
}
