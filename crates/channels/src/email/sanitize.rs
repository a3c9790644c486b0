//! Removes from text whatever a mail client or a terminal might act on.
//!
//! Removed are control characters, terminal escape sequences (logs are full of them), and the marks that change the
//! direction of text, with which a name could pass for another.

use tidings_domain::text::truncate_chars;

/// Text on one line: line breaks, tabs and runs of spaces become one space.
pub(super) fn line(text: &str) -> String {
    let kept: String = plain(text).collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text of several lines, separated by `\n`, without surrounding empty lines; at most `chars_max` characters.
pub(super) fn block(text: &str, chars_max: usize) -> String {
    let unified = text.replace("\r\n", "\n");
    // One more than the limit, so that `truncate_chars` knows that it cuts; the rest is never collected.
    let kept: String = plain(&unified).skip_while(|c| *c == '\n').take(chars_max + 1).collect();
    truncate_chars(kept.trim_end(), chars_max)
}

/// The characters to keep. A lone `\r` becomes a line break, as a terminal would otherwise let the text overwrite
/// itself.
fn plain(text: &str) -> impl Iterator<Item = char> {
    let mut escape = Escape::None;
    text.chars().filter_map(move |c| {
        if escape.strips(c) {
            return None;
        }
        match c {
            '\n' | '\t' => Some(c),
            '\r' | '\u{2028}' | '\u{2029}' => Some('\n'),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
            _ if c.is_control() => None,
            _ => Some(c),
        }
    })
}

/// Position within a terminal escape sequence.
enum Escape {
    None,
    /// After ESC.
    Begun,
    /// Within `ESC [ …` (CSI), which a character from `@` to `~` ends.
    Control,
}

impl Escape {
    /// Whether this character belongs to an escape sequence.
    fn strips(&mut self, c: char) -> bool {
        let (next, stripped) = match (&self, c) {
            (_, '\u{1b}') => (Self::Begun, true),
            (_, '\u{9b}') | (Self::Begun, '[') => (Self::Control, true),
            (Self::Control, ' '..='?') => (Self::Control, true),
            (Self::Control, '@'..='~') => (Self::None, true),
            _ => (Self::None, false),
        };
        *self = next;
        stripped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn line_removes_breaks_and_escapes() {
        assert_eq!(line(" a\r\nBcc: x@example.com\0\u{7f} "), "a Bcc: x@example.com");
        assert_eq!(line("\u{1b}[1;31merror\u{1b}[0m: \u{9b}2Jgone"), "error: gone");
        assert_eq!(line("\u{1b}(Bplain"), "(Bplain");
        assert_eq!(line("invoice\u{202e}fdp.exe"), "invoicefdp.exe");
    }

    #[test]
    fn block_keeps_lines_and_cuts() {
        assert_eq!(block("\r\n\na\r\n\tb\rc\n\n", 100), "a\n\tb\nc");
        assert_eq!(block("äöü", 2), "ä…");
        assert_eq!(block(&"x".repeat(1 << 20), 4_000).chars().count(), 4_000);
    }

    proptest! {
        #[test]
        fn no_control_character_is_left(text in any::<String>(), noise in "[\\x00-\\x20\u{1b}\\[m;0-9]{0,40}") {
            let cleaned = block(&format!("{text}{noise}"), 50);
            prop_assert!(!cleaned.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            prop_assert!(cleaned.chars().count() <= 50);
            prop_assert!(!line(&text).chars().any(char::is_control));
        }
    }
}
