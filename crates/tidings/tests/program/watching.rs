//! Monitored endpoints that fail in all ways: each failure has its own reason, and none delays other endpoints.

use std::fs;

use serde_json::{Value, json};

use crate::support::receiver::closed_port;
use crate::support::{Api, Page, Receiver, Reply, Setup, eventually, tls};

/// Checks every second.
fn setup() -> Setup {
    Setup::new().with("TIDINGS_WATCH_INTERVAL_SECONDS_MIN", "1")
}

/// Creates a channel with a rule for every endpoint.
fn notify_of_all(api: &Api, channel: &str) {
    let rule = json!({"resourceType": "endpoint", "resourceId": "*", "channelId": channel});
    api.post("/notification-rules", rule).expect(201);
}

/// A failing endpoint, and the expected reason.
struct Case {
    name: &'static str,
    url: String,
    failure: Value,
    words: &'static str,
}

#[test]
fn each_endpoint_failure_has_its_own_reason() {
    let redirect = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/\r\ncontent-length: 0\r\n\r\n";
    let hanging = Receiver::start(|_, _| Reply::Hang);
    let dripping = Receiver::start(|_, _| Reply::Drip);
    let flooding = Receiver::start(|_, _| Reply::Flood(500));
    let closing = Receiver::start(|_, _| Reply::Close);
    let breaking = Receiver::start(|_, _| Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal".to_vec()));
    let redirecting = Receiver::start(move |_, _| Reply::Bytes(redirect.to_vec()));
    let broken = Receiver::always(502);
    let (self_signed, expired) = (tls::receiver(), tls::expired());
    let case = |name, url: String, failure, words| Case { name, url, failure, words };
    let cases = [
        case("hangs", hanging.url(), json!("timeout"), "no answer from 127.0.0.1"),
        case("drips", dripping.url(), json!("timeout"), "no answer from 127.0.0.1"),
        case("floods", flooding.url(), Value::Null, "HTTP 500 — expected 200"),
        case("closes early", closing.url(), json!("protocol"), "closed the connection without an answer"),
        case("breaks off", breaking.url(), json!("protocol"), "closed the connection in the middle of its answer"),
        case("redirects to metadata", redirecting.url(), json!("forbidden"), "after a redirect: 169.254.169.254 is"),
        case("is broken", broken.url(), Value::Null, "HTTP 502 — expected 200"),
        case("is not there", format!("http://{}/", closed_port()), json!("refused"), "connection refused by 127.0.0.1"),
        case("has no name", "http://nowhere.invalid/".into(), json!("dns"), "nowhere.invalid could not be resolved"),
        case("is self-signed", format!("https://{}/", self_signed.address), json!("tls"), "certificate is self-signed"),
        case("has expired", format!("https://{}/", expired.address), json!("tls"), "certificate expired on 2021-01-31"),
    ];
    let setup = setup().with("SSL_CERT_FILE", "roots.pem");
    fs::write(setup.directory().join("roots.pem"), &expired.pem).unwrap();
    let receiver = Receiver::good();
    let server = setup.start();
    let api = server.api();
    notify_of_all(&api, &api.make_webhook(&receiver, json!({})));
    let make = |case: &Case| api.make_monitored(&case.url, json!({"name": case.name, "timeoutMs": 1_000}));
    let endpoints = cases.each_ref().map(make);
    let bodies: Vec<_> = receiver.wait_for(cases.len()).iter().map(|request| request.json()).collect();
    for (case, endpoint) in cases.iter().zip(&endpoints) {
        let check = api.endpoint_once(endpoint, "down")["lastCheck"].clone();
        let reason = check["statusReason"].as_str().unwrap();
        assert!(reason.contains(case.words), "{}: {reason}", case.name);
        assert_eq!(check["failure"], case.failure, "{}: {check}", case.name);
        assert!(check["timings"]["totalMs"].as_u64().unwrap() < 5_000, "{}: {check}", case.name);
        let body = bodies.iter().find(|candidate| candidate["endpoint"]["id"] == *endpoint).unwrap();
        assert_eq!((&body["event"], &body["detail"]), (&json!("incident_opened"), &json!(reason)), "{}", case.name);
        println!("an endpoint that {}: {reason}", case.name);
    }
}

#[test]
fn large_response_is_not_read_and_healthy() {
    let flooding = Receiver::start(|_, _| Reply::Flood(200));
    let server = setup().start();
    let api = server.api();
    let missing = json!({"kind": "body", "operator": "contains", "target": null, "value": "y", "severity": "degraded"});
    let plain = api.make_monitored(&flooding.url(), json!({"name": "floods"}));
    let asserting = api.make_monitored(&flooding.url(), json!({"name": "floods, too", "assertions": [missing]}));
    api.endpoint_once(&plain, "healthy");
    let check = api.endpoint_once(&asserting, "inconclusive")["lastCheck"].clone();
    let result = &check["assertions"][0];
    assert_eq!([&result["passed"], &result["inconclusive"]], [false, true], "what was not seen is no failure: {check}");
    assert!(check.to_string().len() < 5_000, "{check}");
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    let peak_kib: u64 = peak.parse().unwrap();
    println!("{} MiB at the most", peak_kib / 1_024);
    assert!(peak_kib < 150 * 1_024, "{peak_kib} KiB");
}

#[test]
fn private_target_is_rejected_on_save_and_on_probe() {
    let page = Page::answering(200);
    let narrow = setup().with("TIDINGS_ALLOW_WATCH_TARGETS", "203.0.113.0/24");
    let server = narrow.start();
    let api = server.api();
    let urls = ["http://169.254.169.254/latest/meta-data/", "http://localhost:1/", "http://10.0.0.1/", "http://[::1]/"];
    for url in urls.iter().copied().chain([page.url().as_str()]) {
        let refused = api.post("/endpoints", json!({"name": "n", "type": "http", "url": url}));
        assert_eq!(refused.expect_problem(422, "invalid"), ["/url"], "{url}");
        assert!(refused.text().contains("TIDINGS_ALLOW_WATCH_TARGETS"), "{}", refused.text());
    }
    server.stop();

    // Saved while its network was allowed: the addresses of a name are checked at every probe.
    let receiver = Receiver::good();
    let wide = narrow.with("TIDINGS_ALLOW_WATCH_TARGETS", "127.0.0.0/8");
    let server = wide.start();
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let more = json!({"intervalSeconds": 1, "timeoutMs": 1_000, "expectedStatusCodes": [204]});
    let endpoint = server.api().make_monitored(&url, more);
    server.api().endpoint_once(&endpoint, "healthy");
    server.stop();
    let narrow = wide.with("TIDINGS_ALLOW_WATCH_TARGETS", "203.0.113.0/24");
    let looks = receiver.count();
    let server = narrow.start();
    let check = server.api().endpoint_once(&endpoint, "down")["lastCheck"].clone();
    let reason = check["statusReason"].as_str().unwrap();
    assert!(reason.contains("which is refused; TIDINGS_ALLOW_WATCH_TARGETS can let it in"), "{reason}");
    assert_eq!((&check["failure"], receiver.count()), (&json!("forbidden"), looks), "{check}");
}

#[test]
fn paused_endpoint_is_not_probed() {
    let (paused, beside) = (Receiver::always(200), Page::answering(200));
    let server = setup().start();
    let api = server.api();
    let every_second = json!({"intervalSeconds": 1, "timeoutMs": 1_000});
    let [endpoint, _] = [paused.url(), beside.url()].map(|url| api.make_monitored(&url, every_second.clone()));
    paused.wait_for(1);
    let shown = api.post(&format!("/endpoints/{endpoint}/pause"), json!({})).expect(200);
    assert_eq!((&shown["endpoint"]["status"], &shown["endpoint"]["enabled"]), (&json!("paused"), &json!(false)));
    // A probe in flight may still finish; after it there is none, while other endpoints are still probed.
    beside.wait_for_probes(beside.probes() + 1);
    let looks = paused.count();
    beside.wait_for_probes(beside.probes() + 3);
    assert_eq!(paused.count(), looks);
    let check = json!({"status": "down"});
    api.post(&format!("/endpoints/{endpoint}/checks"), check).expect_problem(409, "endpoint_paused");
    api.post(&format!("/endpoints/{endpoint}/resume"), json!({})).expect(200);
    paused.wait_for(looks + 2);
    api.endpoint_once(&endpoint, "healthy");
}

#[test]
fn edit_during_a_probe_discards_its_result() {
    let (slow, elsewhere) = (Receiver::start(|_, _| Reply::Held), Receiver::always(503));
    let server = setup().start();
    let api = server.api();
    let [renamed, moved] = [(); 2].map(|()| api.make_monitored(&slow.url(), json!({"expectedStatusCodes": [204]})));
    slow.wait_for(2);
    api.patch(&format!("/endpoints/{renamed}"), json!({"name": "Shop", "failureThreshold": 2})).expect(200);
    api.patch(&format!("/endpoints/{moved}"), json!({"url": elsewhere.url()})).expect(200);
    elsewhere.wait_for(1);
    slow.release();
    api.endpoint_once(&renamed, "healthy");
    api.endpoint_once(&moved, "down");
    let checks = api.get(&format!("/endpoints/{moved}/checks")).expect(200);
    assert_eq!(checks["data"].as_array().map(Vec::len), Some(1), "{checks}");
    assert_eq!((slow.count(), elsewhere.count()), (2, 1), "each target was probed once for each");
}

#[test]
fn hanging_endpoints_do_not_delay_others() {
    let hanging = Receiver::start(|_, _| Reply::Hang);
    let quick = Receiver::always(200);
    let server = setup().start();
    let api = server.api();
    let patient = json!({"intervalSeconds": 20, "timeoutMs": 20_000});
    let slow: Vec<_> = (0..10).map(|_| api.make_monitored(&hanging.url(), patient.clone())).collect();
    // Connections to a target are limited; some of these probes wait for a permit.
    hanging.wait_for(1);
    let endpoint = api.make_monitored(&quick.url(), json!({"intervalSeconds": 1, "timeoutMs": 1_000}));
    quick.wait_for(6);
    for slow in &slow {
        assert_eq!(
            api.get(&format!("/endpoints/{slow}")).expect(200)["status"],
            "pending",
            "its probe is still in flight"
        );
    }
    let checks = eventually("its checks are written down", || {
        let checks = api.get(&format!("/endpoints/{endpoint}/checks")).expect(200)["data"].as_array().unwrap().clone();
        (checks.len() >= 6).then_some(checks)
    });
    assert!(checks.iter().all(|check| check["status"] == "healthy"), "{checks:?}");
}

#[test]
fn pending_delivery_of_deleted_endpoint_is_skipped() {
    let receiver = Receiver::always(503);
    let server = setup().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [2]}));
    let endpoint = api.make_endpoint(json!({}));
    api.wire(&endpoint, &[&hook]);
    let incident = api.open(&endpoint, "down");
    let waiting = eventually("it was tried", || {
        let delivery = api.incident_delivery_once(&incident, "opened", &hook, "pending");
        (delivery["attemptCount"] == 1).then_some(delivery)
    });
    api.delete(&format!("/endpoints/{endpoint}")).expect(204);
    let skipped = api.incident_delivery_once(&incident, "opened", &hook, "skipped");
    // At most once more: the resolution makes the delivery before it due at once.
    assert!(skipped["id"] == waiting["id"] && receiver.count() <= 2, "{skipped}");
    let resolved = api.incident(&incident);
    assert_eq!((&resolved["status"], &resolved["notificationsSent"]), (&json!("resolved"), &json!(0)), "{resolved}");
    // The channel was never notified of the incident.
    let resolution = api.incident_delivery_once(&incident, "resolved", &hook, "suppressed");
    assert_eq!(resolution["suppressedReason"], "never_opened", "{resolution}");
    assert!(!server.stderr().contains("ERROR"), "{}", server.stderr());
}
