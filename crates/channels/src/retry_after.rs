//! `Retry-After` (RFC 9110, section 10.2.3), in every form that receivers send.

use std::time::UNIX_EPOCH;

use http::{HeaderMap, StatusCode};
use tidings_domain::retry::RETRY_AFTER_MS_MAX;
use tidings_domain::time::Timestamp;

use crate::egress::HttpResponse;

/// How long a response asks to wait, in milliseconds: `Retry-After` of 429 and 503. Other statuses give it no meaning
/// for a request that may be repeated.
pub fn retry_after_ms(response: &HttpResponse, now: Timestamp) -> Option<u64> {
    let has_meaning = matches!(response.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    if has_meaning { retry_after(&response.headers, now) } else { None }
}

/// The `Retry-After` header as milliseconds from `now`, whatever the status.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    parse_retry_after(headers.get(http::header::RETRY_AFTER)?.to_str().ok()?, now)
}

/// Parses a value: seconds, also with a fraction, or a date (IMF-fixdate, RFC 850 or asctime). At most
/// [`RETRY_AFTER_MS_MAX`]. None for zero, a past date, a negative number and nonsense: none of them asks to wait.
pub fn parse_retry_after(value: &str, now: Timestamp) -> Option<u64> {
    let value = value.trim();
    let is_number = value.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number {
        return seconds_to_ms(value.parse().ok()?);
    }
    Some(parse_date(value)?.since_ms(now)).filter(|ms| *ms > 0).map(|ms| ms.min(RETRY_AFTER_MS_MAX))
}

/// Seconds as vendors send them in bodies and headers, in milliseconds: rounded up, at most [`RETRY_AFTER_MS_MAX`]. None
/// unless it is more than zero.
pub fn seconds_to_ms(seconds: f64) -> Option<u64> {
    // A float that is too large for the integer becomes the largest one, and NaN fails the comparison.
    (seconds > 0.0).then(|| ((seconds * 1_000.0).ceil() as u64).min(RETRY_AFTER_MS_MAX))
}

fn parse_date(value: &str) -> Option<Timestamp> {
    if let Ok(at) = httpdate::parse_http_date(value) {
        return Some(Timestamp::from_unix_ms(at.duration_since(UNIX_EPOCH).ok()?.as_millis() as i64));
    }
    // Real servers send wrong weekdays and zones other than GMT; the rest of the date decides.
    let at = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(value).ok()?;
    Some(Timestamp::from_unix_ms(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_retry_after_reads_every_form() {
        // 1994-11-06T08:48:37Z, one minute before the example of RFC 9110.
        let now = Timestamp::from_unix_ms(784_111_717_000);
        for (value, expected) in [
            ("7", Some(7_000)),
            (" 7 ", Some(7_000)),
            ("1.2", Some(1_200)),
            ("0.3764", Some(377)),
            (".5", Some(500)),
            ("0", None),
            ("0.0", None),
            ("-5", None),
            ("+5", None),
            ("1.2.3", None),
            ("1e3", None),
            ("inf", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
            ("3600", Some(RETRY_AFTER_MS_MAX)),
            ("172800", Some(RETRY_AFTER_MS_MAX)),
            ("9999999999999999999999999", Some(RETRY_AFTER_MS_MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60_000)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(60_000)),
            ("Sun Nov  6 08:49:37 1994", Some(60_000)),
            ("Tue, 06 Nov 1994 08:49:37 GMT", Some(60_000)),
            ("Sun, 06 Nov 1994 09:49:37 +0100", Some(60_000)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", None),
            ("Fri, 31 Dec 1993 23:59:59 GMT", None),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(RETRY_AFTER_MS_MAX)),
        ] {
            assert_eq!(parse_retry_after(value, now), expected, "{value}");
        }
    }
}
