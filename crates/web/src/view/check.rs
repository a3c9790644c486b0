//! Checks as they are shown: those of a list, the answer to one that was told, what a test saw, and what many came to.

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

/// A check; its assertions as `A` shows them.
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
        Self::showing(check, |result| result)
    }
}

impl<'a, A> Check<'a, A> {
    fn showing(check: &'a check::Check, show: impl Fn(&'a AssertionResult) -> A) -> Self {
        Self {
            checked_at: check.checked_at,
            status: check.status.as_str(),
            status_reason: check.reason.as_deref(),
            status_code: check.status_code,
            response_time_ms: check.response_time_ms,
            failure: check.failure.map(FailureClass::as_str),
            timings: check.timings,
            certificate: certificate(check),
            assertions: check.assertions.iter().map(show).collect(),
        }
    }
}

/// A certificate, as it stood when it was seen.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate<'a> {
    issuer: &'a str,
    subject: &'a str,
    not_after: Timestamp,
    /// Whole days; negative once it has ended.
    days_left: i64,
}

fn certificate(check: &check::Check) -> Option<Certificate<'_>> {
    check.certificate.as_ref().map(|seen| Certificate {
        issuer: &seen.issuer,
        subject: &seen.subject,
        not_after: seen.not_after,
        days_left: seen.not_after.unix_ms().saturating_sub(check.checked_at.unix_ms()).div_euclid(DAY_MS),
    })
}

/// A check of a list.
#[derive(Serialize)]
pub(crate) struct CheckOf<'a> {
    id: CheckId,
    #[serde(flatten)]
    check: Check<'a>,
}

impl<'a> CheckOf<'a> {
    pub(crate) fn of(record: &'a CheckRecord) -> Self {
        Self { id: record.id, check: Check::of(&record.check) }
    }
}

/// The answer to a check that was told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    check_id: CheckId,
    duplicate: bool,
    incident: Option<Touched>,
}

/// An incident, and what the check did to it.
#[derive(Serialize)]
struct Touched {
    id: IncidentId,
    transition: Option<String>,
}

impl Told {
    pub(crate) fn of(answer: &CheckOutcome) -> Self {
        let touched = |(id, trigger): (IncidentId, Option<tidings_domain::incident::IncidentTrigger>)| Touched {
            id,
            transition: trigger.map(|trigger| trigger.to_string()),
        };
        Self { check_id: answer.check_id, duplicate: answer.is_duplicate, incident: answer.incident.map(touched) }
    }
}

/// What a test saw: a check, with each assertion beside what became of it.
pub(crate) type Tested<'a> = Check<'a, Asserted<'a>>;

/// An assertion, and what became of it.
#[derive(Serialize)]
pub(crate) struct Asserted<'a> {
    #[serde(flatten)]
    assertion: Option<&'a Assertion>,
    #[serde(flatten)]
    result: &'a AssertionResult,
}

/// What a test of this definition saw.
pub(crate) fn tested<'a>(definition: &'a Definition, check: &'a check::Check) -> Tested<'a> {
    Check::showing(check, |result| Asserted { assertion: definition.assertions.get(result.index), result })
}

/// What the checks of an hour or a day came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SummaryOf<'a> {
    starts_at: Timestamp,
    healthy: u32,
    degraded: u32,
    down: u32,
    inconclusive: u32,
    uptime: Option<f64>,
    response_time_ms: Option<Spread>,
    failures: &'a BTreeMap<FailureClass, u32>,
}

/// How long answers took.
#[derive(Serialize)]
struct Spread {
    min: Option<u32>,
    mean: Option<f64>,
    p50: Option<u32>,
    p95: Option<u32>,
    p99: Option<u32>,
    max: Option<u32>,
}

impl Spread {
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

impl<'a> SummaryOf<'a> {
    pub(crate) fn of(record: &'a SummaryRecord) -> Self {
        let summary = &record.summary;
        Self {
            starts_at: record.starts_at,
            healthy: summary.healthy,
            degraded: summary.degraded,
            down: summary.down,
            inconclusive: summary.inconclusive,
            uptime: summary.uptime(),
            response_time_ms: Spread::of(&summary.latency),
            failures: &summary.failures,
        }
    }
}
