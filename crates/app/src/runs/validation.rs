//! Checks of a run's fields, for the fast and the slow path. Each returns what the field must be, or `None` if it is valid.

use tidings_domain::resource::{validate_external_id, validate_resource_id};
use tidings_domain::surrogate::lone_surrogate;
use tidings_domain::text::has_control;
use tidings_domain::time::Timestamp;
use url::Url;

const NAME_CHARS_MAX: usize = 200;
const LINK_BYTES_MAX: usize = 2_048;
/// Bytes of the output as JSON.
const OUTPUT_BYTES_MAX: usize = 256 * 1_024;
/// Levels of nesting of an output. Many JSON parsers stop at 128, and in webhook bodies the output is nested itself.
const OUTPUT_DEPTH_MAX: usize = 100;
/// The years 2000 to 2099 in milliseconds. An instant outside comes from a wrong unit or a wrong clock.
const INSTANTS: std::ops::RangeInclusive<i64> = 946_684_800_000..=4_102_444_799_999;

/// Of the id of a resource.
pub fn resource_id_fault(text: &str) -> Option<&'static str> {
    validate_resource_id(text)
}

/// Of the id of a run.
pub fn run_id_fault(text: &str) -> Option<&'static str> {
    validate_external_id(text)
}

/// Of the name of a resource.
pub fn name_fault(text: &str) -> Option<&'static str> {
    if text.len() > NAME_CHARS_MAX && text.chars().count() > NAME_CHARS_MAX {
        Some("must be at most 200 characters")
    } else if has_control(text) {
        Some("must not hold control characters")
    } else {
        None
    }
}

/// Of a link to a page.
pub fn link_fault(text: &str) -> Option<&'static str> {
    if text.len() > LINK_BYTES_MAX {
        return Some("must be at most 2,048 bytes");
    }
    if is_plain_link(text) {
        return None;
    }
    // The URL parser strips whitespace and control characters, but clients that open the link may not.
    let is_clean = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let url = Url::parse(text).ok().filter(|url| is_clean && matches!(url.scheme(), "http" | "https"));
    url.is_none().then_some("must be a URL with http or https, such as https://example.com/runs/1")
}

/// A cheap test that accepts most valid links, so that they skip the URL parser: a host of plain labels that ends in a
/// letter, followed by visible ASCII.
fn is_plain_link(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let rest = rest.as_bytes();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    host.len() <= 100
        && host.first().is_some_and(u8::is_ascii_lowercase)
        && host.last().is_some_and(u8::is_ascii_lowercase)
        && host.split(|byte| *byte == b'.').all(is_plain_label)
        && rest.iter().all(u8::is_ascii_graphic)
}

/// Whether a label of a host name needs no interpretation: neither a number nor Punycode (`xn--`).
fn is_plain_label(label: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    (1..=63).contains(&label.len())
        && label.iter().all(is_plain)
        && !label.starts_with(b"0x")
        && !label.starts_with(b"xn--")
}

/// Of an instant.
pub fn instant_fault(instant: Timestamp) -> Option<&'static str> {
    (!INSTANTS.contains(&instant.unix_ms())).then_some("must be in the years 2000 to 2099")
}

/// `completedAt` may be in the future: clocks of reporters may be ahead.
pub fn order_fault(started_at: Option<Timestamp>, completed_at: Option<Timestamp>) -> Option<&'static str> {
    let reversed = started_at.zip(completed_at).is_some_and(|(started, completed)| started > completed);
    reversed.then_some("must not be later than completedAt")
}

/// The message about text with half of a surrogate pair, which no receiver could decode.
const NOT_UNICODE: &str = "must be Unicode text: \\ud800 to \\udfff are only valid in pairs";

/// Of an output, which is valid JSON already.
pub fn output_fault(json: &str) -> Option<&'static str> {
    if json.len() > OUTPUT_BYTES_MAX {
        Some("must be at most 256 KiB (262,144 bytes) of JSON")
    } else if count_brackets(json) > OUTPUT_DEPTH_MAX && depth(json) > OUTPUT_DEPTH_MAX {
        Some("must not nest deeper than 100 levels")
    } else if lone_surrogate(json).is_some() {
        Some(NOT_UNICODE)
    } else {
        None
    }
}

/// The number of opening brackets, those in strings included: an upper bound of the depth. The compiler vectorises this loop,
/// but not that of [`depth`], which most outputs therefore skip.
fn count_brackets(json: &str) -> usize {
    // `[` and `{` differ in bit 0x20 only. Blocks of 128 bytes, so that the count fits a byte.
    let in_block = |block: &[u8]| block.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.as_bytes().chunks(128).map(|block| usize::from(in_block(block))).sum()
}

/// The depth of nesting, brackets in strings excluded.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_must_be_http_or_https() {
        for valid in
            ["https://app.example.com/workspace/65a?x=%20#frag", "http://10.0.0.1:8080/", "https://ü.example/ä"]
        {
            assert_eq!(link_fault(valid), None, "{valid}");
        }
        let long = format!("https://example.com/{}", "x".repeat(LINK_BYTES_MAX));
        for invalid in
            ["", "/runs/1", "example.com", "javascript:alert(1)", "https://", "https://a b/", "https://a/\n", &long]
        {
            assert!(link_fault(invalid).is_some(), "{invalid}");
        }
    }

    #[test]
    fn plain_links_are_valid_for_the_url_parser_too() {
        let parses = |text: &str| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        for plain in ["https://app.example.com/a?b#c", "http://localhost", "https://a-1.b--c.example/#", "http://x0.y"]
        {
            assert!(is_plain_link(plain) && parses(plain), "{plain}");
        }
        let long = format!("https://{}.example", "x".repeat(64));
        for other in [
            "https://",
            "https:///a",
            "https://.example",
            "https://a..example",
            "https://example.",
            "https://example.0xa",
            "https://xn--a.example",
            "https://a.xn--a",
            "https://1.2.3.4",
            "https://Example.com",
            "https://a@example.com",
            "https://example.com:80",
            "https://example.com/ä",
            "ftp://example.com",
            &long,
        ] {
            assert!(!is_plain_link(other), "{other}");
        }
    }

    #[test]
    fn output_depth_is_bounded_and_ignores_brackets_in_strings() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(output_fault(&nested(OUTPUT_DEPTH_MAX)), None);
        assert!(output_fault(&nested(OUTPUT_DEPTH_MAX + 1)).is_some());
        assert_eq!(output_fault(&format!("{:?}", "[{".repeat(1_000))), None);
    }

    #[test]
    fn output_must_be_unicode() {
        assert_eq!(output_fault(r#"{"a": "\ud83d\ude00 \\ud83d"}"#), None);
        assert_eq!(output_fault(r#"{"a": "\ud83d"}"#), Some(NOT_UNICODE));
        assert_eq!(output_fault(r#"{"\ude00": 1}"#), Some(NOT_UNICODE));
    }

    #[test]
    fn depth_ignores_brackets_in_strings() {
        for (json, levels) in [("1", 0), ("[]", 1), (r#"{"a": [[], {}]}"#, 3), (r#"["[[", "\"[[", {"\\": []}]"#, 3)] {
            assert_eq!(depth(json), levels, "{json}");
            assert!(count_brackets(json) >= levels, "{json}");
        }
    }

    #[test]
    fn instant_must_be_in_this_century() {
        let fault = |text| instant_fault(Timestamp::parse(text).unwrap());
        assert_eq!(fault("2000-01-01T00:00:00Z").or(fault("2099-12-31T23:59:59.999Z")), None);
        assert!(fault("1999-12-31T23:59:59.999Z").and(fault("2100-01-01T00:00:00Z")).is_some());
    }
}
