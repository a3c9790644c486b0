//! The slow path: parses bodies that the fast path rejected, and collects every violation with its JSON pointer. A body may
//! still turn out valid, such as one with escape sequences in enumerated values.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{TRIGGER_TYPE_FORM, Trigger, TriggerType};
use tidings_domain::violation::{Violation, Violations, pointer};
use tidings_engine::accept::RunReport;

use super::sent::SentRun;
use super::validation::{
    instant_fault, link_fault, name_fault, order_fault, output_fault, resource_id_fault, run_id_fault,
};
use super::{RUN_STATUS_FORM, RUNS_MAX, Reports, not_a_report};
use crate::body::{BodyFormat, Object};
use crate::fields::{Fields, INTEGER_MAX, one_of};
use crate::json::{self, Members, VIOLATIONS_MAX};
use crate::problem::{Code, Problem};
use crate::query::INSTANT_FORM;

/// Reads the runs of a body, or all their violations.
pub(super) fn read(bytes: &[u8], format: BodyFormat, now: Timestamp) -> Result<Reports, Problem> {
    if bytes.trim_ascii().is_empty() {
        return Err(not_a_report(format));
    }
    json::require_utf8(bytes)?;
    match format {
        BodyFormat::Json => {
            let body: &RawValue = serde_json::from_slice(bytes).map_err(|error| json::invalid(&error))?;
            if body.get().starts_with('[') {
                let items: Vec<&RawValue> = serde_json::from_str(body.get()).map_err(|error| json::invalid(&error))?;
                many(items.into_iter().enumerate().collect(), format, now)
            } else {
                one(body, now)
            }
        }
        BodyFormat::Lines => {
            let lines = bytes.split(|byte| *byte == b'\n').enumerate();
            let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
            many(lines.map(line).collect::<Result<_, _>>()?, format, now)
        }
    }
}

/// A line with its index.
fn line((index, line): (usize, &[u8])) -> Result<(usize, &RawValue), Problem> {
    let read = serde_json::from_slice(line).map(|raw| (index, raw));
    read.map_err(|error| {
        let column = error.column();
        Problem::new(Code::InvalidJson, format!("line {} is not valid JSON, at column {column}", index + 1))
    })
}

fn one(body: &RawValue, now: Timestamp) -> Result<Reports, Problem> {
    let mut violations = Violations::new();
    match run(body, String::new(), now, &mut violations)? {
        Some(run) if violations.is_empty() => Ok(Reports { runs: vec![run], is_list: false }),
        _ => Err(Problem::invalid(violations)),
    }
}

fn many(items: Vec<(usize, &RawValue)>, format: BodyFormat, now: Timestamp) -> Result<Reports, Problem> {
    if items.is_empty() || items.len() > RUNS_MAX {
        return Err(not_a_report(format));
    }
    let mut violations = Violations::new();
    let mut runs = Vec::with_capacity(items.len());
    for (index, item) in items {
        runs.extend(run(item, format!("/{index}"), now, &mut violations)?);
        if violations.len() > VIOLATIONS_MAX {
            violations.truncate(VIOLATIONS_MAX);
            break;
        }
    }
    if violations.is_empty() { Ok(Reports { runs, is_list: true }) } else { Err(Problem::invalid(violations)) }
}

/// Reads the run at the pointer `at`; `None` if it has violations.
fn run(raw: &RawValue, at: String, now: Timestamp, violations: &mut Violations) -> Result<Option<RunReport>, Problem> {
    let Some(Members(members)) = Members::read(raw)? else {
        violations.push(Violation::new(at, "must be a run, as a JSON object"));
        return Ok(None);
    };
    let (mut output, mut not_unicode) = (None, Vec::new());
    let mut object = Map::new();
    for (key, value) in members {
        // Stored exactly as it is written: parsing and serialising would normalise numbers and whitespace.
        if key == "output" {
            output = Some(value).filter(|value| value.get() != "null");
            continue;
        }
        let text = value.get();
        let value = match &*key {
            // Of an integer of any length the digits.
            "resourceId" | "runId" if is_integer(text) => Value::String(text.to_owned()),
            // An error that some program cut in the middle of a character must still be reported.
            "errorMessage" => json::read(json::replace_lone_surrogates(text, "\\ufffd").as_bytes())?,
            _ => match json::read(text.as_bytes()) {
                Ok(value) => value,
                Err(problem) if problem.code() == Code::Invalid => {
                    let prefix = format!("{at}{}", pointer(&key));
                    violations.extend(problem.map_pointers(|inner| format!("{prefix}{inner}")).into_violations());
                    not_unicode.push(prefix);
                    continue;
                }
                Err(problem) => return Err(problem),
            },
        };
        object.insert(key, value);
    }
    let mut fields = Fields::null_as_absent(Object(object)).at(at);
    let report = read_fields(&mut fields, output, now);
    let mut found = fields.into_violations();
    // Those that are not Unicode are missing from the object, and would be reported as such, too.
    found.retain(|violation| !not_unicode.contains(&violation.pointer));
    let is_valid = found.is_empty() && not_unicode.is_empty();
    violations.extend(found);
    Ok(report.filter(|_| is_valid))
}

fn read_fields(fields: &mut Fields, output: Option<&RawValue>, now: Timestamp) -> Option<RunReport> {
    let types = one_of(ResourceType::OF_RUNS.map(ResourceType::as_str));
    let resource_type = fields.parsed("resourceType", &types, ResourceType::parse_run_type);
    let resource_type = fields.required("resourceType", resource_type);
    let resource_id = fields.string_matching("resourceId", resource_id_fault);
    let resource_id = fields.required("resourceId", resource_id);
    let resource_name = fields.string_matching("resourceName", name_fault);
    let run_id = fields.string_matching("runId", run_id_fault);
    let run_id = fields.required("runId", run_id);
    let status = fields.parsed("status", RUN_STATUS_FORM, Trigger::parse_run);
    let status = fields.required("status", status);
    let trigger_type = fields.parsed("triggerType", TRIGGER_TYPE_FORM, TriggerType::parse);
    let started_at = instant(fields, "startedAt");
    let completed_at = instant(fields, "completedAt");
    if let Some(fault) = order_fault(started_at, completed_at) {
        fields.refuse("startedAt", fault);
    }
    let duration_ms = fields.integer("durationMs", 0, INTEGER_MAX);
    let row_count = fields.integer("rowCount", 0, INTEGER_MAX);
    let error_message = fields.text("errorMessage");
    fields.know("output");
    // Of a failure it is dropped: a failure is never refused for its output.
    let must_be_kept = status != Some(Trigger::Failure);
    if let Some(fault) = output.filter(|_| must_be_kept).and_then(|output| output_fault(output.get())) {
        fields.refuse("output", fault);
    }
    let deep_link = fields.string_matching("deepLink", link_fault);
    let sent = SentRun {
        resource_type: resource_type?,
        resource_id: resource_id?,
        run_id: run_id?,
        trigger: status?,
        resource_name,
        trigger_type,
        started_at,
        completed_at,
        duration_ms,
        row_count,
        error_message,
        output,
        deep_link,
    };
    Some(sent.into_report(now))
}

/// Whether the JSON text is a number without fraction and exponent.
fn is_integer(json: &str) -> bool {
    let digits = json.strip_prefix('-').unwrap_or(json);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn instant(fields: &mut Fields, key: &'static str) -> Option<Timestamp> {
    let instant = fields.parsed(key, INSTANT_FORM, Timestamp::parse)?;
    match instant_fault(instant) {
        None => Some(instant),
        Some(fault) => {
            fields.refuse(key, fault);
            None
        }
    }
}
