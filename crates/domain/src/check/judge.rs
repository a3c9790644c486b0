//! The verdict: turns an observation into a check with a status and a reason.
//!
//! In this order: no response → `down` (`inconclusive` if the prober's own network failed); an unexpected response →
//! `down`; a slow response, or a certificate that expires soon or has expired → `degraded`. Then, unless the endpoint is
//! down already, the assertions. The worst status counts; the reason names the first problem of that status and counts
//! the others. An assertion that what was seen does not decide makes the check `inconclusive` only if nothing else is wrong.

use std::net::IpAddr;

use super::describe::{DAY_MS, describe_certificate, join_codes, pluralize, single_line};
use super::{Answer, Check, CheckStatus, Failure, FailureClass, Observation, REASON_CHARS_MAX, compare};
use crate::endpoint::{Definition, Probe};
use crate::text::with_thousands_separators;

/// DNS records that a reason lists if the expected one is not among them.
const RECORDS_LISTED_MAX: usize = 5;

/// A status other than healthy, and the reason for it.
type Problem = (CheckStatus, String);

/// The verdict on an observation of an endpoint with this definition.
pub fn judge(definition: &Definition, observation: &Observation) -> Check {
    let mut check = Check {
        checked_at: observation.started_at,
        status: CheckStatus::Healthy,
        reason: None,
        failure: observation.outcome.as_ref().err().map(|failure| failure.class),
        status_code: match observation.outcome {
            Ok(Answer::Http { status, .. }) => Some(status),
            _ => None,
        },
        response_time_ms: observation.outcome.is_ok().then_some(observation.timings.total_ms),
        timings: observation.timings,
        certificate: observation.certificate.clone(),
        assertions: Vec::new(),
    };
    let mut problems: Vec<Problem> = match &observation.outcome {
        Err(failure) => vec![failure_problem(failure)],
        Ok(answer) => match unexpected_response(&definition.probe, answer) {
            Some(reason) => vec![(CheckStatus::Down, reason)],
            None => degradations(definition, observation),
        },
    };
    // Without the expected response there is nothing to evaluate assertions against.
    if problems.iter().all(|(status, _)| *status == CheckStatus::Degraded) {
        for (index, assertion) in definition.assertions.iter().enumerate() {
            let result = compare::evaluate(index, assertion, observation);
            if result.inconclusive {
                problems.push((CheckStatus::Inconclusive, result.description.clone()));
            } else if !result.passed {
                // Validation admits only `down` and `degraded`; anything else would count as the milder one.
                let is_down = assertion.severity == CheckStatus::Down;
                let status = if is_down { CheckStatus::Down } else { CheckStatus::Degraded };
                problems.push((status, result.description.clone()));
            }
            check.assertions.push(result);
        }
    }
    if let Some(worst) = problems.iter().map(|(status, _)| *status).max_by_key(|status| rank(*status)) {
        check.status = worst;
        check.reason = problems.iter().find(|(status, _)| *status == worst).map(|(_, reason)| {
            let others = match problems.len() - 1 {
                0 => String::new(),
                others => format!(" (and {})", pluralize(others as u64, "more problem")),
            };
            format!("{}{others}", single_line(reason, REASON_CHARS_MAX - others.len()))
        });
    }
    check
}

/// What is known to be wrong outweighs what is not known.
const fn rank(status: CheckStatus) -> u8 {
    match status {
        CheckStatus::Healthy => 0,
        CheckStatus::Inconclusive => 1,
        CheckStatus::Degraded => 2,
        CheckStatus::Down => 3,
    }
}

fn failure_problem(failure: &Failure) -> Problem {
    let status = match failure.class {
        FailureClass::OwnNetwork => CheckStatus::Inconclusive,
        _ => CheckStatus::Down,
    };
    let message = failure.message.trim();
    let reason = if message.is_empty() { fallback_message(failure.class) } else { message };
    (status, reason.to_owned())
}

/// The reason for a failure that was reported without a message.
const fn fallback_message(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Dns => "the name could not be resolved",
        FailureClass::Connect => "could not connect",
        FailureClass::Refused => "connection refused",
        FailureClass::Timeout => "timed out",
        FailureClass::Tls => "TLS handshake failed or certificate not trusted",
        FailureClass::Protocol => "connection broke off or unexpected data was received",
        FailureClass::Redirect => "too many redirects, or one that cannot be followed",
        FailureClass::Forbidden => "the address must not be probed from here",
        FailureClass::OwnNetwork => "the prober's own network failed",
    }
}

/// Why this is not the expected response; `None` if it is.
fn unexpected_response(probe: &Probe, answer: &Answer) -> Option<String> {
    match (probe, answer) {
        (Probe::Http(http), Answer::Http { status, .. }) => {
            let codes = &http.expected_status_codes;
            (!codes.iter().any(|expected| expected.contains(*status)))
                .then(|| format!("HTTP {status} — expected {}", join_codes(codes)))
        }
        (Probe::Http(_), _) => Some("no HTTP response was reported".to_owned()),
        (Probe::Dns { host, record_type, expected_value }, Answer::Records(records)) => {
            let expected = expected_value.as_deref().unwrap_or("");
            let is_expected = |record: &String| expected.is_empty() || records_match(record_type, expected, record);
            (!records.iter().any(is_expected)).then(|| {
                let wanted = if expected.is_empty() { "one".to_owned() } else { single_line(expected, 100) };
                format!("DNS {record_type} of {host}: {} — expected {wanted}", list_records(records))
            })
        }
        (Probe::Dns { .. }, _) => Some("no DNS records were reported".to_owned()),
        (Probe::Tcp { .. } | Probe::Icmp { .. } | Probe::Tls { .. } | Probe::External { .. }, _) => None,
    }
}

fn list_records(records: &[String]) -> String {
    let mut parts: Vec<String> =
        records.iter().take(RECORDS_LISTED_MAX).map(|record| single_line(record, 60)).collect();
    if records.len() > parts.len() {
        parts.push(format!("{} more", records.len() - parts.len()));
    }
    if parts.is_empty() { "no record".to_owned() } else { parts.join(", ") }
}

/// Whether the record is the expected one. Addresses and names are compared independent of their spelling; for an MX
/// record the name without the preference is enough.
fn records_match(record_type: &str, expected: &str, record: &str) -> bool {
    let name =
        |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_ascii_lowercase();
    match record_type {
        "A" | "AAAA" => match (expected.trim().parse::<IpAddr>(), record.trim().parse::<IpAddr>()) {
            (Ok(expected), Ok(record)) => expected == record,
            _ => expected.trim() == record.trim(),
        },
        "CNAME" | "NS" => name(expected) == name(record),
        "MX" => {
            let (expected, record) = (name(expected), name(record));
            expected == record || record.split_once(' ').is_some_and(|(_, host)| host == expected)
        }
        _ => expected == record,
    }
}

/// What makes the endpoint `degraded` although its response is the expected one.
fn degradations(definition: &Definition, observation: &Observation) -> Vec<Problem> {
    let (total_ms, threshold_ms) = (observation.timings.total_ms, definition.latency_threshold_ms);
    let slow = (total_ms > threshold_ms).then(|| {
        format!(
            "slow: {} ms — expected at most {} ms",
            with_thousands_separators(total_ms.into()),
            with_thousands_separators(threshold_ms.into())
        )
    });
    let now = observation.started_at;
    let warning_horizon = now.plus_ms(u64::from(definition.ssl_warning_days) * DAY_MS);
    let expiring = observation
        .certificate
        .as_ref()
        .filter(|it| it.not_after <= warning_horizon)
        .map(|it| describe_certificate(it, now));
    slow.into_iter().chain(expiring).map(|reason| (CheckStatus::Degraded, reason)).collect()
}

#[cfg(test)]
mod tests;
