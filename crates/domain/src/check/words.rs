//! How checks put numbers, texts and certificates into words. What came from outside is shortened, and loses its
//! control characters: a reason is one line.

use super::Certificate;
use crate::text::{truncate_chars, with_thousands_separators};
use crate::time::Timestamp;

/// What was found is cut at this many characters in an assertion's result.
pub(super) const ACTUAL_CHARS_MAX: usize = 200;
/// Texts are cut at this many characters within a sentence.
const QUOTED_CHARS_MAX: usize = 100;
/// An issuer's name is cut at this many characters.
const ISSUER_CHARS_MAX: usize = 60;

const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;

/// The beginning of the text, on one line.
pub(super) fn shown(text: &str, chars_max: usize) -> String {
    truncate_chars(text, chars_max).chars().map(|c| if disturbs(c) { ' ' } else { c }).collect()
}

/// Whether the character breaks the line or turns its direction, so that what stands around it would read otherwise.
fn disturbs(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text in quotes, shortened.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text, QUOTED_CHARS_MAX))
}

/// The text without quotes, shortened alike.
pub(super) fn bare(text: &str) -> String {
    shown(text, QUOTED_CHARS_MAX)
}

/// `one` or `many` of them: `1 day`, `3 days`.
pub(super) fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", with_thousands_separators(number), if number == 1 { "" } else { "s" })
}

/// `200`, `200 or 204`, `200, 201 or 204`; of more than six the first five are named and the others counted.
pub(super) fn any_of(codes: &[u16]) -> String {
    let mut words: Vec<String> = Vec::new();
    for code in codes.iter().map(u16::to_string) {
        if !words.contains(&code) {
            words.push(code);
        }
    }
    if words.len() > 6 {
        let others = words.len() - 5;
        words.truncate(5);
        words.push(format!("{others} others"));
    }
    match words.split_last() {
        None => "no status code".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} or {last}", before.join(", ")),
    }
}

/// How the certificate stands: `certificate of R11 ends in 3 days, on 2026-05-05`.
pub(super) fn certificate(certificate: &Certificate, now: Timestamp) -> String {
    let (not_after, date) = (certificate.not_after, certificate.not_after.to_jiff().strftime("%Y-%m-%d"));
    let issuer = issuer_name(&certificate.issuer).map(|name| format!(" of {name}")).unwrap_or_default();
    if not_after < now {
        format!("certificate{issuer} ended {} ago, on {date}", span(now.since_ms(not_after)))
    } else {
        format!("certificate{issuer} ends in {}, on {date}", span(not_after.since_ms(now)))
    }
}

/// Whole days, or hours where there are none.
fn span(ms: u64) -> String {
    match (ms / DAY_MS, ms / HOUR_MS) {
        (0, 0) => "less than an hour".to_owned(),
        (0, hours) => counted(hours, "hour"),
        (days, _) => counted(days, "day"),
    }
}

/// Whole days from `now` until the certificate ends; negative once it has.
pub(super) fn days_left(certificate: &Certificate, now: Timestamp) -> i64 {
    certificate.not_after.unix_ms().saturating_sub(now.unix_ms()).div_euclid(DAY_MS as i64)
}

/// The common name of a distinguished name such as `CN=R11, O=Let's Encrypt, C=US`, else its organisation, else all.
fn issuer_name(issuer: &str) -> Option<String> {
    let part = |wanted: &str| {
        parts(issuer).into_iter().find_map(|part| {
            let (key, value) = part.split_once('=')?;
            let value = value.trim().trim_matches('"');
            (key.trim().eq_ignore_ascii_case(wanted) && !value.is_empty()).then(|| value.to_owned())
        })
    };
    let whole = || (!issuer.trim().is_empty()).then(|| issuer.trim().to_owned());
    part("CN").or_else(|| part("O")).or_else(whole).map(|name| shown(&name, ISSUER_CHARS_MAX))
}

/// The parts between commas; a backslash before a comma makes it one of the name (RFC 4514), and so do quotes.
fn parts(name: &str) -> Vec<String> {
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
    fn numbers_and_lists_read_well() {
        assert_eq!((counted(1, "day"), counted(0, "day")), ("1 day".to_owned(), "0 days".to_owned()));
        assert_eq!(counted(1_200, "day"), "1,200 days");
        for (codes, words) in [
            (&[][..], "no status code"),
            (&[200], "200"),
            (&[200, 204, 200], "200 or 204"),
            (&[200, 201, 202, 203, 204, 205], "200, 201, 202, 203, 204 or 205"),
            (&[200, 201, 202, 203, 204, 205, 206], "200, 201, 202, 203, 204 or 2 others"),
        ] {
            assert_eq!(any_of(codes), words);
        }
    }

    #[test]
    fn what_came_from_outside_is_one_short_line() {
        assert_eq!(quoted("a\r\nb\0c"), "\"a  b c\"");
        assert_eq!(quoted("a\u{2028}b\u{202e}c"), "\"a b c\"", "no other line, no other direction");
        assert_eq!(shown(&"é".repeat(300), 10), format!("{}…", "é".repeat(9)));
    }

    #[test]
    fn an_issuer_is_called_by_its_name() {
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
    fn a_certificate_says_when_it_ends() {
        let certificate_until = |not_after: &str| Certificate {
            not_after: Timestamp::parse(not_after).unwrap(),
            issuer: "CN=R11".into(),
            subject: "CN=a".into(),
        };
        let now = Timestamp::parse("2026-05-02T04:00:00Z").unwrap();
        for (not_after, words, days) in [
            ("2026-05-05T04:00:00Z", "certificate of R11 ends in 3 days, on 2026-05-05", 3),
            ("2026-05-04T03:59:59Z", "certificate of R11 ends in 1 day, on 2026-05-04", 1),
            ("2026-05-03T03:59:59Z", "certificate of R11 ends in 23 hours, on 2026-05-03", 0),
            ("2026-05-02T04:00:00Z", "certificate of R11 ends in less than an hour, on 2026-05-02", 0),
            ("2026-05-02T03:59:59Z", "certificate of R11 ended less than an hour ago, on 2026-05-02", -1),
            ("2026-04-30T04:00:00Z", "certificate of R11 ended 2 days ago, on 2026-04-30", -2),
        ] {
            let certificate_then = certificate_until(not_after);
            assert_eq!(certificate(&certificate_then, now), words);
            assert_eq!(days_left(&certificate_then, now), days, "{not_after}");
        }
    }
}
