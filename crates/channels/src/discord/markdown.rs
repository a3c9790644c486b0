//! Texts in Discord's markdown, escaped so that they have no markup, links or mentions of their own ("Message formatting"
//! and "Markdown text 101").

use crate::truncate::{ZERO_WIDTH_SPACE, truncate_escaped};

/// Text without markup or mentions of its own, at most `units_max` UTF-16 units once escaped.
pub(super) fn markdown(text: &str, units_max: usize) -> String {
    let mut escaper = Escaper::default();
    truncate_escaped(text, units_max, |before, character, out| escaper.write(before, character, out))
}

/// Escapes one character after the other.
pub(super) struct Escaper {
    /// Only spaces since the beginning of the line.
    at_line_start: bool,
    number: ListNumber,
}

/// How much of the beginning of a numbered list the line has: digits, a full stop, a space.
#[derive(PartialEq)]
enum ListNumber {
    None,
    Digits,
    Stop,
}

impl Default for Escaper {
    fn default() -> Self {
        Self { at_line_start: true, number: ListNumber::None }
    }
}

impl Escaper {
    pub(super) fn write(&mut self, before: Option<char>, character: char, out: &mut String) {
        if before.is_none_or(|before| before == '\n') {
            *self = Self::default();
        }
        match character {
            '\\' | '*' | '_' | '~' | '`' | '|' | '[' | ']' | '<' => out.extend(['\\', character]),
            // Headings, small text, quotes and lists.
            '#' | '>' | '-' | '+' if self.at_line_start => out.extend(['\\', character]),
            // Escaped only now: the stop in `1.8 s` begins no list.
            ' ' | '\t' if self.number == ListNumber::Stop => {
                if let Some(stop) = out.pop() {
                    out.extend(['\\', stop, character]);
                }
            }
            // The zero-width space keeps @everyone and @here from being mentions.
            '@' => out.extend(['@', ZERO_WIDTH_SPACE]),
            _ => out.push(character),
        }
        self.number = match (character, &self.number) {
            ('0'..='9', ListNumber::Digits) => ListNumber::Digits,
            ('0'..='9', ListNumber::None) if self.at_line_start => ListNumber::Digits,
            ('.' | ')', ListNumber::Digits) => ListNumber::Stop,
            _ => ListNumber::None,
        };
        self.at_line_start = self.at_line_start && matches!(character, ' ' | '\t');
    }
}

/// A masked link. The label is escaped. In the URL, what would end the link or is markdown is percent-encoded.
pub(super) fn masked_link(label: &str, url: &str) -> String {
    let mut link = format!("[{label}](");
    for character in url.chars() {
        match character {
            '(' | ')' | '<' | '>' | '*' | '~' | '\\' | '`' | '|' | '[' | ']' | '"' | '\'' | '@' => {
                link.push_str(&format!("%{:02X}", u32::from(character)));
            }
            _ => link.push(character),
        }
    }
    link.push(')');
    link
}

/// A web address as Discord links it by itself. An escape within it would become a part of it, and it needs none: Discord
/// looks for links before markup. `None` if the text is something else or contains what could end the link.
pub(super) fn bare_url(text: &str) -> Option<&str> {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#&=%+,;".contains(&byte);
    let is_url = text.starts_with("https://") || text.starts_with("http://");
    (is_url && text.bytes().all(is_safe)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_escaped() {
        for (text, escaped) in [
            ("*b* __u__ ~~s~~ `c` ||spoiler||", "\\*b\\* \\_\\_u\\_\\_ \\~\\~s\\~\\~ \\`c\\` \\|\\|spoiler\\|\\|"),
            ("[x](https://evil.example)", "\\[x\\](https://evil.example)"),
            ("<@1> <#2> <t:3:R> @everyone", "\\<@\u{200b}1> \\<#2> \\<t:3:R> @\u{200b}everyone"),
            ("# h\n  ## h\n-# small\n> q\n- l\n+ l", "\\# h\n  \\## h\n\\-# small\n\\> q\n\\- l\n\\+ l"),
            ("1. one\n 12) two\n3.5 s", "1\\. one\n 12\\) two\n3.5 s"),
            ("a #1 - b > c 1. x", "a #1 - b > c 1. x"),
        ] {
            assert_eq!(markdown(text, 999), escaped, "{text}");
        }
    }

    #[test]
    fn links_cannot_be_ended_from_within() {
        assert_eq!(
            masked_link("x", "https://example.com/a(b)c*d`e|\\"),
            "[x](https://example.com/a%28b%29c%2Ad%60e%7C%5C)"
        );
        assert_eq!(bare_url("https://example.com/a_b_c?d=1"), Some("https://example.com/a_b_c?d=1"));
        for other in
            ["https://example.com/a b", "https://example.com/<@1>", "ftp://x/", "example.com", "https://x/@everyone"]
        {
            assert_eq!(bare_url(other), None, "{other}");
        }
    }
}
