//! What is wrong with an endpoint's definition, field by field. What belongs to the instance (which addresses may be
//! watched) is looked at where that is known.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::limits::*;
use super::target::{header_fault, host_fault, name_fault, url_fault};
use super::{Auth, Definition, EscalationStep, HttpProbe, Probe};
use crate::check;
use crate::id::EndpointId;
use crate::maintenance;
use crate::text::has_control;
use crate::violation::{Violation, Violations, pointer};

/// Everything that is wrong with the definition. `own_id` is that of the endpoint, if it has one yet;
/// `interval_seconds_min` is the instance's shortest interval.
pub fn violations(definition: &Definition, own_id: Option<EndpointId>, interval_seconds_min: u32) -> Violations {
    let mut found = Found(Violations::new());
    found.probe(&definition.probe);
    let assertions = check::assertion_violations(&definition.assertions, &definition.probe);
    found.0.extend(assertions.into_iter().map(|violation| violation.under("/assertions")));
    found.numbers(definition, interval_seconds_min);
    if definition.parent_id.is_some() && definition.parent_id == own_id {
        found.refuse("/parentId", "must be another endpoint");
    }
    let windows = maintenance::violations(&definition.maintenance_windows);
    found.0.extend(windows.into_iter().map(|violation| violation.under("/maintenanceWindows")));
    found.escalation(&definition.escalation);
    found.tags(&definition.tags);
    found.0
}

/// What was found so far.
struct Found(Violations);

impl Found {
    fn refuse(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation::new(pointer, message));
    }

    fn refuse_if_some(&mut self, pointer: impl Into<String>, message: Option<impl Into<String>>) {
        if let Some(message) = message {
            self.refuse(pointer, message);
        }
    }

    fn range(&mut self, pointer: &str, number: u32, range: RangeInclusive<u32>, unit: &str) -> bool {
        if !range.contains(&number) {
            self.refuse(pointer, format!("must be from {} to {}{unit}", range.start(), range.end()));
        }
        range.contains(&number)
    }

    fn at_most(&mut self, pointer: &str, len: usize, max: usize, what: impl Display) -> bool {
        if len > max {
            self.refuse(pointer, format!("must be at most {max} {what}"));
        }
        len <= max
    }

    fn numbers(&mut self, definition: &Definition, interval_seconds_min: u32) {
        let Definition { interval_seconds, timeout_ms, .. } = *definition;
        let shortest = interval_seconds_min.clamp(1, INTERVAL_SECONDS_MAX);
        let in_bounds = self.range("/intervalSeconds", interval_seconds, shortest..=INTERVAL_SECONDS_MAX, " seconds")
            & self.range("/timeoutMs", timeout_ms, TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX, " milliseconds");
        if in_bounds && u64::from(timeout_ms) > u64::from(interval_seconds) * 1000 {
            self.refuse("/timeoutMs", "must not be longer than the interval: one probe ends before the next begins");
        }
        let latency_ms = definition.latency_threshold_ms;
        self.range("/latencyThresholdMs", latency_ms, 1..=LATENCY_THRESHOLD_MS_MAX, " milliseconds");
        self.range("/sslWarningDays", definition.ssl_warning_days, 0..=SSL_WARNING_DAYS_MAX, " days");
        self.range("/failureThreshold", definition.failure_threshold, 1..=THRESHOLD_MAX, " checks");
        self.range("/recoveryThreshold", definition.recovery_threshold, 1..=THRESHOLD_MAX, " checks");
        self.range("/cooldownSeconds", definition.cooldown_seconds, 0..=COOLDOWN_SECONDS_MAX, " seconds");
        if let Some(minutes) = definition.reminder_minutes {
            self.range("/reminderMinutes", minutes, 1..=REMINDER_MINUTES_MAX, " minutes");
        }
    }

    fn probe(&mut self, probe: &Probe) {
        match probe {
            Probe::Http(http) => self.http(http),
            Probe::Icmp { host } => self.refuse_if_some("/host", host_fault(host)),
            Probe::Tcp { host, port } | Probe::Tls { host, port } => {
                self.refuse_if_some("/host", host_fault(host));
                if *port == 0 {
                    self.refuse("/port", "must be from 1 to 65535");
                }
            }
            Probe::Dns { host, record_type, expected_value } => {
                self.refuse_if_some("/host", name_fault(host));
                self.one_of("/recordType", record_type, &RECORD_TYPES);
                if let Some(value) = expected_value {
                    if value.trim().is_empty() || has_control(value) {
                        self.refuse("/expectedValue", "must be a record, or absent; without control characters");
                    }
                    self.at_most("/expectedValue", value.len(), EXPECTED_VALUE_BYTES_MAX, "bytes");
                }
            }
        }
    }

    fn one_of(&mut self, pointer: &str, word: &str, words: &[&str]) {
        if !words.contains(&word) {
            self.refuse(pointer, format!("must be one of {}", words.join(", ")));
        }
    }

    fn http(&mut self, http: &HttpProbe) {
        self.refuse_if_some("/url", url_fault(&http.url));
        self.one_of("/method", &http.method, &METHODS);
        self.headers(&http.headers);
        if let Some(body) = &http.body {
            self.at_most("/body", body.len(), BODY_BYTES_MAX, "bytes");
        }
        if let Some(Auth::Basic { username }) = &http.auth {
            if username.contains(':') || has_control(username) {
                self.refuse("/auth/username", "must hold neither colons nor control characters");
            }
            self.at_most("/auth/username", username.len(), USERNAME_BYTES_MAX, "bytes");
        }
        self.status_codes(&http.expected_status_codes);
    }

    fn headers(&mut self, headers: &[(String, String)]) {
        if !self.at_most("/headers", headers.len(), HEADERS_MAX, "headers") {
            return;
        }
        let mut names = BTreeSet::new();
        for (name, value) in headers {
            let at = format!("/headers{}", pointer(name));
            if names.insert(name.to_ascii_lowercase()) {
                self.refuse_if_some(at, header_fault(name, value));
            } else {
                self.refuse(at, "is there twice; header names ignore case");
            }
        }
    }

    fn status_codes(&mut self, codes: &[u16]) {
        const AT: &str = "/expectedStatusCodes";
        if codes.is_empty() {
            self.refuse(AT, "must list at least one status code");
        }
        if self.at_most(AT, codes.len(), EXPECTED_STATUS_CODES_MAX, "status codes") {
            for (index, _) in codes.iter().enumerate().filter(|(_, code)| !(100..=599).contains(*code)) {
                self.refuse(format!("{AT}/{index}"), "must be from 100 to 599");
            }
        }
    }

    fn escalation(&mut self, steps: &[EscalationStep]) {
        if !self.at_most("/escalation", steps.len(), ESCALATION_STEPS_MAX, "steps") {
            return;
        }
        let mut seen = BTreeSet::new();
        for (index, EscalationStep { after_seconds, .. }) in steps.iter().enumerate() {
            let at = format!("/escalation/{index}/afterSeconds");
            self.range(&at, *after_seconds, 1..=ESCALATION_SECONDS_MAX, " seconds");
            if !seen.insert(after_seconds) {
                self.refuse(at, "is that of another step; each needs its own");
            }
        }
    }

    fn tags(&mut self, tags: &[String]) {
        if !self.at_most("/tags", tags.len(), TAGS_MAX, "tags") {
            return;
        }
        let mut seen = BTreeSet::new();
        for (index, tag) in tags.iter().enumerate() {
            let at = format!("/tags/{index}");
            if tag.trim().is_empty() {
                self.refuse(at, "must not be empty");
            } else if tag.chars().count() > TAG_CHARS_MAX {
                self.refuse(at, format!("must be at most {TAG_CHARS_MAX} characters"));
            } else if has_control(tag) {
                self.refuse(at, "must not hold control characters");
            } else if !seen.insert(tag) {
                self.refuse(at, "is there twice");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckStatus;
    use crate::id::{ChannelId, Id};

    fn http() -> Definition {
        Definition::new(Probe::Http(HttpProbe::new("https://example.com/health")))
    }

    /// The pointers of what is wrong after `change`.
    fn wrong(mut definition: Definition, change: impl FnOnce(&mut Definition)) -> Vec<String> {
        change(&mut definition);
        violations(&definition, None, INTERVAL_SECONDS_MIN_DEFAULT).into_iter().map(|it| it.pointer).collect()
    }

    fn wrong_http(change: impl FnOnce(&mut HttpProbe)) -> Vec<String> {
        wrong(http(), |definition| {
            if let Probe::Http(http) = &mut definition.probe {
                change(http);
            }
        })
    }

    fn step(after_seconds: u32) -> EscalationStep {
        EscalationStep { after_seconds, channel_id: ChannelId::from_bytes([4; 16]) }
    }

    #[test]
    fn the_defaults_are_right() {
        let nothing: [&str; 0] = [];
        for probe in [
            Probe::Http(HttpProbe::new("https://example.com/health")),
            Probe::Tcp { host: "db.example.com".into(), port: 5432 },
            Probe::Icmp { host: "10.0.0.1".into() },
            Probe::Dns { host: "example.com".into(), record_type: "A".into(), expected_value: None },
            Probe::Tls { host: "example.com".into(), port: 443 },
        ] {
            assert_eq!(wrong(Definition::new(probe), |_| ()), nothing);
        }
    }

    #[test]
    fn numbers_keep_within_their_bounds() {
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
            assert_eq!(wrong(http(), change), [at]);
        }
        let nothing: [&str; 0] = [];
        assert_eq!(wrong(http(), |it| (it.interval_seconds, it.timeout_ms) = (10, 10_000)), nothing);
        let quick = Definition { interval_seconds: 1, timeout_ms: 1_000, ..http() };
        assert_eq!(violations(&quick, None, 1), []);
        assert_eq!(violations(&Definition { interval_seconds: 0, ..quick }, None, 0).len(), 1, "no interval at all");
        let slow = violations(&http(), None, 300);
        assert_eq!(slow, [Violation::new("/intervalSeconds", "must be from 300 to 86400 seconds")]);
    }

    #[test]
    fn probes_go_to_real_places() {
        for (probe, pointers) in [
            (Probe::Tcp { host: String::new(), port: 0 }, &["/host", "/port"][..]),
            (Probe::Tls { host: "https://a".into(), port: 443 }, &["/host"]),
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
            assert_eq!(wrong(Definition::new(probe), |_| ()), pointers);
        }
    }

    #[test]
    fn http_probes_are_looked_at_all_over() {
        assert_eq!(wrong_http(|it| it.url = "ftp://a/".into()), ["/url"]);
        assert_eq!(wrong_http(|it| it.method = "get".into()), ["/method"]);
        assert_eq!(wrong_http(|it| it.method = "TRACE".into()), ["/method"]);
        assert_eq!(wrong_http(|it| it.body = Some("x".repeat(65_537))), ["/body"]);
        let basic = |username: &str| Some(Auth::Basic { username: username.into() });
        assert_eq!(wrong_http(|it| it.auth = basic("a:b")), ["/auth/username"]);
        assert_eq!(wrong_http(|it| it.auth = basic(&"x".repeat(256))), ["/auth/username"]);
        assert_eq!(wrong_http(|it| it.expected_status_codes.clear()), ["/expectedStatusCodes"]);
        assert_eq!(wrong_http(|it| it.expected_status_codes = (200..301).collect()), ["/expectedStatusCodes"]);
        let (nothing, codes) = ([""; 0], vec![100, 99, 599, 600]);
        assert_eq!(
            wrong_http(|it| it.expected_status_codes = codes),
            ["/expectedStatusCodes/1", "/expectedStatusCodes/3"]
        );
        assert_eq!(wrong_http(|it| it.expected_status_codes = (200..300).collect()), nothing);
    }

    #[test]
    fn headers_are_bounded_and_named_by_their_name() {
        let with = |names: &[&str]| {
            let headers = names.iter().map(|name| ((*name).to_owned(), "v".to_owned())).collect();
            wrong_http(|it| it.headers = headers)
        };
        assert_eq!(
            with(&["X-A", "a/b~c", "x-a", "Precondition"]),
            ["/headers/a~1b~0c", "/headers/x-a", "/headers/Precondition"]
        );
        let many: Vec<_> = (0..21).map(|number| format!("x-{number}")).collect();
        assert_eq!(with(&many.iter().map(String::as_str).collect::<Vec<_>>()), ["/headers"]);
        let told = violations(
            &Definition::new(Probe::Http(HttpProbe {
                headers: vec![("X-Key".into(), "hunter2\n".into())],
                ..HttpProbe::new("https://a/")
            })),
            None,
            10,
        );
        assert_eq!(told, [Violation::new("/headers/X-Key", "must not hold control characters")], "no value is quoted");
    }

    #[test]
    fn lists_are_bounded_and_hold_nothing_twice() {
        let set = |steps: &[u32]| {
            let steps = steps.iter().copied().map(step).collect();
            wrong(http(), |it| it.escalation = steps)
        };
        assert_eq!(set(&[900, 0, 900]), ["/escalation/1/afterSeconds", "/escalation/2/afterSeconds"]);
        assert_eq!(set(&[2_592_001]), ["/escalation/0/afterSeconds"]);
        assert_eq!(set(&(1..=11).collect::<Vec<_>>()), ["/escalation"]);
        let tags = |tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            wrong(http(), |it| it.tags = tags)
        };
        let long = "é".repeat(51);
        assert_eq!(tags(&["a", " ", &long, "a\n", "a", &long[..100]]), ["/tags/1", "/tags/2", "/tags/3", "/tags/4"]);
        assert_eq!(wrong(http(), |it| it.tags = (0..21).map(|number| number.to_string()).collect()), ["/tags"]);
    }

    #[test]
    fn an_endpoint_is_not_its_own_parent() {
        let (own, other) = (EndpointId::from_bytes([1; 16]), EndpointId::from_bytes([2; 16]));
        let definition = Definition { parent_id: Some(own), ..http() };
        assert_eq!(violations(&definition, Some(own), 10), [Violation::new("/parentId", "must be another endpoint")]);
        assert_eq!(violations(&definition, Some(other), 10), []);
        assert_eq!(violations(&definition, None, 10), []);
        assert_eq!(violations(&http(), None, 10), []);
    }

    #[test]
    fn maintenance_windows_are_seen_from_the_whole() {
        let window = |start: &str| {
            let json =
                serde_json::json!({"kind": "recurring", "start": start, "durationMinutes": 60, "timezone": "UTC"});
            serde_json::from_value::<maintenance::MaintenanceWindow>(json).unwrap()
        };
        let windows = vec![window("02:00"), window("2:00")];
        assert_eq!(wrong(http(), |it| it.maintenance_windows = windows), ["/maintenanceWindows/1/start"]);
        let many = vec![window("02:00"); maintenance::WINDOWS_MAX + 1];
        assert_eq!(wrong(http(), |it| it.maintenance_windows = many), ["/maintenanceWindows"]);
    }

    #[test]
    fn assertions_are_seen_from_the_whole() {
        let assertion = crate::check::Assertion {
            kind: crate::check::AssertionKind::Latency,
            operator: crate::check::Operator::Contains,
            target: None,
            value: Some("5".into()),
            severity: CheckStatus::Down,
        };
        let good = crate::check::Assertion { operator: crate::check::Operator::Lt, ..assertion.clone() };
        let list = vec![good.clone(), good.clone(), good.clone(), assertion];
        assert_eq!(wrong(http(), |it| it.assertions = list), ["/assertions/3/operator"]);
        assert_eq!(wrong(http(), |it| it.assertions = vec![good; 11]), ["/assertions"]);
    }
}
