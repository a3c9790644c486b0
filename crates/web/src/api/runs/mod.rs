//! `/runs`: reports of completed runs, and their list.
//!
//! A body is parsed by [`fast_path`] in one pass, which fails without an explanation. Then [`diagnostics`] parses the same
//! body again and collects every violation. Both use the checks in [`validation`], and a property test holds that they
//! accept the same bodies.

mod diagnostics;
mod fast_path;
mod sent;
#[cfg(test)]
mod tests;
mod validation;

use http::StatusCode;
use tidings_domain::trigger::Trigger;
use tidings_store::history::EventFilter;

use crate::auth::{Authorized, Read, Write};
use crate::body::{BodyFormat, RunsBody};
use crate::problem::Problem;
use crate::query::Query;
use crate::response::{ApiResult, json, ok};
use crate::view::event::{Accepted, Run};

pub(in crate::api) use validation::{instant_fault, link_fault, resource_id_fault};

use super::events::resource_filter;

/// Runs in one request.
const RUNS_MAX: usize = 1_000;

/// The expected form of a run's `status`, for messages.
pub(in crate::api) const RUN_STATUS_FORM: &str = "must be success or failure";

/// The runs of a body.
struct Reports {
    runs: Vec<tidings_engine::accept::RunReport>,
    /// Whether the body is a list; then the response is one, too.
    is_list: bool,
}

/// Accepts runs: one, a JSON array, or NDJSON. All are accepted or none.
pub(super) async fn report(caller: Authorized<Write>, RunsBody { format, bytes }: RunsBody) -> ApiResult {
    let now = caller.now();
    let reports = match fast_path::read(&bytes, format, now) {
        Some(reports) => reports,
        None => diagnostics::read(&bytes, format, now)?,
    };
    let Reports { runs, is_list } = reports;
    let truncated: Vec<_> = runs.iter().map(|report| report.run.truncated.clone()).collect();
    let acceptances = caller.engine().report(caller.workspace_id(), runs).await?;
    let mut answers =
        acceptances.iter().zip(&truncated).map(|(acceptance, truncated)| Accepted::of(acceptance, truncated));
    match answers.next() {
        Some(only) if !is_list => Ok(json(StatusCode::ACCEPTED, &only)),
        first => Ok(json(StatusCode::ACCEPTED, &first.into_iter().chain(answers).collect::<Vec<_>>())),
    }
}

/// Runs, newest first.
pub(super) async fn list(caller: Authorized<Read>, mut query: Query) -> ApiResult {
    let page = query.search_page();
    let mut filter = EventFilter {
        runs_only: true,
        before: page.before,
        searched_until: page.searched_until,
        limit: page.fetch_limit(),
        ..Default::default()
    };
    resource_filter(&mut query, &mut filter.resource_type, &mut filter.resource_id);
    filter.trigger = query.parsed("status", RUN_STATUS_FORM, Trigger::parse_run);
    let filter = query.finish(|| Some(filter))?;
    let records = caller.engine().events(caller.workspace_id(), filter).await?;
    ok(&page.of(&records, |record| record.event.id, Run::of))
}

/// The problem of a body that holds no run, or too many.
fn not_a_report(format: BodyFormat) -> Problem {
    let expected = match format {
        BodyFormat::Json => "the body must be a run, or a list of 1 to 1,000 of them",
        BodyFormat::Lines => "the body must be 1 to 1,000 runs, one a line",
    };
    Problem::invalid_field("", expected)
}
