//! Tests of `check::assertion`.

use super::*;
use crate::endpoint::HttpProbe;
use crate::tls::TlsSettings;

/// An assertion of severity `down`. An empty target or value is absent.
pub(crate) fn assertion(kind: AssertionKind, operator: Operator, target: &str, value: &str) -> Assertion {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Assertion { kind, operator, target: given(target), value: given(value), severity: CheckStatus::Down }
}

fn http() -> Probe {
    Probe::Http(HttpProbe::new("https://example.com/"))
}

fn messages(one: Assertion, probe: &Probe) -> Vec<String> {
    violations(&[one], probe).iter().map(ToString::to_string).collect()
}

#[test]
fn wire_names_round_trip() {
    for kind in AssertionKind::ALL {
        assert_eq!(AssertionKind::parse(kind.as_str()), Some(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
    for operator in Operator::ALL {
        assert_eq!(Operator::parse(operator.as_str()), Some(operator));
        assert_eq!(serde_json::to_value(operator).unwrap(), operator.as_str());
    }
}

#[test]
fn each_kind_takes_only_its_operators() {
    let fitting = |kind: AssertionKind| Operator::ALL.into_iter().filter(|operator| kind.takes(*operator)).count();
    assert_eq!(AssertionKind::ALL.map(fitting), [6, 11, 11, 11, 8]);
    assert_eq!(
        messages(assertion(AssertionKind::Latency, Operator::Contains, "", "5"), &http()),
        ["/0/operator: does not fit latency: must be one of lt, lte, gt, gte, eq, neq"]
    );
}

#[test]
fn valid_assertions_have_no_violations() {
    use {AssertionKind::*, Operator::*};
    for good in [
        assertion(Latency, Lt, "", "500"),
        assertion(Ssl, Gte, "", "30.5"),
        assertion(Ssl, Exists, "", ""),
        assertion(Body, Contains, "", "line\nbreak"),
        assertion(Body, NotExists, "", ""),
        assertion(Header, Equals, "Content-Type", "text/html"),
        assertion(Json, Eq, "data.items[0].name", "ok"),
        assertion(Json, Lt, "$", "-1e3"),
    ] {
        assert_eq!(messages(good.clone(), &http()), [""; 0], "{good:?}");
    }
    let empty = Assertion { value: Some(String::new()), ..assertion(Header, Equals, "x", "") };
    assert_eq!(messages(empty, &http()), [""; 0], "a header may be present and empty");
    let tls = Probe::Tls { host: "example.com".into(), port: 443, tls: TlsSettings::default() };
    assert_eq!(messages(assertion(Ssl, Gt, "", "7"), &tls), [""; 0]);
}

#[test]
fn invalid_assertion_is_reported_at_its_field() {
    use {AssertionKind::*, Operator::*};
    let long = "x".repeat(TARGET_BYTES_MAX + 1);
    for (bad, at) in [
        (assertion(Latency, Lt, "", ""), "/0/value: is missing"),
        (assertion(Latency, Eq, "", "fast"), "/0/value: must be a number of milliseconds"),
        (assertion(Ssl, Gt, "", "14d"), "/0/value: must be a number of days"),
        (assertion(Latency, Lt, "x", "1"), "/0/target: must be absent"),
        (assertion(Body, Gt, "", "many"), "/0/value: must be a number"),
        (assertion(Body, Exists, "", "x"), "/0/value: must be absent"),
        (assertion(Body, Equals, "", "a\0"), "/0/value: must not contain control"),
        (assertion(Body, Equals, "", &"x".repeat(VALUE_BYTES_MAX + 1)), "/0/value: must be at most"),
        (assertion(Header, Exists, "", ""), "/0/target: must not be empty"),
        (assertion(Header, Exists, "a b", ""), "/0/target: must be a header name"),
        (assertion(Json, Exists, "", ""), "/0/target: is not a valid path: at character 1"),
        (assertion(Json, Exists, "a[", ""), "/0/target: is not a valid path: at character 3: expected an index"),
        (assertion(Json, Exists, &long, ""), "/0/target: must be at most 500 bytes"),
        (Assertion { value: Some("".into()), ..assertion(Body, Contains, "", "") }, "/0/value: must not be empty"),
        (
            Assertion { severity: CheckStatus::Healthy, ..assertion(Body, Exists, "", "") },
            "/0/severity: must be down or degraded",
        ),
    ] {
        let found = messages(bad.clone(), &http());
        assert!(found.len() == 1 && found[0].starts_with(at), "{bad:?}: {found:?}");
    }
    let eleven = vec![assertion(Body, Exists, "", ""); ASSERTIONS_MAX + 1];
    assert_eq!(violations(&eleven, &http()).len(), 1);
    assert_eq!(violations(&eleven, &http())[0].pointer, "");
}

#[test]
fn assertion_kind_must_fit_the_probe() {
    let tcp = Probe::Tcp { host: "db".into(), port: 5432 };
    let head = Probe::Http(HttpProbe { method: "HEAD".into(), ..HttpProbe::new("https://example.com/") });
    for (kind, probe, message) in [
        (AssertionKind::Body, &tcp, "/0/kind: only HTTP responses have a body"),
        (AssertionKind::Ssl, &tcp, "/0/kind: only HTTP and TLS probes see a certificate"),
        (AssertionKind::Body, &head, "/0/kind: responses to HEAD have no body"),
    ] {
        assert_eq!(messages(assertion(kind, Operator::Exists, "", ""), probe), [message]);
    }
    assert_eq!(
        messages(assertion(AssertionKind::Header, Operator::Exists, "x", ""), &tcp),
        ["/0/kind: only HTTP responses have a header"]
    );
}
