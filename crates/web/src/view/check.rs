//! Checks in responses: lists, reported checks, tests of endpoints, and summaries.

use std::collections::BTreeMap;

use serde::Serialize;
use tidings_domain::check::summary::Latency;
use tidings_domain::check::{self, Assertion, AssertionResult, FailureClass, Timings};
use tidings_domain::endpoint::Definition;
use tidings_domain::id::{CheckId, IncidentId};
use tidings_domain::time::Timestamp;
use tidings_engine::incidents::CheckOutcome;
use tidings_store::monitoring::CheckRecord;
use tidings_store::retention::SummaryRecord;

const DAY_MS: i64 = 86_400_000;

/// A check. `A` is the form of its assertion results.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Check<'a, A = &'a AssertionResult> {
    checked_at: Timestamp,
    status: &'a str,
    status_reason: Option<&'a str>,
    status_code: Option<u16>,
    response_time_ms: Option<u32>,
    failure: Option<&'a str>,
    timings: Timings,
    certificate: Option<Certificate<'a>>,
    assertions: Vec<A>,
}

impl<'a> Check<'a> {
    pub(crate) fn of(check: &'a check::Check) -> Self {
        Self::with_assertions(check, |result| result)
    }
}

impl<'a, A> Check<'a, A> {
    fn with_assertions(check: &'a check::Check, view: impl Fn(&'a AssertionResult) -> A) -> Self {
        Self {
            checked_at: check.checked_at,
            status: check.status.as_str(),
            status_reason: check.reason.as_deref(),
            status_code: check.status_code,
            response_time_ms: check.response_time_ms,
            failure: check.failure.map(FailureClass::as_str),
            timings: check.timings,
            certificate: certificate(check),
            assertions: check.assertions.iter().map(view).collect(),
        }
    }
}

/// The certificate that the check received.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate<'a> {
    issuer: &'a str,
    subject: &'a str,
    not_after: Timestamp,
    /// Whole days from the check on; negative after the expiry.
    days_left: i64,
}

fn certificate(check: &check::Check) -> Option<Certificate<'_>> {
    check.certificate.as_ref().map(|certificate| Certificate {
        issuer: &certificate.issuer,
        subject: &certificate.subject,
        not_after: certificate.not_after,
        days_left: certificate.not_after.unix_ms().saturating_sub(check.checked_at.unix_ms()).div_euclid(DAY_MS),
    })
}

/// A check in a list.
#[derive(Serialize)]
pub(crate) struct ListedCheck<'a> {
    id: CheckId,
    #[serde(flatten)]
    check: Check<'a>,
}

impl<'a> ListedCheck<'a> {
    pub(crate) fn of(record: &'a CheckRecord) -> Self {
        Self { id: record.id, check: Check::of(&record.check) }
    }
}

/// The response to a reported check.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReportedCheck {
    check_id: CheckId,
    duplicate: bool,
    incident: Option<AffectedIncident>,
}

/// The incident that a check belongs to, and the transition that the check caused.
#[derive(Serialize)]
struct AffectedIncident {
    id: IncidentId,
    transition: Option<String>,
}

impl ReportedCheck {
    pub(crate) fn of(outcome: &CheckOutcome) -> Self {
        let affected = |(id, trigger): (IncidentId, Option<tidings_domain::incident::IncidentTrigger>)| {
            AffectedIncident { id, transition: trigger.map(|trigger| trigger.to_string()) }
        };
        Self { check_id: outcome.check_id, duplicate: outcome.is_duplicate, incident: outcome.incident.map(affected) }
    }
}

/// The result of an endpoint test: a check, with the definition of each assertion beside its result.
pub(crate) type TestResult<'a> = Check<'a, AssertionWithResult<'a>>;

#[derive(Serialize)]
pub(crate) struct AssertionWithResult<'a> {
    #[serde(flatten)]
    assertion: Option<&'a Assertion>,
    #[serde(flatten)]
    result: &'a AssertionResult,
}

/// The result of a test of this definition.
pub(crate) fn test_result<'a>(definition: &'a Definition, check: &'a check::Check) -> TestResult<'a> {
    Check::with_assertions(check, |result| AssertionWithResult {
        assertion: definition.assertions.get(result.index),
        result,
    })
}

/// The checks of an hour or a day, summarised.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary<'a> {
    starts_at: Timestamp,
    healthy: u32,
    degraded: u32,
    down: u32,
    inconclusive: u32,
    uptime: Option<f64>,
    response_time_ms: Option<LatencyPercentiles>,
    failures: &'a BTreeMap<FailureClass, u32>,
}

/// Response times in milliseconds.
#[derive(Serialize)]
struct LatencyPercentiles {
    min: Option<u32>,
    mean: Option<f64>,
    p50: Option<u32>,
    p95: Option<u32>,
    p99: Option<u32>,
    max: Option<u32>,
}

impl LatencyPercentiles {
    fn of(latency: &Latency) -> Option<Self> {
        (!latency.is_empty()).then(|| Self {
            min: latency.min(),
            mean: latency.mean(),
            p50: latency.percentile(50),
            p95: latency.percentile(95),
            p99: latency.percentile(99),
            max: latency.max(),
        })
    }
}

impl<'a> Summary<'a> {
    pub(crate) fn of(record: &'a SummaryRecord) -> Self {
        let summary = &record.summary;
        Self {
            starts_at: record.starts_at,
            healthy: summary.healthy,
            degraded: summary.degraded,
            down: summary.down,
            inconclusive: summary.inconclusive,
            uptime: summary.uptime(),
            response_time_ms: LatencyPercentiles::of(&summary.latency),
            failures: &summary.failures,
        }
    }
}
