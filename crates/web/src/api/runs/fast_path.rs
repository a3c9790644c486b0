//! The fast path: parses valid bodies in one pass. Returns `None` for all others, which `diagnostics` then explains.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tidings_app::runs::{
    SentRun, instant_fault, link_fault, name_fault, order_fault, output_fault, resource_id_fault, run_id_fault,
};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{Trigger, TriggerType};
use tidings_engine::accept::RunReport;

use super::{RUNS_MAX, Reports};
use crate::body::BodyFormat;

/// A run in a body. Enumerated values and timestamps borrow from it, which serde_json allows for strings without escape
/// sequences only; others go to the slow path.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RunRequest<'a> {
    resource_type: &'a str,
    resource_id: ExternalId,
    resource_name: Option<String>,
    run_id: ExternalId,
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

/// An id of the caller's: a text, or an integer, which is taken as its digits.
struct ExternalId(String);

impl<'de> Deserialize<'de> for ExternalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExternalIdVisitor)
    }
}

struct ExternalIdVisitor;

impl Visitor<'_> for ExternalIdVisitor {
    type Value = ExternalId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an integer")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ExternalId, E> {
        Ok(ExternalId(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<ExternalId, E> {
        Ok(ExternalId(text))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<ExternalId, E> {
        Ok(ExternalId(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<ExternalId, E> {
        Ok(ExternalId(number.to_string()))
    }
}

/// The largest integer that every JSON parser keeps exactly: 2⁵³ − 1 (RFC 8259, section 6).
const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Reads the runs of a body if all of them are valid.
pub(super) fn read(bytes: &[u8], format: BodyFormat, now: Timestamp) -> Option<Reports> {
    // Validates UTF-8 once for the whole body instead of string by string.
    let text = std::str::from_utf8(bytes).ok()?;
    match (format, bytes.trim_ascii_start().first()?) {
        (BodyFormat::Json, b'{') => {
            let only: RunRequest<'_> = serde_json::from_str(text).ok()?;
            Some(Reports { runs: vec![only.validate(now)?], is_list: false })
        }
        (BodyFormat::Json, b'[') => {
            let bodies: Vec<RunRequest<'_>> = serde_json::from_str(text).ok()?;
            read_batch(bodies.into_iter().map(Some), now)
        }
        (BodyFormat::Json, _) => None,
        (BodyFormat::Lines, _) => {
            let lines = text.split('\n').filter(|line| !line.trim_ascii().is_empty());
            read_batch(lines.map(|line| serde_json::from_str(line).ok()), now)
        }
    }
}

fn read_batch<'a>(bodies: impl Iterator<Item = Option<RunRequest<'a>>>, now: Timestamp) -> Option<Reports> {
    let runs: Vec<_> = bodies.take(RUNS_MAX + 1).map(|body| body?.validate(now)).collect::<Option<_>>()?;
    (1..=RUNS_MAX).contains(&runs.len()).then_some(Reports { runs, is_list: true })
}

impl RunRequest<'_> {
    fn validate(self, now: Timestamp) -> Option<RunReport> {
        let started_at = optional(self.started_at, instant)?;
        let completed_at = optional(self.completed_at, instant)?;
        let (resource_id, run_id) = (self.resource_id.0, self.run_id.0);
        let trigger = Trigger::parse_run(self.status)?;
        let is_success = trigger == Trigger::Success;
        let is_valid = resource_id_fault(&resource_id)
            .or_else(|| run_id_fault(&run_id))
            .or_else(|| name_fault(self.resource_name.as_deref()?))
            .or_else(|| link_fault(self.deep_link.as_deref()?))
            .or_else(|| order_fault(started_at, completed_at))
            .or_else(|| output_fault(self.output.filter(|_| is_success)?.get()))
            .is_none();
        let is_exact = |number: Option<u64>| number.is_none_or(|number| number <= INTEGER_MAX);
        if !(is_valid && is_exact(self.duration_ms) && is_exact(self.row_count)) {
            return None;
        }
        let sent = SentRun {
            resource_type: ResourceType::parse_run_type(self.resource_type)?,
            resource_id,
            run_id,
            trigger,
            resource_name: self.resource_name,
            trigger_type: optional(self.trigger_type, TriggerType::parse)?,
            started_at,
            completed_at,
            duration_ms: self.duration_ms,
            row_count: self.row_count,
            error_message: self.error_message,
            output: self.output,
            deep_link: self.deep_link,
        };
        Some(sent.into_report(now))
    }
}

/// Parses a string that may be absent. The outer `None`: it is present and invalid.
fn optional<T>(text: Option<&str>, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    text.map_or(Some(None), |text| read(text).map(Some))
}

fn instant(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).filter(|instant| instant_fault(*instant).is_none())
}
