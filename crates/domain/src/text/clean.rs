//! Cleaning of text that comes from elsewhere: names, errors, labels, annotations.
//!
//! Program output is full of terminal control sequences (ECMA-48), and marks that change the direction of text make one
//! name pass for another. All messages for people are built from cleaned text, so that no channel needs rules of its own.

use std::borrow::Cow;

const BEL: char = '\u{7}';
const ESC: char = '\u{1b}';
/// The C1 form of CSI, which begins a control sequence.
const CSI: char = '\u{9b}';
/// The C1 form of ST, which ends a control string.
const ST: char = '\u{9c}';

/// The text without terminal control sequences, other control characters and marks that change its direction. Lines end
/// with `\n`, and tabs are kept. A lone carriage return is a line break: a terminal would let the text overwrite itself.
pub fn clean(text: &str) -> Cow<'_, str> {
    let Some(start) = text.find(needs_cleaning) else { return Cow::Borrowed(text) };
    let mut cleaned = String::with_capacity(text.len());
    cleaned.push_str(&text[..start]);
    let mut rest = &text[start..];
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        rest = match character {
            '\r' => {
                cleaned.push('\n');
                // Several returns before a line feed are one line break: text mode on Windows doubles them.
                let after = after.trim_start_matches('\r');
                after.strip_prefix('\n').unwrap_or(after)
            }
            '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                cleaned.push('\n');
                after
            }
            ESC => skip_escape(after),
            CSI => skip_control_sequence(after),
            // DCS, SOS, OSC, PM and APC.
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_control_string(after),
            _ if needs_cleaning(character) => after,
            _ => {
                let end = rest.find(needs_cleaning).unwrap_or(rest.len());
                cleaned.push_str(&rest[..end]);
                &rest[end..]
            }
        };
    }
    Cow::Owned(cleaned)
}

/// The cleaned text on one line: line breaks, tabs and runs of spaces become one space.
pub fn clean_line(text: &str) -> String {
    let cleaned = clean(text);
    let mut line = String::with_capacity(cleaned.len());
    for word in cleaned.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// Whether nothing of the text is visible: it is empty, or has only spaces, control characters and characters without
/// width.
pub fn is_blank(text: &str) -> bool {
    clean(text).chars().all(is_invisible)
}

/// The name to show: the name, or the id if there is no name or nothing of it is visible.
pub fn name_or_id<'a>(name: Option<&'a str>, id: &'a str) -> &'a str {
    name.filter(|name| !is_blank(name)).unwrap_or(id)
}

fn needs_cleaning(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{2028}' | '\u{2029}' => true,
        // Embeddings and overrides; isolates and the deprecated format characters. The marks U+200E and U+200F stay: they
        // only affect neighbouring punctuation, and Hebrew and Arabic texts need them.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => true,
        _ => character.is_control(),
    }
}

/// Spaces and what Unicode calls default-ignorable, and the blank Braille pattern.
fn is_invisible(character: char) -> bool {
    character.is_whitespace()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2060}'..='\u{2065}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// What follows the escape sequence, given the text after ESC.
fn skip_escape(text: &str) -> &str {
    match text.as_bytes() {
        [b'[', ..] => skip_control_sequence(&text[1..]),
        // DCS, SOS, OSC, PM and APC; `k` is the title of screen and tmux.
        [b'P' | b'X' | b']' | b'^' | b'_' | b'k', ..] => skip_control_string(&text[1..]),
        // Such as `ESC ( B`, which selects a character set.
        [0x20..=0x2f, ..] => skip_final(skip_while(text, 0x20..=0x2f), 0x30..=0x7e),
        _ => skip_final(text, 0x30..=0x7e),
    }
}

/// What follows a control sequence, given the text after CSI: parameters, intermediate characters and the final one.
fn skip_control_sequence(text: &str) -> &str {
    skip_final(skip_while(skip_while(text, 0x30..=0x3f), 0x20..=0x2f), 0x40..=0x7e)
}

/// What follows a control string, given the text after its introducer. If it does not end before the next control
/// character, only the introducer is skipped: a cut sequence must not swallow the rest of an error.
fn skip_control_string(text: &str) -> &str {
    let Some(end) = text.find(char::is_control) else { return text };
    let (_, tail) = text.split_at(end);
    tail.strip_prefix([BEL, ST]).or_else(|| tail.strip_prefix("\u{1b}\\")).unwrap_or(text)
}

fn skip_while(text: &str, bytes: std::ops::RangeInclusive<u8>) -> &str {
    let end = text.bytes().position(|byte| !bytes.contains(&byte)).unwrap_or(text.len());
    // A boundary: everything before it is ASCII.
    &text[end..]
}

fn skip_final(text: &str, bytes: std::ops::RangeInclusive<u8>) -> &str {
    match text.bytes().next() {
        Some(byte) if bytes.contains(&byte) => &text[1..],
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clean_removes_control_sequences_in_both_forms() {
        for (raw, cleaned) in [
            ("\u{1b}[1;31merror\u{1b}[0m: \u{9b}2Jgone", "error: gone"),
            ("\u{1b}[38:2::255:0:0mred\u{1b}[m \u{1b}[?25l\u{1b}[4 qx", "red x"),
            ("\u{1b}(Bplain\u{1b})0 \u{1b}%Gu\u{1b}#8v", "plain uv"),
            ("\u{1b}7a\u{1b}8b\u{1b}=c\u{1b}Md\u{1b}ce", "abcde"),
            ("\u{1b}]0;title\u{7}a\u{1b}]2;title\u{1b}\\b\u{9d}2;é\u{9c}c", "abc"),
            ("\u{1b}]8;;https://example.com\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            (
                "\u{1b}Pq#0;2;0\u{1b}\\a\u{90}q\u{9c}b\u{1b}_x\u{1b}\\c\u{1b}^x\u{1b}\\d\u{1b}Xx\u{9c}e\u{1b}kt\u{1b}\\f",
                "abcdef",
            ),
            ("\u{1b}]0;never ended\nError: disk full", "0;never ended\nError: disk full"),
            ("\u{1b}[12\u{1b}[31mé\u{1b}", "é"),
            ("\u{1b}[31", ""),
            ("\u{1b}é\u{9b}é", "éé"),
        ] {
            assert_eq!(clean(raw), cleaned, "{raw:?}");
        }
    }

    #[test]
    fn clean_breaks_lines_and_removes_direction_marks() {
        for (raw, cleaned) in [
            ("10 %\r20 %\r\n30 %\r\r\nend\r", "10 %\n20 %\n30 %\nend\n"),
            ("a\u{b}b\u{c}c\u{85}d\u{2028}e\u{2029}f", "a\nb\nc\nd\ne\nf"),
            ("invoice\u{202e}fdp.exe \u{2067}x\u{2069}\u{206a}", "invoicefdp.exe x"),
            ("\u{0}a\u{8}b\u{7f}c\td", "abc\td"),
            ("שלום\u{200f} 👩\u{200d}💻", "שלום\u{200f} 👩\u{200d}💻"),
        ] {
            assert_eq!(clean(raw), cleaned, "{raw:?}");
        }
        assert!(matches!(clean("an ordinary\n\ttext"), Cow::Borrowed(_)));
        assert_eq!(clean_line(" a\r\nBcc: x@example.com\0\u{7f} \t b"), "a Bcc: x@example.com b");
    }

    #[test]
    fn name_or_id_falls_back_if_nothing_is_visible() {
        for blank in ["", " ", "\t\n", "\u{200b}", "\u{feff}\u{2060}", "\u{3164}", "\u{1b}[31m\u{1b}[0m", "\u{202e}"] {
            assert_eq!(name_or_id(Some(blank), "f1"), "f1", "{blank:?}");
        }
        for name in ["x", "📈", " ü "] {
            assert_eq!(name_or_id(Some(name), "f1"), name);
        }
        assert_eq!(name_or_id(None, "f1"), "f1");
    }

    proptest! {
        #[test]
        fn clean_leaves_no_control_and_is_idempotent(
            text in any::<String>(),
            noise in "[\\x00-\\x20\u{1b}\u{90}\u{9b}-\u{9d}\u{202e}\\[\\]\\\\(Bm;0-9é]{0,60}",
        ) {
            let raw = format!("{noise}{text}{noise}");
            let cleaned = clean(&raw);
            prop_assert!(!cleaned.chars().any(needs_cleaning));
            prop_assert_eq!(clean(&cleaned), cleaned.clone());
            prop_assert!(!clean_line(&raw).contains(['\n', '\t', '\r']));
        }

        #[test]
        fn clean_keeps_printable_text(text in "[ -~äé日📈\\n\\t]{0,80}") {
            prop_assert_eq!(clean(&text), text.as_str());
        }
    }
}
