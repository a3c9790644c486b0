//! Escapes text for a vendor and cuts it to the vendor's limit in one pass, so that no escape sequence is cut in half.

use tidings_domain::severity::Severity;
use tidings_domain::text::{is_blank, keep_ends};

/// Replaces an empty value where the vendor requires one.
pub(crate) const PLACEHOLDER: &str = "—";

/// Separates two characters that would otherwise be read as markup together.
pub(crate) const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// A detail up to this size comes first: it is what the message is opened for. A longer one follows the facts, which it
/// would push out of sight.
const SHORT_CHARS_MAX: usize = 500;
const SHORT_LINES_MAX: usize = 6;

/// Whether a detail leaves the facts in sight if it comes before them.
pub(crate) fn is_short(text: &str) -> bool {
    text.chars().nth(SHORT_CHARS_MAX).is_none() && text.lines().nth(SHORT_LINES_MAX).is_none()
}

/// At most `units_max` UTF-16 units of `text` (no vendor counts an emoji as more). `write` escapes one character, given
/// the one before it. A cut is marked by an ellipsis within the limit.
pub(crate) fn truncate_escaped(
    text: &str,
    units_max: usize,
    mut write: impl FnMut(Option<char>, char, &mut String),
) -> String {
    let mut escaped = String::with_capacity(text.len().min(units_max));
    // `safe`: the longest prefix that still leaves a unit for the ellipsis.
    let (mut units, mut safe, mut before) = (0, 0, None);
    for character in text.chars() {
        let start = escaped.len();
        write(before, character, &mut escaped);
        units += utf16_len(&escaped[start..]);
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

/// Like [`truncate_escaped`], but keeps the beginning and the end: of a long error both matter.
pub(crate) fn keep_ends_escaped(
    text: &str,
    units_max: usize,
    mut write: impl FnMut(Option<char>, char, &mut String),
) -> String {
    let mut chars_max = units_max;
    // Escapes lengthen the text, so fewer characters may fit than units. Each turn scales by how much was too long; that it
    // ends with a fit is likely, and the last line makes sure.
    for _ in 0..6 {
        let kept = keep_ends(text, chars_max);
        let escaped = truncate_escaped(&kept, usize::MAX, &mut write);
        let units = utf16_len(&escaped);
        if units <= units_max {
            return escaped;
        }
        chars_max = chars_max * units_max / units;
    }
    truncate_escaped(&keep_ends(text, chars_max), units_max, write)
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

/// The text, or [`PLACEHOLDER`] if nothing of it is visible: Slack and Discord refuse blank texts.
pub(crate) fn or_placeholder(text: String) -> String {
    if is_blank(&text) { PLACEHOLDER.to_owned() } else { text }
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
        assert_eq!(truncate_escaped("abc", 0, unescaped), "");
    }

    #[test]
    fn keep_ends_escaped_keeps_both_ends_whatever_escapes_add() {
        for filler in ["x", "&", "😀", "`"] {
            let text = format!("first {} last", filler.repeat(20_000));
            let kept = keep_ends_escaped(&text, 1_000, doubled);
            assert!(kept.starts_with("ffiirrsstt") && kept.ends_with("llaasstt"), "{kept}");
            assert!((500..=1_000).contains(&utf16_len(&kept)), "{}", utf16_len(&kept));
        }
    }

    proptest! {
        #[test]
        fn truncate_escaped_stays_within_limit(text in "\\PC{0,60}|[`\\n]{0,60}", max in 0usize..70) {
            for write in [unescaped as fn(_, _, &mut String), escape_fence, doubled] {
                prop_assert!(utf16_len(&truncate_escaped(&text, max, write)) <= max);
                prop_assert!(utf16_len(&keep_ends_escaped(&text, max, write)) <= max);
            }
            prop_assert!(!truncate_escaped(&text, max, escape_fence).contains("``"));
        }
    }
}
