//! Parsing JSON as serde_json does, except that a duplicate key in an object is an error.
//!
//! Parsers disagree on which of two equal keys counts. A proxy that checks the body could see one value and this service
//! act on the other.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use tidings_domain::text::truncate_chars;
use tidings_domain::violation::{Violation, pointer};

use crate::problem::{Code, Problem};

/// Parses a value.
pub(crate) fn read(text: &[u8]) -> Result<Value, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut deserializer).map_err(|error| refusal(text, &error))?;
    deserializer.end().map_err(|error| invalid(&error))?;
    Ok(value)
}

/// The problem of a body that could not be parsed. Lone surrogates are well-formed JSON but no Unicode text: they are
/// violations of their fields.
fn refusal(text: &[u8], error: &serde_json::Error) -> Problem {
    let fields = match serde_json::from_slice::<&RawValue>(text) {
        Ok(raw) => lone_surrogates(raw.get()),
        Err(_) => Vec::new(),
    };
    if fields.is_empty() {
        return invalid(error);
    }
    Problem::invalid(fields.into_iter().map(|pointer| Violation::new(pointer, LONE_SURROGATE)).collect())
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
        let members = deserializer.deserialize_map(MembersVisitor).map(Some);
        members.map_err(|error| refusal(raw.get().as_bytes(), &error))
    }
}

/// What is wrong with text that holds a lone surrogate.
pub(crate) const LONE_SURROGATE: &str =
    "must be Unicode text: an escape such as \\ud83d stands for half of a character and needs the other half";

/// Violations in one response; further ones are dropped.
const VIOLATIONS_MAX: usize = 100;

/// Whether valid JSON holds an escaped surrogate without its other half. No string type of Rust can hold that, nor can
/// most receivers' parsers.
pub(crate) fn has_lone_surrogate(json: &str) -> bool {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        at += match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => return true,
            Some(_) => 6,
            None => 2,
        };
    }
    false
}

/// The pointers of the strings and keys of valid JSON that hold a lone surrogate.
fn lone_surrogates(json: &str) -> Vec<String> {
    enum Level {
        List(usize),
        /// The key of the member that is being read, as a pointer; `None` before it.
        Object(Option<String>),
    }
    let (mut levels, mut found, mut at) = (Vec::new(), Vec::new(), 0);
    let bytes = json.as_bytes();
    while at < bytes.len() && found.len() < VIOLATIONS_MAX {
        let start = at;
        at += 1;
        match (bytes[start], levels.last_mut()) {
            (b'{', _) => levels.push(Level::Object(None)),
            (b'[', _) => levels.push(Level::List(0)),
            (b'}' | b']', _) => _ = levels.pop(),
            (b',', Some(Level::List(index))) => *index += 1,
            (b',', Some(Level::Object(key))) => *key = None,
            (b'"', level) => {
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                let string = json.get(start..at).unwrap_or_default();
                if let Some(Level::Object(key @ None)) = level {
                    let name = serde_json::from_str(string).unwrap_or_else(|_| string.trim_matches('"').to_owned());
                    *key = Some(pointer(&name));
                } else if !has_lone_surrogate(string) {
                    continue;
                }
                if has_lone_surrogate(string) {
                    let path = levels.iter().map(|level| match level {
                        Level::List(index) => format!("/{index}"),
                        Level::Object(key) => key.clone().unwrap_or_default(),
                    });
                    found.push(path.collect());
                }
            }
            _ => {}
        }
    }
    found
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
    fn lone_surrogate_is_a_violation_of_its_field() {
        for (text, pointers) in [
            (r#"{"name": "\ud83d"}"#, &["/name"][..]),
            (
                r#"{"name": "\ud83d\ude00 \\ud83d", "a/b": ["x", {"y": "\uDE00"}], "z": "\ud83d\ud83d\ude00"}"#,
                &["/a~1b/1/y", "/z"],
            ),
            (r#"[{"ok": 1}, {"k\ud800": "\uDBFFx"}]"#, &["/1/k\\ud800", "/1/k\\ud800"]),
            (r#""\udc00""#, &[""]),
        ] {
            let problem = read(text.as_bytes()).unwrap_err();
            assert_eq!(problem.code(), Code::Invalid, "{text}");
            let found = std::sync::Mutex::new(Vec::new());
            problem.map_pointers(|pointer| {
                found.lock().unwrap().push(pointer.to_owned());
                String::new()
            });
            assert_eq!(found.into_inner().unwrap(), pointers, "{text}");
        }
        let pair = r#"{"a": "\ud83d\ude00", "b": "\\ud83d"}"#;
        assert!(!has_lone_surrogate(pair) && read(pair.as_bytes()).is_ok());
        assert_eq!(read(br#"{"a": "\ud83d", }"#).unwrap_err().code(), Code::InvalidJson);
    }

    #[test]
    fn invalid_json_is_an_error() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "{} {}", "nul", "{'a': 1}", "\u{feff}{}", &deep] {
            assert_eq!(read(text.as_bytes()).unwrap_err().code(), Code::InvalidJson, "{}", truncate_chars(text, 20));
        }
        assert_eq!(read(b"\"\xff\"").unwrap_err().code(), Code::InvalidJson, "not UTF-8");
    }
}
