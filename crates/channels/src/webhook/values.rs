//! The values that a template sees: read from JSON and written as JSON with the digits of every number kept.
//!
//! minijinja has no decimal type. An integer of up to 128 bits is its own integer; every other number is an
//! [`ExactNumber`], which prints the digits that were reported and counts as a 64-bit floating-point number where a
//! template compares or computes ([`numeric`]).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use minijinja::Value;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, ValueKind};
use serde_json::value::RawValue;

/// Levels of nesting that are written, which bounds the recursion: 100 of an output, and those of a template's own lists.
const DEPTH_MAX: usize = 700;

/// A number as it was reported.
#[derive(Debug)]
struct ExactNumber {
    text: Box<str>,
    /// The nearest floating-point number; infinite beyond their range.
    number: f64,
}

impl Object for ExactNumber {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.number != 0.0
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        self.number.partial_cmp(&other.downcast_ref::<Self>()?.number)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The members of a JSON object, each parsed when a template first uses it.
#[derive(Debug)]
pub(super) struct Fields(BTreeMap<String, Field>);

#[derive(Debug)]
struct Field {
    json: Box<RawValue>,
    value: OnceLock<Value>,
}

impl Fields {
    /// `None` if it is not a JSON object.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(json).ok()?;
        let fields = members.into_iter().map(|(key, json)| (key, Field { json, value: OnceLock::new() }));
        Some(Self(fields.collect()))
    }

    /// Adds or replaces a field with a text.
    pub(super) fn insert(&mut self, key: &str, text: &str) {
        let field = Field { json: RawValue::NULL.to_owned(), value: OnceLock::from(Value::from(text)) };
        self.0.insert(key.to_owned(), field);
    }
}

impl Object for Fields {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let field = self.0.get(key)?;
        let parse =
            || Reader::read(field.json.get()).unwrap_or_else(|| invalid("the event has text that is no Unicode"));
        Some(field.value.get_or_init(parse).clone())
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|key| Value::from(key.as_str())).collect())
    }
}

/// A value whose use fails the template with this message.
fn invalid(message: &'static str) -> Value {
    Value::from(minijinja::Error::new(minijinja::ErrorKind::BadSerialization, message))
}

/// Reads valid JSON of bounded depth.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// `None` if a text has no Unicode meaning (a lone surrogate).
    fn read(json: &'a str) -> Option<Value> {
        Self { text: json, at: 0 }.value()
    }

    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        self.at += bytes[self.at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        bytes.get(self.at).copied()
    }

    /// Whether another item follows: steps over the separator before it, or over the end.
    fn another(&mut self, end: u8) -> Option<bool> {
        let next = self.peek()?;
        if next == b',' || next == end {
            self.at += 1;
        }
        Some(next != end)
    }

    fn value(&mut self) -> Option<Value> {
        match self.peek()? {
            b'{' => {
                self.at += 1;
                let mut members = BTreeMap::new();
                while self.another(b'}')? {
                    self.peek()?;
                    let key = self.string()?;
                    if self.peek()? != b':' {
                        return None;
                    }
                    self.at += 1;
                    members.insert(Arc::<str>::from(key), self.value()?);
                }
                Some(Value::from_object(members))
            }
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                while self.another(b']')? {
                    items.push(self.value()?);
                }
                Some(Value::from(items))
            }
            b'"' => Some(Value::from(self.string()?)),
            _ => {
                let rest = &self.text[self.at..];
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
                let word = &rest[..end.unwrap_or(rest.len())];
                self.at += word.len();
                match word {
                    "null" => Some(Value::from(())),
                    "true" => Some(Value::from(true)),
                    "false" => Some(Value::from(false)),
                    number => parse_number(number),
                }
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut at = start + 1;
        while *bytes.get(at)? != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        self.at = at + 1;
        serde_json::from_str(self.text.get(start..self.at)?).ok()
    }
}

fn parse_number(text: &str) -> Option<Value> {
    match text.parse::<i64>() {
        Ok(number) if text != "-0" => return Some(Value::from(number)),
        _ => {}
    }
    match text.parse::<i128>() {
        Ok(number) if text != "-0" => Some(Value::from(number)),
        _ => Some(Value::from_object(ExactNumber { text: text.into(), number: text.parse().ok()? })),
    }
}

/// The work of comparing this value, in bytes: its texts, and some for each item. Stops counting beyond `max`.
pub(super) fn weight(value: &Value, max: usize) -> usize {
    let mut total = 8;
    if let Some(text) = value.as_str() {
        return total + text.len();
    }
    if let Ok(items) = container(value) {
        for item in items {
            total += weight(&item, max.saturating_sub(total));
            if value.kind() == ValueKind::Map {
                total += value.get_item(&item).map_or(0, |item| weight(&item, max.saturating_sub(total)));
            }
            if total > max {
                break;
            }
        }
    }
    total
}

/// The items of a list, or the keys of an object.
fn container(value: &Value) -> Result<minijinja::value::ValueIter, minijinja::Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => value.try_iter(),
        kind => Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, format!("{kind} has no items"))),
    }
}

/// The value for comparisons and arithmetic: exact numbers, also those in lists and objects, become floating-point numbers.
pub(super) fn numeric(value: Value) -> Value {
    fn holds_exact(value: &Value) -> bool {
        value.downcast_object_ref::<ExactNumber>().is_some()
            || container(value).is_ok_and(|mut items| {
                items.any(|item| {
                    holds_exact(&item)
                        || value.kind() == ValueKind::Map && value.get_item(&item).is_ok_and(|item| holds_exact(&item))
                })
            })
    }
    fn convert(value: Value) -> Value {
        if let Some(exact) = value.downcast_object_ref::<ExactNumber>() {
            return Value::from(exact.number);
        }
        match (value.kind(), container(&value)) {
            (ValueKind::Map, Ok(keys)) => keys
                .map(|key| (key.clone(), value.get_item(&key).map_or(Value::UNDEFINED, convert)))
                .collect::<Map>()
                .into(),
            (_, Ok(items)) => items.map(convert).collect(),
            (_, Err(_)) => value,
        }
    }
    if holds_exact(&value) { convert(value) } else { value }
}

type Map = BTreeMap<Value, Value>;

/// Writes the value as JSON; undefined becomes `null`.
pub(super) fn write_json(value: &Value, output: &mut impl Write) -> Result<(), String> {
    write_nested(value, output, DEPTH_MAX)
}

fn write_nested(value: &Value, output: &mut impl Write, depth: usize) -> Result<(), String> {
    let depth = depth.checked_sub(1).ok_or("its values nest too deep")?;
    let mut put = |text: &[u8]| output.write_all(text).map_err(|error| error.to_string());
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => put(b"null"),
        ValueKind::Bool => put(if value.is_true() { b"true" } else { b"false" }),
        ValueKind::String | ValueKind::Number => {
            serde_json::to_writer(output, value).map_err(|error| error.to_string())
        }
        ValueKind::Seq | ValueKind::Iterable => {
            put(b"[")?;
            for (index, item) in container(value).map_err(|error| error.to_string())?.enumerate() {
                if index > 0 {
                    output.write_all(b",").map_err(|error| error.to_string())?;
                }
                write_nested(&item, output, depth)?;
            }
            output.write_all(b"]").map_err(|error| error.to_string())
        }
        ValueKind::Map => {
            put(b"{")?;
            for (index, key) in container(value).map_err(|error| error.to_string())?.enumerate() {
                if index > 0 {
                    output.write_all(b",").map_err(|error| error.to_string())?;
                }
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                serde_json::to_writer(&mut *output, &name).map_err(|error| error.to_string())?;
                output.write_all(b":").map_err(|error| error.to_string())?;
                write_nested(&value.get_item(&key).map_err(|error| error.to_string())?, output, depth)?;
            }
            output.write_all(b"}").map_err(|error| error.to_string())
        }
        _ => match value.downcast_object_ref::<ExactNumber>() {
            Some(exact) => put(exact.text.as_bytes()),
            None => Err(format!("{} cannot be written as JSON", value.kind())),
        },
    }
}
