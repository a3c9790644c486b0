//! Endpoints that misbehave in every way there is, watched by the real check engine: each is told apart, in words, and none
//! costs another one anything.

use std::fs;

use serde_json::{Value, json};

use crate::support::receiver::closed_port;
use crate::support::{Api, Page, Receiver, Reply, Setup, eventually, tls};

/// Watches every second.
fn setup() -> Setup {
    Setup::new().with("TIDINGS_WATCH_INTERVAL_SECONDS_MIN", "1")
}

/// Has a channel hear of every endpoint.
fn hear_of_all(api: &Api, channel: &str) {
    let rule = json!({"resourceType": "endpoint", "resourceId": "*", "channelId": channel});
    api.post("/notification-rules", rule).expect(201);
}

/// An endpoint that is down, and what is said of it.
struct Case {
    name: &'static str,
    url: String,
    failure: Value,
    words: &'static str,
}

#[test]
fn every_way_to_be_down_is_told_apart_in_words_and_heard_so() {
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
    hear_of_all(&api, &api.make_webhook(&receiver, json!({})));
    let make = |case: &Case| api.make_watched(&case.url, json!({"name": case.name, "timeoutMs": 1_000}));
    let endpoints = cases.each_ref().map(make);
    let said: Vec<_> = receiver.wait_for(cases.len()).iter().map(|request| request.json()).collect();
    for (case, endpoint) in cases.iter().zip(&endpoints) {
        let check = api.endpoint_once(endpoint, "down")["lastCheck"].clone();
        let reason = check["statusReason"].as_str().unwrap();
        assert!(reason.contains(case.words), "{}: {reason}", case.name);
        assert_eq!(check["failure"], case.failure, "{}: {check}", case.name);
        assert!(check["timings"]["totalMs"].as_u64().unwrap() < 5_000, "{}: {check}", case.name);
        let heard = said.iter().find(|body| body["endpoint"]["id"] == *endpoint).unwrap();
        assert_eq!((&heard["event"], &heard["detail"]), (&json!("incident_opened"), &json!(reason)), "{}", case.name);
        println!("an endpoint that {}: {reason}", case.name);
    }
}

#[test]
fn a_hundred_megabytes_are_not_read_and_no_reason_to_be_down() {
    let flooding = Receiver::start(|_, _| Reply::Flood(200));
    let server = setup().start();
    let api = server.api();
    let missing = json!({"kind": "body", "operator": "contains", "target": null, "value": "y", "severity": "degraded"});
    let plain = api.make_watched(&flooding.url(), json!({"name": "floods"}));
    let asserting = api.make_watched(&flooding.url(), json!({"name": "floods, too", "assertions": [missing]}));
    api.endpoint_once(&plain, "healthy");
    let check = api.endpoint_once(&asserting, "degraded")["lastCheck"].clone();
    assert_eq!(check["assertions"][0]["passed"], false, "{check}");
    assert!(check.to_string().len() < 5_000, "{check}");
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    let peak_kib: u64 = peak.parse().unwrap();
    println!("{} MiB at the most", peak_kib / 1_024);
    assert!(peak_kib < 150 * 1_024, "{peak_kib} KiB");
}

#[test]
fn private_addresses_are_refused_in_words_when_they_are_saved_and_when_they_are_looked_at() {
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

    // Saved while that was allowed: a name is judged by its addresses each time it is looked at.
    let receiver = Receiver::good();
    let wide = narrow.with("TIDINGS_ALLOW_WATCH_TARGETS", "127.0.0.0/8");
    let server = wide.start();
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let more = json!({"intervalSeconds": 1, "timeoutMs": 1_000, "expectedStatusCodes": [204]});
    let endpoint = server.api().make_watched(&url, more);
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
fn a_paused_endpoint_is_not_looked_at_until_it_is_resumed() {
    let (paused, beside) = (Receiver::always(200), Page::answering(200));
    let server = setup().start();
    let api = server.api();
    let every_second = json!({"intervalSeconds": 1, "timeoutMs": 1_000});
    let [endpoint, _] = [paused.url(), beside.url()].map(|url| api.make_watched(&url, every_second.clone()));
    paused.wait_for(1);
    let shown = api.post(&format!("/endpoints/{endpoint}/pause"), json!({})).expect(200);
    assert_eq!((&shown["endpoint"]["status"], &shown["endpoint"]["enabled"]), (&json!("paused"), &json!(false)));
    // A look that was under way may still come to its end; after that there is none, while others have theirs.
    beside.wait_for_looks(beside.looks() + 1);
    let looks = paused.count();
    beside.wait_for_looks(beside.looks() + 3);
    assert_eq!(paused.count(), looks);
    let check = json!({"status": "down"});
    api.post(&format!("/endpoints/{endpoint}/checks"), check).expect_problem(409, "endpoint_paused");
    api.post(&format!("/endpoints/{endpoint}/resume"), json!({})).expect(200);
    paused.wait_for(looks + 2);
    api.endpoint_once(&endpoint, "healthy");
}

#[test]
fn an_edit_in_the_middle_of_a_look_loses_nothing_and_what_moved_is_not_judged_by_its_old_place() {
    let (slow, elsewhere) = (Receiver::start(|_, _| Reply::Held), Receiver::always(503));
    let server = setup().start();
    let api = server.api();
    let [renamed, moved] = [(); 2].map(|()| api.make_watched(&slow.url(), json!({"expectedStatusCodes": [204]})));
    slow.wait_for(2);
    api.patch(&format!("/endpoints/{renamed}"), json!({"name": "Shop", "failureThreshold": 2})).expect(200);
    api.patch(&format!("/endpoints/{moved}"), json!({"url": elsewhere.url()})).expect(200);
    elsewhere.wait_for(1);
    slow.release();
    api.endpoint_once(&renamed, "healthy");
    api.endpoint_once(&moved, "down");
    let checks = api.get(&format!("/endpoints/{moved}/checks")).expect(200);
    assert_eq!(checks["data"].as_array().map(Vec::len), Some(1), "{checks}");
    assert_eq!((slow.count(), elsewhere.count()), (2, 1), "each place was looked at once for each");
}

#[test]
fn endpoints_that_hang_do_not_delay_one_that_is_quick() {
    let hanging = Receiver::start(|_, _| Reply::Hang);
    let quick = Receiver::always(200);
    let server = setup().start();
    let api = server.api();
    let patient = json!({"intervalSeconds": 20, "timeoutMs": 20_000});
    let slow: Vec<_> = (0..10).map(|_| api.make_watched(&hanging.url(), patient.clone())).collect();
    // A target gets so many connections at once; some of these wait for their turn there.
    hanging.wait_for(1);
    let endpoint = api.make_watched(&quick.url(), json!({"intervalSeconds": 1, "timeoutMs": 1_000}));
    quick.wait_for(6);
    for slow in &slow {
        assert_eq!(api.get(&format!("/endpoints/{slow}")).expect(200)["status"], "pending", "still being looked at");
    }
    let checks = eventually("its checks are written down", || {
        let checks = api.get(&format!("/endpoints/{endpoint}/checks")).expect(200)["data"].as_array().unwrap().clone();
        (checks.len() >= 6).then_some(checks)
    });
    assert!(checks.iter().all(|check| check["status"] == "healthy"), "{checks:?}");
}

#[test]
fn what_waits_for_its_next_try_is_skipped_when_its_endpoint_is_deleted() {
    let receiver = Receiver::always(503);
    let server = setup().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [2]}));
    let endpoint = api.make_endpoint(json!({}));
    api.wire(&endpoint, &[&hook]);
    let incident = api.open(&endpoint, "down");
    let waiting = eventually("it was tried", || {
        let told = api.told_once(&incident, "opened", &hook, "pending");
        (told["attemptCount"] == 1).then_some(told)
    });
    api.delete(&format!("/endpoints/{endpoint}")).expect(204);
    let skipped = api.told_once(&incident, "opened", &hook, "skipped");
    assert_eq!((&skipped["id"], receiver.count()), (&waiting["id"], 1), "{skipped}");
    let incident = api.incident(&incident);
    assert_eq!(incident["status"], "resolved", "it is over, without a word: {incident}");
    assert_eq!(api.deliveries("").len(), 1);
    assert!(!server.stderr().contains("ERROR"), "{}", server.stderr());
}
