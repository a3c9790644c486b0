//! JSON text with `\uD800` to `\uDFFF` without its other half, which is no character.

use std::borrow::Cow;
use std::ops::Range;

/// The first escape sequence at or after `from` that is half of a surrogate pair without the other half. Of valid JSON.
fn lone_surrogate_from(json: &str, mut from: usize) -> Option<Range<usize>> {
    let escaped = |at: usize| {
        let hex = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(hex, 16).ok()
    };
    // A backslash occurs in strings only.
    while let Some(at) = json.get(from..)?.find('\\').map(|found| from + found) {
        from = match escaped(at) {
            Some(0xd800..=0xdbff) if matches!(escaped(at + 6), Some(0xdc00..=0xdfff)) => at + 12,
            Some(0xd800..=0xdfff) => return Some(at..at + 6),
            Some(_) => at + 6,
            None => at + 2,
        };
    }
    None
}

/// The first escape sequence that is half of a surrogate pair without the other half. Of valid JSON.
pub fn lone_surrogate(json: &str) -> Option<Range<usize>> {
    lone_surrogate_from(json, 0)
}

/// The text with each lone surrogate replaced.
pub fn replace_lone_surrogates<'a>(json: &'a str, replacement: &str) -> Cow<'a, str> {
    let mut replaced = String::new();
    let mut done = 0;
    while let Some(found) = lone_surrogate_from(json, done) {
        replaced.push_str(&json[done..found.start]);
        replaced.push_str(replacement);
        done = found.end;
    }
    if done == 0 { Cow::Borrowed(json) } else { Cow::Owned(replaced + &json[done..]) }
}
