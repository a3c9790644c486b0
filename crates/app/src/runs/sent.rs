//! A run as the caller sent it, and what is kept of it: defaults, a fingerprint, and texts cut to their bounds.

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tidings_domain::resource::ResourceType;
use tidings_domain::run::{Run, TruncatedField};
use tidings_domain::text::{is_blank, with_thousands_separators};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{Trigger, TriggerType};
use tidings_engine::accept::RunReport;

use super::validation::output_fault;

/// Bytes that are kept of an error message.
const ERROR_BYTES_MAX: usize = 16 * 1_024;
/// The longest note about what was left out.
const OMISSION_BYTES_MAX: usize = 64;

/// A run without violations, before defaults.
pub struct SentRun<'a> {
    pub resource_type: ResourceType,
    pub resource_id: String,
    pub run_id: String,
    pub trigger: Trigger,
    pub resource_name: Option<String>,
    pub trigger_type: Option<TriggerType>,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub duration_ms: Option<u64>,
    pub row_count: Option<u64>,
    /// Of any length.
    pub error_message: Option<String>,
    /// Of a failure, of any form: it is dropped if it has a fault.
    pub output: Option<&'a RawValue>,
    pub deep_link: Option<String>,
}

impl SentRun<'_> {
    /// The run with defaults, its fingerprint, and its texts cut to their bounds.
    pub fn into_report(mut self, now: Timestamp) -> RunReport {
        // A name of blanks names nothing: messages then show the id.
        self.resource_name = self.resource_name.filter(|name| !is_blank(name));
        let fingerprint = self.fingerprint();
        let mut truncated = Vec::new();
        let error_message = self.error_message.map(|text| {
            if text.len() <= ERROR_BYTES_MAX {
                return text;
            }
            truncated.push(TruncatedField::ErrorMessage);
            keep_head_and_tail(&text, ERROR_BYTES_MAX)
        });
        let output = self.output.filter(|output| {
            let is_kept = self.trigger == Trigger::Success || output_fault(output.get()).is_none();
            if !is_kept {
                truncated.push(TruncatedField::Output);
            }
            is_kept
        });
        RunReport {
            resource_type: self.resource_type,
            resource_id: self.resource_id,
            run_id: self.run_id,
            trigger: self.trigger,
            run: Run {
                resource_name: self.resource_name,
                trigger_type: self.trigger_type,
                started_at: self.started_at,
                completed_at: self.completed_at.unwrap_or(now),
                duration_ms: self.duration_ms,
                row_count: self.row_count,
                error_message,
                output: output.map(RawValue::to_owned),
                deep_link: self.deep_link,
                truncated,
            },
            fingerprint,
        }
    }

    /// A hash of all facts but the run's identity. It is stored, so it must never depend on the build.
    fn fingerprint(&self) -> i64 {
        let mut hash = Sha256::new();
        let instant = |instant: Option<Timestamp>| instant.map(|it| it.unix_ms().to_le_bytes());
        let number = |number: Option<u64>| number.map(u64::to_le_bytes);
        let mut field = |value: Option<&[u8]>| match value {
            None => hash.update([0]),
            Some(bytes) => {
                hash.update([1]);
                hash.update((bytes.len() as u64).to_le_bytes());
                hash.update(bytes);
            }
        };
        field(self.resource_name.as_deref().map(str::as_bytes));
        field(self.trigger_type.as_ref().map(TriggerType::as_str).map(str::as_bytes));
        field(instant(self.started_at).as_ref().map(<[u8; 8]>::as_slice));
        field(instant(self.completed_at).as_ref().map(<[u8; 8]>::as_slice));
        field(number(self.duration_ms).as_ref().map(<[u8; 8]>::as_slice));
        field(number(self.row_count).as_ref().map(<[u8; 8]>::as_slice));
        field(self.error_message.as_deref().map(str::as_bytes));
        field(self.output.map(RawValue::get).map(str::as_bytes));
        field(self.deep_link.as_deref().map(str::as_bytes));
        let hash = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        i64::from_le_bytes(first)
    }
}

/// The beginning and the end of a text that is too long, with a note between them. Some errors begin with what happened,
/// others (stack traces, build logs) end with it.
fn keep_head_and_tail(text: &str, bytes_max: usize) -> String {
    let half = (bytes_max - OMISSION_BYTES_MAX) / 2;
    let head = (0..=half).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let tail = (text.len() - half..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let omitted = with_thousands_separators((tail - head) as u64);
    format!("{}\n… {omitted} bytes omitted …\n{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_keeps_its_beginning_and_end() {
        for filler in ["x", "ä", "🦀"] {
            let text = format!("first line\n{}\nlast line", filler.repeat(200_000 / filler.len()));
            let kept = keep_head_and_tail(&text, ERROR_BYTES_MAX);
            assert!(kept.len() <= ERROR_BYTES_MAX && kept.len() > ERROR_BYTES_MAX - 80, "{}", kept.len());
            assert!(kept.starts_with("first line\n") && kept.ends_with("\nlast line"));
            let (head, rest) = kept.split_once("\n… ").unwrap();
            let (omitted, tail) = rest.split_once(" bytes omitted …\n").unwrap();
            let omitted: usize = omitted.replace(',', "").parse().unwrap();
            assert_eq!(head.len() + omitted + tail.len(), text.len());
        }
    }
}
