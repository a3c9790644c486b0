//! Bodies: content codings, charsets, and what is searched beyond what is kept.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tidings_channels::egress::DialOptions;
use tidings_domain::check::Check;
use tidings_domain::check::{
    Assertion, AssertionKind, BodyFault, CheckStatus, JSON_BYTES_MAX, Operator, SEARCHED_BYTES_MAX, judge,
};
use tidings_domain::endpoint::{Definition, Probe};

use crate::support::{AGENT, NOW, Server, body_assertion, get, http_answer, observe_http, prober};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A server that answers with this body.
async fn serving(head: &str, body: &[u8]) -> Server {
    let head = format!("HTTP/1.1 200 OK\r\n{head}content-length: {}\r\n\r\n", body.len());
    Server::answering([head.as_bytes(), body].concat()).await
}

/// The verdict on the server with these assertions, twice over.
async fn checked(server: &Server, assertions: Vec<Assertion>) -> Check {
    let definition = Definition { assertions, ..Definition::new(Probe::Http(get(server.url()))) };
    let prober = prober();
    let observe = async || prober.probe(&definition, AGENT, NOW, DialOptions::default()).await;
    let first = judge(&definition, &observe().await);
    let again = judge(&definition, &observe().await);
    assert_eq!(
        (first.status, &first.reason),
        (again.status, &again.reason),
        "over a kept connection as over a new one"
    );
    first
}

fn json(target: &str, value: &str) -> Assertion {
    let (kind, operator) = (AssertionKind::Json, Operator::Equals);
    let (target, value) = (Some(target.to_owned()), Some(value.to_owned()));
    Assertion { kind, operator, target, value, severity: CheckStatus::Down }
}

#[tokio::test]
async fn keywords_are_found_in_any_charset_and_coding() {
    for (head, body, keyword) in [
        ("content-type: text/html; charset=ISO-8859-1\r\n", b"Gr\xf6\xdfe".to_vec(), "Größe"),
        ("content-type: text/html\r\n", b"<meta charset=\"shift_jis\">\x89\xd2\x93\xad\x92\x86".to_vec(), "稼働中"),
        ("content-encoding: gzip\r\n", gzip("läuft".as_bytes()), "läuft"),
        ("content-type: text/html; charset=ISO-8859-1\r\ncontent-encoding: gzip\r\n", gzip(b"l\xe4uft"), "läuft"),
    ] {
        let server = serving(head, &body).await;
        let check = checked(&server, vec![body_assertion(Operator::Contains, keyword)]).await;
        assert_eq!((check.status, check.reason), (CheckStatus::Healthy, None), "{head}");
        let check = checked(&server, vec![body_assertion(Operator::NotContains, keyword)]).await;
        assert_eq!(check.status, CheckStatus::Down, "{head}");
    }
    let server = serving("content-encoding: gzip\r\n", &gzip(br#"{"status": "up"}"#)).await;
    assert_eq!(checked(&server, vec![json("status", "up")]).await.status, CheckStatus::Healthy);
}

#[tokio::test]
async fn texts_are_found_beyond_what_is_kept_and_unknown_beyond_what_is_read() {
    let page = |before: usize, after: usize| [&vec![b'x'; before][..], b"needle", &vec![b'x'; after]].concat();
    let (contains, not_contains) = (Operator::Contains, Operator::NotContains);
    let cap = SEARCHED_BYTES_MAX;
    for (body, operator, text, status) in [
        (page(600_000, 0), contains, "needle", CheckStatus::Healthy),
        (page(cap - 6, 1_000_000), contains, "needle", CheckStatus::Healthy),
        (page(cap - 6, 0), contains, "other", CheckStatus::Down),
        (page(cap - 5, 0), contains, "needle", CheckStatus::Inconclusive),
        (page(cap, 0), not_contains, "needle", CheckStatus::Inconclusive),
        (page(0, cap + 1), not_contains, "needle", CheckStatus::Down),
        (page(cap - 6, 0), not_contains, "other", CheckStatus::Healthy),
    ] {
        for packed in [false, true] {
            let server = match packed {
                true => serving("content-encoding: gzip\r\n", &gzip(&body)).await,
                false => serving("", &body).await,
            };
            let check = checked(&server, vec![body_assertion(operator, text)]).await;
            assert_eq!(check.status, status, "{operator:?} {text} in {} bytes: {:?}", body.len(), check.reason);
            let words = "only the first 4,194,304 bytes were read";
            assert_eq!(
                check.reason.is_some_and(|reason| reason.contains(words)),
                status == CheckStatus::Inconclusive,
                "{operator:?}"
            );
        }
    }
}

#[tokio::test]
async fn long_json_is_inconclusive() {
    let long = format!("{{\"status\": \"ok\", \"rest\": \"{}\"}}", "x".repeat(JSON_BYTES_MAX));
    let check = checked(&serving("", long.as_bytes()).await, vec![json("status", "ok")]).await;
    assert_eq!(check.status, CheckStatus::Inconclusive);
    let words = "but the body is longer than the 1,048,576 bytes that are read as JSON";
    assert!(check.reason.as_deref().is_some_and(|reason| reason.ends_with(words)), "{:?}", check.reason);
    let fits = format!("{{\"status\": \"ok\", \"rest\": \"{}\"}}", "x".repeat(JSON_BYTES_MAX - 100));
    assert_eq!(
        checked(&serving("", fits.as_bytes()).await, vec![json("status", "ok")]).await.status,
        CheckStatus::Healthy
    );
}

#[tokio::test]
async fn undecodable_body_is_no_failure_without_an_assertion_about_it() {
    for (head, body) in [("content-encoding: gzip\r\n", &b"plain"[..]), ("content-encoding: zstd\r\n", b"\x28\xb5")] {
        let server = serving(head, body).await;
        assert_eq!(checked(&server, Vec::new()).await.status, CheckStatus::Healthy);
        assert_eq!(server.connections(), 1, "its connection is kept");
    }
    let server = serving("content-encoding: zstd\r\n", b"\x28\xb5").await;
    let check = checked(&server, vec![body_assertion(Operator::Contains, "x")]).await;
    let words = "body: expected to contain \"x\", but the body has the content coding zstd, which is not supported";
    assert_eq!((check.status, check.reason.as_deref()), (CheckStatus::Inconclusive, Some(words)));
    let answer = http_answer(&observe_http(&prober(), &get(server.url())).await);
    assert_eq!(answer.body.fault, Some(BodyFault::UnknownCoding("zstd".into())));
}
