//! `/runs`.
//!
//! A body is parsed by [`fast_path`] in one pass, which fails without an explanation. Then [`diagnostics`] parses the same
//! body again by the contract of [`RunDraft`] and collects every violation. A property test holds that both accept the same
//! bodies.

mod diagnostics;
mod fast_path;
#[cfg(test)]
mod tests;

use tidings_app::page::Page;
use tidings_app::runs::{self, RUNS_MAX, Run, RunDraft, RunQuery, RunsAccepted};
use tidings_app::{Read, Report};
use tidings_engine::accept::RunReport;

use crate::auth::Authorized;
use crate::body::{BodyFormat, RunsBody};
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::Reply;

/// The runs of a body.
struct Reports {
    runs: Vec<RunReport>,
    /// Whether the body is a list; then the response is one, too.
    is_list: bool,
}

/// Accepts runs: one, a JSON array, or NDJSON. All are accepted or none.
pub(super) async fn report(
    by: Authorized<Report>,
    RunsBody { format, bytes }: RunsBody,
) -> Result<Reply<RunsAccepted, 202>, Problem> {
    let now = by.now();
    let reports = match fast_path::read(&bytes, format, now) {
        Some(reports) => reports,
        None => diagnostics::read(&bytes, format, now)?,
    };
    let Reports { runs, is_list } = reports;
    let mut accepted = runs::report(&by, runs).await?;
    Ok(Reply(match accepted.pop() {
        Some(only) if !is_list => RunsAccepted::One(only),
        last => RunsAccepted::Many(accepted.into_iter().chain(last).collect()),
    }))
}

/// Runs, newest first.
pub(super) async fn list(
    by: Authorized<Read>,
    Parameters(query): Parameters<RunQuery>,
) -> Result<Reply<Page<Run>>, Problem> {
    Ok(Reply(runs::list(&by, query).await?))
}

/// The problem of a body that holds no run, or too many.
fn not_a_report(format: BodyFormat) -> Problem {
    let expected = match format {
        BodyFormat::Json => "the body must be a run, or a list of 1 to 1,000 of them",
        BodyFormat::Lines => "the body must be 1 to 1,000 runs, one a line",
    };
    Problem::invalid_field("", expected)
}
