//! Tests of `endpoint::violations`.

use super::*;
use crate::check::CheckStatus;
use crate::id::{ChannelId, Id};
use crate::tls::TlsSettings;

fn http() -> Definition {
    Definition::new(Probe::Http(HttpProbe::new("https://example.com/health")))
}

/// The pointers of the violations after `change`.
fn pointers(mut definition: Definition, change: impl FnOnce(&mut Definition)) -> Vec<String> {
    change(&mut definition);
    violations(&definition, None, INTERVAL_SECONDS_MIN_DEFAULT).into_iter().map(|it| it.pointer).collect()
}

fn http_pointers(change: impl FnOnce(&mut HttpProbe)) -> Vec<String> {
    pointers(http(), |definition| {
        if let Probe::Http(http) = &mut definition.probe {
            change(http);
        }
    })
}

fn step(after_seconds: u32) -> EscalationStep {
    EscalationStep { after_seconds, channel_id: ChannelId::from_bytes([4; 16]) }
}

#[test]
fn default_definition_has_no_violations() {
    let nothing: [&str; 0] = [];
    for probe in [
        Probe::Http(HttpProbe::new("https://example.com/health")),
        Probe::Tcp { host: "db.example.com".into(), port: 5432 },
        Probe::Icmp { host: "10.0.0.1".into() },
        Probe::Dns { host: "example.com".into(), record_type: "A".into(), expected_value: None },
        Probe::Tls { host: "example.com".into(), port: 443, tls: TlsSettings::default() },
    ] {
        assert_eq!(pointers(Definition::new(probe), |_| ()), nothing);
    }
}

#[test]
fn numbers_outside_their_bounds_are_reported() {
    for (at, change) in [
        ("/intervalSeconds", (|it| it.interval_seconds = 9) as fn(&mut Definition)),
        ("/intervalSeconds", |it| it.interval_seconds = 86_401),
        ("/timeoutMs", |it| it.timeout_ms = 99),
        ("/timeoutMs", |it| it.timeout_ms = 120_001),
        ("/timeoutMs", |it| it.timeout_ms = 60_001),
        ("/latencyThresholdMs", |it| it.latency_threshold_ms = 0),
        ("/latencyThresholdMs", |it| it.latency_threshold_ms = 600_001),
        ("/sslWarningDays", |it| it.ssl_warning_days = 3_651),
        ("/failureThreshold", |it| it.failure_threshold = 0),
        ("/failureThreshold", |it| it.failure_threshold = 1_001),
        ("/recoveryThreshold", |it| it.recovery_threshold = 0),
        ("/cooldownSeconds", |it| it.cooldown_seconds = 2_592_001),
        ("/reminderMinutes", |it| it.reminder_minutes = Some(0)),
        ("/reminderMinutes", |it| it.reminder_minutes = Some(43_201)),
    ] {
        assert_eq!(pointers(http(), change), [at]);
    }
    let nothing: [&str; 0] = [];
    assert_eq!(pointers(http(), |it| (it.interval_seconds, it.timeout_ms) = (10, 10_000)), nothing);
    let quick = Definition { interval_seconds: 1, timeout_ms: 1_000, ..http() };
    assert_eq!(violations(&quick, None, 1), []);
    assert_eq!(violations(&Definition { interval_seconds: 0, ..quick }, None, 0).len(), 1, "no interval at all");
    let slow = violations(&http(), None, 300);
    assert_eq!(slow, [Violation::new("/intervalSeconds", "must be from 300 to 86400 seconds")]);
}

#[test]
fn invalid_probe_targets_are_reported() {
    for (probe, expected) in [
        (Probe::Tcp { host: String::new(), port: 0 }, &["/host", "/port"][..]),
        (Probe::Tls { host: "https://a".into(), port: 443, tls: TlsSettings::default() }, &["/host"]),
        (Probe::Icmp { host: "a b".into() }, &["/host"]),
        (
            Probe::Dns { host: "10.0.0.1".into(), record_type: "a".into(), expected_value: Some(String::new()) },
            &["/host", "/recordType", "/expectedValue"],
        ),
        (
            Probe::Dns { host: "a".into(), record_type: "SRV".into(), expected_value: Some("x".repeat(1_025)) },
            &["/recordType", "/expectedValue"],
        ),
    ] {
        assert_eq!(pointers(Definition::new(probe), |_| ()), expected);
    }
}

#[test]
fn invalid_http_probe_fields_are_reported() {
    assert_eq!(http_pointers(|it| it.url = "ftp://a/".into()), ["/url"]);
    assert_eq!(http_pointers(|it| it.method = "get".into()), ["/method"]);
    assert_eq!(http_pointers(|it| it.method = "TRACE".into()), ["/method"]);
    assert_eq!(http_pointers(|it| it.body = Some("x".repeat(65_537).into())), ["/body"]);
    let basic = |username: &str| Some(Auth::Basic { username: username.into(), password: "p".into() });
    assert_eq!(http_pointers(|it| it.auth = basic("a:b")), ["/auth/username"]);
    assert_eq!(http_pointers(|it| it.auth = basic(&"x".repeat(256))), ["/auth/username"]);
    assert_eq!(http_pointers(|it| it.expected_status_codes.clear()), ["/expectedStatusCodes"]);
    assert_eq!(
        http_pointers(|it| it.expected_status_codes = (200..301).map(ExpectedStatus::Code).collect()),
        ["/expectedStatusCodes"]
    );
    let (nothing, codes) = ([""; 0], ["100", "099", "599", "600", "204-200", "200-600", "200-299"]);
    assert_eq!(
        http_pointers(|it| {
            it.expected_status_codes = codes.iter().filter_map(|code| ExpectedStatus::parse(code)).collect();
        }),
        ["/expectedStatusCodes/1", "/expectedStatusCodes/3", "/expectedStatusCodes/4", "/expectedStatusCodes/5"]
    );
    assert_eq!(http_pointers(|it| it.expected_status_codes = (200..300).map(ExpectedStatus::Code).collect()), nothing);
}

#[test]
fn header_violations_point_to_the_header_and_quote_no_value() {
    let with = |names: &[&str]| {
        let headers = names.iter().map(|name| ((*name).to_owned(), "v".into())).collect();
        http_pointers(|it| it.headers = headers)
    };
    assert_eq!(with(&["X-A", "a/b~c", "x-a", "Expect"]), ["/headers/a~1b~0c", "/headers/x-a", "/headers/Expect"]);
    let many: Vec<_> = (0..21).map(|number| format!("x-{number}")).collect();
    assert_eq!(with(&many.iter().map(String::as_str).collect::<Vec<_>>()), ["/headers"]);
    let found = violations(
        &Definition::new(Probe::Http(HttpProbe {
            headers: vec![("X-Key".into(), "hunter2\n".into())],
            ..HttpProbe::new("https://a/")
        })),
        None,
        10,
    );
    assert_eq!(found, [Violation::new("/headers/X-Key", "must not contain control characters")], "no value is quoted");
}

#[test]
fn lists_are_bounded_and_reject_duplicates() {
    let set = |steps: &[u32]| {
        let steps = steps.iter().copied().map(step).collect();
        pointers(http(), |it| it.escalation = steps)
    };
    assert_eq!(set(&[900, 0, 900]), ["/escalation/1/afterSeconds", "/escalation/2/afterSeconds"]);
    assert_eq!(set(&[2_592_001]), ["/escalation/0/afterSeconds"]);
    assert_eq!(set(&(1..=11).collect::<Vec<_>>()), ["/escalation"]);
    let tags = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        pointers(http(), |it| it.tags = tags)
    };
    let long = "é".repeat(51);
    assert_eq!(tags(&["a", " ", &long, "a\n", "a", &long[..100]]), ["/tags/1", "/tags/2", "/tags/3", "/tags/4"]);
    assert_eq!(pointers(http(), |it| it.tags = (0..21).map(|number| number.to_string()).collect()), ["/tags"]);
}

#[test]
fn endpoint_cannot_be_its_own_parent() {
    let (own, other) = (EndpointId::from_bytes([1; 16]), EndpointId::from_bytes([2; 16]));
    let definition = Definition { parent_id: Some(own), ..http() };
    assert_eq!(violations(&definition, Some(own), 10), [Violation::new("/parentId", "must be another endpoint")]);
    assert_eq!(violations(&definition, Some(other), 10), []);
    assert_eq!(violations(&definition, None, 10), []);
    assert_eq!(violations(&http(), None, 10), []);
}

#[test]
fn maintenance_window_violations_have_pointers_from_the_root() {
    let window = |start: &str| {
        let json = serde_json::json!({"kind": "recurring", "start": start, "durationMinutes": 60, "timezone": "UTC"});
        serde_json::from_value::<maintenance::MaintenanceWindow>(json).unwrap()
    };
    let windows = vec![window("02:00"), window("2:00")];
    assert_eq!(pointers(http(), |it| it.maintenance_windows = windows), ["/maintenanceWindows/1/start"]);
    let many = vec![window("02:00"); maintenance::WINDOWS_MAX + 1];
    assert_eq!(pointers(http(), |it| it.maintenance_windows = many), ["/maintenanceWindows"]);
}

#[test]
fn assertion_violations_have_pointers_from_the_root() {
    let assertion = crate::check::Assertion {
        kind: crate::check::AssertionKind::Latency,
        operator: crate::check::Operator::Contains,
        target: None,
        value: Some("5".into()),
        severity: CheckStatus::Down,
    };
    let good = crate::check::Assertion { operator: crate::check::Operator::Lt, ..assertion.clone() };
    let list = vec![good.clone(), good.clone(), good.clone(), assertion];
    assert_eq!(pointers(http(), |it| it.assertions = list), ["/assertions/3/operator"]);
    assert_eq!(pointers(http(), |it| it.assertions = vec![good; 11]), ["/assertions"]);
}

#[test]
fn external_endpoint_refuses_what_has_no_effect() {
    let external = |heartbeat_seconds| Definition::new(Probe::External { heartbeat_seconds });
    let nothing = [""; 0];
    for heartbeat in [None, Some(HEARTBEAT_SECONDS_MIN), Some(HEARTBEAT_SECONDS_MAX)] {
        assert_eq!(pointers(external(heartbeat), |_| {}), nothing);
        // Not even where the instance's shortest interval is longer than the default.
        assert!(violations(&external(heartbeat), None, 3_600).is_empty());
    }
    for heartbeat in [0, HEARTBEAT_SECONDS_MIN - 1, HEARTBEAT_SECONDS_MAX + 1] {
        assert_eq!(pointers(external(Some(heartbeat)), |_| {}), ["/heartbeatSeconds"]);
    }
    assert_eq!(pointers(external(None), |it| it.interval_seconds = 30), ["/intervalSeconds"]);
    assert_eq!(pointers(external(None), |it| it.timeout_ms = 30), ["/timeoutMs"]);
    assert_eq!(pointers(external(None), |it| it.latency_threshold_ms = 30), ["/latencyThresholdMs"]);
    assert_eq!(pointers(external(None), |it| it.ssl_warning_days = 30), ["/sslWarningDays"]);
    assert_eq!(pointers(external(None), |it| it.failure_threshold = 0), ["/failureThreshold"]);
}

#[test]
fn insecure_tls_is_a_violation_only_together_with_secrets() {
    let of = |verify, change: fn(&mut HttpProbe)| {
        let mut http = HttpProbe::new("https://example.com/");
        http.tls.verify = verify;
        change(&mut http);
        insecure_tls_violation(&Definition::new(Probe::Http(http)), "TIDINGS_X").map(|it| it.message)
    };
    let header = |http: &mut HttpProbe| http.headers = vec![("X-API-Key".into(), "hunter2".into())];
    for verify in [Verify::ExpiryOnly, Verify::None] {
        assert_eq!(of(verify, |_| {}), None);
        assert_eq!(of(verify, |http| http.headers = vec![("X-Region".into(), "eu".into())]), None);
        assert!(
            of(verify, |http| http.auth = Some(Auth::Bearer { token: "t".into() }))
                .is_some_and(|it| it.contains("TIDINGS_X"))
        );
        assert!(of(verify, header).is_some_and(|it| it.contains("X-API-Key") && !it.contains("hunter2")));
    }
    assert_eq!(of(Verify::Full, header), None);
}
