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

/// A report as it stands in the body. Words and instants are borrowed: no right one needs an escape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body<'a> {
    resource_type: &'a str,
    resource_id: String,
    resource_name: Option<String>,
    run_id: String,
    status: &'a str,
    trigger_type: Option<&'a str>,
    started_at: Option<&'a str>,
    completed_at: Option<&'a str>,
    duration_ms: Option<u64>,
    row_count: Option<u64>,
    error_message: Option<String>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    deep_link: Option<String>,
}

/// Reads the reports in a body, if they are right.
pub(super) fn read(bytes: &[u8], form: Form, now: Timestamp) -> Option<Reports> {
    // Once for all of it, instead of text by text.
    let text = std::str::from_utf8(bytes).ok()?;
    match (form, bytes.trim_ascii_start().first()?) {
        (Form::Json, b'{') => {
            let only: Body<'_> = serde_json::from_str(text).ok()?;
            Some(Reports { runs: vec![only.checked(now)?], many: false })
        }
        (Form::Json, b'[') => {
            let bodies: Vec<Body<'_>> = serde_json::from_str(text).ok()?;
            of_many(bodies.into_iter().map(Some), now)
        }
        (Form::Json, _) => None,
        (Form::Lines, _) => {
            let lines = text.split('\n').filter(|line| !line.trim_ascii().is_empty());
            of_many(lines.map(|line| serde_json::from_str(line).ok()), now)
        }
    }
}

fn of_many<'a>(bodies: impl Iterator<Item = Option<Body<'a>>>, now: Timestamp) -> Option<Reports> {
    let runs: Vec<_> = bodies.take(RUNS_MAX + 1).map(|body| body?.checked(now)).collect::<Option<_>>()?;
    (1..=RUNS_MAX).contains(&runs.len()).then_some(Reports { runs, many: true })
}

impl Body<'_> {
    fn checked(self, now: Timestamp) -> Option<RunReport> {
        let started_at = if_there(self.started_at, instant)?;
        let completed_at = if_there(self.completed_at, instant)?;
        let right = resource_id_fault(&self.resource_id)
            .or_else(|| run_id_fault(&self.run_id))
            .or_else(|| name_fault(self.resource_name.as_deref()?))
            .or_else(|| error_fault(self.error_message.as_deref()?))
            .or_else(|| link_fault(self.deep_link.as_deref()?))
            .or_else(|| order_fault(started_at, completed_at))
            .or_else(|| output_fault(self.output?.get()))
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
                trigger_type: if_there(self.trigger_type, TriggerType::parse)?,
                started_at,
                completed_at: completed_at.unwrap_or(now),
                duration_ms: self.duration_ms,
                row_count: self.row_count,
                error_message: self.error_message,
                output: self.output.map(RawValue::to_owned),
                deep_link: self.deep_link,
            },
        })
    }
}

/// Reads a text that may be missing; gives up on one that is there and cannot be read.
fn if_there<T>(text: Option<&str>, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    text.map_or(Some(None), |text| read(text).map(Some))
}

fn instant(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).filter(|instant| instant_fault(*instant).is_none())
}
