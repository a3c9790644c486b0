//! `/runs`: reports of finished runs, and their list.
//!
//! Reading a report from JSON is left to the caller, which has a fast path for valid ones. It ends in a [`SentRun`] either
//! way; [`RunDraft`] is the described form, which a report without violations always has.

mod sent;
mod validation;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tidings_domain::id::EventId;
use tidings_domain::resource::{ResourceType, validate_external_id};
use tidings_domain::run::TruncatedField;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{Trigger, TriggerType};
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::accept::RunReport;
use tidings_store::history::{EventFilter, EventRecord};
use tidings_store::queue::Counts;
use utoipa::ToSchema;

pub use sent::SentRun;
pub use validation::{
    instant_fault, link_fault, name_fault, order_fault, output_fault, resource_id_fault, run_id_fault,
};

use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::page::{Page, PageQuery};
use crate::principal::{Authorized, Read, Report};
use crate::response::Response;
use crate::schemas;

/// Runs in one report.
pub const RUNS_MAX: usize = 1_000;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Success,
    Failure,
}

impl RunStatus {
    /// The trigger of its event.
    pub const fn trigger(self) -> Trigger {
        match self {
            Self::Success => Trigger::Success,
            Self::Failure => Trigger::Failure,
        }
    }
}

/// A finished run to report.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RunReport, example = json!({
    "resourceType": "flow", "resourceId": "import-orders", "runId": "2026-05-02T04:00", "status": "failure",
    "durationMs": 1842, "errorMessage": "connection refused"
}))]
pub struct RunDraft {
    #[serde(default)]
    #[schema(required, schema_with = schemas::run_type)]
    pub resource_type: Option<ResourceType>,
    #[serde(default)]
    #[schema(required, schema_with = schemas::resource_id)]
    pub resource_id: String,
    /// For people; by default the id.
    #[schema(max_length = 200)]
    pub resource_name: Option<String>,
    #[serde(default)]
    #[schema(required, schema_with = schemas::run_id)]
    pub run_id: String,
    #[serde(default)]
    #[schema(required, value_type = RunStatus)]
    pub status: Option<RunStatus>,
    pub trigger_type: Option<TriggerType>,
    pub started_at: Option<Timestamp>,
    /// By default the time of the report.
    pub completed_at: Option<Timestamp>,
    pub duration_ms: Option<u64>,
    pub row_count: Option<u64>,
    /// Beyond 16 KiB, its beginning and end are kept.
    pub error_message: Option<String>,
    /// Any JSON of at most 256 KiB, kept exactly as it is written; that of a failure is dropped if it is larger. It is not
    /// read from here, as reading it would change how it is written.
    pub output: Option<Value>,
    /// A page about the run: an http or https URL of at most 2,048 bytes.
    pub deep_link: Option<String>,
}

impl RunDraft {
    /// The run with its output, as it is accepted.
    ///
    /// # Errors
    /// All violations.
    pub fn into_report(
        mut input: Input<Self>,
        output: Option<&RawValue>,
        now: Timestamp,
    ) -> std::result::Result<RunReport, Violations> {
        let run = &input.value;
        let fault = |pointer: &str, fault: Option<&'static str>| fault.map(|fault| Violation::new(pointer, fault));
        // Of a failure it is dropped: a failure is never refused for its output.
        let must_be_kept = run.status != Some(RunStatus::Failure);
        let found = [
            fault("/resourceId", resource_id_fault(&run.resource_id)),
            fault("/resourceName", run.resource_name.as_deref().and_then(name_fault)),
            fault("/runId", run_id_fault(&run.run_id)),
            fault("/startedAt", run.started_at.and_then(instant_fault)),
            fault("/completedAt", run.completed_at.and_then(instant_fault)),
            fault("/startedAt", order_fault(run.started_at, run.completed_at)),
            fault("/output", output.filter(|_| must_be_kept).and_then(|output| output_fault(output.get()))),
            fault("/deepLink", run.deep_link.as_deref().and_then(link_fault)),
        ];
        input.refuse(found.into_iter().flatten());
        let run = input.finish()?;
        let (Some(resource_type), Some(status)) = (run.resource_type, run.status) else {
            // Both are required by the schema.
            return Err(vec![Violation::new("", "cannot be read")]);
        };
        let sent = SentRun {
            resource_type,
            resource_id: run.resource_id,
            run_id: run.run_id,
            trigger: status.trigger(),
            resource_name: run.resource_name,
            trigger_type: run.trigger_type,
            started_at: run.started_at,
            completed_at: run.completed_at,
            duration_ms: run.duration_ms,
            row_count: run.row_count,
            error_message: run.error_message,
            output,
            deep_link: run.deep_link,
        };
        Ok(sent.into_report(now))
    }
}

/// Deliveries by the state in which they were made.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct DeliveryCounts {
    pub pending: u32,
    pub held: u32,
    pub suppressed: u32,
}

impl From<Counts> for DeliveryCounts {
    fn from(counts: Counts) -> Self {
        Self { pending: counts.pending, held: counts.held, suppressed: counts.suppressed }
    }
}

/// A run that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunAccepted {
    /// Of a repeated run that of the first report.
    pub event_id: EventId,
    /// Whether the run was reported before; then nothing was changed.
    pub duplicate: bool,
    /// Whether the report before had other facts. Absent if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub differs: bool,
    /// What was not kept in full. Absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub truncated: Vec<TruncatedField>,
    pub deliveries: DeliveryCounts,
}

/// The answer to a report: one for each run, in a list if the report was one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RunsAccepted {
    One(RunAccepted),
    Many(Vec<RunAccepted>),
}

impl Response for RunsAccepted {}

/// Which runs to list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunQuery {
    pub resource_type: Option<ResourceType>,
    /// Your own id of the resource.
    #[schema(min_length = 1, max_length = 200)]
    pub resource_id: Option<String>,
    pub status: Option<RunStatus>,
    #[serde(flatten)]
    pub page: PageQuery,
}

/// A reported run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub event_id: EventId,
    pub status: RunStatus,
    pub resource_type: ResourceType,
    pub resource_id: String,
    pub resource_name: Option<String>,
    pub run_id: String,
    pub trigger_type: Option<String>,
    pub started_at: Option<Timestamp>,
    pub completed_at: Timestamp,
    pub duration_ms: Option<u64>,
    pub row_count: Option<u64>,
    pub error_message: Option<String>,
    #[schema(value_type = Value)]
    pub output: Option<Box<RawValue>>,
    pub deep_link: Option<String>,
    /// What was not kept in full. Absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub truncated: Vec<TruncatedField>,
    pub received_at: Timestamp,
    /// As they were made.
    pub deliveries: DeliveryCounts,
}

impl Run {
    /// `None` for an event of something else.
    fn of(record: &EventRecord) -> Option<Self> {
        let event = &record.event;
        let run = event.run()?.clone();
        Some(Self {
            event_id: event.id,
            status: if event.trigger == Trigger::Failure { RunStatus::Failure } else { RunStatus::Success },
            resource_type: event.resource_type,
            resource_id: event.resource_id.clone(),
            resource_name: run.resource_name,
            run_id: event.run_id.clone(),
            trigger_type: run.trigger_type.map(|how| how.as_str().to_owned()),
            started_at: run.started_at,
            completed_at: run.completed_at,
            duration_ms: run.duration_ms,
            row_count: run.row_count,
            error_message: run.error_message,
            output: run.output,
            deep_link: run.deep_link,
            truncated: run.truncated,
            received_at: event.received_at,
            deliveries: record.counts.into(),
        })
    }
}

/// Accepts runs, all or none, and commits them with their deliveries. The answers are in their order.
///
/// # Errors
/// Those of the store; then a part of them may be accepted, and reporting them again is safe.
pub async fn report(by: &Authorized<Report>, runs: Vec<RunReport>) -> Result<Vec<RunAccepted>> {
    let truncated: Vec<_> = runs.iter().map(|report| report.run.truncated.clone()).collect();
    let acceptances = by.engine().report(by.workspace_id(), runs).await?;
    let answers = acceptances.into_iter().zip(truncated).map(|(acceptance, truncated)| RunAccepted {
        event_id: acceptance.event_id,
        duplicate: acceptance.duplicate,
        differs: acceptance.differs,
        truncated,
        deliveries: acceptance.counts.into(),
    });
    Ok(answers.collect())
}

/// Runs, newest first.
///
/// # Errors
/// [`AppError::Invalid`], and those of the store.
pub async fn list(by: &Authorized<Read>, query: RunQuery) -> Result<Page<Run>> {
    let RunQuery { resource_type, resource_id, status, page } = query;
    if let Some(fault) = resource_id.as_deref().and_then(validate_external_id) {
        return Err(AppError::invalid("/resourceId", fault));
    }
    let (before, searched_until) = page.search_start()?;
    let filter = EventFilter {
        runs_only: true,
        before,
        searched_until,
        limit: page.fetch_limit(),
        resource_type,
        resource_id,
        trigger: status.map(RunStatus::trigger),
        ..Default::default()
    };
    let found = by.engine().events(by.workspace_id(), filter).await?;
    let Page { data, next_cursor, searched_until } = page.search_page(&found, |record| record.event.id, Run::of);
    // The filter lets only runs through.
    Ok(Page { data: data.into_iter().flatten().collect(), next_cursor, searched_until })
}
