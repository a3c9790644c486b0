//! Small rules about text: what a name may hold, and how to shorten without breaking a character.

/// The ellipsis that stands where text was cut.
pub const ELLIPSIS: char = '…';

/// At most `chars_max` characters (Unicode scalar values) of `text`; what is cut is replaced by one ellipsis within
/// that length. Vendors' limits are kept this way rather than by failing.
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

/// At most `bytes_max` bytes of `text`, cut at a character boundary, with an ellipsis within that length if cut.
pub fn truncate_bytes(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let room = bytes_max.saturating_sub(ELLIPSIS.len_utf8());
    let end = (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    if bytes_max < ELLIPSIS.len_utf8() { String::new() } else { format!("{}{ELLIPSIS}", &text[..end]) }
}

/// Whether the text holds a control character (line breaks included): none belongs in a name, an id or a header.
pub fn has_control(text: &str) -> bool {
    // Many bytes at a time: those of U+0080 to U+009F begin with C2, as do harmless ones.
    let may_be = |byte: u8| byte < 0x20 || byte == 0x7f || byte == 0xc2;
    text.bytes().fold(false, |found, byte| found | may_be(byte)) && text.chars().any(char::is_control)
}

/// `1234567` as `1,234,567`.
pub fn with_thousands_separators(number: u64) -> String {
    match number {
        0..=999 => number.to_string(),
        _ => format!("{},{:03}", with_thousands_separators(number / 1000), number % 1000),
    }
}

/// Milliseconds as a person says it: `842 ms`, `1.8 s`, `3 min 5 s`, `2 h 4 min`.
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
    fn control_characters_are_found_wherever_they_stand() {
        for character in ('\0'..='\u{2ff}').chain(['\u{7ff}', 'é', '€', '🦀']) {
            for text in [format!("{character}"), format!("a{character}"), format!("Café {character} ©\u{a0}")] {
                assert_eq!(has_control(&text), character.is_control(), "{text:?}");
            }
        }
    }

    #[test]
    fn durations_read_well() {
        for (ms, words) in
            [(0, "0 ms"), (842, "842 ms"), (1842, "1.8 s"), (185_000, "3 min 5 s"), (7_440_000, "2 h 4 min")]
        {
            assert_eq!(format_duration(ms), words);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, words) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_002_003, "1,002,003"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(with_thousands_separators(number), words);
        }
    }

    proptest! {
        #[test]
        fn cut_text_fits_and_says_that_it_was_cut(text in "\\PC{0,80}", max in 0usize..90) {
            let by_chars = truncate_chars(&text, max);
            prop_assert!(by_chars.chars().count() <= max);
            prop_assert_eq!(text.chars().count() <= max, by_chars == text);
            let by_bytes = truncate_bytes(&text, max);
            prop_assert!(by_bytes.len() <= max);
            prop_assert_eq!(text.len() <= max, by_bytes == text);
        }
    }
}
