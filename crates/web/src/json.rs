//! Parsing JSON as serde_json does, except that a duplicate key in an object is an error.
//!
//! Parsers disagree on which of two equal keys counts. A proxy that checks the body could see one value and this service
//! act on the other.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use tidings_domain::text::truncate_chars;

use crate::problem::{Code, Problem};

/// Parses a value.
pub(crate) fn read(text: &[u8]) -> Result<Value, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut deserializer).map_err(|error| invalid(&error))?;
    deserializer.end().map_err(|error| invalid(&error))?;
    Ok(value)
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
        for text in ["", "{", "{} {}", "nul", "{'a': 1}", "\u{feff}{}", &deep] {
            assert_eq!(read(text.as_bytes()).unwrap_err().code(), Code::InvalidJson, "{}", truncate_chars(text, 20));
        }
        assert_eq!(read(b"\"\xff\"").unwrap_err().code(), Code::InvalidJson, "not UTF-8");
    }
}
