//! Parsing JSON as serde_json does, except that a duplicate key in an object is an error.
//!
//! Parsers disagree on which of two equal keys counts. A proxy that checks the body could see one value and this service
//! act on the other.
//!
//! A `\uD800` to `\uDFFF` without its other half is no character: nothing could be done with such a text but to fail later.
//! It is a violation of its field.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use tidings_domain::surrogate::{lone_surrogate, replace_lone_surrogates};
use tidings_domain::text::truncate_chars;
use tidings_domain::violation::{Violation, Violations, pointer};

use crate::problem::{Code, Problem};

/// Parses a value.
pub(crate) fn read(text: &[u8]) -> Result<Value, Problem> {
    require_utf8(text)?;
    parse(text).map_err(|error| {
        let not_unicode = std::str::from_utf8(text).ok().and_then(surrogate_violations);
        not_unicode.map_or_else(|| invalid(&error), Problem::invalid)
    })
}

fn parse(text: &[u8]) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Fails for a body in another encoding, such as Latin-1.
pub(crate) fn require_utf8(text: &[u8]) -> Result<(), Problem> {
    std::str::from_utf8(text).map(drop).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(Code::InvalidJson, format!("the body is not UTF-8, at byte {at}: send JSON in UTF-8"))
    })
}

/// A violation for each string with a lone surrogate; `None` if there is none, or if the text has other faults.
fn surrogate_violations(json: &str) -> Option<Violations> {
    lone_surrogate(json)?;
    // Found again by a character that the text has nowhere else: one of the noncharacters, which mean nothing.
    let lower = json.to_ascii_lowercase();
    let is_absent = |mark: &char| !json.contains(*mark) && !lower.contains(&format!("\\u{:04x}", u32::from(*mark)));
    let mark = ('\u{fdd0}'..='\u{fdef}').find(is_absent)?;
    let value = parse(replace_lone_surrogates(json, &mark.to_string()).as_bytes()).ok()?;
    let mut violations = Violations::new();
    find_mark(&value, mark, String::new(), &mut violations);
    Some(violations)
}

/// Violations in one answer; further ones are dropped, as the answer to a large body must not be many times its size.
pub(crate) const VIOLATIONS_MAX: usize = 100;

fn find_mark(value: &Value, mark: char, at: String, violations: &mut Violations) {
    const MESSAGE: &str = "must be Unicode text: \\ud800 to \\udfff are only valid in pairs";
    if violations.len() >= VIOLATIONS_MAX {
        return;
    }
    match value {
        Value::String(text) if text.contains(mark) => violations.push(Violation::new(at, MESSAGE)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_mark(item, mark, format!("{at}/{index}"), violations);
            }
        }
        Value::Object(object) => {
            for (key, value) in object {
                if key.contains(mark) {
                    violations.push(Violation::new(at.clone(), MESSAGE));
                } else {
                    find_mark(value, mark, format!("{at}{}", pointer(key)), violations);
                }
            }
        }
        _ => {}
    }
}

/// The problem of a body that is not JSON. serde_json's message includes the line and column.
pub(crate) fn invalid(error: &serde_json::Error) -> Problem {
    Problem::new(Code::InvalidJson, format!("the body is not valid JSON: {error}"))
}

/// The members of an object, their values not parsed yet.
pub(crate) struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Parses an object; `None` if the value is something else.
    pub(crate) fn read(raw: &'a RawValue) -> Result<Option<Self>, Problem> {
        if !raw.get().starts_with('{') {
            return Ok(None);
        }
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        deserializer.deserialize_map(MembersVisitor).map(Some).map_err(|error| invalid(&error))
    }
}

fn duplicate_key<E: Error>(key: &str) -> E {
    E::custom(format_args!("duplicate key {:?} in an object", truncate_chars(key, 60)))
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(duplicate_key(&key));
            }
            let value = members.next_value_seed(Strict)?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members<'de>, A::Error> {
        let mut seen = std::collections::HashSet::new();
        let mut object = Vec::new();
        while let Some(key) = members.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(duplicate_key(&key));
            }
            object.push((key, members.next_value()?));
        }
        Ok(Members(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_json_is_parsed_as_by_serde_json() {
        let text = r#"{"a": [1, -2, 3.5, 1e300, "ä\n", true, null, {"b": {}}], "c": 18446744073709551615}"#;
        assert_eq!(read(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn duplicate_key_is_an_error_at_any_depth() {
        for text in [r#"{"a": 1, "a": 2}"#, r#"[{"x": {"a": 1, "b": 2, "\u0061": 3}}]"#] {
            assert_eq!(read(text.as_bytes()).unwrap_err().code(), Code::InvalidJson, "{text}");
        }
    }

    #[test]
    fn invalid_json_is_an_error() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "{} {}", "nul", "{'a': 1}", &deep] {
            assert_eq!(read(text.as_bytes()).unwrap_err().code(), Code::InvalidJson, "{}", truncate_chars(text, 20));
        }
        assert_eq!(read(b"\"\xff\"").unwrap_err().code(), Code::InvalidJson, "not UTF-8");
    }

    #[test]
    fn lone_surrogate_is_a_violation_of_its_field() {
        let read = |text: &str| match read(text.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(problem) => {
                assert_eq!(problem.code(), Code::Invalid, "{text}");
                problem.into_violations().into_iter().map(|violation| violation.pointer).collect()
            }
        };
        assert_eq!(read(r#"{"a": "\ud83d", "b": ["x", {"c/d": "\uDE00 \uD83D\ud83d\uDE00"}]}"#), ["/a", "/b/1/c~1d"]);
        assert_eq!(read(r#"{"a": {"\ud83d": 1}}"#), ["/a"], "a key");
        assert_eq!(read(r#"["\ud83d"]"#), ["/0"]);
        assert_eq!(read(r#"["\ufdd0", "\ud83d"]"#), ["/1"], "the mark is another character");
        assert_eq!(read(r#"["\ud83d\ude00", "\\ud83d", "\\\ud83d\ude00"]"#), Vec::<String>::new());
        let both = super::read(br#"{"a": "\ud83d", }"#).unwrap_err();
        assert_eq!(both.code(), Code::InvalidJson);
        let many = format!("[{}0]", r#""\ud83d","#.repeat(10_000));
        assert_eq!(read(&many).len(), VIOLATIONS_MAX);
    }

    #[test]
    fn replaced_surrogates_leave_the_rest_as_it_is() {
        assert_eq!(replace_lone_surrogates(r#""a\ud83d\ude00b\\ud83d""#, "?"), r#""a\ud83d\ude00b\\ud83d""#);
        assert_eq!(replace_lone_surrogates(r#""\ud83dx\ud83d\n\ude00""#, "?"), r#""?x?\n?""#);
        assert_eq!(replace_lone_surrogates(r#""\ud83d\ud83d\ude00""#, "?"), r#""?\ud83d\ude00""#);
    }
}
