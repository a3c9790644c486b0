//! `/endpoints/{id}/checks` and `/summaries`: what was seen of an endpoint, and checks that a prober elsewhere made.

use std::ops::RangeInclusive;

use http::StatusCode;
use sha2::{Digest, Sha256};
use tidings_domain::check::summary::Summary;
use tidings_domain::check::{Check, CheckStatus, ExternalCheck};
use tidings_domain::id::{CheckId, EndpointId, Id, WorkspaceId, uuid_v7};
use tidings_domain::resource::invalid_external_id;
use tidings_domain::time::Timestamp;
use tidings_engine::{Engine, EngineError};
use tidings_store::monitoring::CheckFilter;
use tidings_store::retention::{SummaryFilter, SummaryGranularity};

use crate::answer::{Answer, json, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::page::List;
use crate::problem::{Code, Problem};
use crate::query::{INSTANT_FORM, Query};
use crate::view::check::{CheckOf, SummaryOf, Told};
use crate::view::endpoint::Uptime;

/// How far ahead the clock of a prober elsewhere may be.
const AHEAD_MS_MAX: u64 = 300_000;
/// How old a check may be that is told: as long as checks are kept.
const AGE_MS_MAX: u64 = 48 * 3_600_000;
/// The longest time that an answer may have taken, in milliseconds (a day).
const RESPONSE_TIME_MS_MAX: u64 = 86_400_000;
/// The most summaries in one answer.
const SUMMARIES_MAX: u32 = 1_000;
/// How many hours and days are shown where nobody says since when.
const HOURS_DEFAULT: u64 = 48;
const DAYS_DEFAULT: u64 = 90;

/// Checks of an endpoint, newest first.
pub(in crate::api) async fn list(reader: Reader, PathId(id): PathId<EndpointId>, mut query: Query) -> Answer {
    let page = query.page();
    let status = query.parsed("status", &one_of(CheckStatus::ALL.map(CheckStatus::as_str)), CheckStatus::parse);
    let filter = CheckFilter { before: page.before, limit: page.wanted(), status };
    let filter = query.finish(|| Some(filter))?;
    let records = reader.engine().checks(reader.workspace_id(), id, filter).await?;
    ok(&page.of(&records, |record| record.id, CheckOf::of))
}

/// Takes in a check that a prober elsewhere made.
pub(in crate::api) async fn report(writer: Writer, PathId(id): PathId<EndpointId>, object: Object) -> Answer {
    let (engine, workspace_id) = (writer.engine(), writer.workspace_id());
    let live = engine.endpoint(workspace_id, id)?;
    let (check_id, check) = read(object, id, writer.now())?;
    if !live.endpoint.enabled {
        return Err(Problem::new(
            Code::EndpointPaused,
            "the endpoint is paused, so the check was not taken: resume it",
        ));
    }
    let answer = engine.report_check(workspace_id, id, check_id, check).await?;
    Ok(json(StatusCode::ACCEPTED, &Told::of(&answer)))
}

fn read(object: Object, endpoint_id: EndpointId, now: Timestamp) -> Result<(Option<CheckId>, Check), Problem> {
    let taken = now.minus_ms(AGE_MS_MAX)..=now.plus_ms(AHEAD_MS_MAX);
    let mut fields = Fields::where_null_is_absent(object);
    let status = fields.parsed("status", &one_of(CheckStatus::ALL.map(CheckStatus::as_str)), CheckStatus::parse);
    let status = fields.required("status", status);
    let reason = fields.text("statusReason");
    let status_code = fields.integer("statusCode", 100, 599).and_then(|code| code.try_into().ok());
    let response_time_ms = fields.integer("responseTimeMs", 0, RESPONSE_TIME_MS_MAX).and_then(|ms| ms.try_into().ok());
    let checked_at = fields.parsed("checkedAt", INSTANT_FORM, Timestamp::parse);
    if let Some(fault) = checked_at.and_then(|at| time_fault(at, &taken)) {
        fields.refuse("checkedAt", fault);
    }
    let check_id = match fields.text("checkId") {
        None => None,
        Some(text) if text.starts_with(CheckId::PREFIX) => own_id(&mut fields, &text, &taken),
        Some(text) => match invalid_external_id(&text) {
            Some(fault) => {
                fields.refuse("checkId", fault);
                None
            }
            None => {
                // Without it, the same check told again would not be known by its id.
                let checked_at = fields.required("checkedAt", checked_at);
                checked_at.map(|at| derived_id(endpoint_id, &text, at))
            }
        },
    };
    fields.finish(|| {
        let checked_at = checked_at.unwrap_or(now);
        Some((
            check_id,
            Check::reported(ExternalCheck { status: status?, reason, status_code, response_time_ms, checked_at }),
        ))
    })
}

fn time_fault(at: Timestamp, taken: &RangeInclusive<Timestamp>) -> Option<&'static str> {
    if at > *taken.end() {
        Some("must not lie more than 5 minutes ahead")
    } else if at < *taken.start() {
        Some("must not be older than 48 hours: checks are kept no longer")
    } else {
        None
    }
}

/// An id of our own form. Checks are listed and deleted by their ids, so the instant in it must be right, too.
fn own_id(fields: &mut Fields, text: &str, taken: &RangeInclusive<Timestamp>) -> Option<CheckId> {
    let Ok(id) = text.parse::<CheckId>() else {
        fields.refuse("checkId", "must be chk_<32 hex digits>, or a text of your own that does not begin with chk_");
        return None;
    };
    let ms = id.as_bytes()[..6].iter().fold(0, |ms, byte| ms << 8 | i64::from(*byte));
    if time_fault(Timestamp::from_unix_ms(ms), taken).is_some() {
        fields.refuse("checkId", "must be an id of the last 48 hours; the instant in it is another");
        return None;
    }
    Some(id)
}

/// The id of a check that somebody else calls so: the same whenever it is told.
fn derived_id(endpoint_id: EndpointId, text: &str, checked_at: Timestamp) -> CheckId {
    let hash = Sha256::new().chain_update(endpoint_id.as_bytes()).chain_update(text).finalize();
    let mut tail = [0; 10];
    tail.copy_from_slice(&hash[..10]);
    CheckId::from_uuid(uuid_v7(checked_at.unix_ms().unsigned_abs(), &tail))
}

/// What the checks of each hour or day came to, oldest first.
pub(in crate::api) async fn summaries(reader: Reader, PathId(id): PathId<EndpointId>, mut query: Query) -> Answer {
    let now = reader.now();
    let span = query.parsed("period", &one_of(["hour", "day"]), |word| match word {
        "hour" => Some(SummaryGranularity::Hour),
        "day" => Some(SummaryGranularity::Day),
        _ => None,
    });
    let span = span.unwrap_or_default();
    let until = query.instant("until").unwrap_or(now);
    let spans = if span == SummaryGranularity::Hour { HOURS_DEFAULT } else { DAYS_DEFAULT };
    let since = query.instant("from").unwrap_or_else(|| until.minus_ms(spans * span.ms()));
    query.finish(|| Some(()))?;
    if until.since_ms(since) > u64::from(SUMMARIES_MAX) * span.ms() {
        let most = format!("must be at most {SUMMARIES_MAX} hours or days before until");
        return Err(Problem::invalid_field("/from", most));
    }
    let filter = SummaryFilter { span, since: Some(since), until: Some(until), limit: SUMMARIES_MAX };
    let records = reader.engine().summaries(reader.workspace_id(), id, filter).await?;
    ok(&List::whole(records.iter().map(SummaryOf::of).collect()))
}

/// How much of the last day and of the last thirty an endpoint was up, as far as their hours are summarised.
pub(super) async fn uptime(
    engine: &Engine,
    workspace_id: WorkspaceId,
    id: EndpointId,
    now: Timestamp,
) -> Result<Uptime, EngineError> {
    let share = async |span: SummaryGranularity, spans: u32| {
        let since = now.minus_ms(u64::from(spans) * span.ms());
        let filter = SummaryFilter { span, since: Some(since), until: None, limit: spans + 1 };
        let mut whole = Summary::default();
        for record in engine.summaries(workspace_id, id, filter).await? {
            whole.merge(&record.summary);
        }
        Ok::<_, EngineError>(whole.uptime())
    };
    Ok(Uptime {
        last_24_hours: share(SummaryGranularity::Hour, 24).await?,
        last_30_days: share(SummaryGranularity::Day, 30).await?,
    })
}
