//! Checks by an external prober, which reports its own verdict.

use super::describe::single_line;
use super::{Check, CheckStatus, REASON_CHARS_MAX, Timings};
use crate::time::Timestamp;

/// The verdict of an external prober.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalCheck {
    pub status: CheckStatus,
    pub reason: Option<String>,
    /// The HTTP status code, if there was one.
    pub status_code: Option<u16>,
    pub response_time_ms: Option<u32>,
    pub checked_at: Timestamp,
}

impl Check {
    /// The check for an external verdict. The status is adopted as reported; the reason is reduced to one line of at most
    /// [`REASON_CHARS_MAX`] characters, and dropped if it is blank.
    pub fn from_external(reported: ExternalCheck) -> Self {
        let ExternalCheck { status, reason, status_code, response_time_ms, checked_at } = reported;
        let reason =
            reason.map(|text| single_line(text.trim(), REASON_CHARS_MAX)).filter(|text| !text.trim().is_empty());
        Self {
            checked_at,
            status,
            reason,
            failure: None,
            status_code,
            response_time_ms,
            timings: Timings { total_ms: response_time_ms.unwrap_or(0), ..Timings::default() },
            certificate: None,
            assertions: Vec::new(),
        }
    }
}

impl Check {
    /// The check of an external endpoint of which nothing was reported for this long.
    pub fn of_silence(heartbeat_seconds: u32, at: Timestamp) -> Self {
        let reason = format!("nothing reported for {}", format_period(heartbeat_seconds));
        Self::from_external(ExternalCheck {
            status: CheckStatus::Down,
            reason: Some(reason),
            status_code: None,
            response_time_ms: None,
            checked_at: at,
        })
    }
}

/// `45 s`, `5 min`, `1 min 30 s`, `2 h`, `26 h 5 min`.
fn format_period(seconds: u32) -> String {
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let parts = parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number} {unit}"));
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_external(status: CheckStatus, reason: Option<&str>) -> ExternalCheck {
        ExternalCheck {
            status,
            reason: reason.map(str::to_owned),
            status_code: Some(502),
            response_time_ms: Some(81),
            checked_at: Timestamp::from_unix_ms(7),
        }
    }

    #[test]
    fn external_check_keeps_the_reported_status() {
        for status in CheckStatus::ALL {
            let check = Check::from_external(from_external(status, Some("HTTP 502 — expected 200")));
            assert_eq!((check.status, check.reason.as_deref()), (status, Some("HTTP 502 — expected 200")));
            assert_eq!((check.status_code, check.response_time_ms, check.timings.total_ms), (Some(502), Some(81), 81));
            assert_eq!((check.checked_at, check.failure), (Timestamp::from_unix_ms(7), None));
            assert!(check.certificate.is_none() && check.assertions.is_empty());
        }
    }

    #[test]
    fn external_check_leaves_unreported_fields_empty() {
        let minimal =
            ExternalCheck { status_code: None, response_time_ms: None, ..from_external(CheckStatus::Down, None) };
        let check = Check::from_external(minimal);
        assert_eq!((check.status_code, check.response_time_ms, check.reason), (None, None, None));
        for blank in ["", " \n", "\0\0", "\u{2028}"] {
            assert_eq!(Check::from_external(from_external(CheckStatus::Down, Some(blank))).reason, None, "{blank:?}");
        }
    }

    #[test]
    fn silence_is_down_with_the_period_in_words() {
        for (seconds, words) in
            [(45, "45 s"), (300, "5 min"), (90, "1 min 30 s"), (7_200, "2 h"), (93_900, "26 h 5 min")]
        {
            let check = Check::of_silence(seconds, Timestamp::from_unix_ms(7));
            assert_eq!((check.status, check.checked_at), (CheckStatus::Down, Timestamp::from_unix_ms(7)));
            assert_eq!(check.reason, Some(format!("nothing reported for {words}")));
        }
    }

    #[test]
    fn external_reason_is_one_truncated_line() {
        let reason =
            |text: &str| Check::from_external(from_external(CheckStatus::Down, Some(text))).reason.unwrap_or_default();
        assert_eq!(reason(" a\r\nb\u{202e}c "), "a  b c");
        assert_eq!(reason(&"é".repeat(REASON_CHARS_MAX)), "é".repeat(REASON_CHARS_MAX));
        let cut = reason(&"é".repeat(REASON_CHARS_MAX + 1));
        assert_eq!(cut, format!("{}…", "é".repeat(REASON_CHARS_MAX - 1)));
    }
}
