//! `/endpoints/{id}/checks` and `/summaries`: results of checks, and checks that external probers report.

use std::ops::RangeInclusive;

use http::StatusCode;
use sha2::{Digest, Sha256};
use tidings_domain::check::summary::Summary;
use tidings_domain::check::{Check, CheckStatus, ExternalCheck};
use tidings_domain::id::{CheckId, EndpointId, Id, WorkspaceId, uuid_v7};
use tidings_domain::resource::validate_external_id;
use tidings_domain::time::Timestamp;
use tidings_engine::{Engine, EngineError};
use tidings_store::monitoring::CheckFilter;
use tidings_store::retention::{SummaryFilter, SummaryGranularity};

use crate::auth::{Authorized, PathId, Read, Write};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::page::List;
use crate::problem::{Code, Problem};
use crate::query::{INSTANT_FORM, Query};
use crate::response::{ApiResult, json, ok};
use crate::view::check::{self, ListedCheck, ReportedCheck};
use crate::view::endpoint::Uptime;

/// How far the clock of an external prober may be ahead.
const AHEAD_MS_MAX: u64 = 300_000;
/// How old a reported check may be: as long as checks are retained.
const AGE_MS_MAX: u64 = 48 * 3_600_000;
/// A day.
const RESPONSE_TIME_MS_MAX: u64 = 86_400_000;
/// Summaries in one response.
const SUMMARIES_MAX: u32 = 1_000;
/// The hours or days in a response without `from`.
const HOURS_DEFAULT: u64 = 48;
const DAYS_DEFAULT: u64 = 90;

/// The checks of an endpoint, newest first.
pub(in crate::api) async fn list(
    caller: Authorized<Read>,
    PathId(id): PathId<EndpointId>,
    mut query: Query,
) -> ApiResult {
    let page = query.page();
    let status = query.parsed("status", &one_of(CheckStatus::ALL.map(CheckStatus::as_str)), CheckStatus::parse);
    let filter = CheckFilter { before: page.before, limit: page.fetch_limit(), status };
    let filter = query.finish(|| Some(filter))?;
    let records = caller.engine().checks(caller.workspace_id(), id, filter).await?;
    ok(&page.of(&records, |record| record.id, ListedCheck::of))
}

/// Accepts a check of an external prober.
pub(in crate::api) async fn report(
    caller: Authorized<Write>,
    PathId(id): PathId<EndpointId>,
    object: Object,
) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let loaded = engine.endpoint(workspace_id, id)?;
    let (check_id, check) = read(object, id, caller.now())?;
    if !loaded.endpoint.enabled {
        return Err(Problem::new(
            Code::EndpointPaused,
            "the endpoint is paused, so the check was not accepted: resume it first",
        ));
    }
    let outcome = engine.report_check(workspace_id, id, check_id, check).await?;
    Ok(json(StatusCode::ACCEPTED, &ReportedCheck::of(&outcome)))
}

fn read(object: Object, endpoint_id: EndpointId, now: Timestamp) -> Result<(Option<CheckId>, Check), Problem> {
    let accepted = now.minus_ms(AGE_MS_MAX)..=now.plus_ms(AHEAD_MS_MAX);
    let mut fields = Fields::null_as_absent(object);
    let status = fields.parsed("status", &one_of(CheckStatus::ALL.map(CheckStatus::as_str)), CheckStatus::parse);
    let status = fields.required("status", status);
    let reason = fields.text("statusReason");
    let status_code = fields.integer("statusCode", 100, 599).and_then(|code| code.try_into().ok());
    let response_time_ms = fields.integer("responseTimeMs", 0, RESPONSE_TIME_MS_MAX).and_then(|ms| ms.try_into().ok());
    let checked_at = fields.parsed("checkedAt", INSTANT_FORM, Timestamp::parse);
    if let Some(fault) = checked_at.and_then(|at| time_fault(at, &accepted)) {
        fields.refuse("checkedAt", fault);
    }
    let check_id = match fields.external_id("checkId", |_| None) {
        None => None,
        Some(text) if text.starts_with(CheckId::PREFIX) => own_id(&mut fields, &text, &accepted),
        Some(text) => match validate_external_id(&text) {
            Some(fault) => {
                fields.refuse("checkId", fault);
                None
            }
            None => {
                // The derived id contains the time. With the time of arrival as the default, a repeated report would get
                // another id and count twice.
                let checked_at = fields.required("checkedAt", checked_at);
                checked_at.map(|at| derived_id(endpoint_id, &text, at))
            }
        },
    };
    fields.finish(|| {
        let checked_at = checked_at.unwrap_or(now);
        Some((
            check_id,
            Check::from_external(ExternalCheck { status: status?, reason, status_code, response_time_ms, checked_at }),
        ))
    })
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
fn own_id(fields: &mut Fields, text: &str, accepted: &RangeInclusive<Timestamp>) -> Option<CheckId> {
    let Ok(id) = text.parse::<CheckId>() else {
        fields.refuse("checkId", "must be chk_<32 hex digits>, or an id of your own that does not begin with chk_");
        return None;
    };
    let ms = id.as_bytes()[..6].iter().fold(0, |ms, byte| ms << 8 | i64::from(*byte));
    if time_fault(Timestamp::from_unix_ms(ms), accepted).is_some() {
        fields.refuse("checkId", "contains a time that is not within the last 48 hours");
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
pub(in crate::api) async fn summaries(
    caller: Authorized<Read>,
    PathId(id): PathId<EndpointId>,
    mut query: Query,
) -> ApiResult {
    let now = caller.now();
    let granularity = query.parsed("period", &one_of(["hour", "day"]), |word| match word {
        "hour" => Some(SummaryGranularity::Hour),
        "day" => Some(SummaryGranularity::Day),
        _ => None,
    });
    let granularity = granularity.unwrap_or_default();
    let until = query.instant("until").unwrap_or(now);
    let count = if granularity == SummaryGranularity::Hour { HOURS_DEFAULT } else { DAYS_DEFAULT };
    let since = query.instant("from").unwrap_or_else(|| until.minus_ms(count * granularity.ms()));
    query.finish(|| Some(()))?;
    if until.since_ms(since) > u64::from(SUMMARIES_MAX) * granularity.ms() {
        let message = format!("must be at most {SUMMARIES_MAX} hours or days before until");
        return Err(Problem::invalid_field("/from", message));
    }
    let filter = SummaryFilter { granularity, since: Some(since), until: Some(until), limit: SUMMARIES_MAX };
    let records = caller.engine().summaries(caller.workspace_id(), id, filter).await?;
    ok(&List::complete(records.iter().map(check::Summary::of).collect()))
}

/// The uptime of the last 24 hours and 30 days, from the summaries.
pub(super) async fn uptime(
    engine: &Engine,
    workspace_id: WorkspaceId,
    id: EndpointId,
    now: Timestamp,
) -> Result<Uptime, EngineError> {
    let share = async |granularity: SummaryGranularity, count: u32| {
        let since = now.minus_ms(u64::from(count) * granularity.ms());
        let filter = SummaryFilter { granularity, since: Some(since), until: None, limit: count + 1 };
        let mut total = Summary::default();
        for record in engine.summaries(workspace_id, id, filter).await? {
            total.merge(&record.summary);
        }
        Ok::<_, EngineError>(total.uptime())
    };
    Ok(Uptime {
        last_24_hours: share(SummaryGranularity::Hour, 24).await?,
        last_30_days: share(SummaryGranularity::Day, 30).await?,
    })
}
