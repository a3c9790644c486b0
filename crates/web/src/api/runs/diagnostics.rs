//! The slow path: parses bodies that the fast path rejected, and collects every violation with its JSON pointer. A body may
//! still turn out valid, such as one with escape sequences in enumerated values.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tidings_app::contract::{self, Input};
use tidings_domain::surrogate::replace_lone_surrogates;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations, pointer};
use tidings_engine::accept::RunReport;

use super::{RUNS_MAX, Reports, RunDraft, not_a_report};
use crate::body::BodyFormat;
use crate::json::{self, Members};
use crate::problem::{Code, Problem};

/// Violations after which the rest of a batch is not read: enough to show, and to know that there are many.
const VIOLATIONS_MAX: usize = 10_000;

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
    let (mut output, mut not_unicode) = (None, Violations::new());
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
            "errorMessage" => json::read(replace_lone_surrogates(text, "\\ufffd").as_bytes())?,
            _ => match json::read(text.as_bytes()) {
                Ok(value) => value,
                Err(problem) if problem.code() == Code::Invalid => {
                    let within = |violation: Violation| violation.under(pointer(&key));
                    not_unicode.extend(problem.into_violations().into_iter().map(within));
                    continue;
                }
                Err(problem) => return Err(problem),
            },
        };
        object.insert(key, value);
    }
    let read = match contract::read::<RunDraft>(Value::Object(object)) {
        Ok(input) => input,
        Err(found) => {
            violations.extend(found.into_iter().chain(not_unicode).map(|violation| violation.under(&at)));
            return Ok(None);
        }
    };
    // Those that are not Unicode are missing from the object, and would be reported as such, too.
    let mut input = Input { value: read.value, violations: not_unicode };
    input.refuse(read.violations);
    match RunDraft::into_report(input, output, now) {
        Ok(report) => Ok(Some(report)),
        Err(found) => {
            violations.extend(found.into_iter().map(|violation| violation.under(&at)));
            Ok(None)
        }
    }
}

/// Whether the JSON text is a number without fraction and exponent.
fn is_integer(json: &str) -> bool {
    let digits = json.strip_prefix('-').unwrap_or(json);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
