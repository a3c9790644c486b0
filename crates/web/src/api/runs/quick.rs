//! Reading reports that are right, in one pass over the bytes. Whatever is not gives `None`: the careful way will say why.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidings_domain::resource::ResourceType;
use tidings_domain::run::Run;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{Trigger, TriggerType};
use tidings_engine::accept::RunReport;

use super::limits::{
    error_fault, instant_fault, link_fault, name_fault, order_fault, output_fault, resource_id_fault, run_id_fault,
};
use super::{RUNS_MAX, Reports};
use crate::body::Form;
use crate::fields::INTEGER_MAX;

/// A report as it stands in the body. Words are borrowed: no right one needs an escape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body<'a> {
    resource_type: &'a str,
    resource_id: String,
    resource_name: Option<String>,
    run_id: String,
    status: &'a str,
    trigger_type: Option<TriggerType>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    duration_ms: Option<u64>,
    row_count: Option<u64>,
    error_message: Option<String>,
    output: Option<Box<RawValue>>,
    deep_link: Option<String>,
}

/// Reads the reports in a body, if they are right.
pub(super) fn read(bytes: &[u8], form: Form, now: Timestamp) -> Option<Reports> {
    match (form, bytes.trim_ascii_start().first()?) {
        (Form::Json, b'{') => {
            let only: Body<'_> = serde_json::from_slice(bytes).ok()?;
            Some(Reports { runs: vec![only.checked(now)?], many: false })
        }
        (Form::Json, b'[') => {
            let bodies: Vec<Body<'_>> = serde_json::from_slice(bytes).ok()?;
            of_many(bodies.into_iter().map(Some), now)
        }
        (Form::Json, _) => None,
        (Form::Lines, _) => {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            of_many(lines.map(|line| serde_json::from_slice(line).ok()), now)
        }
    }
}

fn of_many<'a>(bodies: impl Iterator<Item = Option<Body<'a>>>, now: Timestamp) -> Option<Reports> {
    let runs: Vec<_> = bodies.take(RUNS_MAX + 1).map(|body| body?.checked(now)).collect::<Option<_>>()?;
    (1..=RUNS_MAX).contains(&runs.len()).then_some(Reports { runs, many: true })
}

impl Body<'_> {
    fn checked(self, now: Timestamp) -> Option<RunReport> {
        let right = resource_id_fault(&self.resource_id)
            .or_else(|| run_id_fault(&self.run_id))
            .or_else(|| name_fault(self.resource_name.as_deref()?))
            .or_else(|| error_fault(self.error_message.as_deref()?))
            .or_else(|| link_fault(self.deep_link.as_deref()?))
            .or_else(|| instant_fault(self.started_at?))
            .or_else(|| instant_fault(self.completed_at?))
            .or_else(|| order_fault(self.started_at, self.completed_at))
            .or_else(|| output_fault(self.output.as_deref()?.get()))
            .is_none();
        let countable = |number: Option<u64>| number.is_none_or(|number| number <= INTEGER_MAX);
        if !(right && countable(self.duration_ms) && countable(self.row_count)) {
            return None;
        }
        Some(RunReport {
            resource_type: ResourceType::parse_of_runs(self.resource_type)?,
            trigger: Trigger::parse_of_run(self.status)?,
            resource_id: self.resource_id,
            run_id: self.run_id,
            run: Run {
                resource_name: self.resource_name,
                trigger_type: self.trigger_type,
                started_at: self.started_at,
                completed_at: self.completed_at.unwrap_or(now),
                duration_ms: self.duration_ms,
                row_count: self.row_count,
                error_message: self.error_message,
                output: self.output,
                deep_link: self.deep_link,
            },
        })
    }
}
