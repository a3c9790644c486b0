//! Receivers that fail in all ways: each failure has its own error, and none exceeds the timeout.

use serde_json::{Value, json};

use crate::support::receiver::closed_port;
use crate::support::{Receiver, Reply, Setup, tls};

/// A failing destination, and the expected error.
struct Case {
    name: &'static str,
    url: String,
    class: &'static str,
    words: &'static str,
    http_status: Value,
}

fn redirect() -> Reply {
    Reply::Bytes(
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/\r\ncontent-length: 0\r\n\r\n".to_vec(),
    )
}

#[test]
fn each_receiver_failure_has_its_own_error() {
    let hanging = Receiver::start(|_, _| Reply::Hang);
    let dripping = Receiver::start(|_, _| Reply::Drip);
    let flooding = Receiver::start(|_, _| Reply::Flood(500));
    let babbling = Receiver::start(|_, _| Reply::Bytes(b"\x16\x03garbage\xff\xfe\r\n\r\n".repeat(40)));
    let closing = Receiver::start(|_, _| Reply::Close);
    let redirecting = Receiver::start(|_, _| redirect());
    let broken = Receiver::always(502);
    let no_tls = Receiver::good();
    let case = |name, url: String, class, words, http_status| Case { name, url, class, words, http_status };
    let cases = [
        case("hangs", hanging.url(), "timeout", "no response from 127.0.0.1", Value::Null),
        case("drips", dripping.url(), "timeout", "no response from 127.0.0.1", Value::Null),
        case("floods", flooding.url(), "status", "HTTP 500", json!(500)),
        case("babbles", babbling.url(), "protocol", "is not valid HTTP", Value::Null),
        case("closes", closing.url(), "protocol", "closed the connection without a response", Value::Null),
        case("redirects", redirecting.url(), "redirect", "it redirects to 169.254.169.254", json!(302)),
        case("is broken", broken.url(), "status", "HTTP 502 Bad Gateway", json!(502)),
        case("is not there", format!("http://{}/", closed_port()), "connect", "refused the connection", Value::Null),
        case("has no name", "https://nowhere.invalid/".into(), "dns", "could not be resolved", Value::Null),
        case("is self-signed", format!("https://{}/", tls::receiver().address), "tls", "is self-signed", Value::Null),
        case("has no TLS", no_tls.url().replace("http:", "https:"), "tls", "TLS", Value::Null),
    ];
    let server = Setup::new().start();
    let api = server.api();
    let mut events = Vec::new();
    for case in &cases {
        let config = json!({"url": case.url});
        let timeout_ms = if case.class == "timeout" { 1_000 } else { 15_000 };
        let channel = json!({"name": case.name, "type": "webhook", "config": config, "timeoutMs": timeout_ms,
                             "retryOnFailure": false});
        api.make_rule(case.name, &api.make_channel(channel));
        events.push(api.fail(case.name, "1"));
    }
    for (case, event) in cases.iter().zip(&events) {
        let delivery = api.delivery_once(event, "failed");
        let attempts = delivery["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "{}: {delivery}", case.name);
        let attempt = &attempts[0];
        assert_eq!(
            (&attempt["errorClass"], &attempt["httpStatus"]),
            (&json!(case.class), &case.http_status),
            "{attempt}"
        );
        let error = attempt["error"].as_str().unwrap_or_default();
        assert!(error.contains(case.words), "{}: {error}", case.name);
        assert_eq!(delivery["lastError"], attempt["error"]);
        assert!(attempt["durationMs"].as_u64().unwrap() < 10_000, "{}: {attempt}", case.name);
        let kept = attempt["responseBody"].as_str().unwrap_or_default().len();
        assert!(kept <= 2_048, "{}: {kept} bytes of the answer are kept", case.name);
        println!("a receiver that {}: {error}", case.name);
    }
    let api_events = api.get("/events").expect(200);
    assert_eq!(api_events["data"].as_array().map(Vec::len), Some(cases.len()), "no other event came of it");
}

#[test]
fn success_status_counts_whatever_its_body() {
    let flooding = Receiver::start(|_, _| Reply::Flood(200));
    let breaking = Receiver::start(|_, _| Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal".to_vec()));
    let server = Setup::new().start();
    let api = server.api();
    for (job, receiver) in [("floods", &flooding), ("breaks", &breaking)] {
        let channel = api.make_webhook(receiver, json!({"timeoutMs": 5_000}));
        api.make_rule(job, &channel);
        let delivery = api.delivery_once(&api.fail(job, "1"), "sent");
        assert_eq!((&delivery["attemptCount"], &delivery["httpStatus"]), (&json!(1), &json!(200)), "{delivery}");
        assert!(delivery["attempts"][0]["responseBody"].as_str().unwrap().len() <= 2_048, "{job}");
    }
}

#[test]
fn success_status_line_counts_whatever_its_headers() {
    let many = "X-Many: a\r\n".repeat(120);
    let long = format!("Content-Security-Policy: {}\r\n", "a".repeat(200_000));
    let server = Setup::new().start();
    let api = server.api();
    for (index, headers) in ["Server : x\r\n", "nonsense\r\n", &many, &long, "Content-Length: 7\r\n"].iter().enumerate()
    {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 2\r\n\r\nok").into_bytes();
        let receiver = Receiver::start(move |_, _| Reply::Bytes(answer.clone()));
        let job = format!("odd-{index}");
        api.make_rule(&job, &api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1]})));
        let delivery = api.delivery_once(&api.fail(&job, "1"), "sent");
        assert_eq!((&delivery["attemptCount"], receiver.count()), (&json!(1), 1), "{delivery}");
    }
}

#[test]
fn own_certificate_is_accepted_once_it_is_given() {
    let server = Setup::new().start();
    let api = server.api();
    let target = tls::receiver();
    let config = json!({"url": format!("https://{}/hook", target.address)});
    let channel = api.make_channel(json!({"name": "own", "type": "webhook", "config": config}));
    let test = || api.post(&format!("/channels/{channel}/test"), json!({})).expect(200);
    let error = test()["error"].as_str().unwrap().to_owned();
    assert!(error.ends_with("if it is your own, give it in tls.caCertificate"), "{error}");
    let edit = |tls: Value| api.patch(&format!("/channels/{channel}"), json!({"config": {"tls": tls}}));
    let pointers = edit(json!({"caCertificate": "PEM"})).expect_problem(422, "invalid");
    assert_eq!(pointers, ["/config/tls/caCertificate"]);
    let edited = edit(json!({"caCertificate": target.pem})).expect(200);
    assert!(edited["channel"]["config"]["tls"]["caCertificate"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    assert_eq!(test()["ok"], true);
    edit(Value::Null).expect(200);
    assert_eq!(test()["ok"], false, "neither the connection nor the session of before is used");
}
