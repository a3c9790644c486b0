//! `/runs`: the way in for runs that ended, and the list of them.
//!
//! Reading a report has two ways. [`quick`] reads what is right without looking twice; where it gives up, [`careful`]
//! reads the same body again and says everything that is wrong with it. What is right is written once, in [`limits`].

mod careful;
mod limits;
mod quick;

use http::StatusCode;
use tidings_domain::trigger::Trigger;
use tidings_store::history::EventFilter;

use crate::answer::{Answer, json, ok};
use crate::auth::{Reader, Writer};
use crate::body::{Form, Written};
use crate::problem::Problem;
use crate::query::Query;
use crate::view::event::{Accepted, Run};

pub(in crate::api) use limits::{instant_fault, link_fault, resource_id_fault};

use super::events::resource_filter;

/// The most runs in one report.
const RUNS_MAX: usize = 1_000;

/// What a run's `status` must be, for messages.
pub(in crate::api) const RUN_STATUS_FORM: &str = "must be success or failure";

/// Reports as they were read, and whether the answer is a list as the body was.
struct Reports {
    runs: Vec<tidings_engine::accept::RunReport>,
    many: bool,
}

/// Takes runs in: one, a list, or one a line.
pub(super) async fn report(writer: Writer, Written { form, bytes }: Written) -> Answer {
    let now = writer.now();
    let reports = match quick::read(&bytes, form, now) {
        Some(reports) => reports,
        None => careful::read(&bytes, form, now)?,
    };
    let acceptances = writer.engine().report(writer.workspace_id(), reports.runs).await?;
    match acceptances.as_slice() {
        [only] if !reports.many => Ok(json(StatusCode::ACCEPTED, &Accepted::of(only))),
        all => Ok(json(StatusCode::ACCEPTED, &all.iter().map(Accepted::of).collect::<Vec<_>>())),
    }
}

/// Runs, newest first.
pub(super) async fn list(reader: Reader, mut query: Query) -> Answer {
    let page = query.page();
    let mut filter = EventFilter { runs_only: true, before: page.before, limit: page.wanted(), ..Default::default() };
    resource_filter(&mut query, &mut filter.resource_type, &mut filter.resource_id);
    filter.trigger = query.parsed("status", RUN_STATUS_FORM, Trigger::parse_of_run);
    let filter = query.finish(|| Some(filter))?;
    let records = reader.engine().events(reader.workspace_id(), filter).await?;
    ok(&page.of(&records, |record| record.event.id, Run::of))
}

/// What a report must be, where it is none at all.
fn no_report(form: Form) -> Problem {
    let expected = match form {
        Form::Json => "the body must be a run, or a list of 1 to 1,000 of them",
        Form::Lines => "the body must be 1 to 1,000 runs, one a line",
    };
    Problem::invalid_field("", expected)
}
