//! Text that is escaped for a vendor and cut to the vendor's limit, in one pass, so that no escape is cut in half.

use tidings_domain::severity::Severity;

/// Stands where a value is empty and the vendor wants one.
pub(crate) const NOTHING: &str = "—";

/// Hinders what stands before it from joining with what follows.
pub(crate) const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// At most `units_max` UTF-16 units (no vendor counts an emoji as more) of `text`, each character as `write` puts it
/// down, given the one before it. What is cut is replaced by an ellipsis within that length. Control characters other
/// than line breaks and tabs are left out, and so are marks that turn the direction of writing around: with these a
/// name could pretend to be another.
pub(crate) fn fit(text: &str, units_max: usize, mut write: impl FnMut(Option<char>, char, &mut String)) -> String {
    let mut fitted = String::with_capacity(text.len().min(units_max));
    let (mut units, mut safe, mut before) = (0, 0, None);
    for character in text.chars().filter(|&c| may_stay(c)) {
        let start = fitted.len();
        write(before, character, &mut fitted);
        units += fitted[start..].encode_utf16().count();
        if units > units_max {
            fitted.truncate(safe);
            fitted.truncate(fitted.trim_end().len());
            if units_max > 0 {
                fitted.push('…');
            }
            return fitted;
        }
        if units < units_max {
            safe = fitted.len();
        }
        before = Some(character);
    }
    fitted
}

const fn may_stay(character: char) -> bool {
    match character {
        '\n' | '\t' => true,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        _ => true,
    }
}

/// Text for one line: line breaks, tabs and runs of spaces become one space.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How long a vendor counts the text.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// What stands for a severity where text has no colour.
pub(crate) const fn sign(severity: Severity) -> char {
    match severity {
        Severity::Critical => '🔴',
        Severity::Warning => '🟠',
        Severity::Info => '🔵',
        Severity::Success => '🟢',
    }
}

/// Puts the character down as it is.
pub(crate) fn plain(_: Option<char>, character: char, out: &mut String) {
    out.push(character);
}

/// The same between code fences: no run of backticks can end them.
pub(crate) fn fenced(before: Option<char>, character: char, out: &mut String) {
    if before == Some('`') && character == '`' {
        out.push(ZERO_WIDTH_SPACE);
    }
    out.push(character);
}

/// A link that a vendor will take: `http` or `https`, of at most so many bytes, without spaces.
pub(crate) fn link(url: Option<&str>, bytes_max: usize) -> Option<&str> {
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
    fn escapes_are_never_cut_in_half() {
        assert_eq!(fit("abc", 6, doubled), "aabbcc");
        assert_eq!(fit("abc", 5, doubled), "aabb…");
        assert_eq!(fit("abc", 4, doubled), "aa…");
        assert_eq!(fit("😀😀", 3, plain), "😀…");
        assert_eq!(fit("a\u{0}b\nc", 9, plain), "ab\nc");
        assert_eq!(fit("abc", 0, plain), "");
        assert_eq!(fit("a\u{202e}b\u{2067}c\u{85}", 9, plain), "abc");
        assert_eq!(one_line(" a\r\n b\tc "), "a b c");
    }

    #[test]
    fn links_are_links() {
        for wrong in ["javascript:alert(1)", "https://a b", "https://a\n", "", "https://toolong.example.com"] {
            assert_eq!(link(Some(wrong), 20), None, "{wrong}");
        }
        assert_eq!(link(Some("https://example.com"), 20), Some("https://example.com"));
    }

    proptest! {
        #[test]
        fn what_is_fitted_fits(text in "\\PC{0,60}|[`\\n]{0,60}", max in 0usize..70) {
            for write in [plain as fn(_, _, &mut String), fenced, doubled] {
                prop_assert!(fit(&text, max, write).encode_utf16().count() <= max);
            }
            prop_assert!(!fit(&text, max, fenced).contains("``"));
        }
    }
}
