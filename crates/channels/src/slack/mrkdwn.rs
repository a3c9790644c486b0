//! Texts in Slack's mrkdwn.
//!
//! Entities keep `&`, `<` and `>` from introducing links and mentions, and `verbatim` keeps names, URLs and `@here` from
//! becoming some ("Formatting message text"; "Text object"). There is no escape for the characters that format.
//! So a text that contains them is shown as `plain_text`, or, within a line that needs mrkdwn, with look-alikes.

use serde_json::{Value, json};

use crate::truncate::truncate_escaped;

/// A text object in mrkdwn. `text` is escaped.
pub(super) fn mrkdwn_object(text: String) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// A text object without any markup; with `emoji` off, `:name:` is not replaced either.
pub(super) fn plain_object(text: String) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

/// Whether mrkdwn would show the text as it is, once `&`, `<` and `>` are entities. A quote begins with the entity of `>`.
pub(super) fn is_literal(text: &str) -> bool {
    let mut characters = text.chars().peekable();
    let (mut before, mut colon) = (None, false);
    while let Some(character) = characters.next() {
        match character {
            '>' if matches!(before, None | Some('\n')) => return false,
            // `:name:` is an emoji; the colons of a time are not, as digits alone name none of Slack's own.
            ':' if colon => return false,
            ':' => colon = characters.peek().is_some_and(char::is_ascii_lowercase),
            'a'..='z' | '0'..='9' | '_' | '-' | '+' => {}
            _ => colon = false,
        }
        if is_formatting(before, character, characters.peek().copied()) {
            return false;
        }
        before = Some(character);
    }
    true
}

/// Within a word an underscore does not format: `daily_revenue`.
fn is_formatting(before: Option<char>, character: char, after: Option<char>) -> bool {
    let is_word = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
    match character {
        '*' | '~' | '`' => true,
        '_' => !(is_word(before) && is_word(after)),
        _ => false,
    }
}

/// Text without markup of its own, at most `units_max` UTF-16 units: look-alikes replace the characters that format.
pub(super) fn mrkdwn(text: &str, units_max: usize) -> String {
    truncate_escaped(text, units_max, |before, character, out| match character {
        '*' => out.push('∗'),
        '~' => out.push('∼'),
        '`' => out.push('ˋ'),
        // What follows is not known here, so only one after a word character stays, if it cannot open: it would close
        // nothing.
        '_' if !before.is_some_and(char::is_alphanumeric) => out.push('＿'),
        '>' if matches!(before, None | Some('\n')) => out.push('›'),
        _ => escape(before, character, out),
    })
}

/// Writes the character, as an entity if it could introduce a link or mention.
pub(super) fn escape(_: Option<char>, character: char, out: &mut String) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        _ => out.push(character),
    }
}

/// `<url|label>`, or `None` if it has more than `units_max` characters. The label is escaped. A `|` in the URL would end it
/// and is percent-encoded.
pub(super) fn link_to(url: &str, label: &str, units_max: usize) -> Option<String> {
    let mut link = String::from("<");
    for character in url.chars() {
        match character {
            '|' => link.push_str("%7C"),
            _ => escape(None, character, &mut link),
        }
    }
    link.push_str(&format!("|{label}>"));
    (link.len() <= units_max).then_some(link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_literal_finds_what_mrkdwn_would_format() {
        for text in
            ["daily_revenue_rollup", "04:00:12 UTC", "a > b", "http://x/y", "<!channel> &", "it's 5:30", "note: x"]
        {
            assert!(is_literal(text), "{text}");
        }
        for text in ["*b*", "_i_", "x _i", "a_ b", "~s~", "`c`", "> quote", "a\n> quote", ":fire:", "up :+1x: :tada:"] {
            assert!(!is_literal(text), "{text}");
        }
    }

    #[test]
    fn mrkdwn_replaces_what_formats() {
        assert_eq!(mrkdwn("<!channel> *b* _i_ ~s~ `c` a_b", 99), "&lt;!channel&gt; ∗b∗ ＿i_ ∼s∼ ˋcˋ a_b");
        assert_eq!(mrkdwn("> q\n> r", 99), "› q\n› r");
        assert_eq!(
            link_to("https://example.com/?a=1&b=2|3", "Open", 99).as_deref(),
            Some("<https://example.com/?a=1&amp;b=2%7C3|Open>")
        );
        assert_eq!(link_to("https://example.com/", "Open", 9), None);
    }

    proptest! {
        #[test]
        fn mrkdwn_never_formats(text in "[a-z*_~`<>&:@!#| \\n]{0,60}") {
            let shown = mrkdwn(&text, 200);
            prop_assert!(!shown.contains(['*', '~', '`', '<', '>']), "{shown}");
            // No underscore could open a pair.
            let opens = |(at, _): (usize, _)| !shown[..at].chars().next_back().is_some_and(char::is_alphanumeric);
            prop_assert!(!shown.char_indices().filter(|(_, c)| *c == '_').any(opens), "{shown}");
        }
    }
}
