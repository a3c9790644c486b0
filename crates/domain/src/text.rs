//! Text helpers: cleaning, truncation, control characters, and formatting for people.

mod clean;

pub use clean::{clean, clean_line, is_blank, name_or_id};

/// Marks truncated text.
pub const ELLIPSIS: char = '…';

/// At most `chars_max` characters (Unicode scalar values) of `text`, including an ellipsis if it was truncated. Used to
/// stay within the limits of vendors instead of failing.
pub fn truncate_chars(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) if chars_max == 0 => String::new(),
        Some(_) => {
            let kept: String = text.chars().take(chars_max - 1).collect();
            format!("{}{ELLIPSIS}", kept.trim_end())
        }
    }
}

/// At most `units_max` UTF-16 units of `text`, as vendors count, including an ellipsis if it was truncated.
pub fn truncate_units(text: &str, units_max: usize) -> String {
    let mut units = 0;
    let mut kept = 0;
    for (at, character) in text.char_indices() {
        units += character.len_utf16();
        if units > units_max {
            return if units_max == 0 { String::new() } else { format!("{}{ELLIPSIS}", text[..kept].trim_end()) };
        }
        if units < units_max {
            kept = at + character.len_utf8();
        }
    }
    text.to_owned()
}

/// At most about `chars_max` characters of `text`: its beginning and its end, with a line between them that counts what was
/// left out. Of a long error both matter: the first line says what failed, the last ones say why.
pub fn keep_ends(text: &str, chars_max: usize) -> String {
    let total = text.chars().count();
    if total <= chars_max {
        return text.to_owned();
    }
    // Half of the length is left for the line between them if that is longer.
    let kept = chars_max.saturating_sub(KEEP_ENDS_MARK_CHARS).max(chars_max / 2);
    let (head, tail) = (kept - kept / 2, kept / 2);
    let at = |index| text.char_indices().nth(index).map_or(text.len(), |(at, _)| at);
    let (mut head, mut tail) = (&text[..at(head)], &text[at(total - tail)..]);
    // Whole lines, unless they are so long that much would be lost.
    if let Some((lines, rest)) = head.rsplit_once('\n').filter(|(lines, rest)| rest.len() < lines.len() / 4) {
        head = if rest.is_empty() { head } else { lines };
    }
    if let Some((_, lines)) = tail.split_once('\n').filter(|(rest, lines)| rest.len() < lines.len() / 4) {
        tail = lines;
    }
    let (head, tail) = (head.trim_end(), tail.trim_start_matches(['\n', '\r']));
    let left_out = total - head.chars().count() - tail.chars().count();
    let left_out = with_thousands_separators(left_out as u64);
    format!("{head}\n{ELLIPSIS} {left_out} characters left out {ELLIPSIS}\n{tail}")
}

/// The longest line that [`keep_ends`] inserts, for texts below a billion characters.
const KEEP_ENDS_MARK_CHARS: usize = 40;

/// At most `bytes_max` bytes of `text`, truncated at a character boundary, including an ellipsis if it was truncated.
pub fn truncate_bytes(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let kept_max = bytes_max.saturating_sub(ELLIPSIS.len_utf8());
    let end = (0..=kept_max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    if bytes_max < ELLIPSIS.len_utf8() { String::new() } else { format!("{}{ELLIPSIS}", &text[..end]) }
}

/// Whether the text contains a control character, line breaks included. Names, ids and headers must not.
pub fn has_control(text: &str) -> bool {
    // A fast first pass over the bytes, without an early exit so that it can be vectorised. It also matches harmless
    // characters whose encoding starts with C2, as that of U+0080 to U+009F does; the second pass decides.
    let may_be = |byte: u8| byte < 0x20 || byte == 0x7f || byte == 0xc2;
    text.bytes().fold(false, |found, byte| found | may_be(byte)) && text.chars().any(char::is_control)
}

/// `1234567` as `1,234,567`.
pub fn with_thousands_separators(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds for people: `842 ms`, `1.8 s`, `3 min 5 s`, `2 h 4 min`.
pub fn format_duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=59_999 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60_000..=3_599_999 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn has_control_finds_control_characters_at_any_position() {
        for character in ('\0'..='\u{2ff}').chain(['\u{7ff}', 'é', '€', '🦀']) {
            for text in [format!("{character}"), format!("a{character}"), format!("Café {character} ©\u{a0}")] {
                assert_eq!(has_control(&text), character.is_control(), "{text:?}");
            }
        }
    }

    #[test]
    fn durations_are_formatted_by_magnitude() {
        for (ms, text) in
            [(0, "0 ms"), (842, "842 ms"), (1842, "1.8 s"), (185_000, "3 min 5 s"), (7_440_000, "2 h 4 min")]
        {
            assert_eq!(format_duration(ms), text);
        }
    }

    #[test]
    fn thousands_are_separated() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_002_003, "1,002,003"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(with_thousands_separators(number), text);
        }
    }

    #[test]
    fn keep_ends_keeps_beginning_and_end() {
        let text = format!("first line\n{}last line", "x".repeat(5_000));
        let kept = keep_ends(&text, 200);
        assert!(kept.starts_with("first line\nxxx") && kept.ends_with("xxxlast line"), "{kept}");
        assert!(kept.contains("x\n… 4,860 characters left out …\nx"), "{kept}");
        assert_eq!(keep_ends("short", 5), "short");
        let lines: Vec<_> = (0..1_000).map(|line| format!("  line {line}")).collect();
        let kept = keep_ends(&lines.join("\n"), 200);
        let shown: Vec<_> = kept.lines().collect();
        assert!(shown.iter().all(|line| line.starts_with('…') || lines.contains(&line.to_string())), "{kept}");
        assert_eq!((shown[0], shown[shown.len() - 1]), ("  line 0", "  line 999"));
    }

    proptest! {
        #[test]
        fn keep_ends_fits(text in "\\PC{0,400}", max in 80usize..300) {
            prop_assert!(keep_ends(&text, max).chars().count() <= max);
        }

        #[test]
        fn truncated_text_fits_and_differs_only_if_truncated(text in "\\PC{0,80}", max in 0usize..90) {
            let by_chars = truncate_chars(&text, max);
            prop_assert!(by_chars.chars().count() <= max);
            prop_assert_eq!(text.chars().count() <= max, by_chars == text);
            let by_units = truncate_units(&text, max);
            prop_assert!(by_units.encode_utf16().count() <= max);
            prop_assert_eq!(text.encode_utf16().count() <= max, by_units == text);
            let by_bytes = truncate_bytes(&text, max);
            prop_assert!(by_bytes.len() <= max);
            prop_assert_eq!(text.len() <= max, by_bytes == text);
        }
    }
}
