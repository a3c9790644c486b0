//! `/endpoints/{id}/checks` and `/summaries`: results of checks, and checks that external probers report.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidings_domain::check::summary::{Latency, Summary};
use tidings_domain::check::{self, AssertionResult, CheckStatus, ExternalCheck, FailureClass, Timings};
use tidings_domain::id::{CheckId, EndpointId, Id, IncidentId, uuid_v7};
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::resource::validate_external_id;
use tidings_domain::time::Timestamp;
use tidings_engine::EngineError;
use tidings_engine::incidents::CheckOutcome;
use tidings_store::monitoring::CheckFilter;
use tidings_store::retention::{SummaryFilter, SummaryGranularity, SummaryRecord};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use super::{Uptime, found};
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Read, Report};
use crate::response::Response;

/// How far the clock of an external prober may be ahead.
const AHEAD_MS_MAX: u64 = 300_000;
/// How old a reported check may be: as long as checks are retained.
const AGE_MS_MAX: u64 = 48 * 3_600_000;
/// Summaries in one response.
const SUMMARIES_MAX: u32 = 1_000;
/// The hours or days in a response without `from`.
const HOURS_DEFAULT: u64 = 48;
const DAYS_DEFAULT: u64 = 90;
const DAY_MS: i64 = 86_400_000;

/// A check.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    #[serde(flatten)]
    pub facts: CheckFacts,
    /// In the order of the definition's assertions; empty if they were not evaluated.
    pub assertions: Vec<AssertionResult>,
}

/// What a check found, apart from its assertions.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckFacts {
    /// When the probe started.
    pub checked_at: Timestamp,
    pub status: CheckStatus,
    /// For people, such as `HTTP 502 — expected 200`.
    pub status_reason: Option<String>,
    /// Of HTTP.
    pub status_code: Option<u16>,
    /// Null without a response.
    pub response_time_ms: Option<u32>,
    /// Why there was no response.
    pub failure: Option<FailureClass>,
    pub timings: Timings,
    pub certificate: Option<Certificate>,
}

/// The certificate that a check received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// A distinguished name (RFC 4514).
    pub issuer: String,
    pub subject: String,
    pub not_after: Timestamp,
    /// Whole days from the check on; negative after the expiry.
    pub days_left: i64,
}

/// A check in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedCheck {
    pub id: CheckId,
    #[serde(flatten)]
    pub check: Check,
}

/// A page of checks, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckList {
    pub data: Vec<ListedCheck>,
    /// The cursor of the next page; null on the last one.
    pub next_cursor: Option<CheckId>,
}

/// Which checks to list.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckQuery {
    #[schema(minimum = 1, maximum = 200)]
    pub limit: u32,
    /// The `nextCursor` of the previous page.
    pub cursor: Option<CheckId>,
    pub status: Option<CheckStatus>,
}

impl Default for CheckQuery {
    fn default() -> Self {
        Self { limit: 50, cursor: None, status: None }
    }
}

/// A check that an external prober reports.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"status": "down", "statusReason": "HTTP 502 — expected 200", "statusCode": 502, "responseTimeMs": 81}))]
pub struct CheckReport {
    /// Your own id, at most 200 bytes: a check that is reported again under it changes nothing. It needs `checkedAt`. Or an
    /// id in the format of Tidings.
    #[serde(default)]
    #[schema(schema_with = external_id_schema)]
    pub check_id: Option<String>,
    #[serde(default = "down")]
    #[schema(required)]
    pub status: CheckStatus,
    /// One line, at most 500 characters of it are kept.
    #[serde(default)]
    pub status_reason: Option<String>,
    #[serde(default)]
    #[schema(minimum = 100, maximum = 599)]
    pub status_code: Option<u16>,
    #[serde(default)]
    #[schema(minimum = 0, maximum = 86_400_000)]
    pub response_time_ms: Option<u32>,
    /// Within the last 48 hours; now, if absent.
    #[serde(default)]
    pub checked_at: Option<Timestamp>,
}

/// In place of a status that is missing or invalid, which is a violation.
const fn down() -> CheckStatus {
    CheckStatus::Down
}

/// A text, or an integer, which is taken as its digits.
fn external_id_schema() -> Object {
    let types = SchemaType::Array(vec![Type::String, Type::Integer, Type::Null]);
    let description = "Your own id, at most 200 bytes: a check that is reported again under it changes nothing. It needs \
                       `checkedAt`. Or an id in the format of Tidings.";
    ObjectBuilder::new().schema_type(types).description(Some(description)).build()
}

/// The response to a reported check.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckReported {
    pub check_id: CheckId,
    /// Whether it was reported before; nothing was changed then.
    pub duplicate: bool,
    /// The incident that is active or that the check resolved.
    pub incident: Option<AffectedIncident>,
}

/// The incident that a check belongs to.
#[derive(Debug, Serialize, ToSchema)]
pub struct AffectedIncident {
    pub id: IncidentId,
    /// What the check did to it: `opened`, `worsened`, `resolved`, `flapping`, `stable` or null.
    pub transition: Option<String>,
}

/// The length of the periods of summaries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SummaryPeriod {
    #[default]
    Hour,
    Day,
}

/// Which summaries to list: at most 1,000 hours or days.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SummaryQuery {
    pub period: SummaryPeriod,
    /// The last 48 hours or 90 days before `until`, if absent.
    pub from: Option<Timestamp>,
    /// Now, if absent.
    pub until: Option<Timestamp>,
}

/// Summaries, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryList {
    pub data: Vec<CheckSummary>,
    /// Always null: the list is complete.
    pub next_cursor: Option<String>,
}

/// The checks of an hour or a day (UTC), summarised.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckSummary {
    pub starts_at: Timestamp,
    pub healthy: u32,
    pub degraded: u32,
    pub down: u32,
    pub inconclusive: u32,
    /// The share of conclusive checks that were not `down`.
    pub uptime: Option<f64>,
    pub response_time_ms: Option<LatencyPercentiles>,
    /// How often there was no response, by reason.
    pub failures: BTreeMap<FailureClass, u32>,
}

/// Response times in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct LatencyPercentiles {
    pub min: Option<u32>,
    pub mean: Option<f64>,
    pub p50: Option<u32>,
    pub p95: Option<u32>,
    pub p99: Option<u32>,
    pub max: Option<u32>,
}

impl Response for CheckList {}
impl Response for CheckReported {}
impl Response for SummaryList {}

impl Check {
    pub(super) fn of(check: &check::Check) -> Self {
        Self { facts: CheckFacts::of(check), assertions: check.assertions.clone() }
    }
}

impl CheckFacts {
    pub(super) fn of(check: &check::Check) -> Self {
        let days_left =
            |not_after: Timestamp| not_after.unix_ms().saturating_sub(check.checked_at.unix_ms()).div_euclid(DAY_MS);
        Self {
            checked_at: check.checked_at,
            status: check.status,
            status_reason: check.reason.clone(),
            status_code: check.status_code,
            response_time_ms: check.response_time_ms,
            failure: check.failure,
            timings: check.timings,
            certificate: check.certificate.as_ref().map(|certificate| Certificate {
                issuer: certificate.issuer.clone(),
                subject: certificate.subject.clone(),
                not_after: certificate.not_after,
                days_left: days_left(certificate.not_after),
            }),
        }
    }
}

impl CheckReported {
    fn of(outcome: &CheckOutcome) -> Self {
        let affected = |(id, trigger): (IncidentId, Option<IncidentTrigger>)| AffectedIncident {
            id,
            transition: trigger.map(|trigger| trigger.to_string()),
        };
        Self { check_id: outcome.check_id, duplicate: outcome.is_duplicate, incident: outcome.incident.map(affected) }
    }
}

impl CheckSummary {
    fn of(record: &SummaryRecord) -> Self {
        let summary = &record.summary;
        Self {
            starts_at: record.starts_at,
            healthy: summary.healthy,
            degraded: summary.degraded,
            down: summary.down,
            inconclusive: summary.inconclusive,
            uptime: summary.uptime(),
            response_time_ms: LatencyPercentiles::of(&summary.latency),
            failures: summary.failures.clone(),
        }
    }
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

/// The checks of an endpoint, newest first.
///
/// # Errors
/// If there is no such endpoint.
pub async fn list(by: &Authorized<Read>, id: EndpointId, query: CheckQuery) -> Result<CheckList> {
    let CheckQuery { limit, cursor, status } = query;
    // One more than the page holds, which shows whether another page follows.
    let filter = CheckFilter { before: cursor, limit: limit + 1, status };
    let mut records = by.engine().checks(by.workspace_id(), id, filter).await?;
    let has_more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next_cursor = records.last().filter(|_| has_more).map(|record| record.id);
    let data = records.iter().map(|record| ListedCheck { id: record.id, check: Check::of(&record.check) });
    Ok(CheckList { data: data.collect(), next_cursor })
}

/// Accepts a check of an external prober. The check and what follows from it are durable when this returns.
///
/// # Errors
/// [`AppError::Invalid`], [`AppError::EndpointPaused`], and if there is no such endpoint.
pub async fn report(by: &Authorized<Report>, id: EndpointId, input: Input<CheckReport>) -> Result<CheckReported> {
    let is_enabled = found(&*by.view()?, id)?.endpoint.enabled;
    let (check_id, check) = accepted(input, id, by.now())?;
    if !is_enabled {
        return Err(AppError::EndpointPaused);
    }
    Ok(CheckReported::of(&by.engine().report_check(by.workspace_id(), id, check_id, check).await?))
}

fn accepted(
    mut input: Input<CheckReport>,
    endpoint_id: EndpointId,
    now: Timestamp,
) -> Result<(Option<CheckId>, check::Check)> {
    let accepted = now.minus_ms(AGE_MS_MAX)..=now.plus_ms(AHEAD_MS_MAX);
    let checked_at = input.value.checked_at;
    if let Some(fault) = checked_at.and_then(|at| time_fault(at, &accepted)) {
        input.refuse_field("/checkedAt", fault);
    }
    let check_id = match input.value.check_id.clone() {
        None => None,
        Some(text) if text.starts_with(CheckId::PREFIX) => own_id(&mut input, &text, &accepted),
        Some(text) => match (validate_external_id(&text), checked_at) {
            (Some(fault), _) => {
                input.refuse_field("/checkId", fault);
                None
            }
            // The derived id contains the time. With the time of arrival as the default, a repeated report would get
            // another id and count twice.
            (None, None) => {
                input.refuse_field("/checkedAt", "is required");
                None
            }
            (None, Some(at)) => Some(derived_id(endpoint_id, &text, at)),
        },
    };
    let CheckReport { status, status_reason: reason, status_code, response_time_ms, .. } = input.finish()?;
    let checked_at = checked_at.unwrap_or(now);
    let reported = ExternalCheck { status, reason, status_code, response_time_ms, checked_at };
    Ok((check_id, check::Check::from_external(reported)))
}

fn time_fault(at: Timestamp, accepted: &RangeInclusive<Timestamp>) -> Option<&'static str> {
    if at > *accepted.end() {
        Some("must not be more than 5 minutes in the future")
    } else if at < *accepted.start() {
        Some("must not be older than 48 hours, for which checks are retained")
    } else {
        None
    }
}

/// An id in the format of Tidings. Checks are listed and pruned by their ids, so that the time in it must be plausible.
fn own_id(input: &mut Input<CheckReport>, text: &str, accepted: &RangeInclusive<Timestamp>) -> Option<CheckId> {
    let Ok(id) = text.parse::<CheckId>() else {
        input.refuse_field(
            "/checkId",
            "must be chk_<32 hex digits>, or an id of your own that does not begin with chk_",
        );
        return None;
    };
    if time_fault(id.made_at(), accepted).is_some() {
        input.refuse_field("/checkId", "contains a time that is not within the last 48 hours");
        return None;
    }
    Some(id)
}

/// The id for a reporter's own id: the same for each repetition of the report, which makes it idempotent.
fn derived_id(endpoint_id: EndpointId, text: &str, checked_at: Timestamp) -> CheckId {
    let hash = Sha256::new().chain_update(endpoint_id.as_bytes()).chain_update(text).finalize();
    let mut tail = [0; 10];
    tail.copy_from_slice(&hash[..10]);
    CheckId::from_uuid(uuid_v7(checked_at.unix_ms().unsigned_abs(), &tail))
}

/// Summaries of the checks of each hour or day, oldest first.
///
/// # Errors
/// [`AppError::Invalid`] for more than 1,000 of them, and if there is no such endpoint.
pub async fn summaries(by: &Authorized<Read>, id: EndpointId, query: SummaryQuery) -> Result<SummaryList> {
    let (granularity, count) = match query.period {
        SummaryPeriod::Hour => (SummaryGranularity::Hour, HOURS_DEFAULT),
        SummaryPeriod::Day => (SummaryGranularity::Day, DAYS_DEFAULT),
    };
    let until = query.until.unwrap_or_else(|| by.now());
    let since = query.from.unwrap_or_else(|| until.minus_ms(count * granularity.ms()));
    if until.since_ms(since) > u64::from(SUMMARIES_MAX) * granularity.ms() {
        let message = format!("must be at most {SUMMARIES_MAX} hours or days before until");
        return Err(AppError::invalid("/from", message));
    }
    let filter = SummaryFilter { granularity, since: Some(since), until: Some(until), limit: SUMMARIES_MAX };
    let records = by.engine().summaries(by.workspace_id(), id, filter).await?;
    Ok(SummaryList { data: records.iter().map(CheckSummary::of).collect(), next_cursor: None })
}

/// The uptime of the last 24 hours and 30 days, from the summaries.
pub(super) async fn uptime(by: &Authorized<Read>, id: EndpointId) -> Result<Uptime> {
    let share = async |granularity: SummaryGranularity, count: u32| {
        let since = by.now().minus_ms(u64::from(count) * granularity.ms());
        let filter = SummaryFilter { granularity, since: Some(since), until: None, limit: count + 1 };
        let mut total = Summary::default();
        for record in by.engine().summaries(by.workspace_id(), id, filter).await? {
            total.merge(&record.summary);
        }
        Ok::<_, EngineError>(total.uptime())
    };
    Ok(Uptime {
        last_24_hours: share(SummaryGranularity::Hour, 24).await?,
        last_30_days: share(SummaryGranularity::Day, 30).await?,
    })
}
