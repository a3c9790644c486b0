//! Escapes text for a vendor and cuts it to the vendor's limit in one pass, so that no escape sequence is cut in half.

use tidings_domain::severity::Severity;

/// Replaces an empty value where the vendor requires one.
pub(crate) const PLACEHOLDER: &str = "—";

/// Separates two characters that would otherwise be read as markup together.
pub(crate) const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// At most `units_max` UTF-16 units of `text` (no vendor counts an emoji as more). `write` escapes one character, given
/// the one before it. A cut is marked by an ellipsis within the limit.
///
/// Removed are control characters except line breaks and tabs, and the marks that change the direction of text: with
/// those a name could pass for another.
pub(crate) fn truncate_escaped(
    text: &str,
    units_max: usize,
    mut write: impl FnMut(Option<char>, char, &mut String),
) -> String {
    let mut escaped = String::with_capacity(text.len().min(units_max));
    // `safe`: the longest prefix that still leaves a unit for the ellipsis.
    let (mut units, mut safe, mut before) = (0, 0, None);
    for character in text.chars().filter(|&c| is_allowed(c)) {
        let start = escaped.len();
        write(before, character, &mut escaped);
        units += escaped[start..].encode_utf16().count();
        if units > units_max {
            escaped.truncate(safe);
            escaped.truncate(escaped.trim_end().len());
            if units_max > 0 {
                escaped.push('…');
            }
            return escaped;
        }
        if units < units_max {
            safe = escaped.len();
        }
        before = Some(character);
    }
    escaped
}

const fn is_allowed(character: char) -> bool {
    match character {
        '\n' | '\t' => true,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        _ => true,
    }
}

/// Text on one line: line breaks, tabs and runs of spaces become one space.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The length as vendors count it, in UTF-16 units.
pub(crate) fn utf16_len(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The severity as a symbol, for text without colour.
pub(crate) const fn severity_emoji(severity: Severity) -> char {
    match severity {
        Severity::Critical => '🔴',
        Severity::Warning => '🟠',
        Severity::Info => '🔵',
        Severity::Success => '🟢',
    }
}

/// Writes the character as it is.
pub(crate) fn unescaped(_: Option<char>, character: char, out: &mut String) {
    out.push(character);
}

/// Writes the character so that no run of backticks can end a code fence around the text.
pub(crate) fn escape_fence(before: Option<char>, character: char, out: &mut String) {
    if before == Some('`') && character == '`' {
        out.push(ZERO_WIDTH_SPACE);
    }
    out.push(character);
}

/// The text, or [`PLACEHOLDER`] if it is blank: Slack and Discord refuse blank texts.
pub(crate) fn or_placeholder(text: String) -> String {
    if text.trim().is_empty() { PLACEHOLDER.to_owned() } else { text }
}

/// A link that vendors accept: `http` or `https`, at most `bytes_max` bytes, without spaces.
pub(crate) fn web_link(url: Option<&str>, bytes_max: usize) -> Option<&str> {
    url.filter(|url| url.starts_with("https://") || url.starts_with("http://"))
        .filter(|url| url.len() <= bytes_max && !url.contains(|c: char| c.is_whitespace() || c.is_control()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn doubled(_: Option<char>, character: char, out: &mut String) {
        out.extend([character, character]);
    }

    #[test]
    fn truncate_escaped_never_cuts_an_escape_in_half() {
        assert_eq!(truncate_escaped("abc", 6, doubled), "aabbcc");
        assert_eq!(truncate_escaped("abc", 5, doubled), "aabb…");
        assert_eq!(truncate_escaped("abc", 4, doubled), "aa…");
        assert_eq!(truncate_escaped("😀😀", 3, unescaped), "😀…");
        assert_eq!(truncate_escaped("a\u{0}b\nc", 9, unescaped), "ab\nc");
        assert_eq!(truncate_escaped("abc", 0, unescaped), "");
        assert_eq!(truncate_escaped("a\u{202e}b\u{2067}c\u{85}", 9, unescaped), "abc");
        assert_eq!(one_line(" a\r\n b\tc "), "a b c");
    }

    #[test]
    fn web_link_other_schemes_spaces_and_long_urls_are_refused() {
        for wrong in ["javascript:alert(1)", "https://a b", "https://a\n", "", "https://toolong.example.com"] {
            assert_eq!(web_link(Some(wrong), 20), None, "{wrong}");
        }
        assert_eq!(web_link(Some("https://example.com"), 20), Some("https://example.com"));
    }

    proptest! {
        #[test]
        fn truncate_escaped_stays_within_limit(text in "\\PC{0,60}|[`\\n]{0,60}", max in 0usize..70) {
            for write in [unescaped as fn(_, _, &mut String), escape_fence, doubled] {
                prop_assert!(truncate_escaped(&text, max, write).encode_utf16().count() <= max);
            }
            prop_assert!(!truncate_escaped(&text, max, escape_fence).contains("``"));
        }
    }
}
