//! Formats numbers, texts and certificates for the reasons and descriptions of checks. Text from outside is truncated and
//! stripped of control characters, so that a reason is always one line.

use super::Certificate;
use crate::endpoint::ExpectedStatus;
use crate::text::{truncate_chars, with_thousands_separators};
use crate::time::Timestamp;

/// Longest `actual` of an assertion result, in characters.
pub(super) const ACTUAL_CHARS_MAX: usize = 200;
/// Longest text within a sentence, in characters.
const QUOTED_CHARS_MAX: usize = 100;
/// Longest issuer name, in characters.
const ISSUER_CHARS_MAX: usize = 60;

const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;

/// The text on one line, truncated.
pub(super) fn single_line(text: &str, chars_max: usize) -> String {
    truncate_chars(text, chars_max).chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

/// Whether the character breaks the line or changes the writing direction, which would distort the text around it.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text in quotes, truncated.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", single_line(text, QUOTED_CHARS_MAX))
}

/// The text without quotes, truncated to the same length.
pub(super) fn shortened(text: &str) -> String {
    single_line(text, QUOTED_CHARS_MAX)
}

/// `1 day`, `3 days`.
pub(super) fn pluralize(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", with_thousands_separators(number), if number == 1 { "" } else { "s" })
}

/// `200`, `200, 204-206`; of more than six the first five are listed and the others counted.
pub(super) fn join_codes(codes: &[ExpectedStatus]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for code in codes.iter().map(ExpectedStatus::to_string) {
        if !parts.contains(&code) {
            parts.push(code);
        }
    }
    if parts.len() > 6 {
        let others = parts.len() - 5;
        parts.truncate(5);
        return format!("{} or {others} others", parts.join(", "));
    }
    if parts.is_empty() { "no status code".to_owned() } else { parts.join(", ") }
}

/// Such as `certificate of R11 ends in 3 days, on 2026-05-05`.
pub(super) fn describe_certificate(certificate: &Certificate, now: Timestamp) -> String {
    let (not_after, date) = (certificate.not_after, certificate.not_after.to_jiff().strftime("%Y-%m-%d"));
    let issuer = issuer_name(&certificate.issuer).map(|name| format!(" of {name}")).unwrap_or_default();
    if not_after < now {
        format!("certificate{issuer} ended {} ago, on {date}", format_remaining(now.since_ms(not_after)))
    } else {
        format!("certificate{issuer} ends in {}, on {date}", format_remaining(not_after.since_ms(now)))
    }
}

/// Whole days, or whole hours if less than a day.
fn format_remaining(ms: u64) -> String {
    match (ms / DAY_MS, ms / HOUR_MS) {
        (0, 0) => "less than an hour".to_owned(),
        (0, hours) => pluralize(hours, "hour"),
        (days, _) => pluralize(days, "day"),
    }
}

/// Whole days from `now` until the certificate expires, rounded down; negative once it has expired.
pub(super) fn days_left(certificate: &Certificate, now: Timestamp) -> i64 {
    certificate.not_after.unix_ms().saturating_sub(now.unix_ms()).div_euclid(DAY_MS as i64)
}

/// The common name of a distinguished name such as `CN=R11, O=Let's Encrypt, C=US`, else its organisation, else all.
fn issuer_name(issuer: &str) -> Option<String> {
    let attribute = |wanted: &str| {
        split_name(issuer).into_iter().find_map(|part| {
            let (key, value) = part.split_once('=')?;
            let value = value.trim().trim_matches('"');
            (key.trim().eq_ignore_ascii_case(wanted) && !value.is_empty()).then(|| value.to_owned())
        })
    };
    let whole = || (!issuer.trim().is_empty()).then(|| issuer.trim().to_owned());
    attribute("CN").or_else(|| attribute("O")).or_else(whole).map(|name| single_line(&name, ISSUER_CHARS_MAX))
}

/// The attributes of a distinguished name (RFC 4514), separated by `,` or `+`. A separator after a backslash or in quotes
/// belongs to the value.
fn split_name(name: &str) -> Vec<String> {
    let (mut parts, mut part, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => part.extend(chars.next()),
            '"' => {
                is_quoted = !is_quoted;
                part.push(c);
            }
            ',' | '+' if !is_quoted => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_code_lists_are_formatted() {
        assert_eq!((pluralize(1, "day"), pluralize(0, "day")), ("1 day".to_owned(), "0 days".to_owned()));
        assert_eq!(pluralize(1_200, "day"), "1,200 days");
        for (codes, text) in [
            (&[][..], "no status code"),
            (&["200"], "200"),
            (&["200", "204-206", "200"], "200, 204-206"),
            (&["200", "201", "202", "203", "204", "205"], "200, 201, 202, 203, 204, 205"),
            (&["200", "201", "202", "203", "204", "205", "206"], "200, 201, 202, 203, 204 or 2 others"),
        ] {
            let codes: Vec<_> = codes.iter().filter_map(|code| ExpectedStatus::parse(code)).collect();
            assert_eq!(join_codes(&codes), text);
        }
    }

    #[test]
    fn foreign_text_is_one_truncated_line() {
        assert_eq!(quoted("a\r\nb\0c"), "\"a  b c\"");
        assert_eq!(quoted("a\u{2028}b\u{202e}c"), "\"a b c\"", "neither line breaks nor direction marks");
        assert_eq!(single_line(&"é".repeat(300), 10), format!("{}…", "é".repeat(9)));
    }

    #[test]
    fn issuer_name_prefers_common_name_then_organisation() {
        for (issuer, name) in [
            ("CN=R11, O=Let's Encrypt, C=US", Some("R11")),
            ("C=US, O=Let's Encrypt, CN=R11", Some("R11")),
            ("O=Example\\, Inc., C=US", Some("Example, Inc.")),
            ("O=\"Example, Inc.\", C=US", Some("Example, Inc.")),
            ("C=US+cn=A", Some("A")),
            ("something else", Some("something else")),
            ("CN=, O=B", Some("B")),
            (" ", None),
        ] {
            assert_eq!(issuer_name(issuer).as_deref(), name, "{issuer}");
        }
    }

    #[test]
    fn certificate_description_states_its_expiry() {
        let certificate_until = |not_after: &str| Certificate {
            not_after: Timestamp::parse(not_after).unwrap(),
            issuer: "CN=R11".into(),
            subject: "CN=a".into(),
        };
        let now = Timestamp::parse("2026-05-02T04:00:00Z").unwrap();
        for (not_after, text, days) in [
            ("2026-05-05T04:00:00Z", "certificate of R11 ends in 3 days, on 2026-05-05", 3),
            ("2026-05-04T03:59:59Z", "certificate of R11 ends in 1 day, on 2026-05-04", 1),
            ("2026-05-03T03:59:59Z", "certificate of R11 ends in 23 hours, on 2026-05-03", 0),
            ("2026-05-02T04:00:00Z", "certificate of R11 ends in less than an hour, on 2026-05-02", 0),
            ("2026-05-02T03:59:59Z", "certificate of R11 ended less than an hour ago, on 2026-05-02", -1),
            ("2026-04-30T04:00:00Z", "certificate of R11 ended 2 days ago, on 2026-04-30", -2),
        ] {
            let expiring = certificate_until(not_after);
            assert_eq!(describe_certificate(&expiring, now), text);
            assert_eq!(days_left(&expiring, now), days, "{not_after}");
        }
    }
}
