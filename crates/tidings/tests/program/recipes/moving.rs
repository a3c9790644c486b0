//! How to move from other products: the commands of each section, in their order.

use std::fs;

use serde_json::{Value, json};

use super::{DOCUMENT, World, channel_in, run};
use crate::support::foreign::Foreign;
use crate::support::{Page, Receiver, Reply, eventually, snippets};

#[test]
fn first_channel_gets_failed_jobs_and_flows() {
    let world = World::start();
    let channel = world.make_first_channel();
    for resource_type in ["job", "flow"] {
        let run = json!({"resourceType": resource_type, "resourceId": "x", "runId": "1", "status": "failure"});
        let accepted = world.api.post("/runs", run).expect(202);
        assert_eq!(accepted["deliveries"]["pending"], 1, "{accepted}");
    }
    let events: Vec<_> = world.receiver.wait_for(3).iter().map(|request| request.json()["event"].clone()).collect();
    assert_eq!(events[0], "channel_test", "{events:?}");
    assert_eq!(world.api.deliveries(&format!("&channel={channel}&kind=flow.run.terminal")).len(), 2);
}

#[test]
fn uptime_kumas_monitors_become_endpoints() {
    let world = World::start();
    let page = Page::answering(200);
    let channel = world.make_first_channel();
    let importer = world.install("kuma-import.py", "kuma-import.py");
    world.write("kuma.sql", &include_str!("drivers/kuma.sql").replace("PAGE", &page.url()));
    let made = run(world.command("sh", &["-c", "sqlite3 kuma.db < kuma.sql"]));
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));

    let snippet = snippets::titled(DOCUMENT, "kuma-move");
    let import = || {
        let script = format!("channel={channel}\n{}", snippet.text);
        let ended = run(world.command("sh", &["-c", &script]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "{importer}: what was skipped is a failure");
        let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        ended.stdout.lines().map(words).collect::<Vec<_>>()
    };
    let verdicts = |first: &str| -> Vec<_> {
        (1..=11).map(|id| format!("{} {id}", if id <= 7 || id == 10 { first } else { "skipped" })).collect()
    };
    assert_eq!(import(), verdicts("imported"), "{importer}");
    let endpoints = world.api.get("/endpoints?tag=prod").expect(200);
    let shop = &endpoints["data"][0];
    let facts =
        ["name", "failureThreshold", "reminderMinutes", "intervalSeconds", "timeoutMs"].map(|key| shop[key].clone());
    assert_eq!(facts, [json!("Shop"), json!(3), json!(3), json!(60), json!(48_000)], "{shop}");
    assert_eq!(shop["tags"].as_array().map(Vec::len), Some(3), "{shop}");
    let wires = world.api.get(&format!("/endpoints/{}/notifications", shop["id"].as_str().unwrap())).expect(200);
    let wired = wires["channels"].as_array().unwrap().iter().find(|wire| wire["channelId"] == channel.as_str());
    assert_eq!(wired.map(|wire| &wire["wired"]), Some(&json!(true)), "{wires}");
    let push = &world.api.get("/endpoints?tag=uptime-kuma-7").expect(200)["data"][0];
    assert_eq!([&push["type"], &push["heartbeatSeconds"]], [&json!("external"), &json!(20)], "{push}");
    let wide = &world.api.get("/endpoints?tag=uptime-kuma-10").expect(200)["data"][0];
    assert_eq!(wide["expectedStatusCodes"], json!(["200-299", 404]), "{wide}");
    assert_eq!(import(), verdicts("there"), "{importer}: run again, it imports nothing twice");
}

#[test]
fn svix_endpoint_moves_with_its_schedule_and_its_verification() {
    let mut world = World::start();
    world.receiver = Receiver::start(|request, number| {
        let is_outage = number == 3 && request.json()["execution_id"] == "exec_fails";
        Reply::Status(if is_outage { 500 } else { 204 })
    });
    let printed = world.run_after_setup("", "svix-channel");
    let channel = channel_in(&printed);
    let secret = printed.lines().find(|line| line.starts_with("whsec_")).expect("the secret is printed");
    let setting = format!("channel={channel}");
    world.run_after_setup(&setting, "svix-rule");
    let printed = world.run_after_setup(&setting, "svix-report");
    assert!(printed.contains("\"ok\":true") && printed.contains("\"pending\":1"), "{printed}");
    let request = &world.receiver.wait_for(2)[1];
    assert_eq!(request.json()["execution_id"], "exec_01HX");

    // The receiver, with the other library that its comment names.
    let snippet = snippets::titled(DOCUMENT, "svix-receiver.py");
    let text = snippet.text.replace("from svix.webhooks import", "from standardwebhooks.webhooks import");
    world.write("receiver.py", &text);
    world.write("body", std::str::from_utf8(request.body()).unwrap());
    let headers: Value = request.headers().iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    world.write("headers", &headers.to_string());
    let check = "import json, pathlib, receiver, sys\n\
                 headers = json.loads(pathlib.Path('headers').read_text())\n\
                 print(receiver.payload_of(sys.argv[1], pathlib.Path('body').read_bytes(), headers)['execution_id'])";
    let python = std::env::var("TIDINGS_TEST_PYTHON").expect("TIDINGS_TEST_PYTHON: run `cargo xtask test`");
    let accepted = snippet.output_of(world.command(&python, &["-c", check, secret]));
    assert_eq!(accepted, "exec_01HX\n", "{snippet}");
    let refused = run(world.command(&python, &["-c", check, &format!("whsec_{}", "A".repeat(64))]));
    assert!(refused.stderr.contains("WebhookVerificationError"), "{snippet}: {refused:?}");

    world.api.patch(&format!("/channels/{channel}"), json!({"retryOnFailure": false})).expect(200);
    let run = json!({"resourceType": "use_case", "resourceId": "invoice-extraction", "runId": "exec_fails",
                     "status": "failure", "errorMessage": "x"});
    world.api.post("/runs", run).expect(202);
    let failed = format!("&channel={channel}&status=failed");
    eventually("the delivery fails", || (world.api.deliveries(&failed).len() == 1).then_some(()));
    let printed = world.run_after_setup(&setting, "svix-recover");
    assert!(printed.contains("{\"matched\":1}") && printed.contains("{\"recovered\":1}"), "{printed}");
    eventually("it is sent", || world.api.deliveries(&failed).is_empty().then_some(()));
}

#[test]
fn healthchecks_webhook_reports_a_missing_job() {
    let world = World::start();
    let snippet = snippets::titled(DOCUMENT, "healthchecks-webhook");
    let text = snippet
        .text
        .replace("$NAME_JSON", &json!("db \"backup\"").to_string())
        .replace("$CODE", "5f1c0e2a-aaaa-bbbb-cccc-123456789012")
        .replace("$NOW", "2026-05-02T04:00:00+00:00")
        .replace("$STATUS", "down");
    let body = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{snippet}: {error}"));
    world.api.post("/runs", body).expect(202);
    let message = world.newest_job("db \"backup\"")["errorMessage"].clone();
    assert!(message.as_str().unwrap().starts_with("Healthchecks: the check is down"), "{message}");
}

#[test]
fn alertmanager_reports_to_the_inbound_webhook() {
    let world = World::start();
    let channel = world.make_first_channel();
    let printed = world.run_after_setup("", "alertmanager-webhook");
    let url = printed.lines().next().unwrap();
    assert!(url.starts_with(&format!("{}/in/alertmanager/", world.url())), "{printed}");
    let printed = world.run_after_setup(&format!("channel={channel}"), "alertmanager-rule");
    assert!(printed.contains(r#""triggers":["opened","resolved","escalated"]"#), "{printed}");

    for title in ["alertmanager-beside.yml", "alertmanager.yml"] {
        let snippet = snippets::titled(DOCUMENT, title);
        let placeholder = "https://tidings.example.com/in/alertmanager/…";
        assert!(snippet.text.contains(placeholder), "{snippet}");
        fs::write(world.path(title), snippet.text.replace(placeholder, url)).unwrap();
        let checked = run(world.command("amtool", &["check-config", title]));
        assert_eq!(checked.code, Some(0), "{snippet}: {checked:?}");
    }
    let alertmanager = Foreign::start(world.command(
        "prometheus-alertmanager",
        &[
            "--config.file=alertmanager.yml",
            "--storage.path=alertmanager",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ],
    ));
    let address = alertmanager.wait_for_stderr(|log| {
        let (_, rest) = log.split_once("msg=\"Listening on\" address=")?;
        rest.split_once('\n').map(|(address, _)| address.trim().to_owned())
    });
    let printed = world.run_after_setup(&format!("ALERTMANAGER_URL=http://{address}"), "alertmanager-try");
    assert!(printed.contains("\"resourceName\":\"TidingsTest (test)\""), "{printed}");
    let opened = world.receiver.wait_for(2)[1].json();
    assert_eq!((&opened["event"], &opened["severity"]), (&json!("incident_opened"), &json!("warning")), "{opened}");
}

#[test]
fn why_explains_the_newest_event() {
    let world = World::start();
    let job = json!({"resourceType": "job", "resourceId": "nightly-backup", "triggers": ["failure"],
                     "channelType": "webhook", "url": world.receiver.url()});
    world.api.post("/notification-rules", job).expect(201);
    let run = json!({"resourceType": "job", "resourceId": "nightly-backup", "runId": "1", "status": "success"});
    world.api.post("/runs", run).expect(202);
    let snippet = snippets::titled("docs/CONCEPTS.md", "why");
    let printed = snippet.output_of(world.command("sh", &["-euc", &snippet.text]));
    let answer: Value = serde_json::from_str(&printed).unwrap();
    assert!(answer["answer"].is_string() && answer["deliveries"] == json!([]), "{snippet}: {answer}");
    assert_eq!(answer["notRouted"][0]["reason"], "trigger", "{snippet}: {answer}");
}
