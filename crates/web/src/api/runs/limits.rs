//! What is right in a run's report, field by field: asked by both ways of reading one.

use tidings_domain::resource::invalid_external_id;
use tidings_domain::text::has_control;
use tidings_domain::time::Timestamp;
use url::Url;

/// Longest name of a resource, in characters.
const NAME_CHARS_MAX: usize = 200;
/// Longest error message, in bytes.
const ERROR_BYTES_MAX: usize = 16 * 1_024;
/// Longest link, in bytes.
const LINK_BYTES_MAX: usize = 2_048;
/// Longest output, in bytes of its JSON.
const OUTPUT_BYTES_MAX: usize = 256 * 1_024;
/// How deep an output may nest. Many readers of JSON give up at 128, and the output stands inside a body.
const OUTPUT_DEPTH_MAX: usize = 100;
/// The first and the last millisecond of the years 2000 to 2099: what lies outside is a unit or a clock gone wrong.
const INSTANTS: std::ops::RangeInclusive<i64> = 946_684_800_000..=4_102_444_799_999;

/// What is wrong with the id of a resource that ran, if anything is.
pub(in crate::api) fn resource_id_fault(text: &str) -> Option<&'static str> {
    match text {
        "*" => Some("must name one resource; * stands for all of them in rules only"),
        _ => invalid_external_id(text),
    }
}

/// What is wrong with a run's id.
pub(super) fn run_id_fault(text: &str) -> Option<&'static str> {
    invalid_external_id(text)
}

/// What is wrong with a resource's name.
pub(super) fn name_fault(text: &str) -> Option<&'static str> {
    if text.len() > NAME_CHARS_MAX && text.chars().count() > NAME_CHARS_MAX {
        Some("must be at most 200 characters")
    } else if has_control(text) {
        Some("must not hold control characters")
    } else {
        None
    }
}

/// What is wrong with an error message.
pub(super) fn error_fault(text: &str) -> Option<&'static str> {
    (text.len() > ERROR_BYTES_MAX).then_some("must be at most 16 KiB (16,384 bytes)")
}

/// What is wrong with a link.
pub(in crate::api) fn link_fault(text: &str) -> Option<&'static str> {
    if text.len() > LINK_BYTES_MAX {
        return Some("must be at most 2,048 bytes");
    }
    if is_plain_link(text) {
        return None;
    }
    // A URL parser forgives blanks and line breaks; those who follow the link might not.
    let plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let url = Url::parse(text).ok().filter(|url| plain && matches!(url.scheme(), "http" | "https"));
    url.is_none().then_some("must be a URL with http or https, such as https://example.com/runs/1")
}

/// Whether it is a link that needs no parser to be seen as one, as nearly all are: a host of plain labels that ends in a
/// letter, and behind it visible ASCII.
fn is_plain_link(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let rest = rest.as_bytes();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (host, behind) = rest.split_at(end);
    host.len() <= 100
        && host.first().is_some_and(u8::is_ascii_lowercase)
        && host.last().is_some_and(u8::is_ascii_lowercase)
        && host.split(|byte| *byte == b'.').all(is_plain_label)
        && behind.iter().all(u8::is_ascii_graphic)
}

/// Whether a part of a host's name stands for nothing but itself: none is a number or Punycode (`xn--`).
fn is_plain_label(label: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    (1..=63).contains(&label.len())
        && label.iter().all(is_plain)
        && !label.starts_with(b"0x")
        && !label.starts_with(b"xn--")
}

/// What is wrong with an instant.
pub(in crate::api) fn instant_fault(instant: Timestamp) -> Option<&'static str> {
    (!INSTANTS.contains(&instant.unix_ms())).then_some("must lie in the years 2000 to 2099")
}

/// What is wrong with the order of a run's instants. A run that is still to end, by a clock that is ahead, is taken.
pub(super) fn order_fault(started_at: Option<Timestamp>, completed_at: Option<Timestamp>) -> Option<&'static str> {
    let reversed = started_at.zip(completed_at).is_some_and(|(started, completed)| started > completed);
    reversed.then_some("must not be later than completedAt")
}

/// What is wrong with an output, of which it is known that it is JSON.
pub(super) fn output_fault(json: &str) -> Option<&'static str> {
    if json.len() > OUTPUT_BYTES_MAX {
        Some("must be at most 256 KiB (262,144 bytes) of JSON")
    } else if openings(json) > OUTPUT_DEPTH_MAX && depth(json) > OUTPUT_DEPTH_MAX {
        Some("must not nest deeper than 100 levels")
    } else {
        None
    }
}

/// How many brackets open, those within texts too: JSON nests no deeper. Most outputs have few, and these are counted many
/// bytes at a time, which a evaluation from text to text is not.
fn openings(json: &str) -> usize {
    // The two differ in one bit. No block counts further than a byte can.
    let in_block = |block: &[u8]| block.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.as_bytes().chunks(128).map(|block| usize::from(in_block(block))).sum()
}

/// How deep JSON nests.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_web_and_nowhere_else() {
        for right in
            ["https://app.example.com/workspace/65a?x=%20#frag", "http://10.0.0.1:8080/", "https://ü.example/ä"]
        {
            assert_eq!(link_fault(right), None, "{right}");
        }
        let long = format!("https://example.com/{}", "x".repeat(LINK_BYTES_MAX));
        for wrong in
            ["", "/runs/1", "example.com", "javascript:alert(1)", "https://", "https://a b/", "https://a/\n", &long]
        {
            assert!(link_fault(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn what_is_seen_without_a_parser_is_what_the_parser_sees() {
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
    fn outputs_may_nest_so_deep_and_hold_any_brackets_in_texts() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(output_fault(&nested(OUTPUT_DEPTH_MAX)), None);
        assert!(output_fault(&nested(OUTPUT_DEPTH_MAX + 1)).is_some());
        assert_eq!(output_fault(&format!("{:?}", "[{".repeat(1_000))), None);
    }

    #[test]
    fn depth_counts_brackets_outside_of_texts() {
        for (json, levels) in [("1", 0), ("[]", 1), (r#"{"a": [[], {}]}"#, 3), (r#"["[[", "\"[[", {"\\": []}]"#, 3)] {
            assert_eq!(depth(json), levels, "{json}");
            assert!(openings(json) >= levels, "{json}");
        }
    }

    #[test]
    fn instants_are_of_this_century() {
        let fault = |text| instant_fault(Timestamp::parse(text).unwrap());
        assert_eq!(fault("2000-01-01T00:00:00Z").or(fault("2099-12-31T23:59:59.999Z")), None);
        assert!(fault("1999-12-31T23:59:59.999Z").and(fault("2100-01-01T00:00:00Z")).is_some());
    }
}
