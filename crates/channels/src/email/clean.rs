//! Cleaning text that others wrote before it goes into a mail: nothing in it may act, only be read.
//!
//! Removed are control characters, the escape sequences of terminals (logs are full of them) and the marks that turn
//! the direction of writing around, with which a name can pretend to be another.

use tidings_domain::text::truncate_chars;

/// Text for one line: line breaks, tabs and runs of spaces become one space.
pub(super) fn line(text: &str) -> String {
    let kept: String = plain(text).collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text of many lines, broken by `\n`, without empty lines around it; at most `chars_max` characters.
pub(super) fn block(text: &str, chars_max: usize) -> String {
    let unified = text.replace("\r\n", "\n");
    let kept: String = plain(&unified).skip_while(|c| *c == '\n').take(chars_max + 1).collect();
    truncate_chars(kept.trim_end(), chars_max)
}

/// The characters that may stay. A lone `\r` breaks the line, as it does on a terminal.
fn plain(text: &str) -> impl Iterator<Item = char> {
    let mut escape = Escape::None;
    text.chars().filter_map(move |c| {
        if escape.swallows(c) {
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

/// Where in a terminal's escape sequence the text stands.
enum Escape {
    None,
    /// After ESC.
    Begun,
    /// Within `ESC [ …`, which ends with a character from `@` to `~`.
    Control,
}

impl Escape {
    /// Whether this character belongs to an escape sequence.
    fn swallows(&mut self, c: char) -> bool {
        let (next, swallowed) = match (&self, c) {
            (_, '\u{1b}') => (Self::Begun, true),
            (_, '\u{9b}') | (Self::Begun, '[') => (Self::Control, true),
            (Self::Control, ' '..='?') => (Self::Control, true),
            (Self::Control, '@'..='~') => (Self::None, true),
            _ => (Self::None, false),
        };
        *self = next;
        swallowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(line(" a\r\nBcc: x@example.com\0\u{7f} "), "a Bcc: x@example.com");
        assert_eq!(line("\u{1b}[1;31merror\u{1b}[0m: \u{9b}2Jgone"), "error: gone");
        assert_eq!(line("\u{1b}(Bplain"), "(Bplain");
        assert_eq!(line("invoice\u{202e}fdp.exe"), "invoicefdp.exe");
    }

    #[test]
    fn a_block_keeps_its_lines() {
        assert_eq!(block("\r\n\na\r\n\tb\rc\n\n", 100), "a\n\tb\nc");
        assert_eq!(block("äöü", 2), "ä…");
        assert_eq!(block(&"x".repeat(1 << 20), 4_000).chars().count(), 4_000);
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in any::<String>(), noise in "[\\x00-\\x20\u{1b}\\[m;0-9]{0,40}") {
            let cleaned = block(&format!("{text}{noise}"), 50);
            prop_assert!(!cleaned.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            prop_assert!(cleaned.chars().count() <= 50);
            prop_assert!(!line(&text).chars().any(char::is_control));
        }
    }
}
