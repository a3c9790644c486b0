//! Validates an endpoint's definition, field by field. Rules that depend on the instance, such as which addresses may be
//! probed, are checked by the caller.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::limits::*;
use super::target::{validate_dns_name, validate_header, validate_host, validate_url};
use super::{Auth, Definition, EscalationStep, ExpectedStatus, HttpProbe, Probe};
use crate::check;
use crate::id::EndpointId;
use crate::maintenance;
use crate::secret::Secret;
use crate::severity::Severity;
use crate::text::has_control;
use crate::tls::Verify;
use crate::violation::{Violation, Violations, pointer};

/// Everything wrong with the definition. `own_id` is the id of an existing endpoint; `interval_seconds_min` is the
/// instance's shortest interval.
pub fn violations(definition: &Definition, own_id: Option<EndpointId>, interval_seconds_min: u32) -> Violations {
    let mut validator = Validator(Violations::new());
    validator.probe(&definition.probe);
    let assertions = check::assertion_violations(&definition.assertions, &definition.probe);
    validator.0.extend(assertions.into_iter().map(|violation| violation.under("/assertions")));
    validator.numbers(definition, interval_seconds_min);
    if definition.parent_id.is_some() && definition.parent_id == own_id {
        validator.error("/parentId", "must be another endpoint");
    }
    let windows = maintenance::violations(&definition.maintenance_windows);
    validator.0.extend(windows.into_iter().map(|violation| violation.under("/maintenanceWindows")));
    validator.escalation(&definition.escalation);
    validator.tags(&definition.tags);
    validator.0
}

/// What is wrong with `tls.verify` of an endpoint that sends secrets: without verification they could go to any server.
/// Only for instances whose operator does not allow it.
pub fn insecure_tls_violation(definition: &Definition, setting: &str) -> Option<Violation> {
    let is_verified = definition.probe.tls().is_none_or(|tls| tls.verify == Verify::Full);
    let Probe::Http(http) = &definition.probe else { return None };
    let secret = match &http.auth {
        Some(_) => Some("auth".to_owned()),
        None => {
            http.headers.iter().find(|(name, _)| is_secret_header(name)).map(|(name, _)| format!("the header {name}"))
        }
    };
    let secret = secret.filter(|_| !is_verified)?;
    let message = format!(
        "must be full together with {secret}, which any server could read: give its certificate in caCertificate; or the \
         operator sets {setting}"
    );
    Some(Violation::new("/tls/verify", message))
}

/// Whether a header of this name usually carries a secret.
pub fn is_secret_header(name: &str) -> bool {
    const SECRET_PARTS: [&str; 8] =
        ["auth", "cookie", "token", "secret", "password", "api-key", "apikey", "credential"];
    let name = name.to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// What is wrong with a password or token, if anything. One that is missing is for [`Definition::keep_secrets`] to report.
fn secret_fault(auth: &Auth) -> Option<&'static str> {
    let text = auth.secret().expose();
    if text.len() > AUTH_SECRET_BYTES_MAX {
        Some("must be at most 4,096 bytes")
    } else if has_control(text) {
        Some("must not hold control characters")
    } else if matches!(auth, Auth::Bearer { .. }) && !text.is_ascii() {
        Some("must be ASCII, as headers are")
    } else {
        None
    }
}

/// Collects violations.
struct Validator(Violations);

impl Validator {
    fn error(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation::new(pointer, message));
    }

    fn error_if_some(&mut self, pointer: impl Into<String>, message: Option<impl Into<String>>) {
        if let Some(message) = message {
            self.error(pointer, message);
        }
    }

    fn range(&mut self, pointer: &str, number: u32, range: RangeInclusive<u32>, unit: &str) -> bool {
        if !range.contains(&number) {
            self.error(pointer, format!("must be from {} to {}{unit}", range.start(), range.end()));
        }
        range.contains(&number)
    }

    fn at_most(&mut self, pointer: &str, len: usize, max: usize, what: impl Display) -> bool {
        if len > max {
            self.error(pointer, format!("must be at most {max} {what}"));
        }
        len <= max
    }

    fn numbers(&mut self, definition: &Definition, interval_seconds_min: u32) {
        match &definition.probe {
            Probe::External { .. } => self.unused_by_external(definition),
            _ => self.numbers_of_probes(definition, interval_seconds_min),
        }
        if definition.severity == Severity::Success {
            self.error("/severity", "must be critical, warning or info");
        }
        self.range("/failureThreshold", definition.failure_threshold, 1..=THRESHOLD_MAX, " checks");
        self.range("/recoveryThreshold", definition.recovery_threshold, 1..=THRESHOLD_MAX, " checks");
        self.range("/cooldownSeconds", definition.cooldown_seconds, 0..=COOLDOWN_SECONDS_MAX, " seconds");
        if let Some(minutes) = definition.reminder_minutes {
            self.range("/reminderMinutes", minutes, 1..=REMINDER_MINUTES_MAX, " minutes");
        }
    }

    /// The settings of probes.
    fn numbers_of_probes(&mut self, definition: &Definition, interval_seconds_min: u32) {
        let Definition { interval_seconds, timeout_ms, .. } = *definition;
        let shortest = interval_seconds_min.clamp(1, INTERVAL_SECONDS_MAX);
        let in_bounds = self.range("/intervalSeconds", interval_seconds, shortest..=INTERVAL_SECONDS_MAX, " seconds")
            & self.range("/timeoutMs", timeout_ms, TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX, " milliseconds");
        if in_bounds && u64::from(timeout_ms) > u64::from(interval_seconds) * 1000 {
            self.error(
                "/timeoutMs",
                "must not be longer than the interval: a probe must end before the next one starts",
            );
        }
        let latency_ms = definition.latency_threshold_ms;
        self.range("/latencyThresholdMs", latency_ms, 1..=LATENCY_THRESHOLD_MS_MAX, " milliseconds");
        self.range("/sslWarningDays", definition.ssl_warning_days, 0..=SSL_WARNING_DAYS_MAX, " days");
    }

    /// Settings that would be accepted and do nothing.
    fn unused_by_external(&mut self, definition: &Definition) {
        let defaults = Definition::new(definition.probe.clone());
        for (pointer, is_default) in [
            ("/intervalSeconds", definition.interval_seconds == defaults.interval_seconds),
            ("/timeoutMs", definition.timeout_ms == defaults.timeout_ms),
            ("/latencyThresholdMs", definition.latency_threshold_ms == defaults.latency_threshold_ms),
            ("/sslWarningDays", definition.ssl_warning_days == defaults.ssl_warning_days),
        ] {
            if !is_default {
                self.error(pointer, "has no effect on an external endpoint, which is not probed: leave it out");
            }
        }
    }

    fn probe(&mut self, probe: &Probe) {
        match probe {
            Probe::Http(http) => self.http(http),
            Probe::Icmp { host } => self.error_if_some("/host", validate_host(host)),
            Probe::External { heartbeat_seconds } => {
                if let Some(seconds) = heartbeat_seconds {
                    self.range(
                        "/heartbeatSeconds",
                        *seconds,
                        HEARTBEAT_SECONDS_MIN..=HEARTBEAT_SECONDS_MAX,
                        " seconds",
                    );
                }
            }
            Probe::Tcp { host, port } | Probe::Tls { host, port, .. } => {
                self.error_if_some("/host", validate_host(host));
                if *port == 0 {
                    self.error("/port", "must be from 1 to 65535");
                }
            }
            Probe::Dns { host, record_type, expected_value } => {
                self.error_if_some("/host", validate_dns_name(host));
                self.one_of("/recordType", record_type, &RECORD_TYPES);
                if let Some(value) = expected_value {
                    if value.trim().is_empty() || has_control(value) {
                        self.error("/expectedValue", "must be a record without control characters, or absent");
                    }
                    self.at_most("/expectedValue", value.len(), EXPECTED_VALUE_BYTES_MAX, "bytes");
                }
            }
        }
    }

    fn one_of(&mut self, pointer: &str, value: &str, allowed: &[&str]) {
        if !allowed.contains(&value) {
            self.error(pointer, format!("must be one of {}", allowed.join(", ")));
        }
    }

    fn http(&mut self, http: &HttpProbe) {
        self.error_if_some("/url", validate_url(http.url.expose()));
        self.one_of("/method", &http.method, &METHODS);
        self.headers(&http.headers);
        if let Some(body) = &http.body {
            self.at_most("/body", body.expose().len(), BODY_BYTES_MAX, "bytes");
        }
        if let Some(auth) = &http.auth {
            self.error_if_some(format!("/auth/{}", auth.secret_key()), secret_fault(auth));
        }
        if let Some(Auth::Basic { username, .. }) = &http.auth {
            if username.contains(':') || has_control(username) {
                self.error("/auth/username", "must contain neither colons nor control characters");
            }
            self.at_most("/auth/username", username.len(), USERNAME_BYTES_MAX, "bytes");
        }
        self.status_codes(&http.expected_status_codes);
    }

    fn headers(&mut self, headers: &[(String, Secret)]) {
        if !self.at_most("/headers", headers.len(), HEADERS_MAX, "headers") {
            return;
        }
        let mut names = BTreeSet::new();
        for (name, value) in headers {
            let at = format!("/headers{}", pointer(name));
            if names.insert(name.to_ascii_lowercase()) {
                self.error_if_some(at, validate_header(name, value.expose()));
            } else {
                self.error(at, "is a duplicate; header names are case-insensitive");
            }
        }
    }

    fn status_codes(&mut self, codes: &[ExpectedStatus]) {
        const AT: &str = "/expectedStatusCodes";
        if codes.is_empty() {
            self.error(AT, "must list at least one status code or range");
        }
        if self.at_most(AT, codes.len(), EXPECTED_STATUS_CODES_MAX, "status codes and ranges") {
            for (index, expected) in codes.iter().enumerate() {
                let (low, high) = expected.bounds();
                if ![low, high].iter().all(|code| (100..=599).contains(code)) {
                    self.error(format!("{AT}/{index}"), "must be from 100 to 599");
                } else if low > high {
                    self.error(format!("{AT}/{index}"), "must have its lower end first, such as \"200-299\"");
                }
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
                self.error(at, "is a duplicate; each step needs its own time");
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
                self.error(at, "must not be empty");
            } else if tag.chars().count() > TAG_CHARS_MAX {
                self.error(at, format!("must be at most {TAG_CHARS_MAX} characters"));
            } else if has_control(tag) {
                self.error(at, "must not contain control characters");
            } else if !seen.insert(tag) {
                self.error(at, "is a duplicate");
            }
        }
    }
}

#[cfg(test)]
mod tests;
